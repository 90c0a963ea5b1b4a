"""Bring a private network up: directories, keys, torrcs, processes, and then tor's own bootstrap.

The order makes it quick and sure: the authorities and relays first, so that the very first consensus has all of them;
the service and client tor when every relay has it. A client that boots from a smaller consensus looks for onion
services in other places than the service publishes them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from onion_rdv.errors import TestnetFailed
from onion_rdv.tor.testnet import plan, processes
from onion_rdv.tor.testnet.keys import make_authorities
from onion_rdv.tor.testnet.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from onion_rdv.tor.testnet.channel import Channel
    from onion_rdv.tor.testnet.ports import ReservedPorts
    from onion_rdv.tor.testnet.programs import Programs

_POLL = 0.1
_BOOTSTRAPPED = 100
_ENOUGH = 75  # tor's "enough_dirinfo"; a relay needs no circuits of its own


class Tors:
    """All tors of a network, by name."""

    def __init__(self, programs: Programs, directory: Path, keeper_pid: int, timeout: float) -> None:
        self.by_name: dict[str, processes.Tor] = {}
        self.torrc = directory / "torrc"
        self._programs = programs
        self._directory = directory
        self._keeper_pid = keeper_pid
        self._timeout = timeout
        self._relays: tuple[str, ...] = ()
        self._percent = 0
        self._busy_control = 0

    def make(self, channel: Channel, ports: ReservedPorts, relays: int) -> dict[str, str]:
        """Make everything up to the start; give the network's addresses.

        Raises TestnetFailed, and Stop as :meth:`Channel.wait` does.
        """
        self._relays = plan.relay_names(relays)
        for name in (*plan.AUTHORITIES, *self._relays, plan.SERVICE, plan.CLIENT):
            (self._directory / name).mkdir(mode=0o700)
        authority_ports = {self._directory / name: (ports.take(), ports.take()) for name in plan.AUTHORITIES}
        begun = time.monotonic()
        authorities = make_authorities(channel, self._programs, authority_ports)
        lead = plan.lead(time.monotonic() - begun)
        everywhere = plan.network_torrc(authorities)
        joining = plan.joining_torrc(authorities)
        self.torrc.write_text(joining)
        first_consensus = int(time.time()) + lead
        for each in authorities:
            torrc = plan.authority_torrc(each.or_port, each.dir_port, first_consensus)
            if each.name == plan.BUSY:
                self._busy_control = ports.take()
                torrc += plan.control_torrc(self._busy_control)
            self._add(each.name, everywhere + torrc)
        for name in self._relays:
            self._add(name, everywhere + plan.patient_relay_torrc(ports.take(), lead))
        service_control, client_control, client_socks = ports.take(), ports.take(), ports.take()
        self._add(plan.SERVICE, joining + plan.service_torrc(service_control))
        self._add(plan.CLIENT, joining + plan.client_torrc(client_socks, client_control))
        return {
            "client_socks": f"127.0.0.1:{client_socks}",
            "client_control": f"127.0.0.1:{client_control}",
            "service_control": f"127.0.0.1:{service_control}",
        }

    def _add(self, name: str, torrc: str) -> None:
        own = plan.own_torrc(self._directory / name, name, self._keeper_pid)
        self.by_name[name] = processes.Tor(self._programs.tor, self._directory / name, own + torrc)

    def boot(self, channel: Channel) -> None:
        """Start all of them in turn, and report their progress until all have bootstrapped.

        Raises TestnetFailed when a tor ends or it takes too long, and Stop.
        """
        deadline = time.monotonic() + self._timeout
        routers = [*plan.AUTHORITIES, *self._relays]
        ends = [plan.SERVICE, plan.CLIENT]
        self._start(routers)
        self._wait(channel, routers, lambda: self._know_the_network(routers), deadline)
        self._start(ends)
        self._wait(channel, ends, lambda: self._all_at(ends, _BOOTSTRAPPED), deadline)

    def start_one(self, channel: Channel, name: str) -> None:
        """Start one, unless it runs, and wait until it has bootstrapped; raises like :meth:`boot`."""
        if self.by_name[name].pid is None:
            self._start([name])
        bootstrapped = lambda: self._all_at([name], _BOOTSTRAPPED)  # noqa: E731 a name for the line's length
        self._wait(channel, [name], bootstrapped, time.monotonic() + self._timeout)

    def _start(self, names: Iterable[str]) -> None:
        for name in names:
            self.by_name[name].start()

    def _know_the_network(self, names: list[str]) -> bool:
        """Say whether tors can build circuits, and have a consensus that names every relay (dir-spec, "r" lines)."""
        if not self._all_at(names, _ENOUGH):
            return False
        relays = len(plan.AUTHORITIES) + len(self._relays)
        consensuses = [self._directory / name / "cached-microdesc-consensus" for name in names]
        return all(path.exists() and path.read_text().count("\nr ") >= relays for path in consensuses)

    def _all_at(self, names: Iterable[str], percent: int) -> bool:
        return all(self.by_name[name].log.bootstrap.percent >= percent for name in names)

    def _wait(self, channel: Channel, names: list[str], reached: Callable[[], bool], deadline: float) -> None:
        """Report progress until ``reached``; the named tors are those that it depends on."""
        while True:
            for tor in self.by_name.values():
                tor.log.read()
            behind = min((self.by_name[name] for name in names), key=lambda tor: tor.log.bootstrap.percent)
            done = sum(tor.log.bootstrap.percent for tor in self.by_name.values()) // len(self.by_name)
            self._percent = max(done, self._percent)
            channel.tell("progress", percent=self._percent, what=f"{behind.name}: {behind.log.bootstrap.summary}")
            if reached():
                return
            dead = self.find_dead()
            if dead is not None:
                raise TestnetFailed(f"the tor {dead.name} has ended: {dead.complaint()}")
            if time.monotonic() > deadline:
                raise TestnetFailed(
                    f"after {self._timeout:.0f} s the tor {behind.name} stands at {behind.log.bootstrap.percent}%: "
                    f"{behind.log.last_line}"
                )
            channel.wait(_POLL)

    def traffic(self) -> Traffic:
        """Give what keeps the relays of a network that has booted in touch."""
        others = [name for name in (*plan.AUTHORITIES, *self._relays) if name != plan.BUSY]
        return Traffic(self._busy_control, self._directory / plan.BUSY, [self._directory / name for name in others])

    def find_dead(self) -> processes.Tor | None:
        """Give one that has ended by itself."""
        return next((tor for tor in self.by_name.values() if tor.died()), None)

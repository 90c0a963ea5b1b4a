"""A private Tor network as a plain script starts it: make keys, write torrcs, start every tor, wait for both ends.

It has as many tors as that of ``onion-rdv testnet``, and what stands in their torrcs is the same.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bare_tor import running
from harness import free_port

from onion_rdv.tor.testnet import plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL = 0.02


@dataclass(frozen=True)
class BareNetwork:
    """Where its ends are: addresses, and the file with the service tor's cookie."""

    client_socks: str
    service_control: str
    cookie: Path


def _make_authorities(directory: Path) -> list[plan.Authority]:
    """Make the authorities' keys; all programs run at once."""
    ports = {directory / name: (free_port(), free_port()) for name in plan.AUTHORITIES}
    jobs = []
    for place, (or_port, dir_port) in ports.items():
        keys = place / "keys"
        keys.mkdir(mode=0o700)
        names = ("authority_identity_key", "authority_signing_key", "authority_certificate")
        files = [word for option, name in zip("isc", names, strict=True) for word in (f"-{option}", keys / name)]
        gencert = ["tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12"]
        jobs.append(_start([*gencert, "-a", f"127.0.0.1:{dir_port}", *files]))
        torrc = f"ORPort 127.0.0.1:{or_port}\nAddress 127.0.0.1\nNickname {place.name}\n"
        (place / "torrc").write_text(f"{torrc}DataDirectory {place}\n")
        jobs.append(_start(["tor", "--defaults-torrc", "/dev/null", "-f", place / "torrc", "--list-fingerprint"]))
    said = [job.communicate()[0] for job in jobs]
    return [
        plan.Authority(
            place.name,
            or_port,
            dir_port,
            identity=re.findall("(?m)^fingerprint (.*)$", (place / "keys" / "authority_certificate").read_text())[0],
            fingerprint=re.findall(rf"(?m)^{place.name} ([0-9A-F ]+)$", listed)[0].replace(" ", ""),
        )
        for (place, (or_port, dir_port)), listed in zip(ports.items(), said[1::2], strict=True)
    ]


def _start(command: list[str | Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@contextlib.contextmanager
def bare_network(directory: Path) -> Iterator[BareNetwork]:
    """Run one in an empty directory (0700); it is given when the service's and the client's tor have bootstrapped."""
    relays = plan.relay_names(plan.DEFAULT_RELAYS)
    for name in (*plan.AUTHORITIES, *relays, plan.SERVICE, plan.CLIENT):
        (directory / name).mkdir(mode=0o700)
    authorities = _make_authorities(directory)
    first_consensus = int(time.time()) + plan.LEAD
    torrcs = {
        each.name: plan.authority_torrc(each.or_port, each.dir_port, first_consensus) for each in authorities
    } | {name: plan.patient_relay_torrc(free_port(), plan.LEAD) for name in relays}
    torrcs = {name: plan.network_torrc(authorities) + torrc for name, torrc in torrcs.items()}
    control, client_control, socks = (free_port() for _ in range(3))
    joining = plan.joining_torrc(authorities)
    torrcs[plan.SERVICE] = joining + plan.service_torrc(control)
    torrcs[plan.CLIENT] = joining + plan.client_torrc(socks, client_control)
    with contextlib.ExitStack() as tors:
        for name, torrc in torrcs.items():
            tors.enter_context(running(directory / name, f"Nickname {name}\n{torrc}"))
        logs = [directory / name / "log" for name in (plan.SERVICE, plan.CLIENT)]
        deadline = time.monotonic() + plan.BOOT_TIMEOUT
        while not all("Bootstrapped 100%" in log.read_text() for log in logs):
            if time.monotonic() > deadline:
                raise RuntimeError("a plain private network did not come up")
            time.sleep(_POLL)
        cookie = directory / plan.SERVICE / "control_auth_cookie"
        yield BareNetwork(f"127.0.0.1:{socks}", f"127.0.0.1:{control}", cookie)

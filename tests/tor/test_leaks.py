"""Nothing goes past Tor: all commands, in a network in which there is nothing else, and with every call recorded."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from command_line import Result, environment, onion_rdv
from forwarding import leading_to
from lone_network import lone_network
from server_process import serving
from socks_proxy import CONNECT, DOMAIN_NAME, RESOLVE
from talk_process import TalkProcess
from tracing import addresses_of, lookups_in, socket_files_of, tracer
from watched_socks import WatchedSocks

from onion_rdv.protocol.short_link import LinkScheme, LinkType, ShortLink
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.tor.socks import SocksPort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onion_rdv.tor.testnet import Network

ELSEWHERE = "https://smp.invalid/a#page"
PASSPHRASE = "correct horse battery staple"
TEMPTING = "127.0.0.1:3128"
"""Where the environment says that there is a proxy."""


@dataclass
class Traced:
    """Runs programs under strace; ``traces`` are where it writes what each of them does, by the command's words."""

    env: dict[str, str]
    directory: Path
    wrapper: tuple[str, ...]
    traces: dict[str, Path]

    def recorder(self, name: str) -> tuple[str, ...]:
        trace = self.traces[name] = self.directory / f"{len(self.traces)}.trace"
        return (*self.wrapper, *tracer(trace))

    async def __call__(self, *words: str, stdin: str = "", code: int = 0) -> Result:
        """Run a command, which has to end with this exit code."""
        name = f"{words[0]} {len(self.traces)}"
        result = await onion_rdv(*words, env=self.env, stdin=stdin, wrapper=self.recorder(name))
        assert result.code == code, result.stderr
        return result


@dataclass
class Servers:
    """The two servers that the commands use, and where the former keeps what is its own."""

    rendezvous: str
    messaging: SmpServer


def tempted(env: dict[str, str]) -> dict[str, str]:
    """Have the environment name a proxy in every way in which programs are told of one."""
    names = ("all_proxy", "http_proxy", "https_proxy", "socks_proxy", "socks_server", "ftp_proxy")
    proxies = {name: f"socks5://{TEMPTING}" if "socks" in name else f"http://{TEMPTING}" for name in names}
    return env | proxies | {name.upper(): proxy for name, proxy in proxies.items()}


@asynccontextmanager
async def both_servers(run: Traced) -> AsyncIterator[Servers]:
    words = ("messaging", "serve")
    async with (
        serving(env=run.env, wrapper=run.recorder("serve")) as rendezvous,
        serving(env=run.env, wrapper=run.recorder("messaging serve"), words=words) as messaging,
    ):
        run.env |= {"ONION_RDV_SERVER": rendezvous.name, "ONION_RDV_MESSAGING_SERVER": messaging.name}
        yield Servers(rendezvous.name, SmpServer.parse(messaging.name))


async def hand_over(run: Traced, link: str, *more: str, code: int = 0) -> Result:
    """Leave a link at the server and fetch it; the messaging server that it names is looked at."""
    offered = await run("offer", "-", "--one-channel", stdin=link)
    accepted = await run("accept", "-", *more, stdin=offered.stdout, code=code)
    assert accepted.stdout == f"{link}\n"
    return accepted


async def talk(run: Traced) -> None:
    begins, joins = run.recorder("talk, begun"), run.recorder("talk, joined")
    async with TalkProcess.running("--one-channel", env=run.env, wrapper=begins) as one:
        offered = await one.hears_of("invite")
        async with TalkProcess.running(offered["invite"], env=run.env, wrapper=joins) as other:
            await other.hears_of("met")
            one.order(say="hello")
            await one.hears_of("arrived")
            other.order(quit=True)
            assert (await one.end(), await other.end()) == (0, 0)


async def look_at_a_messaging_server(run: Traced, servers: Servers) -> None:
    one_time = ShortLink(
        scheme=LinkScheme.SIMPLEX,
        type=LinkType.ONE_TIME,
        hosts=servers.messaging.hosts,
        key_hash=servers.messaging.key_hash,
        link_id=secrets.token_bytes(24),
        link_key=secrets.token_bytes(32),
    ).write()
    accepted = await hand_over(run, one_time, "--probe=require")
    assert "it answers, and is the server that the link names" in accepted.stderr


async def look_elsewhere(run: Traced) -> None:
    accepted = await hand_over(run, ELSEWHERE, "--timeout", "45")
    assert "messaging server smp.invalid" in accepted.stderr, "it was asked"


async def ask_about_things(run: Traced, servers: Servers, directory: Path) -> None:
    await run("status")
    await run("doctor", "--server", servers.rendezvous)
    backup = str(directory / "backup")
    await run("backup", backup, "--passphrase-file", "-", stdin=PASSPHRASE)
    await run("restore", backup, "--passphrase-file", "-", "--state-dir", str(directory / "there"), stdin=PASSPHRASE)
    await run("serve", "--check-config")
    await run("withdraw", "--state-dir", str(directory / "there"))


async def use_a_private_server(run: Traced) -> None:
    alice = await run("authorize", "alice")
    await run("auth", "add", "-", stdin=alice.stdout)
    offered = await run("offer", "-", "--one-channel", "--timeout", "90", stdin=ELSEWHERE)
    await run("info", "-", stdin=offered.stdout)
    await run("accept", "-", "--no-probe", stdin=offered.stdout)
    await run("authorize", "--remove", "alice", "--make-public")
    await run("auth", "remove", run.env["ONION_RDV_SERVER"])


async def run_all_commands(run: Traced, directory: Path) -> None:
    async with both_servers(run) as servers:
        await asyncio.gather(
            talk(run),
            look_at_a_messaging_server(run, servers),
            look_elsewhere(run),
            ask_about_things(run, servers, directory),
        )
        await use_a_private_server(run)


def assert_nothing_went_past(run: Traced, network: Network) -> None:
    """Hold each command to the ports and the Unix sockets that are its own."""
    through_tor = {"offer", "accept", "talk,"}
    for name, trace in run.traces.items():
        word = name.split()[0]
        addresses = addresses_of(trace)
        if word in through_tor:
            assert network.client_socks in addresses, name
            assert addresses <= {network.client_socks, network.client_control}, name
        elif word == "doctor":
            assert addresses == {network.client_socks, network.service_control}, name
        elif word in {"serve", "messaging"}:
            assert addresses <= {network.service_control}, name
        else:
            assert addresses == set(), name
        assert lookups_in(trace) == set(), name
        strange = {file for file in socket_files_of(trace) if not file.startswith(run.env["HOME"])}
        assert strange == set(), name


async def test_in_a_network_that_has_nothing_but_tors_ports(network: Network, tmp_path: Path) -> None:
    env = tempted(environment(tmp_path, **network.environment()))
    del env["ONION_RDV_TORRC"]
    watch = WatchedSocks(SocksPort.parse(network.client_socks))
    tempted_there = 0

    async def note(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        nonlocal tempted_there
        tempted_there += 1

    ports = {
        network.client_socks: watch.serve,
        network.client_control: leading_to(network.client_control),
        network.service_control: leading_to(network.service_control),
        TEMPTING: note,
    }
    async with lone_network(ports) as wrapper:
        run = Traced(env, tmp_path, wrapper, {})
        await run_all_commands(run, tmp_path)
    assert_nothing_went_past(run, network)
    assert tempted_there == 0
    used = [request.credentials for request in watch.requests]
    assert len(set(used)) == len(used), "no two requests share a circuit, in whichever commands"
    assert all(len(username) == len(password) == 32 for username, password in used)
    assert {request.address_type for request in watch.requests} == {DOMAIN_NAME}
    assert {request.command for request in watch.requests} == {CONNECT, RESOLVE}
    messaging = SmpServer.parse(run.env["ONION_RDV_MESSAGING_SERVER"]).host
    assert {request.host for request in watch.connects} == {run.env["ONION_RDV_SERVER"], messaging, "smp.invalid"}
    assert {request.host for request in watch.requests if request.command == RESOLVE} == {"192.0.2.1"}


async def test_where_there_is_more_than_tor(network: Network, tmp_path: Path) -> None:
    """The same on this machine's network, where there would be ways past; the environment wants no proxy at all."""
    env = environment(tmp_path, **network.environment(), NO_PROXY="*", no_proxy="*")
    del env["ONION_RDV_TORRC"]
    run = Traced(env, tmp_path, (), {})
    await run_all_commands(run, tmp_path)
    assert_nothing_went_past(run, network)


async def test_with_a_tor_of_its_own(network: Network, tmp_path: Path) -> None:
    """Only that tor speaks to others; the command itself looks for one in the usual places, and then uses its own."""
    env = environment(tmp_path, **network.environment())
    async with serving(env=env) as server:
        for name in ("ONION_RDV_SOCKS", "ONION_RDV_SOCKS_CONTROL"):
            del env[name]
        run = Traced(env | {"ONION_RDV_SERVER": server.name}, tmp_path, (), {})
        await run("offer", "-", "--one-channel", stdin=ELSEWHERE)
    (trace,) = run.traces.values()
    addresses = addresses_of(trace)
    assert {address.rpartition(":")[0] for address in addresses} == {"127.0.0.1"}
    usual = {"127.0.0.1:9050", "127.0.0.1:9150"}
    assert usual < addresses
    assert len(addresses - usual) == 2, "the SOCKS and the control port of its tor"
    assert lookups_in(trace) == socket_files_of(trace) == set()

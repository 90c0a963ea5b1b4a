"""``onion-rdv demo``: one rendezvous from end to end, over a private Tor network, through the real command line."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.terminal import ProgressBar, emit, emit_json, printable
from onion_rdv.errors import RdvError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from onion_rdv.tor.testnet import Network

_GRACE = 10.0  # seconds that a server has to stop


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Tell nothing; print the result as one JSON object.")
def demo(*, as_json: bool) -> None:
    """Show one rendezvous from end to end, in under a minute.

    Brings up a private Tor network, a rendezvous server and a messaging server as onion services, and lets one
    person offer a link and another accept it, with the commands that you would type. Nothing touches the public Tor
    network, and nothing is left behind.
    """
    from onion_rdv.tor import testnet

    story = _Story(silent=as_json)
    story.tell(
        "Two people want to talk on a messaging server, and nobody else is to learn that they do.",
        "First a Tor network of our own: real tor processes, all on this machine.",
    )
    with ExitStack() as cleanup:
        with story.timed("private Tor network"), ProgressBar("private Tor network") as progress:
            network = cleanup.enter_context(testnet.Keeper(progress=progress)).network
        result = asyncio.run(_play(story, network))
    story.end(result, as_json=as_json)


async def _play(story: _Story, network: Network) -> dict[str, Any]:
    from onion_rdv.cli.demo_messaging import DemoMessagingServer

    directory = network.directory / "demo"  # goes with the network, however this ends
    directory.mkdir(mode=0o700)
    (directory / "config.toml").touch()  # so that the settings of whoever looks on change nothing
    settings = {"ONION_RDV_CONFIG": str(directory / "config.toml"), "ONION_RDV_STATE_DIR": str(directory)}
    people = _CommandLine(os.environ | network.environment() | settings)
    story.tell("", "Two onion services: a rendezvous server, and a messaging server in place of the one people use.")
    async with AsyncExitStack() as running:
        with story.timed("onion services published"):
            messaging = DemoMessagingServer(directory, network.service_control)
            server, _ = await asyncio.gather(
                running.enter_async_context(people.serve()), running.enter_async_context(messaging)
            )
        story.tell("  $ onion-rdv serve", f"  {server}")
        link = f"http://{messaging.address}/i#{secrets.token_hex(16)}"
        offered = await _offer(story, people, server, link)
        accepted = await _accept(story, people, offered)
        story.tell(
            f"  The messaging server saw {len(messaging.requests)} request, {', '.join(messaging.requests)};",
            "  not that a rendezvous took place, nor who asked. The two go on there, each over Tor.",
        )
    if accepted["link"] != link or not accepted["messaging_server"]["reachable"]:
        raise RdvError("the link that arrived is not the one that was offered, or leads nowhere")
    return {"link_arrived": True, "server": server, "messaging_server": messaging.address}


async def _offer(story: _Story, people: _CommandLine, server: str, link: str) -> dict[str, Any]:
    story.tell(
        "",
        "One person has a link to that messaging server, seals it and leaves it at the rendezvous server.",
        f"  $ onion-rdv offer --server {server}",
        f"  link: {link}",
    )
    with story.timed("offer: seal, store, check"):
        offered = await people.run("offer", "-", "--server", server, "--json", stdin=link)
    story.tell(
        f"  invite: {offered['invite']}",
        f"  passphrase: {offered['passphrase']}",
        "  The rendezvous server saw a circuit leave 256 bytes, and another fetch the bucket that they are in;",
        "  not who, not the link, not the messaging server. It has no salt, so it cannot even guess passphrases.",
        "",
        "The invite goes over one channel, the passphrase over another.",
        "  Who reads the invite on its way sees which rendezvous server it is; not the link, nor the other server.",
    )
    return offered


async def _accept(story: _Story, people: _CommandLine, offered: dict[str, Any]) -> dict[str, Any]:
    story.tell("", "The other person has both.", "  $ onion-rdv accept")
    with story.timed("accept: fetch, open, look at the messaging server"):
        accepted = await people.run(
            "accept", "-", "--json", "--probe=require", stdin=offered["invite"], passphrase=offered["passphrase"]
        )
    story.tell(
        f"  {accepted['link']}",
        f"  messaging server: {accepted['messaging_server']['detail']}",
        "  The rendezvous server saw a circuit fetch one whole bucket; not who, not which of its 64 entries opened.",
    )
    return accepted


class _Story:
    """What is told, and the times of its steps."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._times: dict[str, float] = {}
        self._started = time.monotonic()

    def tell(self, *lines: str) -> None:
        for line in () if self._silent else lines:
            emit(printable(line))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._times[step] = round(time.monotonic() - started, 2)

    def end(self, result: dict[str, Any], *, as_json: bool) -> None:
        times = self._times | {"all": round(time.monotonic() - self._started, 2)}
        if as_json:
            emit_json({**result, "seconds": times})
        self.tell("", "Times:", *(f"  {seconds:6.2f} s  {step}" for step, seconds in times.items()))


class _CommandLine:
    """The real command line, as processes; secrets go through pipes, never through arguments."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    async def run(self, *arguments: str, stdin: str, passphrase: str | None = None) -> dict[str, Any]:
        """Run a command with ``--json`` to its end; gives what it printed."""
        inherited: list[int] = []
        if passphrase is not None:
            reading, writing = os.pipe()
            os.write(writing, passphrase.encode())
            os.close(writing)
            inherited.append(reading)
            arguments += ("--passphrase-file", f"/dev/fd/{reading}")
        try:
            process = await self._start(*arguments, pass_fds=inherited)
        finally:
            for descriptor in inherited:
                os.close(descriptor)
        stdout, stderr = await process.communicate(stdin.encode())
        if process.returncode:
            raise RdvError(f"onion-rdv {arguments[0]} ended with {process.returncode}: {stderr.decode().strip()}")
        printed: dict[str, Any] = json.loads(stdout)
        return printed

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Run a rendezvous server; gives its name when it is published."""
        process = await self._start("serve", "--json")
        try:
            ready = await process.stdout.readline() if process.stdout else b""
            if not ready:
                _, stderr = await process.communicate()
                raise RdvError(f"onion-rdv serve did not start: {stderr.decode().strip()}")
            yield json.loads(ready)["server"]
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.communicate(), _GRACE)
            except TimeoutError:
                process.kill()
                await process.communicate()

    async def _start(self, *arguments: str, pass_fds: Sequence[int] = ()) -> asyncio.subprocess.Process:
        from onion_rdv.tor.testnet.processes import dying_with_parent

        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "onion_rdv",
            *arguments,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=pass_fds,
            preexec_fn=dying_with_parent(),  # forked from the main thread; takes no lock
        )

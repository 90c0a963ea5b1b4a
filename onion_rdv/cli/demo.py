"""``onion-rdv demo``: the whole mission over a private Tor network, through the real command line."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from onion_rdv.cli.demo_people import Process, running
from onion_rdv.cli.terminal import ProgressBar, emit, emit_json, printable
from onion_rdv.errors import RdvError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onion_rdv.tor.testnet import Network

_WORDS: Final = (
    ("Alice", "Did anybody see us meet?"),
    ("Bob", "Two servers saw a circuit each, and one box after the other."),
    ("Alice", "Then let us go on here."),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Tell nothing; print the result as one JSON object.")
def demo(*, as_json: bool) -> None:
    """Show a rendezvous and what comes after it, in under a minute.

    Brings up a private Tor network, a rendezvous server and a messaging server as onion services, and lets two people
    meet and exchange a few words, with the commands that you would type. Nothing touches the public Tor network, and
    nothing is left behind.
    """
    from onion_rdv.tor import testnet

    story = _Story(silent=as_json)
    story.tell(
        "Alice and Bob want to talk on a messaging server, and nobody else is to learn that they do.",
        "First a Tor network of our own: real tor processes, all on this machine.",
    )
    with ExitStack() as cleanup:
        with story.timed("private Tor network"), ProgressBar("private Tor network") as progress:
            network = cleanup.enter_context(testnet.Keeper(progress=progress)).network
        result = asyncio.run(_play(story, network))
    story.end(result, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What everybody shares: the servers by their names, where each keeps its state, and the people's environment."""

    rendezvous: str
    messaging: str
    directory: Path
    environment: dict[str, str]

    @property
    def messaging_host(self) -> str:
        """The messaging server's onion address."""
        return self.messaging.rpartition("@")[2].partition(":")[0]


async def _play(story: _Story, network: Network) -> dict[str, Any]:
    directory = network.directory / "demo"  # goes with the network, however this ends
    directory.mkdir(mode=0o700)
    config = directory / "config.toml"
    config.touch()  # so that the settings of whoever looks on change nothing
    settings = {"ONION_RDV_CONFIG": str(config), "ONION_RDV_STATE_DIR": str(directory)}
    environment = dict(os.environ | network.environment() | settings)
    async with AsyncExitStack() as stack:
        story.tell("", "Two onion services: a rendezvous server and a messaging server, run by whoever likes to.")
        with story.timed("onion services published"):
            servers = [
                await stack.enter_async_context(running(*words, environment=environment))
                for words in (("serve",), ("messaging", "serve"))
            ]
            rendezvous, messaging = [ready["server"] for ready in await asyncio.gather(*(s.hear() for s in servers))]
        story.tell("  $ onion-rdv serve", f"  {rendezvous}", "  $ onion-rdv messaging serve", f"  {messaging}")
        config.write_text(f'server = ["{rendezvous}"]\nmessaging_server = "{messaging}"\n')
        stage = _Stage(rendezvous, messaging, directory, environment)
        said = await _meet(story, stage, stack)
    return {"server": rendezvous, "messaging_server": messaging, "said": said, "traces": 0}


async def _meet(story: _Story, stage: _Stage, stack: AsyncExitStack) -> list[str]:
    story.tell("", "Alice has both servers in her settings, and begins.", "  alice$ onion-rdv talk")
    with story.timed("Alice: a queue, a link to it; sealed, left, checked"):
        alice = await stack.enter_async_context(running("talk", environment=stage.environment))
        invite = await alice.hear("invite")
    story.tell(
        f"  invite: {invite['invite']}",
        f"  passphrase: {invite['passphrase']}",
        "  The rendezvous server saw a circuit leave 256 bytes, and another fetch the bucket that they are in;",
        "  not who, not the link in them, not the messaging server. It has no salt, so it cannot guess passphrases.",
        "  The messaging server saw a circuit make a queue, and a link to it that it cannot read.",
        "",
        "Alice sends the invite to Bob over one channel, and tells him the passphrase over another.",
        "  Who reads the invite on its way sees which rendezvous server it is; not the link, nor the other server.",
        "",
        "  bob$ onion-rdv talk --join",
    )
    with story.timed("Bob: bucket fetched, link opened, both have met"):
        secrets = {"--invite-file": invite["invite"], "--passphrase-file": invite["passphrase"]}
        bob = await stack.enter_async_context(running("talk", environment=stage.environment, secrets=secrets))
        codes = [met["code"] for met in await asyncio.gather(alice.hear("met"), bob.hear("met"))]
    if codes[0] != codes[1]:
        raise RdvError("the two see different codes: somebody is between them")
    story.tell(
        f"  code: {' '.join(codes[0])}",
        "  The rendezvous server saw a circuit fetch one whole bucket; not who, not which of its 64 entries opened.",
        "  The code is the same on both sides, as they find out by voice: nobody sits between them.",
        "",
    )
    people = {"Alice": alice, "Bob": bob}
    with story.timed(f"{len(_WORDS)} messages, each said, and known to have arrived"):
        said = await _converse(story, people)
    _look_for_traces(story, stage, [invite["passphrase"], *said])
    with story.timed("goodbye, and both queues deleted"):
        alice.order(quit=True)
        await bob.hear("left")
        await asyncio.gather(alice.end(), bob.end())
    return said


async def _converse(story: _Story, people: dict[str, Process]) -> list[str]:
    for person in people.values():
        person.order(same=True)
    for speaker, text in _WORDS:
        listener = next(name for name in people if name != speaker)
        people[speaker].order(say=text)
        hearing = people[listener].hear("said"), people[speaker].hear("arrived")
        heard: dict[str, Any] = (await asyncio.gather(*hearing))[0]
        if heard["text"] != text:
            raise RdvError("what was heard is not what was said")
        story.tell(f"  {speaker}: {heard['text']}")
    return [text for _, text in _WORDS]


def _look_for_traces(story: _Story, stage: _Stage, secrets: list[str]) -> None:
    """Look, while both still hold what they were given, for what neither server may know."""
    places = {
        "rendezvous server": ("server", [stage.messaging_host, *secrets]),
        "messaging server": ("messaging", [stage.rendezvous, *secrets]),
    }
    story.tell("")
    for name, (directory, hidden) in places.items():
        files = [path for path in (stage.directory / directory).rglob("*") if path.is_file()]
        content = [path.read_bytes() for path in files]
        if any(secret.encode() in data for secret in hidden for data in content):
            raise RdvError(f"the {name} knows what it should not")
        size = sum(map(len, content))
        story.tell(f"The {name} keeps {size:,} bytes in {len(files)} files now; in none of them is")
        story.tell(
            f"  the other server's address, the passphrase, or a word of what was said. ({len(hidden)} looked for)"
        )


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

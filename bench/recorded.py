"""Record one rendezvous on a private Tor network: when ``offer``, ``accept``, tor and the server were at what.

The commands are those that people type. What passes between them and tor, and between tor and the server, goes
through relays that note when; Argon2id is noted where it is called (observed.py).
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contender import Rendezvous
from harness import BENCH, server
from network import LINK, Network, environment, private_network, published
from timeline import Phase, draw

from onion_rdv.protocol import decode_onion_address
from onion_rdv.tor.control import connect
from onion_rdv.tor.socks import SocksPort

sys.path.append(str(BENCH.parent / "tests" / "support"))

from forwarding import close, served  # what the tests use, too

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from timeline import Lane

PICTURE = BENCH.parent / "docs" / "img" / "rendezvous-timeline.svg"
SUBTITLE = "as recorded on a private Tor network on one machine; on the public network, circuits take seconds"
_SHORTEST_GAP = 0.02
"""Seconds of a program's own work between two things that it waits for that are worth a bar."""
_GREETINGS = 2 + 2
"""Bytes that a SOCKS port sends before it is asked for a stream: its choice of method, and that one is let in."""
_OPENED = _GREETINGS + 10
"""... and those with which it has opened one."""
_WHICH = {b"POST /v1/store": "store", b"POST /v1/fetch": "fetch"}

_KEYS_OF = {65_536: "Argon2id, 64 MiB: the entry's keys", 19_456: "Argon2id, 19 MiB: the bucket's link"}
"""What a call with so many KiB is for (docs/protocol.md)."""


class Piece(NamedTuple):
    """Bytes that were passed on: when, in which direction, and what."""

    at: float
    forth: bool
    data: bytes


@dataclass
class Relay:
    """Passes streams on, and keeps the pieces of each."""

    connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
    streams: list[list[Piece]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; whoever calls this closes ``writer`` afterwards."""
        pieces: list[Piece] = []
        self.streams.append(pieces)
        there, to_there = await self.connect()

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, forth: bool) -> None:
            while data := await source.read(65536):
                pieces.append(Piece(time.monotonic(), forth, data))
                sink.write(data)
            sink.write_eof()

        with suppress(OSError):
            await asyncio.gather(pass_on(reader, to_there, forth=True), pass_on(there, writer, forth=False))
        await close(to_there)


@dataclass(frozen=True)
class Recording:
    """The phases of both commands, in seconds since each was started, until it printed what it was asked for."""

    offer: Sequence[Phase]
    accept: Sequence[Phase]


class Recorder:
    """A server and a network that are there, with a relay before either."""

    def __init__(self, network: Network, home: Path, server_name: str, to_server: Relay) -> None:
        self._network = network
        self._home = home
        self._server_name = server_name
        self._to_server = to_server

    async def record(self) -> Recording:
        """Have a link handed over, each side with nothing that tor remembers of an earlier request."""
        printed, offer = await self._run("initiator", ["offer", "-", "--server", self._server_name], LINK)
        secret = self._home / "passphrase"
        secret.write_text(printed["passphrase"])
        words = ["accept", "-", "--no-probe", "--passphrase-file", str(secret)]
        printed, accept = await self._run("acceptor", words, printed["invite"])
        assert printed["link"] == LINK
        assert {phase.lane for phase in offer if phase.kind == "argon2id"} == {"initiator", "server"}
        assert {phase.lane for phase in accept if phase.kind == "argon2id"} == {"acceptor"}
        return Recording(offer, accept)

    async def _run(self, who: Lane, words: Sequence[str], stdin: str) -> tuple[dict[str, str], list[Phase]]:
        await forget(self._network)
        tor = SocksPort.parse(self._network.client_socks)
        to_tor = Relay(lambda: asyncio.open_connection(tor.host, tor.port))
        before = len(self._to_server.streams)
        notes = {name: self._home / f"{name}.notes" for name in (who, "server")}
        for path in notes.values():
            path.write_text("")
        listener = socket.create_server(("127.0.0.1", 0))
        async with served([(listener, to_tor.serve)]):
            socks = f"127.0.0.1:{listener.getsockname()[1]}"
            env = environment(self._network, self._home) | {"ONION_RDV_SOCKS": socks}
            command = [sys.executable, BENCH / "observed.py", notes[who], "-m", "onion_rdv", *words, "--json"]
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *map(str, command), env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(stdin.encode())
            process.stdin.close()
            out = await process.stdout.readline()
            printed = time.monotonic()
            await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{words[0]} ended with {process.returncode}")
        phases = [
            *_argon2id(who, notes[who]),
            *(phase for stream in to_tor.streams for phase in _of_stream(stream)),
            *(phase for stream in self._to_server.streams[before:] for phase in _of_request(stream)),
            *_argon2id("server", notes["server"]),
        ]
        waited_for = sorted((phase.start, phase.end) for phase in phases if phase.lane != "server")
        phases += [
            Phase(who, "start", f"Python starts, and onion-rdv {words[0]}", begun, waited_for[0][0]),
            *(Phase(who, "own", "imports, and other work", *gap) for gap in _gaps(waited_for)),
            Phase(who, "own", "the last checks, and what is printed", max(end for _, end in waited_for), printed),
        ]
        shifted = [Phase(p.lane, p.kind, p.words, p.start - begun, p.end - begun) for p in phases]
        return json.loads(out), shifted


def _gaps(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Give the times between spans, in the order of their starts, in which there is none."""
    end = spans[0][1]
    for start, following in spans:
        if start - end >= _SHORTEST_GAP:
            yield end, start
        end = max(end, following)


def _argon2id(who: Lane, notes: Path) -> Iterator[Phase]:
    for line in notes.read_text().splitlines():
        memory, begun, ended = json.loads(line)
        yield Phase(who, "argon2id", _KEYS_OF[memory], begun, ended)


def _of_stream(pieces: Sequence[Piece]) -> Iterator[Phase]:
    """Tell what passed between a command and tor: a stream was opened, with one request on it, or with nothing."""
    received = 0
    for number, piece in enumerate(pieces):
        received += 0 if piece.forth else len(piece.data)
        if received >= _OPENED:
            asked = max(before.at for before in pieces[:number] if before.forth)
            break
    else:
        return
    said = next((after for after in pieces[number:] if after.forth), None)
    if said:
        which = _which(said.data)
        yield Phase("tor", "tor", f"a circuit to the server, to {which}", asked, piece.at)
        yield Phase("tor", "tor", f"{which}: there and back", said.at, max(p.at for p in pieces if not p.forth))


def _of_request(pieces: Sequence[Piece]) -> Iterator[Phase]:
    """Tell what passed between tor and the server: one request, and its reply."""
    asked = max(piece.at for piece in pieces if piece.forth)
    answered = min(piece.at for piece in pieces if not piece.forth)
    yield Phase("server", "server", _which(pieces[0].data), asked, answered)


def _which(request: bytes) -> str:
    return next(which for start, which in _WHICH.items() if request.startswith(start))


async def forget(network: Network) -> None:
    """Have the client's tor forget descriptors and circuits, as one has that was just started."""
    async with await connect(network.client_control) as control:
        await control.ask("SIGNAL NEWNYM")


def record(home: Path) -> Recording:
    """Boot a network and a server, with its files in ``home``, and record."""
    ours = Rendezvous(home / "server")
    before_server = home / "relay"
    with private_network() as network, published(network, before_server) as address:
        key = decode_onion_address(address).hex()
        command = [
            sys.executable,
            BENCH / "observed.py",
            home / "server.notes",
            *ours.command("--onion-key", key)[1:],
        ]
        with server(*command):
            return asyncio.run(_record(network, home, address, ours.socket, before_server))


async def _record(network: Network, home: Path, address: str, server_socket: Path, before_server: Path) -> Recording:
    to_server = Relay(lambda: asyncio.open_unix_connection(server_socket))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(before_server))
    async with served([(listener, to_server.serve)]):
        return await Recorder(network, home, address, to_server).record()


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        recording = record(Path(place))
    PICTURE.write_text(draw(recording.offer, recording.accept, SUBTITLE))


if __name__ == "__main__":
    main()

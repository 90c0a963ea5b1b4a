"""Streams through tor's SOCKS port: names are never resolved here, and every operation has its own circuit.

Tor isolates streams by SOCKS user name and password (``IsolateSOCKSAuth``, on by default), so a pair that was never
used before means a circuit that was never used before. There is no other way out: what cannot go through the SOCKS
port is not sent.
"""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from onion_rdv.errors import NoTor, PortNotUsed, SettingsError, StreamFailed
from onion_rdv.tor import owner

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PORTS = (9050, 9150)
"""Where a system's tor and Tor Browser's tor listen on 127.0.0.1."""

_LOOPBACK = "127.0.0.1"
_RESOLVE = 0xF0  # tor's socks-extensions, section 2 "Name lookup"
_EXAMPLE_ADDRESS = "192.0.2.1"  # RFC 5737; it is nobody's
_OPTION = "--socks"

_REPLIES = {
    0x01: "tor could not connect, and its SOCKS port does not say why (ExtendedErrors in its torrc would)",
    0x02: "tor's rules do not allow it",
    0x03: "tor has no network",
    0x04: "the host cannot be reached",
    0x05: "nothing listens on that port",
    0x06: "it took tor too long",
    0xF0: "tor found no descriptor of that onion service",
    0xF1: "the descriptor of that onion service cannot be used",
    0xF2: "the introduction points of that onion service do not answer",
    0xF3: "the rendezvous point could not be used",
    0xF4: "that onion service wants client authorization",
    0xF5: "that onion service does not accept this client's authorization",
    0xF6: "that is not a valid onion address",
    0xF7: "the introduction points of that onion service did not answer in time",
}
NOT_PUBLISHED = 0xF0
AUTHORIZATION_MISSING = 0xF4
AUTHORIZATION_WRONG = 0xF5
FINAL = frozenset({0x02, 0x05, 0x07, 0x08, 0xF1, 0xF4, 0xF5, 0xF6})
"""Replies that will be the same on the next circuit. F0 is not one: one directory's 404 can produce it."""

_PAUSES = (0.5, 1, 2, 3)
"""Seconds to wait before the next try, so that a descriptor has time to arrive where it is looked for."""

_SHORTEST_SHARE = 20.0
"""Seconds that a try gets at least, before it is given up for another one over another circuit."""

_MAX_NAME_SIZE = 253  # bytes; the most that can be asked for by name (RFC 1035, section 2.3.4)

_ANSWER_SECONDS = 5.0
"""What a tor has to tell that it is one."""

_UNNAMED_CODE = re.compile(r"Invalid reply code: 0X([0-9A-F]{1,2})")


@dataclass(frozen=True, slots=True)
class SocksPort:
    """The address of a SOCKS port: an IP address, because a name would have to be resolved.

    One that nobody named is ``checked``: whenever it is used, its listener has to be known as tor's (see
    :mod:`onion_rdv.tor.owner`). That of a tor of our own has ``runs``, which says whether its process still does.
    """

    host: str
    port: int
    checked: bool = field(default=False, compare=False)
    runs: Callable[[], bool] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``PORT``, ``127.0.0.1:PORT``, ``localhost:PORT`` or ``[::1]:PORT``.

        Raises :class:`~onion_rdv.errors.SettingsError`.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or _LOOPBACK
        try:
            address = ipaddress.ip_address(_LOOPBACK if host == "localhost" else host)
            number = int(port)
        except ValueError:
            number = 0
        if not 0 < number < 2**16:
            raise SettingsError(
                "that is not the address of a SOCKS port",
                hint="give it as 127.0.0.1:9050; names are not resolved",
            )
        return cls(str(address), number)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def fresh_credentials() -> tuple[str, str]:
    """Give a SOCKS user name and password that were never used before."""
    return secrets.token_hex(16), secrets.token_hex(16)


def get_ready() -> None:
    """Load what opens streams, before anything else is loaded in another thread.

    Two threads that load at once wait for the interpreter at each of their files.
    """
    importlib.import_module("python_socks.async_.asyncio.v2")


async def open_stream(
    socks: SocksPort, host: str, port: int, timeout: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream to a host, by its name or address, on a circuit of its own, within ``timeout`` seconds.

    Raises :class:`~onion_rdv.errors.StreamFailed`, or :class:`~onion_rdv.errors.NoTor` where nothing answers at the
    SOCKS port, or what is not known to be tor. What is no host (:func:`check_host`) is asked of nobody.
    """
    from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType
    from python_socks.async_.asyncio.v2 import Proxy

    check_host(host)
    _check_listener(socks, is_reached=False)
    username, password = fresh_credentials()
    proxy = Proxy(ProxyType.SOCKS5, socks.host, socks.port, username, password, rdns=True)
    try:
        stream = await proxy.connect(host, port, timeout=timeout)
    except ProxyConnectionError:
        raise nothing_answers(socks) from None
    except ProxyTimeoutError:
        raise StreamFailed(f"no answer within {timeout:.0f} seconds") from None
    except ProxyError as error:
        raise _refused(error) from None
    except (asyncio.IncompleteReadError, ConnectionError):
        raise _hung_up() from None
    return stream.reader, stream.writer


def check_host(host: str) -> None:
    """Raise :class:`~onion_rdv.errors.StreamFailed` for what cannot be asked of a SOCKS port.

    Each label of a name has 1 to 63 bytes, all of it at most 253, in the encoding that names have on the way (IDNA).
    """
    try:
        name = host.encode("idna")
    except UnicodeError:
        name = b""
    if len(name) > _MAX_NAME_SIZE or not all(name.split(b".")):
        raise StreamFailed("what should be its host is neither a name nor an address", hint="check the link")


def share(left: float) -> float | None:
    """Give the seconds that one try may take of those that are ``left``; ``None`` for all of them.

    A circuit can come to nothing without a word, as when the service's tor ends just when it is introduced to a
    client; a circuit of its own is then as good as ever. So half of the time is kept for one, where it is enough.
    """
    return left / 2 if left / 2 >= _SHORTEST_SHARE else None


async def end_stream(writer: asyncio.StreamWriter) -> None:
    """End a stream at once, whatever is under way on it.

    This does not wait for what asyncio says of its end: where a stream breaks in the middle of a TLS handshake,
    asyncio says nothing, ever.
    """
    writer.transport.abort()
    await asyncio.sleep(0)  # the socket is closed in the event loop's next turn


async def open_stream_patiently(
    socks: SocksPort, host: str, port: int, timeout: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Do what :func:`open_stream` does, and try again on other circuits where that can help.

    All tries together take no longer than ``timeout`` seconds. Raises as :func:`open_stream` does.
    """
    check_host(host)  # another circuit would not mend it
    deadline = time.monotonic() + timeout
    for pause in _PAUSES:
        try:
            left = deadline - time.monotonic()
            return await open_stream(socks, host, port, share(left) or left)
        except StreamFailed as error:
            if error.code in FINAL or time.monotonic() + pause >= deadline:
                raise
        await asyncio.sleep(pause)
    return await open_stream(socks, host, port, deadline - time.monotonic())


def _refused(error: Exception) -> StreamFailed:
    """Turn a SOCKS refusal, as python-socks reports it, into plain words."""
    code: int | None = getattr(error, "error_code", None)
    if code is None:
        # python-socks knows the codes of RFC 1928 only, and names tor's own in the text of its error.
        unnamed = _UNNAMED_CODE.search(str(error))
        code = int(unnamed[1], 16) if unnamed else None
    if code is None:
        return _hung_up()
    return StreamFailed(_REPLIES.get(code, f"tor's SOCKS port answers with code {int(code)}"), code=int(code))


def _hung_up() -> StreamFailed:
    """Say that a SOCKS port ended a connection before it had answered, as that of a tor does that ends itself."""
    return StreamFailed("tor closed the stream without an answer")


def nothing_answers(socks: SocksPort) -> NoTor:
    """Say that a SOCKS port is not there."""
    return NoTor(f"nothing answers at the SOCKS port {socks}")


async def is_tor(socks: SocksPort, timeout: float = _ANSWER_SECONDS) -> bool:
    """Tell whether a tor answers at this port, without a word to the network.

    Asks for the address of what is an address already: tor has a SOCKS command of its own for that, and answers
    such a question at once by itself. Other proxies refuse the command.
    """
    try:
        return await _answers_as_tor(socks, timeout)
    except PortNotUsed:
        return False


async def _answers_as_tor(socks: SocksPort, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(socks.host, socks.port)
            try:
                _check_listener(socks, is_reached=True)
                return await _resolves(reader, writer)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


def _check_listener(socks: SocksPort, *, is_reached: bool) -> None:
    """See that who listens at a port that has to be checked is known to be tor; raise as :func:`open_stream` does.

    At a port that ``is_reached`` somebody does listen, and be it on another machine.
    """
    if not socks.checked:
        return
    try:
        listener = owner.of_listener(socks.host, socks.port)
        is_there = listener is not None
    except OSError:
        listener = None
        is_there = socks.runs is None or socks.runs()
    if not (is_there or is_reached):
        raise nothing_answers(socks)
    owner.check(listener, str(socks), option=_OPTION, runs=socks.runs)


async def _resolves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"\x05\x01\x02")  # version 5, one method: user name and password
    if await reader.readexactly(2) != b"\x05\x02":
        return False
    username, password = (text.encode() for text in fresh_credentials())
    writer.write(b"\x01" + bytes([len(username)]) + username + bytes([len(password)]) + password)
    if await reader.readexactly(2) != b"\x01\x00":
        return False
    name = _EXAMPLE_ADDRESS.encode()
    writer.write(bytes([5, _RESOLVE, 0, 3, len(name)]) + name + b"\0\0")
    answer = await reader.readexactly(10)
    return answer[:4] == b"\x05\x00\x00\x01" and answer[4:8] == ipaddress.ip_address(_EXAMPLE_ADDRESS).packed


async def named_socks(text: str) -> SocksPort:
    """Read the address of a SOCKS port, and see that a tor answers there.

    Raises :class:`~onion_rdv.errors.SettingsError`, or :class:`~onion_rdv.errors.NoTor` for whatever is not Tor.
    """
    named = SocksPort.parse(text)
    if not await is_tor(named):
        raise NoTor(f"what answers at {named}, if anything does, is not tor's SOCKS port")
    return named


async def find_socks(ports: tuple[int, ...] = DEFAULT_PORTS) -> SocksPort | None:
    """Give the first of these ports on 127.0.0.1 where a tor answers.

    A listener that is not known to be tor's is said to be there, and passed over.
    """
    for port in ports:
        candidate = SocksPort(_LOOPBACK, port, checked=True)
        try:
            if await _answers_as_tor(candidate, _ANSWER_SECONDS):
                return candidate
        except PortNotUsed as error:
            owner.tell(error)
    return None

"""What tor says: replies and events of its control port that are read here, the line before a stream, its log."""

from __future__ import annotations

from typing import Final

from fuzz.harness import harness, pieces, text
from onion_rdv.errors import MalformedRequest
from onion_rdv.rendezvous import proxy_line as proxy
from onion_rdv.tor import torlog
from onion_rdv.tor.control.connection import read_bootstrap
from onion_rdv.tor.onion_service import hidden_service_options as options
from onion_rdv.tor.onion_service.publication import Uploads

ADDRESS: Final = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid"


@harness
def proxy_line(data: bytes) -> bool:
    """The line that names a circuit is understood the same, whole or in pieces, and writes back."""
    stream = data[1:]
    try:
        whole = proxy.ProxyLine().feed(stream)
    except MalformedRequest:
        whole = None
        refused = True
    else:
        refused = False
    reader = proxy.ProxyLine()
    circuit, rest = None, b""
    try:
        for piece in pieces(data):
            if circuit is not None:
                rest += piece
            elif (found := reader.feed(piece)) is not None:
                circuit, rest = found
    except MalformedRequest:
        assert refused
        return False
    assert not refused
    assert whole == (None if circuit is None else (circuit, rest))
    if circuit is None:
        return False
    again = proxy.ProxyLine().feed(proxy.write(circuit) + rest)
    assert again == (circuit, rest)
    return True


@harness
def bootstrap(data: bytes) -> bool:
    """How far tor's start has come is read, whatever stands around it."""
    read = read_bootstrap(text(data))
    return read is not None and read.percent >= 0


@harness
def tor_log(data: bytes) -> bool:
    """Lines of tor's log are read, whatever is in them."""
    lines = text(data).splitlines()
    read = [torlog.bootstrap(line) or torlog.problem(line) or torlog.text(line) for line in lines]
    torlog.refusal(lines)
    return any(isinstance(one, torlog.Bootstrap) for one in read)


@harness
def hidden_service_options(data: bytes) -> bool:
    """Options that tor has go back to it as they were, and no line can become two commands."""
    pairs = [line.partition("=") for line in data.decode("latin-1").replace("\r", "\n").split("\n")]
    given = [(name, value) for name, equals, value in pairs if equals and name.isascii() and name.isalnum()]
    services = options.blocks(given)
    assert [option for block in services for option in block] == given
    for block in services:
        assert options.same(block, block)
        for _, value in block:
            plain = options.plain(value)
            assert options.plain(options.escaped(plain)) == plain
    where = options.position(services, "/var/lib/tor/ours")
    command = options.setconf(services)
    return where is not None and "\n" not in command


@harness
def upload_events(data: bytes) -> bool:
    """Events about descriptors are counted; none is counted twice, and those of others not at all."""
    uploads = Uploads(f"{ADDRESS}.onion")
    lines = text(data).splitlines()
    for line in lines:
        uploads.see(line)
    assert 0 <= uploads.unanswered <= uploads.announced <= len(lines)
    assert uploads.up is (uploads.uploaded > 0 or uploads.fetched)
    return uploads.up

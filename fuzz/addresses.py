"""What people, operators and links say to name a place: servers, ports, databases, clients."""

from __future__ import annotations

from fuzz.harness import harness, text
from onion_rdv.client.messaging import for_the_app
from onion_rdv.client.messaging import messaging_server as messaging_server_in
from onion_rdv.client.server import RendezvousServer
from onion_rdv.errors import MalformedOnionAddress, SettingsError, UsageError
from onion_rdv.rendezvous.postgres_address import DatabaseAddress
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.tor.client_authorization import Credential, public_key
from onion_rdv.tor.control_address import ControlAddress
from onion_rdv.tor.socks import SocksPort, check_host


@harness
def rendezvous_server(data: bytes) -> bool:
    """A rendezvous server is a v3 onion address, perhaps with a port."""
    try:
        read = RendezvousServer.parse(text(data))
    except MalformedOnionAddress:
        return False
    assert RendezvousServer.parse(str(read)) == read
    return True


@harness
def messaging_server(data: bytes) -> bool:
    """A messaging server's address is written so that it means the same, and its password does not show."""
    try:
        read = SmpServer.parse(text(data))
    except UsageError:
        return False
    assert SmpServer.parse(read.with_password()) == read
    assert SmpServer.parse(str(read)).password is None
    return True


@harness
def linked_server(data: bytes) -> bool:
    """The messaging server that a link names, of whatever sort the link is, can be asked of a SOCKS port."""
    link = text(data)
    found = messaging_server_in(link)
    if found is None:
        return False
    check_host(found.host)
    assert 0 < found.port < 2**16
    assert found.host.isascii()
    app_link = for_the_app(link)
    assert app_link is None or app_link.startswith("simplex:/")
    return True


@harness
def socks_port(data: bytes) -> bool:
    """A SOCKS port is an IP address and a number; no name is ever taken for one."""
    try:
        read = SocksPort.parse(text(data))
    except SettingsError:
        return False
    assert SocksPort.parse(str(read)) == read
    return True


@harness
def control_port(data: bytes) -> bool:
    """A control port is on this machine."""
    try:
        read = ControlAddress.parse(text(data))
    except SettingsError:
        return False
    assert ControlAddress.parse(str(read)) == read
    assert read.path or read.host.startswith("127.") or read.host in {"::1", "::ffff:127.0.0.1"} or ":" in read.host
    return True


@harness
def database(data: bytes) -> bool:
    """A database's URL is taken as it is, and what is said of it has no password."""
    url = text(data)
    try:
        read = DatabaseAddress.parse(url)
    except SettingsError as error:
        assert url not in error.message or len(url) < 20
        return False
    assert read.url == url
    assert "@" not in read.name or "%40" in url
    return True


@harness
def client_credential(data: bytes) -> bool:
    """The line that lets a client in is written as tor reads it."""
    try:
        read = Credential.parse(text(data))
    except UsageError:
        return False
    assert Credential.parse(read.line) == read
    assert public_key(read.public_key) == read.public_key
    return True


@harness
def client_key(data: bytes) -> bool:
    """A client's public key has one spelling."""
    try:
        key = public_key(text(data))
    except SettingsError:
        return False
    assert public_key(key) == key
    return True

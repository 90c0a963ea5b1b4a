"""Hosts as links and addresses name them, one spelling for each; docs/protocol.md, "Short links", has most of it."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final

_MAX_SIZE: Final = 253
_MAX_LABEL_SIZE: Final = 63  # RFC 1035, section 2.3.4; also where a name is only handed to a SOCKS port

_DOTTED: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})")
_IPV6: Final = re.compile(r"\[(?P<inner>[0-9A-Fa-f:.]+)\]|(?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f:]*)")
_ONION: Final = re.compile(r"(?P<name>[a-z0-9]*)\.onion")
_LABEL: Final = rf"[A-Za-z0-9_](?:[A-Za-z0-9_-]{{0,{_MAX_LABEL_SIZE - 2}}}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+$){_LABEL}")


def canonical_host(text: str) -> str:
    """Give the one spelling of an IPv4 or IPv6 address, an onion host or a domain name.

    What is a host is what SimpleX takes for one, without what cannot be reached: names with characters that no name
    has, numbers that do not fit. Domain names stay as they are, in upper or lower case. Raises :class:`ValueError`,
    which does not repeat the host.
    """
    if len(text) > _MAX_SIZE:
        raise ValueError("a host in it is too long")
    if _DOTTED.match(text):
        return _ipv4(text)
    if found := _IPV6.fullmatch(text):
        return _ipv6(found["inner"] or found["bare"])
    if onion := _ONION.match(text):
        if len(onion["name"]) > _MAX_LABEL_SIZE:
            raise ValueError(f"an onion host in it has a name of more than {_MAX_LABEL_SIZE} characters")
        if onion.group() == text != ".onion":
            return text
        raise ValueError("an onion host in it has no name, or something behind .onion")
    if not _NAME.fullmatch(text):
        raise ValueError("a host in it is neither a name nor an address")
    if text.lower().endswith(".onion"):
        raise ValueError("an onion host in it has a capital letter or a subdomain")
    return text


def linked_host(text: str) -> str | None:
    """Give the one spelling of a host that any URI may name: of an IPv4 address, or of a name, in small letters.

    An onion host may have names in front of it here, which are between its service and the app. Gives None for what
    nobody can be asked for; an IPv6 address is not looked for.
    """
    if _DOTTED.fullmatch(text):
        try:
            return _ipv4(text)
        except ValueError:
            return None
    return text.lower() if len(text) <= _MAX_SIZE and _NAME.fullmatch(text) else None


def is_onion(host: str) -> bool:
    """Say whether a host is an onion service; anything else is reached through an exit relay."""
    return host.endswith(".onion")


def _ipv4(text: str) -> str:
    dotted = _DOTTED.fullmatch(text)
    numbers = [int(number) for number in dotted.groups()] if dotted else []
    if not numbers or max(numbers) > 255:
        raise ValueError("a host in it begins like an IPv4 address, but is none")
    return ".".join(map(str, numbers))


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise ValueError("a host in it looks like an IPv6 address, but is none") from None
    if address.ipv4_mapped is not None:  # some versions of Python write dots, which readers take in brackets only
        high, low = divmod(int(address.ipv4_mapped), 2**16)
        return f"::ffff:{high:x}:{low:x}"
    return str(address)

"""The link that leads to a talk, as it is sealed into an entry (docs/talk.md, "Link").

It is made like a one-time link of SimpleX and has a scheme of its own, so that nobody spends it on the wrong program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Self

from onion_rdv.errors import MalformedEntry, UsageError
from onion_rdv.protocol import base64url
from onion_rdv.smp.wire.address import SmpServer

_SCHEME: Final = "rdv-talk://"
_LINK: Final = re.compile(
    re.escape(_SCHEME) + r"(?P<server>[^/#,]+)/(?P<link_id>[A-Za-z0-9_-]{32})#(?P<link_key>[A-Za-z0-9_-]{43})"
)
_SMP_SCHEME: Final = "smp://"


@dataclass(frozen=True, slots=True)
class TalkLink:
    """Where a talk was begun: a messaging server with one host name, the link's name there, and its key."""

    server: SmpServer
    link_id: bytes
    link_key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a link in the one form that it is written in.

        Raises :class:`~onion_rdv.errors.UsageError` for a link of another sort, which is for another program, and
        :class:`~onion_rdv.errors.MalformedEntry` for one that only begins like a talk's.
        """
        if not is_talk_link(text):
            raise UsageError(
                "this invite leads to a link for a messaging app, not to a talk", hint="get it with onion-rdv accept"
            )
        found = _LINK.fullmatch(text)
        if found is None:
            raise MalformedEntry("it begins like the link to a talk, and is none")
        try:
            server = SmpServer.parse(_SMP_SCHEME + found["server"])
        except UsageError:
            raise MalformedEntry("the link to a talk in it names no messaging server") from None
        link = cls(server, base64url.decode(found["link_id"]), base64url.decode(found["link_key"]))
        if str(link) != text:
            raise MalformedEntry("the link to a talk in it is written in an unusual way")
        return link

    def __str__(self) -> str:
        server = str(self.server).removeprefix(_SMP_SCHEME)
        return f"{_SCHEME}{server}/{base64url.encode(self.link_id)}#{base64url.encode(self.link_key)}"


def is_talk_link(text: str) -> bool:
    """Say whether a link leads to a talk, and so is of no use to a messaging app."""
    return text.startswith(_SCHEME)


def with_one_host(server: SmpServer) -> SmpServer:
    """Give the address that is passed on: without password, and with the one host that is used."""
    return SmpServer(server.key_hash, (server.host,), server.port)

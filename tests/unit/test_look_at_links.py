"""A look at SimpleX links: what of a link is asked for, and what is believed of the answer."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from certificates import issue
from contact_links import ContactLink
from smp_peer import CA, HOST, LEAF, SmpPeer, Talk
from socks_proxy import RecordingSocks

from onion_rdv.client.look import Look, look
from onion_rdv.client.messaging import for_the_app, messaging_server
from onion_rdv.errors import LinkDataRefused, MessagingIdentityDiffers, MessagingVersionUnknown, QueueRefused
from onion_rdv.protocol.short_link import LinkScheme, LinkType, ShortLink
from onion_rdv.smp.wire import commands
from onion_rdv.smp.wire.address import SmpServer
from onion_rdv.smp.wire.encoding import Versions
from onion_rdv.smp.wire.hello import fingerprint
from onion_rdv.smp.wire.replies import Err, Lnk, Pong

if TYPE_CHECKING:
    from onion_rdv.smp.wire.commands import Command

SERVER = SmpPeer().server
MANY = [LinkType.CONTACT, LinkType.CHANNEL, LinkType.GROUP, LinkType.RELAY]
ONE_TIME = ShortLink(
    scheme=LinkScheme.SIMPLEX,
    type=LinkType.ONE_TIME,
    hosts=SERVER.hosts,
    key_hash=SERVER.key_hash,
    link_id=os.urandom(24),
    link_key=os.urandom(32),
)
QUEUE = f"smp%3A%2F%2F{SERVER.fingerprint}%3D%40{HOST}%3A5224%2Fc29tZQ%3D%3D%23%2F%3Fv%3D1-4"


async def look_at(
    link: str, answer: Lnk | Err | None = None, peer: SmpPeer | None = None
) -> tuple[Look, list[Command]]:
    """Look, with a server behind the SOCKS port; gives also what it was asked."""
    asked: list[Command] = []

    async def serve(talk: Talk) -> None:
        while True:
            for transmission, command in await talk.receive():
                asked.append(command)
                reply = Pong() if isinstance(command, commands.Ping) else answer
                assert reply is not None
                await talk.send(talk.reply(transmission, reply))

    peer = peer or SmpPeer()
    peer.then = serve
    server = messaging_server(link)
    assert server is not None
    async with RecordingSocks([peer]) as proxy:
        seen = await look(server, proxy.socks, timeout=20)
    assert seen.detail.isprintable()
    return seen, asked


@pytest.mark.parametrize("kind", MANY)
async def test_a_link_for_many_is_fetched_and_checked(kind: LinkType) -> None:
    made = ContactLink(SERVER, kind)
    seen, asked = await look_at(made.link().write(), made.answer())
    assert seen == Look(
        reachable=True,
        detail="it answers, and is the server that the link names; the link is alive",
        identity=True,
        alive=True,
    )
    assert asked == [commands.LinkGet()]
    found = messaging_server(made.link().write())
    assert found is not None
    assert found.smp is not None
    assert found.smp.kind == kind.words


@pytest.mark.parametrize(
    "link",
    [
        ONE_TIME.write(),
        f"simplex:/invitation#/?v=2-7&smp={QUEUE}&e2e=v%3D2",
        f"https://simplex.chat/contact#/?v=2-7&smp={QUEUE}",
        pytest.param(f"smp://{SERVER.fingerprint}@{HOST}", id="server"),
    ],
)
async def test_a_link_that_could_be_used_up_is_never_asked_for(link: str) -> None:
    seen, asked = await look_at(link)
    assert seen == Look(
        reachable=True, detail="it answers, and is the server that the link names", identity=True, alive=None
    )
    assert asked == [commands.Ping()]


async def test_a_link_that_leads_nowhere() -> None:
    seen, _ = await look_at(ContactLink(SERVER).link().write(), Err("AUTH"))
    assert (seen.reachable, seen.identity, seen.alive) == (True, True, False)
    assert "the link leads nowhere" in seen.detail
    assert isinstance(seen.error, QueueRefused)


async def test_another_server_answers() -> None:
    made = ContactLink(replace(SERVER, key_hash=bytes(32)))
    seen, asked = await look_at(made.link().write())
    assert (seen.reachable, seen.identity, seen.alive) == (True, False, None)
    assert isinstance(seen.error, MessagingIdentityDiffers)
    assert asked == []


async def test_a_link_without_identity_is_checked_by_what_it_leads_to() -> None:
    made = ContactLink(SERVER)
    seen, _ = await look_at(made.link(with_identity=False).write(), made.answer())
    assert (seen.identity, seen.alive) == (True, True)


async def test_a_link_without_identity_at_another_server_than_its_maker_s() -> None:
    made = ContactLink(SERVER)
    other = issue("another CA")
    leaf = issue("another server", other)
    peer = SmpPeer(tls=leaf, chain=(leaf, other))
    seen, _ = await look_at(made.link(with_identity=False).write(), made.answer(), peer)
    assert (seen.identity, seen.alive) == (False, None)
    assert isinstance(seen.error, MessagingIdentityDiffers)


async def test_a_one_time_link_without_identity() -> None:
    seen, asked = await look_at(replace(ONE_TIME, key_hash=None).write())
    assert (seen.reachable, seen.identity) == (True, None)
    assert "its identity was not checked" in seen.detail
    assert asked == [commands.Ping()]


async def test_a_server_that_is_too_old() -> None:
    seen, _ = await look_at(ONE_TIME.write(), peer=SmpPeer(versions=Versions(6, 14)))
    assert not seen.reachable
    assert isinstance(seen.error, MessagingVersionUnknown)


def _altered(made: ContactLink, **changes: object) -> Lnk:
    return replace(made, **changes).answer(link_key=made.link_key)  # type: ignore[arg-type]


OTHER = ContactLink(SERVER)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda made: _altered(made, sender_id=bytes(24)), "not the one that the link was made for"),
        (lambda made: _altered(made, root=OTHER.root), "not the one that the link was made for"),
        (lambda made: replace(made, user_root=OTHER.root).answer(), "the signature on its changeable part is wrong"),
        (lambda made: replace(made.answer(), sender_id=bytes(24)), "it names another queue than the server does"),
        (lambda _: OTHER.answer(), "it does not open with the link's key"),
        (
            lambda made: replace(made.answer(), data=commands.LinkData(b"", b"")),
            "it does not open with the link's key",
        ),
        (lambda made: replace(made.answer(), data=commands.LinkData(bytes(2048), bytes(9))), "does not open"),
    ],
)
async def test_what_is_not_as_its_maker_left_it(change: object, says: str) -> None:
    made = ContactLink(SERVER)
    seen, _ = await look_at(made.link().write(), change(made))  # type: ignore[operator]
    assert (seen.reachable, seen.identity, seen.alive) == (True, True, None)
    assert isinstance(seen.error, LinkDataRefused)
    assert says in seen.detail
    assert seen.error.exit_code == 7


async def test_an_invitation_where_an_address_should_be() -> None:
    made = ContactLink(SERVER, mode=b"I")
    seen, _ = await look_at(made.link().write(), made.answer())
    assert "it is of another type than the link says" in seen.detail


async def test_a_link_that_leads_to_another_host() -> None:
    made = ContactLink(SmpServer(SERVER.key_hash, ("elsewhere.invalid",)))
    link = replace(made.link(), hosts=(HOST,))
    seen, _ = await look_at(link.write(), made.answer())
    assert "it leads to another server than the link names" in seen.detail


def test_the_peer_is_who_the_links_mean() -> None:
    assert fingerprint(CA.der) == SERVER.key_hash
    assert LEAF.certificate.issuer == CA.certificate.subject


@pytest.mark.parametrize(
    ("link", "handed_over"),
    [
        (ONE_TIME.with_scheme(LinkScheme.SERVER).write(), ONE_TIME.write()),
        (ONE_TIME.write(), ONE_TIME.write()),
        (f"https://simplex.chat/contact#/?v=2-7&smp={QUEUE}", f"simplex:/contact#/?v=2-7&smp={QUEUE}"),
        (f"simplex:/invitation#/?v=2-7&smp={QUEUE}", f"simplex:/invitation#/?v=2-7&smp={QUEUE}"),
        pytest.param(f"smp://{SERVER.fingerprint}@{HOST}", None, id="server"),
        ("https://chat.example.org/room", None),
        ("xmpp:user@example.org", None),
        ("file:///etc/passwd", None),
    ],
)
def test_only_the_app_is_handed_a_link_and_no_browser(link: str, handed_over: str | None) -> None:
    assert for_the_app(link) == handed_over

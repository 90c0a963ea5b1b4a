"""What was meant by each command in the recorded conversation, and what the server answered.

Commands are made of the recorded keys, of what the server had answered before, and of the few things that were
random: what was sent where only its size mattered, ids that do not exist, and link data whose key was not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import smp_link_data
from smp_transcript import CONNECTIONS, KEY_HASH, KEYS, LINKS, Connection

from onion_rdv.smp.wire.commands import (
    Ack,
    Command,
    Delete,
    Get,
    Key,
    LinkData,
    LinkDelete,
    LinkGet,
    LinkKey,
    LinkSet,
    Mode,
    New,
    Off,
    Ping,
    Que,
    QueueLink,
    RecipientKeys,
    Send,
    SenderKey,
    Sub,
    parse_command,
)
from onion_rdv.smp.wire.connection_info import ConnectionInfo, read_connection_info
from onion_rdv.smp.wire.crypto import NONCE_SIZE
from onion_rdv.smp.wire.envelopes import Envelope
from onion_rdv.smp.wire.link_data import contact_keys, link_key, open_parts, sender_id
from onion_rdv.smp.wire.replies import Ids, Lnk, Msg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onion_rdv.protocol.short_link import ShortLink

RCPT, SNDR, RCPT2 = (CONNECTIONS[f"v18.{name}"] for name in ("rcpt", "sndr", "rcpt2"))


class Said(NamedTuple):
    """A command, the queue or link that it is about, and the name of the key that it is authorized with.

    Where no command of ours says it, its bytes stand in its place.
    """

    command: Command | bytes
    entity: bytes = b""
    key: str | None = None


def recorded(connection: Connection, step: str) -> Command:
    """Give what was said: only ever used for what was random in it."""
    (said,) = connection.transmissions(connection.block(step))
    return parse_command(said.command, connection.version)


def recorded_body(connection: Connection, step: str) -> bytes:
    command = recorded(connection, step)
    assert isinstance(command, Send)
    return command.body


def recorded_data(connection: Connection, step: str) -> LinkData:
    command = recorded(connection, step)
    if isinstance(command, LinkSet):
        return command.data
    assert isinstance(command, New)
    assert command.link is not None
    return command.link.data


def correlation_id(connection: Connection, step: str) -> bytes:
    return connection.transmissions(connection.block(step))[0].correlation_id


def information(link: ShortLink, lnk: Lnk) -> ConnectionInfo:
    """Open and read what a link leads to."""
    under = smp_link_data.secret(link.link_key, is_invitation=link.is_one_time)
    parts = open_parts(link.link_key, under, lnk.data)
    return read_connection_info(parts, lnk.sender_id, is_invitation=link.is_one_time)


def message(connection: Connection, step: str) -> Msg:
    """Give the message in what the server said in a step."""
    return next(reply for reply in connection.replies(step) if isinstance(reply, Msg))


def made_parts(
    new: tuple[Connection, str], root: str, end_to_end: str, shown: bytes, ratchet_keys: tuple[str, str] | None = None
) -> tuple[bytes, bytes]:
    """Write both parts of the data of a link that the recorded client made."""
    letter, mode = (b"C", b"") if ratchet_keys is None else (b"I", b"T")
    sender = sender_id(correlation_id(*new))
    queue = smp_link_data.queue(sender, KEYS[end_to_end].public, key_hash=KEY_HASH, mode=mode)
    fixed = smp_link_data.fixed(KEYS[root].public, letter, [queue])
    if ratchet_keys is None:
        return fixed, smp_link_data.contact_user(shown)
    first, second = (KEYS[name].public for name in ratchet_keys)
    return fixed + smp_link_data.ratchet((first, second)), smp_link_data.invitation_user(shown)


def made_data(
    at: tuple[Connection, str], root: str, parts: tuple[bytes, bytes], *, is_invitation: bool = False
) -> LinkData:
    """Sign and seal both parts; of what was recorded, only the nonces are used."""
    was = recorded_data(*at)
    nonces = was.fixed[:NONCE_SIZE], was.user[:NONCE_SIZE]
    return smp_link_data.sealed(*parts, KEYS[root], is_invitation=is_invitation, nonces=nonces)


def new_contact(connection: Connection, step: str, keys: tuple[str, str], data: LinkData, link_id: bytes) -> New:
    receive, agree = keys
    link = QueueLink(sender_id(correlation_id(connection, step)), data, link_id)
    return New(KEYS[receive].public, KEYS[agree].public, Mode.CONTACT, link=link)


def contact() -> Iterator[tuple[str, Said]]:
    made = RCPT, "NEW-contact"
    root, receive = "contact.linkRoot", "contact.rcvAuth"
    ids = RCPT.ids("NEW-contact")
    parts = made_parts(made, root, "contact.e2eDh", b"hello from a test contact link")
    link_id = contact_keys(link_key(parts[0])).link_id
    changed = parts[0], smp_link_data.contact_user(b"changed")
    data = made_data(made, root, parts)
    yield "v18.rcpt:NEW-contact", Said(new_contact(*made, (receive, "contact.rcvDh"), data, link_id), b"", receive)
    for step in ("LGET", "LGET-after-LSET", "LGET-after-LDEL"):
        yield f"v18.sndr:{step}", Said(LinkGet(), link_id)
    unknown = SNDR.transmissions(SNDR.block("LGET-unknown"))[0].entity_id
    yield "v18.sndr:LGET-unknown", Said(LinkGet(), unknown)
    yield "v18.rcpt:LSET", Said(LinkSet(link_id, made_data((RCPT, "LSET"), root, changed)), ids.recipient_id, receive)
    for step, notify in (("SEND-anon", True), ("SEND-too-large", False)):
        yield f"v18.sndr:{step}", Said(Send(recorded_body(SNDR, step), notify), ids.sender_id)
    yield "v18.sndr:SEND-after-DEL", Said(Send(b"x"), ids.sender_id)
    yield "v18.sndr:SKEY-on-contact", Said(SenderKey(KEYS[root].public), ids.sender_id, root)
    as_recipient: dict[str, Command] = {
        "ACK": Ack(message(RCPT, "MSG").message_id),
        "ACK-again": Ack(message(RCPT, "MSG").message_id),
        "KEY-on-contact": Key(KEYS["contact.sndKey"].public),
        "QUE": Que(),
        "LDEL": LinkDelete(),
        "DEL": Delete(),
    }
    for step, command in as_recipient.items():
        yield f"v18.rcpt:{step}", Said(command, ids.recipient_id, receive)
    yield "v18.rcpt:DEL-badsig", Said(Delete(), ids.recipient_id, root)


def invitation(name: str) -> Iterator[tuple[str, Said]]:
    made = RCPT, f"{name}.NEW"
    root, receive = f"{name}.linkRoot", f"{name}.rcvAuth"
    ids = RCPT.ids(f"{name}.NEW")
    assert ids.link_id is not None
    parts = made_parts(made, root, f"{name}.e2eDh", b"test 1-time data", (f"{name}.x3dh1", f"{name}.x3dh2"))
    for step in ("NEW", "NEW-bad-sndId"):
        data = made_data((RCPT, f"{name}.{step}"), root, parts, is_invitation=True)
        new = New(
            KEYS[receive].public,
            KEYS[f"{name}.rcvDh"].public,
            Mode.MESSAGING,
            subscribe=False,
            link=QueueLink(ids.sender_id, data),  # the second time it does not fit the correlation id
        )
        yield f"v18.rcpt:{name}.{step}", Said(new, b"", receive)
    yield f"v18.sndr:{name}.LGET-refused", Said(LinkGet(), ids.link_id)
    for step, key in (("LKEY", "sndAuth"), ("LKEY-again", "sndAuth"), ("LKEY-other", "otherAuth")):
        used = f"{name}.{key}"
        yield f"v18.sndr:{name}.{step}", Said(LinkKey(KEYS[used].public), ids.link_id, used)
    send = f"{name}.sndAuth"
    yield f"v18.sndr:{name}.SKEY", Said(SenderKey(KEYS[send].public), ids.sender_id, send)
    yield f"v18.sndr:{name}.SEND-unauth", Said(Send(b"hi"), ids.sender_id)
    for step, body in (("SEND", b"hi there"), ("SEND2", b"second"), ("SEND-after-OFF", b"x")):
        yield f"v18.sndr:{name}.{step}", Said(Send(body), ids.sender_id, send)
    as_recipient: dict[str, Command] = {
        "SUB": Sub(),
        "ACK": Ack(message(RCPT, f"{name}.SUB-resp").message_id),
        "ACK2": Ack(message(RCPT, f"{name}.ACK-resp").message_id),
        "RKEY": RecipientKeys((KEYS[f"{name}.rcvAuth2"].public,)),
        "DEL-oldkey": Delete(),
    }
    for step, command in as_recipient.items():
        yield f"v18.rcpt:{name}.{step}", Said(command, ids.recipient_id, receive)
    for step, command in (("OFF", Off()), ("DEL", Delete())):
        yield f"v18.rcpt:{name}.{step}", Said(command, ids.recipient_id, f"{name}.rcvAuth2")


def without_links() -> Iterator[tuple[str, Said]]:
    receive, send = "plain.rcvAuth", "plain.sndAuth"
    keys = KEYS[receive].public, KEYS["plain.rcvDh"].public
    plain, nomode = RCPT.ids("plain.NEW"), RCPT.ids("nomode.NEW")
    yield "v18.rcpt:plain.NEW", Said(New(*keys, Mode.MESSAGING, subscribe=False), b"", receive)
    yield "v18.sndr:plain.SKEY", Said(SenderKey(KEYS[send].public), plain.sender_id, send)
    yield "v18.sndr:plain.SEND", Said(Send(b"for GET"), plain.sender_id, send)
    yield "v18.rcpt:nomode.NEW", Said(New(*keys), b"", receive)
    yield "v18.sndr:nomode.SEND", Said(Send(b"key test"), nomode.sender_id, send)
    as_recipient: dict[str, tuple[Command, Ids]] = {
        "rcpt:plain.GET": (Get(), plain),
        "rcpt:plain.ACK": (Ack(message(RCPT, "plain.GET-resp").message_id), plain),
        "rcpt:plain.GET-empty": (Get(), plain),
        "rcpt:plain.DEL": (Delete(), plain),
        "rcpt:nomode.KEY": (Key(KEYS[send].public), nomode),
        "rcpt:nomode.ACK": (Ack(message(RCPT, "nomode.MSG").message_id), nomode),
        "rcpt2:SUB": (Sub(), nomode),
        "rcpt2:DEL": (Delete(), nomode),
    }
    for step, (command, ids) in as_recipient.items():
        yield f"v18.{step}", Said(command, ids.recipient_id, receive)
    yield "v18.rcpt:PING", Said(Ping())
    yield "v18.rcpt:unknown-cmd", Said(b"NOPE")
    yield "v18.rcpt:bad-NEW", Said(b"NEW xyz", b"", receive)
    yield "v18.rcpt:NEW-noauth", Said(New(*keys))
    yield "v18.rcpt:PING-auth", Said(Ping(), b"", receive)


def both_in_one(name: str) -> Iterator[tuple[str, Said]]:
    """Tell of connections over which one client was both ends of its queues."""
    connection = CONNECTIONS[name]
    receive, send = f"{name}.rcvAuth", f"{name}.sndAuth"
    keys = receive, f"{name}.rcvDh"
    ids, contact_ids = connection.ids("NEW"), connection.ids("NEW-link")
    assert contact_ids.link_id is not None
    yield "PING", Said(Ping())
    yield "NEW", Said(New(KEYS[keys[0]].public, KEYS[keys[1]].public, Mode.MESSAGING), b"", receive)
    yield "SKEY", Said(SenderKey(KEYS[send].public), ids.sender_id, send)
    yield "SEND", Said(Send(b"test body"), ids.sender_id, send)
    yield "ACK", Said(Ack(message(connection, "SEND-resp").message_id), ids.recipient_id, receive)
    yield "SEND2", Said(Send(b"waiting"), ids.sender_id, send)
    data = recorded_data(connection, "NEW-link")
    yield "NEW-link", Said(new_contact(connection, "NEW-link", keys, data, contact_ids.link_id), b"", receive)
    yield "LGET", Said(LinkGet(), contact_ids.link_id)
    yield "DEL-link", Said(Delete(), contact_ids.recipient_id, receive)


def made_for_the_app() -> Iterator[tuple[str, Said]]:
    """Tell of links that SimpleX's own client read, and then wrote to."""
    contact_parts = made_parts((CONNECTIONS["py-hs-a"], "NEW"), "py-hs-a.root", "py-hs-a.e2eDh", b"py contact")
    shown = b"py invitation ".ljust(314, b"x")
    invitation_parts = made_parts(
        (CONNECTIONS["py-hs-i"], "NEW"), "py-hs-i.root", "py-hs-i.e2eDh", shown, ("py-hs-i.k1", "py-hs-i.k2")
    )
    for name, parts in (("py-hs-a", contact_parts), ("py-hs-i", invitation_parts)):
        connection = CONNECTIONS[name]
        ids = connection.ids("NEW")
        receive = f"{name}.rcvAuth"
        is_invitation = name == "py-hs-i"
        data = made_data((connection, "NEW"), f"{name}.root", parts, is_invitation=is_invitation)
        mode = Mode.MESSAGING if is_invitation else Mode.CONTACT
        link_id = None if is_invitation else contact_keys(link_key(parts[0])).link_id
        link = QueueLink(sender_id(correlation_id(connection, "NEW")), data, link_id)
        new = New(KEYS[receive].public, KEYS[f"{name}.rcvDh"].public, mode, link=link)
        yield f"{name}:NEW", Said(new, b"", receive)
        for step in ("MSG",) if is_invitation else ("MSG", "MSG#2"):
            ack = Ack(message(connection, step).message_id)
            yield f"{name}:{step.replace('MSG', 'ACK')}", Said(ack, ids.recipient_id, receive)
        yield f"{name}:DEL", Said(Delete(), ids.recipient_id, receive)


def made_by_the_app() -> Iterator[tuple[str, Said]]:
    """Tell of links that SimpleX's own client had made: they were read, and a message was sent."""
    for name, link_name, step, sender, end_to_end in (
        ("hs-py-contact", "hs_contact", "LGET", None, "env.16"),
        ("hs-py-inv", "hs_inv", "LKEY", "inv.snd", "env.20"),
        ("hs-py-invpq", "hs_invpq", "LKEY", "invpq.snd", "env.24"),
    ):
        connection, link = CONNECTIONS[name], LINKS[link_name]
        (lnk,) = connection.replies(f"{step}-resp")
        assert isinstance(lnk, Lnk)
        link_id = link.link_id or contact_keys(link.link_key).link_id
        look: Command = LinkGet() if sender is None else LinkKey(KEYS[sender].public)
        yield f"{name}:{step}", Said(look, link_id, sender)
        # Nothing was random in the envelope but its nonce.
        body = recorded_body(connection, "SEND")
        nonce = body[48 : 48 + NONCE_SIZE]
        info = information(link, lnk)
        envelope = Envelope(b"hello e2e from python").seal(KEYS[end_to_end], info.queues[0].dh_key, nonce)
        yield f"{name}:SEND", Said(Send(envelope, notify=True), lnk.sender_id, sender)


MEANINGS: Final[dict[str, list[Said]]] = {
    "v18.rcpt:batch": [Said(Ping()), Said(Ping())],
    **{
        name: [said]
        for part in (
            contact(),
            invitation("inv-ed25519"),
            invitation("inv-x25519"),
            without_links(),
            made_for_the_app(),
            made_by_the_app(),
        )
        for name, said in part
    },
    **{f"{name}:{step}": [said] for name in ("v15", "v18.nokey") for step, said in both_in_one(name)},
}
"""What the client said in each block that is no hello."""

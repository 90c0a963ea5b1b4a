"""The SQLite file that holds queues and messages, and its statements. For one thread."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

from onion_rdv.errors import MalformedBlock
from onion_rdv.smp.server.queues import QUOTA, Contents, Message, NewQueue, Party, Queue, Sent
from onion_rdv.smp.wire.commands import LinkData, Mode
from onion_rdv.smp.wire.keys import PublicKey
from onion_rdv.smp.wire.transmissions import ENTITY_ID_SIZE
from onion_rdv.storage.faults import Damaged
from onion_rdv.storage.file import Form, SqliteFile

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x52444D31  # "RDM1"
SCHEMA_VERSION = 1
LOST = "queues, their links and the messages in them"

_FORM = Form(APPLICATION_ID, SCHEMA_VERSION, ("onion_rdv.smp.server", "queue_schema.sql"), LOST)

_KEY_SIZE: Final = 44  # DER of an Ed25519 or X25519 key
_MODES: Final = {mode.value.decode(): mode for mode in Mode}
_COLUMNS: Final = "key, recipient_id, sender_id, link_id, recipient_keys, sender_key, box_key, mode, is_off"
_FIND: Final = {party: f"SELECT {_COLUMNS} FROM queue WHERE {party.value} = ?" for party in Party}  # noqa: S608


class QueueFile(SqliteFile):
    """An open store of queues. What it is asked of a queue that is gone by then has no effect."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the store, or make it; raises :class:`~onion_rdv.errors.StoreError`."""
        return cls.open_as(_FORM, path, begin=_nothing, check=_nothing)

    # Queues

    def find(self, party: Party, entity_id: bytes) -> Queue | None:
        """Give the queue that a party names so."""
        row = self._sql.execute(_FIND[party], (entity_id,)).fetchone()
        return None if row is None else _queue(row)

    def create(self, new: NewQueue) -> Queue | None:
        """Make a queue; None where one of its ids is taken."""
        queue = new.queue
        try:
            key = self._sql.execute(
                "INSERT INTO queue (recipient_id, sender_id, link_id, recipient_keys, box_key, mode)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    queue.recipient_id,
                    queue.sender_id,
                    queue.link_id,
                    _join(queue.recipient_keys),
                    queue.box_key,
                    None if queue.mode is None else queue.mode.value.decode(),
                ),
            ).lastrowid
        except sqlite3.IntegrityError:
            return None
        if new.link is not None:
            self._sql.execute("INSERT INTO link VALUES (?, ?, ?)", (key, new.link.fixed, new.link.user))
        return replace(queue, key=cast("int", key))

    def secure(self, key: int, sender_key: PublicKey) -> Queue | None:
        """Let only the owner of a key send to a queue; None where it is another's already."""
        der = sender_key.encode()
        self._sql.execute("UPDATE queue SET sender_key = ? WHERE key = ? AND sender_key IS NULL", (der, key))
        queue = self._by_key(key)
        return None if queue is None or queue.sender_key != sender_key else queue

    def change_recipient(self, key: int, recipient_keys: tuple[PublicKey, ...]) -> Queue | None:
        """Change who may receive from a queue."""
        self._sql.execute("UPDATE queue SET recipient_keys = ? WHERE key = ?", (_join(recipient_keys), key))
        return self._by_key(key)

    def suspend(self, key: int) -> Queue | None:
        """Let nobody send to a queue any more."""
        self._sql.execute("UPDATE queue SET is_off = 1 WHERE key = ?", (key,))
        return self._by_key(key)

    def delete(self, key: int) -> bool:
        """Delete a queue with everything in it; tells whether it was there."""
        self._sql.execute("DELETE FROM message WHERE queue = ?", (key,))
        self._sql.execute("DELETE FROM link WHERE key = ?", (key,))
        return self._sql.execute("DELETE FROM queue WHERE key = ?", (key,)).rowcount > 0

    def count(self) -> int:
        """Count the queues; this reads all of an index."""
        return int(self._value("SELECT count(*) FROM queue"))

    # Links

    def link(self, key: int) -> LinkData | None:
        """Give what a queue's link leads to."""
        row = self._sql.execute("SELECT fixed, user FROM link WHERE key = ?", (key,)).fetchone()
        return None if row is None else LinkData(_checked(row[0]), _checked(row[1]))

    def set_link(self, key: int, link_id: bytes, data: LinkData) -> Queue | None:
        """Set what a queue's link leads to.

        None, and nothing changes, where the queue has another link, the link's fixed part is another, or the link's
        id is taken.
        """
        queue = self._by_key(key)
        if queue is None or queue.link_id not in {None, link_id}:
            return None
        before = self.link(key)
        if before is not None and before.fixed != data.fixed:
            return None
        try:
            self._sql.execute("UPDATE queue SET link_id = ? WHERE key = ?", (link_id, key))
        except sqlite3.IntegrityError:
            return None
        self._sql.execute("INSERT OR REPLACE INTO link VALUES (?, ?, ?)", (key, data.fixed, data.user))
        return replace(queue, link_id=link_id)

    def delete_link(self, key: int) -> Queue | None:
        """Delete a queue's link."""
        self._sql.execute("DELETE FROM link WHERE key = ?", (key,))
        self._sql.execute("UPDATE queue SET link_id = NULL WHERE key = ?", (key,))
        return self._by_key(key)

    # Messages

    def send(self, key: int, message: Message) -> Sent:
        """Let a message wait in a queue."""
        row = self._sql.execute(
            "SELECT is_off, is_full, (SELECT count(*) FROM message WHERE queue = ?1) FROM queue WHERE key = ?1",
            (key,),
        ).fetchone()
        if row is None or row[0]:
            return Sent.REFUSED
        _, was_full, size = row
        if was_full and size:
            return Sent.FULL
        is_full = size >= QUOTA
        if is_full != was_full:
            self._sql.execute("UPDATE queue SET is_full = ? WHERE key = ?", (is_full, key))
        self._sql.execute(
            "INSERT INTO message (queue, id, time, notify, body) VALUES (?, ?, ?, ?, ?)",
            (key, message.message_id, message.time, message.notify, None if is_full else message.body),
        )
        if is_full:
            return Sent.FULL
        return Sent.KEPT if size else Sent.KEPT_FIRST

    def first(self, key: int) -> Message | None:
        """Give the first message that waits in a queue."""
        row = self._sql.execute(
            "SELECT id, time, body, notify FROM message WHERE queue = ? ORDER BY number LIMIT 1", (key,)
        ).fetchone()
        if row is None:
            return None
        message_id, time, body, notify = row
        if not isinstance(time, int):
            raise Damaged
        return Message(_checked_id(message_id), time, None if body is None else _checked(body), bool(notify))

    def acknowledge(self, key: int, message_id: bytes) -> bool:
        """Erase the first message that waits in a queue, if it is this one; tells whether it was."""
        return (
            self._sql.execute(
                "DELETE FROM message WHERE number = (SELECT min(number) FROM message WHERE queue = ?) AND id = ?",
                (key, message_id),
            ).rowcount
            > 0
        )

    def contents(self, key: int) -> Contents:
        """Look what waits in a queue."""
        return Contents(self._value("SELECT count(*) FROM message WHERE queue = ?", key), self.first(key))

    def expire(self, until: float, limit: int) -> int:
        """Erase the oldest messages, at most ``limit``, that came in second ``until`` or earlier; tells how many."""
        rows = self._sql.execute("SELECT number, time FROM message ORDER BY number LIMIT ?", (limit,)).fetchall()
        expired = [(number,) for number, time in rows if time <= until]
        self._sql.executemany("DELETE FROM message WHERE number = ?", expired)
        return len(expired)

    def _by_key(self, key: int) -> Queue | None:
        row = self._sql.execute(f"SELECT {_COLUMNS} FROM queue WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return None if row is None else _queue(row)


def _nothing(_file: QueueFile) -> None:
    """Neither begin with anything nor refuse anything."""


def _queue(row: tuple[Any, ...]) -> Queue:
    key, recipient_id, sender_id, link_id, recipient_keys, sender_key, box_key, mode, is_off = row
    if mode is not None and mode not in _MODES:
        raise Damaged
    return Queue(
        recipient_id=_checked_id(recipient_id),
        sender_id=_checked_id(sender_id),
        recipient_keys=_split(recipient_keys),
        box_key=_checked(box_key),
        mode=None if mode is None else _MODES[mode],
        link_id=None if link_id is None else _checked_id(link_id),
        sender_key=None if sender_key is None else _split(sender_key)[0],
        is_off=bool(is_off),
        key=key,
    )


def _join(keys: tuple[PublicKey, ...]) -> bytes:
    return b"".join(key.encode() for key in keys)


def _split(joined: object) -> tuple[PublicKey, ...]:
    joined = _checked(joined)
    try:
        return tuple(
            PublicKey.decode(joined[place : place + _KEY_SIZE], "a queue")
            for place in range(0, len(joined), _KEY_SIZE)
        )
    except MalformedBlock:
        raise Damaged from None


def _checked(value: object) -> bytes:
    """Take nothing for bytes that is none: SQLite files can be damaged without SQLite seeing it."""
    if not isinstance(value, bytes):
        raise Damaged
    return value


def _checked_id(value: object) -> bytes:
    value = _checked(value)
    if len(value) != ENTITY_ID_SIZE:
        raise Damaged
    return value

"""What stands in files: settings, backups, keys, clients."""

from __future__ import annotations

import io
import tomllib
from functools import cache
from pathlib import Path
from typing import Final
from unittest.mock import patch

import click
from nacl import bindings

from fuzz.harness import harness, pieces
from onion_rdv.cli.main import cli
from onion_rdv.cli.settings_file import SettingsFile
from onion_rdv.errors import BackupStaysShut, BackupUnusable, SettingsError
from onion_rdv.rendezvous.backup import records, sealing
from onion_rdv.tor.onion_service.key_file import ServiceKey

_FILE: Final = Path("/etc/onion-rdv/server.toml")


@cache
def _command() -> click.Command:
    command = cli.get_command(click.Context(cli), "serve")
    assert command is not None
    return command


@harness
def settings_file(data: bytes) -> bool:
    """A settings file is taken, or refused with its name and a line that it has."""
    try:
        content = data.decode()
        parsed = tomllib.loads(content)
    except (ValueError, RecursionError):  # settings_file.read says so; test_settings_file.py has that
        return False
    file = SettingsFile(_FILE, content, parsed)
    try:
        file.check(cli, _command())
    except SettingsError as error:
        where, _, line = error.detail.partition(":")[0].rpartition(" ")
        assert where == f"{_FILE}, line", error.detail
        assert 1 <= int(line) <= content.count("\n") + 1
        return False
    file.values(_command())
    return True


@harness
def backup_records(data: bytes) -> bool:
    """Records are read the same, however they come, and write back to the same bytes."""
    decoder = records.Decoder()
    read: list[records.Record] = []
    try:
        for piece in pieces(data):
            read += decoder.feed(piece)
        decoder.finish()
    except BackupUnusable:
        return False
    assert b"".join(map(records.encode, read)) == data[1:]
    return True


def _stretched_at_once(secret: bytes, salt: bytes) -> bytes:
    return bindings.crypto_generichash_blake2b_salt_personal(secret, 32, salt=salt)


_without_argon2 = patch.object(sealing, "stretch", _stretched_at_once)


def _opened(sealed: bytes) -> bytes | None:
    """Give what is in a sealed file; None where it is refused."""
    try:
        return b"".join(sealing.opened(io.BytesIO(sealed), "a passphrase"))
    except (BackupUnusable, BackupStaysShut):
        return None


@harness
@_without_argon2
def backup_file(data: bytes) -> bool:
    """A sealed file opens whole and unchanged, or is refused."""
    return _opened(data) is not None


@harness
@_without_argon2
def backup_seal(data: bytes) -> bool:
    """What was sealed opens, and is refused when it is cut short anywhere; where, the first two bytes say."""
    cut, content = int.from_bytes(data[:2]), data[2:]
    file = io.BytesIO()
    writer = sealing.SealedWriter(file, "a passphrase")
    writer.write(content)
    writer.finish()
    assert _opened(file.getvalue()) == content
    assert cut >= len(file.getvalue()) or _opened(file.getvalue()[:cut]) is None
    return True


@harness
def key_file(data: bytes) -> bool:
    """A key file is the one that belongs to its key, or none; so is tor's own."""
    of_tor = ServiceKey.from_tors_file(data)
    if of_tor is not None:
        assert ServiceKey.decode(of_tor.encode()) == of_tor
    read = ServiceKey.decode(data.decode("latin-1"))
    if read is None:
        return of_tor is not None
    assert read.encode().encode() == data
    return True

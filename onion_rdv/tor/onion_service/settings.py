"""What an onion service is made of, whichever way it is published."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from onion_rdv.errors import SettingsError
from onion_rdv.tor.client_authorization import MAX_CLIENTS, public_keys
from onion_rdv.tor.control_address import UNIX_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection

_LOOPBACK = re.compile(r"(?:127\.0\.0\.1|\[::1\]):([0-9]{1,5})")
_NOT_IN_COMMANDS = re.compile(r"""[^!-~]|["'\\#]""")  # tor reads ADD_ONION's arguments without quotes or escapes


@dataclass(frozen=True)
class ServiceSettings:
    """The settings of an onion service.

    * ``target``: where tor takes incoming streams: a Unix socket's absolute path, or ``127.0.0.1:PORT``.
    * ``virtual_port``: the port that clients name.
    * ``max_streams``: how many streams one client may have open at a time; the one that asks for more loses its
      circuit. 0 is unlimited.
    * ``proof_of_work``: let tor ask clients for work when more rendezvous are wanted than it can serve: it serves
      ``queue_rate`` a second, and ``queue_burst`` at once before it counts (tor's manual,
      ``HiddenServicePoWQueueRate``). One tor makes about 180 a second (proposal 327).
    * ``authorized_clients``: who may connect: x25519 public keys in base32 (52 characters), with or without
      ``descriptor:x25519:`` before them (rend-spec, "Client authorization"), 256 at most. None is everybody.

    Raises :class:`~onion_rdv.errors.SettingsError`.
    """

    target: Path | str
    virtual_port: int = 80
    max_streams: int = 16
    proof_of_work: bool = True
    queue_rate: int = 100
    queue_burst: int = 200
    authorized_clients: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_target(self.target)
        if not 0 < self.virtual_port < 2**16:
            raise SettingsError(f"the onion service's port is {self.virtual_port}, not one of 1 to 65535")
        if not 0 <= self.max_streams < 2**16:
            raise SettingsError(f"the number of streams a client may have is {self.max_streams}, not 0 to 65535")
        if self.queue_rate < 1 or self.queue_burst < 1:
            raise SettingsError("the rate and the burst of the proof-of-work queue are 1 or more")
        clients = public_keys(self.authorized_clients)
        if len(clients) > MAX_CLIENTS:
            raise SettingsError(
                f"{len(clients)} clients are authorized, and an onion service can have {MAX_CLIENTS}",
                hint="name fewer in the settings, or take some out of the list of the clients",
                settings=("authorized_client",),
            )
        object.__setattr__(self, "authorized_clients", clients)

    def letting_in(self, clients: Collection[str]) -> Self:
        """Give the same settings with these ``authorized_clients``."""
        return replace(self, authorized_clients=tuple(clients))

    @property
    def tor_target(self) -> str:
        """The target as tor writes it."""
        return f"unix:{self.target}" if isinstance(self.target, Path) else self.target


def _check_target(target: Path | str) -> None:
    if isinstance(target, Path):
        text = str(target)
        if not target.is_absolute() or _NOT_IN_COMMANDS.search(text) or len(os.fsencode(text)) > UNIX_PATH_BYTES:
            raise SettingsError(
                f"tor cannot be given the Unix socket {text!r}",
                hint=f"put it at an absolute path of at most {UNIX_PATH_BYTES} characters of plain ASCII, "
                "without spaces, quotes, # and backslashes",
            )
        return
    found = _LOOPBACK.fullmatch(target)
    if found is None or not 0 < int(found[1]) < 2**16:
        raise SettingsError(
            f"{target!r} is no place for tor to connect to", hint="give a Unix socket's path or 127.0.0.1:PORT"
        )

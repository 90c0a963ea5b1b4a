"""Whom an operator lets in, by name: a file in the server's state directory.

It has mode 0600 and a line ``NAME KEY`` for each client: a name that the operator chose, and an x25519 public key in
base32 (:mod:`onion_rdv.tor.client_authorization`). A server reads it when it starts. No line at all lets in
everybody, unless the settings name clients.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from onion_rdv.errors import SettingsError, UsageError
from onion_rdv.tor.client_authorization import MAX_CLIENTS, public_key
from onion_rdv.tor.onion_service import disk, private_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLIENTS_FILE = "authorized-clients"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Raise :class:`~onion_rdv.errors.UsageError` for what cannot be a client's name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "that cannot be a client's name",
            hint="use 1 to 64 letters, digits, dots, hyphens and underscores; a letter or digit first",
        )


class ClientList:
    """The file at a path; its methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, str]:
        """Give names and keys; raises :class:`~onion_rdv.errors.SettingsError` where the file cannot be used.

        It is :class:`~onion_rdv.errors.StoreError` where the disk fails.
        """
        try:
            text = private_file.load(self.path, SettingsError).decode("ascii")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise disk.fault(error, self.path) or SettingsError(
                f"{self.path} cannot be read ({error.strerror})", hint="run as its owner"
            ) from None
        except UnicodeDecodeError:
            raise SettingsError(f"{self.path} is damaged: it is not ASCII") from None
        clients: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            name, _, key = line.partition(" ")
            try:
                check_name(name)
                clients[name] = public_key(key)
            except UsageError as error:
                raise SettingsError(
                    f"{self.path}, line {number}: {error.message}",
                    hint="take the line away, and authorize that client anew",
                ) from None
        return clients

    def write(self, clients: Mapping[str, str]) -> None:
        """Have the file say these names and keys, safely on the disk.

        Raises :class:`~onion_rdv.errors.SettingsError`.
        """
        try:
            private_file.replace(self.path, "".join(f"{name} {key}\n" for name, key in clients.items()).encode())
        except OSError as error:
            raise SettingsError(
                f"{self.path} cannot be written ({error.strerror})",
                hint="run as the server's user, and look at its directory's space and permissions",
            ) from None

    def with_client(self, name: str, key: str, *, others: int = 0) -> dict[str, str]:
        """Give what the file says, and one more client; there are so many ``others`` besides.

        Raises :class:`~onion_rdv.errors.UsageError` where there is one of that name, or are too many already, and as
        :meth:`read` does.
        """
        check_name(name)
        clients = self.read()
        if name in clients:
            raise UsageError(
                f"there is a client {name} already", hint=f"choose another name, or first --remove {name}"
            )
        if len(clients) + others >= MAX_CLIENTS:
            raise UsageError(
                f"there are {len(clients) + others} clients already",
                hint=f"a service can have {MAX_CLIENTS}, those of the settings among them: remove one",
            )
        return clients | {name: public_key(key)}

    def without_client(self, name: str) -> dict[str, str]:
        """Give what the file says without one client.

        Raises :class:`~onion_rdv.errors.UsageError` where there is no such client, and as :meth:`read` does.
        """
        clients = self.read()
        if name not in clients:
            known = f"known are {', '.join(sorted(clients))}" if clients else "there is none at all"
            raise UsageError(f"there is no client {name}" if _NAME.fullmatch(name) else "no such client", hint=known)
        del clients[name]
        return clients

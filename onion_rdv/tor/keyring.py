"""The keys with which this user gets in to private services, and handing them to the tor that is used.

Each is a file ``ADDRESS.auth_private`` of mode 0600, ``ADDRESS`` being the service's 56 characters, and holds the
line that tor reads in such files (tor's manual, ``ClientOnionAuthDir``): a tor can be given the directory as it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from onion_rdv.errors import CommandRefused, ControlRefused, NoTor, PortNotUsed, SettingsError, UsageError
from onion_rdv.tor import control, owner
from onion_rdv.tor.client_authorization import Credential
from onion_rdv.tor.onion_service import private_file

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.control import Control
    from onion_rdv.tor.socks import SocksPort

_SUFFIX = ".auth_private"
_ANY_HOST = frozenset({"0.0.0.0", "[::]"})  # noqa: S104  # what tor says of a SOCKS port that listens everywhere


class Keyring:
    """The files in a directory, which is made (0700) when a key is put into it. Its methods block.

    They raise :class:`~onion_rdv.errors.SettingsError` where a file or the directory cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, credential: Credential) -> bool:
        """Keep a key, in the place of an older one for the same service; gives whether there was one."""
        path = self._path(credential.service)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            replaces = path.exists()
            private_file.replace(path, f"{credential.line}\n".encode("ascii"))
        except OSError as error:
            raise _unusable(path, error) from None
        return replaces

    def remove(self, service: str) -> bool:
        """Forget the key for a service (56 characters); gives whether there was one."""
        path = self._path(service)
        try:
            path.unlink()
            with suppress(OSError):  # others are left in it
                self.directory.rmdir()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unusable(path, error) from None
        return True

    def read(self) -> list[Credential]:
        """Give all keys, ordered by service."""
        try:
            paths = sorted(path for path in self.directory.iterdir() if path.name.endswith(_SUFFIX))
            return [self._load(path) for path in paths]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self.directory, error) from None

    def _load(self, path: Path) -> Credential:
        try:
            return Credential.parse(private_file.load(path, SettingsError).decode("latin-1"))
        except SettingsError:
            raise
        except UsageError:
            raise SettingsError(
                f"{path} is damaged", hint="remove the file, and give its line to onion-rdv auth add again"
            ) from None

    def _path(self, service: str) -> Path:
        return self.directory / f"{service}{_SUFFIX}"


def _unusable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{path} cannot be used ({error.strerror})", hint="look at its owner and permissions")


async def hand_over(credentials: list[Credential], socks: SocksPort, address: str | None = None) -> None:
    """Give keys to the tor that has this SOCKS port; it keeps them in memory until it ends.

    ``address`` is its control port; by default it is looked for in the usual places, as by
    :func:`~onion_rdv.tor.control.find`. Raises
    :class:`~onion_rdv.errors.NoTor` (:class:`~onion_rdv.errors.ControlRefused` where it does not let us in), and
    :class:`~onion_rdv.errors.SettingsError` for what is no address.
    """
    refusal: ControlRefused | None = None
    for candidate in control.distinct(control.USUAL_ADDRESSES if address is None else (address,)):
        try:
            async with await control.connect(candidate, checked=address is None) as connection:
                if await _has(connection, socks):
                    await _add(connection, credentials)
                    return
        except CommandRefused:
            raise
        except ControlRefused as error:
            refusal = refusal or error
        except PortNotUsed as error:
            owner.tell(error)
        except NoTor:
            continue
    raise refusal or NoTor(f"no control port of the tor at {socks} was found")


async def _has(connection: Control, socks: SocksPort) -> bool:
    """Tell whether this is the tor whose SOCKS port is used, and not another one on this machine."""
    for listener in await connection.socks_listeners():
        host, _, port = listener.rpartition(":")
        if port == str(socks.port) and (listener == str(socks) or host in _ANY_HOST):
            return True
    return False


async def _add(connection: Control, credentials: list[Credential]) -> None:
    for credential in credentials:
        await connection.ask(f"ONION_CLIENT_AUTH_ADD {credential.service} {credential.blob}")

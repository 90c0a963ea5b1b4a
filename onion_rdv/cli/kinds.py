"""Kinds of values that options take: text that something else knows how to read, checked before anything is done."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.settings import variable_of
from onion_rdv.errors import RdvError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable


class Checked(click.ParamType[str]):
    """Text that ``check`` accepts; it raises a kind of :class:`~onion_rdv.errors.RdvError` for any other."""

    name = "text"

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Give the text as it came."""
        try:
            self._check(value)
        except RdvError as error:
            variable = variable_of(param, ctx)
            if variable is None:
                raise
            raise SettingsError(f"{variable}: {error.message}", hint=error.hint) from None
        return str(value)


class OnionAddress(click.ParamType[str]):
    """A version 3 onion address; made lower case."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Give the address; raises :class:`~onion_rdv.errors.MalformedOnionAddress`."""
        from onion_rdv.protocol import decode_onion_address, encode_onion_address

        return encode_onion_address(decode_onion_address(str(value)))


class Seconds(click.FloatRange):
    """A time between two bounds; what is no number at all lies outside them, too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Give the number."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return seconds


class OwnSocketPath(click.Path):
    """The place of a Unix socket of ours; made absolute."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Give the path; raises :class:`~onion_rdv.errors.SettingsError` for one that is too long for a socket."""
        from onion_rdv.tor.control_address import UNIX_PATH_BYTES

        path = Path(os.fsdecode(super().convert(value, param, ctx))).absolute()
        if len(os.fsencode(path)) > UNIX_PATH_BYTES:
            raise SettingsError(f"a Unix socket's path has at most {UNIX_PATH_BYTES} bytes, and {path} has more")
        return path


class SocketPath(click.Path):
    """The place of a Unix socket that tor connects to; made absolute."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Give the path; raises :class:`~onion_rdv.errors.SettingsError` for one that tor cannot be given."""
        from onion_rdv.tor.onion_service import ServiceSettings

        path = Path(os.fsdecode(super().convert(value, param, ctx))).absolute()
        ServiceSettings(path)
        return path


def _rendezvous_server(text: str) -> None:
    from onion_rdv.client.server import RendezvousServer

    RendezvousServer.parse(text)


def _messaging_server(text: str) -> None:
    from onion_rdv.smp.wire.address import SmpServer

    SmpServer.parse(text)


def _socks_port(text: str) -> None:
    from onion_rdv.tor.socks import SocksPort

    SocksPort.parse(text)


def _control_port(text: str) -> None:
    from onion_rdv.tor.control_address import ControlAddress

    ControlAddress.parse(text)


def _database(text: str) -> None:
    from onion_rdv.rendezvous.postgres_address import DatabaseAddress

    DatabaseAddress.parse(text)


def _client_key(text: str) -> None:
    from onion_rdv.tor.onion_service import ServiceSettings

    ServiceSettings("127.0.0.1:1", authorized_clients=(text,))


READABLE_FILE: click.Path = click.Path(exists=True, dir_okay=False, path_type=Path)
RENDEZVOUS_SERVER = Checked(_rendezvous_server)
MESSAGING_SERVER = Checked(_messaging_server)
SOCKS_PORT = Checked(_socks_port)
CONTROL_PORT = Checked(_control_port)
DATABASE = Checked(_database)
CLIENT_KEY = Checked(_client_key)
TIMEOUT = Seconds(1, 86_400)

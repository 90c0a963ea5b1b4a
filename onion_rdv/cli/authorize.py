"""``onion-rdv authorize``: let only those in to the rendezvous server of this machine who were given a key."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onion_rdv.cli.administration import admin_client, administration_options, database_option, server_directory
from onion_rdv.cli.service_options import authorized_client_option, onion_service_dir_option
from onion_rdv.cli.settings import EPILOG, SERVE, is_there
from onion_rdv.cli.terminal import emit, emit_json, refuse_journal, say, warn
from onion_rdv.errors import NoServerHere, SettingsError, StoreError, UsageError

if TYPE_CHECKING:
    from onion_rdv.rendezvous.admin.client import AdminClient
    from onion_rdv.rendezvous.admin.clients import Clients
    from onion_rdv.rendezvous.settings import ServerSettings

_UNUSED = Path("/socket")  # nothing is served from here
_UNIT_STATE = Path("/var/lib/onion-rdv/server")
_UNIT_CREDENTIAL = Path("/etc/credstore.encrypted/onion-rdv.onion-service.key")
"""Where the server of onion-rdv.service has what is its own, and where systemd may keep its onion key."""

_LATER = "this holds from the server's next start on: no server runs now"
_SOON = "tor has not reached its directories yet; the server goes on trying, and shuts out at once who is removed"


@click.command(epilog=EPILOG)
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--list", "listing", is_flag=True, help="Print the clients that are let in.")
@click.option("--remove", "removed", metavar="NAME", help="Shut this client out, at once.")
@click.option("--make-public", is_flag=True, help="With --remove: let everybody in when the last client is gone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@administration_options
@onion_service_dir_option(SERVE)
@authorized_client_option(SERVE)
@database_option
def authorize(
    name: str | None, removed: str | None, *, listing: bool, make_public: bool, as_json: bool, **options: Any
) -> None:
    """Let the client NAME in to the rendezvous server of this machine, and nobody without a key.

    Makes a key, has the running server (or the next that is started) let it in, and prints the line that the client
    gives to onion-rdv auth add. That line is a secret; nothing of it is kept here.
    """
    if (name is not None) + listing + (removed is not None) != 1:
        raise UsageError(
            "there has to be one of NAME, --list and --remove NAME", hint="see onion-rdv authorize --help"
        )
    desk = _Desk(options, adds=name is not None)
    if listing:
        _show(desk.ask("GET"), as_json=as_json)
    elif removed is not None:
        _remove(desk, removed, make_public=make_public, as_json=as_json)
    else:
        _add(desk, str(name), as_json=as_json)


class _Desk:
    """Where clients are asked for and changed: the server that runs, or the file where none does.

    Whoever ``adds`` one has to know the address, and has the server's key made where there was no server yet.
    """

    def __init__(self, options: dict[str, Any], *, adds: bool) -> None:
        self._client: AdminClient = admin_client(options["admin_socket"], options["state_dir"])
        self._directory: Path = server_directory(options["state_dir"])
        self._options = options
        self._adds = adds
        self.runs = True

    def ask(self, method: str, **content: str | bool) -> dict[str, Any]:
        """Give what :class:`Clients` says to this."""
        return asyncio.run(self._ask(method, content))

    async def _ask(self, method: str, content: dict[str, Any]) -> dict[str, Any]:
        from onion_rdv.rendezvous.admin.clients import CLIENTS_PATH

        try:
            said: dict[str, Any] = await self._client.ask(method, CLIENTS_PATH, content or None)
        except NoServerHere as nobody:
            if is_there(self._directory) and not os.access(self._directory, os.R_OK | os.W_OK | os.X_OK):
                raise  # it may run, as the user that may look into it
            self.runs = False
            return await self._ask_file(method, content, nobody)
        else:
            return said

    async def _ask_file(self, method: str, content: dict[str, Any], nobody: NoServerHere) -> dict[str, Any]:
        from onion_rdv.tor.onion_service import state_directory

        if self._adds:
            await asyncio.to_thread(state_directory.make_private, self._directory)
        try:
            with state_directory.in_use(self._directory) if is_there(self._directory) else nullcontext():
                clients = await self._stopped()
                match method:
                    case "POST":
                        return await clients.add(**content)
                    case "DELETE":
                        return await clients.remove(**content)
                return await clients.list()
        except StoreError:
            raise NoServerHere(
                f"{nobody.detail}, and yet one is running on {self._directory}",
                hint="name its admin socket with --admin-socket",
            ) from None

    async def _stopped(self) -> Clients:
        """Give the clients of a server that does not run."""
        from onion_rdv.rendezvous.admin.clients import Clients
        from onion_rdv.rendezvous.settings import ServerSettings

        settings = ServerSettings(
            self._directory,
            onion_service_dir=self._options["onion_service_dir"],
            authorized_clients=self._options["authorized_client"],
        )
        address = await self._address(settings)
        return Clients(address, None, settings.client_list, settings.authorized_clients)

    async def _address(self, settings: ServerSettings) -> str | None:
        """Tell the address of a server that does not run; None where it is neither known nor needed."""
        from onion_rdv.tor.onion_service import key_file
        from onion_rdv.tor.onion_service.hosting import KEY_FILE

        way = settings.way(_UNUSED)
        if settings.onion_service_dir is None:
            key = await asyncio.to_thread(key_file.load, settings.state_directory / KEY_FILE)
            if key is not None or not self._adds:
                return None if key is None else key.address
            self._refuse_another_key()
        address = await way.expected_address()
        if address is None and self._adds:
            raise SettingsError(
                f"what address the server will have is not known yet: {settings.onion_service_dir} does not say it",
                hint="start the server once, as the user that may read that directory; or run this as that user",
                settings=("onion_service_dir",),
            )
        return address

    def _refuse_another_key(self) -> None:
        """Refuse to make a key where a server has had one, or may have had, which is elsewhere now."""
        from onion_rdv.rendezvous.opening import STORE_FILE
        from onion_rdv.tor.onion_service.client_list import CLIENTS_FILE
        from onion_rdv.tor.onion_service.detached import NOTE_FILE

        left = [name for name in (STORE_FILE, NOTE_FILE, CLIENTS_FILE) if (self._directory / name).exists()]
        if left:
            why = f"{self._directory} has its {' and '.join(left)}, but not its onion key"
            cure = "start the server first, if the key is a credential that systemd keeps; else put the key back from"
            cure += " a backup"
        elif self._directory == _UNIT_STATE and _is_seen(_UNIT_CREDENTIAL):
            why = f"systemd keeps its onion key, in {_UNIT_CREDENTIAL}"
            cure = "start the server first"
        elif self._options["database"] is not None:  # the buckets' address is there, and nothing of it here
            why = f"its buckets are in PostgreSQL, and its onion key is not in {self._directory}"
            cure = "start the server first; one that is to be private before has its clients in authorized_client"
        else:
            return
        raise SettingsError(f"what address the server has is not known: {why}", hint=cure)


def _is_seen(path: Path) -> bool:
    with suppress(PermissionError):  # this user is not told
        return path.exists()
    return False


def _add(desk: _Desk, name: str, *, as_json: bool) -> None:
    from onion_rdv.tor.client_authorization import Credential

    refuse_journal("the client's key")
    before = desk.ask("GET")
    credential = Credential.generate(before["address"])
    after = desk.ask("POST", name=name, key=credential.public_key)
    if _count(before) == 0:
        warn("THIS SERVER IS PRIVATE NOW: nobody gets in any more but the clients that you authorize")
    _tell_when(desk, after)
    if as_json:
        emit_json({"name": name, "credential": credential.line, **after})
        return
    say(
        f"{name} gets in to {after['address']} with this line for onion-rdv auth add, a secret that is not kept here:"
    )
    emit(credential.line)


def _remove(desk: _Desk, name: str, *, make_public: bool, as_json: bool) -> None:
    after = desk.ask("DELETE", name=name, make_public=make_public)
    if _count(after) == 0:
        warn("THIS SERVER IS PUBLIC NOW: everybody who knows its address gets in")
    _tell_when(desk, after)
    if as_json:
        emit_json({"name": name, **after})
    else:
        say(f"{name} is removed; {_words(after)}")


def _show(said: dict[str, Any], *, as_json: bool) -> None:
    from onion_rdv.tor.client_authorization import PUBLIC_PREFIX

    if as_json:
        emit_json(said)
        return
    for client in said["clients"]:
        emit(f"{client['name']:<20} {PUBLIC_PREFIX}{client['key']}")
    say(_words(said))


def _tell_when(desk: _Desk, said: dict[str, Any]) -> None:
    if not desk.runs:
        warn(_LATER)
    elif not said["published"]:
        warn(_SOON)


def _count(said: dict[str, Any]) -> int:
    return len(said["clients"]) + int(said["configured"])


def _words(said: dict[str, Any]) -> str:
    if not _count(said):
        return "the server is public: everybody who knows its address gets in"
    configured = f", {said['configured']} of them named in the settings" if said["configured"] else ""
    return f"the server is private: {_count(said)} may come{configured}"

"""Open a control port and be let in by it (control-spec, sections "PROTOCOLINFO" and "Authentication")."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from onion_rdv.errors import ControlRefused, NoTor, PortNotUsed, SettingsError
from onion_rdv.tor import owner, users
from onion_rdv.tor.control.connection import Control
from onion_rdv.tor.control.permission import Trouble, denied
from onion_rdv.tor.control.stem_parts import stem
from onion_rdv.tor.control.wire import Wire
from onion_rdv.tor.control_address import USUAL_ADDRESSES, ControlAddress, distinct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TIMEOUT_SECONDS = 10

_METHODS = (
    stem.connection.AuthMethod.NONE,
    stem.connection.AuthMethod.PASSWORD,
    stem.connection.AuthMethod.SAFECOOKIE,
)
"""In this order. Plain COOKIE is left out: every tor that knows it knows SAFECOOKIE (since 0.2.3), and by it
whatever listens on the port could have any 32-byte file of this user sent to it."""

_OTHER_HINT = "another program may be using that address: name tor's own control port (ControlPort in torrc)"


async def connect(
    address: str,
    *,
    password_file: Path | None = None,
    timeout: float = _TIMEOUT_SECONDS,
    checked: bool = False,
    runs: Callable[[], bool] | None = None,
) -> Control:
    """Open the control port at ``address`` (see :meth:`ControlAddress.parse`) within ``timeout`` seconds.

    ``password_file`` holds the control password on its first line. An address that nobody named has to be
    ``checked``: then nothing is said to a listener that is not known to be tor's (see :mod:`onion_rdv.tor.owner`).
    Where it is that of a tor of our own, ``runs`` says whether its process still does.

    Raises :class:`~onion_rdv.errors.SettingsError` for a malformed address or an unusable password file,
    :class:`~onion_rdv.errors.ControlRefused` when tor (or the socket's permissions) do not let us in,
    :class:`~onion_rdv.errors.PortNotUsed` for such a listener, and :class:`~onion_rdv.errors.NoTor` when nothing
    answers, or something that is no control port.
    """
    where = ControlAddress.parse(address)
    password = None if password_file is None else _read_password(password_file)
    wire = Wire(where, timeout, checked=checked, runs=runs)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.to_thread(_log_in, wire, where, password, checked=checked)
    except BaseException as error:
        await asyncio.to_thread(wire.end)
        if isinstance(error, TimeoutError):
            raise NoTor(f"{where} did not answer within {timeout:g} seconds", hint=_OTHER_HINT) from None
        raise
    return Control(wire, where)


async def find(
    addresses: Iterable[str] = USUAL_ADDRESSES,
    *,
    password_file: Path | None = None,
    timeout: float = _TIMEOUT_SECONDS,
) -> Control | None:
    """Open the first of ``addresses`` that lets us in; None when no control port answers at any of them.

    A listener that is not known to be tor's is said to be there, and passed over. ``timeout`` seconds are for each.
    Raises :class:`~onion_rdv.errors.ControlRefused` when there are control
    ports, and none lets us in.
    """
    refusal: ControlRefused | None = None
    for address in distinct(addresses):
        try:
            return await connect(address, password_file=password_file, timeout=timeout, checked=True)
        except ControlRefused as error:
            refusal = refusal or error
        except PortNotUsed as error:
            owner.tell(error)
        except NoTor:
            continue
    if refusal is not None:
        raise refusal
    return None


def _log_in(wire: Wire, where: ControlAddress, password: str | None, *, checked: bool) -> None:
    offer = _ask_for_ways_in(wire, where)
    offered = tuple(offer.auth_methods)
    troubles = []
    for method in _METHODS:
        if method not in offered:
            continue
        if method == stem.connection.AuthMethod.PASSWORD and password is None:
            troubles.append(Trouble("it wants a password", "put its password into a file, and name that file"))
            continue
        if method == stem.connection.AuthMethod.SAFECOOKIE and checked and _is_a_strangers(offer.cookie_path):
            detail = f"its cookie {offer.cookie_path} is a file of neither this user nor a system account"
            troubles.append(Trouble(detail, "let tor's own user have that file, and restart tor"))
            continue
        offer.auth_methods = (method,)  # one at a time, so that each tells its own trouble
        try:
            stem.connection.authenticate(wire, password, protocolinfo_response=offer)
        except stem.connection.AuthenticationFailure as error:
            troubles.append(_trouble(error))
        else:
            return
    if not troubles:
        troubles.append(Trouble("it offers no way in that is safe to take", "set CookieAuthentication 1 in torrc"))
    raise ControlRefused(
        f"{where}: {'; '.join(trouble.detail for trouble in troubles)}",
        hint="; or ".join(trouble.hint for trouble in troubles),
    )


def _ask_for_ways_in(wire: Wire, where: ControlAddress) -> stem.response.protocolinfo.ProtocolInfoResponse:
    try:
        wire.connect()
    except stem.SocketError as error:
        raise _unopened(where, error.__cause__) from error
    try:
        offer = stem.connection.get_protocolinfo(wire)
    except stem.SocketError as error:
        raise NoTor(f"{where} takes connections and closes them", hint=_OTHER_HINT) from error
    except stem.ProtocolError as error:
        raise NoTor(f"{where} answers, but not as a control port does", hint=_OTHER_HINT) from error
    except UnicodeDecodeError as error:
        raise _not_a_path(where) from error
    if "\0" in (offer.cookie_path or ""):
        raise _not_a_path(where)
    return offer


def _not_a_path(where: ControlAddress) -> ControlRefused:
    return ControlRefused(
        f"{where}: the path of its cookie is not one in UTF-8",
        hint="name another file for it (CookieAuthFile in torrc)",
    )


def _is_a_strangers(cookie: str | None) -> bool:
    """Say whether a cookie is in a file of somebody's whose ports would not be used either: it proves nothing then.

    Whom a user namespace does not show us (``PrivateUsers=`` in systemd's units) we do not call a stranger.
    """
    if cookie is None:
        return False
    try:
        uid = Path(cookie).stat().st_uid
    except OSError:  # stem says why it cannot be read
        return False
    return users.is_seen(uid) and not owner.is_trusted(uid)


def _unopened(where: ControlAddress, cause: BaseException | None) -> NoTor:
    if isinstance(cause, PermissionError) and where.path is not None:
        trouble = denied(Path(where.path), os.W_OK)
        return ControlRefused(trouble.detail, hint=trouble.hint)
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "it was closed"
    return NoTor(
        f"no control port at {where} ({reason.lower()})",
        hint="install tor (apt install tor), and let it have a control port (ControlPort 9051 in torrc)",
    )


def _trouble(error: stem.connection.AuthenticationFailure) -> Trouble:
    match error:
        case stem.connection.IncorrectPassword():
            return Trouble("the password is wrong", "mend the password file (HashedControlPassword in torrc)")
        case stem.connection.UnreadableCookieFile(cookie_path=path):
            return denied(Path(path), os.R_OK)
        case stem.connection.IncorrectCookieSize(cookie_path=path):
            return Trouble(f"its cookie {path} does not have 32 bytes", "restart tor: it writes the cookie anew")
        case stem.connection.IncorrectCookieValue() | stem.connection.AuthSecurityFailure():
            path = error.cookie_path
            return Trouble(f"the cookie {path} is not this tor's", "restart tor: it writes the cookie anew")
    return Trouble(f"authentication failed ({error})", "look into tor's log")


def _read_password(file: Path) -> str:
    # Latin-1 keeps every byte as it is through stem, which sends Latin-1; the backslash is for tor's QuotedString.
    try:
        password = file.read_bytes().decode("latin-1").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise SettingsError(f"password file {file}: {error.strerror}") from error
    if not password or any(character in password for character in "\r\n\0"):
        raise SettingsError(f"password file {file} does not hold one line with the control password")
    return password.replace("\\", "\\\\")

"""Asks OSV, the open database of known vulnerabilities, about packages of PyPI: https://google.github.io/osv.dev/api/.

One request has all packages, and one more for each advisory that concerns one of them asks what it says. This is a
tool for those who work on the program, and no part of it: it connects directly, and tells OSV nothing but what the
lock files of this public source say.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Collection

DATABASE: Final = "https://api.osv.dev/v1"

PATIENCE: Final = 5.0
"""Seconds to wait for a connection, and for each piece of a reply."""

_LONGEST: Final = 60.0
"""Seconds that everything may take together."""

_LARGEST: Final = 8 * 2**20
"""Bytes of a reply, unpacked: thousands of ids, or an advisory that lists every version of a package."""

_MOST_PAGES: Final = 20

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_T = TypeVar("_T")


class NotAuditedError(Exception):
    """The database cannot be asked, or does not answer as it should."""


@dataclass(frozen=True, slots=True)
class Package:
    """A version of a package, under its normalised name."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Advisory:
    """What is known of a vulnerability; texts are as the server has them, and not yet fit for a terminal."""

    ids: tuple[str, ...]
    """All its names, the one that it was found under first."""
    summary: str
    severity: str
    """A word (LOW to CRITICAL), or a CVSS vector, or nothing."""
    fixed: tuple[str, ...]
    """The first versions without it, one for each line of versions."""


async def known_vulnerabilities(
    packages: Collection[Package], database: str = DATABASE, patience: float = PATIENCE
) -> dict[Package, list[Advisory]]:
    """Give the advisories that concern any of these packages, without those that were withdrawn.

    One that several databases have under names of their own is there once. One whose details cannot be had is there
    without them. Raises :class:`NotAuditedError`.
    """
    found: dict[Package, list[Advisory]] = {}
    waiting = aiohttp.ClientTimeout(total=None, connect=patience, sock_read=patience)
    try:
        async with asyncio.timeout(_LONGEST), aiohttp.ClientSession(timeout=waiting, trust_env=True) as session:
            for package, ids in (await _ids(session, database, packages)).items():
                advisories = [await _advisory(session, database, package, one) for one in sorted(ids)]
                if there := _without_doubles([one for one in advisories if one is not None]):
                    found[package] = there
    except TimeoutError as error:
        raise NotAuditedError("it does not answer in time") from error
    return found


async def _ids(
    session: aiohttp.ClientSession, database: str, packages: Collection[Package]
) -> dict[Package, list[str]]:
    """Ask which advisories concern which packages; a long answer comes in pages, each asked for with a token."""
    found: dict[Package, list[str]] = {}
    waiting = dict.fromkeys(packages, "")
    for _ in range(_MOST_PAGES):
        queries = [
            {"package": {"name": package.name, "ecosystem": "PyPI"}, "version": package.version}
            | ({"page_token": token} if token else {})
            for package, token in waiting.items()
        ]
        reply = await _ask(session, f"{database}/querybatch", {"queries": queries})
        results = _field(reply, "results", list)
        if len(results) != len(waiting):
            raise NotAuditedError(f"it answers {len(results)} questions, and {len(waiting)} were asked")
        tokens = {}
        for package, result in zip(list(waiting), results, strict=True):
            if vulnerabilities := _field(result, "vulns", list, []):
                found.setdefault(package, []).extend(_id(one) for one in vulnerabilities)
            if token := _field(result, "next_page_token", str, ""):
                tokens[package] = token
        waiting = tokens
        if not waiting:
            return found
    raise NotAuditedError("it does not come to the end of its answer")


async def _advisory(session: aiohttp.ClientSession, database: str, package: Package, name: str) -> Advisory | None:
    """Ask what an advisory says; gives nothing if it was withdrawn."""
    try:
        record = await _ask(session, f"{database}/vulns/{name}")
        return _read_advisory(record, package, name)
    except NotAuditedError as error:
        return Advisory((name,), f"what it says cannot be had: {error}", "", ())


def _read_advisory(record: Any, package: Package, name: str) -> Advisory | None:
    """Read a record as https://ossf.github.io/osv-schema/ has them."""
    if _field(record, "withdrawn", str, ""):
        return None
    aliases = (_text(alias) for alias in _field(record, "aliases", list, []))
    severities = [_field(one, "score", str) for one in _field(record, "severity", list, [])]
    word = _field(_field(record, "database_specific", dict, {}), "severity", str, "")
    fixed = [
        version
        for affected in _field(record, "affected", list, [])
        if canonicalize_name(_field(_field(affected, "package", dict, {}), "name", str, "")) == package.name
        for line in _field(affected, "ranges", list, [])
        if _field(line, "type", str) == "ECOSYSTEM"
        for event in _field(line, "events", list)
        if (version := _field(event, "fixed", str, ""))
    ]
    said = _field(record, "summary", str, "") or _field(record, "details", str, "").partition("\n")[0]
    return Advisory((name, *aliases), said, next(filter(None, [word, *severities]), ""), tuple(dict.fromkeys(fixed)))


def _without_doubles(advisories: list[Advisory]) -> list[Advisory]:
    """Put together what is the same under several names, as the names say."""
    found: list[Advisory] = []
    for one in advisories:
        same = next((other for other in found if set(other.ids) & set(one.ids)), None)
        if same is None:
            found.append(one)
        else:
            found[found.index(same)] = Advisory(
                tuple(dict.fromkeys(same.ids + one.ids)),
                same.summary or one.summary,
                same.severity or one.severity,
                tuple(dict.fromkeys(same.fixed + one.fixed)),
            )
    return found


async def _ask(session: aiohttp.ClientSession, url: str, question: object = None) -> Any:
    """Post a question, or get what is there; nothing is followed elsewhere, and no more is read than fits."""
    method = "GET" if question is None else "POST"
    try:
        async with session.request(method, url, json=question, allow_redirects=False) as reply:
            if reply.status != 200:
                raise NotAuditedError(f"it answers with status {reply.status}")
            data = bytearray()
            async for piece in reply.content.iter_chunked(2**16):
                data += piece
                if len(data) > _LARGEST:
                    raise NotAuditedError(f"it answers with more than {_LARGEST} bytes")
    except TimeoutError as error:
        raise NotAuditedError("it does not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise NotAuditedError(f"it cannot be asked ({error})") from error
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotAuditedError("it does not answer in JSON") from error


def _field(record: Any, name: str, kind: type[_T], default: _T | None = None) -> _T:
    value = record.get(name, default) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise NotAuditedError(f"it answers with a {name!r} that is none")
    return value


def _id(record: Any) -> str:
    name = _field(record, "id", str)
    if not _ID.fullmatch(name):
        raise NotAuditedError("it answers with an id that is none")
    return name


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotAuditedError("it answers with a name that is none")
    return value

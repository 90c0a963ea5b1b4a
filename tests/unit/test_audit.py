"""The audit of the lock files, against a server that speaks as OSV does, and others that do not."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from vulnerability_database import DENIAL, ESCAPE, ESCAPE_TOO, Database, Handler, record

from release import ROOT, osv
from release.audit import Audit
from release.locks import LOCKS, read
from release.reviewed import reviewed

if TYPE_CHECKING:
    from pathlib import Path

ALL_FIELDS = {*ESCAPE, *ESCAPE["affected"][0], "name", "events", "fixed", "type", "score", "details", "withdrawn"}
TODAY = date(2026, 11, 28)
LOCK = f"jinja2==2.4.1 \\\n    --hash=sha256:{'0' * 64}\n    # via something\n"
WHY = "Nobody but the operator writes templates here."
SAID = "jinja2 2.4.1 (requirements.lock): GHSA-462w-v97r-4m45 = CVE-2019-10906 = PYSEC-2019-217: HIGH: "
SAID_TOO = "jinja2 2.4.1 (requirements.lock): GHSA-g3rq-g295-4j3m = CVE-2020-28493 = PYSEC-2021-66: MODERATE: "


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    lock = tmp_path / "requirements.lock"
    lock.write_text(LOCK)
    return Audit([lock], written(tmp_path), tmp_path / "build" / "last", TODAY)


def written(directory: Path, *entries: dict[str, Any]) -> Path:
    """Write a file of advisories that somebody has looked at; gives its path."""
    path = directory / "advisories.toml"
    lines = ["[[advisory]]\n" + "".join(f"{key} = {value!r}\n" for key, value in entry.items()) for entry in entries]
    path.write_text("".join(lines))
    return path


def entry(until: str = "2027-01-01", **other: str) -> dict[str, Any]:
    class Day:
        def __repr__(self) -> str:
            return until

    return {"id": "CVE-2019-10906", "package": "jinja2", "why": WHY, "until": Day()} | other


async def test_what_is_known_is_said(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(ESCAPE, ESCAPE_TOO, DENIAL)
    async with database.serving() as url:
        assert await audit.run(url) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"audit: {SAID}Jinja2 sandbox escape via string formatting: fixed in 2.10.1",
        f"audit: {SAID_TOO}Regular Expression Denial of Service (ReDoS) in Jinja2: fixed in 2.11.3",
    ]
    assert database.asked == [{"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.4.1"}]


async def test_all_that_is_locked_is_asked_about_at_once(
    audit: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database()
    async with database.serving() as url:
        assert await Audit(LOCKS, audit.advisories, audit.last).run(url, strict=True) == 0
    locked = {(package.name, package.version) for lock in LOCKS for package in read(lock)}
    assert len(database.asked) == len(locked) > 100
    assert {(asked["package"]["name"], asked["version"]) for asked in database.asked} == locked
    assert database.requests == ["POST /v1/querybatch"]
    said = f"audit: {len(locked)} packages of {len(LOCKS)} lock files: no vulnerability is known\n"
    assert capsys.readouterr() == (said, "")


async def test_an_answer_in_pages_is_read_to_its_end(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(ESCAPE, DENIAL, page=1)
    async with database.serving() as url:
        assert await audit.run(url) == 1
    assert [asked.get("page_token") for asked in database.asked] == [None, "1"]
    first, second = capsys.readouterr().err.splitlines()
    assert SAID in first
    assert SAID_TOO in second


async def test_what_was_withdrawn_is_none(audit: Audit) -> None:
    async with Database(DENIAL | {"withdrawn": "2024-01-01T00:00:00Z"}).serving() as url:
        assert await audit.run(url, strict=True) == 0


async def test_nothing_that_the_server_writes_reaches_a_terminal_raw(
    audit: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x9b\u202e\ud800\nEVIL"
    async with Database(record("X-1", evil, fixed=evil, summary=evil, details=evil)).serving() as url:
        assert await audit.run(url) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.isprintable()
    assert said.count(r"\x1b[2J\x9b\u202e\ud800\nEVIL") == 3


async def test_a_long_summary_is_cut(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    async with Database(record("X-1", fixed="3", details="EVIL" * 10_000)).serving() as url:
        assert await audit.run(url) == 1
    assert len(capsys.readouterr().err) < 400


@pytest.mark.parametrize(
    "broken",
    [
        DENIAL | {"aliases": 5},
        DENIAL | {"affected": [{"package": {"name": "jinja2"}, "ranges": [{"type": "ECOSYSTEM", "events": [1]}]}]},
        DENIAL | {"severity": ["high"]},
        DENIAL | {"summary": {"en": "text"}},
    ],
)
async def test_an_advisory_that_cannot_be_read_is_there_all_the_same(
    audit: Audit, broken: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async with Database(broken).serving() as url:
        assert await audit.run(url) == 1
    assert "GHSA-g3rq-g295-4j3m: what it says cannot be had" in capsys.readouterr().err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(ALL_FIELDS)), inner),
)


@given(record=st.dictionaries(st.sampled_from(sorted(ALL_FIELDS)), JSON).map(lambda record: ESCAPE | record) | JSON)
def test_any_record_is_read_or_refused(record: Any) -> None:
    with suppress(osv.NotAuditedError):
        osv._read_advisory(record, osv.Package("jinja2", "2.4.1"), "X-1")


async def test_so_is_one_whose_details_are_missing(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    async with Database(DENIAL).serving(advisory=answer(status=404)) as url:
        assert await audit.run(url) == 1
    assert "cannot be had: it answers with status 404" in capsys.readouterr().err


# Advisories that somebody has looked at


async def test_what_does_not_concern_us_is_passed_over(audit: Audit, tmp_path: Path) -> None:
    written(tmp_path, entry())
    async with Database(ESCAPE, ESCAPE_TOO).serving() as url:
        assert await audit.run(url, strict=True) == 0


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (entry("2026-11-27"), "CVE-2019-10906: it is out of date since 2026-11-27"),
        (entry("2028-01-01"), "CVE-2019-10906: it is for longer than 183 days"),
        (entry(why="It is fine."), "CVE-2019-10906: it does not say why"),
        (entry(id="CVE-2020-28493"), "CVE-2020-28493: there is no such advisory about the jinja2 that is locked"),
        (entry(package="aiohttp"), "CVE-2019-10906: there is no such advisory about the aiohttp that is locked"),
    ],
)
async def test_an_exemption_that_holds_no_more_is_a_fault(
    audit: Audit, tmp_path: Path, mistake: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, mistake)
    async with Database(ESCAPE).serving() as url:
        assert await audit.run(url) == 1
    assert f"audit: advisories.toml: {says}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "advisory = 5",
        "[[advisories]]",
        '[[advisory]]\nid = "X-1"',
        f'[[advisory]]\nid = "X"\npackage = "x"\nwhy = "{WHY}"\nuntil = "2027-01-01"',
        f'[[advisory]]\nid = "X"\npackage = "x"\nwhy = "{WHY}"\nuntil = 2027-01-01\nmore = 1',
    ],
)
def test_a_file_of_exemptions_with_anything_else_in_it_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "advisories.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"advisories\.toml: "):
        reviewed(path)


def test_ours_can_be_read() -> None:
    assert all(entry.why for entry in reviewed())


# A database that cannot be asked, or answers in its own way


def answer(status: int = 200, **what: Any) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, **what)

    return handler


def in_json(what: object) -> Handler:
    return answer(text=json.dumps(what))


async def silence(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(600)
    raise AssertionError


async def half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"results": [')
    await asyncio.sleep(600)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """Send 8 MiB and more in a few kilobytes."""
    response = web.StreamResponse()
    response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(request)
    while True:
        await response.write(b" " * 2**20)


async def same_page(_: web.Request) -> web.Response:
    return web.json_response({"results": [{"next_page_token": "1"}]})


NOBODY: Handler = answer(status=500, text="EVIL")


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (NOBODY, "it answers with status 500"),
        (answer(status=302, headers={"Location": "/v1/vulns/elsewhere"}), "with status 302"),
        (answer(status=307, headers={"Location": "/v1/vulns/elsewhere"}), "with status 307"),
        (answer(text="<html>Welcome to our network. EVIL</html>"), "it does not answer in JSON"),
        (answer(body=b"\xff\xfe"), "it does not answer in JSON"),
        (answer(text="[" * 1_000_000), "it does not answer in JSON"),
        (in_json([]), "with a 'results' that is none"),
        (in_json({"results": []}), "it answers 0 questions, and 1 were asked"),
        (in_json({"results": ["EVIL"]}), "with a 'vulns' that is none"),
        (in_json({"results": [{"vulns": [{"id": 5}]}]}), "with a 'id' that is none"),
        (in_json({"results": [{"vulns": [{"id": "../EVIL"}]}]}), "with an id that is none"),
        (in_json({"results": [{"next_page_token": 5}]}), "with a 'next_page_token' that is none"),
        (same_page, "it does not come to the end of its answer"),
        (endless, "it answers with more than 8388608 bytes"),
        (silence, "it does not answer in time"),
        (half, "it does not answer in time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_without_an_answer_it_says_that_nothing_was_audited(
    audit: Audit, handler: Handler, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database()
    patience = 0.2 if handler in {silence, half} else 60
    async with database.serving(query=handler) as url:
        assert await audit.run(url, patience=patience) == 0
        told = capsys.readouterr()
        assert await audit.run(url, patience=patience, strict=True) == 1
    assert told.out == ""
    first, second = told.err.splitlines()
    assert first.startswith("audit: WARNING: NOTHING WAS AUDITED: ")
    assert says in first
    assert "EVIL" not in first
    assert second == "audit: there was no audit in this checkout yet"
    assert all(request == "POST /v1/querybatch" for request in database.requests), "it followed nowhere"
    assert not audit.last.exists()


async def test_it_says_when_there_was_an_answer_last(audit: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    async with Database(ESCAPE).serving() as url:
        assert await audit.run(url) == 1, "an audit that finds something is one"
    async with Database().serving(query=NOBODY) as url:
        assert await audit.run(url) == 0
    assert capsys.readouterr().err.endswith("audit: the last audit in this checkout was on 2026-11-28\n")


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_without_a_network_the_command_warns_and_fails_only_if_it_must(options: tuple[str, ...], code: int) -> None:
    nobody = ("--database", "http://127.0.0.1:1/v1")
    command = [sys.executable, "-m", "release.audit", *nobody, *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (code, "")
    assert "WARNING: NOTHING WAS AUDITED: " in result.stderr
    assert "Traceback" not in result.stderr


def test_it_asks_osv() -> None:
    assert osv.DATABASE == "https://api.osv.dev/v1"

"""PostgreSQL over TLS, named as the files that ship have it: it connects, and what is in the way is told."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from balanced_service import SHIPPED_DATABASE
from postgres_server import PostgresServer
from stores import an_entry, open_postgres, until
from tls_database import make_certificate, make_database

from onion_rdv.cli.main import main
from onion_rdv.errors import StoreError
from onion_rdv.rendezvous.postgres_address import DatabaseAddress
from onion_rdv.rendezvous.postgres_tls import unusable_file

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "localhost"
SHIPPED_AUTHORITY = "/etc/onion-rdv/postgresql-ca.crt"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file that an operator brings to each backend."""
    return tmp_path_factory.mktemp("certificate") / "server.crt"


@pytest.fixture(scope="module")
def database(certificate: Path) -> Iterator[PostgresServer]:
    server = make_database(certificate.parent, HOST)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def url(database: PostgresServer, authority: Path, host: str = HOST) -> str:
    """Fill in what ships, as an operator does."""
    filled = SHIPPED_DATABASE
    for old, new in (
        ("onion-rdv@DATABASE/onion_rdv", f"onion@{host}:{database.port}/postgres"),
        (SHIPPED_AUTHORITY, str(authority)),
    ):
        assert old in filled
        filled = filled.replace(old, new)
    assert "sslmode=verify-full" in filled
    return str(filled)


def open_sockets() -> int:
    count = 0
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it was the list's own
            count += stat.S_ISSOCK(file.stat().st_mode)
    return count


async def refused(database_url: str) -> StoreError:
    before = open_sockets()
    with pytest.raises(StoreError) as caught:
        await open_postgres(database_url)
    await until(lambda: open_sockets() <= before)  # TLS may take leave after that, and needs the event loop for it
    assert caught.value.hint
    return caught.value


async def test_the_url_that_ships_connects_over_tls(database: PostgresServer, certificate: Path) -> None:
    store = await open_postgres(url(database, certificate))
    await store.store(an_entry())
    await database.execute(
        "postgres",
        "DO $$ BEGIN ASSERT (SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE application_name = 'onion-rdv'); END $$",
    )
    await store.close()


async def test_a_file_that_cannot_be_used_is_named(database: PostgresServer, tmp_path: Path) -> None:
    authority = tmp_path / "authority.crt"
    error = await refused(url(database, authority))
    assert f"{authority}, which the setting database names as sslrootcert, cannot be read (No such file" in str(error)
    authority.write_text("not a certificate")
    assert f"{authority}, which the setting database names as sslrootcert, holds no" in str(
        await refused(url(database, authority))
    )


async def test_where_none_is_named_it_says_where_it_looked(database: PostgresServer, home: Path) -> None:
    unnamed = url(database, home).partition("&sslrootcert=")[0]
    error = await refused(unnamed)
    assert f"{home}/.postgresql/root.crt, where the setting database has no sslrootcert, cannot be read" in str(error)
    assert "sslrootcert" in error.hint


async def connects(database_url: str) -> None:
    await (await open_postgres(database_url)).close()


async def test_the_authority_that_the_environment_names_is_the_one_that_is_looked_at(
    database: PostgresServer, certificate: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = url(database, home).partition("&sslrootcert=")[0]
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate))
    await connects(unnamed)
    database.stop()
    try:
        assert "does not answer" in str(await refused(unnamed))
    finally:
        database.start()
    monkeypatch.setenv("PGSSLROOTCERT", str(home / "none.crt"))
    assert f"{home}/none.crt, which PGSSLROOTCERT names in the environment, cannot" in str(await refused(unnamed))
    await connects(url(database, certificate))


@pytest.mark.parametrize("mode", ["", "sslmode=allow&", "sslmode=prefer&", "sslmode=require&"])
@pytest.mark.parametrize("setting", ["sslcert", "sslkey"])
async def test_its_own_certificate_is_looked_at_wherever_tls_is_tried(
    database: PostgresServer, home: Path, capsys: pytest.CaptureFixture[str], mode: str, setting: str
) -> None:
    missing = home / "missing"
    plain = f"postgresql://onion@{HOST}:{database.port}/postgres?{mode}"
    bad = plain + "&".join(f"{one}={missing}" for one in {"sslcert", setting})
    says = f"{missing}, which the setting database names as sslcert, cannot be read (No such file"
    assert says in str(await refused(bad))
    alone = f"{plain}{setting}={missing}"
    assert main(["serve", "--check-config", "--state-dir", str(home / "state"), "--database", alone]) == 2
    assert f"which the setting database names as {setting}, cannot be read" in capsys.readouterr().err


async def test_a_file_that_is_not_read_is_not_looked_for(
    database: PostgresServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = f"sslrootcert={home}/none&sslcrl={home}/none"
    own = f"&sslcert={home}/none&sslkey={home}/none"
    over_tcp = f"postgresql://onion@{HOST}:{database.port}/postgres?{behind}"
    for unread in (
        over_tcp,
        f"{over_tcp}{own}&sslmode=disable",
        f"{database.url('postgres')}&{behind}{own}",
    ):
        assert unusable_file(DatabaseAddress.parse(unread)) is None
        await connects(unread)
    monkeypatch.setenv("PGSSLKEY", str(home / "none"))  # of which there is no certificate
    await connects(over_tcp)
    assert unusable_file(DatabaseAddress.parse(over_tcp)) is None
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert unusable_file(DatabaseAddress.parse(over_tcp + own)) is None
    await connects(over_tcp + own)


async def test_a_certificate_of_another_authority_or_host_is_not_trusted(
    database: PostgresServer, certificate: Path, tmp_path: Path
) -> None:
    for bad, says in (
        (url(database, make_certificate(tmp_path, HOST)), "self-signed certificate"),
        (url(database, certificate, "127.0.0.1"), "IP address mismatch"),
    ):
        error = await refused(bad)
        assert "has a certificate that this server does not trust" in str(error)
        assert says in str(error)
        assert "sslrootcert" in error.hint


async def test_a_postgresql_without_tls_is_told(tmp_path: Path) -> None:
    silent = PostgresServer(listen_addresses="127.0.0.1")
    try:
        silent.start()
        error = await refused(url(silent, make_certificate(tmp_path, HOST)))
    finally:
        silent.remove()
    assert "does not speak TLS" in str(error)
    assert "ssl = on" in error.hint


async def test_a_parameter_that_is_none_is_told(database: PostgresServer, certificate: Path) -> None:
    error = await refused(url(database, certificate) + "&sslrotcert=file")
    assert "does not know something that stands behind the question mark" in str(error)


async def test_a_file_that_is_there_is_not_blamed_for_a_database_that_is_away(
    certificate: Path, database: PostgresServer
) -> None:
    database.stop()
    try:
        assert "does not answer" in str(await refused(url(database, certificate)))
    finally:
        database.start()


def test_checking_the_settings_finds_a_file_that_is_not_there(
    home: Path, certificate: Path, database: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["serve", "--check-config", "--state-dir", str(home / "state"), "--database"]
    missing = home / "missing.crt"
    assert main([*command, url(database, missing)]) == 2
    said = capsys.readouterr().err
    assert f"{missing}, which the setting database names as sslrootcert, cannot be read" in said
    assert "database from the command line" in said
    assert main([*command, url(database, certificate)]) == 0

"""The setting that says where the database is, and that its password is shown nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stores import ONION_KEY, an_entry, open_postgres

from onion_rdv.errors import SettingsError, StoreError
from onion_rdv.rendezvous.opening import open_store as open_by_settings
from onion_rdv.rendezvous.postgres import PostgresStore
from onion_rdv.rendezvous.postgres_address import DatabaseAddress
from onion_rdv.rendezvous.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from postgres_server import PostgresServer


SECRET = "hunter2-and-more"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "buckets",
        "mysql://host/buckets",
        f"postgresql://onion:{SECRET}/with/a/slash@host/buckets",
        f"postgresql://onion:{SECRET}#hash@host/buckets",
        f"postgresql://onion:{SECRET}",
        f"postgresql://[{SECRET}/buckets",
        f"postgresql://onion:{SECRET}\n@host/buckets",
        f"postgresql://onion:p@{SECRET}@host/buckets",
        f"postgresql://onion:{SECRET}@one,,two/buckets",
        f"postgresql://onion:{SECRET}@::1/buckets",
        f"postgresql://onion:{SECRET}@[::1]5432/buckets",
        f"postgresql://onion:{SECRET}@a..example/buckets",
        f"postgresql://onion:{SECRET}@{'a' * 64}.example/buckets",
        f"postgresql://onion:{SECRET}@host%00/buckets",
        f"postgresql://onion:{SECRET}@/buckets?host=::1",
        f"postgresql://onion:{SECRET}@host/buckets?sslmode",
    ],
)
def test_what_is_no_url_of_a_database_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(SettingsError, match="is not the URL") as caught:
        DatabaseAddress.parse(text)
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("behind", "says"),
    [
        ("host:abc/buckets", "a port"),
        ("host:99999/buckets", "a port"),
        ("host:0/buckets", "a port"),
        ("one:1,two:-2/buckets", "a port"),
        ("[::1]:5432x/buckets", "a port"),
        ("host/buckets?port=abc", "a port"),
        ("/buckets?host=one,two&port=1,2,3", "a port"),
        ("/buckets?host=/run/postgresql&port=70000", "a port"),
        ("host/buckets?sslmode=verify", "sslmode"),
        ("host/buckets?sslmode=parse", "sslmode"),
        (f"host/buckets?sslmode={SECRET}", "sslmode"),
    ],
)
def test_a_port_or_a_mode_of_tls_that_is_none_is_refused(behind: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"{says}.* in database is no") as caught:
        DatabaseAddress.parse(f"postgresql://onion:{SECRET}@{behind}")
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value!r}"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (
            f"postgresql://onion:{SECRET}@db.example:5433/buckets?sslmode=verify-full",
            "db.example:5433 (database buckets)",
        ),
        (f"postgres://onion:{SECRET}@one:1,two:2/buckets", "one:1,two:2 (database buckets)"),
        ("postgresql://[::1]:5432/buckets", "[::1]:5432 (database buckets)"),
        ("postgresql://[::1]/buckets?sslmode=disable&port=1", "[::1] (database buckets)"),
        ("postgresql:///buckets?host=one,two&port=1,2", "one,two (database buckets)"),
        ("postgresql://onion@%2Frun%2Fpostgresql:5433/buckets", "/run/postgresql:5433 (database buckets)"),
        ("postgresql://onion@host:/buckets", "host: (database buckets)"),
        ("postgresql:///buckets?host=/run/postgresql", "/run/postgresql (database buckets)"),
        (f"postgresql://?password={SECRET}", "this machine"),
    ],
)
def test_a_database_is_named_without_its_password(url: str, name: str) -> None:
    address = DatabaseAddress.parse(url)
    assert address.name == f"PostgreSQL on {name}"
    assert SECRET not in repr(address)


async def test_a_password_is_shown_nowhere(postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    nobody = f"postgresql://nobody:{SECRET}@/test?host={postgres.directory}"
    with caplog.at_level(0):
        for bad in (
            nobody,
            nobody + f"&target_session_attrs={SECRET}",
            f"postgresql://onion:{SECRET}@127.0.0.1:1/test",
        ):
            with pytest.raises(StoreError) as caught:
                await open_postgres(bad)
            assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value!r}"
            assert caught.value.__cause__ is None
    assert caplog.messages
    assert SECRET not in caplog.text


async def test_the_setting_decides_where_the_store_is(database_url: str, tmp_path: Path) -> None:
    for database, kind in ((None, SqliteStore), (database_url, PostgresStore)):
        store = await open_by_settings(database, tmp_path, ONION_KEY)
        assert isinstance(store, kind)
        await store.store(an_entry())
        await store.close()

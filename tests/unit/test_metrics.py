"""What Prometheus gets: text that its own parser reads, with the sums that the status has, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from onion_rdv.errors import SettingsError
from onion_rdv.rendezvous.admin.face import AdminFace
from onion_rdv.rendezvous.admin.metrics import METRICS_PATH, exposition, metrics_routes
from onion_rdv.rendezvous.admin.status import Status

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.rendezvous.admin.status import Observer

STATUS = Status(
    server="a" * 56 + ".onion",
    published=True,
    state="published",
    tor_version="0.4.9.11",
    open_buckets=1,
    buckets=340,
    opened_buckets=1200,
    stored_entries=64_000,
    fetched_buckets=128_000,
    store_bytes=7 * 2**20,
    oldest_expires_at=1_700_604_800,
)

VALUES = {
    ("onion_rdv_published", "gauge"): 1,
    ("onion_rdv_open_buckets", "gauge"): 1,
    ("onion_rdv_buckets", "gauge"): 340,
    ("onion_rdv_opened_buckets", "counter"): 1200,
    ("onion_rdv_stored_entries", "counter"): 64_000,
    ("onion_rdv_fetched_buckets", "counter"): 128_000,
    ("onion_rdv_store_bytes", "gauge"): 7 * 2**20,
    ("onion_rdv_oldest_bucket_expires_timestamp_seconds", "gauge"): 1_700_604_800,
}


class Standing:
    """Stands still, where an observer looks at a server that changes."""

    async def look(self) -> Status:
        return STATUS


def parse(text: str) -> dict[tuple[str, str], float]:
    families = list(text_string_to_metric_families(text))
    for family in families:
        assert family.documentation
        (sample,) = family.samples
        assert sample.labels == {}
        assert sample.name == family.name + ("_total" if family.type == "counter" else "")
    return {(family.name, family.type): family.samples[0].value for family in families}


def test_its_parser_reads_every_sum() -> None:
    assert parse(exposition(STATUS)) == VALUES


def test_an_empty_server_has_no_time_to_tell() -> None:
    values = parse(exposition(replace(STATUS, published=False, oldest_expires_at=None)))
    assert values.keys() == VALUES.keys() - {("onion_rdv_oldest_bucket_expires_timestamp_seconds", "gauge")}
    assert values["onion_rdv_published", "gauge"] == 0


def test_it_tells_nothing_but_sums() -> None:
    said = exposition(STATUS)
    assert STATUS.server not in said
    assert "0.4.9.11" not in said


async def test_a_socket_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.socket"
    observer: Observer = Standing()  # type: ignore[assignment]  # of which only look() is asked
    face = AdminFace(metrics_routes(observer))
    await face.start(path, 0o660)
    try:
        assert path.stat().st_mode & 0o777 == 0o660
        with pytest.raises(SettingsError, match="another server listens"):
            await AdminFace({}).start(path, 0o660)
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            async with session.get(f"http://onion-rdv{METRICS_PATH}") as reply:
                assert (reply.status, reply.content_type, reply.charset) == (200, "text/plain", "utf-8")
                assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                assert parse(await reply.text()) == VALUES
            for method, other in (("POST", METRICS_PATH), ("GET", "/status")):
                async with session.request(method, f"http://onion-rdv{other}") as reply:
                    assert reply.status in {404, 405}
    finally:
        await face.stop()

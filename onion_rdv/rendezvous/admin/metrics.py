"""The same sums for Prometheus, in its text exposition format 0.0.4, on a socket of their own.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from onion_rdv.rendezvous.admin.face import Routes
    from onion_rdv.rendezvous.admin.status import Observer, Status

METRICS_PATH = "/metrics"

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(status: Status) -> str:
    """Write the sums as Prometheus reads them."""
    metrics: list[tuple[str, str, str, int | None]] = [
        ("published", "gauge", "Whether the onion service is published (1) or not (0).", int(status.published)),
        ("open_buckets", "gauge", "Buckets that take entries now.", status.open_buckets),
        ("buckets", "gauge", "Buckets that are kept now.", status.buckets),
        ("opened_buckets_total", "counter", "Buckets that were ever opened.", status.opened_buckets),
        ("stored_entries_total", "counter", "Entries that were ever stored, in steps of 64.", status.stored_entries),
        ("fetched_buckets_total", "counter", "Buckets ever given out, in steps of 64.", status.fetched_buckets),
        ("store_bytes", "gauge", "What the store takes on disk.", status.store_bytes),
        (
            "oldest_bucket_expires_timestamp_seconds",
            "gauge",
            "By when the oldest bucket will be erased, in whole hours.",
            status.oldest_expires_at,
        ),
    ]
    lines = []
    for name, kind, meaning, value in metrics:
        if value is not None:
            full = f"onion_rdv_{name}"
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}", f"{full} {value}"]
    return "\n".join([*lines, ""])


def metrics_routes(observer: Observer) -> Routes:
    """Let Prometheus ask."""

    async def answer(_: web.Request) -> web.Response:
        text = exposition(await observer.look())
        return web.Response(body=text.encode(), headers={"Content-Type": _CONTENT_TYPE})

    return {("GET", METRICS_PATH): answer}

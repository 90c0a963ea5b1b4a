"""Servers that ours are measured beside: how each is found, started and asked."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import BENCH, answers, free_port, said_by, server

from onion_rdv.protocol.exchange import REPLY_BODY_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVIRONMENT = BENCH.parent / ".venv-bench"


@dataclass(frozen=True)
class Peer:
    """A server that runs: its process, and what ``load.py`` wants to know of it."""

    process: int
    kind: str
    address: Path | int


@contextlib.contextmanager
def bare_handler(directory: Path) -> Iterator[Peer]:
    """Run the least that aiohttp can do."""
    path = directory / "bare"
    with server(sys.executable, BENCH / "bare.py", path) as process:
        yield Peer(process, "fetch", path)


# magic-wormhole-mailbox-server


def find_twist() -> str | None:
    """Find the program that runs the mailbox server, here or in an environment of its own."""
    places = [_ENVIRONMENT / "bin" / "twist", Path(sys.executable).parent / "twist"]
    candidates = [str(place) for place in places if place.exists()] + [shutil.which("twist") or ""]
    return next((twist for twist in candidates if twist and "wormhole-mailbox" in said_by(twist, "--help")), None)


@contextlib.contextmanager
def mailbox_server(twist: str, directory: Path) -> Iterator[Peer]:
    """Run the mailbox server with its own SQLite in a file, and without its log of requests."""
    port = free_port()
    command = [twist, "--log-file", "/dev/null", "wormhole-mailbox", "--port", f"tcp:{port}:interface=127.0.0.1"]
    command += ["--channel-db", str(directory / "mailbox.sqlite"), "--blur-usage", "3600"]
    with server(*command, ready=partial(answers, port)) as process:
        yield Peer(process, "mailbox", port)


# nginx

_NGINX = """
daemon off;
user {user};
worker_processes 1;
pid {directory}/pid;
error_log {directory}/errors;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/temporary;
    proxy_temp_path {directory}/temporary;
    fastcgi_temp_path {directory}/temporary;
    uwsgi_temp_path {directory}/temporary;
    scgi_temp_path {directory}/temporary;
    server {{ listen unix:{directory}/socket; root {directory}/files; }}
}}
"""


def find_nginx() -> str | None:
    """Find nginx, unpacked beside the measurements or installed."""
    unpacked = _ENVIRONMENT / "nginx" / "usr" / "sbin" / "nginx"
    return str(unpacked) if unpacked.exists() else shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


@contextlib.contextmanager
def nginx_server(nginx: str, directory: Path) -> Iterator[Peer]:
    """Run nginx with one worker, which serves a file as long as the body of our replies."""
    place = directory / "nginx"
    (place / "files").mkdir(parents=True)
    (place / "files" / "bucket").write_bytes(os.urandom(REPLY_BODY_SIZE))
    settings = place / "nginx.conf"
    settings.write_text(_NGINX.format(directory=place, user=pwd.getpwuid(os.getuid()).pw_name))
    path = place / "socket"
    with server(nginx, "-c", settings, "-e", place / "errors", ready=partial(answers, path)) as process:
        yield Peer(process, "get", path)

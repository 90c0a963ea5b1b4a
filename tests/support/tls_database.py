"""A PostgreSQL behind TCP and TLS, with a certificate that is made by the command in docs/scale-out.md."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING

from balanced_service import ROOT
from postgres_server import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path


def make_certificate(directory: Path, host: str) -> Path:
    """Make ``server.key`` and ``server.crt`` for a host as an operator does; gives the certificate's file."""
    (command,) = re.findall(r"^openssl req .*$", (ROOT / "docs/scale-out.md").read_text(), re.MULTILINE)
    directory.mkdir(exist_ok=True)
    words = shlex.split(command.replace("DATABASE", host))
    subprocess.run(words, check=True, cwd=directory, capture_output=True)
    return directory / "server.crt"


def make_database(directory: Path, host: str) -> PostgresServer:
    """Prepare it, on 127.0.0.1; its certificate is in ``directory``."""
    certificate = make_certificate(directory, host)
    server = PostgresServer(listen_addresses="127.0.0.1", ssl="on")
    for file in (certificate, certificate.with_name("server.key")):
        server.put(file)
    return server

"""``onion-rdv doctor``: what is right and what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onion_rdv.cli.kinds import RENDEZVOUS_SERVER, SOCKS_PORT, TIMEOUT
from onion_rdv.cli.route import socks_control_option
from onion_rdv.cli.service_options import control_options
from onion_rdv.cli.settings import EPILOG, option, state_directory
from onion_rdv.cli.terminal import emit, emit_json, printable

if TYPE_CHECKING:
    from onion_rdv.cli.examination import Finding

_WORDS = {"ok": "ok   ", "warning": "warn ", "failure": "FAIL "}


@click.command(epilog=EPILOG)
@option("--server", multiple=True, type=RENDEZVOUS_SERVER, metavar="ADDRESS", help="Ask this rendezvous server too.")
@option("--socks", type=SOCKS_PORT, metavar="HOST:PORT", help="Tor's SOCKS port. Default: 127.0.0.1:9050, then 9150.")
@socks_control_option
@control_options("the usual places")
@option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where keys and stores are."
)
@option("--timeout", type=TIMEOUT, default=60, show_default=True, metavar="SECONDS",
        help="Give up on a server after this long.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(
    server: tuple[str, ...],
    socks: str | None,
    socks_control: str | None,
    control: str | None,
    control_password_file: Path | None,
    state_dir: Path | None,
    timeout: float,
    *,
    as_json: bool,
) -> int:
    """Check tor, its SOCKS and control ports, the clock, the state directory, and servers if any are named.

    Each line says what was found and, where it is not right, what to do. The exit code is 0 where nothing fails,
    else that of the first failure (3: no Tor, 4: a server cannot be reached, ...).
    """
    from onion_rdv.cli.examination import Examination

    examination = Examination(
        socks, control, control_password_file, state_directory(state_dir), server, timeout, socks_control
    )
    findings: list[Finding] = []

    async def examine() -> None:
        async for finding in examination.run():
            findings.append(finding)
            if not as_json:
                _show(finding)

    asyncio.run(examine())
    failures = [finding for finding in findings if finding.status == "failure"]
    if as_json:
        emit_json({"healthy": not failures, "checks": [asdict(finding) for finding in findings]})
    return failures[0].exit_code if failures else 0


def _show(finding: Finding) -> None:
    emit(f"{_WORDS[finding.status]} {finding.name}: {printable(finding.detail)}")
    if finding.hint:
        emit(f"      {printable(finding.hint)}")

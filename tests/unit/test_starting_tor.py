"""Starting a tor of our own, shown with stand-ins for tor; tests/tor/test_own_tor.py starts real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from onion_rdv.errors import TorFailed
from onion_rdv.tor import own_tor

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 60

SHOWS_SIGNALS = """#!/bin/sh
trap 'echo INT >>"$0.signals"' INT
trap 'echo HUP >>"$0.signals"' HUP
trap 'echo TERM >>"$0.signals"; exit 0' TERM
echo "Nov 28 12:00:00.000 [notice] Bootstrapped 0% (starting): Starting"
while :; do sleep 0.05; done
"""

LAUNCHES_A_TOR = """
import asyncio, sys
from pathlib import Path
from onion_rdv.tor import own_tor

async def launch():
    started = []
    def tell(percent, what):
        if not started:
            print("started", flush=True)
        started.append(what)
    await own_tor.launch(Path(sys.argv[1]), socks=False, progress=tell, timeout=60)

try:
    asyncio.run(launch())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def put_in_place_of_tor(program: str, tmp_path: Path) -> Path:
    """Write a program that is found as tor where ``PATH`` begins with its directory."""
    tor = tmp_path / "bin" / "tor"
    tor.parent.mkdir()
    tor.write_text(program)
    tor.chmod(0o755)
    return tor


def test_keys_at_the_terminal_do_not_reach_tor(tmp_path: Path) -> None:
    """Ctrl-C goes to the whole foreground: tor has to outlive it, for what is done through it on the way out."""
    tor = put_in_place_of_tor(SHOWS_SIGNALS, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHES_A_TOR, str(tmp_path / "data")],
        env=os.environ | {"PATH": f"{tor.parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as foreground:
        assert foreground.stdout is not None
        assert foreground.stdout.readline() == "started\n"
        os.killpg(foreground.pid, signal.SIGINT)
        assert foreground.stdout.readline() == "interrupted\n"
    assert tor.with_name("tor.signals").read_text() == "TERM\n"


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("#!/bin/sh\nexec sleep 600\n", "after 1 s it has not begun to start"),
        ("#!/bin/sh\nexec 1>&- 2>&-\n", "it ended without a word"),
        ("#!/bin/sh\necho 'no libevent here' >&2\n", "no libevent here"),
        ("\0", "tor cannot be run: Exec format error"),
    ],
)
async def test_a_program_that_is_not_tor(
    program: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tor = put_in_place_of_tor(program, tmp_path)
    monkeypatch.setenv("PATH", f"{tor.parent}:{os.environ['PATH']}")
    with pytest.raises(TorFailed, match=says):
        await own_tor.launch(tmp_path / "data", socks=False, timeout=1)
    own_tor.DataDirectory(tmp_path / "data").release()


async def test_a_tor_that_says_nothing_can_be_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tor = put_in_place_of_tor('#!/bin/sh\ntouch "$0.runs"\nexec sleep 600\n', tmp_path)
    monkeypatch.setenv("PATH", f"{tor.parent}:{os.environ['PATH']}")
    launching = asyncio.create_task(own_tor.launch(tmp_path / "data", socks=False, timeout=TIMEOUT))
    while not tor.with_name("tor.runs").exists():
        await asyncio.sleep(0.01)
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(TIMEOUT / 2):
            await launching
    own_tor.DataDirectory(tmp_path / "data").release()

"""What goes wrong beside a command: it is said by kind and place, without the text, which may be a secret."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from command_line import environment

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hush, hush"
PROGRAM = """
import asyncio, gc, logging, threading
from onion_rdv.cli.reports import take_over_reports

SECRET = "".join(["hu", "sh, hu", "sh"])

def fail(*_):
    raise ValueError(SECRET)

async def forgotten():
    asyncio.create_task(task())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()

async def task():
    fail()

async def in_a_callback():
    asyncio.get_running_loop().call_soon(fail, SECRET)
    await asyncio.sleep(0)

async def slow():
    import time
    asyncio.current_task().set_name(SECRET)
    asyncio.get_running_loop().slow_callback_duration = 0.01
    time.sleep(0.05)
    return SECRET

class Thing:
    __del__ = fail

def log(name, level):
    logging.getLogger(name).log(level, "it has to do with %s", SECRET)

take_over_reports()
"""
BUG = "onion-rdv: something went wrong inside onion-rdv: "


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("asyncio.run(forgotten())", "ValueError in "),
        ("asyncio.run(in_a_callback())", "ValueError in "),
        ("thread = threading.Thread(target=fail); thread.start(); thread.join()", "ValueError in "),
        ("Thing()", "ValueError in "),
        ("fail()", "ValueError in "),
        ("log('aiohttp.server', logging.ERROR)", "aiohttp.server reports an error"),
        ("log('aiohttp.server', logging.WARNING)", None),
        ("asyncio.run(slow(), debug=True)", None),
    ],
)
def test_the_text_stays_here(what: str, says: str | None, tmp_path: Path) -> None:
    said = run(f"{PROGRAM}{what}\n", tmp_path)
    assert SECRET[:4] not in said
    lines = said.splitlines()
    if says is None:
        assert lines == []
    else:
        assert lines[0].startswith(f"{BUG}{says}")
        assert lines[1].startswith("hint: this is a bug")
        assert len(lines) == 2


@pytest.mark.parametrize("what", ["asyncio.run(forgotten())", "Thing()", "fail()", "asyncio.run(slow(), debug=True)"])
def test_python_would_tell_it(what: str, tmp_path: Path) -> None:
    """See that the tests above would notice."""
    assert SECRET in run(f"{PROGRAM.replace('take_over_reports()', '')}{what}\n", tmp_path)


def test_our_own_texts_are_said(tmp_path: Path) -> None:
    said = run(f"{PROGRAM}log('onion_rdv.rendezvous', logging.WARNING)\n", tmp_path)
    assert said == f"it has to do with {SECRET}\n"


def run(program: str, tmp_path: Path) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    return done.stderr

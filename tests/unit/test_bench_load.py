"""What runs servers for the measurements and asks them: only what was done is an answer, and all of them end."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import pytest
from harness import server
from load import HttpExchange
from unlimited import lift_ceiling

from onion_rdv.protocol import BUCKET_SIZE, BucketId
from onion_rdv.protocol.exchange import Problem, problem_reply, stored_reply
from onion_rdv.rendezvous.rules import NO_CEILING
from onion_rdv.rendezvous.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

STORED = stored_reply(BucketId(1, 0), bytes(BUCKET_SIZE))


def test_a_refusal_is_no_answer() -> None:
    exchange = HttpExchange([b"a store", b"another"])
    exchange.first()
    for piece in (STORED, STORED[:1000], STORED[1000:]):
        exchange.heard(memoryview(piece))
    assert exchange.answered == 2
    refused = problem_reply(Problem.BUSY)
    assert len(refused) == len(STORED)
    with pytest.raises(ValueError, match=re.escape("not a good reply: b'HTTP/1.1 503")):
        exchange.heard(memoryview(refused))
    with pytest.raises(ValueError, match="not a good reply"):
        HttpExchange([b"a store"]).heard(memoryview(refused))


def test_the_ceiling_is_lifted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ServerSettings, "rules", ServerSettings.rules)  # which puts it back afterwards
    shipped = ServerSettings(tmp_path)
    assert shipped.rules.ceiling != NO_CEILING
    lift_ceiling()
    assert shipped.rules.ceiling == NO_CEILING


def test_a_server_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.GRACE", 0.1)
    stubborn = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    with server(sys.executable, "-c", stubborn) as process:
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)

"""When a descriptor counts as published: from the events of a real tor, in every order they come in."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from fakes import FakeControlPort

from onion_rdv.errors import ControlLost, ServiceNotPublished
from onion_rdv.tor.control import Control, connect
from onion_rdv.tor.onion_service import Provided, publication
from onion_rdv.tor.onion_service.publication import Uploads, publish

NAME = "wfg5sllpwg6wvhecf2v2v2vwfq2j3ab7fwtepwpjzyttrrmecbnvgyqd"
OTHER = "5gvjhhvfr4mkpdvgwkgovolgk54tke6vsa3vhetkud2f6wufr7d7v3qd"
ONE = "$980D8DA618017606B271A7F2EBC93023D6634A25~auth1"
TWO = "$0D7FEC8DDA43F253BF41A5618AC81C063BD43FFD~auth2"


def begun(directory: str, name: str = NAME) -> str:
    return f"UPLOAD {name} UNKNOWN {directory} k8aahzPnmVcqS5LpBr/9zec HSDIR_INDEX=2CDF0341A9F39021"


def done(directory: str, name: str = NAME) -> str:
    return f"UPLOADED {name} UNKNOWN {directory}"


def failed(directory: str) -> str:
    return f"FAILED {NAME} UNKNOWN {directory} k8aahzPnmVcqS5LpBr/9zec REASON=UPLOAD_REJECTED"


def fetched(action: str) -> str:
    return f"{action} {NAME} NO_AUTH {ONE} k8aahzPnmVcqS5LpBr/9zec"


@pytest.mark.parametrize(
    ("said", "up", "unanswered"),
    [
        ([], False, 0),
        ([f"CREATED {NAME} UNKNOWN UNKNOWN k8aahzPnmVcqS5LpBr/9zec"], False, 0),
        ([begun(ONE)], False, 1),
        ([begun(ONE), begun(TWO), done(TWO)], True, 1),
        ([begun(ONE), begun(TWO), done(TWO), done(ONE)], True, 0),
        ([begun(ONE), begun(ONE), done(ONE)], True, 1),
        ([begun(ONE), begun(TWO), failed(ONE), done(TWO)], True, 0),
        ([begun(ONE), failed(ONE)], False, 0),
        ([begun(ONE), begun(ONE, OTHER), done(ONE, OTHER)], False, 1),
        ([begun(ONE), fetched("REQUESTED"), fetched("FAILED") + " REASON=NOT_FOUND"], False, 1),
        ([fetched("RECEIVED")], True, 0),
        ([begun(ONE), fetched("RECEIVED")], True, 1),
        ([done(ONE)], True, 0),
        ([done(ONE), begun(TWO)], True, 1),
        (["", "UPLOAD", f"UPLOADED {NAME}"], False, 0),
    ],
)
def test_uploads(said: list[str], up: bool, unanswered: int) -> None:
    uploads = Uploads(f"{NAME}.onion")
    for text in said:
        uploads.see(text)
    assert (uploads.up, uploads.unanswered) == (up, unanswered)


def test_the_reason_of_a_failure_is_kept() -> None:
    uploads = Uploads(NAME)
    uploads.see(failed(ONE))
    assert uploads.last_failure == "UPLOAD_REJECTED"
    uploads.see(f"FAILED {NAME} UNKNOWN {ONE}")
    assert uploads.last_failure == "unknown"


async def announce(control: Control, *, fresh: bool = True) -> Provided:
    """Have a service under a name that the test chooses."""
    await control.ask("GETINFO version")
    return Provided(f"{NAME}.onion", proof_of_work=False, fresh=fresh, warnings=())


def telling(*events: str, bootstrap: int = 100, circuits: str = "") -> FakeControlPort:
    """Make a control port that tells these events when it is asked for tor's version."""
    phase = f'NOTICE BOOTSTRAP PROGRESS={bootstrap} TAG=x SUMMARY="Loading relays"'
    told = "".join(f"650 {event}\r\n" for event in events)
    return FakeControlPort(
        replies={
            b"PROTOCOLINFO": b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n",
            b"AUTHENTICATE": b"250 OK\r\n",
            b"SETEVENTS": b"250 OK\r\n",
            b"GETINFO status/bootstrap-phase": f"250-status/bootstrap-phase={phase}\r\n250 OK\r\n".encode(),
            b"GETINFO version": f"{told}250 OK\r\n".encode(),
            b"GETINFO circuit-status": f"250+circuit-status=\r\n{circuits}\r\n.\r\n250 OK\r\n".encode(),
            b"HSFETCH": f"250 OK\r\n650 HS_DESC {fetched('RECEIVED')}\r\n".encode(),
        }
    )


async def publish_at(port: FakeControlPort, *, fresh: bool = True, timeout: float = 0.5) -> list[tuple[int, str]]:
    said: list[tuple[int, str]] = []

    def progress(percent: int, what: str) -> None:
        said.append((percent, what))

    async with port.serving(), await connect(port.address) as control:
        await publish(control, partial(announce, fresh=fresh), progress=progress, timeout=timeout)
    return said


async def test_progress_up_to_the_last_answer() -> None:
    start = 'STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"'
    events = [start, *(f"HS_DESC {text}" for text in (begun(ONE), begun(TWO), done(TWO), failed(ONE)))]
    said = await publish_at(telling(*events, bootstrap=50), timeout=30)
    assert said[-1] == (100, "published")
    assert (90, "publishing 1 of 2") in said
    assert [percent for percent, _ in said] == sorted(percent for percent, _ in said)


async def test_a_directory_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "STRAGGLER_SECONDS", 0.2)
    events = [f"HS_DESC {text}" for text in (begun(ONE), begun(TWO), done(TWO))]
    assert (await publish_at(telling(*events), timeout=30))[-1] == (100, "published")


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (telling(bootstrap=45), r"after 0.5 seconds tor has come to 45 % of its start \(loading relays\)"),
        (telling(), "tor has no introduction points for it yet"),
        (telling(f"HS_DESC {begun(ONE)}"), "none of 1 directories has taken the descriptor$"),
        (
            telling(f"HS_DESC {begun(ONE)}", f"HS_DESC {failed(ONE)}"),
            r"none of 1 directories has taken the descriptor \(UPLOAD_REJECTED\)",
        ),
    ],
)
async def test_the_time_is_over(port: FakeControlPort, said: str) -> None:
    with pytest.raises(ServiceNotPublished, match=said):
        await publish_at(port, timeout=2 if "directories" in said else 0.5)


async def test_a_service_that_was_there_before_is_recognised() -> None:
    circuit = f"60 BUILT $A,$B PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED REND_QUERY={NAME}"
    said = await publish_at(telling(circuits=circuit), fresh=False, timeout=30)
    assert said[-1] == (100, "published")


@pytest.mark.parametrize(
    "circuit",
    [
        f"60 BUILT $A,$B PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING REND_QUERY={NAME}",
        f"60 BUILT $A,$B PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED REND_QUERY={OTHER}",
    ],
)
async def test_a_descriptor_without_introduction_points_is_old(circuit: str) -> None:
    port = telling(circuits=circuit)
    with pytest.raises(ServiceNotPublished):
        await publish_at(port, fresh=False)
    assert not [line for line in port.received if line.startswith(b"HSFETCH")]


async def test_the_connection_ends_while_waiting() -> None:
    port = telling(f"HS_DESC {begun(ONE)}")
    async with port.serving():
        control = await connect(port.address)

        def progress(percent: int, what: str) -> None:
            if what == "publishing 0 of 1":
                closing.append(asyncio.create_task(control.close()))

        closing: list[asyncio.Task[None]] = []
        with pytest.raises(ControlLost):
            await publish(control, announce, progress=progress, timeout=30)
        await asyncio.gather(*closing)

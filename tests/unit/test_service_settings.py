"""Which targets, ports and client keys an onion service takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from onion_rdv.errors import SettingsError
from onion_rdv.tor.onion_service import ServiceSettings

KEY = "AMNPR7Q5JM2NFYZQWBQCZBW2WZUXTLIKDRHVV4PCDLW3PJSMIVCQ"


@pytest.mark.parametrize(
    ("target", "written"),
    [
        (Path("/run/rdv/web"), "unix:/run/rdv/web"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_targets(target: Path | str, written: str) -> None:
    assert ServiceSettings(target).tor_target == written


@pytest.mark.parametrize(
    "target",
    [
        Path("web"),
        Path("/run/a b"),
        Path('/run/"'),
        Path("/run/a\nb"),
        Path("/run/\\"),
        Path("/run/é"),
        Path("/" + "a" * 107),
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "192.0.2.1:80",
        "localhost:80",
        "unix:/run/web",
        "127.0.0.1:80 ",
    ],
)
def test_targets_that_tor_must_not_get(target: Path | str) -> None:
    with pytest.raises(SettingsError):
        ServiceSettings(target)


def test_client_keys_in_either_form_and_once() -> None:
    clients = (f"descriptor:x25519:{KEY}", KEY.lower(), f" {KEY}\n")
    assert ServiceSettings("127.0.0.1:1", authorized_clients=clients).authorized_clients == (KEY,)


@pytest.mark.parametrize("key", ["", KEY[:-1], KEY + "A", f"{KEY}====", KEY[:-1] + "1", "descriptor:rsa:" + KEY])
def test_what_is_no_client_key(key: str) -> None:
    with pytest.raises(SettingsError, match="an authorized client is not an x25519 public key"):
        ServiceSettings("127.0.0.1:1", authorized_clients=(key,))


@pytest.mark.parametrize(
    "wrong",
    [{"virtual_port": 0}, {"virtual_port": 65536}, {"max_streams": -1}, {"queue_rate": 0}, {"queue_burst": 0}],
)
def test_numbers_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError):
        ServiceSettings("127.0.0.1:1", **wrong)  # type: ignore[arg-type]  # which are all numbers

"""``messaging serve`` as a process, where it cannot start; and its settings."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from command_line import environment, onion_rdv
from offline_tor import offline_tor

from onion_rdv.smp.server.certificates import IDENTITY_FILE
from onion_rdv.smp.server.limits import DEFAULT_LIFETIME
from onion_rdv.smp.server.service import MessagingSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, ONION_RDV_CONTROL="127.0.0.1:1")


async def test_no_control_port_where_one_is_named(env: dict[str, str]) -> None:
    result = await onion_rdv("messaging", "serve", env=env)
    assert (result.code, result.stdout) == (3, "")
    assert "no control port at 127.0.0.1:1" in result.stderr


@pytest.mark.parametrize("password", ["", "two words", "a:b", "a@b", "a/b", "pässword", "x" * 256])
async def test_passwords_that_fit_into_no_address(password: str, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "password").write_text(password + "\n")
    result = await onion_rdv("messaging", "serve", "--password-file", str(tmp_path / "password"), env=env)
    assert (result.code, result.stdout) == (2, "")
    assert "does not fit into an address" in result.stderr
    assert not password or password not in result.stderr


async def test_a_password_file_that_is_not_there(env: dict[str, str]) -> None:
    result = await onion_rdv("messaging", "serve", "--password-file", "/nonexistent", env=env)
    assert (result.code, result.stdout) == (2, "")
    assert "'--password-file': it does not exist" in result.stderr


async def test_a_damaged_identity_is_left_as_it_is(env: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / ".local" / "state" / "onion-rdv" / "messaging"
    directory.mkdir(mode=0o755, parents=True)
    (directory / IDENTITY_FILE).write_text("not an identity")
    (directory / IDENTITY_FILE).chmod(0o600)
    with offline_tor(tmp_path / "tor", "CookieAuthentication 1") as tor:
        result = await onion_rdv("messaging", "serve", env=env | {"ONION_RDV_CONTROL": tor.control})
    assert result.code == 2
    assert "damaged" in result.stderr
    assert (directory / IDENTITY_FILE).read_text() == "not an identity"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_defaults_are_the_servers() -> None:
    from onion_rdv.cli.messaging import serve

    defaults = {parameter.name: parameter.default for parameter in serve.params}
    fields = MessagingSettings.__dataclass_fields__
    assert defaults["lifetime"] == fields["lifetime"].default == DEFAULT_LIFETIME
    for name in ("port", "max_streams", "max_connections", "proof_of_work"):
        assert defaults[name] == fields[name].default


def test_a_password_does_not_show_itself(tmp_path: Path) -> None:
    assert "secret" not in repr(MessagingSettings(tmp_path, password="secret"))

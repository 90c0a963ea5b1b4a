"""``serve --check-config``: what can be seen to be wrong without tor, and where each setting came from."""

from __future__ import annotations

import json
import os
import tomllib
from typing import TYPE_CHECKING

import pytest

from onion_rdv.cli.main import main
from onion_rdv.cli.settings_file import VARIABLE
from onion_rdv.tor.onion_service.hosting import KEY_FILE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the state directory, with settings and a home of the test's own; nothing is there yet."""
    for name in os.environ:
        if name.startswith("ONION_RDV_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "server.toml"))
    (tmp_path / "server.toml").touch()
    return tmp_path / "state" / "onion-rdv"


def test_it_says_where_each_came_from_and_starts_nothing(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.toml"
    file.write_text("# ours\n[serve]\nlifetime = 86400\nport = 81\n")
    monkeypatch.setenv("ONION_RDV_MAX_STREAMS", "4")
    assert main(["serve", "--check-config", "--port", "82"]) == 0
    printed = capsys.readouterr()
    assert f"settings file: {file}" in printed.err
    assert str(state / "server") in printed.err
    lines = printed.out.splitlines()
    assert f"lifetime = 86400  # {file}, line 3" in lines
    assert "max_streams = 4  # ONION_RDV_MAX_STREAMS" in lines
    assert "port = 82  # the command line" in lines
    assert "window = 3600  # the default" in lines
    assert tomllib.loads(printed.out)["serve"]["port"] == 82, "it can be used as a settings file"
    assert not state.exists()

    assert main(["serve", "--check-config", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(file)
    assert {"table": "serve", "name": "port", "value": 81, "from": f"{file}, line 4"} in said["settings"]


@pytest.mark.parametrize("command", [["serve"], ["messaging", "serve"]])
def test_what_does_not_fit_together_or_is_not_there(
    command: list[str], state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.toml"
    for text, says in (
        ('\ntorrc = "/nonexistent"\n', f"{file}, line 2: torrc: file '/nonexistent' does not exist"),
        ('control_password_file = "/"\n', f"{file}, line 1: control_password_file: file '/' is a directory"),
        ('state_dir = "/dev/null/x"\n', f"/dev/null is no directory) (state_dir from {file}, line 1)"),
        (f'state_dir = "{file}"\n', f"{file}, line 1: state_dir: directory '{file}' is a file"),
    ):
        file.write_text(text)
        assert main([*command, "--check-config"]) == 2
        assert says in capsys.readouterr().err


def test_a_lifetime_that_is_too_short_for_the_window(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.toml"
    file.write_text("[serve]\n\nlifetime = 3600\n")
    for words in (["serve"], ["serve", "--check-config"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"longer than they are open (window from the default, lifetime from {file}, line 3)" in said


def test_what_does_not_fit_together_says_where_each_came_from(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[serve]\nlisten = "/run/a"\nadmin_socket = "/run/b"\n')
    monkeypatch.setenv("ONION_RDV_METRICS_SOCKET", "/run/a")
    assert main(["serve", "--check-config"]) == 2
    said = capsys.readouterr().err
    assert "two sockets have the same path" in said
    assert f"listen from {file}, line 2" in said
    assert "metrics_socket from ONION_RDV_METRICS_SOCKET" in said
    file.write_text("[serve]\ncircuit_ids = true\n")
    assert main(["serve", "--check-config"]) == 2
    assert f"circuit_ids from {file}, line 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ONION_RDV_PORT", "65536", "ONION_RDV_PORT: "),
        ("ONION_RDV_CONTROL", "tor.example:9051", "ONION_RDV_CONTROL: "),
        ("ONION_RDV_AUTHORIZED_CLIENT", "hush", "ONION_RDV_AUTHORIZED_CLIENT: "),
        ("ONION_RDV_DATABASE", "mysql://a:hush@b/c", "ONION_RDV_DATABASE: "),
        ("ONION_RDV_DATABASE", "postgresql://a:hush@b:99999/c", "a port in database is no number from 1 to 65535"),
        ("ONION_RDV_ADMIN_SOCKET", "/" + "x" * 107, "has at most 107 bytes"),
    ],
)
def test_a_variable_that_is_wrong_is_named(
    variable: str,
    value: str,
    says: str,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["serve", "--check-config"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "hush" not in said


def test_a_password_is_not_shown(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "server.toml").write_text('[serve]\ndatabase = "postgresql://a:hush@b/c"\n')
    for more in ([], ["--json"]):
        assert main(["serve", "--check-config", *more]) == 0
        printed = capsys.readouterr()
        assert "hush" not in printed.out + printed.err
        assert "server.toml, line 2" in printed.out
    (tmp_path / "server.toml").write_text('[serve]\ndatabase = "postgres:a:hush@b/c"\n')
    assert main(["serve", "--check-config"]) == 2
    said = capsys.readouterr().err
    assert "server.toml, line 2: database: " in said
    assert "hush" not in said


def test_a_key_that_cannot_be_used(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = state / "server" / KEY_FILE
    key.parent.mkdir(parents=True)
    key.write_text("not a key")
    key.chmod(0o600)
    assert main(["serve", "--check-config"]) == 2
    assert "damaged" in capsys.readouterr().err
    key.chmod(0o644)
    assert main(["serve", "--check-config"]) == 2
    assert "open to other users" in capsys.readouterr().err

"""The settings file: which one is read, what each command gets of it, and what is refused, with its line."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onion_rdv.cli import settings_file
from onion_rdv.cli.main import cli
from onion_rdv.cli.settings import settings_of, state_directory
from onion_rdv.cli.settings_file import VARIABLE, SettingsFile, find
from onion_rdv.errors import SettingsError
from onion_rdv.tor.testnet.state import default_path

if TYPE_CHECKING:
    import click

KEY = "AMNPR7Q5JM2NFYZQWBQCZBW2WZUXTLIKDRHVV4PCDLW3PJSMIVCQ"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the place of the file that is read."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def command(name: str) -> click.Command:
    import click

    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def load(name: str) -> dict[str, Any]:
    read = SettingsFile.read(name)
    read.check(cli, command(name))
    return read.values(command(name))


def test_each_command_gets_its_own(file: Path) -> None:
    file.write_text('timeout = 5\ncontrol = "127.0.0.1:1"\n[serve]\nport = 80\n[messaging]\nport = 443\n')
    assert load("serve") == {"control": "127.0.0.1:1", "port": 80}
    assert load("messaging") == {
        "serve": {"control": "127.0.0.1:1", "port": 443},
        "withdraw": {"control": "127.0.0.1:1"},
    }
    assert load("offer") == {"timeout": 5}
    assert load("completion") == {}


@pytest.mark.parametrize(
    ("text", "looks_further"),
    [("timeout = 5\n", False), ("timeout = 5\n[serve]\nport = 80\n", True), ('control = "127.0.0.1:1"\n', True)],
)
def test_other_commands_are_imported_only_for_what_is_theirs(file: Path, text: str, looks_further: bool) -> None:
    file.write_text(text)
    script = (
        "import sys; from onion_rdv.cli.main import main; assert main(['accept', '--help']) == 0;"
        " print('onion_rdv.cli.serve' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.endswith(f"{looks_further}\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timeout = 5\n\nsevrer = 1\n", "line 3: unknown setting 'sevrer'"),
        ("[serve]\nsocks = 1\n", "line 2: unknown setting 'socks'"),
        ("[messaging]\nwindow = 5\n", "line 2: unknown setting 'window'"),
        ("\n[server]\nport = 5\n", "line 2: unknown setting 'server'|line 2: server has to be"),
        ("timeout = 5\nserver = 1\n", "line 2: server has to be a list of strings"),
        ('server = [\n  "x",\n  # nothing\n  7,\n]\n', "line 4: server has to be a list of strings"),
        ('timeout = "5"\n', "line 1: timeout has to be a number"),
        ("max_bucket_age = true\n", "line 1: max_bucket_age has to be a whole number"),
        ("max_bucket_age = 1.0\n", "line 1: max_bucket_age has to be a whole number"),
        ("[serve]\n\nproof_of_work = 1\n", "line 3: proof_of_work has to be true or false"),
        ("[serve]\nlisten = 5\n", "line 2: listen has to be a string"),
        ("serve = 1\n", "line 1: serve has to be a table"),
        ("socks = '127.0.0.1:9050'\nmessaging = 1\n", "line 2: messaging has to be a table"),
        ("[[serve]]\nport = 80\n", "line 1: serve has to be a table"),
        ("timeout = \n", "line 1: invalid value"),
        ("port = 1\nport = 2\n", "line 2: cannot overwrite a value"),
        ('torrc = "x\n', "line 1"),
        ("# \n[serve", "line 2"),
        ('\n\nsocks = ""\n', "line 3: socks: it is empty"),
        ("[serve]\nport = 80\n\nmax_streams = 65536 # too many\n", "line 4: max_streams: .* is not in the range"),
        ("timeout = 0.5\n", "line 1: timeout: .* is not in the range"),
        ("timeout = nan\n", "line 1: timeout has to be a number"),
        ('probe = "maybe"\n', "line 1: probe: 'maybe' is not one of"),
        ('server = ["x.onion"]\n', "line 1: server: that is not a v3 onion address"),
        ('control = "tor.example:9051"\n', "line 1: control: .*not the address of a control port on this machine"),
        ('socks = "tor.example:9050"\n', "line 1: socks: .*not the address of a SOCKS port"),
        ('messaging_server = "smp://x:hush@y"\n', "line 1: messaging_server: (?!.*hush)"),
        (f'[serve]\nauthorized_client = [\n\n  "{KEY}",\n  "{KEY}A" ]\n', "line 5: authorized_client: .*x25519"),
        ('\ntorrc = "/x\\u0000"\n', "line 2: torrc: it has a zero byte"),
        ("[serve]\nwindow = 99999999999999999999\n", "line 2: window: .* is not in the range"),
        ("serve.port = 80\nserve.lifetime = 1\n", "line 2: lifetime: "),
        ("serve = { port = 80, lifetime = 1 }\n", "line 1: lifetime: "),
    ],
)  # fmt: skip
def test_what_is_refused_whatever_is_run(text: str, says: str, file: Path) -> None:
    file.write_text(text)
    for name in ("serve", "offer"):
        with pytest.raises(SettingsError, match=f"config.toml, {says}") as refused:
            load(name)
        assert "hush" not in str(refused.value)


def test_places_in_the_file_system_matter_to_the_command_that_uses_them(file: Path, tmp_path: Path) -> None:
    """Another user's password file is nothing that an offer needs."""
    file.write_text(f'[serve]\nlisten = "{tmp_path}"\n')
    assert load("offer") == {}
    with pytest.raises(SettingsError, match=r"line 2: listen: .*is a directory"):
        load("serve")
    file.write_text(f'[serve]\n\nlisten = "/{"x" * 120}"\n')
    with pytest.raises(SettingsError, match=r"line 3: listen: .*tor cannot be given the Unix socket"):
        load("serve")


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(SettingsError, match=f"there is no file .*config.toml, which {VARIABLE} names"):
        load("offer")
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"config.toml cannot be read"):
        load("offer")
    file.unlink()
    file.mkdir()
    with pytest.raises(SettingsError, match=r"config.toml cannot be read"):
        load("offer")


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "9" * 5000])
def test_what_no_setting_can_be(value: str, file: Path) -> None:
    file.write_text(f"port = {value}\n")
    with pytest.raises(SettingsError, match=r"config.toml"):
        load("serve")


def test_a_file_that_cannot_even_be_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ("x" * 300)))  # no more than another's home
    with pytest.raises(SettingsError, match=r"config.toml cannot be read \(File name too long\)"):
        load("serve")


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> NoReturn:
        raise KeyError(number)

    for name in (VARIABLE, "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    for look in (partial(find, "offer"), partial(state_directory, None), default_path):
        with pytest.raises(SettingsError, match="this user has no home directory") as refused:
            look()
        assert "set HOME" in refused.value.hint
    monkeypatch.setenv(VARIABLE, "/dev/null")
    assert find("offer") == Path("/dev/null")
    assert state_directory(tmp_path) == tmp_path


def test_which_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    system, own = tmp_path / "server.toml", tmp_path / "onion-rdv" / "config.toml"
    monkeypatch.setattr(settings_file, "SYSTEM_FILE", system)
    assert find("serve") is None
    assert SettingsFile.read("serve").values(command("serve")) == {}
    system.touch()
    assert find("serve") == find("messaging") == system
    assert find("offer") is None, "what people do is none of the server's business"
    own.parent.mkdir()
    own.touch()
    assert find("serve") == find("offer") == own
    monkeypatch.setenv(VARIABLE, str(system))
    assert find("serve") == find("offer") == system


def test_a_setting_means_the_same_wherever_it_is_declared() -> None:
    seen: dict[tuple[str | None, str | None], tuple[Any, ...]] = {}
    for setting in settings_of(cli):
        what = (setting.kind, setting.type.to_info_dict(), setting.default, setting.envvar, setting.secret)
        assert seen.setdefault((setting.table, setting.name), what) == what, setting.name


SETTINGS = sorted({(setting.table, str(setting.name)) for setting in settings_of(cli)}, key=str)
VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(), st.floats(), st.text(), st.dates(), st.just("postgresql://a@[b/"),
        st.sampled_from(["127.0.0.1:9051", "unix:/x", "/x", "smp://", f"{KEY}", "[", "~", "\x1b[2J"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@given(st.sampled_from(SETTINGS), VALUES)
def test_any_value_is_taken_or_refused_in_words(setting: tuple[str | None, str], value: object) -> None:
    table, name = setting
    content = {name: value} if table is None else {table: {name: value}}
    with suppress(SettingsError):
        SettingsFile(Path("file"), "", content).check(cli, command("serve"))

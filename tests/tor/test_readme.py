"""Every command that the README shows is tried here as it stands there."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from command_line import COMMAND, environment, onion_rdv
from nacl.signing import SigningKey
from server_process import serving
from talk_process import TalkProcess
from terminal import at_a_terminal

from onion_rdv.cli.main import cli
from onion_rdv.cli.serve import serve
from onion_rdv.cli.settings_file import SettingsFile
from onion_rdv.protocol import encode_onion_address

if TYPE_CHECKING:
    from onion_rdv.tor.testnet import Network

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
NOWHERE = encode_onion_address(bytes(SigningKey.generate().verify_key))
LINK = f"simplex:/i#abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq?h={NOWHERE}"
"""Leads to an onion service that was never published, as tor finds out at once."""


def shown(language: str) -> list[str]:
    """Give the lines of the README's code blocks in one language, without their comments."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


def test_each_command_is_known_here() -> None:
    assert shown("sh") == [
        "make demo",  # test_demo
        "make test",  # what runs this
        "make install",  # test_the_installation
        ".venv/bin/onion-rdv --help",
        "onion-rdv offer --server ADDRESS.onion",  # test_use
        "onion-rdv accept",
        "onion-rdv talk --server ADDRESS.onion --messaging-server smp://FINGERPRINT@OTHER.onion",  # test_talk
        "onion-rdv talk --join",
        "onion-rdv serve",
        "make deb",  # these four: tests/deploy
        "apt install ./dist/onion-rdv_*.deb",
        "systemctl enable --now onion-rdv",
        "onion-rdv status",
        "onion-rdv messaging serve",
        "onion-rdv doctor --server ADDRESS.onion",
        "onion-rdv testnet run -- sh",  # test_private_network
        "onion-rdv testnet up",
    ]


async def run(command: str, directory: Path, env: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_shell(
        command, cwd=directory, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_the_installation(tmp_path: Path) -> None:
    """From a copy of the tree, into an environment of its own."""
    directory = tmp_path / "checkout"
    directory.mkdir()
    for path in ROOT.glob("*.*"):
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, directory)
    shutil.copy(ROOT / "Makefile", directory)
    for name in ("onion_rdv", "scripts"):
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    kept = environment(tmp_path)
    # The interpreter that make finds must not be the one of the environment that runs this test.
    env = kept | pip | {"PATH": f"{Path(sys.base_prefix) / 'bin'}:{kept['PATH']}"}
    commands = shown("sh")
    first = commands.index("make install")
    for command in commands[first : first + 2]:
        said = await run(command, directory, env)
    assert said.startswith("Usage: onion-rdv")


async def test_demo(tmp_path: Path) -> None:
    """What "make demo" runs once everything is installed."""
    assert "-m onion_rdv demo" in (ROOT / "Makefile").read_text()
    result = await onion_rdv("demo", env=environment(tmp_path))
    assert result.code == 0, result.stderr
    for words in ("$ onion-rdv serve", "$ onion-rdv talk", "code: ", "Bob: Two servers", "in none of them", "Times:"):
        assert words in result.stdout
    assert not list(tmp_path.iterdir())


async def test_use(network: Network, tmp_path: Path) -> None:
    env = environment(tmp_path, **network.environment(), TERM="dumb")
    commands = [line.split(" ", 1)[1] for line in shown("sh") if line.startswith("onion-rdv ")]
    async with serving(env=env) as server:
        named = [shlex.split(command.replace("ADDRESS.onion", server.name)) for command in commands]
        offer, accept, doctor = (
            next(words for words in named if words[0] == name) for name in ("offer", "accept", "doctor")
        )
        code, screen = await at_a_terminal([*COMMAND, *offer], [("link: ", LINK)], env)
        assert code == 0, screen
        lines = screen.splitlines()
        invite = next(line for line in lines if line.startswith("rdv://"))
        passphrase = next(line for line in lines if line.startswith("passphrase: ")).split(": ")[1]
        env["ONION_RDV_TIMEOUT"] = "45"  # no less, so that a circuit that fails is replaced
        typed = [("invite: ", invite), ("passphrase: ", passphrase)]
        code, screen = await at_a_terminal([*COMMAND, *accept], typed, env)
        assert code == 0, screen
        assert LINK in screen.splitlines()
        assert (await onion_rdv(*doctor, env=env)).code == 0


async def test_talk(network: Network, tmp_path: Path) -> None:
    """One begins as a program, the other joins at a terminal that can do nothing."""
    env = environment(tmp_path, **network.environment(), TERM="dumb")
    begin, join = (shlex.split(line)[1:] for line in shown("sh") if line.startswith("onion-rdv talk "))
    async with serving(env=env) as server, serving(env=env, words=("messaging", "serve")) as messaging:
        named = {"ADDRESS.onion": server.name, "smp://FINGERPRINT@OTHER.onion": messaging.name}
        async with TalkProcess.running(*(named.get(word, word) for word in begin[1:]), env=env) as beginner:
            invited = await beginner.hears_of("invite")
            typed = [("invite: ", invited["invite"]), ("passphrase: ", invited["passphrase"])]
            typed += [("code of this talk", "/same"), ("are you there?", "I am")]
            joining = asyncio.create_task(at_a_terminal([*COMMAND, *join], typed, env))
            assert (await beginner.hears_of("compared"))["same"]
            beginner.order(say="are you there?")
            assert (await beginner.hears_of("said"))["text"] == "I am"
            beginner.order(quit=True)
            code, screen = await joining
            assert (await beginner.end(), code) == (0, 0), screen
    assert "the other has left" in screen


async def test_private_network(tmp_path: Path) -> None:
    env = environment(tmp_path, XDG_RUNTIME_DIR=str(tmp_path), TMPDIR="/tmp")
    up = await onion_rdv("testnet", "up", env=env)
    try:
        assert "export ONION_RDV_SOCKS=" in up.stdout
        # "sh" gets its commands from us; the network that is up is used.
        inside = await onion_rdv("testnet", "run", "--", "sh", env=env, stdin="echo $ONION_RDV_SOCKS; exit 7\n")
        assert inside.code == 7
        assert f"ONION_RDV_SOCKS={inside.stdout.strip()}\n" in up.stdout
    finally:
        down = await onion_rdv("testnet", "down", env=env)
    assert down.code == 0
    assert (await onion_rdv("testnet", "status", env=env)).stdout.startswith("down")


def test_the_settings_shown_are_known() -> None:
    text = "\n".join(shown("toml"))
    for name in ("ADDRESS.onion", "ANOTHER.onion", "OTHER.onion"):
        text = text.replace(name, encode_onion_address(bytes(32)))
    text = text.replace("FINGERPRINT", "A" * 43)
    SettingsFile(Path("README.md"), text, tomllib.loads(text)).check(cli, serve)

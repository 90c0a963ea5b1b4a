"""Imports run one way, the protocol does no I/O, and its public names are the documented ones."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import onion_rdv.protocol

ROOT = Path(__file__).parents[2]


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the contracts in pyproject.toml on the package in a directory."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)


def test_the_contracts_are_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert re.search(r"Contracts: ([0-9]+) kept, 0 broken", done.stdout)


@pytest.mark.parametrize(
    ("module", "breach"),
    [
        ("protocol/bucket.py", "import time"),
        ("protocol/entry.py", "from secrets import token_bytes"),
        ("protocol/link.py", "import onion_rdv.tor.socks"),
        ("tor/socks.py", "from onion_rdv.protocol import Invite"),
        ("rendezvous/store.py", "import onion_rdv.client.offer"),
        ("client/offer.py", "import onion_rdv.rendezvous.store"),
        ("client/offer.py", "import onion_rdv.smp.server"),
        ("rendezvous/store.py", "import onion_rdv.smp.wire.blocks"),
        ("smp/wire/blocks.py", "import asyncio"),
        ("smp/wire/blocks.py", "import onion_rdv.smp.server"),
        ("storage/file.py", "import onion_rdv.rendezvous.store"),
        ("tor/socks.py", "import onion_rdv.storage.file"),
        ("errors.py", "import onion_rdv.cli.terminal"),
    ],
)
def test_a_breach_is_noticed(tmp_path: Path, module: str, breach: str) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "onion_rdv", tmp_path / "onion_rdv", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "onion_rdv" / module).open("a") as file:
        file.write(f"\n{breach}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout
    assert re.search(r"Contracts: [0-9]+ kept, [1-9][0-9]* broken", done.stdout)


def test_the_names_of_the_protocol_are_the_documented_ones() -> None:
    section = (ROOT / "docs" / "protocol.md").read_text().split("\n## Names in Python\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert documented == sorted(onion_rdv.protocol.__all__)
    constants = dict(re.findall(r"^\| `([A-Z_]+)` \| ([0-9,]+) \|$", section, re.MULTILINE))
    assert {name for name in documented if name.isupper()} == constants.keys()
    for name, value in constants.items():
        assert getattr(onion_rdv.protocol, name) == int(value.replace(",", ""))


def test_a_rendezvous_server_does_not_load_cryptography_and_can_still_do_so() -> None:
    script = """
import sys
import onion_rdv.rendezvous.service, onion_rdv.rendezvous.sqlite, onion_rdv.tor.control
assert "stem.control" in sys.modules
assert not [name for name in sys.modules if name.startswith("cryptography")]
from cryptography.hazmat.backends.openssl.backend import backend
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_others_can_load_cryptography_while_the_control_port_is_loaded() -> None:
    script = """
import builtins, sys, threading
wanted, loaded = threading.Event(), threading.Event()
def load():
    wanted.wait(60)
    from cryptography.hazmat.backends.openssl.backend import backend
    loaded.set()
other = threading.Thread(target=load, daemon=True)
other.start()
find = builtins.__import__
def importing(name, *rest):
    if name == "cryptography.hazmat.backends.openssl.backend" and threading.current_thread() is not other:
        wanted.set()
        assert loaded.wait(60)
    return find(name, *rest)
builtins.__import__ = importing
import onion_rdv.tor.control.opening
assert wanted.is_set()
other.join()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr

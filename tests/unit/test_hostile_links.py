"""What an initiator with bad intentions can seal or invite to, and what commands make of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from command_line import COMMAND, Result, environment, onion_rdv
from socks_proxy import RecordingSocks
from terminal import at_a_terminal
from test_client import KEY, LINK, PASSPHRASE, FakeServer

from onion_rdv.cli.main import main
from onion_rdv.client.messaging import for_the_app, messaging_server, stays_here
from onion_rdv.protocol import ENTRY_SIZE, Invite, derive_keys, encode_link, encode_onion_address
from onion_rdv.protocol.entry import seal_with

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = encode_onion_address(KEY)
SALT = bytes(range(16))
KEYS = derive_keys(PASSPHRASE, SALT, KEY)
LOW = "\x1b[2J"
LONG_LABEL = "b" * 64
BIDI = "simplex:/i#\u202emoc.live\u202c/\u200b\u2066evil"


def plaintext(body: bytes, kind: int = 0) -> bytes:
    """Make a plaintext that no honest program would."""
    return (bytes([kind, len(body)]) + body).ljust(208, b"\0")


@dataclass
class Meeting:
    """An invite to what lies at a server that is honest; nothing answers anywhere else."""

    directory: Path
    plaintexts: tuple[bytes, ...]
    proxy: RecordingSocks = field(init=False)

    def __post_init__(self) -> None:
        server = FakeServer()
        for place, text in enumerate(self.plaintexts):
            start = place * 7 * ENTRY_SIZE
            server.bucket = server.bucket[:start] + seal_with(text, KEYS) + server.bucket[start + ENTRY_SIZE :]
        self.invite = str(Invite(KEY, 80, server.link, SALT, PASSPHRASE))
        self.proxy = RecordingSocks([server, 5])

    @property
    def env(self) -> dict[str, str]:
        return environment(self.directory, ONION_RDV_SOCKS=str(self.proxy.socks), TERM="xterm")

    async def run(self, *arguments: str) -> Result:
        async with self.proxy:
            result = await onion_rdv(*arguments, env=self.env, stdin=self.invite)
        assert all(character.isprintable() or character == "\n" for character in result.stderr)
        return result

    @property
    def asked(self) -> list[str]:
        """Hosts that somebody wanted to reach, other than the rendezvous server."""
        return [request.host for request in self.proxy.connects if request.host != ADDRESS]


@pytest.mark.parametrize(
    ("plaintexts", "code", "says"),
    [
        ([encode_link(LINK), encode_link(LINK + "x")], 7, "somebody else holds the passphrase"),
        ([encode_link(LINK), plaintext(LOW.encode())], 2, "what it holds is no link: there are control characters"),
        ([plaintext(f"https://a.example/{LOW}".encode())], 2, "control characters in it"),
        ([plaintext("https://a.example/\x9b2J".encode())], 2, "control characters in it"),
        ([plaintext(b"https://a.example/\nhttps://b.example/")], 2, "control characters in it"),
        ([plaintext("https://a.example/\u2028".encode())], 2, "control characters in it"),
        ([plaintext(bytes(range(50, 256)))], 2, "its link is not UTF-8"),
        ([plaintext(bytes(range(50, 256)), kind=1)], 2, "what it holds is no link"),
        ([plaintext(b"x" * 206, kind=7)], 2, "its link is of kind 7"),
        ([plaintext(b"x" * 100).replace(b"\0", b"\1")], 2, "its padding is not zero"),
        ([plaintext(b"rdv-talk://\xc2\xa0")], 2, "join it with onion-rdv talk"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_link_is_not_printed(plaintexts: list[bytes], code: int, says: str, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, tuple(plaintexts))
    result = await meeting.run("accept", "-", "--open", "--qr")
    assert (result.code, result.stdout) == (code, "")
    assert says in result.stderr
    assert meeting.asked == [], "and nobody is asked"


@pytest.mark.parametrize(
    ("plaintexts", "code", "says"),
    [
        ([b"rdv-talk://" + bytes(range(0xA0, 0xC0))], 2, "its link is not UTF-8"),
        (["rdv-talk://\u202eevil/\u2066".encode()], 2, "it begins like the link to a talk, and is none"),
        ([b"file:///etc/passwd"], 2, "not to a talk"),
        ([b"rdv-talk://a", b"rdv-talk://b"], 7, "somebody else holds the passphrase"),
        ([f"rdv-talk://{'k' * 43}@{LONG_LABEL}.onion/{'l' * 32}#{'k' * 43}".encode()], 2, "names no messaging"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_talk_is_not_joined(plaintexts: list[bytes], code: int, says: str, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, tuple(map(plaintext, plaintexts)))
    async with meeting.proxy:
        result = await onion_rdv("talk", meeting.invite, "--plain", env=meeting.env, stdin="hello\n")
    assert (result.code, result.stdout) == (code, "")
    assert says in result.stderr
    assert result.stderr.replace("\n", "").isprintable()
    assert "evil" not in result.stderr
    assert meeting.asked == [], "and nobody is asked"


async def test_garbage_that_can_be_read_is_a_link(tmp_path: Path) -> None:
    garbage = "".join(chr(0xC0 + n % 0x40) for n in range(103))
    assert len(garbage.encode()) == 206
    meeting = Meeting(tmp_path, (plaintext(garbage.encode()),))
    result = await meeting.run("accept", "-")
    assert (result.code, result.stdout) == (0, garbage + "\n")
    assert "names no messaging server that could be asked" in result.stderr
    assert meeting.asked == []


# Writing that turns around


async def test_programs_get_the_link_as_it_is_and_people_a_warning(tmp_path: Path) -> None:
    result = await Meeting(tmp_path, (plaintext(BIDI.encode()),)).run("accept", "-", "--no-probe")
    assert (result.code, result.stdout) == (0, BIDI + "\n")
    assert r"characters that cannot be seen: simplex:/i#\u202emoc.live\u202c/\u200b\u2066evil" in result.stderr
    result = await Meeting(tmp_path, (plaintext(BIDI.encode()),)).run("accept", "-", "--no-probe", "--json")
    assert result.json["link"] == BIDI
    assert result.stdout.rstrip("\n").isprintable(), "and JSON has escapes of its own"


async def test_a_terminal_gets_nothing_that_it_would_act_on(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, (plaintext(BIDI.encode()),))
    async with meeting.proxy:
        command = [*COMMAND, "accept", meeting.invite, "--no-probe"]
        code, screen = await at_a_terminal(command, [], meeting.env)
    assert code == 0
    assert screen.replace("\r\n", "").isprintable()
    assert screen.splitlines()[-1] == r"simplex:/i#\u202emoc.live\u202c/\u200b\u2066evil"


# Links to elsewhere


@pytest.mark.parametrize(
    "link",
    [
        "file:///etc/passwd",
        "FILE://evil.example:80/share",
        "javascript://simplex.chat/contact#/?smp=smp://x",
    ],
)
async def test_a_link_that_stays_here_is_neither_opened_nor_asked(link: str, tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, (encode_link(link),))
    result = await meeting.run("accept", "-", "--open")
    assert (result.code, result.stdout) == (2, link + "\n")
    assert "warning: the link leads to no server, but to something that this machine would open" in result.stderr
    assert "only SimpleX links are\nhint: do not open it" in result.stderr
    assert meeting.asked == []


@pytest.mark.parametrize(
    "link", ["javascript:x", " JavaScript:x", "data:text/html,<p>", "file://host:80", "view-source:https://host"]
)
def test_links_that_stay_here(link: str) -> None:
    assert stays_here(link)
    assert messaging_server(link) is None
    assert for_the_app(link) is None


@pytest.mark.parametrize("link", [LINK, "https://a.example/file:", "xmpp:romeo@a.example", "no link", ""])
def test_links_that_do_not(link: str) -> None:
    assert not stays_here(link)


@pytest.mark.parametrize("how", [["--json"], []])
@pytest.mark.parametrize(
    "link",
    [
        "https://a..b/x",
        f"http://{LONG_LABEL}.example/",
        "irc://irc..example:6697/",
        f"simplex:/a#{'k' * 43}?h={LONG_LABEL}.onion",
        f"https://{LONG_LABEL}.onion/i#QQ/{'k' * 43}",
        f"smp://{'k' * 43}@{LONG_LABEL}.onion",
        f"simplex:/contact#/?smp=smp%3A%2F%2F{'k' * 43}%40{LONG_LABEL}.onion",
    ],
)
async def test_a_host_that_nobody_can_ask_for_is_none(link: str, how: list[str], tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, (encode_link(link),))
    result = await meeting.run("accept", "-", *how)
    assert result.code == 0
    assert (result.json["link"] if how else result.stdout.rstrip("\n")) == link
    assert "the link names no messaging server that could be asked" in (result.stdout if how else result.stderr)
    assert meeting.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_on_ones_own_machine_is_asked_by_tor_alone(host: str, tmp_path: Path) -> None:
    """Tor refuses such hosts; whatever becomes of it, this program opens no connection to them by itself."""
    meeting = Meeting(tmp_path, (encode_link(f"http://{host}:{os.getpid() % 1000 + 1}/"),))
    result = await meeting.run("accept", "-", "--probe=require")
    assert result.code == 8
    assert meeting.asked == [host]


async def test_escapes_that_a_link_only_spells_reach_no_terminal(tmp_path: Path) -> None:
    link = f"https://simplex.chat/contact#/?smp=smp%3A%2F%2F{'A' * 43}%40%1b%5b2J.example&h=%1b%5b2J&p=%1b"
    result = await Meeting(tmp_path, (encode_link(link),)).run("accept", "-")
    assert (result.code, result.stdout) == (0, link + "\n")
    assert "names no messaging server" in result.stderr


# Invites


@pytest.mark.parametrize("command", ["accept", "info", "talk"])
@pytest.mark.parametrize(
    "change",
    [
        (ADDRESS, "rendezvous.example"),
        (ADDRESS, "127.0.0.1"),
        (ADDRESS, f"evil.{ADDRESS}"),
        (ADDRESS, f"{ADDRESS}@evil.example"),
        (ADDRESS, f"{ADDRESS}\x1b[2J"),
        ("/", "/\u202e"),
        ("rdv:", "https:"),
        ("#", "?to=http://evil.example/#"),
        ("#", "%1b#\x1b"),
    ],
    ids=lambda pair: ascii(pair[1]).strip("'"),
)
async def test_an_invite_that_leads_elsewhere_leads_nowhere(
    command: str,
    change: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    invite = Meeting(tmp_path, (encode_link(LINK),)).invite.replace(*change)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("ONION_RDV_SOCKS", "127.0.0.1:1")  # exit code 3 would show that somebody wanted to use it
    assert main([command, invite]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.replace("\n", "").isprintable()
    assert "evil" not in printed.err


async def test_an_invite_shows_nothing_of_its_passphrase(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    invite = Meeting(tmp_path, (encode_link(LINK),)).invite.partition("#")[0] + "#%e2%80%ae%1b%5b2J-evil"
    assert main(["info", invite]) == 0
    printed = capsys.readouterr()
    assert printed.out.replace("\n", "").isprintable()
    assert "evil" not in printed.out + printed.err

"""Finding the messaging server in a link; nothing here connects to one."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socks_proxy import RecordingSocks

from onion_rdv.client.messaging import Hello, MessagingServer, messaging_server
from onion_rdv.errors import StreamFailed
from onion_rdv.tor.socks import check_host, open_stream

ONION = "a" * 56 + ".onion"
KEY = "b" * 43
SMP16_ONION = "p3ktngodzi6qrf7w64mmde3syuzrv57y55hxabqcq3l5p6oi7yzze6qd.onion"
QUEUE = f"smp://{KEY}=@smp.example.org,{ONION}:5224/cXVldWU=#/?v=1-4&dh={KEY}&q=c"


@pytest.mark.parametrize(
    ("link", "server"),
    [
        # SimpleX short links, of the web's form and of the app's
        (f"https://smp16.simplex.im/i#QQ/{KEY}", ("smp16.simplex.im", 5223, Hello.SMP)),
        (f"https://smp16.simplex.im/a#{KEY}", (SMP16_ONION, 5223, Hello.SMP)),  # the app knows its onion service
        (f"https://smp16.simplex.im/A/#{KEY}", (SMP16_ONION, 5223, Hello.SMP)),
        (f"https://smp16.simplex.im/a#{KEY}?p=443", ("smp16.simplex.im", 443, Hello.SMP)),
        (f"https://smp.example.org/i#QQ/{KEY}?h={ONION}&p=7001&c={KEY}", (ONION, 7001, Hello.SMP)),
        (f"https://smp.example.org/c#{KEY}?h={ONION},other.example.org", (ONION, 5223, Hello.SMP)),
        (f"simplex:/i#QQ/{KEY}?h=smp.example.org", ("smp.example.org", 5223, Hello.SMP)),
        (f"simplex:/g#{KEY}?h=smp.example.org,{ONION}&p=443", (ONION, 443, Hello.SMP)),
        # long links, with a queue's address inside
        (f"simplex:/invitation#/?v=2-7&smp={quote(QUEUE, safe='')}&e2e=v%3D2", (ONION, 5224, Hello.SMP)),
        (f"https://simplex.chat/contact#/?v=2-7&smp={quote(QUEUE, safe='')}", (ONION, 5224, Hello.SMP)),
        # a server's own address
        (f"smp://{KEY}=@smp.example.org", ("smp.example.org", 5223, Hello.SMP)),
        (f"smp://{KEY}=:password@SMP.example.org:5225", ("smp.example.org", 5225, Hello.SMP)),
        (QUEUE, (ONION, 5224, Hello.SMP)),
        # the web
        (f"http://{ONION}/some/path?x=1#frag", (ONION, 80, Hello.HTTP)),
        (f"HTTP://{ONION.upper()}:8080", (ONION, 8080, Hello.HTTP)),
        ("https://chat.example.org/room#i", ("chat.example.org", 443, Hello.HTTPS)),
        ("https://chat.example.org/i", ("chat.example.org", 443, Hello.HTTPS)),
        ("https://user:password@chat.example.org:8443/", ("chat.example.org", 8443, Hello.HTTPS)),
        # anything else that names host and port
        ("xmpp://chat.example.org:5222/user", ("chat.example.org", 5222, Hello.TCP)),
        ("irc://192.0.2.1:6697", ("192.0.2.1", 6697, Hello.TCP)),
    ],
)
def test_finds_the_server(link: str, server: tuple[str, int, Hello]) -> None:
    found = messaging_server(link)
    assert found is not None
    assert (found.host, found.port, found.hello) == server


@pytest.mark.parametrize(
    "link",
    [
        "",
        "x",
        "\u00e9" * 103,
        "xmpp:user@chat.example.org",
        "xmpp://chat.example.org",  # which port that is, only XMPP knows
        "https://",
        "https://:443",
        "https:///i#key",
        "https://host:port",
        "https://host:65536",
        "https://[2001:db8::1]:443",
        "https://[2001:db8::1",
        "https://ho st/",
        "https://host\u2100/",  # which NFKC would make a/c of
        "https://-host/",
        "https://a..b/x",
        "https://a.-b.c/",
        f"https://{'a' * 64}.example/",
        f"https://{'a' * 64}.onion/",
        f"simplex:/a#{KEY}?h={'a' * 64}.onion",
        f"smp://{KEY}=@{'a' * 64}.onion",
        "https://256.0.0.1/",
        "https://" + "a" * 254,
        "simplex:/i#key",
        "simplex:/i#key?h=",
        "simplex:/i#key?h=smp.example.org&p=0",
        "simplex:/i#key?h=smp.example.org&p=65536",
        "simplex:/i#key?h=smp.example.org&p=-1",
        "simplex:/i#key?h=smp.example.org&p=\u0661",
        "smp://smp.example.org",  # without the server's key
        "smp://key@smp.example.org:99999",
        "simplex:/invitation#/?smp=https%3A%2F%2Fsmp.example.org",
    ],
)
def test_finds_none(link: str) -> None:
    assert messaging_server(link) is None


@pytest.mark.parametrize(("host", "is_onion"), [(ONION, True), ("smp.example.org", False), ("onion", False)])
def test_knows_an_onion_service(host: str, is_onion: bool) -> None:
    assert MessagingServer(host, 443, Hello.HTTPS).is_onion == is_onion


SCHEMES = ["https:", "http:", "simplex:", "smp:", "//", "%3A%2F%2F", "/i", "h=", "p=", "smp="]
HOSTS = ["443", "65536", "0", "a.example.org", ONION, "\u212a", "\u2100", "\ud800", "\n", "\0"]
PIECES = st.sampled_from([*SCHEMES, *HOSTS, *"/#?&=@:,[]% "]) | st.text(max_size=3)


@given(st.text(st.characters(exclude_categories=[])) | st.lists(PIECES, max_size=14).map("".join))
def test_any_text_names_a_server_or_none(link: str) -> None:
    server = messaging_server(link)
    if server is not None:
        assert 0 < server.port < 2**16
        assert server.host.isascii()
        assert server.host.replace(".", "").replace("-", "").replace("_", "").isalnum()
        check_host(server.host)
        # urlsplit takes these three out before it looks, wherever they are
        assert server.host in re.sub("[\t\r\n]", "", unquote(unquote(link))).lower()


LABELS = st.text("aB1-_", max_size=3) | st.integers(60, 66).map(lambda size: "c" * size)
ANY_HOSTS = st.tuples(st.lists(LABELS, max_size=5).map(".".join), st.sampled_from(["", ".onion", ".example", "."]))
LINKS = st.sampled_from(
    [
        "https://{}/x",
        "http://{}",
        "irc://{}:6697",
        f"https://{{}}/i#QQ/{KEY}",
        f"https://{{}}/a#{KEY}",
        f"simplex:/a#{KEY}?h={{}}",
        f"simplex:/i#QQ/{KEY}?h=smp.example,{{}}",
        f"smp://{KEY}=@{{}}",
        f"simplex:/contact#/?smp=smp%3A%2F%2F{KEY}%40{{}}",
    ]
)


@given(LINKS, ANY_HOSTS.map("".join))
def test_whatever_host_a_link_names_a_socks_port_can_be_asked_for_it(link: str, host: str) -> None:
    server = messaging_server(link.format(host))
    if server is not None:
        asyncio.run(ask_for(server))


async def ask_for(server: MessagingServer) -> None:
    """Ask a SOCKS port for a server, as a look does."""
    async with RecordingSocks([5]) as proxy:
        with pytest.raises(StreamFailed, match="nothing listens on that port"):
            await open_stream(proxy.socks, server.host, server.port, 20)
    assert [(one.host, one.port) for one in proxy.connects] == [(server.host, server.port)]

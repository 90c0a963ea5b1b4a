"""SimpleX short links: what SimpleX reads is read, what it refuses is refused, and one form is written."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from short_links import HOSTS, base64url, respelled, short_links, written
from smp_transcript import _INTEROP, _RECORDED

from onion_rdv.errors import MalformedLink
from onion_rdv.protocol import SMP_PORT, LinkScheme, LinkType, ShortLink, is_short_link
from onion_rdv.protocol.host import canonical_host, linked_host

ID, KEY, HASH = bytes(range(24)), bytes(range(100, 132)), bytes(range(200, 232))
ID_TEXT, KEY_TEXT, HASH_TEXT = base64url(ID), base64url(KEY), base64url(HASH)
ONION = "jjbyvoemxysm7qxap7m5d5m35jzv5qq6gnlv7s4rsn7tdwwmuqciwpid.onion"
ONE_TIME = ShortLink(
    scheme=LinkScheme.SIMPLEX,
    type=LinkType.ONE_TIME,
    hosts=("smp.simplex.im", ONION),
    port=5223,
    key_hash=HASH,
    link_id=ID,
    link_key=KEY,
)
CONTACT = replace(ONE_TIME, type=LinkType.CONTACT, link_id=None)


NAMED = {**_RECORDED["uris"], **_INTEROP["uris"]}
URIS = {
    f"{name}-{number}": uri  # some are there in both forms
    for name, uris in NAMED.items()
    for number, uri in enumerate([uris] if isinstance(uris, str) else uris)
}
RECORDED = {name: uri for name, uri in URIS.items() if "/contact#" not in uri and "/invitation#" not in uri}


@pytest.mark.parametrize("name", RECORDED)
def test_a_link_of_the_recorded_conversation_is_read_and_written_back(name: str) -> None:
    link = ShortLink.parse(RECORDED[name])
    assert link.write() == written(link) == RECORDED[name]
    assert (link.hosts, link.port, link.key_hash is not None) == (("127.0.0.1",), 15223, True)


def test_full_links_are_no_short_links() -> None:
    assert {name for name, uri in URIS.items() if not is_short_link(uri)} == URIS.keys() - RECORDED.keys()
    assert len(RECORDED) == 13


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (ONE_TIME, f"simplex:/i#{ID_TEXT}/{KEY_TEXT}?h=smp.simplex.im%2C{ONION}&p=5223&c={HASH_TEXT}"),
        (
            replace(ONE_TIME, scheme=LinkScheme.SERVER),
            f"https://smp.simplex.im/i#{ID_TEXT}/{KEY_TEXT}?h={ONION}&p=5223&c={HASH_TEXT}",
        ),
        (
            replace(CONTACT, scheme=LinkScheme.SERVER, hosts=("smp.simplex.im",), port=None, key_hash=None),
            f"https://smp.simplex.im/a#{KEY_TEXT}",
        ),
        (
            replace(CONTACT, type=LinkType.GROUP, hosts=("smp.simplex.im",), port=None, key_hash=None),
            f"simplex:/g#{KEY_TEXT}?h=smp.simplex.im",
        ),
        (
            replace(CONTACT, type=LinkType.CHANNEL, scheme=LinkScheme.SERVER, hosts=("::1",), key_hash=None),
            f"https://::1/c#{KEY_TEXT}?p=5223",
        ),
        (
            replace(CONTACT, type=LinkType.RELAY, hosts=("127.0.0.1", "fe80::1"), port=None),
            f"simplex:/r#{KEY_TEXT}?h=127.0.0.1%2Cfe80%3A%3A1&c={HASH_TEXT}",
        ),
    ],
)
def test_a_link_and_its_text(link: ShortLink, text: str) -> None:
    assert ShortLink.parse(text) == link
    assert link.write() == text
    assert is_short_link(text)


@pytest.mark.parametrize(("scheme", "length"), [(LinkScheme.SIMPLEX, 224), (LinkScheme.SERVER, 221)])
def test_a_link_with_everything_has_a_length_that_makes_packing_worth_while(scheme: LinkScheme, length: int) -> None:
    assert len(replace(ONE_TIME, scheme=scheme, hosts=("smp16.simplex.im", ONION)).write()) == length


@given(short_links())
def test_any_link_is_written_and_read_back(link: ShortLink) -> None:
    text = link.write()
    assert text == written(link)
    assert ShortLink.parse(text) == link
    assert text.isascii()
    assert text.isprintable()


@given(st.data())
def test_other_spellings_are_the_same_link(data: st.DataObject) -> None:
    link = data.draw(short_links())
    assert ShortLink.parse(data.draw(respelled(link))) == link


@pytest.mark.parametrize(
    "text",
    [
        f"simplex:/A/#{KEY_TEXT}=?h=smp.simplex.im,{ONION}&p=05223&c={HASH_TEXT}=",
        f"simplex:/a#{KEY_TEXT[:-1]}N?c={HASH_TEXT};p=5223;h=smp%2Esimplex%2eim%2C{ONION}",
        f"simplex:/a#{KEY_TEXT}??%68=smp.simplex.im%2C{ONION}&p=5223&c={HASH_TEXT}&p=1&h=other.example&new=%zz\u00e9",
    ],
)
def test_other_spellings(text: str) -> None:
    assert ShortLink.parse(text) == CONTACT


LINK = f"simplex:/i#{ID_TEXT}/{KEY_TEXT}?h=smp.simplex.im"
SHAPE = "it does not look like a SimpleX short link"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", SHAPE),
        ("https://example.org/", SHAPE),
        (LINK.upper(), SHAPE),
        (LINK.replace("simplex:", "Simplex:"), SHAPE),
        (LINK.replace("simplex:/", "simplex://"), SHAPE),
        (LINK.replace("simplex:/", "simplex:"), SHAPE),
        (LINK.replace("simplex:", "http://smp.simplex.im"), SHAPE),
        (LINK.replace("/i#", "/I#"), SHAPE),
        (LINK.replace("/i#", "/b#"), SHAPE),
        (LINK.replace("/i#", "/i//#"), SHAPE),
        (LINK.replace("/i#", "/i?"), SHAPE),
        (LINK + " ", SHAPE),
        (" " + LINK, SHAPE),
        (LINK + "\n", SHAPE),
        (LINK.replace("?", "/?"), SHAPE),
        (LINK.replace("/i#", "/a#"), "a one-time link has two parts before its query, every other link one"),
        (LINK.replace(f"{ID_TEXT}/", ""), "a one-time link has two parts before its query, every other link one"),
        (LINK.replace(ID_TEXT, ""), "the first part in it is not 32 characters of base64url"),
        (LINK.replace(ID_TEXT, ID_TEXT + "="), "the first part in it is not 32 characters of base64url"),
        (LINK.replace(ID_TEXT, ID_TEXT[1:]), "the first part in it is not 32 characters of base64url"),
        (LINK.replace(KEY_TEXT, KEY_TEXT[1:]), "the key in it is not 43 characters of base64url"),
        (LINK.replace(KEY_TEXT, KEY_TEXT + "=="), "the key in it is not 43 characters of base64url"),
        (LINK.replace(KEY_TEXT, KEY_TEXT[1:] + "+"), "the key in it is not 43 characters of base64url"),
        (LINK.replace(KEY_TEXT, KEY_TEXT[1:] + "\u00e9"), "the key in it is not 43 characters of base64url"),
        (LINK.replace(KEY_TEXT, KEY_TEXT[1:] + "\u0660"), "the key in it is not 43 characters of base64url"),
        (LINK + "&c=", "the server's fingerprint in it is not 43 characters of base64url"),
        (LINK + f"&c={HASH_TEXT[1:]}", "the server's fingerprint in it is not 43 characters of base64url"),
        (LINK.partition("?")[0], "it names no server"),
        (LINK.partition("?")[0] + "?", "it names no server"),
        (LINK.replace("?h=", "?H="), "it names no server"),
        (LINK.replace("smp.simplex.im", ""), "it names no server"),
        (LINK + "&p=", "its port is no number from 1 to 65535"),
        (LINK + "&p=0", "its port is no number from 1 to 65535"),
        (LINK + "&p=65536", "its port is no number from 1 to 65535"),
        (LINK + "&p=+1", "its port is no number from 1 to 65535"),
        (LINK + "&p=\u0661", "its port is no number from 1 to 65535"),
        (LINK + "&p=" + "9" * 5000, "its port is no number from 1 to 65535"),
        (LINK + ",", "a host in it is neither a name nor an address"),
        (LINK + ":443", "a host in it is neither a name nor an address"),
        (LINK.replace("simplex:", "https://"), SHAPE),
        (LINK.replace("simplex:", "https://smp.simplex.im:443"), "a host in it is neither a name nor an address"),
        (LINK.replace("simplex:", "https://me@smp.simplex.im"), "a host in it is neither a name nor an address"),
        (LINK.replace("simplex:", "https://smp.simplex.im/x"), SHAPE),
    ],
)
def test_is_refused(text: str, detail: str) -> None:
    with pytest.raises(MalformedLink) as caught:
        ShortLink.parse(text)
    assert caught.value.detail == detail
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not is_short_link(text)


FULL = ONE_TIME.write()


@given(
    st.text()
    | st.text("simplexhtpsiacgr:/#?=&;,%.0123456789")
    | st.builds(
        lambda start, end, new: FULL[: min(start, end)] + new + FULL[max(start, end) :],
        st.integers(0, len(FULL)),
        st.integers(0, len(FULL)),
        st.text(max_size=5) | st.text("/#?=&,%:.", max_size=3),
    )
)
def test_any_text_is_a_link_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedLink):
        link = ShortLink.parse(text)
        assert ShortLink.parse(link.write()) == link


@given(st.text() | HOSTS | st.text("0123456789abf.:[]") | st.from_regex(r"[a-z0-9]*\.onion.?"))
def test_a_host_has_one_spelling(text: str) -> None:
    with contextlib.suppress(ValueError):
        host = canonical_host(text)
        assert canonical_host(host) == host
        assert host.isascii()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.00.000.01", "127.0.0.1"),
        ("::", "::"),
        ("[2001:DB8:0:0:0:0:0:1]", "2001:db8::1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("[::ffff:1.2.3.4]", "::ffff:102:304"),
        ("::ffff:102:304", "::ffff:102:304"),
        ("::1.2.3.4".join("[]"), "::102:304"),
        ("localhost", "localhost"),
        ("SMP.Example.org", "SMP.Example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_smp.example.org", "_smp.example.org"),
        ("cafe", "cafe"),
        ("x.onion", "x.onion"),
        ("x" * 63 + ".onion", "x" * 63 + ".onion"),
        (ONION, ONION),
        ("1.2.3.example.org", "1.2.3.example.org"),
        ("a." * 126 + "a", "a." * 126 + "a"),
        ("a" * 63, "a" * 63),
    ],
)
def test_hosts(text: str, host: str) -> None:
    assert canonical_host(text) == host


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("127.0.0.257", "a host in it begins like an IPv4 address, but is none"),
        ("256.0.0.1", "a host in it begins like an IPv4 address, but is none"),
        ("127.0.0.1.example.org", "a host in it begins like an IPv4 address, but is none"),
        ("127.0.0.1x", "a host in it begins like an IPv4 address, but is none"),
        ("127.0.0", "a host in it is neither a name nor an address"),
        ("1", "a host in it is neither a name nor an address"),
        ("1111111111.1.1.1", "a host in it is neither a name nor an address"),
        (":::", "a host in it looks like an IPv6 address, but is none"),
        ("cafe:5223", "a host in it looks like an IPv6 address, but is none"),
        ("[smp]", "a host in it is neither a name nor an address"),
        ("[1.2.3.4]", "a host in it looks like an IPv6 address, but is none"),
        ("fe80::1%eth0", "a host in it is neither a name nor an address"),
        ("::ffff:1.2.3.4", "a host in it is neither a name nor an address"),
        (".onion", "an onion host in it has no name, or something behind .onion"),
        ("x.onion.example", "an onion host in it has no name, or something behind .onion"),
        ("x.onion.", "an onion host in it has no name, or something behind .onion"),
        ("www.x.onion", "an onion host in it has a capital letter or a subdomain"),
        (ONION.upper(), "an onion host in it has a capital letter or a subdomain"),
        (ONION.capitalize(), "an onion host in it has a capital letter or a subdomain"),
        ("x.ONION", "an onion host in it has a capital letter or a subdomain"),
        ("", "a host in it is neither a name nor an address"),
        ("a..b", "a host in it is neither a name nor an address"),
        ("-a.org", "a host in it is neither a name nor an address"),
        ("a-.org", "a host in it is neither a name nor an address"),
        ("example.org.", "a host in it is neither a name nor an address"),
        ("exa mple.org", "a host in it is neither a name nor an address"),
        ("b\u00fccher.example", "a host in it is neither a name nor an address"),
        ("a" * 64, "a host in it is neither a name nor an address"),
        ("a." * 126 + "aa", "a host in it is too long"),
        ("a" * 248 + ".onion", "a host in it is too long"),
        ("a" * 64 + ".onion", "an onion host in it has a name of more than 63 characters"),
        ("a" * 64 + ".onion.example", "an onion host in it has a name of more than 63 characters"),
    ],
)
def test_no_hosts(text: str, detail: str) -> None:
    with pytest.raises(ValueError, match=f"^{detail}$"):
        canonical_host(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("SMP.Example.org", "smp.example.org"),
        ("127.00.000.01", "127.0.0.1"),
        ("1.2.3.4.example.org", "1.2.3.4.example.org"),
        ("x.onion.example", "x.onion.example"),
        (f"www.{ONION.upper()}", f"www.{ONION}"),
        (".".join(["a" * 63] * 3 + ["a" * 61]), ".".join(["a" * 63] * 3 + ["a" * 61])),
        (".".join(["a" * 63] * 3 + ["a" * 62]), None),
        ("a" * 64 + ".onion", None),
        ("256.0.0.1", None),
        ("1.2.3", None),
        ("::1", None),
        ("a..b", None),
        (".a", None),
        ("a.", None),
        ("a.-b.c", None),
        ("\u212aelvin.example", None),  # a sign that is a k in lower case
        ("", None),
    ],
)
def test_hosts_of_any_link(text: str, host: str | None) -> None:
    assert linked_host(text) == host


def test_the_onion_host_is_preferred() -> None:
    assert ONE_TIME.preferred_host == ONION
    assert replace(ONE_TIME, hosts=("a.org", "b.org")).preferred_host == "a.org"


def test_the_usual_port_is_taken_where_none_is_named() -> None:
    assert replace(ONE_TIME, port=443).server_port == 443
    assert replace(ONE_TIME, port=None).server_port == SMP_PORT == 5223
    assert replace(ONE_TIME, port=None).write() != ONE_TIME.write()


def test_the_form_for_the_app_involves_no_browser() -> None:
    link = replace(CONTACT, scheme=LinkScheme.SERVER)
    assert link.with_scheme(LinkScheme.SIMPLEX) == CONTACT
    assert CONTACT.with_scheme(LinkScheme.SERVER) == link


def test_only_a_one_time_link_is_used_up() -> None:
    assert (ONE_TIME.is_one_time, CONTACT.is_one_time) == (True, False)
    assert {kind.words for kind in LinkType} == {
        "one-time invitation",
        "contact address",
        "channel",
        "group",
        "relay",
    }


@given(short_links())
def test_secrets_do_not_show(link: ShortLink) -> None:
    other_id = None if link.link_id is None else bytes(24)
    assert f"{link} {link!r}" == f"{replace(link, link_key=bytes(32), link_id=other_id)!r} {link!s}"
    assert "link_key" not in repr(link)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"hosts": ()}, "a short link names a host"),
        ({"hosts": ("127.0.0.01",)}, "a host in it is not in its one spelling"),
        ({"hosts": ("a b",)}, "a host in it is neither a name nor an address"),
        ({"port": 0}, "a port is a number from 1 to 65535"),
        ({"port": 65536}, "a port is a number from 1 to 65535"),
        ({"link_id": None}, "a one-time link has a link id, and no other has"),
        ({"type": LinkType.GROUP}, "a one-time link has a link id, and no other has"),
        ({"link_id": bytes(23)}, "a link id has 24 bytes, not 23"),
        ({"link_key": bytes(33)}, "a link key has 32 bytes, not 33"),
        ({"key_hash": b""}, "a key hash has 32 bytes, not 0"),
    ],
)
def test_a_link_that_is_none_cannot_be_made(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{fault}$"):
        replace(ONE_TIME, **changes)  # type: ignore[arg-type]

"""docs/protocol.md says what the code does: requirements, tables, and the worked example, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import re
from itertools import groupby

from argon2.low_level import Type, hash_secret_raw
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt
from protocol_material import FIRST, KIND1_VECTORS, MUST_FAIL, ROOT

from onion_rdv.protocol import LinkType
from onion_rdv.protocol.exchange import Problem, bucket_reply

DOCUMENT = (ROOT / "docs" / "protocol.md").read_text()
HEADINGS = set(re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE))
NAMES = re.findall(r"^\* \*\*([A-Z]{2}-[0-9]+)\*\* ", DOCUMENT, re.MULTILINE)


def section(heading: str) -> str:
    return DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[str]:
    return re.findall(r"^ *```(?:text|abnf)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def test_requirements_are_named_one_after_the_other() -> None:
    for prefix, group in groupby(NAMES, key=lambda name: name[:2]):
        names = list(group)
        assert names == [f"{prefix}-{number}" for number in range(1, len(names) + 1)]
    assert len(set(NAMES)) == len(NAMES) > 50


def test_every_must_stands_in_a_requirement() -> None:
    paragraphs = re.split(r"\n\n(?! )|\n(?=\* )", DOCUMENT.split("\n## Roles\n")[1])
    loose = [text for text in paragraphs if "MUST" in text and not re.match(r"\* \*\*[A-Z]{2}-[0-9]+\*\* ", text)]
    assert loose == []


def test_what_is_cited_exists() -> None:
    assert set(re.findall(r"\b[A-Z]{2}-[0-9]+\b", DOCUMENT)) == set(NAMES)
    assert {case["breaks"] for case in MUST_FAIL} <= set(NAMES)
    assert {"SL-1", "SL-2", "SL-3", "PL-4"} <= {case["breaks"] for case in MUST_FAIL}


def test_every_operation_of_the_must_fail_cases_is_explained() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", section("What must be refused"), re.MULTILINE)
    explained = {name for row in rows for name in re.findall("`(.+?)`", row)}
    assert explained == {case["operation"] for case in MUST_FAIL}


def test_sections_that_the_code_names_exist() -> None:
    cited = {
        section
        for path in (ROOT / "onion_rdv").rglob("*.py")
        for sections in re.findall(r'docs/protocol\.md, ((?:"[A-Za-z ,]+"(?: and )?)+)', path.read_text())
        for section in re.findall('"(.+?)"', sections)
    }
    assert cited <= HEADINGS
    assert len(cited) > 8


def test_the_problems_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ([0-9]{3}) \| `(\S+)` \|.*\| (.+) \|$", section("Replies"), re.MULTILINE)
    assert {(int(status), kind) for status, kind, _ in rows} == {(one.status, one.type) for one in Problem}
    assert len(rows) == len(Problem)
    busy = {kind for _, kind, meaning in rows if meaning.startswith("server busy")}
    assert busy == {one.type for one in (Problem.TIMEOUT, Problem.INTERNAL, Problem.BUSY)}


def steps_of(block: str) -> dict[str, str]:
    steps: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if line.startswith("    "):
            steps[name] += line.strip()
        else:
            name = line
            steps[name] = ""
    return steps


def worked_example() -> dict[str, bytes]:
    steps = steps_of(blocks(section("Test vectors"))[0])
    return {name: text.encode() if text.startswith("rdv:") else bytes.fromhex(text) for name, text in steps.items()}


def parts_by_the_text(link: str) -> list[bytes]:
    """Pack a link in canonical form, from the text alone: head, hosts and their end, port, fingerprint, id, key."""
    start, _, rest = link.partition("#")
    keys, _, query = rest.partition("?")
    values = dict(parameter.split("=") for parameter in query.split("&") if parameter)
    scheme, path = start.rsplit("/", 1)
    head = "iacgr".index(path) | 8 * (scheme != "simplex:") | 16 * ("p" in values) | 32 * ("c" in values)
    hosts = [scheme.removeprefix("https://")] if scheme != "simplex:" else []
    hosts += values["h"].replace("%3A", ":").split("%2C") if "h" in values else []
    *link_id, link_key = (base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)) for key in keys.split("/"))
    return [
        bytes([head]),
        *map(packed_host_by_the_text, hosts),
        b"\0",
        int(values["p"]).to_bytes(2, "big") if "p" in values else b"",
        base64.urlsafe_b64decode(values["c"] + "=") if "c" in values else b"",
        *link_id,
        link_key,
    ]


def packed_host_by_the_text(host: str) -> bytes:
    if re.fullmatch(r"[a-z2-7]{56}\.onion", host):
        value = base64.b32decode(host[:56].upper())
        key, checksum, version = value[:32], value[32:34], value[34:]
        if version == b"\x03" and checksum == hashlib.sha3_256(b".onion checksum" + key + version).digest()[:2]:
            return b"\xff" + key
    return bytes([len(host)]) + host.encode()


def test_the_packed_example_follows_from_the_text() -> None:
    text = section("Packed links")
    example = KIND1_VECTORS[0]
    parts = parts_by_the_text(example["comes_back"])
    assert list(steps_of(blocks(text)[1]).values()) == [part.hex() for part in parts]
    assert b"".join(parts).hex() == example["packed"]
    assert f"The packed form of `{example['link']}` has {len(b''.join(parts))} bytes:" in text


def test_every_packed_vector_follows_from_the_text() -> None:
    for vector in KIND1_VECTORS:
        assert b"".join(parts_by_the_text(vector["comes_back"])).hex() == vector["packed"], vector["name"]


def test_the_types_of_short_links_are_those_of_the_code() -> None:
    (row,) = re.findall(r"^\| 0 to 2 \| the type: (.+); 5 to 7 are not assigned \|$", DOCUMENT, re.MULTILINE)
    assert re.findall(r"([0-9]) (?:is )?`([a-z])`", row) == [
        (str(number), kind.letter) for number, kind in enumerate(LinkType)
    ]
    assert re.findall(r"`([a-z])`(?: is)? an? ([a-z -]+)[,.]", section("Short links").replace("\n", " ")) == [
        (kind.letter, kind.words) for kind in LinkType
    ]


def test_the_worked_example_follows_from_the_text() -> None:
    """A second implementation in a few lines, from the text alone."""
    key = bytes.fromhex(FIRST["onion_key"])
    bucket_id = (1704696120).to_bytes(8, "big") + bytes(4)
    link_salt = hashlib.sha256(b"onion-rdv/1 bucket link" + key).digest()[:16]
    bucket_link = hash_secret_raw(bucket_id, link_salt, 2, 19456, 1, 16, Type.ID)
    salt = bytes.fromhex(FIRST["salt"])
    master = hash_secret_raw(b"correct horse battery staple", salt, 3, 65536, 4, 32, Type.ID)
    commitment, entry_key, nonce = (
        hashlib.blake2b(key, digest_size=size, key=master, person=person).digest()
        for size, person in ((32, b"rdv1 commitment"), (32, b"rdv1 key"), (24, b"rdv1 nonce"))
    )
    body = FIRST["link"].encode()
    plaintext = (bytes([0, len(body)]) + body).ljust(208, b"\0")
    sealed = encrypt(plaintext, None, nonce, entry_key)
    checksum = hashlib.sha3_256(b"rdv checksum" + key + bucket_link + salt + b"\x01").digest()[:2]
    token = bucket_link + salt + checksum + b"\x01"
    address_checksum = hashlib.sha3_256(b".onion checksum" + key + b"\x03").digest()[:2]
    host, text = (base64.b32encode(value).decode().lower() for value in (key + address_checksum + b"\x03", token))
    invite = f"rdv://{host}.onion/{text}"
    assert worked_example() == {
        "onion key": key,
        "checksum in the onion address": address_checksum,
        "bucket id: created_at 1704696120, number 0": bucket_id,
        "link salt": link_salt,
        "bucket link": bucket_link,
        'passphrase bytes: "correct horse battery staple"': b"correct horse battery staple",
        "invite salt": salt,
        "master": master,
        "commitment": commitment,
        "key": entry_key,
        "nonce": nonce,
        "plaintext": plaintext,
        "sealed: ciphertext, tag": sealed,
        "entry: commitment, sealed": commitment + sealed,
        "checksum in the token": checksum,
        "token-bytes": token,
        "invite": invite.encode(),
        "invite with the passphrase": f"{invite}#correct-horse-battery-staple".encode(),
    }
    assert (invite, (commitment + sealed).hex()) == (FIRST["invite"], FIRST["entry"])
    assert f"`{FIRST['link']}`" in DOCUMENT


def test_the_heads_have_the_bytes_that_the_text_counts() -> None:
    request, reply = (block.replace("\n", "\r\n").encode() for block in blocks(section("Test vectors"))[1:3])
    assert bucket_reply(bytes(16384)).startswith(reply.replace(b"201", b"200"))
    assert (len(request), len(request) + 256) == (158, 414)
    assert (len(reply), len(reply) + 16396) == (80, 16476)
    assert "158 bytes of head, 414 in all" in section("Requests")
    assert "80 bytes of head, 16,476 in all" in section("Replies")
    assert f"Host: {FIRST['onion_address']}\r\n".encode() in request

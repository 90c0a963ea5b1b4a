"""The bill of materials: every package that a release needs, with its licence, and who needs it."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from onion_rdv import __version__
from release import bill
from release.licences import licences
from release.locks import RUN, read

EPOCH = 1_700_000_000
PROGRAM = f"pkg:pypi/onion-rdv@{__version__}"


def read_bill() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(bill.text(EPOCH))
    return content


def test_it_lists_what_is_locked() -> None:
    components = {component["name"]: component for component in read_bill()["components"]}
    assert set(components) == {package.name for package in read(RUN)}
    for package in read(RUN):
        component = components[package.name]
        assert component["type"] == "library"
        assert component["version"] == package.version
        assert component["purl"] == component["bom-ref"] == f"pkg:pypi/{package.name}@{package.version}"
        assert component["licenses"] == [{"expression": licences()[package.name]}]
        markers = [one["value"] for one in component.get("properties", [])]
        assert markers == ([package.marker] if package.marker else [])


def test_it_is_what_cyclonedx_wants() -> None:
    """A validator of the whole schema takes thirty packages; these are the rules that this file could break."""
    content = read_bill()
    assert (content["bomFormat"], content["specVersion"], content["version"]) == ("CycloneDX", "1.6", 1)
    assert content["$schema"] == "http://cyclonedx.org/schema/bom-1.6.schema.json"
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", content["serialNumber"])
    assert content["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    references = [PROGRAM, *(component["bom-ref"] for component in content["components"])]
    assert len(set(references)) == len(references), "bom-refs are unique"
    assert [one["ref"] for one in content["dependencies"]] == references
    for one in content["dependencies"]:
        assert set(one) <= {"ref", "dependsOn"}
        assert set(one.get("dependsOn", [])) <= set(references)
        assert len(set(one.get("dependsOn", []))) == len(one.get("dependsOn", []))
    assert bill.file_name().endswith(".cdx.json"), "the name by which tools know it"


def test_who_needs_whom_is_what_the_packages_say() -> None:
    versions = {component["bom-ref"]: component["name"] for component in read_bill()["components"]}
    versions[PROGRAM] = "onion-rdv"
    for one in read_bill()["dependencies"]:
        try:
            asked = requires(versions[one["ref"]]) or []
        except PackageNotFoundError:
            continue  # it is for another Python than this
        needed = {versions[reference] for reference in one.get("dependsOn", [])}
        here = {
            canonicalize_name(requirement.name)
            for requirement in map(Requirement, asked)
            if not requirement.marker or requirement.marker.evaluate({"extra": ""})
        }
        assert here <= needed, one["ref"]
        assert needed <= {canonicalize_name(Requirement(line).name) for line in asked}, one["ref"]


def test_it_names_the_lock_by_its_hash() -> None:
    [lock] = read_bill()["metadata"]["component"]["externalReferences"]
    assert lock["url"] == "requirements.lock"
    assert lock["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(RUN.read_bytes()).hexdigest()}]


def test_the_same_commit_gives_the_same_bytes() -> None:
    assert bill.text(EPOCH) == bill.text(EPOCH)
    assert json.loads(bill.text(EPOCH + 1))["serialNumber"] != read_bill()["serialNumber"]

"""The software bill of materials: what a release brings or needs in Python packages, in the words of CycloneDX 1.6.

https://cyclonedx.org/docs/1.6/json/. It is written from ``requirements.lock`` and the licences that are known, so
the same commit gives the same bytes. What others have compiled into their packages (OpenSSL, libffi, libsodium,
Argon2) is in the bills that some of them bring, below ``sboms`` of their ``.dist-info`` (PEP 770), not in this one.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from onion_rdv import __version__
from release import ROOT
from release.licences import licences
from release.locks import RUN, Locked, read

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PROGRAM = f"pkg:pypi/onion-rdv@{__version__}"
_OWN_LICENCE = "MIT"


def file_name() -> str:
    """Name the file as CycloneDX recommends, so that tools know it for what it is."""
    return f"onion-rdv-{__version__}.cdx.json"


def build(output: Path, epoch: int) -> Path:
    """Write the bill, made at the Unix time ``epoch``, into the directory ``output``; gives its path."""
    path = output / file_name()
    path.write_text(text(epoch))
    return path


def text(epoch: int) -> str:
    """Give the bill, made at the Unix time ``epoch``, as JSON.

    Raises KeyError for a package whose licence nobody has looked at.
    """
    packages = read(RUN)
    content: dict[str, Any] = {
        "metadata": _metadata(epoch),
        "components": [_component(package) for package in packages],
        "dependencies": _dependencies(packages),
        "compositions": [
            {
                "aggregate": "incomplete",  # Python, tor and the C library are the system's
                "assemblies": [_PROGRAM],
                "dependencies": [_PROGRAM],
            }
        ],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": number.urn,
        "version": 1,
    }
    return json.dumps(head | content, indent=2) + "\n"


def _metadata(epoch: int) -> dict[str, Any]:
    return {
        "timestamp": f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "lifecycles": [{"phase": "build"}],
        "authors": [{"name": "The onion-rdv maintainers"}],
        "component": {
            "type": "application",
            "bom-ref": _PROGRAM,
            "name": "onion-rdv",
            "version": __version__,
            "purl": _PROGRAM,
            "licenses": [{"expression": _OWN_LICENCE}],
            "externalReferences": [
                {
                    "type": "build-meta",
                    "url": RUN.relative_to(ROOT).as_posix(),
                    "comment": "in the source: the hashes of every file that may be installed for a component",
                    "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(RUN.read_bytes()).hexdigest()}],
                }
            ],
        },
    }


def _component(package: Locked) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package.name,
        "version": package.version,
        "purl": _reference(package),
        "licenses": [{"expression": licences()[package.name]}],
    }
    if package.marker:
        component["properties"] = [{"name": "onion-rdv:environment-marker", "value": package.marker}]
    return component


def _dependencies(packages: Iterable[Locked]) -> list[dict[str, Any]]:
    """Say who needs whom: the lock has it the other way round."""
    references = {package.name: _reference(package) for package in packages}
    needed: dict[str, list[str]] = {reference: [] for reference in (_PROGRAM, *references.values())}
    for package in packages:
        for reason in package.via:
            by = _PROGRAM if re.match(r"onion-rdv \(", reason) else references[reason]
            needed[by].append(_reference(package))
    return [{"ref": by, "dependsOn": on} if on else {"ref": by} for by, on in needed.items()]


def _reference(package: Locked) -> str:
    """Give its package URL: https://github.com/package-url/purl-spec."""
    return f"pkg:pypi/{package.name}@{package.version}"

"""What a program opens anything to, and whether it looks up names by itself, as strace sees it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CALL = re.compile(r"(?P<pid>\d+) +(?P<name>connect|sendto|sendmsg|sendmmsg|bind|openat|execve)\((?P<arguments>.*)")
_ADDRESS = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')
_SOCKET_FILE = re.compile(r'sun_path=(@?"[^"]*")')
_FILE = re.compile(r'"([^"]*)"')
_LOOKS_UP = re.compile(r"/etc/(hosts|resolv\.conf|host\.conf|gai\.conf)|libnss_(?!files|systemd|compat)|libresolv")
"""What the C library opens when it looks up the name of a host; libnss_files also serves to look up users."""


def addresses_of(trace: Path) -> set[str]:
    """Give every network address that a process or its children connected, sent or bound to."""
    return {address for address, is_file in _addresses(trace) if not is_file}


def socket_files_of(trace: Path) -> set[str]:
    """Give every Unix socket that they connected, sent or bound to."""
    return {address for address, is_file in _addresses(trace) if is_file}


def lookups_in(trace: Path) -> set[str]:
    """Give the files that they opened to look up the name of a host."""
    files = {_FILE.search(call["arguments"]) for call in _calls(trace) if call["name"] == "openat"}
    return {file[1] for file in files if file is not None and _LOOKS_UP.search(file[1])}


def tracer(trace: Path) -> tuple[str, ...]:
    """Give the wrapper that writes down what a program does with the network, in a file of its own."""
    strace = shutil.which("strace")
    assert strace, "strace is not installed: make test installs it"
    calls = "trace=network,openat,execve"
    return (strace, "-D", "-f", "-qq", "--seccomp-bpf", "-s", "256", "-e", calls, "-o", str(trace))


def _addresses(trace: Path) -> Iterator[tuple[str, bool]]:
    for call in _calls(trace):
        if call["name"] in {"openat", "execve"} or "AF_" not in call["arguments"]:
            continue  # or more bytes to where it is connected already
        file = _SOCKET_FILE.search(call["arguments"])
        address = _ADDRESS.search(call["arguments"])
        if file is not None:
            yield file[1].strip('"'), True
        elif "AF_NETLINK" not in call["arguments"]:
            yield (f"{address[2]}:{address[1]}" if address else call["arguments"]), False


def _calls(trace: Path) -> Iterator[re.Match[str]]:
    """Give the calls of a process and its children, but not those of a tor that they have started."""
    tors = set()
    for line in trace.read_text().splitlines():
        call = _CALL.match(line)
        if call is None or call["pid"] in tors:
            continue
        if call["name"] == "execve" and call["arguments"].split('"')[1].endswith("/tor"):
            tors.add(call["pid"])
        yield call

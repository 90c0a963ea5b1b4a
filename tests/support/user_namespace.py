"""User namespaces: what a service with ``PrivateUsers=`` and a container without root's rights see of users."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

_FREE = 100_000  # and what follows: users of nobody's
_USERS = 2**16
_UNSHARE = ("unshare", "--user")
_NOT_TESTED = "NOT TESTED: no user namespaces here, or none with so many users"


def root_alone() -> tuple[str, ...]:
    """Give the wrapper with which a program runs where nobody but itself is seen, as root.

    Skips the test where this machine allows no such thing.
    """
    wrapper = (*_UNSHARE, "--map-root-user")
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip(_NOT_TESTED)
    return wrapper


@contextmanager
def user_namespace(ranges: Iterable[tuple[int, int, int]]) -> Iterator[tuple[str, ...]]:
    """Give the wrapper with which root's program runs in a namespace with these ranges of users.

    Each is the first user's number inside, the same user's number outside, and how many there are. Skips as
    :func:`root_alone` does.
    """
    content = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges if count)
    holder = subprocess.Popen(
        [*_UNSHARE, "sh", "-c", "echo && exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with holder:  # it ends when nobody has its stdin any more
        assert holder.stdout is not None
        if not holder.stdout.readline():
            pytest.skip(_NOT_TESTED)
        for kind in ("uid", "gid"):
            try:
                Path(f"/proc/{holder.pid}/{kind}_map").write_text(content, "ascii")
            except OSError:
                pytest.skip(_NOT_TESTED)
        yield ("nsenter", f"--target={holder.pid}", "--user", "--preserve-credentials", "--")


def users_of_a_container(ourselves: int = 0) -> AbstractContextManager[tuple[str, ...]]:
    """Do what :func:`user_namespace` does: root is ``ourselves`` there, among 65536 users who are nobody's here.

    One of them is 65534, as whom the kernel shows all users who are not seen there.
    """
    above = _USERS - 1 - ourselves
    return user_namespace([(0, _FREE, ourselves), (ourselves, 0, 1), (ourselves + 1, _FREE + ourselves + 1, above)])

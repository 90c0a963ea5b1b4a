"""User namespaces: what a service with ``PrivateUsers=`` sees of users."""

from __future__ import annotations

import subprocess

import pytest


def root_alone() -> tuple[str, ...]:
    """Give the wrapper with which a program runs where nobody but itself is seen, as root.

    Skips the test where this machine allows no such thing.
    """
    wrapper = ("unshare", "--user", "--map-root-user")
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: no user namespaces here")
    return wrapper

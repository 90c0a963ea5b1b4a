"""What is known of the machine's users, also from inside a user namespace such as systemd's PrivateUsers= makes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from identity import NOBODY
from user_namespace import root_alone, user_namespace, users_of_a_container

from onion_rdv.tor import users

PROGRAM = """
import os
from onion_rdv.tor import users
print(users.is_seen(0), users.is_seen(1), users.may(1, os.stat("/etc/shadow"), 4))
"""


def test_every_user_is_seen_where_there_is_no_namespace() -> None:
    assert users.is_seen(os.geteuid())
    assert users.is_seen(1)


def test_most_are_not_seen_in_a_namespace_of_ones_own() -> None:
    command = [*root_alone(), sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "False", "True"], "of whom nothing is known, nothing is said"


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can make such a namespace")
def test_who_stands_in_for_others_is_seen_where_nobody_is_lacking() -> None:
    program = f"from onion_rdv.tor import users; print(users.is_seen({NOBODY}))"
    everybody = user_namespace([(0, 0, 1), (1, 1, 2**32 - 2)])  # as systemd makes it for PrivateUsers=full
    for namespace, seen in ((everybody, "True"), (users_of_a_container(), "False")):
        with namespace as wrapper:
            command = [*wrapper, sys.executable, "-c", program]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == [seen]

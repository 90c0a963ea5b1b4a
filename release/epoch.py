"""The time that everything in a release bears: that of the commit it was made from."""

from __future__ import annotations

import os
import subprocess
import sys

from release import ROOT

VARIABLE = "SOURCE_DATE_EPOCH"
"""https://reproducible-builds.org/specs/source-date-epoch/"""


def source_date_epoch() -> int:
    """Give a Unix time: what ``SOURCE_DATE_EPOCH`` says, else when the last commit was made.

    Ends the program where there is neither.
    """
    named = os.environ.get(VARIABLE)
    if named is None:
        git = subprocess.run(
            ["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False
        )
        named = git.stdout.strip()
    if not named.isdecimal():
        sys.exit(f"release: this is no git checkout: set {VARIABLE} to the Unix time that the files shall bear")
    return int(named)

"""``onion-rdv`` without a ceiling on new buckets, so that a load of stores is one of stores, not of refusals.

As shipped, also with ``--max-new-buckets 0``, a server opens at most sixteen buckets in a second: 1,024 stores.
"""

from __future__ import annotations

import runpy

from onion_rdv.rendezvous.rules import NO_CEILING, Rules
from onion_rdv.rendezvous.settings import ServerSettings


def lift_ceiling() -> None:
    """Have every server of this process open as many buckets as there are numbers."""

    def rules(self: ServerSettings) -> Rules:
        return Rules(self.window, self.lifetime, NO_CEILING)

    ServerSettings.rules = property(rules)  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    lift_ceiling()
    runpy.run_module("onion_rdv", run_name="__main__", alter_sys=True)

"""What holds for all fast tests."""

from __future__ import annotations

from hypothesis import settings

# On a machine that does other things too, one example may take long; that is no fault of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

"""Where this user's own files are: in the directories that XDG's variables name, else below the home directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onion_rdv.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAME: Final = "onion-rdv"


def state() -> Path:
    """Give the directory for what is kept; raises SettingsError where this user has no home."""
    import platformdirs

    return _find(platformdirs.user_state_path)


def config() -> Path:
    """Give the directory for settings; raises SettingsError where this user has no home."""
    import platformdirs

    return _find(platformdirs.user_config_path)


def _find(path: Callable[[str], Path]) -> Path:
    try:
        return path(_NAME)
    except RuntimeError:
        raise SettingsError(
            "this user has no home directory", hint="set HOME, or ONION_RDV_CONFIG and --state-dir"
        ) from None

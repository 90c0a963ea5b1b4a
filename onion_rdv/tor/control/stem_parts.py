"""The parts of stem that speak to a control port, without what stem imports for descriptors, which nobody reads here.

Its controller imports every kind of descriptor, and one of these all of cryptography, to learn whether there is
x25519. That is seven MiB in every server, and takes longer than tor needs to answer.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ASKED_FOR: Final = "cryptography.hazmat.backends.openssl.backend"


@contextmanager
def _not_to_be_found(module: str) -> Iterator[None]:
    """Let a module that nobody has imported look as if it were not installed, while the block runs."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # that is what importing goes by
    try:
        yield
    finally:
        del sys.modules[module]


with _not_to_be_found(_ASKED_FOR):
    import stem
    import stem.connection
    import stem.control
    import stem.response
    import stem.socket
    import stem.util.log

__all__ = ["stem"]

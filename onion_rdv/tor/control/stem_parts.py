"""The parts of stem that speak to a control port, without what stem imports for descriptors, which nobody reads here.

Its controller imports every kind of descriptor, and one of these all of cryptography, to learn whether there is
x25519. That is seven MiB in every server, and takes longer than tor needs to answer.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ASKED_FOR: Final = "cryptography"


class _Missing:
    """A finder (see sys.meta_path) that has one package look as if it were not installed, for one thread.

    Others may import at the same time, and want it.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._thread = threading.get_ident()

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        """Refuse that package, and leave every other one to the finders that come next."""
        if name == self._module and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(name)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Have a package look as if it were not installed while the block runs, unless it is loaded already."""
    missing = _Missing(module)
    sys.meta_path.insert(0, missing)
    try:
        yield
    finally:
        sys.meta_path.remove(missing)


with _without(_ASKED_FOR):
    import stem
    import stem.connection
    import stem.control
    import stem.response
    import stem.socket
    import stem.util.log

__all__ = ["stem"]

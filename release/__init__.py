"""What is made for people who do not work from a checkout: a Debian package, a wheel and an sdist, the man pages.

``python -m release deb`` (or ``dist``, ``man``) in a checkout. The same commit gives the same bytes, wherever and
whenever it is built: https://reproducible-builds.org/.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The checkout."""

"""Drawing a QR code in the terminal."""

from __future__ import annotations

import io

from onion_rdv.cli.terminal import say


def draw(text: str) -> None:
    """Draw ``text`` as a QR code on stderr, in half blocks, dark on light whatever the terminal's colours are."""
    import segno

    drawing = io.StringIO()
    segno.make(text, micro=False, error="m").terminal(drawing, border=2, compact=True)
    say(drawing.getvalue().rstrip("\n"))

"""Drawing an invite or a link as a QR code in the terminal."""

from __future__ import annotations

import io

import click

from onion_rdv.cli.terminal import say


def draw_invite(invite: str) -> None:
    """Draw an invite.

    One without a passphrase is drawn in upper case, which says the same (docs/protocol.md, "Invites") and is a third
    smaller: QR codes have a mode for it (ISO/IEC 18004, alphanumeric mode).
    """
    draw(invite if "#" in invite else invite.upper())


def draw(text: str) -> None:
    """Draw a text on stderr, in half blocks; on a terminal dark on light, whatever its colours are."""
    import segno

    drawing = io.StringIO()
    segno.make(text, micro=False, error="m").terminal(drawing, border=2, compact=True)
    for line in drawing.getvalue().splitlines():
        say(click.style(line, fg="bright_white", bg="black"))

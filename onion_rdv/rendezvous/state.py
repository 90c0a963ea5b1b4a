"""What stands in the state directory of a rendezvous server, beside the onion service's key."""

from __future__ import annotations

CLIENTS_FILE = "authorized-clients"
"""Who was let in with ``onion-rdv authorize``; none where nobody was."""

ADMIN_SOCKET = "admin.socket"
"""Where the server's operator asks, unless another place was named."""

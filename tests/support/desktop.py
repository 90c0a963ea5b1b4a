"""A desktop session's message bus (a real one), with a portal on it that does as it is told."""

from __future__ import annotations

import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jeepney import HeaderFields, MessageType, new_error, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORTAL = "org.freedesktop.portal.Desktop"


@contextmanager
def message_bus_daemon(directory: Path) -> Iterator[str]:
    """Run a session's message bus; gives its address."""
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
    command.append(f"--address=unix:path={directory / 'bus'}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@dataclass
class Portal:
    """Takes what it is asked to open, unless it refuses."""

    refuses: bool = False
    opened: list[tuple[str, str]] = field(default_factory=list)

    @contextmanager
    def on(self, address: str) -> Iterator[None]:
        """Be on a bus while the block runs."""
        connection = open_dbus_connection(bus=address)
        connection.send_and_get_reply(message_bus.RequestName(PORTAL))
        serving = threading.Thread(target=self._serve, args=(connection,))
        serving.start()
        try:
            yield
        finally:
            connection.sock.shutdown(2)
            serving.join()
            connection.close()

    def _serve(self, connection: object) -> None:
        with suppress(ConnectionError, OSError, EOFError):
            while True:
                message = connection.receive()  # type: ignore[attr-defined]
                if message.header.message_type is not MessageType.method_call:
                    continue
                member = message.header.fields[HeaderFields.member]
                self.opened.append((member, message.body[1]))
                if self.refuses:
                    reply = new_error(message, "org.freedesktop.portal.Error.NotFound")
                else:
                    reply = new_method_return(message, "o", ("/org/freedesktop/portal/desktop/request/1",))
                connection.send(reply)  # type: ignore[attr-defined]

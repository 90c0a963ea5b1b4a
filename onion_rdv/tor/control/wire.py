"""stem's part: a socket, the two threads that read from it, and one command at a time. Everything here blocks."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from onion_rdv.tor import owner
from onion_rdv.tor.control.stem_parts import stem

if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Callable

    from onion_rdv.tor.control_address import ControlAddress

_JOIN_SECONDS = 5
_OPTION = "--control (for the keys to private servers: --socks-control)"


def _drop(_record: logging.LogRecord) -> bool:
    return False


def _silence_stem() -> None:
    # Below its INFO stem logs whole commands, and ADD_ONION carries a secret key: no configuration of
    # logging, however verbose, may bring that into a log.
    logger = stem.util.log.get_logger()
    logger.propagate = False
    logger.addFilter(_drop)


_silence_stem()


class _Socket(stem.socket.ControlSocket):  # type: ignore[misc]  # stem is untyped
    """stem's control socket on any loopback address, with a time limit, that does not come back after its end."""

    def __init__(
        self, address: ControlAddress, timeout: float, *, checked: bool, runs: Callable[[], bool] | None
    ) -> None:
        super().__init__()
        self.ended = False
        self._address = address
        self._timeout = timeout
        self._checked = checked
        self._runs = runs

    def _make_socket(self) -> socket.socket:
        # stem connects again by itself after a failed authentication, even when we have given up meanwhile.
        if self.ended:
            raise stem.SocketClosed
        try:
            opened = self._address.open(self._timeout)
        except OSError as error:
            raise stem.SocketError(error) from error
        if self._checked:
            try:
                owner.check_peer(opened, str(self._address), option=_OPTION, runs=self._runs)
            except OSError as error:  # it has ended already
                opened.close()
                raise stem.SocketError(error) from error
            except BaseException:
                opened.close()
                raise
        return opened


class Wire(stem.control.BaseController):  # type: ignore[misc]  # stem is untyped
    """A control connection that hands events on from the thread they arrive in.

    stem's own ``Controller`` is passed over: it keeps caches and listens to events for them, and can lock up when
    the connection breaks while it changes the events it listens to.

    Where it is ``checked``, nothing is said to a listener that is not known to be tor's: connecting raises
    :class:`~onion_rdv.errors.PortNotUsed`. ``runs`` says whether a tor of our own does that should listen there.
    """

    def __init__(
        self,
        address: ControlAddress,
        timeout: float,
        *,
        checked: bool = False,
        runs: Callable[[], bool] | None = None,
    ) -> None:
        self.on_event: Callable[[str, str], None] | None = None
        self.on_end: Callable[[], None] | None = None
        super().__init__(_Socket(address, timeout, checked=checked, runs=runs))
        self.add_status_listener(self._status_changed, spawn=False)

    def _status_changed(self, _controller: object, state: str, _when: float) -> None:
        if state == stem.control.State.CLOSED and self.on_end is not None:
            self.on_end()

    def _handle_event(self, event_message: Any) -> None:
        with suppress(stem.ProtocolError):
            if self.on_event is not None:
                stem.response.convert("EVENT", event_message)
                text = "\n".join(content for _, _, content in event_message.content())
                self.on_event(event_message.type, text.removeprefix(event_message.type).strip())

    def end(self) -> None:
        """Close for good, and wait for the threads."""
        self.get_socket().ended = True
        self.close()
        self._reply_queue.put(stem.SocketClosed())  # frees a command whose reply stem lost
        # stem does not wait for its reader where it was the reader that closed.
        for thread in (self._reader_thread, self._event_thread):
            if thread is not None and thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)

"""Where a service gets its control connection: the tor that is named, one that is found, or one of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onion_rdv.errors import NoTor
from onion_rdv.tor import control
from onion_rdv.tor.progress import Progress, silent

if TYPE_CHECKING:
    from pathlib import Path

    from onion_rdv.tor.control import Control
    from onion_rdv.tor.own_tor import OwnTor

_BOOT_TIMEOUT = 180.0  # seconds; a first start over bridges takes minutes


class ControlSupply:
    """Gives a control connection whenever one is asked for, and starts a tor only where none can be had.

    ``address`` is where it looks (nowhere else, then); by default it looks in the usual places, and, where nothing
    answers, starts a tor in ``own_directory``, which ends with :meth:`close`. Which of these it is stays as it was
    decided first: a system's tor that restarts is waited for, not replaced. Unless it was named, who listens there
    is looked at anew for each connection (see :mod:`onion_rdv.tor.owner`).
    """

    def __init__(
        self,
        address: str | None,
        *,
        own_directory: Path,
        password_file: Path | None = None,
        extra_torrc: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self._address = address
        self._is_named = address is not None
        self._own_directory = own_directory
        self._password_file = password_file
        self._extra_torrc = extra_torrc
        self._progress = progress
        self._own: OwnTor | None = None
        self._starting = asyncio.Lock()

    async def __call__(self) -> Control:
        """Open a control connection.

        Raises :class:`~onion_rdv.errors.NoTor` and its kinds, :class:`~onion_rdv.errors.SettingsError`.
        """
        async with self._starting:
            if self._own is not None:
                try:
                    return await control.connect(self._own.control, checked=True, runs=self._own.runs)
                except NoTor:  # it has died
                    await self.close()
                return await self._start()
            if self._address is not None:
                return await control.connect(
                    self._address, password_file=self._password_file, checked=not self._is_named
                )
            found = await control.find(password_file=self._password_file)
            if found is None:
                return await self._start()
            self._address = str(found.address)
            return found

    async def _start(self) -> Control:
        from onion_rdv.tor import own_tor

        self._own = await own_tor.launch(
            self._own_directory,
            socks=False,
            extra_torrc=self._extra_torrc,
            progress=self._progress,
            timeout=_BOOT_TIMEOUT,
        )
        return await control.connect(self._own.control)

    @property
    def has_own_tor(self) -> bool:
        """Whether a tor was started here."""
        return self._own is not None

    async def close(self) -> None:
        """Stop the tor that was started here, if any."""
        own, self._own = self._own, None
        if own is not None:
            await own.stop()

"""Publish a v3 onion service on a socket through tor's control port, and keep it up.

::

    way = EphemeralService(ServiceSettings(Path("/run/rdv/web")), Path("/var/lib/rdv/onion.key"))
    service = OnionService(way, open_control)
    await service.publish()        # the descriptor is with the directories, service.address answers
    await service.keep()           # until somebody calls service.stop()

:class:`EphemeralService` keeps the key with us, :class:`DirectoryService` with tor. Neither knows what is served.
With ``detach`` an ephemeral service stays with tor when its server ends, until :func:`take_back`.
"""

from onion_rdv.tor.onion_service.detached import take_back
from onion_rdv.tor.onion_service.directory import DirectoryService
from onion_rdv.tor.onion_service.ephemeral import EphemeralService
from onion_rdv.tor.onion_service.service import OnionService
from onion_rdv.tor.onion_service.settings import ServiceSettings
from onion_rdv.tor.onion_service.way import Provided, Way

__all__ = ["DirectoryService", "EphemeralService", "OnionService", "Provided", "ServiceSettings", "Way", "take_back"]

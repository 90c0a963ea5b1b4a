"""A private Tor network on this machine: real tor processes on 127.0.0.1, gone when they are not needed any more.

:class:`Keeper` holds one for as long as a ``with`` block, or this process, lasts; :func:`up` brings one up that stays
until :func:`down`. ::

    with testnet.Keeper(progress=bar) as keeper:
        keeper.network.client_socks
        keeper.restart_tor("service")
"""

from onion_rdv.tor.testnet.attach import Keeper
from onion_rdv.tor.testnet.network import Network
from onion_rdv.tor.testnet.standing import Status, down, status, up

__all__ = ["Keeper", "Network", "Status", "down", "status", "up"]

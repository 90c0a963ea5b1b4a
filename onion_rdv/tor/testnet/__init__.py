"""A private Tor network on this machine: real tor processes on 127.0.0.1, gone when they are not needed any more.

::

    with testnet.Keeper(progress=bar) as keeper:   # ends with the block, or with this process
        keeper.network.client_socks
        keeper.restart_tor("service")
"""

from onion_rdv.tor.testnet.attach import Keeper
from onion_rdv.tor.testnet.network import Network

__all__ = ["Keeper", "Network"]

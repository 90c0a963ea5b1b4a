"""Which tors make up the private network, and what stands in the torrc of each.

The settings follow tor's manual, section "Testing network options": three authorities that are relays too, a few
more relays, one tor for onion services and one for clients. Fewer relays bootstrap late or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.tor.torrc import quote

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITIES = ("auth1", "auth2", "auth3")
BUSY = AUTHORITIES[0]
"""The one that keeps all relays in touch (see :mod:`onion_rdv.tor.testnet.traffic`)."""

SERVICE = "service"
CLIENT = "client"
DEFAULT_RELAYS = 3
BOOT_TIMEOUT = 150.0  # seconds; a boot takes some 18 where two processor cores have little else to do
VOTING_INTERVAL = 20  # seconds; the same from the start, for onion services count their periods in it
LEAD = 9
"""Seconds from the start to the first consensus, at least; voted on 4 s before, when all relays have shown up."""
LOG = "tor.log"

# No relay may stand out in its first seconds: if a single one is Stable, or the only one that has reported any
# bandwidth, every circuit has to end there, also those of clients that have it as their guard, and those fail.
_AUTHORITY_SETTINGS = f"""\
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
V3AuthVotingInterval {VOTING_INTERVAL}
V3AuthVoteDelay 4
V3AuthDistDelay 4
TestingV3AuthInitialVotingInterval {VOTING_INTERVAL}
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
AuthDirVoteStableGuaranteeMinUptime 0
AuthDirVoteStableGuaranteeMTBF 0
AuthDirFastGuarantee 1
TestingMinExitFlagThreshold 0
MinUptimeHidServDirectoryV2 0
"""

# On a network this fast the learned time-out falls to about 100 ms, and clients hang once a service has died.
_CIRCUIT_SETTINGS = """\
LearnCircuitBuildTimeout 0
CircuitBuildTimeout 3
"""


def relay_names(count: int) -> tuple[str, ...]:
    """Name the relays that are no authorities."""
    return tuple(f"relay{number}" for number in range(1, count + 1))


@dataclass(frozen=True)
class Authority:
    """What everybody has to know of a directory authority; the two fingerprints are 40 hexadecimal digits."""

    name: str
    or_port: int
    dir_port: int
    identity: str
    fingerprint: str

    def line(self) -> str:
        """Write tor's ``DirAuthority`` line."""
        return (
            f"DirAuthority {self.name} orport={self.or_port} no-v2 v3ident={self.identity} "
            f"127.0.0.1:{self.dir_port} {self.fingerprint}\n"
        )


def network_torrc(authorities: list[Authority]) -> str:
    """Write what every tor of the network has."""
    return "TestingTorNetwork 1\nShutdownWaitLength 0\n" + "".join(each.line() for each in authorities)


def joining_torrc(authorities: list[Authority]) -> str:
    """Write what a tor needs to join the network as a client or for onion services."""
    return network_torrc(authorities) + _CIRCUIT_SETTINGS


def own_torrc(directory: Path, name: str, keeper_pid: int) -> str:
    """Write what belongs to one tor: its directory, the process it must not outlive."""
    return (
        f"Nickname {name}\nDataDirectory {quote(directory)}\nLog notice stdout\n"
        f"__OwningControllerProcess {keeper_pid}\n"
    )


def relay_torrc(or_port: int) -> str:
    """Write what makes a tor a relay."""
    return (
        f"Address 127.0.0.1\nORPort 127.0.0.1:{or_port}\nAssumeReachable 1\nExitRelay 0\nSocksPort 0\n"
        "TestingMinTimeToReportBandwidth 1 day\n"
    )


def lead(key_seconds: float) -> int:
    """Give how long the first consensus should be ahead where the authorities' keys took so long to make.

    A machine that was slow with those, for it has other work, is slow with the start of the relays. One that is not
    there when votes are cast is missed, and the network with it, for two more voting intervals.
    """
    return min(LEAD + int(key_seconds / 2), VOTING_INTERVAL - 2)


def patient_relay_torrc(or_port: int, lead: int) -> str:
    """Write what makes a tor a relay that first asks for a consensus when there is one, ``lead`` seconds from now.

    One that asks before is refused, and asks again ever more seldom.
    """
    return relay_torrc(or_port) + f"TestingServerConsensusDownloadInitialDelay {lead + 1}\n"


def authority_torrc(or_port: int, dir_port: int, first_consensus: int) -> str:
    """Write what makes a tor a relay and a directory authority; the first consensus is of that Unix second."""
    offset = first_consensus % VOTING_INTERVAL
    return (
        relay_torrc(or_port)
        + f"DirPort 127.0.0.1:{dir_port}\nTestingV3AuthVotingStartOffset {offset}\n"
        + _AUTHORITY_SETTINGS
    )


def control_torrc(port: int) -> str:
    """Write what gives a tor a control port."""
    return f"ControlPort 127.0.0.1:{port}\nCookieAuthentication 1\n"


def service_torrc(control_port: int) -> str:
    """Write what makes a tor one that onion services are published with."""
    return f"SocksPort 0\n{control_torrc(control_port)}"


def client_torrc(socks_port: int, control_port: int) -> str:
    """Write what makes a tor one that clients connect through; SOCKS errors are told apart (F0 to F7)."""
    return f"SocksPort 127.0.0.1:{socks_port} ExtendedErrors\n{control_torrc(control_port)}"

"""What a backup holds, for whoever made it or put it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onion_rdv.rendezvous.backup.records import ClientsFile, KeyFile, Owner
from onion_rdv.rendezvous.kept import KeptBucket, Marks

if TYPE_CHECKING:
    from onion_rdv.rendezvous.backup.records import Record


@dataclass(slots=True)
class Contents:
    """Whose it is, what is in it, and whether that is all."""

    address: str = ""
    buckets: int = 0
    has_key: bool = False
    has_clients: bool = False
    complete: bool = False

    def note(self, record: Record) -> None:
        """Count a record in."""
        match record:
            case Owner():
                self.address = record.address
            case KeyFile():
                self.has_key = True
            case ClientsFile():
                self.has_clients = True
            case KeptBucket():
                self.buckets += 1
            case Marks():
                self.complete = True

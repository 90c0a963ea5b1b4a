"""What can go wrong, as one tree; the first paragraph of a docstring is what the person reads.

::

    RdvError                          70
    ├── UsageError                     2
    │   ├── SettingsError
    │   │   ├── KeyFileUnusable
    │   │   └── IdentityUnusable
    │   ├── MalformedLink
    │   │   ├── LinkTooLong
    │   │   └── MalformedEntry
    │   ├── MalformedOnionAddress
    │   ├── MalformedInvite
    │   ├── MalformedPassphrase
    │   ├── NotHandedOver
    │   └── OutputLost
    ├── NoTor                          3
    │   ├── PortNotUsed
    │   ├── ControlRefused
    │   ├── ControlLost
    │   ├── CommandRefused
    │   ├── ServiceNotPublished
    │   ├── TorFailed
    │   └── TestnetFailed
    ├── ServerUnreachable              4
    │   ├── OnionServiceNotFound
    │   ├── ReplyLost
    │   ├── ServerBusy
    │   ├── NoServerHere
    │   ├── NotItsOperator
    │   └── ClientAuthorizationNeeded
    ├── BucketUnknown                  5
    ├── NoEntryOpens                   6
    │   └── BackupStaysShut
    ├── ServerCheckFailed              7
    │   ├── MalformedReply
    │   └── ConflictingEntries
    ├── MessagingServerUnreachable     8
    │   ├── MessagingServerSilent
    │   ├── MessagingVersionUnknown
    │   └── MessagingRefused
    │       ├── QueueRefused
    │       └── QueueFull
    ├── MessagingCheckFailed           7
    │   ├── MessagingIdentityDiffers
    │   ├── MalformedBlock
    │   └── LinkDataRefused
    ├── TalkBroken                     7
    │   └── CodesDiffer
    ├── TalkCutShort                   8
    ├── StreamFailed                   4
    ├── StoreError                     9
    │   ├── TooManyBuckets
    │   └── BackupUnusable
    ├── MalformedRequest              70
    └── NobodyReads                  141
"""

from __future__ import annotations

import inspect
from typing import ClassVar


class RdvError(Exception):
    """Something went wrong inside onion-rdv."""

    exit_code: ClassVar[int] = 70
    default_hint: ClassVar[str] = "this is a bug: please report it with the command, without its secrets"

    def __init__(self, detail: str = "", *, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = self.default_hint if hint is None else hint

    @property
    def message(self) -> str:
        """One line for a person: the docstring's first paragraph, then what exactly was seen."""
        docstring = inspect.getdoc(type(self)) or type(self).__name__
        said = docstring.split("\n\n")[0].replace("\n", " ").rstrip(".")
        if not said.startswith("Tor"):
            said = said[:1].lower() + said[1:]
        return f"{said}: {self.detail}" if self.detail else said

    def __str__(self) -> str:
        return self.message


class UsageError(RdvError, ValueError):
    """Wrong usage."""

    exit_code = 2
    default_hint = "see onion-rdv --help"


class SettingsError(UsageError):
    """A setting is wrong.

    ``settings`` are those concerned, by their names in the settings file, where the detail does not say where they
    stand.
    """

    default_hint = "mend it in the file, variable or option that is named"

    def __init__(self, detail: str = "", *, hint: str | None = None, settings: tuple[str, ...] = ()) -> None:
        super().__init__(detail, hint=hint)
        self.settings = settings


class KeyFileUnusable(SettingsError):
    """The onion service's key file cannot be used."""

    default_hint = "restore it from a backup; without it the service gets a new address (move the file away for that)"


class IdentityUnusable(SettingsError):
    """The messaging server's identity cannot be used."""

    default_hint = "restore its file from a backup; without it the server becomes another one, and its links are lost"


class MalformedLink(UsageError):
    """That is not a link that can be passed on."""

    default_hint = "copy the whole connection link out of the messaging app"


class LinkTooLong(MalformedLink):
    """The link is too long for an entry."""

    default_hint = "use the short form of the link (in SimpleX: the short link)"


class MalformedEntry(MalformedLink):
    """An entry opens with that passphrase, but what it holds is no link."""

    default_hint = "ask for a new invite"


class MalformedOnionAddress(UsageError):
    """That is not a v3 onion address."""

    default_hint = "a rendezvous server is named by 56 letters and digits followed by .onion"


class MalformedInvite(UsageError):
    """That is not a whole invite."""

    default_hint = "copy it again from rdv:// to its last character"


class MalformedPassphrase(UsageError):
    """That passphrase cannot be used."""

    default_hint = "a passphrase needs at least one visible character"


class NotHandedOver(UsageError):
    """The link could not be handed to an app here."""

    default_hint = "paste the link into the app, or scan it there with --qr"


class OutputLost(UsageError):
    """The result cannot be written to stdout."""

    default_hint = "make room there, or have it written somewhere else"


class NoTor(RdvError):
    """No Tor was found."""

    exit_code = 3
    default_hint = "install tor (apt install tor) or name its SOCKS port with --socks 127.0.0.1:PORT"


class PortNotUsed(NoTor):
    """A port that nobody named is not used."""

    default_hint = "if it is tor's, name it in the settings"


class ControlRefused(NoTor):
    """Tor's control port did not let us in."""

    default_hint = "give this user read access to tor's control cookie (on Debian: the group debian-tor)"


class ControlLost(NoTor):
    """The connection to tor's control port has ended."""

    default_hint = "look whether tor still runs, and into its log"


class CommandRefused(NoTor):
    """Tor refused a command on its control port."""

    default_hint = "this tor may be too old: 0.4.9.11 or later is recommended"


class ServiceNotPublished(NoTor):
    """The onion service could not be published."""

    default_hint = "look whether this machine's clock is right and tor has network, and into tor's log"


class TorFailed(NoTor):
    """The tor that was started here did not come up."""

    default_hint = "run onion-rdv doctor, and look into tor's log in the state directory"


class TestnetFailed(NoTor):
    """The private Tor network did not come up."""

    __test__ = False  # its name begins like a test's; it is none
    default_hint = "run onion-rdv testnet down and try again; --keep-logs shows what tor said"


class ServerUnreachable(RdvError):
    """The rendezvous server cannot be reached."""

    exit_code = 4
    default_hint = "try again in a minute; if it stays so, ask who runs the server"


class OnionServiceNotFound(ServerUnreachable):
    """That onion service is not published."""

    default_hint = "the server may be down or still starting: try again in a minute, and check the address"


class ReplyLost(ServerUnreachable):
    """The rendezvous server did not answer."""


class ServerBusy(ServerUnreachable):
    """The rendezvous server cannot serve that now."""


class NoServerHere(ServerUnreachable):
    """No rendezvous server of this machine can be asked."""

    default_hint = "start it (systemctl start onion-rdv, or onion-rdv serve), or name its socket with --admin-socket"


class NotItsOperator(ServerUnreachable):
    """Only the user that runs the server, and root, may ask it."""

    default_hint = "run this as that user, or with sudo"


class ClientAuthorizationNeeded(ServerUnreachable):
    """That onion service wants client authorization."""

    default_hint = (
        "it is a private server: ask its operator for access, and give what they send to onion-rdv auth add"
    )


class BucketUnknown(RdvError):
    """The server does not know that bucket, or it has expired."""

    exit_code = 5
    default_hint = "ask for a new invite"


class NoEntryOpens(RdvError):
    """No entry opens with that passphrase."""

    exit_code = 6
    default_hint = "check the passphrase with the person who invited you"


class BackupStaysShut(NoEntryOpens):
    """The backup does not open with that passphrase."""

    default_hint = "check the passphrase; without it nothing in the backup can be had"


class ServerCheckFailed(RdvError):
    """The rendezvous server failed a check; nothing was handed out."""

    exit_code = 7
    default_hint = "do not use this server for now: it is broken, or it tries to single you out"


class MalformedReply(ServerCheckFailed):
    """The rendezvous server's reply is malformed."""


class ConflictingEntries(ServerCheckFailed):
    """Two entries open to different links: somebody else holds the passphrase."""

    default_hint = "ask for a new invite with a new passphrase, over channels that nobody else reads"


class MessagingServerUnreachable(RdvError):
    """The messaging server named in the link does not answer."""

    exit_code = 8
    default_hint = "the link itself is good; try again later"


class MessagingServerSilent(MessagingServerUnreachable):
    """The messaging server accepts a stream, but does not answer as one."""

    default_hint = "it may be another sort of server, or one that is overloaded: try again later"


class MessagingVersionUnknown(MessagingServerUnreachable):
    """The messaging server speaks no version of its protocol that is known here."""

    default_hint = "its operator has to update it, or you onion-rdv; versions 15 to 18 of SMP are known"


class MessagingRefused(MessagingServerUnreachable):
    """The messaging server refuses.

    ``code`` is what stands after ``ERR`` in its reply, as far as SMP knows it.
    """

    default_hint = "the server is there, but does not do this; its operator may know why"

    def __init__(self, detail: str = "", *, hint: str | None = None, code: str = "") -> None:
        super().__init__(detail, hint=hint)
        self.code = code


class QueueRefused(MessagingRefused):
    """The messaging server has no such queue or link, or does not let us use it."""

    default_hint = "it was used up, deleted, or never there: ask for a new one"


class QueueFull(MessagingRefused):
    """The queue on the messaging server is full."""

    default_hint = "try again when the other person has fetched what waits there"


class MessagingCheckFailed(RdvError):
    """The messaging server failed a check."""

    exit_code = 7
    default_hint = "do not use this server for now: it is broken, or somebody else answers in its place"


class MessagingIdentityDiffers(MessagingCheckFailed):
    """Who answers is not the messaging server that the link names."""

    default_hint = "do not use this link for now; ask the person who sent it whether their server has changed"


class MalformedBlock(MessagingCheckFailed):
    """What the messaging server sends is malformed."""


class LinkDataRefused(MessagingCheckFailed):
    """What the messaging server keeps for this link is not what its maker left there."""

    default_hint = "do not use this link: ask for a new one"


class TalkBroken(RdvError):
    """Something in this talk is missing, changed or malformed."""

    exit_code = 7
    default_hint = "begin a new talk; if it happens again, on another messaging server"


class CodesDiffer(TalkBroken):
    """The two codes differ: somebody else may sit between you."""

    default_hint = "begin a new talk, and send invite and passphrase over channels that nobody else can change"


class TalkCutShort(RdvError):
    """The talk ended before everything had arrived."""

    exit_code = 8
    default_hint = "begin a new talk"


class StreamFailed(RdvError):
    """Tor opened no stream.

    ``code`` is the reply of tor's SOCKS port where there was one: RFC 1928, section 6, or, from 0xF0 up, tor's
    proposal 304 "Extending SOCKS5 onion service error codes".
    """

    exit_code = 4
    default_hint = "try again in a minute"

    def __init__(self, detail: str = "", *, hint: str | None = None, code: int | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.code = code


class StoreError(RdvError):
    """The server's store cannot be used."""

    exit_code = 9
    default_hint = "check the state directory's space and permissions"


class TooManyBuckets(StoreError):
    """Too many new buckets were opened in a short time."""

    default_hint = "if that is no flood but more people than before, raise max_new_buckets; clients try again"


class BackupUnusable(StoreError):
    """The backup cannot be used."""

    default_hint = "copy it again from where it is kept, or take an older one; nothing was changed here"


class MalformedRequest(RdvError):
    """The request is malformed."""

    default_hint = "see docs/protocol.md"


class NobodyReads(RdvError):
    """Nobody reads any more what is printed.

    Who closed the pipe knows (``head``): the command ends without a word, with the code that shells give for SIGPIPE.
    """

    exit_code = 141
    default_hint = "have it read to its end"

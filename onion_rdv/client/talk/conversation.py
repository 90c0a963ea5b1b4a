"""A talk under way: a session, and the two queues that it uses, over two connections on two circuits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, Self

from onion_rdv.client.talk.events import Event, Met
from onion_rdv.client.talk.pulse import Pulse
from onion_rdv.client.talk.session import encode_text
from onion_rdv.errors import CodesDiffer, NobodyReads, OutputLost, QueueRefused, TalkCutShort, UsageError

if TYPE_CHECKING:
    from onion_rdv.client.talk.inbox import Inbox
    from onion_rdv.client.talk.link import TalkLink
    from onion_rdv.client.talk.outlet import Outlet
    from onion_rdv.client.talk.session import Session

_LAST_WORDS: Final = 10.0
"""Seconds to wait at the end for what is still to be heard: a receipt for our goodbye, or the other's goodbye."""

FEW: Final = 65_536
"""Bytes of text that may wait to be sent before whoever reads them from somewhere should pause."""

Tell = Callable[[Event], None]
"""Hears of what happens. It is called between two steps of the talk, and must not wait for anything."""


class Talk:
    """One end of a talk. Made by :func:`~onion_rdv.client.talk.opening.begin` or ``join``.

    Those see to it that its queue is erased at the end, whatever the end is.
    """

    def __init__(
        self,
        inbox: Inbox,
        link: TalkLink,
        meet: Callable[[bytes, float], tuple[Outlet, Session]] | None,
        *,
        timeout: float,
        tell: Tell,
    ) -> None:
        """Take an inbox whose queue is made; ``meet`` makes what a beginner's end lacks of the joiner's hello."""
        self.link = link
        self.session: Session | None = None
        self._inbox = inbox
        self._outlet: Outlet | None = None
        self._meet = meet
        self._timeout = timeout
        self._tell = tell
        self._news = Pulse()
        self._early: list[Callable[[Session], object]] = []
        self._early_size = 0
        self.said = 0
        """How many messages were said here."""
        self._leaving = False
        self._is_refused = False
        self._leaves_when_complete = False
        self._until_shown: Callable[[], Awaitable[None]] = _at_once
        self._is_showing = False
        self._unshown: OutputLost | NobodyReads | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._outlet is not None:
            await self._outlet.close()

    def start(self, outlet: Outlet, session: Session) -> None:
        """Take what is there when the other is known."""
        self._outlet, self.session = outlet, session
        for action in self._early:
            action(session)
        self._early.clear()
        if self._leaving:  # when the other came
            session.leave()

    # What this end does

    def say(self, text: str) -> int:
        """Say something, even before anybody has come; gives the message's number, counted from 1.

        Raises :class:`~onion_rdv.errors.UsageError` for what is too long, and when this end is leaving.
        """
        size = len(encode_text(text))
        self._do(lambda session: session.say(text))
        self._early_size += size
        self.said += 1
        return self.said

    def compare(self, *, same: bool) -> None:
        """Tell the other whether the codes are the same; that they differ ends the talk.

        Raises :class:`~onion_rdv.errors.UsageError` before there is a code.
        """
        if self.session is None:
            raise UsageError("there is no code to compare yet", hint="wait until the other has come")
        self.session.compare(same=same)
        self._news.beat()

    def end_input(self, *, leave_when_complete: bool = False) -> None:
        """Tell the other not to wait for more; and perhaps leave when all has arrived and they say the same."""
        self._leaves_when_complete |= leave_when_complete
        self._do(lambda session: session.end_input())

    def leave(self) -> None:
        """Say goodbye after all that was said; :meth:`run` ends when that is done."""
        self._leaving = True
        if self.session is not None:
            self.session.leave()
        self._news.beat()

    @property
    def is_leaving(self) -> bool:
        """Whether this end leaves, so that nothing more can be said here."""
        return self._leaving or (self.session is not None and self.session.leaving)

    @property
    def is_ending(self) -> bool:
        """Whether one of the two is leaving, or has left."""
        session = self.session
        return self.is_leaving or (session is not None and (session.left or session.same_there is False))

    async def until_few_wait(self, few: int = FEW) -> None:
        """Wait until there is not much left to send: ``few`` bytes of text."""
        await self._news.until(lambda: self._waiting_size() <= few)

    # How it goes

    async def run(self, until_shown: Callable[[], Awaitable[None]] | None = None) -> None:
        """Talk until one of the two leaves.

        ``until_shown`` waits until all that was told is where somebody can see it; the other hears of nothing that it
        has arrived before, and nothing more is fetched meanwhile. Where it, or whoever is told, raises
        :class:`~onion_rdv.errors.OutputLost` or :class:`~onion_rdv.errors.NobodyReads`, this end leaves, takes
        nothing more for shown, and raises that when it has said goodbye.

        Raises :class:`~onion_rdv.errors.TalkCutShort` where the other left, or could not be reached any more, before
        everything had arrived, :class:`~onion_rdv.errors.CodesDiffer`, :class:`~onion_rdv.errors.TalkBroken`, and
        what talking to messaging servers raises where another connection would not mend it.
        """
        if until_shown is not None:
            self._until_shown = until_shown
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in (self._listen(), self._speak(), self._watch())]
                await self._until_the_end()
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as group_of_errors:
            raise self._unshown or group_of_errors.exceptions[0] from None
        if self._unshown is not None:
            raise self._unshown
        session = self.session
        if session is None:
            return
        if session.same_here is False or session.same_there is False:
            raise CodesDiffer
        if session.left and session.undelivered:
            raise TalkCutShort(f"{_messages(session.undelivered)} had not arrived when the other left")
        if session.dropped:
            raise TalkCutShort(f"{_messages(session.dropped)} had nobody to go to: the other had not answered yet")

    async def _until_the_end(self) -> None:
        await self._news.until(self._comes_to_an_end)
        session = self.session
        if session is None or session.same_there is False:
            return  # nobody has come, or the wrong one
        if not session.left:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._news.until(lambda: session.is_over or session.left or self._nobody_listens(session))
            except TimeoutError:
                if session.same_here is not False:
                    raise TalkCutShort("the messaging server could not be reached to say goodbye") from None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._news.until(lambda: self._is_all_said(session))

    def _comes_to_an_end(self) -> bool:
        is_shown = not self._is_showing
        if self._leaves_when_complete and is_shown and self.session is not None and self.session.is_complete:
            self.leave()
        return self.is_ending

    async def _listen(self) -> None:
        await self._inbox.listen(self._take)

    async def _take(self, message: bytes) -> None:
        self._is_showing = True
        self._receive(message)
        with self._leaving_unshown():
            await self._until_shown()
        self._is_showing = False
        if self.session is not None and self._unshown is None:
            self.session.shown()
        self._news.beat()

    def _receive(self, message: bytes) -> None:
        now = time.monotonic()
        if self.session is not None:
            self._tell_all(self.session.receive(message, now))
        elif self._meet is not None:
            outlet, session = self._meet(message, now)
            self.start(outlet, session)
            if session.code is not None:
                self._tell_all([Met(session.code)])
        self._news.beat()

    async def _speak(self) -> None:
        await self._news.until(lambda: self._outlet is not None)
        session, outlet = self.session, self._outlet
        if session is None or outlet is None:
            return
        try:
            await outlet.send_all(session.outgoing, self._sent, self._news)
        except QueueRefused:
            self._is_refused = True
            self._news.beat()
            await asyncio.sleep(_LAST_WORDS)  # the other may have left, and their goodbye be on its way to us
            if not session.left and not self._nobody_listens(session):
                raise TalkCutShort("the other's queue is gone, and there was no goodbye") from None

    def _sent(self, number: int) -> None:
        if self.session is not None:
            self._tell_all(self.session.sent(number, time.monotonic()))
        self._news.beat()

    async def _watch(self) -> NoReturn:
        """Let the session look at the clock when it wants to."""
        while True:
            due = None if self.session is None else self.session.next_due()
            has_news = await self._news.wait(None if due is None else max(0, due - time.monotonic()))
            if self.session is not None and not has_news:
                self._tell_all(self.session.tick(time.monotonic()))
                self._news.beat()

    def _nobody_listens(self, session: Session) -> bool:
        """Tell whether this end, which is leaving, has nothing left to say but goodbye, and nobody to say it to."""
        has_nothing = not session.undelivered or session.same_here is False
        return self._is_refused and session.leaving and has_nothing

    def _is_all_said(self, session: Session) -> bool:
        if self._is_showing:
            return False
        if self._is_refused or not session.presence.here:
            return session.left or session.is_over or self._nobody_listens(session)
        return session.outgoing() is None if session.left else session.goodbye_arrived

    def _do(self, action: Callable[[Session], object]) -> None:
        if self.session is None:
            self._early.append(action)
        else:
            action(self.session)
        self._news.beat()

    def _waiting_size(self) -> int:
        return self._early_size if self.session is None else self.session.waiting_size

    def _tell_all(self, happened: Sequence[Event]) -> None:
        for event in happened:
            with self._leaving_unshown():
                self._tell(event)

    @contextlib.contextmanager
    def _leaving_unshown(self) -> Iterator[None]:
        """Leave where nothing can be shown any more."""
        try:
            yield
        except (OutputLost, NobodyReads) as error:
            self._unshown = error
            self.leave()


async def _at_once() -> None:
    """Wait for nothing."""


def _messages(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"

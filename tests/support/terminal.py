"""A terminal that types: for prompts, which want one."""

from __future__ import annotations

import asyncio
import codecs
import os
import pty
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

_WHERE_IS_THE_CURSOR = b"\x1b[6n"
_AT_THE_TOP = b"\x1b[1;1R"
_PATIENCE = 150


async def at_a_terminal(
    command: list[str], answers: Sequence[tuple[str, str | signal.Signals]], env: dict[str, str]
) -> tuple[int, str]:
    """Run a command with a terminal as stdin and stderr; type each answer, or send it, when its prompt has appeared.

    Where a command asks without echo, the prompt has to be given to its last character, the space: what is typed
    before, as after a complaint that has the same word in it, may be thrown away.
    """
    waiting = list(answers)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 150))
    process = await asyncio.create_subprocess_exec(*command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    screen = ""
    decoder = codecs.getincrementaldecoder("utf-8")()  # a character may come in two pieces
    typed_at = 0
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                try:
                    data = os.read(ours, 65536)
                except BlockingIOError:
                    await asyncio.sleep(0.01)
                    continue
                except OSError:  # the other end is closed
                    break
                screen += decoder.decode(data)
                if _WHERE_IS_THE_CURSOR in data:
                    os.write(ours, _AT_THE_TOP)
                if waiting and waiting[0][0] in screen[typed_at:]:
                    typed_at = len(screen)
                    answer = waiting.pop(0)[1]
                    if isinstance(answer, str):
                        os.write(ours, answer.encode() + b"\n")
                    else:
                        process.send_signal(answer)
    finally:
        os.close(ours)
        code = await process.wait()
    assert not waiting
    return code, screen

"""The station's event loop: asyncio's own, which also says when it last woke, and lets few tasks on at a time.

What a selector reports readable had arrived when it returned. The callbacks of one turn run one after the other;
without this stamp the last of a hundred instruments would carry the time the ninety-nine before it took.

Bytes are received and stamped at once, all that came. But the tasks that waited for them go on a few at a time, and
between these few the kernel is asked again: a broker lets no more than some twenty messages be in flight, so that its
acknowledgements are worth as much as a turn is long. With all of five hundred lines in one turn the daemon would ask
without end and publish next to nothing.

    kernel -> StampingSelector (woke) -> station_loop -> transports.descriptor (receives, then admit) -> line
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from daq.core.observation import Stamp

log = logging.getLogger(__name__)

QUIET_S = 60.0
"""The same complaint is made once in this time."""

AT_ONCE = 8
"""Tasks let on between two questions to the kernel: some milliseconds of work."""


class StampingSelector(selectors.DefaultSelector):
    """Reads both clocks each time it returns something; some hundred nanoseconds a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.woke = Stamp(time.monotonic_ns(), time.time_ns())
        self._admitted = 0  # since the kernel was asked
        self._just_asked = False
        self._crowd: deque[Callable[[], None]] = deque()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as any selector does, but not while somebody waits to be let on; let the next few on."""
        if self._just_asked and timeout == 0 and not self._crowd:
            self._just_asked = False
            return []  # what the kernel's last answer has woken goes on first
        self._just_asked = True
        if self._crowd:
            timeout = 0
        elif timeout is not None and timeout > 0:
            # epoll counts in whole milliseconds, rounded up: every slot would begin late by half of one.
            select.select([self], [], [], timeout)
            timeout = 0
        events = super().select(timeout)
        if events:
            self.woke = Stamp(time.monotonic_ns(), time.time_ns())
        self._admitted = 0
        while self._crowd and self._admitted < AT_ONCE:
            self._admitted += 1
            self._crowd.popleft()()
        return events

    def admit(self, go_on: Callable[[], None]) -> None:
        """Call it in this turn where few were let on yet, else in one of the next, in the order of asking."""
        if self._admitted < AT_ONCE:
            self._admitted += 1
            go_on()
        else:
            self._crowd.append(go_on)


class StationLoop(asyncio.SelectorEventLoop):
    """A selector loop with the stamp of its last wake-up."""

    def __init__(self) -> None:
        self._stamping = StampingSelector()
        self.admit = self._stamping.admit
        """Lets a task on, in this turn or one of the next."""
        super().__init__(self._stamping)
        self.set_exception_handler(_Complaints())

    @property
    def woke(self) -> Stamp:
        """When the selector last returned; what a reader callback of this turn was called for had come by then."""
        return self._stamping.woke


class _Complaints:
    """Passes on what the loop complains of, but that nobody can be let in for want of descriptors once a minute.

    asyncio says that a hundred times a second while it lasts, each with a trace.
    """

    def __init__(self) -> None:
        self._said_s = -QUIET_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS):
            loop.default_exception_handler(context)
        elif loop.time() - self._said_s >= QUIET_S:
            self._said_s = loop.time()
            log.warning("%s (%s). What is connected goes on.", context["message"], error.strerror)


def new_event_loop() -> StationLoop:
    """Return a loop for asyncio.Runner."""
    return StationLoop()

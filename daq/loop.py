"""The station's event loop: asyncio's own, which also says when it last woke, and lets few tasks on at a time.

What a selector reports readable had arrived when it returned. The callbacks of one turn run one after the other;
without this stamp the last of a hundred instruments would carry the time the ninety-nine before it took.

Bytes are received and stamped at once, all that came. But the tasks that waited for them go on a few at a time, and
between these few the kernel is asked again: a broker lets no more than some twenty messages be in flight, so that its
acknowledgements are worth as much as a turn is long. With all of five hundred lines in one turn the daemon would ask
without end and publish next to nothing.

What happens at every exchange does not go through asyncio's own queue: whose bytes came and whose instant has come is
called from the selector itself, so that the task it wakes runs in this turn and not in the next one. Where that woke
none - slots are served without tasks, nearly always - the selector waits on, and asyncio need not look round. An alarm
goes before what is to be read: a slot waits for one answer to be judged, not for all that came with it.

    kernel -> StampingSelector (woke, alarms) -> transports.descriptor (receives, then admit) -> line
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import itertools
import logging
import os
import select
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from daq.core.observation import NS, Stamp
from daq.waking import wake_sharply

log = logging.getLogger(__name__)

QUIET_S = 60.0
"""The same complaint is made once in this time."""

AT_ONCE = 8
"""Tasks let on between two questions to the kernel: some milliseconds of work."""

HELD_BACK = 0.006
"""Beyond the slack (daq.waking) select(2) holds a wait back by a thousandth of its length, of niced processes by five:
a slot each second would begin 0.6 ms late, or 3. What is longer than some milliseconds is waited in two goes."""

TWO_GOES_S = 0.01

DOZE_S = 0.00025
"""To an alarm that is so near the thread sleeps, whatever comes meanwhile, and reads that behind it: at thousands of
slots a second, waking for each answer as well takes the kernel 10 us more. A stamp is later by so much at most, and
the bound of its reading says so."""

EPOLLIN = select.EPOLLIN

OTHERS = 64
"""Descriptors beside those that are read here, of which one look at the kernel may tell."""


class StampingSelector(selectors.DefaultSelector):
    """Reads both clocks each time it returns something; some hundred nanoseconds a turn.

    Args:
        loop: whose it is; asked whether asyncio has something to do: a task to go on with, another timer than before.
        complain: told of an exception that something called from here has raised; the loop goes on.
    """

    def __init__(self, loop: StationLoop, complain: Callable[[Exception], None]) -> None:
        super().__init__()
        self._loop = loop
        self.woke = Stamp(time.monotonic_ns(), time.time_ns())
        self.readers: dict[int, Callable[[], None]] = {}
        """Descriptor -> what is called when it is readable; asyncio watches it too, and is told of all else."""
        self._complain = complain
        self._asked = (self.fileno(),)
        self._epoll = select.epoll.fromfd(os.dup(self.fileno()))  # the same one, for its bare answers
        self._admitted = 0  # since the kernel was asked
        self._just_asked = False
        self._crowd: deque[Callable[[], None]] = deque()
        self._alarms: list[tuple[int, int, Callable[[], None]]] = []  # heap: when, order of asking
        self._order = itertools.count()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as any selector does, but not while somebody waits to be let on; let the next few on."""
        if self._just_asked and timeout == 0 and not self._crowd:
            self._just_asked = False
            return []  # what the kernel's last answer has woken goes on first
        self._just_asked = True
        if timeout == 0:
            return self._turn(timeout)
        until_s = None if timeout is None else time.monotonic() + timeout
        timers = self._loop.timers
        while True:
            others = self._turn(timeout)
            if others or not self._loop.is_idle(timers):
                return others
            if until_s is not None and (timeout := until_s - time.monotonic()) <= 0:
                return others

    def _turn(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Ask the kernel once, and call who is to be called."""
        at_once = self._crowd or timeout == 0
        events = self._epoll.poll(0, len(self.readers) + OTHERS) if at_once else self._awaited(timeout)
        if events:
            self.woke = Stamp(time.monotonic_ns(), time.time_ns())
        self._admitted = 0
        if self._crowd:
            self._let_on()
        if self._alarms:
            self._ring()
        return self._read(events) if events else []

    def _awaited(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait until the first alarm, or for what asyncio asks for; return descriptors and what epoll says of them."""
        if self._alarms:
            left_s = (self._alarms[0][0] - time.monotonic_ns()) / NS
            if timeout is None or left_s < timeout:
                timeout = left_s
                if 0 < left_s < DOZE_S:
                    time.sleep(left_s)
                    timeout = 0
        if timeout is not None and timeout > 0:
            # epoll counts in whole milliseconds, rounded up: every slot would begin late by half of one.
            first_s = timeout if timeout < TWO_GOES_S else timeout * (1 - HELD_BACK)
            if not select.select(self._asked, (), (), first_s)[0]:
                return []  # asyncio asks again, for what is left
        return self._epoll.poll(None if timeout is None else 0, len(self.readers) + OTHERS)

    def _ring(self) -> None:
        """Call whose instant has come."""
        now_ns, alarms = time.monotonic_ns(), self._alarms
        while alarms and alarms[0][0] <= now_ns:
            try:
                heapq.heappop(alarms)[2]()
            except Exception as error:  # noqa: BLE001  as asyncio does with every callback
                self._complain(error)

    def _read(self, events: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        """Call who reads these descriptors, alarms first; return what else there is, as any selector does."""
        others, readers, alarms = [], self.readers, self._alarms
        for fd, ready in events:
            if alarms and alarms[0][0] <= time.monotonic_ns():
                self._ring()
            reader = readers.get(fd)
            if reader is not None and ready == EPOLLIN:
                try:
                    reader()
                except Exception as error:  # noqa: BLE001  as asyncio does with every callback
                    self._complain(error)
            elif key := self.get_map().get(fd):  # asyncio's own, or asyncio's too: it calls all there are
                others.append((key, key.events & _said(ready)))
        return others

    def close(self) -> None:
        """Close both."""
        self._epoll.close()
        super().close()

    def _let_on(self) -> None:
        """Let the next few on."""
        while self._crowd and self._admitted < AT_ONCE:
            self._admitted += 1
            try:
                self._crowd.popleft()()
            except Exception as error:  # noqa: BLE001  as asyncio does with every callback
                self._complain(error)

    def admit(self, go_on: Callable[[], None]) -> None:
        """Call it in this turn where few were let on yet, else in one of the next, in the order of asking."""
        if self._admitted < AT_ONCE:
            self._admitted += 1
            go_on()
        else:
            self._crowd.append(go_on)

    def ring_at(self, mono_ns: int, callback: Callable[[], None]) -> None:
        """Call it at the instant, never earlier, and whether or not anybody still waits for it.

        A tuple in a heap: asyncio's timers are objects compared in Python, and one is made for every slot.
        """
        heapq.heappush(self._alarms, (mono_ns, next(self._order), callback))


def _said(ready: int) -> int:
    """Say in a selector's words what epoll says; an error is both, as there."""
    reading = selectors.EVENT_READ if ready & ~select.EPOLLOUT else 0
    return reading | (selectors.EVENT_WRITE if ready & ~select.EPOLLIN else 0)


class StationLoop(asyncio.SelectorEventLoop):
    """A selector loop with the stamp of its last wake-up."""

    _ready: deque[asyncio.Handle]  # asyncio's own two, so named since Python 3.4
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        self._stamping = StampingSelector(self, self._complain)
        self.admit = self._stamping.admit
        """Lets a task on, in this turn or one of the next."""
        self.ring_at = self._stamping.ring_at
        """Calls something at a monotonic instant (ns)."""
        super().__init__(self._stamping)
        self.time = time.monotonic  # type: ignore[method-assign]  # as BaseEventLoop's, but for a call
        self.set_exception_handler(_Complaints())

    @property
    def woke(self) -> Stamp:
        """When the selector last returned; what a reader callback of this turn was called for had come by then."""
        return self._stamping.woke

    @property
    def timers(self) -> int:
        """How many timers asyncio keeps."""
        return len(self._scheduled)

    def is_idle(self, timers: int) -> bool:
        """Say whether asyncio has nothing to go on with, and as many timers as before."""
        return not self._ready and len(self._scheduled) == timers

    def watch(self, fileno: int, readable: Callable[[], None]) -> None:
        """As add_reader, but called before anything else of this turn."""
        self.add_reader(fileno, readable)
        self._stamping.readers[fileno] = readable

    def unwatch(self, fileno: int) -> None:
        """End it."""
        self._stamping.readers.pop(fileno, None)
        self.remove_reader(fileno)

    def _complain(self, error: Exception) -> None:
        self.call_exception_handler({"message": "what a wake-up called has failed", "exception": error})


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
    wake_sharply()
    return StationLoop()

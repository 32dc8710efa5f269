"""One open, non-blocking descriptor on the event loop: bytes out, bytes in, every one with its time.

Sockets and serial ports share it. It knows neither addresses nor how to open. It works beneath asyncio's own transports
because they read ahead into a buffer of theirs: here `unread` sees what the kernel holds this very moment, so that a
late reply cannot hide behind a busy loop and pass as the next answer, and each receive that empties the kernel's buffer
proves the wire silent at the instant before it. While an instrument is listened to that was not asked, the wire is
looked at every LOOK_EVERY_S, so that the interval in which its bytes came stays that narrow.

    tcp, serial -> Descriptor (receive, stamp) -> Inbox -> Received
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

from daq.core.cut import Cut
from daq.core.errors import LinkClosed, LinkDamaged, LinkTimeout, quoted
from daq.core.observation import NS, Stamp
from daq.transports.inbox import Inbox
from daq.transports.seam import KEPT_PARTIAL, Now, Received, Wakes

LOOK_EVERY_S = 0.01
"""Seconds between two looks at a wire on which somebody may speak unasked; the width of `not_before` to `first`."""

_MOVED_UP_NS = 50_000_000
"""What a terminal holds back a thread of the kernel moves up as soon as there is room: well within this."""

_AT_ONCE = 1 << 16  # bytes a receive may bring; less proves that nothing was left behind


@dataclass(frozen=True, slots=True)
class Ends:
    """What can be done with the two ends of a non-blocking descriptor; each call returns at once or raises OSError.

    Args:
        fileno: what the loop watches.
        receive: at most so many bytes; b"" where the other side has closed; BlockingIOError where there is nothing.
        send: as much as fits; how much that was; BlockingIOError where nothing fits.
        close: gives the descriptor back.
        brimful: bytes from which on one receive may have left others behind that come with the next, but came long ago;
            None where the kernel shows all it has.
        spills: bytes in one receive behind which some may be missing; None where the sender is held back.
        damage: what the port has counted of damaged and lost bytes since it was last asked, in words; None where
            nothing counts.
        proven: each reply proves itself by a checksum; damage is then only told of where none came.
        altered: says whether the port still has the settings it was opened with; asked where no reply came, or a
            damaged one. None where there are none.
    """

    fileno: int
    receive: Callable[[int], bytes]
    send: Callable[[bytes | memoryview], int]
    close: Callable[[], None]
    brimful: int | None = None
    spills: int | None = None
    damage: Callable[[], str] | None = None
    proven: bool = False
    altered: Callable[[], bool] | None = None


class Descriptor:
    """An open link.

    Args:
        where: the address, for messages.
        ends: the descriptor itself; from now on closed by nobody else.
        clock: stamps.
        silent: read before the link was opened: nothing can have come earlier.
    """

    def __init__(self, where: str, ends: Ends, clock: Now, silent: Stamp) -> None:
        self._where = where
        self._ends = ends
        self._clock = clock
        self._silent = silent
        self._received = silent
        self._brimful_ns = 0  # when the kernel last may have held more than it showed
        self._inbox = Inbox()
        self._loop = asyncio.get_running_loop()
        self._wakes = self._loop if isinstance(self._loop, Wakes) else None
        self.is_direct = self._wakes is not None and ends.damage is None and ends.brimful is None
        """Whether what comes is whole as it comes, on a loop that tells at once."""
        self._heard: Callable[[], None] | None = None  # who is told instead of who reads
        self._wake: asyncio.Future[None] | None = None
        self._next_look: asyncio.Handle | None = None
        self._deadline_ns = 0  # of the read that waits
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ns = 0  # when it goes off
        self._lost: str | None = None
        self._watched = False
        self._asked = False
        self._judged = ends.damage is not None and not ends.proven
        self._look_in = select.poll()
        self._look_in.register(ends.fileno, select.POLLIN)
        self._watch()

    async def write(self, data: bytes, deadline_ns: int) -> Stamp:
        """Send all of `data`. As Transport.write."""
        self._asked = True
        asked = self._clock.now()
        sent = self._send(data)
        if sent < len(data):
            await self._send_rest(data, sent, deadline_ns)
        return asked

    async def _send_rest(self, data: bytes, sent: int, deadline_ns: int) -> None:
        """Send what did not fit at once. Half a question that cannot be ended closes the link."""
        rest = memoryview(data)[sent:]
        try:
            while rest:
                await writable(self._ends.fileno, deadline_ns)
                rest = rest[self._send(rest) :]
        except asyncio.CancelledError:
            if len(rest) < len(data):
                self._lose("cancelled in the middle of a question")
            raise
        except TimeoutError:
            taken = len(data) - len(rest)
            self._lose(f"the other side took only {taken} of {len(data)} bytes in time")
            raise LinkTimeout(f"{self._where}: {self._lost}; closed. Is it hung, or its input held?") from None

    def say(self, data: bytes) -> int:
        """Send what fits. As Direct.say."""
        self._asked = True
        return self._send(data)

    async def say_rest(self, data: bytes, sent: int, deadline_ns: int) -> None:
        """Send what did not fit. Raises LinkTimeout, LinkClosed."""
        if sent < len(data):
            await self._send_rest(data, sent, deadline_ns)

    def hear(self, came: Callable[[], None] | None) -> None:
        """Call it rather than wake who reads. As Direct.hear."""
        self._heard = came

    def whole(self, cut: Cut) -> Received | None:
        """Look for a whole reply and nothing else. As Direct.whole."""
        reply = self._inbox.whole
        if reply is None or cut(reply.data) != len(reply.data) or not self._watched or self._look_in.poll(0):
            return None
        return reply

    def accept(self) -> None:
        """Take it out. As Direct.accept."""
        self._inbox.empty()

    def is_silent(self) -> bool:
        """Look at the wire without taking anything. As Direct.is_silent."""
        if self._inbox.bytes or not self._watched or self._look_in.poll(0):
            return False
        if self._wakes is not None and self._wakes.woke.mono_ns > self._received.mono_ns:
            self._received = self._silent = self._wakes.woke
        return True

    async def read(self, cut: Cut, deadline_ns: int) -> Received:
        """Wait for one whole reply. As Transport.read."""
        unasked, self._asked = not self._asked, False
        while not self._inbox.bytes or (reply := self._reply(cut)) is None:
            if self._lost is not None:
                self._stay_open()
            if time.monotonic_ns() >= deadline_ns:
                self._receive()  # a loop that was held up must not turn an answer into a time-out
                if (reply := self._reply(cut)) is not None:
                    break
                self._stay_as_set()
                raise self._too_late()
            try:
                await self._arrival(deadline_ns, LOOK_EVERY_S if unasked else None)
            finally:
                self._wake = None
                if self._next_look is not None:
                    self._next_look.cancel()
                    self._next_look = None
        if self._judged and (damage := self._damage()):
            raise self._damaged(reply, damage)
        return reply

    def unread(self) -> bytes:
        """Take out what has arrived, from the kernel's buffer too. As Transport.unread."""
        if self._watched:
            # To ask the kernel whether there is anything costs a third of receiving nothing, and being told so. What
            # comes from now on came after the loop woke; how long after matters to nobody who asks.
            before = self._clock.now() if self._wakes is None else self._wakes.woke
            if not self._look_in.poll(0):
                if before.mono_ns > self._received.mono_ns:
                    self._received = before
                    self._was_silent(before)
            else:
                while self._watched and self._receive():
                    pass
        if not self._inbox.bytes:
            return b""
        taken = self._inbox.empty()
        self._damage()  # what came is gone, and what was wrong with it
        self._watch()
        return taken

    def close(self) -> None:
        """Give the descriptor back; twice is once."""
        self._lose("closed here")

    def _reply(self, cut: Cut) -> Received | None:
        try:
            return self._inbox.take(cut)
        finally:
            if not self._watched:
                self._watch()

    def _damage(self) -> str:
        """Ask the port what it has counted since it was last asked; "" where nothing, or where nobody counts."""
        damage = self._ends.damage
        return "" if damage is None or self._lost is not None else damage()

    def _stay_as_set(self) -> None:
        """Close a port that has other settings than those it was opened with: it is set right as it is opened anew."""
        if self._lost is None and self._ends.altered is not None and self._ends.altered():
            self._lose("another program has changed the settings of this port; it is opened anew. Was it stty?")
        self._stay_open()

    def _damaged(self, reply: Received, damage: str) -> LinkDamaged:
        """Say that a reply may be none. The damage may as well lie in what came behind it: that is gone, too."""
        self._stay_as_set()
        came = reply.data + self.unread()
        words = f"{self._where}: while {quoted(reply.data)} came, the port counted {damage}"
        return LinkDamaged(words, came[:KEPT_PARTIAL], reply.not_before, reply.first)

    def _too_late(self) -> LinkTimeout:
        partial = self._inbox.empty()
        came = f"only {quoted(partial)}" if partial else "nothing"
        damage = self._damage()
        counted = f", and the port counted {damage}" if damage else ""
        return LinkTimeout(f"{self._where}: {came} came in time{counted}", partial)

    def _stay_open(self) -> None:
        if self._lost is not None:
            raise LinkClosed(f"{self._where}: {self._lost}")

    def _receive(self, readable: Stamp | None = None) -> bool:
        """Move what the kernel holds to the inbox, with its interval; True while there may be more.

        Args:
            readable: when the descriptor was reported readable; None where it was not. It counts as the instant before,
                too: a moment earlier than it could be, and a look at the clock less.
        """
        if self._lost is not None:
            return False
        if readable is not None and readable.mono_ns <= self._received.mono_ns:
            readable = None  # something was received since that report: these may be other bytes
        before = readable or self._clock.now()
        try:
            data = self._ends.receive(_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            self._received = before
            self._was_silent(before)
            return False
        except OSError as error:
            self._lose(f"lost ({error.strerror or error})")
            return False
        seen = self._clock.now()
        if not data:
            self._lose("closed by the other side")
            return False
        self._received = before
        self._inbox.put(data, self._silent, readable or seen, seen)
        if self._ends.brimful is not None and len(data) >= self._ends.brimful:
            self._brimful_ns = seen.mono_ns
        elif len(data) < _AT_ONCE:
            self._was_silent(before)
        if self._inbox.full:
            self._watch()
        if self._ends.spills is not None and len(data) >= self._ends.spills:
            self._spill()
        return True

    def _spill(self) -> None:
        """Close a port that was full: what joins the bytes it held and the next may not belong together.

        What came whole before that is still to be had.
        """
        if self._damage():
            self._inbox.empty()
        self._lose("this computer stood still until the port was full: more may have come. It is opened anew")

    def _was_silent(self, at: Stamp) -> None:
        """Take note that nothing was left behind then, unless the kernel may still have been holding bytes back."""
        if at.mono_ns - self._brimful_ns >= _MOVED_UP_NS:
            self._silent = at

    def _on_readable(self) -> None:
        if self._wakes is None:
            self._receive()
            self._wake_up()
        else:
            self._receive(self._wakes.woke)
            self._wakes.admit(self._heard or self._wake_up)

    def _watch(self) -> None:
        """Watch for bytes while there is room for them: the kernel holds back what does not fit."""
        wanted = self._lost is None and not self._inbox.full
        if wanted and not self._watched:
            watch = self._loop.add_reader if self._wakes is None else self._wakes.watch
            watch(self._ends.fileno, self._on_readable)
        elif self._watched and not wanted:
            unwatch = self._loop.remove_reader if self._wakes is None else self._wakes.unwatch
            unwatch(self._ends.fileno)
        self._watched = wanted

    def _arrival(self, deadline_ns: int, look_every_s: float | None) -> asyncio.Future[None]:
        """Return what is done when bytes came, the link was lost or the deadline passed.

        The wire is looked at meanwhile where told to.
        """
        wake: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        self._wake = wake
        self._deadline_ns = deadline_ns
        if self._alarm is None or self._alarm_ns > deadline_ns:
            self._set_alarm()
        if look_every_s is not None:
            self._next_look = self._loop.call_soon(self._look, look_every_s)
        return wake

    def _look(self, every_s: float) -> None:
        if self._receive() or self._lost is not None:
            self._wake_up()
        else:
            self._next_look = self._loop.call_later(every_s, self._look, every_s)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ns = self._deadline_ns
        self._alarm = self._loop.call_at(self._deadline_ns / NS, self._on_alarm)

    def _on_alarm(self) -> None:
        """End the read whose time is over.

        An answer leaves the alarm as it is: set for an earlier read, it is set on when it goes off. One for each read,
        cancelled nearly always, would fill the loop's heap.
        """
        self._alarm = None
        if self._wake is not None and time.monotonic_ns() < self._deadline_ns:
            self._set_alarm()
        else:
            self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _send(self, rest: bytes | memoryview) -> int:
        if self._lost is not None:
            self._stay_open()
        try:
            return self._ends.send(rest)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._lose(f"lost ({error.strerror or error})")
            raise LinkClosed(f"{self._where}: {self._lost}") from error

    def _lose(self, why: str) -> None:
        if self._lost is not None:
            return
        self._lost = why
        self._watch()
        if self._alarm is not None:
            self._alarm.cancel()
        self._loop.remove_writer(self._ends.fileno)
        self._ends.close()
        (self._heard or self._wake_up)()


async def writable(fileno: int, deadline_ns: int) -> None:
    """Wait until the descriptor takes bytes or is connected. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(fileno, wake)
    try:
        async with asyncio.timeout_at(deadline_ns / NS):
            await ready
    finally:
        loop.remove_writer(fileno)

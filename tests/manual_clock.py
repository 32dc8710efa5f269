"""A clock that a test moves: the real line runs on it, a week of it in seconds, the same way every time.

Nobody waits for real time: `advance` wakes the waiting tasks in the order of their instants and lets every task run
until it waits again. What a task waits for outside this clock (a socket, a thread, the loop's own timer) is outside
this time.

    clock = ManualClock();  task waits on clock;  await clock.advance(3600);  look at what the task did
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

from daq.clock import Bell
from daq.core.observation import NS, Stamp

START = Stamp(mono_ns=1_000 * NS, utc_ns=1_795_336_800 * NS)  # 2026-11-22T08:40:00Z

IDLE_ROUNDS = 3  # rounds of the loop in which nobody had anything to do: then all wait
BUSY_ROUNDS = 100_000  # so many without a pause are a task that spins


class ManualClock:
    """Virtual time, both clocks; obeys the Clock Protocol of daq/clock.py."""

    def __init__(self, start: Stamp = START) -> None:
        self.mono_ns = start.mono_ns
        self._ahead_ns = start.utc_ns - start.mono_ns
        self._waiting: list[tuple[int, int, asyncio.Timeout]] = []  # heap: until, order of asking
        self._order = count()

    def now(self) -> Stamp:
        return Stamp(self.mono_ns, self.mono_ns + self._ahead_ns)

    def monotonic_ns(self) -> int:
        return self.mono_ns

    def anchor(self) -> Stamp:
        return self.now()

    async def wait(self, until_mono_ns: int, bell: Bell | None = None) -> bool:
        if until_mono_ns <= self.mono_ns:
            return bell is not None and bell.is_set()
        entry = (until_mono_ns, next(self._order), asyncio.timeout(None))
        heapq.heappush(self._waiting, entry)
        try:
            async with entry[2]:
                await (bell or Bell()).wait()
        except TimeoutError:
            return bell is not None and bell.is_set()
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
        return True

    def step(self, seconds: float) -> None:
        """Set the real-time clock forwards or backwards; monotonic time goes on."""
        self._ahead_ns += round(seconds * NS)

    async def advance(self, seconds: float) -> None:
        """Let time pass; all that falls due meanwhile happens at its instant, in order."""
        await self._pass(self.mono_ns + round(seconds * NS), lambda: False)

    async def advance_until(self, done: Callable[[], bool], within_s: float = 3600.0) -> None:
        """Let time pass until `done()` holds, looked at whenever something happened. Raises AssertionError."""
        await self._pass(self.mono_ns + round(within_s * NS), done)
        assert done(), f"not within {within_s} s of the manual clock"

    async def settle(self) -> None:
        """Let every task run until it waits, without any time passing."""
        ready = getattr(asyncio.get_running_loop(), "_ready")  # noqa: B009  the loop's queue of runnable callbacks
        idle = 0
        for _ in range(BUSY_ROUNDS):
            await asyncio.sleep(0)
            idle = 0 if ready else idle + 1
            if idle == IDLE_ROUNDS:
                return
        raise AssertionError("a task never waits: it spins without time passing")

    async def _pass(self, target_ns: int, done: Callable[[], bool]) -> None:
        await self.settle()
        while not done():
            if not self._waiting or self._waiting[0][0] > target_ns:
                self.mono_ns = target_ns
                return
            until_ns, _, waiter = heapq.heappop(self._waiting)
            self.mono_ns = max(self.mono_ns, until_ns)
            waiter.reschedule(asyncio.get_running_loop().time())
            await self.settle()

"""The two clocks of the station, and the only place where anybody waits for time.

Monotonic time schedules and measures; real time names instants. Both are read back to back into a Stamp. Tests hand a
ManualClock (tests/manual_clock.py) to the same code.

    clock.wait(until, event) -> line, station      clock.now() -> transports, line
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from daq.core.observation import NS, Stamp


class Clock(Protocol):
    """What the station needs of time."""

    def now(self) -> Stamp:
        """Read both clocks, as close together as can be."""
        ...

    async def wait(self, until_mono_ns: int, event: asyncio.Event | None = None) -> bool:
        """Wait until the monotonic instant or the event, whichever is first; True when it was the event."""
        ...


class SystemClock:
    """CLOCK_MONOTONIC and CLOCK_REALTIME of this machine."""

    def now(self) -> Stamp:
        """Read monotonic before real time: the pair is at most some hundred nanoseconds wide."""
        return Stamp(time.monotonic_ns(), time.time_ns())

    async def wait(self, until_mono_ns: int, event: asyncio.Event | None = None) -> bool:
        """Wait on the loop's own timer; asyncio may fire a hair early, so the remainder is waited again."""
        while (left_ns := until_mono_ns - time.monotonic_ns()) > 0:
            if event is None:
                await asyncio.sleep(left_ns / NS)
            elif await _event_within(event, left_ns / NS):
                return True
        return event is not None and event.is_set()


async def _event_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True

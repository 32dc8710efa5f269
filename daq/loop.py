"""The station's event loop: asyncio's own, which also says when it last woke.

What a selector reports readable had arrived when it returned. The callbacks of one turn run one after the other;
without this stamp the last of a hundred instruments would carry the time the ninety-nine before it took.

    kernel -> StampingSelector (woke) -> station_loop -> transports.descriptor
"""

from __future__ import annotations

import asyncio
import selectors
import time

from daq.core.observation import Stamp


class StampingSelector(selectors.DefaultSelector):
    """Reads both clocks each time it returns something; some hundred nanoseconds a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.woke = Stamp(time.monotonic_ns(), time.time_ns())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as any selector does."""
        events = super().select(timeout)
        if events:
            self.woke = Stamp(time.monotonic_ns(), time.time_ns())
        return events


class StationLoop(asyncio.SelectorEventLoop):
    """A selector loop with the stamp of its last wake-up."""

    def __init__(self) -> None:
        self._stamping = StampingSelector()
        super().__init__(self._stamping)

    @property
    def woke(self) -> Stamp:
        """When the selector last returned; what a reader callback of this turn was called for had come by then."""
        return self._stamping.woke


def new_event_loop() -> StationLoop:
    """Return a loop for asyncio.Runner."""
    return StationLoop()

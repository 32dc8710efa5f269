"""Tells the journal now and then what need not be delivered again: many rows at once, for each word to it costs.

delivery (rows acknowledged, or set aside and told of) -> [Settling] -> Feed.done
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NoReturn

from daq.clock import Clock
from daq.core.observation import NS
from daq.core.record import Feed

SETTLE_EVERY_NS = NS // 50
"""Between two words to the journal of what was acknowledged; it is on disk with a commit, or within a second."""


class Settling:
    """Rows that the journal is to be told of. Until `feed` is known there are none."""

    def __init__(self) -> None:
        self.feed: Feed
        self._rows: list[int] = []
        self._some = asyncio.Event()

    def add(self, rows: Iterable[int]) -> None:
        """Take in what is done with."""
        self._rows.extend(rows)
        self._some.set()

    async def keep(self, clock: Clock) -> NoReturn:
        """Tell for ever."""
        while True:
            await self._some.wait()
            await self.now()
            await clock.wait(clock.now().mono_ns + SETTLE_EVERY_NS)

    async def now(self) -> None:
        """Tell what there is."""
        self._some.clear()
        rows, self._rows = self._rows, []
        if rows:
            await self.feed.done(rows)

"""What one sink sees of the journal: the newest records from memory, older ones from disk.

Runs on the event loop. It keeps no record beyond what the slowest feed has not taken, and that within a bound; a feed
that fell behind reads from disk, through the journal's thread, until it has caught up.

    Scribe -> Tail -> Feed.live -> sink          Feed.backlog -> job in the thread
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from daq.core.errors import SinkError
from daq.core.record import Record
from daq.journal.memory import Queue
from daq.journal.scribe import Scribe

Ask = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Have a job done in the journal's thread."""


_payload = attrgetter("payload")


def _bytes(records: Iterable[Record]) -> int:
    """Add up the payloads, without a line of Python for each."""
    return sum(map(len, map(_payload, records)))


class Tail:
    """The newest records, each at a position that counts all that were ever shown.

    Args:
        max_bytes: of payloads.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._records: list[Record] = []
        self.first = 0
        self.newest = 0

    @property
    def end(self) -> int:
        """The position the next record gets."""
        return self.first + len(self._records)

    def extend(self, records: Sequence[Record], taken: int) -> None:
        """Add records; let go of those that all feeds have taken, and of the oldest where there is no room.

        Args:
            records: newly shown.
            taken: position that no open feed is before.
        """
        self._records.extend(records)
        self._bytes += _bytes(records)
        if records and records[-1].row > 0:  # rows grow
            self.newest = records[-1].row
        gone = min(max(0, taken - self.first), len(self._records))
        size = self._bytes - _bytes(self._records[:gone])
        while size > self._max_bytes:
            size -= len(self._records[gone].payload)
            gone += 1
        del self._records[:gone]
        self.first += gone
        self._bytes = size

    def page(self, position: int, limit: int) -> list[Record]:
        """Return up to `limit` records from a position on."""
        begin = position - self.first
        return self._records[begin : begin + limit]

    def last_row_before(self) -> int:
        """Return the row before the oldest durable record in memory; without one, the newest that was."""
        return next((record.row for record in self._records if record.row > 0), self.newest + 1) - 1


class Feed:
    """See daq.core.record.Feed. One task at a time may wait in `live`.

    Args:
        ask: has a job done in the journal's thread, soon.
        queue: takes jobs that may wait.
        scribe: whose jobs these are.
        sink: name of the sink.
        tail: the newest records.
        head: the newest row on disk; what is not done up to it is backlog.
        ahead: records in memory only, not done by the sink; `live` hands them out first.
    """

    def __init__(
        self, ask: Ask, queue: Queue, scribe: Scribe, sink: str, tail: Tail, head: int, ahead: Sequence[Record]
    ) -> None:
        self.arrived = asyncio.Event()
        self.position = tail.end
        self._ask = ask
        self._queue = queue
        self._scribe = scribe
        self._sink = sink
        self._tail = tail
        self._row = head
        self._late = [(0, head)]  # (first excluded, last): what is not done of these is backlog
        self._ahead = deque(ahead)
        self._ended: str | None = None

    def end(self, why: str) -> None:
        """Let nobody wait here any more."""
        self._ended = why
        self.arrived.set()

    def close(self) -> None:
        """Keep nothing at hand for it any more."""
        self.end("this feed was closed")

    @property
    def is_open(self) -> bool:
        """Whether somebody may still take records."""
        return self._ended is None

    async def live(self, limit: int) -> list[Record]:
        """Wait for records committed since the feed was opened; at least one, at most `limit`, oldest first.

        Raises:
            SinkError: the journal is closed, or another feed was opened for this sink.
        """
        while True:
            if self._ended is not None:
                raise SinkError(f"{self._sink}: {self._ended}")
            self.arrived.clear()
            if page := await self._next(limit):
                self._row = max(self._row, page[-1].row)
                return page
            await self.arrived.wait()

    async def _next(self, limit: int) -> list[Record]:
        if self._ahead:
            return [self._ahead.popleft() for _ in range(min(limit, len(self._ahead)))]
        while self.position < self._tail.first:
            first, upto = self._tail.first, self._tail.last_row_before()
            page: list[Record] = await self._ask(partial(self._scribe.undone, self._sink, self._row, upto, limit))
            if page:
                return page
            self._leave_behind(upto)
            self.position = first
        page = self._tail.page(self.position, limit)
        self.position += len(page)
        return page

    def _leave_behind(self, upto: int) -> None:
        """Make backlog of what live records went past while the disk could not be read; mostly it is nothing."""
        if upto > self._row:
            self._late.append((self._row, upto))
            self._row = upto

    async def backlog(self, after_row: int, limit: int, infos: bool = False) -> list[Record]:
        """Return records from before the feed was opened that are not done, above `after_row`; [] when none is left.

        So is what `live` had to leave behind. While the disk cannot be read it is [] too: `backlog_size` tells.
        """
        records: list[Record] = await self._ask(partial(self._undone, after_row, limit, infos))
        return records

    def _undone(self, after_row: int, limit: int, infos: bool) -> list[Record]:
        """Read what the backlog holds; in the journal's thread."""
        found: list[Record] = []
        for after, upto in tuple(self._late):
            if upto > after_row and len(found) < limit:
                first = max(after, after_row)
                found += self._scribe.undone(self._sink, first, upto, limit - len(found), infos)
        return found

    async def backlog_size(self) -> int:
        """Return how many records of the backlog are not done yet, those that cannot be read now among them."""
        size: int = await self._ask(lambda: sum(self._scribe.backlog(self._sink, *each) for each in tuple(self._late)))
        return size

    async def done(self, rows: Sequence[int]) -> None:
        """Remember that these rows need not be delivered again; on disk with the next commit, or within a second."""
        kept = tuple(rows)
        self._queue.ask(lambda: self._scribe.mark_done(self._sink, kept), soon=False)

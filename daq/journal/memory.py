"""What waits in memory: the queue in front of the disk, and the ring of what was shown while the disk failed.

Both are bounded in bytes, drop the oldest, and count what they drop. Neither knows the file. What a slow disk let
gather is given back to the system once it is gone. A batch leaves the interpreter to the event loop now and then.

    station -> Queue -> Scribe          Scribe (disk fails) -> Ring -> Scribe (disk is well)
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from daq.core.numbering import Gap, Span
from daq.core.record import Entry, Record

T = TypeVar("T")

BATCH_BYTES = 1 << 20  # one transaction, so that the log stays small
MOVED_KEPT = 100_000  # rows of memory whose place in the file is remembered for acknowledgements that come late
PIECE = 16  # records worked at without a break, some 100 us
PIECES = 6  # of a batch at most: those of a long one are longer
BREAK_S = 0.0002


def by_pieces(items: Sequence[T]) -> Iterator[T]:
    """Give items out, and leave the interpreter to the event loop between few of them and the next.

    Python takes it from a thread after the switch interval only (daq.station), and hands it back at the loop's next
    system call, of which each slot has four: in the millisecond that a batch takes, slots would gather. A loop
    without a pause gives it back after that interval too, so that there are no more than a few breaks in a batch.
    """
    size = max(PIECE, -(-len(items) // PIECES))
    for begin in range(0, len(items), size):
        if begin:
            time.sleep(BREAK_S)
        yield from items[begin : begin + size]


def give_back() -> None:
    """Have the system take back what glibc's malloc keeps of memory that is free; others are left to themselves.

    A disk that stood still for a second leaves a megabyte or two free below what was allocated after it: held for ever
    by malloc_trim(3)'s own rule, which looks at the top alone.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(slots=True)
class Work:
    """What the queue held: entries in order, what it dropped before them, jobs to do after them."""

    entries: list[Entry]
    overflow: dict[str, Span]
    jobs: list[Callable[[], None]]
    closing: bool


class Queue:
    """What the event loop hands to the thread; putting never blocks, the oldest entry goes when there is no room.

    Args:
        max_bytes: of entries, by their own estimate.
    """

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._overflow: dict[str, Span] = {}
        self._jobs: list[Callable[[], None]] = []
        self._urgent = False
        self._closing = False
        self._waiting = False  # the thread, for work; under load it lingers instead, and need not be woken
        self.bytes = 0

    def put(self, entry: Entry) -> None:
        """Add an entry."""
        with self._lock:
            self._entries.append(entry)
            self.bytes += entry.size
            while self.bytes > self._max_bytes:
                self._drop_oldest()
            if self._waiting:
                self._ready.notify()

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        self.bytes -= entry.size
        span = self._overflow.get(entry.stream)
        if span is None:
            self._overflow[entry.stream] = Span(entry.t_ns, entry.t_ns)
        else:
            span.add(entry.t_ns)

    def ask(self, job: Callable[[], None], *, soon: bool = True) -> None:
        """Add a job, done after all entries that were put before it; one that is not needed soon wakes nobody."""
        with self._ready:
            self._jobs.append(job)
            if soon:
                self._urgent = True
                self._ready.notify()

    def close(self) -> None:
        """Let the thread end once everything is done."""
        with self._ready:
            self._closing = True
            self._ready.notify()

    def take(self, wait_s: float) -> Work:
        """Wait for work, then take up to BATCH_BYTES of entries; jobs only together with the last of them."""
        with self._ready:
            self._waiting = True
            self._ready.wait_for(lambda: self._entries or self._urgent or self._closing, wait_s)
            self._waiting = False
            entries = self._batch()
            overflow, self._overflow = self._overflow, {}
            if self._entries:
                return Work(entries, overflow, [], closing=False)
            jobs, self._jobs = self._jobs, []
            self._urgent = False
            return Work(entries, overflow, jobs, self._closing)

    def _batch(self) -> list[Entry]:
        """Take the oldest entries out, all of them where they are no more than one transaction holds."""
        if self.bytes <= BATCH_BYTES:
            entries, size = list(self._entries), self.bytes
            self._entries.clear()
        else:
            entries, size = [], 0
            while self._entries and size < BATCH_BYTES:
                entry = self._entries.popleft()
                size += entry.size
                entries.append(entry)
        self.bytes -= size
        return entries


class Ring:
    """What was shown while the disk failed, as much as memory may hold, and which sink is done with what of it.

    Args:
        max_bytes: of payloads.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._done: dict[str, set[int]] = {}
        self._moved: dict[int, int] = {}
        self.records: deque[Record] = deque()
        self.lost = Gap("memory full")

    def extend(self, records: Iterable[Record]) -> None:
        """Keep records; the oldest go where there is no room, and are counted in `lost`."""
        for record in records:
            self.records.append(record)
            self._bytes += len(record.payload)
        while self._bytes > self._max_bytes:
            gone = self.records[0]
            heard = bool(self._done) and all(gone.row in rows for rows in self._done.values())
            self._forget(1)
            self.lost.add(gone.epoch, gone.stream, gone.seq, gone.t_ns)
            if gone.kind == "event" and not heard:
                self.lost.retell(gone.payload)

    def _forget(self, count: int) -> None:
        for _ in range(count):
            gone = self.records.popleft()
            self._bytes -= len(gone.payload)
            for rows in self._done.values():
                rows.discard(gone.row)

    def mark_done(self, sink: str, rows: Iterable[int]) -> list[int]:
        """Note what a sink is done with; return the rows of the file that these records have moved to."""
        waiting = self._done.setdefault(sink, set())
        moved = []
        for row in rows:
            if row in self._moved:
                moved.append(self._moved[row])
            elif self.records and row >= self.records[0].row:
                waiting.add(row)
        return moved

    def undone(self, sink: str) -> list[Record]:
        """Return what a sink has not done."""
        waiting = self._done.get(sink, set())
        return [record for record in self.records if record.row not in waiting]

    def first(self, max_bytes: int) -> list[Record]:
        """Return the oldest records, at least one, of about `max_bytes`."""
        taken, size = [], 0
        for record in self.records:
            taken.append(record)
            size += len(record.payload)
            if size >= max_bytes:
                break
        return taken

    def moved(self, records: Sequence[Record]) -> dict[str, list[int]]:
        """Let go of as many of the oldest records, now in the file as `records`.

        Returns:
            sink -> rows of the file that it is already done with.
        """
        settled: dict[str, list[int]] = {}
        oldest = islice(self.records, len(records))
        pairs = [(old.row, new.row) for old, new in zip(oldest, records, strict=True)]
        for sink, rows in self._done.items():
            settled[sink] = [new for old, new in pairs if old in rows]
        self._moved.update(pairs)
        for row in list(islice(self._moved, max(len(self._moved) - MOVED_KEPT, 0))):
            del self._moved[row]
        self._forget(len(pairs))
        return settled

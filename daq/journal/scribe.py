"""The journal's thread: the only one that touches the file. It commits what the queue holds and survives the disk.

It never blocks the event loop, never shows a record before its commit has returned, and never gives up: while the disk
fails, records are numbered in an epoch of memory, shown as not durable, and kept in a bounded ring; when the disk is
well again what is left of the ring goes into the file as it was shown.

    Queue (entries, jobs) -> Scribe -> JournalFile -> show(records)
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal, TypeVar

from daq.core.errors import ConfigError
from daq.core.message import Event
from daq.core.numbering import Announce, Gap, Numbers, Span, epoch_name, numbered
from daq.core.observation import NS
from daq.core.record import Entry, Record
from daq.core.unchanging import unchanging
from daq.journal.file import JournalFile
from daq.journal.memory import Queue, Ring, give_back
from daq.journal.schema import is_corrupt, is_full

log = logging.getLogger(__name__)

T = TypeVar("T")

LINGER_NS = 5_000_000  # between two commits at least; the first record after a quiet time waits for none
LINGER_EACH_NS = 2_000_000  # for each record of the last commit: from some 450 a second on commits wait the longest
LONGEST_LINGER_NS = 20_000_000
ADOPT_BYTES = 1 << 18  # the same for what memory held, while the disk may still be short of room
TICK_S = 1.0  # how often an idle thread looks after room, age, acknowledgements and a failed disk
AGE_TICKS = 60
FIRST_PAUSE_NS = NS  # before a failed disk is tried again, doubling
LONGEST_PAUSE_NS = 60 * NS
FIRST_VOLATILE_ROW = -(2**62)  # rows of memory are negative and grow as all rows do


@unchanging
class Health:
    """How the journal fares, as of the last commit or second.

    Args:
        state: failing while the disk does not take records, stalled while it neither takes nor refuses them.
        reason: what the disk said, None while ok.
        since_utc_ns: since when, None while ok.
        full: the station should stop asking (`when_full: stop_polling`).
        epoch: of the file; None before there was one.
        rows: records on disk.
        used_bytes: of the file.
        oldest_t_ns: UTC ns of the oldest record, None without records.
        committed_utc_ns: when the last commit returned, None before the first.
        commit_s: how long it took.
        backlog: sink -> records it has not done.
        lost: why -> records dropped undelivered since the start.
    """

    state: Literal["ok", "failing", "stalled"] = "ok"
    reason: str | None = None
    since_utc_ns: int | None = None
    full: bool = False
    epoch: str | None = None
    rows: int = 0
    used_bytes: int = 0
    oldest_t_ns: int | None = None
    committed_utc_ns: int | None = None
    commit_s: float | None = None
    backlog: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)


def linger_ns(records: int) -> int:
    """Return how long records gather behind a commit of so many.

    A commit costs as much as printing thirty records, in the loop as well, which it wakes.
    """
    return min(max(LINGER_NS, records * LINGER_EACH_NS), LONGEST_LINGER_NS)


class Scribe:
    """What the thread does. All but `health` and `progress_mono_ns` belongs to the thread.

    Args:
        file: not connected yet.
        queue: where work comes from.
        announce: makes events.
        show: called with records that a sink may see, in order.
        now_utc_ns: the station's clock.
        memory_bytes: bound of the ring.
    """

    def __init__(
        self,
        file: JournalFile,
        queue: Queue,
        *,
        announce: Announce,
        show: Callable[[list[Record]], None],
        now_utc_ns: Callable[[], int],
        memory_bytes: int,
    ) -> None:
        self.health = Health()
        self.progress_mono_ns = time.monotonic_ns()
        self._file = file
        self._queue = queue
        self._announce = announce
        self._show = show
        self._now_utc_ns = now_utc_ns
        self._ring = Ring(memory_bytes)
        self._volatile = Numbers(
            epoch_name(now_utc_ns(), secrets.randbits(20)), durable=False, next_row=FIRST_VOLATILE_ROW
        )
        self._failing: tuple[str, int] | None = None  # why, and since when (UTC ns)
        self._failing_mono_ns = 0  # the same instant: the wall clock may be set meanwhile
        self._pause_ns = FIRST_PAUSE_NS
        self._retry_mono_ns = 0
        self._commit_mono_ns = 0
        self._linger_ns = LINGER_NS
        self._tick_mono_ns = 0
        self._ticks = 0
        self._lost: dict[str, int] = {}
        self._unsaid: list[Entry] = []  # what opening the file has changed; told with the next commit that succeeds
        self._committed: tuple[int, float] | None = None

    # The thread -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the file; a disk that fails is survived from the start.

        Raises:
            ConfigError: the file or its place must be put right first.
        """
        try:
            aside = self._file.connect()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
        else:
            self._note_changes(aside, anew=aside is not None)
            if self._unsaid:
                self._keep([], {})
        self._tick()

    def run(self) -> None:
        """Work until the queue is closed and empty."""
        while True:
            self._linger()
            work = self._queue.take(TICK_S)
            self.progress_mono_ns = time.monotonic_ns()
            if work.entries or work.overflow:
                self._keep(work.entries, work.overflow)
                self._linger_ns = linger_ns(len(work.entries))
            for job in work.jobs:
                job()
            if time.monotonic_ns() - self._tick_mono_ns >= TICK_S * NS:
                self._tick()
            if work.closing:
                break
        if self._failing is not None:
            self._retry()
        if self._failing is not None:
            log.error("Closed while the disk fails: %d records stay unwritten.", len(self._ring.records))
        self._settle()
        if self._failing is None:
            self._file.close()
        self._file.disconnect()

    def _linger(self) -> None:
        """Let records gather where the last commit is not long ago."""
        rest_ns = self._commit_mono_ns + self._linger_ns - time.monotonic_ns()
        if rest_ns > 0:
            time.sleep(rest_ns / NS)

    def _tick(self) -> None:
        self._tick_mono_ns = time.monotonic_ns()
        self._ticks += 1
        if self._failing is not None and self._tick_mono_ns >= self._retry_mono_ns:
            self._retry()
        if self._failing is None:
            self._guarded(self._look_after)
        self._report()

    def _look_after(self) -> None:
        self._file.look_after()
        self._settle()
        if self._ticks % AGE_TICKS == 1:
            self.trim()
            give_back()

    def trim(self) -> None:
        """Drop what is older than is kept."""
        while records := self._timed(self._file.trim):
            self._show(records)

    def _settle(self) -> None:
        """Put acknowledgements on disk where no record took them along."""
        if self._failing is None and self._file.unsettled:
            self._guarded(lambda: self._timed(lambda: self._file.commit([], {})))

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (sqlite3.Error, OSError) as error:
            self._survive(error)

    # Keeping ----------------------------------------------------------------------------------------------------------

    def _keep(self, entries: list[Entry], overflow: Mapping[str, Span]) -> None:
        for span in overflow.values():
            self._lost["queue full"] = self._lost.get("queue full", 0) + span.count
        if self._failing is None:
            try:
                records = self._timed(lambda: self._commit(entries, overflow))
            except (sqlite3.Error, OSError, ConfigError) as error:
                self._fail(error)
            else:
                self._show(records)
                return
        self._keep_in_memory(entries, overflow)

    def _commit(self, entries: list[Entry], overflow: Mapping[str, Span]) -> list[Record]:
        """Commit; a damaged file is replaced, a full disk given its ballast, and the same tried once more."""
        try:
            return self._commit_once(entries, overflow)
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                self._begin_anew()
            elif is_full(error):
                self._file.make_room()
            else:
                raise
        return self._commit_once(entries, overflow)

    def _commit_once(self, entries: list[Entry], overflow: Mapping[str, Span]) -> list[Record]:
        records = self._file.commit([*self._unsaid, *entries], overflow)
        self._unsaid.clear()
        return records

    def _keep_in_memory(self, entries: Iterable[Entry], overflow: Mapping[str, Span]) -> None:
        records = numbered(
            self._volatile, entries, overflow, announce=self._announce, largest=self._file.room.bounds.largest
        )
        self._ring.extend(records)
        self._show(records)

    def _timed(self, write: Callable[[], list[Record]]) -> list[Record]:
        begun_ns = time.monotonic_ns()
        records = write()
        self._commit_mono_ns = time.monotonic_ns()
        self._committed = (self._now_utc_ns(), (self._commit_mono_ns - begun_ns) / NS)
        self._report()
        return records

    def _begin_anew(self) -> None:
        self._note_changes(self._file.begin_anew(), anew=True)

    def _note_changes(self, aside: Path | None, *, anew: bool) -> None:
        """Note what is to be told of the file that was opened: a new one, or the old one in a new epoch.

        Args:
            aside: where a damaged one stands now; None where it was gone.
            anew: whether a new one was begun.
        """
        epoch = self._file.epoch
        if anew:
            damaged = aside.name if aside else None
            details: dict[str, object] = {"state": "begun_anew", "damaged": damaged, "epoch": epoch}
            self._unsaid.append(self._announce(Event.JOURNAL, details))
        if self._file.renewed is not None:
            details = {"state": "epoch", "why": self._file.renewed, "epoch": epoch}
            self._unsaid.append(self._announce(Event.JOURNAL, details))
            self._file.renewed = None

    # A failing disk ---------------------------------------------------------------------------------------------------

    def _survive(self, error: Exception) -> None:
        """Replace a file found damaged; else go on in memory."""
        if not is_corrupt(error):
            self._fail(error)
            return
        try:
            self._begin_anew()
        except (sqlite3.Error, OSError, ConfigError) as worse:
            self._fail(worse)
        else:
            self._keep([], {})

    def _fail(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        log.error("The journal cannot be written: %s. Records go on without it, marked as not durable.", reason)
        self._failing, self._failing_mono_ns = (reason, self._now_utc_ns()), time.monotonic_ns()
        self._pause_ns = FIRST_PAUSE_NS
        self._retry_mono_ns = self._failing_mono_ns + self._pause_ns
        self._keep_in_memory([self._announce(Event.JOURNAL, {"state": "failing", "reason": reason})], {})
        self._report()

    def _retry(self) -> None:
        try:
            epoch = self._file.epoch
            aside = self._file.connect()
            anew = self._file.epoch != epoch and self._file.renewed is None
            self._note_changes(aside, anew=anew)
            self._empty_ring()
        except (sqlite3.Error, OSError, ConfigError) as error:
            log.debug("The journal still cannot be written: %s", error)
            if is_full(error):
                self._read(self._file.make_room, None)
            self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
            self._retry_mono_ns = time.monotonic_ns() + self._pause_ns

    def _empty_ring(self) -> None:
        """Put what memory still holds into the file, a transaction at a time, and say that the disk is well again."""
        assert self._failing is not None
        while self._ring.records:
            volatile = self._ring.first(ADOPT_BYTES)
            records = self._file.adopt(volatile)
            adopted, gaps = records[: len(volatile)], records[len(volatile) :]  # where older ones had to go for these
            self._show(gaps)
            for sink, rows in self._ring.moved(adopted).items():
                self._file.mark_done(sink, rows)
        told = [self._announce(Event.GAP, details) for details in self._ring.lost.details()]
        told.append(self._announce(Event.JOURNAL, {"state": "restored", "failed_s": self._failed_s()}))
        records = self._timed(lambda: self._commit_once(told, {}))
        self._lost["memory full"] = self._lost.get("memory full", 0) + self._ring.lost.count
        self._ring.lost = Gap("memory full")
        log.warning("The journal is written again, after %.0f s.", self._failed_s())
        self._failing = None
        self._show(records)

    def _failed_s(self) -> float:
        return round((time.monotonic_ns() - self._failing_mono_ns) / NS, 3)

    # Jobs -------------------------------------------------------------------------------------------------------------

    def open_feed(self, sink: str) -> tuple[int, list[Record]]:
        """Return the newest row, and what memory holds for the sink while the disk fails."""
        self._file.register(sink)
        return self._file.head, self._ring.undone(sink)

    def mark_done(self, sink: str, rows: Sequence[int]) -> None:
        """Note what a sink need not get again."""
        volatile = [row for row in rows if row < 0] if min(rows, default=0) < 0 else []
        moved = self._ring.mark_done(sink, volatile)
        durable = [row for row in rows if row > 0] if volatile else rows
        self._file.mark_done(sink, [*durable, *moved])

    def undone(self, sink: str, after: int, upto: int, limit: int, infos: bool = False) -> list[Record]:
        """Return what a sink has not done between two rows; nothing where the disk cannot be read."""
        return self._read(lambda: self._whole(sink, after, upto, limit, infos), [])

    def _whole(self, sink: str, after: int, upto: int, limit: int, infos: bool) -> list[Record]:
        """Drop, and tell of, what the disk has damaged; look again where nothing else was found."""
        while True:
            records, spoilt = self._file.undone(sink, after, upto, limit, infos)
            if spoilt:
                self._show(self._timed(lambda: self._file.lose(spoilt)))  # noqa: B023  called at once
            if records or not spoilt:
                return records

    def backlog(self, sink: str, after: int, upto: int) -> int:
        """Return how many records between two rows (the first excluded) a sink has not done."""
        return self._file.done[sink].missing(after + 1, upto)

    def last_slots(self, polls: Iterable[str], until_mono_ns: int) -> dict[str, int]:
        """Return the last slots that the file speaks for; none where the disk cannot be read."""
        return self._read(lambda: self._file.last_slots(polls, until_mono_ns), {})

    def _read(self, read: Callable[[], T], nothing: T) -> T:
        try:
            return read()
        except (sqlite3.Error, OSError) as error:
            if self._failing is None:
                self._survive(error)
            return nothing

    def _report(self) -> None:
        reason, since_ns = self._failing or (None, None)
        file = self._file
        stop = file.room.bounds.when_full == "stop_polling"
        self.health = Health(
            state="failing" if self._failing else "ok",
            reason=reason,
            since_utc_ns=since_ns,
            full=file.full or (stop and self._failing is not None),
            epoch=file.epoch,
            rows=file.rows,
            used_bytes=file.used,
            oldest_t_ns=file.oldest_t_ns,
            committed_utc_ns=self._committed[0] if self._committed else None,
            commit_s=self._committed[1] if self._committed else None,
            backlog={sink: file.backlog(sink) for sink in file.done},
            lost={**self._lost, **file.lost},
        )

"""The journal on disk: one SQLite file, written in transactions that are whole or not there at all.

Everything here blocks and belongs to one thread (daq.journal); nothing here waits, retries or decides that the disk has
failed: errors of SQLite go up. What a transaction holds is seen by nobody before COMMIT has returned.

    entries -> numbered -> trim to make room -> gap -> insert -> COMMIT -> records

Beside the file stand its log (`-wal`), `<stem>.top` (how far its numbers had come, see `top`), and `<name>.ballast`,
room to give up on a full disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from daq.core.errors import ConfigError
from daq.core.message import Event
from daq.core.numbering import Announce, Gap, Numbers, RowSet, Span, epoch_name, numbered, runs
from daq.core.record import Entry, Record
from daq.journal.memory import by_pieces
from daq.journal.reading import Page, describe, export_page, last_slots
from daq.journal.schema import (
    BY_INFO,
    INFO,
    PAGE,
    RECORDS,
    SCHEMA,
    STATEMENTS,
    check,
    insert_many,
    is_corrupt,
    record_of,
    refuse_foreign,
    tally,
    text_of,
)
from daq.journal.streams import Streams, Values
from daq.journal.top import Top
from daq.journal.trimming import Bounds, Room, Victim, named, sizes, undelivered, weight

log = logging.getLogger(__name__)

ROUNDS = 4  # of making room in one transaction; the first is nearly always enough


class JournalFile:
    """The file and its counters. After any error of SQLite `connect` again; counters are those of the last commit.

    Args:
        path: the file; its directory exists.
        bounds: how much is kept.
        announce: makes the events that the file itself has to tell.
        now_utc_ns: the station's clock.
        sinks: whose acknowledgement trimming waits for.
    """

    def __init__(
        self, path: Path, bounds: Bounds, announce: Announce, now_utc_ns: Callable[[], int], sinks: Iterable[str] = ()
    ) -> None:
        self.path = path
        self.room = Room(path, bounds)
        self.renewed: str | None = None
        self.full = False
        self.rows = 0
        self.used = 0
        self.oldest_t_ns: int | None = None
        self.numbers: Numbers | None = None
        self.done = {sink: RowSet([(0, 0)]) for sink in sinks}
        self.lost: dict[str, int] = {}
        self._announce = announce
        self._now_utc_ns = now_utc_ns
        self._open: sqlite3.Connection | None = None
        self._streams = Streams({})
        self._inode = 0
        self._top = Top(path)

    # Opening and closing ----------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> str | None:
        """The epoch of the file, None before the first connection."""
        return self.numbers.epoch if self.numbers else None

    @property
    def head(self) -> int:
        """The newest committed row; 0 where there was none."""
        return self.numbers.next_row - 1 if self.numbers else 0

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open is None:
            raise sqlite3.OperationalError("the journal is not open")
        return self._open

    def connect(self) -> Path | None:
        """Open the file, or begin a new one; a damaged one is moved aside first.

        `renewed` says why a file that was there goes on in a new epoch, until it was told.

        Returns:
            Where a damaged file was moved, else None.

        Raises:
            ConfigError: not ours, written by a newer version, or not ours to write.
            sqlite3.Error, OSError: the disk.
        """
        self.disconnect()
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            return self.begin_anew()
        return None

    def begin_anew(self) -> Path:
        """Move the damaged file aside, never delete it, and begin a new one in a new epoch; rows go on growing."""
        self.disconnect()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now_utc_ns() // 10**9))
        aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        while aside.exists():
            aside = aside.with_name(f"{aside.name}x")
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(f"{self.path.name}{suffix}").rename(f"{aside}{suffix}")
        log.error("%s was damaged and stands aside as %s; a new one is begun", self.path, aside.name)
        self._connect()
        self.renewed = None
        return aside

    def disconnect(self) -> None:
        """Close the file, whatever state it is in."""
        if self._open is not None:
            with contextlib.suppress(sqlite3.Error):
                self._open.close()
            self._open = None
        self._top.close()

    def close(self) -> None:
        """Close the file whole: all that was shown is in it, and the next start may go on numbering."""
        db, self._open = self._open, None
        try:
            if db is not None:
                db.close()
                self._top.end()
        except (sqlite3.Error, OSError) as error:
            log.warning("%s could not be closed in order: %s", self.path, error)
        self.disconnect()

    def _connect(self) -> None:
        for path in (self.path, self._top.path):
            if path.exists() and not os.access(path, os.R_OK | os.W_OK):
                raise ConfigError([f"{path}: may not be written by uid {os.getuid()}. Give it the file or another."])
        if not self.path.exists() and not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise ConfigError([f"{self.path.parent}: may not be written by uid {os.getuid()}. Give it the directory."])
        self._open = sqlite3.connect(self.path, isolation_level=None, timeout=5.0, cached_statements=STATEMENTS)
        self._db.text_factory = text_of
        refuse_foreign(self._db, self.path)
        for pragma in (
            f"page_size = {PAGE}",
            "journal_mode = WAL",
            "synchronous = FULL",
            f"journal_size_limit = {self.room.bounds.ballast_bytes}",
            f"max_page_count = {self.room.bounds.max_bytes // PAGE}",
            f"wal_autocheckpoint = {self.room.bounds.log_pages}",
            "trusted_schema = OFF",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        check(self._db)
        self._load()
        assert self.numbers is not None
        self._top.begin(self.numbers.epoch, self.numbers.next_row)
        self._inode = self.path.stat().st_ino
        self.look_after()

    def _load(self) -> None:
        """Take the counters from the file; where it is of our own epoch, ours are right and the file follows."""
        fresh = self._db.execute("PRAGMA user_version").fetchone()[0] == 0
        if fresh:
            self._create()
        epoch, next_row, rows = self._header()
        if self.numbers is not None and self.numbers.epoch == epoch:
            self._forget_ghosts()
            return
        doubt = self._doubt(epoch, next_row) if not fresh else self._top.missed() if self.numbers is None else None
        if doubt is not None and not fresh:
            epoch = self._begin_epoch(epoch, doubt)
        first = max(next_row, self.head + 1)  # a file that came while we ran may know of fewer rows than feeds do
        self.rows = rows
        self._streams = self._known_streams()
        next_seq = dict(self._db.execute("SELECT name, next_seq FROM stream WHERE epoch = ?", (epoch,)))
        self.numbers = Numbers(epoch, durable=True, next_row=first, next_seq=next_seq)
        self.renewed = doubt or self.renewed
        for sink in self.done:
            self.done[sink] = RowSet()
            self.register(sink)
            if first > next_row:
                self.done[sink].add(next_row, first - 1)

    def _doubt(self, epoch: str, next_row: int) -> str | None:
        """Say why the file's numbers may have been used already; None where there is no reason to think so."""
        streams = self._db.execute("SELECT id, epoch, name, next_seq, sum FROM stream")
        if any(tally(*counted) != written for *counted, written in streams):
            return "the numbers of a stream are not what was written"
        return self._top.doubt(epoch, next_row)

    def _create(self) -> None:
        with self._transaction(begin=False):
            for statement in SCHEMA.split(";"):
                self._db.execute(statement)
            row = self._new_epoch(), self._now_utc_ns(), self.head + 1
            self._db.execute("INSERT INTO journal VALUES (?, ?, ?, 0)", row)

    def _begin_epoch(self, before: str, why: str) -> str:
        """Number from 1 again under a new name; records that are there keep theirs."""
        epoch = self._new_epoch()
        with self._transaction():
            self._db.execute("UPDATE journal SET epoch = ?", (epoch,))
        log.warning("%s: %s. Epoch %s ends, %s begins, so that no number is used twice.", self.path, why, before, epoch)
        return epoch

    def _new_epoch(self) -> str:
        return epoch_name(self._now_utc_ns(), secrets.randbits(20))

    def _header(self) -> tuple[str, int, int]:
        header: tuple[str, int, int] | None = self._db.execute("SELECT epoch, next_row, rows FROM journal").fetchone()
        if header is None:
            raise ConfigError([f"{self.path}: holds no journal. Move it away, a new one is begun."])
        return header

    def _forget_ghosts(self) -> None:
        """Undo a commit that reported failure and reached the disk after all: its numbers were never shown."""
        assert self.numbers is not None
        for sink, rows in self.done.items():
            self.register(sink)
            rows.changed |= dict(rows.ranges())
        newest = self._db.execute("SELECT max(row) FROM record").fetchone()[0] or 0
        if newest < self.numbers.next_row:
            return
        epoch = self.numbers.epoch
        streams = [
            (number, epoch, name, self.numbers.next_seq.get(name, 1))
            for number, name in self._db.execute("SELECT id, name FROM stream WHERE epoch = ?", (epoch,))
        ]
        with self._transaction():
            self._db.execute("DELETE FROM record WHERE row >= ?", (self.numbers.next_row,))
            self._db.execute("UPDATE journal SET next_row = ?, rows = ?", (self.numbers.next_row, self.rows))
            self._db.executemany(
                "UPDATE stream SET next_seq = ?, sum = ? WHERE id = ?",
                [(seq, tally(number, *key, seq), number) for number, *key, seq in streams],
            )
        self._streams = self._known_streams()

    def _known_streams(self) -> Streams:
        rows = self._db.execute("SELECT id, epoch, name FROM stream")
        return Streams({(epoch, name): number for number, epoch, name in rows})

    @contextlib.contextmanager
    def _transaction(self, *, begin: bool = True) -> Iterator[None]:
        if begin:
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    # Sinks ------------------------------------------------------------------------------------------------------------

    def register(self, sink: str) -> None:
        """Know a sink: what it has not yet done is held. One that was never known begins at the newest row."""
        if self._open is None:
            self.done.setdefault(sink, RowSet([(0, self.head)]))
            return
        if sink in self.done and self.done[sink].ranges():
            return
        found = list(self._db.execute("SELECT sink, first, last, sum FROM done ORDER BY first"))
        whole = [counted for *counted, written in found if tally(*counted) == written]
        rows = RowSet((first, last) for name, first, last in whole if name == sink)
        rows.changed.clear()
        oldest: int | None = self._db.execute("SELECT min(row) FROM record").fetchone()[0]
        fresh = not rows.ranges() and len(whole) == len(found)  # of a damaged one nobody knows whose it was: send again
        rows.add(0, self.head if fresh or oldest is None else oldest - 1)
        self.done[sink] = rows

    def mark_done(self, sink: str, rows: Sequence[int]) -> None:
        """Note what a sink need not get again; on disk with the next commit."""
        head = self.head
        known = rows if max(rows, default=0) <= head else [row for row in rows if row <= head]
        for first, last in runs(known):
            self.done[sink].add(first, last)

    def backlog(self, sink: str) -> int:
        """Return how many records a sink has not done."""
        return self.done[sink].missing(0, self.head)

    def undone(
        self, sink: str, after: int, upto: int, limit: int, infos: bool = False
    ) -> tuple[list[Record], list[int]]:
        """Return the records between two rows (the first excluded) that a sink has not done, oldest first.

        Returns:
            records; and the rows among them that are not what was written, for `lose`.
        """
        records: list[Record] = []
        spoilt: list[int] = []
        wanted = f"{BY_INFO} WHERE kind = {INFO} AND" if infos else f"{RECORDS} WHERE"
        for first, last in self.done[sink].holes(after + 1, min(upto, self.head)):
            rows = self._db.execute(
                f"{wanted} row BETWEEN ? AND ? ORDER BY row LIMIT ?", (first, last, limit - len(records))
            )
            for row in rows:
                record = record_of(row)
                if record is None:
                    spoilt.append(row[0])
                else:
                    records.append(record)
            if len(records) >= limit:
                break
        return records, spoilt

    @property
    def unsettled(self) -> bool:
        """Whether there are acknowledgements that are not on disk yet."""
        return any(rows.changed for rows in self.done.values())

    def _store_done(self, done: Mapping[str, RowSet]) -> None:
        for sink, rows in done.items():
            for first, last in rows.changed.items():
                if last is None:
                    self._db.execute("DELETE FROM done WHERE sink = ? AND first = ?", (sink, first))
                else:
                    said = sink, first, last
                    self._db.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?)", (*said, tally(*said)))

    # Writing ----------------------------------------------------------------------------------------------------------

    def commit(self, entries: Sequence[Entry], overflow: Mapping[str, Span]) -> list[Record]:
        """Keep entries, in one transaction with what has to go for them; return them once they are on disk.

        Args:
            entries: in order.
            overflow: stream -> what the queue dropped before them.

        Raises:
            sqlite3.Error, OSError: nothing was kept.
        """
        assert self.numbers is not None
        numbers = self.numbers.copy()
        records = numbered(
            numbers, by_pieces(entries), overflow, announce=self._announce, largest=self.room.bounds.largest
        )
        return self._write(numbers, records)

    def adopt(self, volatile: Sequence[Record]) -> list[Record]:
        """Keep records that were shown under another epoch while the disk failed, as they are, in rows of this file."""
        assert self.numbers is not None
        numbers = self.numbers.copy()
        records = [replace(record, row=numbers.next_row + place) for place, record in enumerate(volatile)]
        numbers.next_row += len(records)
        return self._write(numbers, records)

    def trim(self) -> list[Record]:
        """Drop what is older than is kept, a batch; return the events that tell of it."""
        assert self.numbers is not None
        aged = self.room.aged(self._db, self._now_utc_ns() - self.room.bounds.keep_ns)
        return self._write(self.numbers.copy(), [], aged, "older than kept") if aged else []

    def lose(self, rows: Sequence[int]) -> list[Record]:
        """Drop rows that are not what was written; return the events that tell of it."""
        assert self.numbers is not None
        log.error(
            "%s: %d records are not what was written: the disk damaged them. They are dropped.", self.path, len(rows)
        )
        return self._write(self.numbers.copy(), [], named(self._db, rows), "damaged on disk")

    def _write(
        self, numbers: Numbers, records: list[Record], gone: Sequence[Victim] = (), why: str = "journal full"
    ) -> list[Record]:
        """Insert records and delete what is gone, or else what must go for them; tell what of that was waited for."""
        streams = self._streams.copy()
        with self._transaction():
            full, victims, plenty = self.full, list(gone), False
            self._delete(victims)
            if not gone:
                sizes_b = [len(record.payload) for record in records]
                plenty = not full and self.room.has_plenty(sum(sizes_b), len(sizes_b))
                full, victims = (False, []) if plenty else self._make_way(sum(map(weight, sizes_b)))
            gap = self._gap(why, victims)
            records = records + numbers.told(self._told(gap, full), self.room.bounds.largest)
            self._insert(*streams.rows(by_pieces(records), numbers))
            self._store_done(done := self._done_with(victims))
            rows = self.rows + len(records) - len(victims)
            self._db.execute("UPDATE journal SET next_row = ?, rows = ?", (numbers.next_row, rows))
            used = self.used if plenty else sizes(self._db)[1]
        self._top.note(numbers.epoch, numbers.next_row)  # behind the commit nothing else may fail: it counts as undone
        self.numbers, self._streams, self.rows, self.full, self.done = numbers, streams, rows, full, done
        self.used = used
        for rows_done in done.values():
            rows_done.changed.clear()
        if gap.count:
            self.lost[why] = self.lost.get(why, 0) + gap.count
        return records

    def _make_way(self, need: int) -> tuple[bool, list[Victim]]:
        """Delete what must go for `need` bytes; pages become free only when all their rows are gone, so look again."""
        full, victims = self.full, []
        for _ in range(ROUNDS):
            full, more = self.room.victims(self._db, self.done.values(), self.head, need, full)
            if not more:
                break
            self._delete(more)
            victims += more
        return full, victims

    def _gap(self, why: str, victims: Sequence[Victim]) -> Gap:
        names = self._streams.names() if victims else {}
        return undelivered(why, victims, self.done.values(), names, self.room.bounds.streams_named)

    def _delete(self, victims: Sequence[Victim]) -> None:
        if victims:
            self._db.executemany("DELETE FROM record WHERE row = ?", [(victim.row,) for victim in victims])

    def _told(self, gap: Gap, full: bool) -> list[Entry]:
        told = [self._announce(Event.GAP, details) for details in gap.details()]
        if full != self.full:
            told.append(self._announce(Event.JOURNAL, {"state": "full" if full else "room"}))
        return told

    def _done_with(self, victims: Sequence[Victim]) -> dict[str, RowSet]:
        """Return what each sink is done with once these are gone; a kill must not leave rows that are waited for."""
        rows = [victim.row for victim in victims]
        return {sink: done.with_all(rows) for sink, done in self.done.items()} if rows else self.done

    def _insert(self, records: Sequence[Values], streams: Sequence[Values]) -> None:
        insert_many(
            self._db,
            "INSERT INTO stream VALUES {} "
            "ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq, sum = excluded.sum",
            streams,
        )
        insert_many(self._db, "INSERT INTO record VALUES {}", records)

    # Looking after ----------------------------------------------------------------------------------------------------

    def look_after(self) -> None:
        """Hold the ballast, and see that the file is still there.

        Raises:
            OSError: somebody took the file away.
            sqlite3.Error: the disk.
        """
        if self.path.stat().st_ino != self._inode:
            raise FileNotFoundError(f"{self.path} is another file now")
        self.room.keep_ballast()
        self.room.look_again()
        _, self.used = sizes(self._db)
        self.oldest_t_ns = self._db.execute("SELECT min(t_ns) FROM record").fetchone()[0]

    def make_room(self) -> None:
        """Give up the ballast and make the next transaction drop more than it writes."""
        self.room.press(self._db)

    def export(
        self, since_ns: int, until_ns: int, streams: Sequence[str] | None, after: tuple[int, int] | None, limit: int
    ) -> Page:
        """Return one page of records, see `export_page`."""
        return export_page(self._db, since_ns, until_ns, streams, after, limit)

    def last_slots(self, polls: Iterable[str], until_mono_ns: int) -> dict[str, int]:
        """Return the last slots that the file speaks for, see `last_slots`."""
        return last_slots(self._db, polls, until_mono_ns)

    def info(self) -> dict[str, object]:
        """Return what the file holds, see `describe`."""
        return describe(self._db, self.path)

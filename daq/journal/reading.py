"""What may be asked of a journal: pages of records in order of time, and what it holds. Changes nothing.

running: control -> Journal.export -> its thread -> export_page          idle: cli -> open_idle -> export_page
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from daq.core.errors import ConfigError
from daq.core.message import utc_ns
from daq.core.numbering import RowSet
from daq.core.record import Record
from daq.journal.lock import StateLock
from daq.journal.schema import INFO, RECORDS, record_of, refuse_foreign, text_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an export.

    Args:
        records: in order of time; may be empty though more follow.
        after: pass it to get the next page; None at the end.
    """

    records: list[Record]
    after: tuple[int, int] | None


def export_page(
    db: sqlite3.Connection,
    since_ns: int,
    until_ns: int,
    streams: Sequence[str] | None,
    after: tuple[int, int] | None,
    limit: int,
) -> Page:
    """Read records in order of their time.

    The first page opens with the information that was in force when the time begins.

    Args:
        db: the file.
        since_ns: UTC ns, included.
        until_ns: UTC ns, excluded.
        streams: names, or names of instruments for all theirs; None for all. Information always comes along.
        after: what the page before said; None for the first.
        limit: records to look at; as many or fewer are returned.
    """
    rows = db.execute(
        f"{RECORDS} WHERE (t_ns, row) > (?, ?) AND t_ns < ? ORDER BY t_ns, row LIMIT ?",
        (*(after or (since_ns, -1)), until_ns, limit),
    ).fetchall()
    records = [] if after else _in_force(db, since_ns)
    for row in rows:
        record = record_of(row)
        if record is None:
            log.error("record %d is not what was written: the disk damaged it; it is left out", row[0])
        else:
            records.append(record)
    last = (rows[-1][5], rows[-1][0]) if len(rows) == limit else None
    return Page([record for record in records if _wanted(record, streams)], last)


def last_slots(db: sqlite3.Connection, polls: Iterable[str], until_mono_ns: int) -> dict[str, int]:
    """Return the last slot, UTC ns, that the journal speaks for, of each poll that it knows.

    Args:
        db: the file.
        polls: `instrument/poll`; what sends unasked has no slots and is not found.
        until_mono_ns: when to stop looking back, which costs nothing for polls that were told of lately.
    """
    asked = set(polls)
    names = {number: name for number, name in db.execute("SELECT id, name FROM stream") if name in asked}
    wanted, found = set(names.values()), dict[str, int]()
    for row, stream in db.execute("SELECT row, stream FROM record ORDER BY row DESC"):
        if not wanted or time.monotonic_ns() > until_mono_ns:
            break
        name = names.get(stream, "")
        if name in wanted:
            record = record_of(db.execute(f"{RECORDS} WHERE row = ?", (row,)).fetchone())
            if record is None:
                continue
            wanted.remove(name)
            told = json.loads(record.payload)
            slot = told.get("slots", {}).get("last", told["due"])
            if slot is not None:
                found[name] = utc_ns(slot)
    return found


def _in_force(db: sqlite3.Connection, t_ns: int) -> list[Record]:
    """Return the last information of each instrument from before an instant."""
    found: dict[str, Record] = {}
    names = [name for (name,) in db.execute("SELECT DISTINCT name FROM stream WHERE name NOT LIKE '%/%'")]
    for name in names:
        row = db.execute(
            f"{RECORDS} WHERE record.kind = {INFO} AND name = ? AND t_ns < ? ORDER BY row DESC LIMIT 1", (name, t_ns)
        ).fetchone()
        record = None if row is None else record_of(row)
        if record is not None:
            found[name] = record
    return sorted(found.values(), key=lambda record: record.row)


def _wanted(record: Record, streams: Sequence[str] | None) -> bool:
    if streams is None:
        return True
    instrument = record.stream.partition("/")[0]
    if record.kind == "info":
        return any(stream.partition("/")[0] == instrument for stream in streams)
    return record.stream in streams or instrument in streams


def describe(db: sqlite3.Connection, path: Path) -> dict[str, object]:
    """Return what a journal holds: JSON's own types; times in UTC ns, None where there are no records."""
    epoch, created_ns, next_row, rows = db.execute("SELECT epoch, created_ns, next_row, rows FROM journal").fetchone()
    oldest = db.execute("SELECT min(t_ns) FROM record").fetchone()[0]
    newest = db.execute("SELECT max(t_ns) FROM record").fetchone()[0]
    sinks: dict[str, RowSet] = {}
    for sink, first, last in db.execute("SELECT sink, first, last FROM done"):
        sinks.setdefault(sink, RowSet()).add(first, last)
    return {
        "path": str(path),
        "epoch": epoch,
        "created_ns": created_ns,
        "rows": rows,
        "bytes": path.stat().st_size,
        "oldest_t_ns": oldest,
        "newest_t_ns": newest,
        "streams": {
            name: next_seq - 1
            for name, next_seq in db.execute("SELECT name, next_seq FROM stream WHERE epoch = ?", (epoch,))
        },
        "backlog": {sink: done.missing(0, next_row - 1) for sink, done in sinks.items()},
    }


class IdleJournal:
    """A journal nobody writes: read it, change nothing.

    Args:
        db: a read-only connection.
        path: the file.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def export(
        self,
        since_ns: int = 0,
        until_ns: int = 2**63 - 1,
        streams: Sequence[str] | None = None,
        after: tuple[int, int] | None = None,
        limit: int = 1000,
    ) -> Page:
        """Return one page of records, see `export_page`."""
        return export_page(self._db, since_ns, until_ns, streams, after, limit)

    def info(self) -> dict[str, object]:
        """Return what the file holds, see `describe`."""
        return describe(self._db, self._path)


@contextlib.contextmanager
def open_idle(path: Path) -> Iterator[IdleJournal]:
    """Open a journal that no daemon has, under its lock, so that no daemon starts meanwhile.

    Raises:
        ConfigError: there is none, it is not ours, damaged, or a daemon has it: ask that one.
    """
    if not path.is_file():
        raise ConfigError([f"{path}: no journal here."])
    lock = StateLock(path.parent, shared=True)
    wal = path.with_name(f"{path.name}-wal")
    clean = not wal.exists() or wal.stat().st_size == 0
    mode = "immutable=1" if clean else "mode=ro"  # a clean one needs no right to write beside it
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, isolation_level=None)
        db.text_factory = text_of
        with contextlib.closing(db):
            refuse_foreign(db, path)
            yield IdleJournal(db, path)
    except sqlite3.DatabaseError as error:
        raise ConfigError([f"{path}: cannot be read: {error}."]) from error
    finally:
        lock.release()

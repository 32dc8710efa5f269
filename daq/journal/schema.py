"""The tables of the journal, and whether a file holds them. No transactions here, and no counters."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

from daq.core.errors import ConfigError
from daq.core.record import Record, RecordKind

VERSION = 2  # 2: what counts has a checksum
APPLICATION_ID = 0x62444151  # "bDAQ", so that no other program's file is taken for ours

PAGE = 4096
CHECKED = 32 << 20  # bytes: quick_check goes through all of a file, in minutes where it is large, and cannot be stopped

KINDS: tuple[RecordKind, ...] = ("obs", "event", "info")
NUMBER_OF = {kind: number for number, kind in enumerate(KINDS)}
INFO, EVENT = NUMBER_OF["info"], NUMBER_OF["event"]

SCHEMA = f"""
BEGIN;
CREATE TABLE journal (epoch TEXT NOT NULL, created_ns INTEGER NOT NULL, next_row INTEGER NOT NULL,
                      rows INTEGER NOT NULL);
CREATE TABLE stream (id INTEGER PRIMARY KEY, epoch TEXT NOT NULL, name TEXT NOT NULL, next_seq INTEGER NOT NULL,
                     sum INTEGER NOT NULL, UNIQUE (epoch, name));
CREATE TABLE record (row INTEGER PRIMARY KEY, kind INTEGER NOT NULL, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
                     t_ns INTEGER NOT NULL, payload BLOB NOT NULL, sum INTEGER NOT NULL);
CREATE INDEX record_t ON record (t_ns);
CREATE INDEX record_info ON record (stream) WHERE kind = {INFO};
CREATE TABLE done (sink TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, sum INTEGER NOT NULL,
                   PRIMARY KEY (sink, first)) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

COLUMNS = "row, kind, epoch, name, seq, t_ns, payload, record.sum"
RECORDS = f"SELECT {COLUMNS} FROM record LEFT JOIN stream ON stream.id = record.stream"  # noqa: S608
Row = Sequence[Any]
"""COLUMNS, of whatever types a damaged file gives them."""

BY_INFO = RECORDS.replace("FROM record", "FROM record INDEXED BY record_info")
"""The same where kind is INFO: few rows among millions, found by their own index alone."""


ROWS_AT_ONCE = 64
"""Rows a statement inserts, at most. Of fewer it inserts a multiple of ROWS_LEFT, and what is left then."""

ROWS_LEFT = 8
"""So that few statements do for any number of rows: to compile one for thirty rows takes as long as to insert fifteen.

By powers of two they would be fewer, and a batch many more of them.
"""

STATEMENTS = 48
"""Compiled and kept, the least used going first: those that insert into two tables, 15 each, and all others."""


def insert_many(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, many a statement.

    At every step of SQLite the thread lets go of the interpreter, and from a busy event loop it comes back only after
    the switch interval. A step a row (executemany) bounds a busy station to some hundred records a second.

    Args:
        db: in a transaction.
        statement: with {} where the rows go.
        rows: all of one length.
    """
    begin, left = 0, len(rows)
    while left:
        count = ROWS_AT_ONCE if left >= ROWS_AT_ONCE else left - left % ROWS_LEFT or left
        some = rows[begin : begin + count]
        db.execute(_for_rows(statement, count, len(some[0])), list(chain.from_iterable(some)))
        begin, left = begin + count, left - count


@cache
def _for_rows(statement: str, rows: int, columns: int) -> str:
    return statement.format(",".join([f"({','.join('?' * columns)})"] * rows))


def text_of(stored: bytes) -> str:
    """Read text of a file that may be damaged: what is UTF-8 no more is not what was written, as its sum or name tells.

    sqlite3's own way fails the statement, and says of neither the file nor the row that it is damaged.
    """
    return stored.decode("utf-8", "replace")


def is_corrupt(error: Exception) -> bool:
    """Say whether SQLite found the file itself damaged."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_full(error: Exception) -> bool:
    """Say whether SQLite found no room."""
    return _code(error) == sqlite3.SQLITE_FULL


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def checksum(kind: int, epoch: str, stream: str, seq: int, t_ns: int, payload: bytes) -> int:
    """Return the CRC-32 of all that a record says: SQLite looks after its pages' order, not after what is in them."""
    return crc32(payload, crc32(f"{kind} {epoch} {stream} {seq} {t_ns}".encode()))


def tally(*counted: object) -> int:
    """Return the CRC-32 of a row of counters: one that the disk changed would number twice, or deliver never."""
    return crc32(repr(counted).encode())


def record_of(row: Row) -> Record | None:
    """Turn a row of RECORDS into a record; None where it is not what was written: the disk changed a digit."""
    number, *said, written = row
    try:
        if checksum(*said) != written:
            return None
    except TypeError:  # a damaged type: text or nothing where bytes were
        return None
    kind, epoch, stream, seq, t_ns, payload = said
    return Record(number, KINDS[kind], stream, epoch, seq, t_ns, payload)


def refuse_foreign(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file of another program or of a newer version of this one; an empty one is welcome."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and owner != APPLICATION_ID:
        raise ConfigError([f"{path}: a database of another program. Move it away, or name another state directory."])
    if tables and version < VERSION:
        older = f"{path}: written by an older version (format {version}, this one knows {VERSION})."
        raise ConfigError([f"{older} Export it with that version, then move the file away: a new one is begun."])
    if version > VERSION:
        newer = f"{path}: written by a newer version (format {version}, this one knows {VERSION})."
        raise ConfigError([f"{newer} Install that version again, or move the file away: a new one is begun."])


_LAYOUT = """
SELECT each.type, each.name, tbl_name, field.name, field.type, pk FROM sqlite_schema AS each
LEFT JOIN pragma_table_info(each.name) AS field ON each.type = 'table' ORDER BY each.name, cid
"""
"""Tables, indices and columns by their names: what SQLite itself takes as it stands."""


@cache
def _wanted_layout() -> list[Row]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        fresh.executescript(f"{SCHEMA}COMMIT;")
        return list(fresh.execute(_LAYOUT))


def check(db: sqlite3.Connection) -> None:
    """Look for damage in a file that is not large; in a large one it is found where it is read, by sums and by SQLite.

    Names are looked at in any: of a column called otherwise SQLite says that the question is wrong, not the file.

    Raises:
        sqlite3.DatabaseError: damage was found.
    """
    layout = list(db.execute(_LAYOUT))
    if layout and layout != _wanted_layout():
        raise _damage("its tables are not called what they were")
    if db.execute("PRAGMA page_count").fetchone()[0] * PAGE > CHECKED:
        return
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _damage(verdict)


def _damage(what: str) -> sqlite3.DatabaseError:
    damage = sqlite3.DatabaseError(what)
    damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return damage

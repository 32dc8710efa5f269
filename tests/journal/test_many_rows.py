"""Many rows a statement: every row, whatever their number, once and in order."""

from __future__ import annotations

import ctypes
import ctypes.util
import sqlite3
import time
from functools import partial

import pytest

from daq.core.record import Entry
from daq.journal.file import JournalFile
from daq.journal.schema import ROWS_AT_ONCE, ROWS_LEFT, STATEMENTS, insert_many
from daq.journal.trimming import Bounds

SQLITE = ctypes.util.find_library("sqlite3")

MUCH = 2 << 20
"""Bytes that SQLite may hold for a file of some pages; with a statement kept for every number of rows it was 3.2 MB."""


@pytest.mark.parametrize("count", [0, 1, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 149, 1000])
def test_every_row_is_inserted_once_and_in_order(count):
    rows = [(number, f"text {number}", b"\x00" * number) for number in range(count)]
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, text TEXT, data BLOB)")
    insert_many(db, "INSERT INTO kept VALUES {}", rows)
    found = db.execute("SELECT * FROM kept ORDER BY rowid").fetchall()
    db.close()
    assert found == rows


def test_what_is_there_already_can_be_renewed():
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, text TEXT)")
    for text in ("old", "new"):
        statement = "INSERT INTO kept VALUES {} ON CONFLICT (number) DO UPDATE SET text = excluded.text"
        insert_many(db, statement, [(number, text) for number in range(70)])
    found = db.execute("SELECT DISTINCT text, count(*) FROM kept").fetchall()
    db.close()
    assert found == [("new", 70)]


def test_few_statements_do_for_any_number_of_rows():
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE kept (number INTEGER)")
    said = set()
    inserting = Listening(db, said)
    for count in range(200):
        insert_many(inserting, "INSERT INTO kept VALUES {}", [(number,) for number in range(count)])
    db.close()
    assert len(said) == ROWS_LEFT - 1 + ROWS_AT_ONCE // ROWS_LEFT
    assert 2 * len(said) < STATEMENTS, "two tables, and all else that is said to SQLite"


class Listening:
    """A connection, and the statements it was given."""

    def __init__(self, db, said):
        self._db = db
        self._said = said

    def execute(self, statement, values):
        self._said.add(statement)
        return self._db.execute(statement, values)


@pytest.mark.skipif(SQLITE is None, reason="no shared SQLite that could be asked what it holds")
def test_statements_for_every_number_of_rows_do_not_gather_in_memory(tmp_path):
    sqlite = ctypes.CDLL(SQLITE)
    sqlite.sqlite3_memory_used.restype = ctypes.c_int64
    bounds, announce = Bounds(1 << 30, 10**18), partial(Entry, "event", "", 0)
    file = JournalFile(tmp_path / "journal.sqlite", bounds, announce, time.time_ns)
    file.connect()
    if not sqlite.sqlite3_memory_used():
        pytest.skip("Python has a SQLite of its own, which this test cannot ask")
    for count in range(1, ROWS_AT_ONCE + 1):
        file.commit([Entry("obs", f"dmm{n}/vref", 1, lambda *_: b"{}") for n in range(count)], {})
    used = sqlite.sqlite3_memory_used()
    file.close()
    assert used < MUCH

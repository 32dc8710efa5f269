"""Many rows a statement: every row, whatever their number, once and in order."""

from __future__ import annotations

import sqlite3

import pytest

from daq.journal.schema import insert_many


@pytest.mark.parametrize("count", [0, 1, 3, 4, 15, 16, 17, 63, 64, 65, 149, 1000])
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


def test_few_statements_serve_every_number_of_rows():
    said = set()

    class Watched(sqlite3.Connection):
        def execute(self, statement, *values):
            said.add(statement)
            return super().execute(statement, *values)

    db = sqlite3.connect(":memory:", isolation_level=None, factory=Watched)
    db.execute("CREATE TABLE kept (number INTEGER)")
    said.clear()
    for count in range(200):
        insert_many(db, "INSERT INTO kept VALUES {}", [(number,) for number in range(count)])
    assert db.execute("SELECT count(*) FROM kept").fetchone() == (sum(range(200)),)
    db.close()
    inserts = [statement for statement in said if statement.startswith("INSERT")]
    assert len(inserts) <= 8, "each is compiled and kept: memory grew with their number"

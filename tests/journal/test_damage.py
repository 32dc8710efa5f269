"""Files that are damaged, newer, foreign or not ours to write."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from daq.core.errors import ConfigError
from daq.journal import open_idle


def add(journal, bench, count):
    for _ in range(count):
        journal.append(bench.entry(size=1000))


def stored(path):
    with open_idle(path) as idle:
        return idle.export(limit=100_000).records


async def written(bench, count=300):
    async with bench.running() as journal:
        add(journal, bench, count)
        await journal.flush()
        return journal.health.epoch


def spoil(path, begin=4096 * 3):
    """Overwrite most of a file with what is no database; its first pages stay."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(os.urandom(size - begin))


@pytest.mark.parametrize("begin", [0, 4096 * 3])
async def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(bench, events, begin):
    epoch = await written(bench)
    spoil(bench.path, begin)
    damaged = bench.path.read_bytes()
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        add(journal, bench, 1)
        (record,) = await feed.live(1)
        assert record.epoch == journal.health.epoch != epoch
    (aside,) = bench.path.parent.glob("journal.db.corrupt-*")
    assert aside.name == "journal.db.corrupt-20261122T120000Z"
    assert aside.read_bytes() == damaged
    (told,) = events(stored(bench.path))
    assert (told["state"], told["damaged"]) == ("begun_anew", aside.name)


@pytest.mark.parametrize("bit", [2, 128])  # with the latter it is no UTF-8 any more
@pytest.mark.parametrize("name", [b" last INTEGER", b"TABLE done", b"INDEX record_t ", b"INTE"])
async def test_a_file_whose_tables_have_other_names_is_damaged(bench, name, bit):
    epoch = await written(bench)
    raw = bytearray(bench.path.read_bytes())
    at = raw.index(name) + len(name.rstrip().split(b" INTEGER")[0]) - 1
    raw[at] ^= bit  # of the last letter of the name
    bench.path.write_bytes(raw)
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        add(journal, bench, 1)
        (record,) = await feed.live(1)
        assert record.epoch != epoch
    assert list(bench.path.parent.glob("journal.db.corrupt-*"))


async def test_two_damaged_files_both_stay(bench):
    for _ in range(2):
        await written(bench)
        spoil(bench.path)
    await written(bench)
    assert len(list(bench.path.parent.glob("journal.db.corrupt-*"))) == 2


async def test_damage_found_while_running_loses_nothing_that_comes_after(bench, read, events):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        epoch = journal.health.epoch
        add(journal, bench, 300)
        await journal.flush()
        await journal._ask(lambda: journal._file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        spoil(bench.path)
        await journal._ask(lambda: journal._file._db.execute("PRAGMA shrink_memory").fetchall())
        shown = []
        add(journal, bench, 300)
        while len(shown) < 600 or read(shown[-1]).get("n") != 600:
            shown += await feed.live(100)
        assert journal.health.epoch != epoch
        assert journal.health.state == "ok"
    observed = [record for record in shown if record.kind == "obs"]
    assert [read(record)["n"] for record in observed] == list(range(1, 601))
    assert [event["state"] for event in events(shown)] == ["begun_anew"]
    rows = [record.row for record in shown]
    assert rows == sorted(set(rows))
    ids = {(record.epoch, record.stream, record.seq) for record in shown}
    assert len(ids) == len(shown)


async def test_a_newer_version_is_refused_and_left_as_it_is(bench):
    await written(bench)
    with contextlib.closing(sqlite3.connect(bench.path)) as db:
        db.execute("PRAGMA user_version = 3")
    before = bench.path.read_bytes()
    with pytest.raises(ConfigError, match=r"written by a newer version \(format 3, this one knows 2\). Install"):
        await bench.journal().open()
    assert bench.path.read_bytes() == before


async def test_an_older_version_is_refused_and_left_as_it_is(bench):
    await written(bench)
    with contextlib.closing(sqlite3.connect(bench.path)) as db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(ConfigError, match=r"older version \(format 1, this one knows 2\). Export it with that version"):
        await bench.journal().open()


def change(path, column, value, n=7):
    """Do to the n-th observation what a disk may do that keeps SQLite's own order."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        row, was = db.execute(f"SELECT row, {column} FROM record WHERE seq = ?", (n,)).fetchone()
        db.execute(f"UPDATE record SET {column} = ? WHERE row = ?", (value(was), row))
        return row


def flip(payload):
    digit = payload.index(b'"n":') + 5
    return payload[:digit] + bytes([payload[digit] ^ 1]) + payload[digit + 1 :]


DAMAGES = {
    "a digit": ("payload", flip),
    "no payload": ("payload", lambda _: "text"),
    "a number": ("seq", lambda seq: seq ^ 64),
    "a time": ("t_ns", lambda t_ns: t_ns ^ (1 << 40)),
    "a stream that is none": ("stream", lambda _: 99),
    "the kind": ("kind", lambda kind: kind ^ 1),
    "its checksum": ("sum", lambda sum_: sum_ ^ 1),
}


@pytest.mark.parametrize(("column", "value"), DAMAGES.values(), ids=DAMAGES)
async def test_a_record_that_is_not_what_was_written_is_lost_by_name_and_not_delivered(
    bench, read, events, column, value
):
    async with bench.running() as journal:
        await journal.feed("mqtt")
        add(journal, bench, 20)
        await journal.flush()
    change(bench.path, column, value)
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        delivered = await feed.backlog(0, 100)
        (gap,) = await feed.live(1)
        assert await feed.backlog(max(record.row for record in delivered), 100) == []
        assert journal.health.lost == {"damaged on disk": 1}
        await feed.done([record.row for record in [*delivered, gap]])
    async with bench.running() as journal:
        assert await (await journal.feed("mqtt")).backlog(0, 100) == []
    assert [read(record)["n"] for record in delivered] == [n for n in range(1, 21) if n != 7]
    told = read(gap)["details"]
    assert (told["why"], told["count"]) == ("damaged on disk", 1)


@pytest.mark.parametrize(("column", "value"), DAMAGES.values(), ids=DAMAGES)
async def test_an_export_leaves_out_what_was_damaged_and_says_so(bench, read, caplog, column, value):
    async with bench.running() as journal:
        add(journal, bench, 20)
        await journal.flush()
    row = change(bench.path, column, value)
    exported = [read(record).get("n") for record in stored(bench.path)]
    assert exported == [n for n in range(1, 21) if n != 7]
    assert f"record {row} is not what was written" in caplog.text


def alter(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        assert db.execute(statement).rowcount


async def test_a_stream_whose_next_number_was_damaged_begins_a_new_epoch(bench, events):
    epoch = await written(bench)
    alter(bench.path, "UPDATE stream SET next_seq = next_seq - 256")
    async with bench.running() as journal:
        assert journal.health.epoch != epoch
        add(journal, bench, 20)
        await journal.flush()
    records = stored(bench.path)
    assert len({(record.epoch, record.stream, record.seq) for record in records}) == len(records) == 321
    (told,) = events(records)
    assert told["why"] == "the numbers of a stream are not what was written"


async def test_a_stream_whose_name_is_no_text_any_more_costs_its_own_records_alone(bench, events):
    epoch = await written(bench)
    alter(bench.path, "UPDATE stream SET name = CAST(x'646dedb1' AS TEXT)")
    async with bench.running() as journal:
        assert journal.health.epoch != epoch
        feed = await journal.feed("mqtt")
        add(journal, bench, 20)
        assert len(await feed.live(100)) > 0
        await journal.flush()
        assert journal.health.state == "ok"
    records = stored(bench.path)
    assert len([record for record in records if record.kind == "obs"]) == 20
    assert "the numbers of a stream are not what was written" in {told.get("why") for told in events(records)}
    assert not list(bench.path.parent.glob("journal.db.corrupt-*"))


@pytest.mark.parametrize("change", ["last = last + 16", "sink = 'mqtu'", "first = 5", "sum = 0"])
async def test_what_is_said_to_be_delivered_and_was_damaged_is_delivered_again(bench, read, change):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        add(journal, bench, 20)
        await feed.done([record.row for record in await feed.live(5)])
        await journal.flush()
    alter(bench.path, f"UPDATE done SET {change}")
    async with bench.running() as journal:
        owed = await (await journal.feed("mqtt")).backlog(0, 100)
    assert {read(record)["n"] for record in owed} >= set(range(6, 21))


async def test_a_database_of_another_program_is_refused(bench):
    bench.path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(bench.path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ConfigError, match="another program"):
        await bench.journal().open()


async def test_a_refused_journal_lets_go_of_its_lock(bench):
    await written(bench)
    with contextlib.closing(sqlite3.connect(bench.path)) as db:
        db.execute("PRAGMA user_version = 3")
    with pytest.raises(ConfigError):
        await bench.journal().open()
    bench.path.unlink()
    await written(bench)


async def test_an_empty_file_is_a_new_journal(bench):
    bench.path.parent.mkdir()
    bench.path.touch()
    await written(bench)
    assert len(stored(bench.path)) == 300


AS_SOMEBODY = """
import asyncio, os, sys
from pathlib import Path
from daq.core.errors import ConfigError
from daq.journal import Journal
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
journal = Journal(Path(sys.argv[1]), max_bytes=1 << 20, keep_ns=1, announce=lambda *_: None, now_utc_ns=lambda: 0)
try:
    asyncio.run(journal.open())
except ConfigError as error:
    print(error)
"""


def as_somebody(path):
    """Try to open the journal as a user to whom nothing belongs, or as ourselves where we are not root."""
    command = [sys.executable, "-c", AS_SOMEBODY, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture
def open_folder():
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def test_a_file_that_is_not_ours_to_write_is_told_at_the_start(bench, open_folder):
    bench.path = open_folder / "state" / "journal.db"
    await written(bench)
    bench.path.parent.chmod(0o777)
    bench.path.with_name("lock").chmod(0o666)
    bench.path.chmod(0o444)
    assert "journal.db: may not be written by uid" in as_somebody(bench.path)
    bench.path.chmod(0o666)
    assert "journal.top: may not be written by uid" in as_somebody(bench.path)
    bench.path.with_name("lock").unlink()
    bench.path.parent.chmod(0o555)
    assert "state/lock: Permission denied. The journal needs a directory it may write." in as_somebody(bench.path)
    bench.path.parent.chmod(0o755)


async def test_an_idle_journal_is_read_and_not_changed(bench):
    await written(bench)
    before = {path.name: path.read_bytes() for path in bench.path.parent.iterdir()}
    with open_idle(bench.path) as idle:
        info = idle.info()
        assert len(idle.export().records) == 300
    assert (info["rows"], info["backlog"], info["streams"]) == (300, {"mqtt": 300}, {"dmm1/v": 300})
    assert {path.name: path.read_bytes() for path in bench.path.parent.iterdir()} == before
    json.dumps(info)


def test_where_there_is_no_journal_it_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no journal here"), open_idle(tmp_path / "journal.db"):
        pass


async def test_a_damaged_journal_cannot_be_read_idle(bench):
    await written(bench)
    spoil(bench.path, 0)
    with pytest.raises(ConfigError, match="cannot be read"), open_idle(bench.path):
        pass

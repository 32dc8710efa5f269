"""The file comes back older than it was: numbers that were used and are forgotten begin again in a new epoch."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daq.journal import open_idle

CHILD = Path(__file__).with_name("crashing.py")
PAGE = 4096


@pytest.fixture
def path(bench):
    return bench.path


@pytest.fixture
def top(path):
    return path.with_name("journal.top")


async def run(bench, count=20):
    """Append to the journal, and return what a sink saw live and what the file told in events, and the epoch."""
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        for _ in range(count):
            journal.append(bench.entry())
        shown = []
        while sum(record.kind == "obs" for record in shown) < count:
            shown += await feed.live(100)
        return shown, journal.health.epoch


def told(path, events):
    with open_idle(path) as idle:
        return [event for event in events(idle.export(limit=10**6).records) if event.get("state") == "epoch"]


def change(top, **what):
    top.write_text(json.dumps(json.loads(top.read_text()) | what))


def ids(records):
    return {(record.epoch, record.stream, record.seq) for record in records}


async def test_a_folder_put_back_from_a_copy_goes_on_in_a_new_epoch(bench, path, events, tmp_path):
    await run(bench)
    shutil.copytree(path.parent, tmp_path / "copy")
    later, before = await run(bench)
    shutil.rmtree(path.parent)
    shutil.move(tmp_path / "copy", path.parent)
    again, epoch = await run(bench)
    assert epoch != before
    assert not ids(later) & ids(again)
    assert [record.seq for record in again if record.kind == "obs"] == list(range(1, 21))
    (event,) = told(path, events)
    assert event == {
        "event": "journal",
        "state": "epoch",
        "why": "the file is another one than was left",
        "epoch": epoch,
    }


async def test_what_was_not_delivered_keeps_the_epoch_it_was_written_in(bench, path, top):
    kept, before = await run(bench)
    top.unlink()
    async with bench.running() as journal:
        assert journal.health.epoch != before
        feed = await journal.feed("mqtt")
        assert await feed.backlog(0, 20) == kept


async def test_the_file_alone_put_back_over_the_newer_one(bench, path, events, tmp_path):
    await run(bench)
    shutil.copy2(path, tmp_path / "copy")
    later, _ = await run(bench)
    shutil.copy2(tmp_path / "copy", path)  # into the same inode
    again, _ = await run(bench)
    assert not ids(later) & ids(again)
    (event,) = told(path, events)
    assert event["why"] == "the file ends at row 20, and row 40 was in use"


async def test_all_files_put_back_in_place(bench, path, top, events):
    """Their inodes stay; what the top says was written at another time than it was."""
    await run(bench)
    change(top, written_ns=json.loads(top.read_text())["written_ns"] - 60 * 10**9)
    _, before = await run(bench)
    (event,) = told(path, events)
    assert event["why"] == "journal.top was put there by somebody else"
    _, after = await run(bench)
    assert after == before


@pytest.mark.parametrize("damage", ["cut", "spoilt", "gone"])
def test_a_log_that_lost_its_end_after_a_kill(tmp_path, damage):
    seen = []
    for _ in range(3):
        with subprocess.Popen([sys.executable, str(CHILD), str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
            lines = [child.stdout.readline() for _ in range(200)]
            child.kill()
            lines += child.stdout.readlines()
            child.wait(30)
        seen += [tuple(line.split()[:3]) for line in lines if line.endswith("\n")]
        spoil(tmp_path / "journal.db-wal", damage)
    assert len(set(seen)) == len(seen)
    assert len({epoch for epoch, *_ in seen}) == 3


def spoil(log, damage):
    """All but its begin: where the newest ends in a log that was begun again is not to be seen."""
    if damage == "gone":
        log.unlink()
    elif damage == "cut":
        os.truncate(log, PAGE)
    else:
        size = log.stat().st_size
        with log.open("r+b") as file:
            file.seek(PAGE)
            file.write(random.randbytes(size - PAGE))


async def test_a_power_cut_begins_a_new_epoch(bench, path, top, events):
    _, before = await run(bench)
    change(top, boot="of another day", clean=False)
    _, epoch = await run(bench)
    assert epoch != before
    (event,) = told(path, events)
    assert event["why"] == "the machine went down while the journal was open"


async def test_a_new_boot_after_a_clean_end_goes_on(bench, top):
    _, before = await run(bench)
    change(top, boot="of another day")
    assert (await run(bench))[1] == before


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{", '{"epoch": 1}'])
async def test_a_top_that_says_nothing_excludes_nothing(bench, path, top, events, text):
    _, before = await run(bench)
    top.write_text(text)
    _, epoch = await run(bench)
    assert epoch != before
    assert [event["why"] for event in told(path, events)] == ["journal.top is missing or unreadable"]


async def test_a_top_of_another_epoch(bench, path, top, events):
    await run(bench)
    change(top, epoch="0123456789")
    await run(bench)
    assert [event["why"] for event in told(path, events)] == ["the file is of another epoch than was left"]


async def test_a_file_that_was_taken_away_meanwhile_is_told(bench, path, events):
    await run(bench)
    path.unlink()
    _, epoch = await run(bench)
    why = "the file is gone or empty, and row 20 was in use"
    assert told(path, events) == [{"event": "journal", "state": "epoch", "why": why, "epoch": epoch}]


async def test_a_file_exchanged_while_running_for_its_older_self(bench, path, events, tmp_path, until):
    """What feeds hold of rows stays true: rows go on growing."""
    await run(bench)
    shutil.copytree(path.parent, tmp_path / "copy")
    path.with_name("journal.top").unlink()
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        before = journal.health.epoch
        for _ in range(10):
            journal.append(bench.entry())
        await journal.flush()
        for suffix in ("-wal", "-shm", ""):
            path.with_name(f"journal.db{suffix}").unlink(missing_ok=True)
        shutil.copy2(tmp_path / "copy" / "journal.db", path)
        await until(lambda: journal.health.state == "ok" and journal.health.epoch not in (None, before))
        journal.append(bench.entry())
        await journal.flush()
        shown = []
        while not shown or shown[-1].kind != "obs" or shown[-1].epoch != journal.health.epoch:
            shown += await feed.live(100)
        rows = [record.row for record in shown if record.row > 0]
        assert rows == sorted(set(rows))
        assert len(ids(shown)) == len(shown)
        backlog = await journal._ask(lambda: journal._file.backlog("mqtt"))
        stored = await journal._ask(lambda: len(journal._file.undone("mqtt", 0, 10**9, 10**6)[0]))
        assert backlog == stored

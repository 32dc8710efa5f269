"""A disk that fails, and one that is full: records go on, say that they are not durable, and come back to the file."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daq.core.record import Entry
from daq.journal import open_idle
from daq.journal.file import JournalFile

LONG_S = 30.0


async def take(feed, count):
    records = []
    async with asyncio.timeout(LONG_S):
        while len(records) < count:
            records += await feed.live(50)
    return records


def add(journal, bench, count, **what):
    for _ in range(count):
        journal.append(bench.entry(size=1000, **what))


def stored(bench):
    with open_idle(bench.path) as idle:
        return idle.export(limit=100_000).records


async def test_records_go_on_while_the_disk_fails_and_say_so(bench, read, events, failing_disk, until):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        add(journal, bench, 5)
        durable = await take(feed, 5)
        with failing_disk():
            add(journal, bench, 20)
            volatile = await take(feed, 21)
            health = journal.health
        await until(lambda: journal.health.state == "ok")
        add(journal, bench, 5)
        after = await take(feed, 6)
    assert [read(record)["durable"] for record in volatile] == [False] * 21
    assert all(record.row < 0 for record in volatile)
    assert (health.state, health.since_utc_ns) == ("failing", bench.now_ns)
    assert "disk" in health.reason
    assert [event["state"] for event in events(volatile)] == ["failing"]
    assert [event["state"] for event in events(after)] == ["restored"]
    assert {record.epoch for record in volatile}.isdisjoint(record.epoch for record in durable + after)
    observed = [read(record)["n"] for record in durable + volatile + after if record.kind == "obs"]
    assert observed == list(range(1, 31))
    assert [r.seq for r in after if r.kind == "obs"] == [6, 7, 8, 9, 10]


async def test_how_long_the_disk_failed_is_told_aright_where_the_clock_was_set_meanwhile(
    bench, events, failing_disk, until
):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        with failing_disk():
            add(journal, bench, 1)
            await take(feed, 2)
            bench.now_ns -= 7200 * 10**9
        await until(lambda: journal.health.state == "ok")
        (restored,) = events(await take(feed, 1))
    assert restored["state"] == "restored"
    assert 0 < restored["failed_s"] < 7200


async def test_how_long_the_disk_held_a_commit_is_told_aright_where_the_clock_was_set_meanwhile(
    bench, events, until, monkeypatch
):
    monkeypatch.setattr("daq.journal.journal.STALLED_NS", 1_500_000_000)  # an idle thread comes round each second
    go_on = threading.Event()

    def held(*_):
        go_on.wait(LONG_S)
        return b"{}"

    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        journal.append(Entry("info", "dmm1", bench.now_ns, held))
        await until(lambda: journal.health.state == "stalled")
        journal.look_for_a_stall()
        bench.now_ns += 7200 * 10**9
        go_on.set()
        await until(lambda: journal.health.state == "ok")
        journal.look_for_a_stall()
        told = events(await take(feed, 3))
    assert [event["state"] for event in told] == ["stalled", "restored"]
    assert 0 < told[1]["failed_s"] < 7200


async def test_what_memory_held_is_kept_as_it_was_shown(bench, failing_disk, until):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        with failing_disk():
            add(journal, bench, 20)
            shown = await take(feed, 21)
        await until(lambda: journal.health.state == "ok")
    kept = {(record.epoch, record.stream, record.seq): record.payload for record in stored(bench)}
    for record in shown:
        assert kept[record.epoch, record.stream, record.seq] == record.payload


async def test_what_was_not_done_before_the_disk_was_well_again_is_backlog(bench, failing_disk, until):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        with failing_disk():
            add(journal, bench, 20)
            shown = [record for record in await take(feed, 21) if record.kind == "obs"]
            await feed.done([record.row for record in shown[:10]])
        await until(lambda: journal.health.state == "ok")
        await feed.done([record.row for record in shown[10:15]])
        again = await (await journal.feed("mqtt")).backlog(0, 100)
    assert [record.payload for record in again if record.kind == "obs"] == [r.payload for r in shown[15:]]
    assert all(record.row > 0 for record in again)


async def test_a_feed_opened_while_the_disk_fails_gets_what_memory_holds(bench, failing_disk):
    async with bench.running() as journal:
        first = await journal.feed("mqtt")
        with failing_disk():
            add(journal, bench, 20)
            shown = await take(first, 21)
            await first.done([record.row for record in shown[:6]])
            second = await journal.feed("mqtt")
            assert await take(second, 15) == shown[6:]


async def test_backlog_is_still_read_from_a_disk_that_takes_no_more(bench, failing_disk):
    async with bench.running() as journal:
        add(journal, bench, 10)
        await journal.flush()
        with failing_disk():
            add(journal, bench, 1)
            await journal.flush()
            assert journal.health.state == "failing"
            feed = await journal.feed("mqtt")
            assert [record.seq for record in await feed.backlog(0, 100)] == list(range(1, 11))


async def test_memory_is_bounded_and_what_it_dropped_is_told_when_the_disk_is_well(bench, events, failing_disk, until):
    async with bench.running(memory_bytes=50_000) as journal:
        await journal.feed("mqtt")
        with failing_disk():
            for _ in range(20):
                add(journal, bench, 10)
                await journal.flush()
        await until(lambda: journal.health.state == "ok")
        lost = journal.health.lost["memory full"]
    records = stored(bench)
    (gap,) = [event for event in events(records) if event["event"] == "gap"]
    (span,) = [span for span in gap["streams"] if span["stream"] == "dmm1/v"]
    kept = [record.seq for record in records if record.kind == "obs"]
    assert (gap["why"], gap["count"]) == ("memory full", lost)
    assert span["first_seq"] == 1
    assert kept == list(range(span["last_seq"] + 1, 201))


@pytest.mark.parametrize("when_full", ["drop_oldest", "stop_polling"])
async def test_what_memory_held_is_kept_or_told_of_where_the_journal_is_full(
    bench, events, failing_disk, until, when_full
):
    async with bench.running(max_bytes=4 << 20, ballast_bytes=1 << 20, when_full=when_full) as journal:
        await journal.feed("mqtt")  # and takes nothing
        add(journal, bench, 5000)
        await journal.flush()
        with failing_disk():
            add(journal, bench, 1500)  # several transactions of what is adopted
            await journal.flush()
            assert journal.health.state == "failing"
        await until(lambda: journal.health.state == "ok")
    records = stored(bench)
    spans = [span for event in events(records) if event["event"] == "gap" for span in event["streams"]]
    kept = {(record.epoch, record.seq) for record in records if record.kind == "obs"}
    told = {
        (span["epoch"], seq)
        for span in spans
        if span["stream"] == "dmm1/v"
        for seq in range(span["first_seq"], span["last_seq"] + 1)
    }
    shown_once = {epoch for epoch, _ in kept | told}
    assert len(shown_once) == 2  # the file's and memory's
    assert sorted(
        sum((epoch, seq) in kept or (epoch, seq) in told for seq in range(1, 5001)) for epoch in shown_once
    ) == [1500, 5000]
    assert spans


async def test_what_a_commit_kept_is_not_kept_once_more_where_the_disk_fails_right_behind_it(bench, until, monkeypatch):
    failed = []

    def fails_once(db):
        failed.append(monkeypatch.undo())
        raise sqlite3.OperationalError("disk I/O error")

    async with bench.running() as journal:
        monkeypatch.setattr("daq.journal.file.sizes", fails_once)
        add(journal, bench, 3000)  # more than a commit counts on room for: it looks how much is used
        await journal.flush()
        await until(lambda: journal.health.state == "ok")
    observed = [json.loads(record.payload)["n"] for record in stored(bench) if record.kind == "obs"]
    assert failed
    assert sorted(set(observed)) == sorted(observed)
    assert len(observed) == 3000


async def test_that_a_file_was_begun_anew_is_told_though_the_disk_fails_once_more(bench, events, until, monkeypatch):
    adopt = JournalFile.adopt

    def fails_once(file, volatile):
        monkeypatch.setattr(JournalFile, "adopt", adopt)
        raise sqlite3.OperationalError("disk I/O error")

    async with bench.running() as journal:
        epoch = journal.health.epoch
        add(journal, bench, 3)
        await journal.flush()
        monkeypatch.setattr(JournalFile, "adopt", fails_once)
        for path in bench.path.parent.glob("journal.db*"):
            path.unlink()
        await until(lambda: journal.health.epoch != epoch and journal.health.state == "ok")
    assert [event["state"] for event in events(stored(bench))] == ["failing", "begun_anew", "restored"]


async def test_the_alarm_is_raised_once_a_spell(bench, events, failing_disk, until):
    async with bench.running() as journal:
        for _ in range(2):
            with failing_disk():
                for _ in range(10):
                    add(journal, bench, 1)
                    await journal.flush()
            await until(lambda: journal.health.state == "ok")
    told = [event["state"] for event in events(stored(bench))]
    assert told == ["failing", "restored"] * 2


async def test_stop_polling_asks_for_it_while_the_disk_fails(bench, failing_disk):
    async with bench.running(when_full="stop_polling") as journal:
        with failing_disk():
            add(journal, bench, 1)
            await journal.flush()
            assert journal.health.full


async def test_a_disk_that_fails_from_the_start_is_survived(bench, read, failing_disk, until):
    bench.path.parent.mkdir()
    with failing_disk():
        journal = bench.journal()
        await journal.open()
        feed = await journal.feed("mqtt")
        add(journal, bench, 3)
        shown = await take(feed, 3)
        assert journal.health.state == "failing"
    await until(lambda: journal.health.state == "ok")
    assert await journal.close()
    kept = {record.payload for record in stored(bench)}
    assert {record.payload for record in shown} <= kept
    assert not any(read(record)["durable"] for record in shown)


async def test_a_file_taken_away_is_begun_anew(bench, events, until):
    async with bench.running() as journal:
        epoch = journal.health.epoch
        add(journal, bench, 3)
        await journal.flush()
        for path in bench.path.parent.glob("journal.db*"):
            path.unlink()
        await until(lambda: journal.health.epoch != epoch and journal.health.state == "ok")
        add(journal, bench, 3)
    records = stored(bench)
    assert "begun_anew" in [event["state"] for event in events(records)]
    assert min(record.row for record in records) > 3


# A disk that is truly full --------------------------------------------------------------------------------------------

SMALL = ["unshare", "--user", "--map-root-user", "--mount"]
NAMESPACES = (
    shutil.which("unshare") is not None
    and subprocess.run([*SMALL, "true"], check=False, capture_output=True).returncode == 0
)


def on_a_small_disk(folder: Path, scenario: str) -> dict[str, object]:
    """Run a scenario of on_small_disk.py with 8 MiB mounted at `folder`, seen by that process only."""
    script = Path(__file__).with_name("on_small_disk.py")
    mount = 'mount -t tmpfs -o size=8m none "$0" && exec "$@"'
    run = subprocess.run(
        [*SMALL, "sh", "-c", mount, str(folder), sys.executable, str(script), str(folder), scenario],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, object] = json.loads(run.stdout)
    return found


@pytest.mark.skipif(not NAMESPACES, reason="this user may not mount a file system of its own")
@pytest.mark.parametrize("scenario", ["grows", "squeezed", "filled"])
def test_a_full_disk_loses_nothing_in_silence(tmp_path, scenario):
    found = on_a_small_disk(tmp_path, scenario)
    assert found["unseen"] == []
    assert found["out_of_order"] == 0
    assert found["unaccounted"] == []
    assert found["state"] == "ok"
    if scenario == "grows":
        assert found["volatile"] == 0
        assert found["gaps"]

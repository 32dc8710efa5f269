"""What is appended is on disk before anybody sees it, in order, under numbers that are never used twice."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading

import pytest

from daq.core.errors import ConfigError, DaqError, SinkError
from daq.core.record import Entry
from daq.journal import open_idle
from daq.journal.scribe import linger_ns

LONG_S = 30.0


async def take(feed, count):
    records = []
    async with asyncio.timeout(LONG_S):
        while len(records) < count:
            records += await feed.live(50)
    return records


async def backlog(feed):
    records, after = [], 0
    while page := await feed.backlog(after, 7):
        records += page
        after = page[-1].row
    return records


async def test_records_come_in_the_order_they_were_appended(bench, read):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        for _ in range(500):
            journal.append(bench.entry())
        records = await take(feed, 500)
    assert [read(record)["n"] for record in records] == list(range(1, 501))
    assert [record.seq for record in records] == list(range(1, 501))
    assert [record.row for record in records] == list(range(1, 501))
    assert {record.epoch for record in records} == {journal.health.epoch}


async def test_the_epoch_is_ten_letters_and_digits(bench):
    async with bench.running() as journal:
        assert re.fullmatch(r"[a-z0-9]{10}", journal.health.epoch)


async def test_each_stream_is_numbered_on_its_own(bench):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        for stream in ("a/x", "b/y", "a/x", "event", "a/x"):
            journal.append(bench.entry(stream))
        records = await take(feed, 5)
    assert [(r.stream, r.seq) for r in records] == [("a/x", 1), ("b/y", 1), ("a/x", 2), ("event", 1), ("a/x", 3)]


async def test_what_a_sink_sees_is_on_disk(bench):
    """A second connection, which sees committed rows only, finds every record the moment the sink has it."""
    import contextlib
    import sqlite3

    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        for _ in range(20):
            journal.append(bench.entry())
            (record,) = await feed.live(1)
            with contextlib.closing(sqlite3.connect(f"file:{bench.path}?mode=ro", uri=True)) as other:
                (payload,) = other.execute("SELECT payload FROM record WHERE row = ?", (record.row,)).fetchone()
            assert payload == record.payload


async def test_payloads_are_made_in_one_thread_that_is_not_the_loops(bench):
    threads = set()

    def encode(epoch: str, seq: int, durable: bool) -> bytes:
        threads.add(threading.current_thread().name)
        return b"{}"

    async with bench.running() as journal:
        for _ in range(10):
            journal.append(Entry("obs", "a/x", 0, encode))
        await journal.flush()
    assert threads == {"journal"}


async def test_what_was_committed_before_the_feed_is_backlog_and_the_rest_is_live(bench):
    async with bench.running() as journal:
        for _ in range(20):
            journal.append(bench.entry())
        await journal.flush()
        feed = await journal.feed("mqtt")
        for _ in range(5):
            journal.append(bench.entry())
        assert [r.seq for r in await take(feed, 5)] == [21, 22, 23, 24, 25]
        assert await feed.backlog_size() == 20
        assert [r.seq for r in await backlog(feed)] == list(range(1, 21))


async def test_what_is_done_is_not_delivered_again_in_whatever_order_it_was_done(bench):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        for _ in range(10):
            journal.append(bench.entry())
        rows = [record.row for record in await take(feed, 10)]
        await feed.done([rows[9], rows[2], rows[0]])
        await feed.done([rows[1], rows[5]])
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        assert await feed.backlog_size() == 5
        assert [r.seq for r in await backlog(feed)] == [4, 5, 7, 8, 9]
        assert journal.health.backlog == {"mqtt": 5}


async def test_numbers_go_on_where_they_were_after_a_restart(bench):
    seen = []
    for _ in range(3):
        async with bench.running() as journal:
            feed = await journal.feed("mqtt")
            journal.append(bench.entry())
            seen += await take(feed, 1)
    assert [record.seq for record in seen] == [1, 2, 3]
    assert [record.row for record in seen] == [1, 2, 3]
    assert len({record.epoch for record in seen}) == 1


async def test_every_sink_is_remembered_on_its_own(bench, until):
    async with bench.running(sinks=["mqtt", "file"]) as journal:
        mqtt, file = await journal.feed("mqtt"), await journal.feed("file")
        for _ in range(4):
            journal.append(bench.entry())
        await mqtt.done([record.row for record in await take(mqtt, 4)])
        assert [r.seq for r in await take(file, 4)] == [1, 2, 3, 4]
        await until(lambda: journal.health.backlog == {"mqtt": 0, "file": 4})


async def test_a_sink_that_is_new_begins_at_the_newest_record(bench):
    async with bench.running() as journal:
        for _ in range(4):
            journal.append(bench.entry())
    async with bench.running(sinks=["mqtt", "file"]) as journal:
        assert await (await journal.feed("file")).backlog_size() == 0
        assert await (await journal.feed("mqtt")).backlog_size() == 4


async def test_a_feed_that_fell_far_behind_reads_the_disk_and_misses_nothing(bench):
    async with bench.running(memory_bytes=20_000) as journal:
        feed = await journal.feed("mqtt")
        for _ in range(50):
            for _ in range(20):
                journal.append(bench.entry(size=500))
            await journal.flush()
        journal.append(bench.entry())
        records = await take(feed, 1001)
    assert [record.seq for record in records] == list(range(1, 1002))


async def test_a_later_feed_ends_the_one_before(bench):
    async with bench.running() as journal:
        first = await journal.feed("mqtt")
        waiting = asyncio.create_task(first.live(1))
        await asyncio.sleep(0)
        second = await journal.feed("mqtt")
        with pytest.raises(SinkError, match="another feed"):
            await waiting
        journal.append(bench.entry())
        assert len(await take(second, 1)) == 1


async def test_a_feed_cut_short_loses_nothing(bench):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        waiting = asyncio.create_task(feed.live(1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        journal.append(bench.entry())
        assert [r.seq for r in await take(feed, 1)] == [1]


async def test_everything_appended_is_committed_by_close(bench):
    async with bench.running() as journal:
        for _ in range(3000):
            journal.append(bench.entry())
    with open_idle(bench.path) as idle:
        assert idle.info()["rows"] == 3000


async def test_a_closed_journal_answers_at_once(bench):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
    with pytest.raises(SinkError, match="closed"):
        await feed.live(1)
    with pytest.raises(DaqError, match="closed"):
        await journal.info()


async def test_an_entry_that_cannot_be_encoded_is_a_gap_and_harms_no_other(bench, events):
    def encode(epoch: str, seq: int, durable: bool) -> bytes:
        raise ValueError("no such unit")

    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        for broken in (False, True, False):
            journal.append(Entry("obs", "dmm1/v", 7, encode) if broken else bench.entry())
        records = await take(feed, 3)
    assert [record.seq for record in records if record.kind == "obs"] == [1, 3]
    (gap,) = events(records)
    assert gap["event"] == "gap"
    assert gap["why"] == "not encodable: ValueError('no such unit')"
    assert gap["streams"][0]["first_seq"] == gap["streams"][0]["last_seq"] == 2


async def test_one_process_a_state_directory(bench):
    async with bench.running():
        with pytest.raises(ConfigError, match=r"already running, pid \d+"):
            await bench.journal().open()
        with pytest.raises(ConfigError, match="already running"), open_idle(bench.path):
            pass
        trial = (
            "import sys; from daq.journal.lock import StateLock; from pathlib import Path; StateLock(Path(sys.argv[1]))"
        )
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", trial, str(bench.path.parent)), stderr=asyncio.subprocess.PIPE
        )
        _, said = await child.communicate()
        assert b"already running, pid" in said
    async with bench.running():
        pass


async def test_many_appends_share_a_commit(bench):
    """Two thousand records at once are a handful of transactions, not two thousand."""
    async with bench.running() as journal:
        commits = set()
        show = journal._scribe._show
        journal._scribe._show = lambda records: (commits.add(records[0].row), show(records))
        for _ in range(2000):
            journal.append(bench.entry())
        await journal.flush()
    assert 1 <= len(commits) <= 100


async def test_appending_never_waits_for_the_disk(bench):
    """The thread is held inside an encode; the loop appends and goes on."""
    go = threading.Event()

    def held(epoch: str, seq: int, durable: bool) -> bytes:
        go.wait(LONG_S)
        return b"{}"

    async with bench.running() as journal:
        journal.append(Entry("obs", "a/x", 0, held))
        for _ in range(100):
            journal.append(bench.entry())
        assert not go.is_set()
        go.set()
        await journal.flush()
        assert journal.health.rows == 101


async def test_what_the_queue_cannot_hold_is_a_gap_with_its_numbers(bench, events, read):
    go, inside = threading.Event(), threading.Event()

    def held(epoch: str, seq: int, durable: bool) -> bytes:
        inside.set()
        go.wait(LONG_S)
        return json.dumps({"n": 0, "epoch": epoch, "seq": seq, "durable": durable}).encode()

    async with bench.running(memory_bytes=10_000) as journal:
        feed = await journal.feed("mqtt")
        journal.append(Entry("obs", "dmm1/v", bench.now_ns, held))
        assert await asyncio.to_thread(inside.wait, LONG_S)
        for _ in range(250):
            journal.append(bench.entry())
        assert journal.queue_bytes <= 10_000
        go.set()
        records = await take(feed, 102)
        lost = journal.health.lost
    (gap,) = events(records)
    assert (gap["why"], gap["count"]) == ("queue full", 150)
    assert [(s["stream"], s["first_seq"], s["last_seq"]) for s in gap["streams"]] == [("dmm1/v", 2, 151)]
    assert [r.seq for r in records if r.kind == "obs"] == [1, *range(152, 252)]
    assert [read(r)["n"] for r in records if r.kind == "obs"][1:] == list(range(151, 251))
    assert lost == {"queue full": 150}


async def test_information_of_the_backlog_can_be_asked_for_alone(bench):
    async with bench.running() as journal:
        for number in range(200):
            journal.append(bench.entry("dmm1", kind="info") if number % 50 == 0 else bench.entry())
        await journal.flush()
        feed = await journal.feed("mqtt")
        infos = await feed.backlog(0, 3, infos=True)
        assert [record.row for record in infos] == [1, 51, 101]
        await feed.done([101])
        assert [record.row for record in await feed.backlog(51, 3, infos=True)] == [151]
        assert [record.row for record in await feed.backlog(0, 2)] == [1, 2]


async def test_nothing_is_kept_at_hand_for_a_feed_that_is_closed(bench):
    async with bench.running() as journal:
        feed = await journal.feed("mqtt")
        journal.append(bench.entry())
        assert len(await feed.live(10)) == 1
        feed.close()
        for _ in range(3):
            journal.append(bench.entry())
            await journal.flush()
        assert len(journal._tail.page(0, 100)) <= 1
        with pytest.raises(SinkError, match="closed"):
            await feed.live(10)
        again = await journal.feed("mqtt")
        assert [record.seq for record in await again.backlog(0, 10)] == [1, 2, 3, 4]
        journal.append(bench.entry())
        assert [record.seq for record in await again.live(10)] == [5]


@pytest.mark.parametrize(("records", "ms"), [(0, 5), (1, 5), (2, 5), (3, 6), (7, 14), (10, 20), (11, 20), (5000, 20)])
def test_records_gather_the_longer_the_more_there_were(records, ms):
    assert linger_ns(records) == ms * 1_000_000

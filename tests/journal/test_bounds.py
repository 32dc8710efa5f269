"""The journal stays within its bytes and its age: delivered goes first, then the oldest, and every gap is told."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.numbering import Span
from daq.core.record import Entry
from daq.journal import open_idle
from daq.journal.trimming import weight

LONG_S = 30.0
MAX = 2 << 20
DAY_NS = 86400 * 10**9


async def fill(journal, bench, count, *, stream="dmm1/v", size=1000):
    for first in range(0, count, 50):
        for _ in range(min(50, count - first)):
            journal.append(bench.entry(stream, size=size))
        await journal.flush()


def everything(bench):
    records, after = [], None
    with open_idle(bench.path) as idle:
        while True:
            page = idle.export(after=after, limit=500)
            records += page.records
            if (after := page.after) is None:
                return records


def gaps(records, events):
    return [event for event in events(records) if event["event"] == "gap"]


async def test_the_file_never_grows_beyond_its_bound(bench):
    async with bench.running(max_bytes=MAX) as journal:
        await fill(journal, bench, 5000)
        assert journal.health.state == "ok"
        assert bench.path.stat().st_size <= MAX


async def test_what_was_delivered_goes_first_and_without_a_gap(bench, events):
    async with bench.running(max_bytes=MAX) as journal:
        feed = await journal.feed("mqtt")
        waiting = {}
        for _ in range(100):
            await fill(journal, bench, 50)
            page = await feed.live(50)
            kept = [page[0].row]  # one in fifty stays undelivered
            waiting |= {page[0].row: page[0].seq}
            await feed.done([record.row for record in page if record.row not in kept])
        feed = await journal.feed("mqtt")
        assert {record.row: record.seq for record in await feed.backlog(0, 1000)} == waiting
    assert not gaps(everything(bench), events)


async def test_what_goes_undelivered_is_told_in_one_gap_for_many(bench, events):
    async with bench.running(max_bytes=MAX) as journal:
        await fill(journal, bench, 5000)
        lost = journal.health.lost["journal full"]
        assert journal.health.backlog["mqtt"] == journal.health.rows
    records = everything(bench)
    told = gaps(records, events)
    assert 1 <= len(told) <= 200
    kept = {record.seq for record in records if record.kind == "obs"}
    dropped = set()
    for gap in told:
        for span in gap["streams"]:
            if span["stream"] == "dmm1/v":
                assert span["count"] <= span["last_seq"] - span["first_seq"] + 1
                dropped |= set(range(span["first_seq"], span["last_seq"] + 1))
    assert kept.isdisjoint(dropped)
    first_kept = min(kept)
    assert kept == set(range(first_kept, 5001))
    assert lost >= first_kept - 1 - len(dropped)


@pytest.mark.parametrize("count", [2000, 12_000])
async def test_every_lost_record_is_in_one_gap_even_where_gaps_are_lost_themselves(bench, events, count):
    """An outage that fills the journal many times drops the events of its first gaps: later ones tell them anew."""
    async with bench.running(max_bytes=MAX) as journal:
        await fill(journal, bench, count)
    records = everything(bench)
    told = [span for gap in gaps(records, events) for span in gap["streams"] if span["stream"] == "dmm1/v"]
    assert told
    kept = {record.seq for record in records if record.kind == "obs"}
    missing = set(range(1, count + 1)) - kept
    assert missing <= {seq for span in told for seq in range(span["first_seq"], span["last_seq"] + 1)}
    assert sum(span["count"] for span in told) == len(missing)


async def test_a_gap_is_in_the_transaction_that_drops(bench):
    """Seen from outside at any moment: rows are missing only together with an event that says so."""
    async with bench.running(max_bytes=MAX) as journal:
        with contextlib.closing(sqlite3.connect(f"file:{bench.path}?mode=ro", uri=True)) as other:
            for _ in range(100):
                for _ in range(30):
                    journal.append(bench.entry(size=1000))
                await asyncio.sleep(0)
                oldest, told = other.execute(
                    "SELECT (SELECT min(row) FROM record), (SELECT count(*) FROM record WHERE kind = 1)"
                ).fetchone()
                assert (oldest or 1) == 1 or told > 0
        await journal.flush()
        assert journal.health.lost


async def test_numbers_are_not_used_again_after_everything_was_trimmed(bench):
    async with bench.running(keep_ns=DAY_NS) as journal:
        await fill(journal, bench, 10)
    bench.now_ns += 3 * DAY_NS
    async with bench.running(keep_ns=DAY_NS, sinks=[]) as journal:
        assert journal.health.rows == 0
        feed = await journal.feed("mqtt")
        journal.append(bench.entry())
        (record,) = await feed.live(1)
        assert (record.seq, record.row) == (11, 11)


@pytest.mark.parametrize("lost", ["dropped by the queue", "not encodable"])
async def test_numbers_that_a_gap_has_told_of_are_not_used_again(bench, events, lost):
    async with bench.running() as journal:
        await fill(journal, bench, 3)
        if lost == "dropped by the queue":
            dropped = {"dmm1/v": Span(bench.now_ns, bench.now_ns, 2)}
            await journal._ask(lambda: journal._scribe._keep([], dropped))
        else:
            for _ in range(2):
                journal.append(Entry("obs", "dmm1/v", bench.now_ns, _no_payload))
            await journal.flush()
    (gap,) = gaps(everything(bench), events)
    assert [(one["first_seq"], one["last_seq"]) for one in gap["streams"]] == [(4, 5)]
    async with bench.running(sinks=["other"]) as journal:
        feed = await journal.feed("other")
        journal.append(bench.entry())
        assert (await feed.live(9))[-1].seq == 6


def _no_payload(*_):
    raise ValueError("unprintable")


async def test_what_is_too_old_goes_and_is_told_where_somebody_waited_for_it(bench, events):
    async with bench.running(keep_ns=DAY_NS) as journal:
        feed = await journal.feed("mqtt")
        await fill(journal, bench, 10)
        await feed.done([record.row for record in (await feed.live(50))[:4]])
        bench.now_ns += DAY_NS // 2
        await fill(journal, bench, 10)
    bench.now_ns += DAY_NS // 2 + 1
    async with bench.running(keep_ns=DAY_NS) as journal:
        assert journal.health.lost == {"older than kept": 6}
    records = everything(bench)
    assert [record.seq for record in records if record.kind == "obs"] == list(range(11, 21))
    (gap,) = gaps(records, events)
    assert (gap["why"], gap["count"]) == ("older than kept", 6)
    assert (gap["streams"][0]["first_seq"], gap["streams"][0]["last_seq"]) == (5, 10)
    assert gap["streams"][0]["first_t"] == "2026-11-22T12:00:00.000000Z"


async def test_a_sink_that_is_not_there_any_more_holds_nothing_back(bench, events):
    async with bench.running(max_bytes=MAX, sinks=["gone"]) as journal:
        await fill(journal, bench, 10)
    async with bench.running(max_bytes=MAX, sinks=[]) as journal:
        await fill(journal, bench, 5000)
        assert journal.health.lost == {}
    assert not gaps(everything(bench), events)
    async with bench.running(max_bytes=MAX, sinks=["gone"]) as journal:
        feed = await journal.feed("gone")
        rows = [record.row for record in await feed.backlog(0, 10_000)]
        assert await feed.backlog_size() == len(rows) == journal.health.rows


async def test_information_stays_as_long_as_what_cites_it(bench):
    async with bench.running(max_bytes=MAX, sinks=[]) as journal:
        journal.append(bench.entry("dmm1", kind="info"))
        journal.append(bench.entry("bath", kind="info"))
        await fill(journal, bench, 3000)
        journal.append(bench.entry("dmm1", kind="info"))
        await fill(journal, bench, 200)
    records = everything(bench)
    assert [(r.stream, r.seq) for r in records if r.kind == "info"] == [("dmm1", 1), ("bath", 1), ("dmm1", 2)]
    async with bench.running(max_bytes=MAX, sinks=[]) as journal:
        await fill(journal, bench, 6000)
    assert [(r.stream, r.seq) for r in everything(bench) if r.kind == "info"] == [("bath", 1), ("dmm1", 2)]


async def test_a_journal_of_nothing_but_information_is_bounded_too(bench):
    async with bench.running(max_bytes=MAX) as journal:
        for number in range(3000):
            journal.append(bench.entry(f"box{number}", kind="info", size=2000))
        await journal.flush()
        assert journal.health.state == "ok"
        assert bench.path.stat().st_size <= MAX


@pytest.mark.parametrize("size", [100, 700, 1400, 2100, 3000, 4100, 9000, 60_000])
async def test_the_bound_holds_for_payloads_of_every_size(bench, size):
    async with bench.running(max_bytes=MAX, sinks=[]) as journal:
        await fill(journal, bench, max(200, 2 * MAX // (size + 200)), size=size)
        assert journal.health.state == "ok"
        assert bench.path.stat().st_size <= MAX
        assert journal.health.used_bytes > MAX // 2


async def test_a_payload_no_journal_of_this_size_could_keep_is_a_gap(bench, events):
    async with bench.running(max_bytes=MAX) as journal:
        journal.append(bench.entry(size=MAX))
        journal.append(bench.entry())
        await journal.flush()
        assert journal.health.state == "ok"
    (gap,) = gaps(everything(bench), events)
    assert gap["why"] == f"larger than {MAX // 16} bytes"


async def test_stop_polling_asks_for_it_and_keeps_what_nobody_took(bench, events, until):
    async with bench.running(max_bytes=MAX, when_full="stop_polling") as journal:
        feed = await journal.feed("mqtt")
        count = 0
        while not journal.health.full:
            await fill(journal, bench, 50)
            count += 50
        await fill(journal, bench, 20)  # what is said of the polls that are skipped
        assert await (await journal.feed("mqtt")).backlog_size() == count + 21
        assert journal.health.lost == {}
        feed = await journal.feed("mqtt")
        records = await feed.backlog(0, 10_000)
        assert [record.seq for record in records if record.kind == "obs"] == list(range(1, count + 21))
        await feed.done([record.row for record in records])
        await until(lambda: not journal.health.full)
        await fill(journal, bench, 100)
        assert not journal.health.full
    assert [event["state"] for event in events(everything(bench))] == ["full", "room"]


async def test_stop_polling_is_bounded_when_nobody_stops(bench):
    async with bench.running(max_bytes=MAX, when_full="stop_polling") as journal:
        await fill(journal, bench, 4000)
        assert journal.health.full
        assert journal.health.state == "ok"
        assert bench.path.stat().st_size <= MAX
        assert journal.health.lost["journal full"] > 0


@given(st.integers(0, 9 << 20))
def test_no_row_weighs_more_than_what_is_counted_on(size):
    assert weight(size) <= 3 * size + 128


async def test_what_was_dropped_is_not_waited_for_after_a_kill(bench, tmp_path):
    """The files as a kill leaves them: copied while the journal is open, right behind a commit that dropped rows."""
    async with bench.running(max_bytes=MAX) as journal:
        feed = await journal.feed("mqtt")
        journal.append(bench.entry(kind="info", stream="dmm1"))  # the oldest, and it stays
        await fill(journal, bench, 3000)
        assert journal.health.lost
        lost = journal.health.lost["journal full"]
        while journal.health.lost["journal full"] == lost:
            await fill(journal, bench, 1)
        assert await feed.backlog_size() == 0
        left = tmp_path / "left"
        shutil.copytree(bench.path.parent, left)
    killed = type(bench)(tmp_path)
    killed.path = left / "journal.db"
    async with killed.running(max_bytes=MAX) as journal:
        feed = await journal.feed("mqtt")
        there, after = 0, 0
        while page := await feed.backlog(after, 500):
            there, after = there + len(page), page[-1].row
        assert there > 500
        assert await feed.backlog_size() == there

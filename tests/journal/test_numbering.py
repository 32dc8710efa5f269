"""What the journal counts, against sets and hand work."""

from __future__ import annotations

import itertools

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.numbering import Gap, Numbers, RowSet, Span, UnkeptEntryError, epoch_name, in_all, runs
from daq.core.record import Entry

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair))))


def as_set(ranges):
    return {row for first, last in ranges for row in range(first, last + 1)}


def test_an_epoch_sorts_with_time_and_differs_by_chance():
    # 2026-11-22T12:00:00Z is 1795348800 s; less 2**30 that is 721606976, in base 32: 21 16 5 22 10 0.
    assert epoch_name(1_795_348_800 * 10**9, 0) == "ng5pa00000"
    assert epoch_name(1_795_348_800 * 10**9, 2**20 - 1) == "ng5pa0zzzz"
    names = [epoch_name(second * 10**9, 7) for second in range(1_795_348_800, 1_795_348_900)]
    assert names == sorted(set(names))


@given(RANGES)
def test_ranges_melt_into_as_few_as_can_be(ranges):
    rows = RowSet(ranges)
    assert as_set(rows.ranges()) == as_set(ranges)
    assert all(last + 1 < first for (_, last), (first, _) in zip(rows.ranges(), rows.ranges()[1:], strict=False))
    assert {row for row in range(80) if row in rows} == as_set(ranges)


@given(RANGES, st.integers(0, 70), st.integers(0, 70))
def test_holes_are_what_is_not_in_the_set(ranges, first, last):
    rows = RowSet(ranges)
    assert as_set(rows.holes(first, last)) == set(range(first, last + 1)) - as_set(ranges)
    assert rows.missing(first, last) == len(set(range(first, last + 1)) - as_set(ranges))


@given(st.lists(RANGES, max_size=4), st.integers(0, 70))
def test_what_all_hold(sets, last):
    common = set(range(last + 1)).intersection(*map(as_set, sets))
    assert as_set(in_all([RowSet(ranges) for ranges in sets], last)) == common


@given(RANGES, RANGES)
def test_changes_rebuild_the_set(before, after):
    rows = RowSet(before)
    stored = dict(rows.ranges())
    rows.changed.clear()
    for first, last in after:
        rows.add(first, last)
    for first, last in rows.changed.items():
        if last is None:
            stored.pop(first, None)
        else:
            stored[first] = last
    assert sorted(stored.items()) == rows.ranges()


ENTRIES = st.lists(st.tuples(st.sampled_from(["a/x", "b/x", "event"]), st.sampled_from(["kept", "broken", "large"])))


def entry_that_is(stream, fate, t_ns):
    def encode(epoch, seq, durable):
        if fate == "broken":
            raise ValueError("no number")
        return f"{epoch} {stream} {seq} {durable}".encode().ljust(100 if fate == "large" else 0)

    return Entry("obs", stream, t_ns, encode)


@given(ENTRIES, ENTRIES)
def test_a_batch_is_numbered_as_if_each_entry_came_alone(first, second):
    fates = first + second
    at_once, alone = (Numbers("e1", durable=True, next_row=5, next_seq={"a/x": 3}) for _ in range(2))
    entries = [entry_that_is(*fate, t_ns) for t_ns, fate in enumerate(fates)]
    records, unkept = at_once.records(entries, 50)
    each = [alone.records([entry], 50) for entry in entries]
    assert records == [record for kept, _ in each for record in kept]
    told = [(no.entry, no.seq, no.why) for _, unkept_alone in each for no in unkept_alone]
    assert [(no.entry, no.seq, no.why) for no in unkept] == told
    assert at_once == alone
    assert [record.row for record in records] == list(range(5, at_once.next_row))
    for stream in {stream for stream, _ in fates}:
        begin = 3 if stream == "a/x" else 1
        used = [record.seq for record in records if record.stream == stream]
        used += [no.seq for no in unkept if no.entry.stream == stream]
        assert sorted(used) == list(range(begin, at_once.next_seq[stream])), "each number once, none left out"


def test_an_event_of_the_journal_that_cannot_be_kept_is_said_aloud():
    with pytest.raises(UnkeptEntryError, match="larger than 50 bytes"):
        Numbers("e1", durable=True, next_row=5).told([entry_that_is("event", "large", 0)], 50)


def test_a_gap_says_which_numbers_and_times_of_which_stream():
    gap = Gap("journal full")
    gap.add("e1", "dmm1/v", 5, 1_795_348_800 * 10**9)
    gap.add("e1", "dmm1/v", 6, 1_795_348_801 * 10**9)
    gap.add("e2", "dmm1/v", 1, 1_795_348_802 * 10**9)
    assert gap.details() == [
        {
            "why": "journal full",
            "count": 3,
            "streams": [
                {
                    "stream": "dmm1/v",
                    "epoch": "e1",
                    "first_seq": 5,
                    "last_seq": 6,
                    "first_t": "2026-11-22T12:00:00.000000Z",
                    "last_t": "2026-11-22T12:00:01.000000Z",
                    "count": 2,
                },
                {
                    "stream": "dmm1/v",
                    "epoch": "e2",
                    "first_seq": 1,
                    "last_seq": 1,
                    "first_t": "2026-11-22T12:00:02.000000Z",
                    "last_t": "2026-11-22T12:00:02.000000Z",
                    "count": 1,
                },
            ],
        }
    ]


def test_a_gap_whose_event_is_lost_itself_is_told_anew():
    first = Gap("journal full")
    first.add_span("e1", "dmm1/v", 5, Span(1_795_348_800 * 10**9, 1_795_348_802 * 10**9 + 500_000, 3))
    gap = Gap("memory full")
    gap.add("e1", "dmm1/v", 9, 1_795_348_900 * 10**9)
    gap.retell(orjson.dumps({"event": "gap", "details": first.details()[0]}))
    assert gap.count == 1, "what was lost before was counted then"
    (details,) = gap.details()
    (told,) = details["streams"]
    assert (told["first_seq"], told["last_seq"], told["count"]) == (5, 9, 4)
    assert (told["first_t"], told["last_t"]) == ("2026-11-22T12:00:00.000000Z", "2026-11-22T12:01:40.000000Z")
    assert details["count"] == 4


def test_a_gap_in_many_streams_is_told_in_many_events():
    gap = Gap("journal full")
    for number in range(450):
        gap.add("e1", f"box{number}/v", 1, 0)
    assert [len(details["streams"]) for details in gap.details()] == [200, 200, 50]
    assert [details["count"] for details in gap.details()] == [200, 200, 50]


def test_a_gap_names_no_more_streams_than_there_is_room_for_and_counts_the_rest():
    gap = Gap("journal full", most=2)
    for number in range(5):
        gap.add("e1", f"box{number}/v", 1, 0)
    (details,) = gap.details()
    assert [(told["stream"], told["count"]) for told in details["streams"]] == [("box0/v", 1), ("box1/v", 1), ("", 3)]


@pytest.mark.parametrize(
    "event",
    [b"", b"{", b"[]", b'{"event":"gap"}', b'{"event":"gap","details":{"streams":[{}]}}', b'{"event":"reload"}'],
)
def test_events_that_tell_of_no_gap_are_not_told_anew(event):
    gap = Gap("journal full")
    gap.retell(event)
    assert gap.details() == []


CONSECUTIVE = st.tuples(st.integers(-5, 30), st.integers(0, 30)).map(lambda pair: list(range(pair[0], sum(pair))))


@given(st.one_of(st.lists(st.integers(-5, 30)), CONSECUTIVE))
def test_runs_are_the_same_rows(rows):
    found = list(runs(rows))
    assert [row for first, last in found for row in range(first, last + 1)] == rows
    assert all(later[0] != earlier[1] + 1 for earlier, later in itertools.pairwise(found))

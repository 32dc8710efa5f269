"""The rows of the tables: their checksums, begun once for a stream, are those that a reader works out whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daq.core.numbering import Numbers
from daq.core.record import Record
from daq.journal.schema import KINDS, NUMBER_OF, checksum, tally
from daq.journal.streams import Streams

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.one_of(st.sampled_from(["event", "dmm1", "dmm1/v", "it's", 'a "b" \\ c', "µΩ"]), TEXT)
EPOCHS = st.sampled_from(["own", "memory"])
RECORDS = st.lists(
    st.builds(
        Record,
        st.integers(1, 2**62),
        st.sampled_from(KINDS),
        NAMES,
        EPOCHS,
        st.integers(1, 2**62),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=40),
    )
)


@given(st.lists(RECORDS, min_size=1, max_size=3))
def test_rows_have_the_checksums_that_are_looked_for_when_they_are_read(batches):
    streams = Streams({("own", "dmm1"): 1})
    for records in batches:
        numbers = Numbers("own", durable=True, next_row=1, next_seq={record.stream: 7 for record in records})
        rows, counters = streams.rows(records, numbers)
        names = streams.names()
        for record, (row, kind, stream, seq, t_ns, payload, said) in zip(records, rows, strict=True):
            assert names[stream] == (record.epoch, record.stream)
            assert (row, kind, seq) == (record.row, NUMBER_OF[record.kind], record.seq)
            assert (t_ns, payload) == (record.t_ns, record.payload)
            assert said == checksum(kind, record.epoch, record.stream, seq, t_ns, payload)
        assert all(tally(*counted) == said for *counted, said in counters)


@given(RECORDS)
def test_every_stream_of_a_batch_is_counted_once(records):
    streams = Streams({})
    own = {record.stream: 7 for record in records if record.epoch == "own"}
    _, counters = streams.rows(records, Numbers("own", durable=True, next_row=1, next_seq=own))
    newest = {(record.epoch, record.stream): record.seq for record in records}
    wanted = {key: own[key[1]] if key[0] == "own" else seq + 1 for key, seq in newest.items()}
    assert {(epoch, name): following for _, epoch, name, following, _ in counters} == wanted
    assert len(counters) == len(wanted)
    assert [number for number, *_ in counters] == list(range(1, len(wanted) + 1)), "numbered as they come"


def test_streams_that_run_ahead_are_forgotten_with_the_copy():
    record = Record(1, "obs", "dmm1/v", "e1", 1, 0, b"{}")
    numbers = Numbers("e1", durable=True, next_row=2, next_seq={"dmm1/v": 2})
    streams = Streams({("e1", "event"): 1})
    ahead = streams.copy()
    ahead.rows([record], numbers)
    assert ahead.names() == {1: ("e1", "event"), 2: ("e1", "dmm1/v")}
    assert streams.names() == {1: ("e1", "event")}
    assert ahead.copy().rows([record], numbers) == streams.rows([record], numbers)

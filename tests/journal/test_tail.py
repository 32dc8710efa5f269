"""The newest records in memory, against a list of all that were ever shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daq.core.record import Record
from daq.journal.feed import Tail

MOST_BYTES = 100


def shown(first, sizes, *, durable):
    """Rows grow; those of memory are negative."""
    rows = range(first, first + len(sizes))
    return [
        Record(row if durable else row - 10**6, "obs", "dmm1/v", "e", 0, 0, bytes(size))
        for row, size in zip(rows, sizes, strict=True)
    ]


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 60), max_size=6), st.booleans(), st.integers(0, 40)), max_size=12),
)
def test_what_is_not_taken_is_there_within_the_bound(steps):
    tail, everything = Tail(MOST_BYTES), []
    for sizes, durable, behind in steps:
        taken = max(len(everything) - behind, 0)
        new = shown(len(everything) + 1, sizes, durable=durable)
        kept = [at for at in range(len(everything) + len(new)) if at >= max(taken, tail.first)]
        everything += new
        tail.extend(new, taken)
        while sum(len(everything[at].payload) for at in kept) > MOST_BYTES:
            kept.pop(0)
        assert tail.end == len(everything)
        assert tail.page(tail.first, 1000) == [everything[at] for at in kept]
        durable_rows = [record.row for record in everything if record.row > 0]
        assert tail.newest == max(durable_rows, default=0)
        in_memory = [everything[at].row for at in kept if everything[at].row > 0]
        assert tail.last_row_before() == (in_memory or [tail.newest + 1])[0] - 1

"""Which stamps a reply gets when bytes come in pieces of any shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.cut import EndsWith, ends_with, exactly
from daq.core.errors import LinkFlooded
from daq.core.observation import Stamp
from daq.transports.inbox import Inbox
from daq.transports.seam import MAX_REPLY

LINE = ends_with(b"\n")


def at(ns):
    return Stamp(ns, ns)


def test_two_replies_in_one_chunk():
    inbox = Inbox()
    inbox.put(b"one\ntwo\n", at(1), at(5), at(6))
    one, two = inbox.take(LINE), inbox.take(LINE)
    assert (one.data, one.not_before, one.first, one.last) == (b"one\n", at(1), at(5), at(6))
    # The second may have come between the report and the receive: by then, not earlier.
    assert (two.data, two.not_before, two.first, two.last) == (b"two\n", at(1), at(6), at(6))
    assert inbox.take(LINE) is None
    assert len(inbox) == 0


def test_one_reply_in_three_chunks():
    inbox = Inbox()
    inbox.put(b"+1", at(1), at(2), at(2))
    assert inbox.take(LINE) is None
    inbox.put(b".5", at(3), at(4), at(4))
    inbox.put(b"\nX", at(5), at(6), at(7))
    got = inbox.take(LINE)
    assert (got.data, got.not_before, got.first, got.last) == (b"+1.5\n", at(1), at(2), at(7))
    assert inbox.empty() == b"X"


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.lists(st.integers(1, 7), max_size=12))
def test_stamps_always_enclose_the_true_arrival(chunks, takes):
    inbox, arrivals, now = Inbox(), [], 0
    for size in chunks:  # silent, then every byte at an instant of its own, then seen
        silent, now = now, now + 1
        came = list(range(now, now + size))
        now += size
        inbox.put(bytes(size), at(silent), at(now), at(now))
        arrivals += came
    for size in takes:
        got = inbox.take(exactly(size))
        if got is None:
            break
        mine, arrivals = arrivals[:size], arrivals[size:]
        assert got.not_before.mono_ns < mine[0] <= got.first.mono_ns
        assert got.first.mono_ns <= got.last.mono_ns
        assert mine[-1] <= got.last.mono_ns


def test_a_drip_does_not_cost_a_stamp_a_byte_for_ever():
    inbox = Inbox()
    for n in range(10_000):
        inbox.put(b".", at(2 * n), at(2 * n + 1), at(2 * n + 1))
    inbox.put(b"\n", at(30_000), at(30_001), at(30_001))
    assert len(inbox._chunks) < 5000
    got = inbox.take(LINE)
    assert (len(got.data), got.not_before, got.first, got.last) == (10_001, at(0), at(1), at(30_001))
    assert not inbox._chunks


def test_flood_empties_it():
    inbox = Inbox()
    inbox.put(b"9" * MAX_REPLY, at(1), at(2), at(2))
    assert inbox.full
    with pytest.raises(LinkFlooded, match="no end") as caught:
        inbox.take(LINE)
    assert caught.value.partial == b"9" * 4096
    assert len(inbox) == 0
    inbox.put(b"ok\n", at(3), at(4), at(4))
    assert inbox.take(LINE).not_before == at(3)


def test_whole_reply_as_long_as_may_be_is_no_flood():
    inbox = Inbox()
    inbox.put(b"9" * (MAX_REPLY - 1) + b"\n", at(1), at(2), at(2))
    assert len(inbox.take(LINE).data) == MAX_REPLY
    inbox.put(b"9" * MAX_REPLY + b"\n", at(1), at(2), at(2))
    with pytest.raises(LinkFlooded):
        inbox.take(LINE)


def test_replies_come_in_order():
    inbox = Inbox()
    for n in range(50):
        inbox.put(b"%03d\n" % n, at(2 * n), at(2 * n + 1), at(2 * n + 1))
    got = [inbox.take(LINE) for _ in range(50)]
    assert [reply.data for reply in got] == [b"%03d\n" % n for n in range(50)]
    assert all(early.last.mono_ns <= late.not_before.mono_ns for early, late in pairwise(got))


@dataclass(frozen=True)
class Counting(EndsWith):
    """Notes how many bytes it looks at."""

    looks: list[int] = field(default_factory=list, compare=False)

    def beyond(self, got, looked):
        self.looks.append(len(got) - looked)
        return super().beyond(got, looked)


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"END"])
def test_a_line_without_an_end_is_looked_through_once_however_it_drips(eol):
    inbox, cut = Inbox(), Counting(eol)
    for _ in range(1000):
        inbox.put(b"x" * 10, at(0), at(0), at(0))
        assert inbox.take(cut) is None
    assert sum(cut.looks) == 10_000
    for byte in eol:
        inbox.put(bytes([byte]), at(1), at(1), at(1))
        taken = inbox.take(cut)
    assert taken.data == b"x" * 10_000 + eol
    assert sum(cut.looks) == 10_000 + len(eol)


def test_what_was_looked_through_for_one_ending_is_looked_through_for_another():
    inbox = Inbox()
    inbox.put(b"one\rtwo\n", at(0), at(0), at(0))
    assert inbox.take(ends_with(b"\n\n")) is None
    assert inbox.take(ends_with(b"\r")).data == b"one\r"
    assert inbox.take(ends_with(b"\r")) is None
    assert inbox.take(ends_with(b"\n")).data == b"two\n"

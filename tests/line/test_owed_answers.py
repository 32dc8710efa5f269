"""What was asked and not answered is owed: a barrier is not passed by the late answer to an earlier question."""

from __future__ import annotations

from collections import deque

import pytest

from daq.core.cut import ends_with
from daq.core.errors import UnreadableReply
from daq.core.observation import NS
from daq.core.plan import Match, RegisterStep, ReplyForm, TextStep
from tests.line.units import Units, meter, register_poll
from tests.line.wires import MS, CountingInstrument, FakeTransport, assert_answers_are_their_own, instrument, poll, room
from tests.line.wires import running as served
from tests.manual_clock import ManualClock


class Hoarder:
    """Lets its oldest answers go only when it is asked again: `releases` says after which question how many.

    Args:
        far: what it would answer.
        releases: question (1, 2, ...) -> how many answers it lets go with it; beyond the last one, all it has.
    """

    def __init__(self, far: CountingInstrument | Units, releases: dict[int, int], last: int) -> None:
        self._far, self._releases, self._last = far, releases, last
        self._kept: deque[bytes] = deque()
        self.asked = 0

    def __call__(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        self.asked += 1
        self._kept += [piece for _, piece in self._far(data, now_ns)]
        many = self._releases.get(self.asked, 0) if self.asked <= self._last else len(self._kept)
        return [(10 * MS + n, self._kept.popleft()) for n in range(min(many, len(self._kept)))]


POLLS = (poll("a", ask=b"A?\n"), poll("b", ask=b"B?\n", phase_ns=500 * MS))
"""Two questions of one shape: nothing in an answer tells them apart."""


def mode_form() -> ReplyForm:
    def match(reply: bytes) -> Match:
        if not reply.startswith(b"MODE "):
            raise UnreadableReply(f"{reply!r} is no mode")
        return Match({"mode": reply.decode().strip()})

    return ReplyForm(ends_with(b"\n"), match, "MODE {m}")


async def test_a_late_identity_ends_no_barrier_and_stands_in_for_no_other_identity():
    clock = ManualClock()
    counter = CountingInstrument(clock)
    # the first two identity questions time out; then each is answered by the answer to the one before the last
    hoarder = Hoarder(counter, {3: 1, 4: 1, 6: 1, 7: 1, 8: 1}, 8)
    transport = FakeTransport(clock, hoarder, reopen_heals=False)
    bench = room(transport, clock, instrument(*POLLS))
    async with served(bench):
        await clock.advance(120)
    assert_answers_are_their_own(bench, counter)
    assert "desync" in bench.statuses()
    assert "owed" in next(seen.detail for seen in bench.observations if seen.status == "desync")
    assert bench.statuses()[-3:] == ["ok"] * 3


async def test_a_late_barrier_of_a_modbus_unit_ends_no_other():
    clock = ManualClock()
    far = Units(clock)
    hoarder = Hoarder(far, {2: 1, 4: 1, 5: 1}, 5)
    transport = FakeTransport(clock, hoarder, reopen_heals=False)
    polls = [register_poll("a"), register_poll("b", phase_ns=500 * MS)]
    bench = room(transport, clock, meter(1, *polls))
    async with served(bench):
        await clock.advance(120)
    for seen in bench.observations:
        if seen.readings:
            assert int(seen.readings["n"].value) == far.log[1, seen.timing.mono_ns - seen.timing.err_ns]
    assert bench.statuses()[-3:] == ["ok"] * 3


async def test_a_unit_that_refuses_the_barrier_has_answered_it():
    clock = ManualClock()
    far = Units(clock, delays={1: iter([10 * MS, 10 * MS, 400 * MS])}, refuses={(0, 1)})
    bench = room(FakeTransport(clock, far, reopen_heals=False), clock, meter(1))
    async with served(bench):
        await clock.advance(20)
    assert "timeout" in bench.statuses()
    assert bench.statuses()[-3:] == ["ok"] * 3


async def test_a_late_refusal_of_an_earlier_question_is_not_the_refusal_of_the_barrier():
    clock = ManualClock()
    far = Units(clock, refuses={(0, 1), (9, 2)})
    # the refusal of a poll comes with that of the barrier, the barrier's own with what is asked next
    hoarder = Hoarder(far, {1: 1, 2: 1, 3: 1, 4: 1, 6: 1}, 6)
    polls = [register_poll("a"), register_poll("b", phase_ns=500 * MS, steps=(RegisterStep(4, 9, 2, NS // 4),))]
    bench = room(FakeTransport(clock, hoarder, reopen_heals=False), clock, meter(1, *polls))
    async with served(bench):
        await clock.advance(60)
    for seen in bench.observations:
        if seen.readings:
            assert int(seen.readings["n"].value) == far.log[1, seen.timing.mono_ns - seen.timing.err_ns]
    assert "desync" in bench.statuses()
    assert "ok" in bench.statuses()[-4:]


async def test_answers_that_are_lost_are_forgiven_and_the_line_heals_without_holding_the_wire():
    clock, far = ManualClock(), {"on": False}
    counter = CountingInstrument(clock)
    transport = FakeTransport(clock, lambda data, now: counter(data, now) if far["on"] else [], reopen_heals=False)
    bench = room(transport, clock)
    async with served(bench):
        await clock.advance(3.5)
        far["on"] = True
        before = len(transport.written)
        await clock.advance(30)
    assert bench.statuses()[-1] == "ok"
    assert transport.written[before:].count(b"IDN?\n") <= 6
    assert_answers_are_their_own(bench, counter)


async def test_an_answer_that_comes_while_the_wire_is_kept_quiet_is_owed_no_longer():
    clock, delays = ManualClock(), iter([1500 * MS])  # the first identity comes behind its time-out
    counter = CountingInstrument(clock)

    def answer(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        return [(after + next(delays, 0), piece) for after, piece in counter(data, now_ns)]

    bench = room(FakeTransport(clock, answer, reopen_heals=False), clock)
    async with served(bench):
        await clock.advance(6)
    assert bench.statuses()[-1] == "ok"
    assert "desync" not in bench.statuses()
    assert_answers_are_their_own(bench, counter)


@pytest.mark.parametrize("second", [None, TextStep(b"MODE?\n", mode_form(), NS)])
async def test_while_identities_are_owed_another_question_is_the_barrier(second):
    clock = ManualClock()
    counter, mute = CountingInstrument(clock), iter([True])

    def answer(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        if data == b"MODE?\n":
            return [(10 * MS, b"MODE 1\n")]
        return [] if data == b"IDN?\n" and next(mute, False) else counter(data, now_ns)

    transport = FakeTransport(clock, answer, reopen_heals=False)
    bench = room(transport, clock, instrument(second_barrier=second))
    async with served(bench):
        await clock.advance(4.5)
    assert ("ok" in bench.statuses()) == (second is not None)
    assert transport.written.count(b"MODE?\n") == (1 if second else 0)
    assert_answers_are_their_own(bench, counter)


def wordless(*polls):
    return instrument(*polls, identify=None, barrier=None)


@pytest.mark.parametrize("late_ms", [1100, 1900, 2104, 2108, 5000, 9900])
async def test_an_instrument_that_cannot_prove_itself_is_left_alone_while_it_owes_an_answer(late_ms):
    clock = ManualClock()
    counter = CountingInstrument(clock, iter([10 * MS, late_ms * MS]))
    bench = room(FakeTransport(clock, counter, reopen_heals=False), clock, wordless())
    async with served(bench):
        await clock.advance(20)
    assert_answers_are_their_own(bench, counter)
    assert bench.statuses()[-3:] == ["ok"] * 3


async def test_an_answer_within_the_quiet_is_no_longer_owed_by_an_instrument_that_cannot_prove_itself():
    clock = ManualClock()
    counter = CountingInstrument(clock, iter([10 * MS, 1900 * MS]))
    bench = room(FakeTransport(clock, counter, reopen_heals=False), clock, wordless())
    async with served(bench):
        await clock.advance(6.5)
    assert "timeout" in bench.statuses()
    assert "desync" not in bench.statuses()
    assert bench.statuses()[-1] == "ok"
    assert_answers_are_their_own(bench, counter)


async def test_a_damaged_answer_is_an_answer_of_an_instrument_that_cannot_prove_itself():
    clock, damaged = ManualClock(), iter([b"1.0\n", b"#\n"])
    counter = CountingInstrument(clock)

    def answer(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        return [(after, next(damaged, piece)) for after, piece in counter(data, now_ns)]

    bench = room(FakeTransport(clock, answer, reopen_heals=False), clock, wordless())
    async with served(bench):
        await clock.advance(6.5)
    assert "protocol" in bench.statuses()
    assert "desync" not in bench.statuses()
    assert bench.statuses()[-1] == "ok"

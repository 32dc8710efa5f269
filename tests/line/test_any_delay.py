"""Whatever the delays: every value answers its own question, every slot is accounted for once, and the line heals.

Answers come in order from each instrument, or never. Alone on its wire it may take six times its latency. Where text
instruments share a wire, nothing in an answer says whose it is: there they take twice their latency at most, which is
what time-out and quiet together wait for.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.observation import NS
from daq.core.plan import InstrumentPlan
from tests.line.test_modbus_lines import assert_answers_are_their_own as assert_registers_are_their_own
from tests.line.units import Units, meter
from tests.line.wires import (
    MS,
    CountingInstrument,
    FakeTransport,
    Room,
    addressed,
    assert_answers_are_their_own,
    instrument,
    poll,
    room,
    running,
)
from tests.manual_clock import START, ManualClock

DELAYS = st.lists(
    st.one_of(st.none(), st.integers(0, 6000), st.sampled_from([999, 1000, 1001, 1999, 2000, 2001])), max_size=12
)
IN_TIME = st.lists(st.one_of(st.none(), st.integers(0, 1999), st.sampled_from([999, 1000, 1001])), max_size=12)
UNIT_DELAYS = st.lists(st.one_of(st.none(), st.integers(0, 800), st.sampled_from([249, 250, 251, 500])), max_size=12)
MANY = settings(max_examples=30, deadline=None, derandomize=True)


def ns(delays: list[int | None]) -> list[int | None]:
    return [None if delay is None else delay * MS for delay in delays]


def assert_every_slot_once(bench: Room, plan: InstrumentPlan, seconds: int) -> None:
    own = plan.polls[0]
    counted: Counter[int] = Counter()
    for seen in bench.observations:
        if seen.instrument != plan.name:
            continue
        first, last = (seen.slots.first_ns, seen.slots.last_ns) if seen.slots else (seen.due_ns, seen.due_ns)
        told = range(first, last + 1, own.every_ns)
        assert len(told) == (seen.slots.count if seen.slots else 1)
        counted.update(told)
    end_ns = START.utc_ns + seconds * NS
    due = set(range(START.utc_ns + own.phase_ns, end_ns + 1, own.every_ns))
    assert set(counted) >= due
    assert set(counted.values()) == {1}


async def play(bench: Room, seconds: int) -> None:
    async with running(bench):
        await bench.clock.advance(seconds)
    assert "ok" in bench.statuses()[-3:], "the line does not heal"


@MANY
@given(DELAYS, st.booleans(), st.booleans(), st.booleans())
def test_a_text_instrument(delays, reopen_heals, has_barrier, says_who):
    async def session() -> None:
        clock = ManualClock()
        counter = CountingInstrument(clock, iter(ns(delays)))
        given = {} if has_barrier else {"barrier": None}
        plan = instrument(**given) if says_who else instrument(identify=None, **given)
        bench = room(FakeTransport(clock, counter, reopen_heals=reopen_heals), clock, plan)
        await play(bench, 300)
        assert_answers_are_their_own(bench, counter)
        assert_every_slot_once(bench, plan, 300)

    asyncio.run(session())


@MANY
@given(IN_TIME, IN_TIME)
def test_two_text_instruments_on_one_serial_line(delays_1, delays_2):
    async def session() -> None:
        clock = ManualClock()
        one = CountingInstrument(clock, iter(ns(delays_1)))
        two = CountingInstrument(clock, iter(ns(delays_2)), number=10_000)
        plans = [
            addressed(instrument(name="one"), b"1"),
            addressed(instrument(poll(phase_ns=500 * MS), name="two"), b"2"),
        ]
        far = FakeTransport(
            clock, lambda data, now: (one if data[:1] == b"1" else two)(data[1:], now), reopen_heals=False
        )
        bench = room(far, clock, *plans)
        await play(bench, 400)
        assert_answers_are_their_own(bench, one, two)
        for plan in plans:
            assert_every_slot_once(bench, plan, 400)

    asyncio.run(session())


@MANY
@given(st.lists(UNIT_DELAYS, min_size=3, max_size=3))
def test_three_units_on_one_rtu_line(delays):
    async def session() -> None:
        clock = ManualClock()
        far = Units(clock, {unit: iter(ns(each)) for unit, each in enumerate(delays, 1)})
        plans = [meter(unit) for unit in (1, 2, 3)]
        bench = room(
            FakeTransport(clock, far, reopen_heals=False), clock, *plans, byte_ns=1_145_833, silence_ns=4_010_417
        )
        await play(bench, 300)
        assert_registers_are_their_own(bench, far)
        for plan in plans:
            assert_every_slot_once(bench, plan, 300)

    asyncio.run(session())


@MANY
@given(UNIT_DELAYS, UNIT_DELAYS, st.booleans())
def test_units_on_modbus_tcp(delays_1, delays_2, shared):
    async def session() -> None:
        clock = ManualClock()
        far = Units(clock, {1: iter(ns(delays_1)), 2: iter(ns(delays_2))}, mbap=True)
        plans = [meter(1), meter(2)][: 1 + shared]
        bench = room(FakeTransport(clock, far), clock, *plans, numbered=True)
        await play(bench, 300)
        assert_registers_are_their_own(bench, far)
        for plan in plans:
            assert_every_slot_once(bench, plan, 300)

    asyncio.run(session())

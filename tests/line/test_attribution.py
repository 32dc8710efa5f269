"""Whom and what an observation speaks of is what held when the question was asked, not when the answer was told."""

from __future__ import annotations

from daq.core.observation import NS
from tests.line.test_line import counting
from tests.line.wires import MS, CountingInstrument, FakeTransport, instrument, poll, room, running
from tests.manual_clock import ManualClock


async def test_a_reading_carries_the_mark_under_which_it_was_asked():
    clock, _, transport = counting(3 * NS, 3 * NS)
    point = ["10V"]
    slow = instrument(poll(every_ns=5 * NS, within_ns=4 * NS), latency_ns=4 * NS)
    bench = room(transport, clock, slow, context=lambda: (("point", point[0]),))
    async with running(bench):
        await clock.advance(2)
        point[0] = "20V"
        await clock.advance(7)
    assert [(seen.readings["n"].value, seen.context) for seen in bench.observations] == [
        ("1.0", (("point", "10V"),)),
        ("2.0", (("point", "20V"),)),
    ]


async def test_failures_under_different_marks_are_told_apart_and_each_under_its_own():
    clock, _, transport = counting()
    transport.absent = "connection refused"
    point = ["10V"]
    bench = room(transport, clock, context=lambda: (("point", point[0]),))
    async with running(bench):
        await clock.advance(4.5)
        point[0] = "20V"
        await clock.advance(3)
    told = [(seen.context[0][1], seen.slots.count if seen.slots else 1) for seen in bench.observations]
    assert sum(count for where, count in told if where == "10V") == 5
    assert sum(count for where, count in told if where == "20V") == 3


async def test_a_run_of_failures_is_told_of_the_instrument_that_failed_not_of_the_one_that_came():
    clock, counter, transport = counting()
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(1.5)
        transport.absent = "connection refused"
        transport.hang_up()
        await clock.advance(10)
        counter.serial, transport.absent = "S2", None
        await clock.advance(20)
    failed = [seen for seen in bench.observations if seen.status != "ok"]
    assert {(seen.identity.serial, seen.info) for seen in failed} == {("S1", "dmm:S1")}
    assert bench.observations[-1].identity.serial == "S2"


async def test_a_run_of_failures_ends_where_another_instrument_goes_on_failing():
    clock, counter, transport = counting(10 * MS, *[None] * 100)
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(10.5)
        counter.serial = "SIM-2"
        await clock.advance(30)
    failed = [seen for seen in bench.observations if seen.status != "ok"]
    assert {(seen.identity.serial, seen.simulated) for seen in failed} == {("S1", False), ("SIM-2", True)}
    for seen in failed:
        assert seen.simulated or (seen.slots.first_ns if seen.slots else seen.due_ns) <= clock.now().utc_ns - 30 * NS


async def test_an_instrument_is_described_before_anything_else_is_said_of_it():
    """Whether it is simulated is known by its serial number alone, and goes into its state as well."""
    clock = ManualClock()
    bench = room(FakeTransport(clock, CountingInstrument(clock, serial="SIM-1")), clock)
    async with running(bench):
        await clock.advance(1.5)
    before = dict(bench.described)["SIM-1"]
    assert [str(verdict.state) for _, verdict in bench.verdicts[:before]] == ["lost"]
    assert [str(verdict.state) for _, verdict in bench.verdicts[before:]] == ["ok"]

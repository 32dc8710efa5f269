"""What came due before the line ran is told by it, once; what came due behind that is asked."""

from __future__ import annotations

import itertools

from daq.core.observation import NS
from tests.line.wires import CountingInstrument, FakeTransport, room, running
from tests.manual_clock import ManualClock

AWAY_S = 3600


def counted():
    clock = ManualClock()
    return clock, FakeTransport(clock, CountingInstrument(clock, itertools.repeat(10_000_000)))


async def test_slots_of_the_time_away_are_one_observation_and_the_next_ones_are_asked():
    clock, transport = counted()
    await clock.advance(AWAY_S + 0.5)
    left_ns = clock.mono_ns - AWAY_S * NS
    bench = room(transport, clock, since={("dmm", "n"): left_ns})
    async with running(bench):
        await clock.advance(2)
    away, *asked = bench.observations
    assert (away.status, away.slots.count) == ("skipped", AWAY_S)
    assert "not running" in away.detail
    assert [seen.status for seen in asked] == ["ok", "ok"]
    assert [seen.due_ns for seen in asked] == [away.slots.last_ns + NS, away.slots.last_ns + 2 * NS]


async def test_who_was_not_away_tells_nothing():
    clock, transport = counted()
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(1.5)
    assert bench.statuses() == ["ok", "ok"]

"""A line asks what is due, and publishes nothing that was not the answer to that very question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from daq.core.observation import NS
from tests.line.wires import MS, CountingInstrument, FakeTransport, Room, instrument, poll, room
from tests.manual_clock import ManualClock


@asynccontextmanager
async def running(room: Room) -> AsyncIterator[None]:
    task = asyncio.create_task(room.line.run())
    try:
        yield
    finally:
        room.line.stop()
        await room.clock.advance_until(task.done, 60)
        await task


async def test_every_slot_brings_the_answer_to_its_own_question():
    clock = ManualClock()
    counter = CountingInstrument(clock)
    bench = room(FakeTransport(clock, counter), clock)
    async with running(bench):
        await clock.advance(10.5)
    assert set(bench.statuses()) == {"ok"}
    assert bench.values() == [f"{n}.0" for n in range(1, 12)]
    assert bench.slots() == 11


async def test_a_late_answer_is_never_taken_for_the_next_one():
    clock = ManualClock()
    counter = CountingInstrument(clock, iter([10 * MS, 1500 * MS, 10 * MS]))
    bench = room(FakeTransport(clock, counter, reopen_heals=False), clock)
    async with running(bench):
        await clock.advance(8.5)
    assert bench.statuses()[:2] == ["ok", "timeout"]
    assert_no_shift(bench, counter)


def assert_no_shift(bench: Room, *instruments: CountingInstrument) -> None:
    for seen in bench.observations:
        if seen.readings:
            asked_ns = seen.timing.mono_ns - seen.timing.err_ns
            answers = {each.log.get(when) for each in instruments for when in (asked_ns, asked_ns + 1)}
            assert seen.readings["n"].value in answers, seen

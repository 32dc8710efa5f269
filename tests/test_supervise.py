"""What fails inside starts again, ever later, and never takes the supervisor along."""

import asyncio
from itertools import pairwise

from daq.core.observation import NS
from daq.supervise import LONGEST_PAUSE_NS, supervise
from tests.manual_clock import ManualClock


async def test_failures_are_told_and_waited_out_ever_longer():
    clock = ManualClock()
    begun, told = [], []

    async def run():
        begun.append(clock.now().mono_ns)
        if len(begun) < 10:
            raise ZeroDivisionError("division by zero")

    task = asyncio.create_task(supervise("line[x]", run, clock, told.append))
    await clock.advance(600)
    await task
    pauses = [(after - before) / NS for before, after in pairwise(begun)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert told == ["ZeroDivisionError: division by zero"] * 9


async def test_after_two_good_minutes_pauses_begin_anew():
    clock = ManualClock()
    begun = []

    async def run():
        begun.append(clock.now().mono_ns)
        if len(begun) == 4:
            await clock.wait(clock.now().mono_ns + 2 * LONGEST_PAUSE_NS + 1)
        if len(begun) < 6:
            raise OSError("gone")

    task = asyncio.create_task(supervise("line[x]", run, clock, lambda _: None))
    await clock.advance(600)
    await task
    assert begun[5] - begun[4] == 2 * NS
    assert begun[4] - begun[3] == 2 * LONGEST_PAUSE_NS + 1 + NS


async def test_a_run_that_returns_is_over():
    async def run():
        return

    await supervise("line[x]", run, ManualClock(), lambda _: None)

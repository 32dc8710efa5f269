"""Keeps a line or a sink running, whatever happens inside it: one exception never takes its neighbours along.

station -> supervise(run) -> run, and run again          station -> done_before(stop, work) -> work, or the stop
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from daq.clock import Clock
from daq.core.observation import NS

log = logging.getLogger(__name__)

FIRST_PAUSE_NS = NS
LONGEST_PAUSE_NS = 60 * NS
"""Pause before what failed inside is started again: doubling, 1 s to 60 s; at first again after two good minutes."""


SLOW_S = 10.0
"""What takes longer before the station runs is worth a word in the log."""


async def done_before(stop: asyncio.Event, work: Coroutine[Any, Any, None], slow: str) -> bool:
    """Do what may hang, and leave it there when the stop comes first; `slow`: said in the log after SLOW_S.

    Returns:
        Whether it was done.

    Raises:
        Exception: what `work` raised.
    """
    doing, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({doing, stopping}, timeout=SLOW_S, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            log.error("%s", slow)
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        return doing.done()
    finally:
        doing.cancel()
        stopping.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)


async def supervise(
    name: str, run: Callable[[], Coroutine[Any, Any, None]], clock: Clock, failed: Callable[[str], None]
) -> None:
    """Run a line or a sink until it returns; start it again when it fails inside, ever later.

    The exception is logged with its trace, told to `failed`, and waited out.
    """
    pause_ns = FIRST_PAUSE_NS
    while True:
        begun_ns = clock.now().mono_ns
        try:
            await run()
        except Exception as error:
            log.exception("%s failed inside", name)
            failed(f"{type(error).__name__}: {error}")
        else:
            return
        lasted = clock.now().mono_ns - begun_ns > 2 * LONGEST_PAUSE_NS
        pause_ns = FIRST_PAUSE_NS if lasted else pause_ns
        await clock.wait(clock.now().mono_ns + pause_ns)
        pause_ns = min(2 * pause_ns, LONGEST_PAUSE_NS)

"""Keeps a line or a sink running, whatever happens inside it: one exception never takes its neighbours along.

station -> supervise(run) -> run, and run again
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from daq.clock import Clock
from daq.core.observation import NS

log = logging.getLogger(__name__)

FIRST_PAUSE_NS = NS
LONGEST_PAUSE_NS = 60 * NS
"""Pause before what failed inside is started again: doubling, 1 s to 60 s; at first again after two good minutes."""


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

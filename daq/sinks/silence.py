"""Notices a broker that keeps its connection open and answers nothing: what counts is that it acknowledges.

Looked at now and then, so that no message need carry when it was sent.

    delivery (what is in flight) -> watch -> ConnectionLost
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from daq.clock import Clock
from daq.core.observation import NS
from daq.sinks.publisher import ConnectionLost


async def watch(flying: Mapping[int, object], timeout_s: float, clock: Clock) -> NoReturn:
    """Watch for ever.

    Args:
        flying: what was sent and not acknowledged, oldest first; keys are used once.
        timeout_s: for so long the oldest may wait.
        clock: time.

    Raises:
        ConnectionLost: it has waited longer.
    """
    limit_ns = int(timeout_s * NS)
    awaited, since_ns = None, 0
    while True:
        oldest, now_ns = next(iter(flying), None), clock.now().mono_ns
        if oldest is None or oldest != awaited:
            awaited, since_ns = oldest, now_ns
        elif now_ns - since_ns > limit_ns:
            raise ConnectionLost(f"no acknowledgement for {timeout_s:g} s", silent=True)
        await clock.wait(now_ns + min(NS, limit_ns // 4))

"""Keeps the table on the terminal up to date, and the connection to the broker.

sinks.subscriber -> hear -> Board -> draw -> terminal
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from daq.core.errors import SinkError
from daq.sinks.publisher import MqttSettings
from daq.sinks.subscriber import Message, messages
from daq.watch.board import Board
from daq.watch.table import drawn

REDRAW_S = 0.25
AGAIN_S = 2.0
"""Pause before a broker that is away is tried again."""


async def draw(board: Board, footer: Callable[[], str], over: asyncio.Event, console: Console) -> None:
    """Redraw the table until it is over."""
    with Live(console=console, auto_refresh=False) as live:
        while not over.is_set():
            live.update(drawn(board, time.time(), footer(), console.height, console.width), refresh=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REDRAW_S):
                    await over.wait()


async def hear(
    settings: MqttSettings, topic: str, take: Callable[[Message], None], trouble: Callable[[str], None]
) -> None:
    """Hand every message to `take`, for ever; a broker that is away is told to `trouble` and tried again."""
    while True:
        try:
            async for message in messages(settings, topic):
                take(message)
        except SinkError as error:
            trouble(f"{error}; trying again")
            await asyncio.sleep(AGAIN_S)

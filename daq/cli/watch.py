"""`daq watch`: the live table of a station, from its broker."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daq import build
from daq.core.errors import DaqError
from daq.load import load_bench
from daq.sinks.publisher import MqttSettings
from daq.sinks.subscriber import Message
from daq.watch.board import Board
from daq.watch.live import draw, hear


def watch(
    bench: Annotated[Path, typer.Argument(help="Bench file: names the broker and the station.", exists=True)],
    seconds: Annotated[float | None, typer.Option(help="End after so long; else Ctrl-C ends it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The messages themselves, one a line, no table.")] = False,
) -> None:
    """Show what a station publishes, live. Only subscribes; may run anywhere that reaches the broker."""
    loaded = load_bench(bench)
    mqtt, station = loaded.bench.mqtt, loaded.bench.station
    if mqtt is None:
        raise DaqError(f"{bench}: mqtt: left out, so nothing is published. Add mqtt: {{url: ...}} to watch.")
    topic = f"{mqtt.prefix}/{station.site}/{station.name}/#"
    with contextlib.suppress(TimeoutError):
        asyncio.run(_watch(build.mqtt_settings(mqtt), topic, seconds, as_json))


async def _watch(settings: MqttSettings, topic: str, seconds: float | None, as_json: bool) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, over.set)
    board = Board()
    calm = "Ctrl-C ends the watching, not the station."
    footer = [calm]

    def take(message: Message) -> None:
        footer[:] = [calm]
        board.take(message.topic, message.payload)
        if as_json:
            typer.echo(f'{{"topic":"{message.topic}","payload":{message.payload.decode() or "null"}}}')

    def trouble(words: str) -> None:
        footer[:] = [words]
        if as_json:
            typer.echo(words, err=True)

    hearing = asyncio.create_task(hear(settings, topic, take, trouble), name="watch[listen]")
    try:
        async with asyncio.timeout(seconds):
            await (over.wait() if as_json else draw(board, lambda: footer[0], over, Console()))
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)

"""`daq read`: ask the instruments of a bench once, to the terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daq.clock import SystemClock, boot_id
from daq.core.errors import DaqError, nearest
from daq.core.message import StationName
from daq.core.observation import NS, Observation
from daq.core.observation_message import observation_payload
from daq.load import Loaded, load_bench
from daq.loop import new_event_loop
from daq.once import Found, read_once, refuse_what_is_held
from daq.watch.board import shown
from daq.watch.table import printable


def read(
    bench: Annotated[Path, typer.Argument(help="Bench file.", exists=True, dir_okay=False)],
    instrument: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One observation a line, as it would be published.")] = False,
) -> None:
    """Ask each poll once and show what came. Journals and publishes nothing.

    Exit code 0 when every poll was answered, else 1.
    """
    loaded = load_bench(bench)
    if instrument is not None and instrument not in loaded.plans:
        raise DaqError(f"{bench}: no instrument {instrument!r}. {nearest(instrument, loaded.plans)}")
    refuse_what_is_held(loaded, instrument)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(read_once(loaded, instrument, SystemClock()))
    if as_json:
        for place, obs in enumerate(found.observations, start=1):
            typer.echo(_json(loaded, obs, place))
    else:
        _show(found)
    if not found.all_ok:
        raise typer.Exit(1)


def _json(loaded: Loaded, obs: Observation, place: int) -> str:
    named = loaded.bench.station
    station = StationName(named.site, named.name)
    return observation_payload(obs, station, boot=boot_id(), epoch="read", seq=place, durable=False).decode()


def _show(found: Found) -> None:
    console = Console()
    table = Table("instrument", "poll", "channel", "value", "unit", "status", "± s", box=None)
    for obs in found.observations:
        err = "" if obs.timing is None else f"{obs.timing.err_ns / NS:.4f}"
        if not obs.readings:
            table.add_row(obs.instrument, obs.poll, "", "", "", Text(obs.status, "red"), err)
        for channel, reading in obs.readings.items():
            status = Text(" ".join((reading.status, *reading.flags)), "green" if reading.status == "ok" else "yellow")
            value = Text(printable(shown(reading.value, reading.text)), "bold", justify="right")
            table.add_row(obs.instrument, obs.poll, channel, value, reading.unit, status, err)
    console.print(table)
    for obs in found.observations:
        if obs.detail:
            console.print(Text(f"{obs.instrument}/{obs.poll}: {obs.status}: {printable(obs.detail)}", "red"))
    for instrument, words in found.events:
        console.print(Text(f"{instrument}: {printable(words)}", "yellow"))

"""`daq plan`: what a bench will ask, and how busy each wire will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from daq.core.budget import Cost, costs
from daq.core.observation import NS
from daq.core.wiring import Wiring, wirings
from daq.load import load_bench

Costs = Mapping[Wiring, Sequence[Cost]]


def plan(
    bench: Annotated[Path, typer.Argument(help="Bench file, such as configs/demo.yaml.", exists=True, dir_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: polls and load by wire.")] = False,
) -> None:
    """Show the exchanges of every poll and the load of every wire, without opening any.

    The load is what bytes, pauses and apertures take at least; instruments that think take longer. A wire above 100 %
    cannot keep its intervals: exit code 1.
    """
    loaded = load_bench(bench)
    drivers = {name: loaded.drivers[each.driver] for name, each in loaded.bench.instruments.items()}
    found = {wiring: list(costs(wiring, loaded.plans, drivers)) for wiring in wirings(loaded.bench, loaded.drivers)}
    if as_json:
        typer.echo(orjson.dumps([_json(wiring, polls) for wiring, polls in found.items()]).decode())
    else:
        _show(found, Console())
    overfull = [wiring.name for wiring, polls in found.items() if _load(polls) > 1]
    for name in overfull:
        typer.echo(f"wire {name}: more than can be asked. Make intervals longer or apertures shorter.", err=True)
    for instrument, each in loaded.plans.items():
        for warning in each.warnings:
            typer.echo(f"{instrument}: {warning}", err=True)
    if overfull:
        raise typer.Exit(1)


def _load(polls: Sequence[Cost]) -> float:
    return sum(poll.load for poll in polls)


def _show(found: Costs, console: Console) -> None:
    """Print a table for each wire."""
    for wiring, polls in found.items():
        console.print(f"{wiring.name} ({wiring.interface}): {_load(polls):.1%}", style="bold", soft_wrap=True)
        console.print(_table(polls))
        console.print()


def _table(polls: Sequence[Cost]) -> Table:
    table = Table("instrument", "poll", "every", "takes", "load", "asks", box=None, padding=(0, 1, 0, 2), pad_edge=True)
    for poll in polls:
        every = "unasked" if poll.every_ns is None else _time(poll.every_ns)
        asks = "\n".join(poll.exchanges)
        table.add_row(poll.instrument, poll.poll, every, _time(poll.takes_ns), f"{poll.load:.1%}", asks)
    return table


def _time(ns: int) -> str:
    return f"{ns / NS:g} s" if ns >= NS else f"{ns / 1e6:.3g} ms"


def _json(wiring: Wiring, polls: Sequence[Cost]) -> dict[str, Any]:
    return {
        "wire": wiring.name,
        "interface": wiring.interface,
        "load": _load(polls),
        "polls": [
            {
                "instrument": poll.instrument,
                "poll": poll.poll,
                "every_s": None if poll.every_ns is None else poll.every_ns / NS,
                "exchanges": list(poll.exchanges),
                "takes_s": poll.takes_ns / NS,
                "load": poll.load,
            }
            for poll in polls
        ],
    }

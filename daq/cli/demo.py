"""`daq demo`: a simulated bench, end to end, on this machine alone."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from daq.demo.run import all_is_well, demonstrate

UNWATCHED_S = 15.0
"""How long a demonstration takes that nobody watches and nobody can end."""


def demo(
    seconds: Annotated[float | None, typer.Option(help="End after so long; else Ctrl-C ends it.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="No table; one JSON line at the end.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Save the last table to this file, as SVG.")] = None,
) -> None:
    """Run simulated instruments, a broker, the daemon and a live table; audit every value at the end.

    Without a terminal it takes 15 s and prints one JSON line, as with --seconds 15 --json. Exit code 0 when every value
    was right, none was lost and every due slot is accounted for; else 1.
    """
    if not sys.stdout.isatty() and not as_json:
        seconds, as_json = seconds or UNWATCHED_S, True
    console = Console()
    report = asyncio.run(demonstrate(seconds, watch=not as_json, console=console, picture=picture))
    if as_json:
        typer.echo(orjson.dumps(report).decode())
    else:
        _tell(report, console)
    if not all_is_well(report):
        raise typer.Exit(1)


def _tell(report: dict[str, object], console: Console) -> None:
    console.print(
        f"{report['received']} observations of {report['instruments']} instruments, {report['readings']} readings "
        f"compared with the simulators' own log: {report['wrong']} wrong, {report['lost']} lost, "
        f"{report['outside_bounds']} outside their time bounds, {report['slots_unaccounted']} slots unaccounted for."
    )
    told = report["told"]
    assert isinstance(told, list)
    for line in told:
        console.print(f"  {line}", markup=False)

"""`daq journal`: what the journal of a station holds, whether the station runs or not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer

from daq.archive import folder_of, journal_info, records
from daq.core.errors import DaqError, nearest
from daq.core.message import rfc3339
from daq.export import csv_header, csv_lines, json_lines
from daq.journal import END_OF_TIME_NS
from daq.load import Loaded, load_bench

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Show or export what the journal holds.")

Bench = Annotated[Path, typer.Argument(help="Bench file of the station.", exists=True, dir_okay=False)]
When = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="2026-11-23T13:30, this computer's time; else with Z or +07:00."),
]


@app.command()
def info(
    bench: Bench,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say how much the journal holds, of what, and what the sinks have not taken yet."""
    told = journal_info(load_bench(bench))
    if as_json:
        typer.echo(orjson.dumps(told).decode())
        return
    for key, value in told.items():
        typer.echo(f"{key.removesuffix('_ns')}: {_readable(key, value)}")


@app.command()
def export(
    bench: Bench,
    form: Annotated[Literal["jsonl", "csv"], typer.Option("--as", help="JSON Lines, or a row a reading.")] = "jsonl",
    since: When = None,
    until: When = None,
    stream: Annotated[list[str] | None, typer.Option(help="An instrument, or instrument/poll; again for more.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; else standard output.")] = None,
) -> None:
    """Write observations, and what they mean, in order of time, digit for digit as they were published."""
    loaded = load_bench(bench)
    _know(stream or [], loaded)
    found = records(folder_of(loaded), _ns(since, 0), _ns(until, END_OF_TIME_NS), stream)
    with output.open("wb") if output is not None else sys.stdout.buffer as file:
        if form == "csv":
            file.write(csv_header().encode())
            file.writelines(line.encode() for line in csv_lines(found))
        else:
            file.writelines(json_lines(found))


def _readable(key: str, value: Any) -> str:
    if key.endswith("_ns") and isinstance(value, int):
        return rfc3339(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return str(value)


def _ns(when: str | None, otherwise: int) -> int:
    """Read a time; one without a zone is of this computer's, and what is taken for it is said."""
    if when is None:
        return otherwise
    try:
        told = datetime.fromisoformat(when)
    except ValueError:
        raise typer.BadParameter(f"{when!r} is no time. Write it like 2026-11-23T13:30 or 2026-11-23T06:30Z.") from None
    if told.tzinfo is None:
        told = told.astimezone()
        typer.echo(f"{when} is taken for {told.isoformat()}", err=True)
    return int(told.timestamp()) * 1_000_000_000


def _know(streams: Sequence[str], loaded: Loaded) -> None:
    """Refuse a name that the bench does not have: an empty file would look like no data."""
    known = {*loaded.plans, *(f"{name}/{poll.name}" for name, plan in loaded.plans.items() for poll in plan.polls)}
    for stream in streams:
        if stream not in known:
            raise DaqError(f"no instrument or poll {stream!r} in {loaded.path}. {nearest(stream, known)}")

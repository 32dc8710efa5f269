"""`daq journal`: what the journal of a station holds, whether the station runs or not."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer

from daq.archive import END_OF_TIME_NS, folder_of, journal_info, records
from daq.export import csv_header, csv_lines, json_lines
from daq.load import load_bench

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Show or export what the journal holds.")

Bench = Annotated[Path, typer.Argument(help="Bench file of the station.")]
When = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="UTC.")]


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
        typer.echo(f"{key}: {value}")


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
    found = records(folder_of(load_bench(bench)), _ns(since, 0), _ns(until, END_OF_TIME_NS), stream)
    with output.open("wb") if output is not None else sys.stdout.buffer as file:
        if form == "csv":
            file.write(csv_header().encode())
            file.writelines(line.encode() for line in csv_lines(found))
        else:
            file.writelines(json_lines(found))


def _ns(when: datetime | None, otherwise: int) -> int:
    return otherwise if when is None else int(when.replace(tzinfo=UTC).timestamp()) * 1_000_000_000

"""`daq status`: how the running station and each of its instruments fare."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from daq.cli import reach
from daq.core.message import rfc3339

UNBOUNDED = 4096
"""Columns of a file or a pipe, which has no edge to cut words at."""

COLUMNS = ("instrument", "status", "since", "wire", "good", "failed", "resyncs", "why")

_COLOURS = {"ok": "green", "degraded": "yellow", "lost": "red"}


def status(
    bench: reach.Bench = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """Show how the running station, its instruments, its journal and its broker fare.

    Exit code 0 when all instruments are ok, 1 when one is not.
    """
    answer = reach.ask_once(bench, do="status")
    if as_json:
        typer.echo(orjson.dumps(answer).decode())
    else:
        _show(answer)
    if any(each["status"] != "ok" for each in answer["instruments"].values()):
        raise typer.Exit(1)


def _show(answer: dict[str, Any]) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=UNBOUNDED, soft_wrap=True)
    console.print(_heading(answer))
    table = Table(*(Column(name, overflow="fold") for name in COLUMNS), box=None)
    for name, each in answer["instruments"].items():
        table.add_row(
            name,
            Text(each["status"], _COLOURS.get(each["status"], "")),
            each["since"][:19],
            each["wire"],
            str(each["good"]),
            str(each["failed"]),
            str(each["resyncs"]),
            Text(each["why"] or ""),
        )
    console.print(table)
    console.print(_pairs("journal", answer["journal"]))
    for name, sink in answer["sinks"].items():
        console.print(_pairs(name, sink))


def _heading(answer: dict[str, Any]) -> Text:
    station, clock = answer["station"], answer["clock"]
    bound = "unknown" if clock["err"] is None else f"{clock['err']} s"
    return Text(
        f"{station['site']}/{station['name']}  version {station['version']}  pid {station['pid']}  up since "
        f"{station['since']}  clock: {clock['source']}, bound to UTC {bound}"
    )


def _pairs(name: str, values: dict[str, Any]) -> Text:
    told = (
        f"{key.removesuffix('_ns')} {_readable(key, each)}" for key, each in values.items() if each not in (None, {})
    )
    return Text(f"{name}: " + ", ".join(told))


def _readable(key: str, value: Any) -> str:
    if key.endswith("_ns"):
        return rfc3339(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(f"{name} {count}" for name, count in value.items()) if isinstance(value, dict) else str(value)

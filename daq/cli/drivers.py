"""`daq drivers`: which instruments have a driver, and what each of them can read."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import ConfigError
from daq.load import Shelf, load_driver

WIDE = 300
"""Columns where nobody looks but grep: every row on a line of its own."""


def drivers(
    words: Annotated[
        list[str] | None, typer.Argument(help="Only those with all these words: maker, quantity, modbus, serial.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: drivers by name.")] = False,
) -> None:
    """List the drivers in ./drivers, in $BENCH_DAQ_DRIVERS and those that came with bench-daq."""
    found, wrong = _all(Shelf.beside())
    rows = {name: row for name, row in found.items() if _has(words or [], name, row)}
    if as_json:
        typer.echo(orjson.dumps(rows).decode())
    else:
        Console(width=None if sys.stdout.isatty() else WIDE).print(_table(rows))
    for problem in wrong:
        typer.echo(problem, err=True)
    if words and not rows:
        typer.echo(f"no driver has {' '.join(words)!r} in its row. Without words, all are listed.", err=True)
        raise typer.Exit(1)


def _all(shelf: Shelf) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return a row for each driver that can be read, and the problems of the others."""
    rows: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for name, file in shelf.names().items():
        try:
            rows[name] = _row(load_driver(file)[0])
        except ConfigError as error:
            wrong += error.problems
    return rows, wrong


def _row(driver: Driver) -> dict[str, Any]:
    return {
        "title": driver.title,
        "speaks": driver.speaks,
        "interface": _interface(driver),
        "polls": _polls(driver),
        "quantities": _quantities(driver),
        "verified": driver.verified,
        "source": driver.source,
    }


def _interface(driver: Driver) -> str:
    """Return how it is reached, as far as the driver says: one with serial settings has a serial port."""
    language = "Modbus" if isinstance(driver, RegisterDriver) else "text"
    return language if driver.link.line is None else f"{language}, serial {driver.link.line}"


def _polls(driver: Driver) -> list[str]:
    return [*driver.polls, *(driver.streams if isinstance(driver, TextDriver) else ())]


def _quantities(driver: Driver) -> list[str]:
    if isinstance(driver, RegisterDriver):
        return sorted({channel.quantity for poll in driver.polls.values() for channel in poll.channels.values()})
    asked = {channel.quantity for poll in driver.polls.values() for channel in poll.channels.values()}
    heard = {channel.quantity for stream in driver.streams.values() for channel in stream.channels.values()}
    return sorted(asked | heard)


def _has(words: list[str], name: str, row: dict[str, Any]) -> bool:
    text = f"{name} {row}".lower()
    return all(word.lower() in text for word in words)


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    table = Table("driver", "instrument", "interface", "quantities", "verified", box=None, pad_edge=False)
    for name, row in rows.items():
        table.add_row(name, row["title"], row["interface"], ", ".join(row["quantities"]), row["verified"])
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    return table

"""`daq drivers`: which instruments have a driver, and what each of them can read."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import ConfigError, nearest
from daq.load import Shelf, load_driver

WIDE = 300
"""Columns where nobody looks but grep: every row on a line of its own."""

LONG = 4
"""Letters from which on a word may stand within another, as 465a in 34465a; a shorter one begins it."""


def drivers(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only those with all these words: maker, model, quantity such as voltage.dc, modbus, serial."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: drivers by name.")] = False,
) -> None:
    """List the drivers in ./drivers, in $BENCH_DAQ_DRIVERS and those that came with bench-daq."""
    found, wrong = _all(Shelf.beside())
    known = {name: _words(name, row) for name, row in found.items()}
    rows = {name: row for name, row in found.items() if all(_has(word, known[name]) for word in words or [])}
    if as_json:
        typer.echo(orjson.dumps(rows).decode())
    elif rows:
        Console(width=None if sys.stdout.isatty() else WIDE).print(_table(rows))
    for problem in wrong:
        typer.echo(problem, err=True)
    if words and not rows:
        typer.echo(_nobody(words, {each for tokens in known.values() for each in tokens}), err=True)
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


def _words(name: str, row: dict[str, Any]) -> set[str]:
    """Return what a driver is found by: each word, and the parts of those with points and strokes in them."""
    text = " ".join((name, row["title"], row["interface"], row["speaks"], *row["quantities"], *row["polls"])).lower()
    whole = set(re.findall(r"[^\s,;()]+", text))
    return whole | {part for word in whole for part in re.split(r"[^\w]+", word) if part}


def _has(word: str, known: Iterable[str]) -> bool:
    wanted = word.lower()
    return any(one.startswith(wanted) or (len(wanted) >= LONG and wanted in one) for one in known)


def _nobody(words: list[str], known: set[str]) -> str:
    """Say which word no driver has, and which was probably meant."""
    unknown = [word for word in words if not _has(word, known)]
    if not unknown:
        return f"no driver has {' and '.join(map(repr, words))} at once. Give fewer words; without any, all are listed."
    near = nearest(unknown[0].lower(), known)
    meant = f" {near}" if near.startswith("Nearest") else ""
    return f"no driver has {unknown[0]!r} in its row.{meant} Without words, all are listed."


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    table = Table("driver", "instrument", "interface", "quantities", "verified", box=None, pad_edge=False)
    for name, row in rows.items():
        table.add_row(name, row["title"], row["interface"], ", ".join(row["quantities"]), row["verified"])
    for column in table.columns:
        column.overflow = "fold"
    table.columns[0].no_wrap = True
    return table

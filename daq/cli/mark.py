"""`daq mark`: say what the bench is working on; every observation from now on carries it."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from daq.cli import reach


def mark(
    pairs: Annotated[list[str] | None, typer.Argument(help="key=value, such as job=J-88; key= takes it away.")] = None,
    bench: reach.Bench = None,
    clear: Annotated[bool, typer.Option("--clear", help="Forget all marks first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Set or show the context (job, point, operator, ...) that observations carry.

    Marks outlive a restart of the station. Without pairs, the marks in force are shown.
    """
    wrong = [pair for pair in pairs or [] if "=" not in pair or pair.startswith("=")]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is no key=value. Write it like job=J-88.")
    changes = dict(pair.split("=", 1) for pair in pairs or [])
    context = reach.ask_once(bench, do="mark", clear=clear, changes=changes)["context"]
    if as_json:
        typer.echo(orjson.dumps(context).decode())
    else:
        typer.echo(" ".join(f"{key}={value}" for key, value in context.items()) or "(no marks)")

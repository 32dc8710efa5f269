"""`daq driver`: make a driver: begin one, try it against the instrument, record its answers, hold it to the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from daq.load import Shelf

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make a driver: begin one, try it against the instrument, record its answers, hold it to the rules.",
)

DriverFile = Annotated[Path, typer.Argument(help="Driver file.", exists=True, dir_okay=False, metavar="FILE")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command("test")
def hold(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Driver files.", exists=True, dir_okay=False, metavar="FILE...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every driver in ./drivers and those shipped.")] = False,
    as_json: Json = False,
) -> None:
    """Run the examples of drivers and look for what they lack.

    Problems and failed examples end with exit code 1; warnings are right and yet a risk, and leave it 0. Each is one
    line: file:line:column: key: what. How to mend.
    """
    from daq.workshop.findings import examined  # noqa: PLC0415  only this verb needs it

    if everything == bool(files):
        raise typer.BadParameter("name driver files, or give --all.")
    found = {str(path): examined(path) for path in files or Shelf.beside().names().values()}
    if as_json:
        told = {
            file: {"examples": one.examples, "problems": one.problems, "warnings": one.warnings}
            for file, one in found.items()
        }
        typer.echo(orjson.dumps(told).decode())
    else:
        for file, one in found.items():
            _tell(file, one.examples, one.problems, one.warnings)
    if any(one.problems for one in found.values()):
        raise typer.Exit(1)


def _tell(file: str, examples: int, problems: list[str], warnings: list[str]) -> None:
    for line in problems:
        typer.echo(line)
    for line in warnings:
        typer.echo(f"{line} (a warning)")
    verdict = f"{_many(len(problems), 'problem')}" if problems else "fine"
    also = f", {_many(len(warnings), 'warning')}" if warnings else ""
    typer.echo(f"{file}: {_many(examples, 'example')}: {verdict}{also}")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"

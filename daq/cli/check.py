"""`daq check`: everything that is wrong with bench and driver files, without starting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from daq.core.errors import ConfigError
from daq.load import check_file, is_driver

File = Annotated[
    list[Path],
    typer.Argument(help="Bench or driver files.", exists=True, dir_okay=False, metavar="FILE..."),
]


def check(
    files: File,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: problems and warnings by file.")] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Also ask every instrument of a bench, each poll once, and try every topic at its broker."
        ),
    ] = False,
) -> None:
    """Check bench and driver files: form, names, drivers, wires; of drivers all that `daq driver test` looks at.

    Each problem is one line: file:line:column: key: what is wrong. How to mend. What is right and yet a risk is told on
    stderr and leaves the exit code 0.
    """
    found = {str(file): _found(file) for file in files}
    if probe:
        for path in files:
            if not found[str(path)]["problems"]:
                _probe(path, found[str(path)])
    if as_json:
        typer.echo(orjson.dumps(found).decode())
    else:
        for file, said in found.items():
            _tell(file, **said)
    if any(said["problems"] for said in found.values()):
        raise typer.Exit(1)


def _found(file: Path) -> dict[str, list[str]]:
    if is_driver(file):
        from daq.workshop.findings import examined  # noqa: PLC0415  a bench alone needs no workshop

        seen = examined(file)
        return {"problems": seen.problems, "warnings": seen.warnings}
    try:
        return {"problems": [], "warnings": check_file(file)}
    except ConfigError as error:
        return {"problems": error.problems, "warnings": []}


def _probe(file: Path, found: dict[str, list[str]]) -> None:
    """Ask the instruments of a bench, and its broker; add what failed, and who is not who it should be."""
    from daq.once import probed  # noqa: PLC0415  checking alone needs no device library

    seen = probed(file)
    found["problems"] += [f"{file}: {words}" for words in seen.problems]
    found["warnings"] += [f"{file}: {words}" for words in seen.warnings]


def _tell(file: str, problems: list[str], warnings: list[str]) -> None:
    typer.echo("\n".join(problems) or f"{file}: fine")
    for warning in warnings:
        typer.echo(f"{warning} (a warning)", err=True)

"""`daq check`: everything that is wrong with bench and driver files, without starting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from daq.core.errors import ConfigError
from daq.load import check_file

File = Annotated[
    list[Path],
    typer.Argument(help="Bench or driver files.", exists=True, dir_okay=False, metavar="FILE..."),
]


def check(
    files: File,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: problems by file.")] = False,
) -> None:
    """Check bench and driver files: form, names, drivers, wires, and the examples of drivers.

    Each problem is one line: file:line:column: key: what is wrong. How to mend.
    """
    found = {str(file): _problems(file) for file in files}
    if as_json:
        typer.echo(orjson.dumps(found).decode())
    else:
        for file, problems in found.items():
            typer.echo("\n".join(problems) or f"{file}: fine")
    if any(found.values()):
        raise typer.Exit(1)


def _problems(file: Path) -> list[str]:
    try:
        check_file(file)
    except ConfigError as error:
        return error.problems
    return []

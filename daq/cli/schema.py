"""`daq schema`: the JSON Schemas that editors and subscribers use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from daq.core.schema import schemas

Which = Annotated[Literal["bench", "driver", "messages"] | None, typer.Argument(help="Which schema to print.")]


def schema(
    which: Which = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write all of them into this folder instead.", metavar="DIR")
    ] = None,
) -> None:
    """Print a JSON Schema, generated from the very models that read the files."""
    if (which is None) == (write is None):
        raise typer.BadParameter("say bench, driver or messages, or --write DIR for all of them.")
    if write is not None:
        _write(write)
        return
    parts = {name: text for name, text in schemas().items() if name.split("/")[0].removesuffix(".json") == which}
    typer.echo("".join(parts.values()), nl=False)


def _write(folder: Path) -> None:
    for name, text in schemas().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        typer.echo(str(file))

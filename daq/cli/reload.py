"""`daq reload`: let the running station read its files again."""

from __future__ import annotations

import typer

from daq.cli import reach


def reload(bench: reach.Bench = None) -> None:
    """Read bench and driver files again; restart only what changed, or keep the old and say why (exit code 1)."""
    answer = reach.ask_once(bench, do="reload")
    for part in ("added", "removed", "restarted"):
        if answer[part]:
            typer.echo(f"{part}: {', '.join(answer[part])}")
    typer.echo(f"{answer['kept']} wires go on untouched")

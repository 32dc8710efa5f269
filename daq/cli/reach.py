"""Finds the running station that a verb is about, and asks it.

Not a verb: what status, mark, tap, reload and journal share. It never loads a whole bench: the station knows itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from daq import control, state
from daq.core.errors import DaqError
from daq.load import load_bench

Bench = Annotated[
    Path | None,
    typer.Option(
        "--bench",
        help="Bench file of the station; needed only where several stations run.",
        metavar="FILE",
        exists=True,
        dir_okay=False,
    ),
]


def station(bench: Path | None) -> Path:
    """Return the control socket of the station meant.

    Raises:
        DaqError: none runs, or several do and no bench file says which.
        ConfigError: the bench file is wrong.
    """
    if bench is not None:
        named = load_bench(bench).bench.station
        return state.socket_path(state.state_folder(named.site, named.name))
    found = state.sockets()
    if len(found) == 1:
        return found[0]
    if not found:
        raise DaqError("No station runs here, or none that you may ask. Start one with: daq run BENCH")
    listed = "\n".join(f"  {path}" for path in found)
    raise DaqError(f"Several stations run here. Say which with --bench FILE:\n{listed}")


def ask(bench: Path | None, **words: Any) -> Iterator[dict[str, Any]]:
    """Ask the station one question and yield its answers."""
    return control.ask(station(bench), words)


def ask_once(bench: Path | None, **words: Any) -> dict[str, Any]:
    """Ask the station a question that has one answer."""
    return next(ask(bench, **words))

"""Finds the running station that a verb is about, and asks it.

Not a verb: what status, mark, tap, reload and journal share. It never loads a bench: the station knows itself, and must
be found also while its file is being changed and is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from daq import control, state
from daq.core.errors import ConfigError, DaqError
from daq.load import named_station

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


SEARCH_S = 2.0
"""How long one of the stations may take to say which file it has read."""


def station(bench: Path | None) -> Path:
    """Return the control socket of the station meant.

    Raises:
        DaqError: none runs, or several do and no bench file says which.
        ConfigError: the bench file does not say which, and no running station has read it.
    """
    if bench is not None:
        return _station_of(bench)
    found = state.sockets()
    if len(found) == 1:
        return found[0]
    if not found:
        raise DaqError("No station runs here, or none that you may ask. Start one with: daq run BENCH")
    listed = "\n".join(f"  {path}" for path in found)
    raise DaqError(f"Several stations run here. Say which with --bench FILE:\n{listed}")


def _station_of(bench: Path) -> Path:
    """Return the control socket of the station that a bench file names, or else of the one that has read this file."""
    try:
        named = state.socket_path(state.state_folder(*named_station(bench)))
    except ConfigError:
        named = None
    if named is not None and named.exists():
        return named
    found = next((path for path in state.sockets() if _has_read(path, bench)), named)
    if found is None:
        raise DaqError(f"{bench}: does not say which station it is of (station: site, name), and none that runs here.")
    return found


def _has_read(path: Path, bench: Path) -> bool:
    """Whether the station at a control socket runs with this file."""
    try:
        answer = next(control.ask(path, {"do": "status"}, SEARCH_S))
    except (DaqError, OSError):
        return False
    return Path(str(answer["station"]["bench"])).resolve() == bench.resolve()


def ask(bench: Path | None, **words: Any) -> Iterator[dict[str, Any]]:
    """Ask the station one question and yield its answers."""
    return control.ask(station(bench), words)


def ask_once(bench: Path | None, **words: Any) -> dict[str, Any]:
    """Ask the station a question that has one answer."""
    return next(ask(bench, **words))

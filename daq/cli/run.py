"""`daq run`: the daemon."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from daq.logbook import Logbook
from daq.station import run_station
from daq.systemd import from_environment
from daq.waking import go_first

LogLevel = Literal["debug", "info", "warning"]


def run(
    bench: Annotated[Path, typer.Argument(help="Bench file, such as configs/demo.yaml.", exists=True, dir_okay=False)],
    log_level: Annotated[
        Literal["debug", "info", "warning"], typer.Option(help="How much is told on stderr.")
    ] = "info",
) -> None:
    """Run the station that a bench file describes, until SIGTERM or Ctrl-C; SIGHUP reads the files again.

    A wrong file refuses to start (exit code 1). An absent instrument or broker never does.
    """
    logbook = Logbook(sys.stderr.fileno())
    logging.basicConfig(level=log_level.upper(), handlers=[logbook], format=_log_format())
    go_first()  # the loop will run in this thread
    try:
        run_station(bench)
    finally:
        logbook.close()


def _log_format() -> str:
    """Let journald stamp what it collects; people at a terminal want the time."""
    return "%(levelname)s %(name)s: %(message)s" if from_environment().address else _WITH_TIME


_WITH_TIME = "%(asctime)s %(levelname)s %(name)s: %(message)s"

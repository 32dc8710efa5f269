"""`daq simulate`: the simulated instruments alone, to point a bench at."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from daq.load import data_path


def simulate(
    world: Annotated[Path | None, typer.Argument(help="World file; else the demo's, configs/demo-world.yaml.")] = None,
    log: Annotated[Path | None, typer.Option(help="Write every exchange there, one JSON line each.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so long; else Ctrl-C ends it.")] = None,
) -> None:
    """Serve simulated instruments on loopback and pseudo-terminals; the first line says where each stands (JSON).

    They are a program of their own, python -m simulators, that shares nothing with the daemon.
    """
    command = [sys.executable, "-m", "simulators", str(world or data_path("configs") / "demo-world.yaml")]
    if log is not None:
        command += ["--log", str(log)]
    if seconds is not None:
        command += ["--seconds", str(seconds)]
    os.execv(sys.executable, command)  # noqa: S606  the verb is that program

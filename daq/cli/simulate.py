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
    driver: Annotated[
        str | None, typer.Option(help="Serve this driver's own examples instead: its name, or its file.")
    ] = None,
    tcp: Annotated[int | None, typer.Option(help="With --driver: port of 127.0.0.1; 0, as usual, for any.")] = None,
    pty: Annotated[bool, typer.Option("--pty", help="With --driver: a pseudo-terminal, as a serial port.")] = False,
    seconds: Annotated[float | None, typer.Option(help="End after so long; else Ctrl-C ends it.")] = None,
) -> None:
    """Serve simulated instruments on loopback and pseudo-terminals; the first line says where each stands (JSON).

    They are a program of their own, python -m simulators, that shares nothing with the daemon. With --driver a stand-in
    of one driver answers as its examples do, and the bench lines to paste follow the first line.
    """
    if driver is None:
        if tcp is not None or pty:
            raise typer.BadParameter("--tcp and --pty go with --driver.")
        _simulators(world, log, seconds)
    elif world is not None or log is not None or (tcp is not None and pty):
        raise typer.BadParameter("with --driver goes --tcp or --pty, and neither a world nor --log.")
    else:
        from daq.workshop.simulate import serve_driver  # noqa: PLC0415  only this way needs it

        serve_driver(driver, None if pty else (tcp or 0), seconds, _say)


def _say(text: str, *, error: bool = False) -> None:
    typer.echo(text, err=error)


def _simulators(world: Path | None, log: Path | None, seconds: float | None) -> None:
    command = [sys.executable, "-m", "simulators", str(world or data_path("configs") / "demo-world.yaml")]
    if log is not None:
        command += ["--log", str(log)]
    if seconds is not None:
        command += ["--seconds", str(seconds)]
    os.execv(sys.executable, command)  # noqa: S606  the verb is that program

"""The command line: arguments in, exit code out; the work is done elsewhere.

One module a verb, imported only when that verb is called, so that `daq --help` and tab completion load no device
library. A new verb is a module with a function of its name (or a Typer called `app` for a verb with verbs of its own)
and a row in VERBS.

    argv -> app -> daq.cli.<verb> -> exit code: 0 fine, 1 found wrong, 2 used wrongly
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from daq import __version__
from daq.core.errors import ConfigError, DaqError

VERBS = {
    "run": "Run the station of a bench: the daemon.",
    "demo": "Run a simulated bench, end to end, with a live table.",
    "check": "Check bench and driver files; say everything that is wrong with them.",
    "plan": "Show what a bench will ask, and how busy each wire will be.",
    "drivers": "List the instruments that have a driver.",
    "driver": "Make a driver: begin, try, record, test.",
    "scan": "Look which instruments answer, and propose the bench lines for them.",
    "read": "Ask the instruments of a bench once, to the terminal.",
    "watch": "Show what a station publishes, live.",
    "status": "Show how a running station fares.",
    "mark": "Set what is being worked on (job=J-88); every observation then says so.",
    "tap": "Show the raw bytes of one instrument as they pass.",
    "reload": "Let a running station read its files again.",
    "journal": "Show or export what the journal holds.",
    "simulate": "Serve simulated instruments alone.",
    "service": "Print or install the systemd unit and udev rules.",
    "schema": "Print the JSON Schemas of bench, driver and messages.",
}
"""Verb -> what `daq --help` says of it, in the order of a working day."""


def app(verb: str | None) -> typer.Typer:
    """Build the command line with one verb alive; the others are there to be listed.

    Args:
        verb: the one that is called; None for `daq` and `daq --help`.
    """
    commands = typer.Typer(
        name="daq", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    commands.callback(help="Asks the instruments of a calibration bench what they read, and publishes it.")(_daq)
    for name, summary in VERBS.items():
        if name != verb:
            commands.command(name, help=summary)(_listed)
            continue
        module = import_module(f"daq.cli.{name}")
        if hasattr(module, "app"):
            commands.add_typer(module.app, name=name, help=summary)
        else:
            commands.command(name)(getattr(module, name))
    return commands


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb that the arguments (else sys.argv) name; leaves with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ± shall not end the program
    verb = next((word for word in words if not word.startswith("-")), None)
    try:
        app(verb)(words, prog_name="daq")
    except ConfigError as error:
        _say(error.problems)
    except DaqError as error:
        _say([str(error)])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has seen enough
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say([f"{where}{error.strerror}. Is the path right, may you write there, and is there room?"])


def _say(problems: Sequence[str]) -> None:
    for problem in problems:
        typer.echo(problem, err=True)
    sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bench-daq {__version__}")
        raise typer.Exit


def _daq(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Hold the options of `daq` itself."""


def _listed() -> None:
    """Stand for a verb that is not called."""

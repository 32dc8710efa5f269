"""`daq driver`: make a driver: begin one, try it against the instrument, record its answers, hold it to the rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from daq.load import Shelf, load_driver

if TYPE_CHECKING:
    from daq.core.driver import Driver
    from daq.workshop.attempt import Attempt

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make a driver: begin one, try it against the instrument, record its answers, hold it to the rules.",
)

DriverFile = Annotated[Path, typer.Argument(help="Driver file.", exists=True, dir_okay=False, metavar="FILE")]
At = Annotated[
    str,
    typer.Option(
        help="Where it is, as in a bench file: tcp=HOST:PORT, serial=DEVICE, visa=RESOURCE, modbus_tcp=HOST:PORT, "
        "modbus_rtu_over_tcp=HOST:PORT.",
        metavar="WAY=PLACE",
    ),
]
Line = Annotated[str | None, typer.Option(help="Serial settings, such as 9600/8n1; else the driver's.")]
Unit = Annotated[int | None, typer.Option(help="Modbus unit.", min=0, max=255)]
Backend = Annotated[str | None, typer.Option(help="VISA library, such as @py or @ivi.")]
Polls = Annotated[list[str] | None, typer.Option("--poll", help="Only this poll; again for more.")]
Settings = Annotated[list[str] | None, typer.Option("--setting", help="name=value for the polls; again for more.")]
Configure = Annotated[
    bool, typer.Option("--configure", help="Also set it up and enter modes; without, the front panel is left alone.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command("test")
def hold(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Driver files.", exists=True, dir_okay=False, metavar="FILE...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every driver in ./drivers and those shipped.")] = False,
    as_json: Json = False,
) -> None:
    """Run the examples of drivers and look for what they lack.

    Problems and failed examples end with exit code 1; warnings are right and yet a risk, and leave it 0. Each is one
    line: file:line:column: key: what. How to mend.
    """
    from daq.workshop.findings import examined  # noqa: PLC0415  only this verb needs it

    if everything == bool(files):
        raise typer.BadParameter("name driver files, or give --all.")
    found = {str(path): examined(path) for path in files or Shelf.beside().names().values()}
    if as_json:
        told = {
            file: {"examples": one.examples, "problems": one.problems, "warnings": one.warnings}
            for file, one in found.items()
        }
        typer.echo(orjson.dumps(told).decode())
    else:
        for file, one in found.items():
            _tell(file, one.examples, one.problems, one.warnings)
    if any(one.problems for one in found.values()):
        raise typer.Exit(1)


def _tell(file: str, examples: int, problems: list[str], warnings: list[str]) -> None:
    for line in problems:
        typer.echo(line)
    for line in warnings:
        typer.echo(f"{line} (a warning)")
    verdict = f"{_many(len(problems), 'problem')}" if problems else "fine"
    also = f", {_many(len(warnings), 'warning')}" if warnings else ""
    typer.echo(f"{file}: {_many(examples, 'example')}: {verdict}{also}")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


# Against an instrument ------------------------------------------------------------------------------------------------


@app.command("try")
def attempt(
    file: DriverFile,
    at: At,
    line: Line = None,
    unit: Unit = None,
    backend: Backend = None,
    polls: Polls = None,
    settings: Settings = None,
    configure: Configure = False,
    as_json: Json = False,
) -> None:
    """Ask a real instrument: who it is, then each poll once, with the bytes as they passed and what they read.

    Only questions are sent unless --configure is given. Of registers all word orders are shown side by side. Exit code
    0 when a bench could read it all, else 1.
    """
    from daq.workshop.shown import as_data, as_lines, order_table  # noqa: PLC0415  as in _attempted

    driver = load_driver(file)[0]
    found = _attempted(driver, at, line, unit, backend, polls, settings, configure)
    if as_json:
        typer.echo(orjson.dumps(as_data(driver, found)).decode())
    else:
        typer.echo("\n".join([*as_lines(found), *order_table(driver, found)]))
    if not found.all_ok:
        raise typer.Exit(1)


def _attempted(
    driver: Driver,
    at: str,
    line: str | None,
    unit: int | None,
    backend: str | None,
    polls: list[str] | None,
    settings: list[str] | None,
    configure: bool,
) -> Attempt:
    import asyncio  # noqa: PLC0415  what follows needs a loop and device libraries; holding files to rules does not

    from daq.clock import SystemClock  # noqa: PLC0415
    from daq.loop import new_event_loop  # noqa: PLC0415
    from daq.workshop import attempt, place  # noqa: PLC0415

    try:
        where = place.address(at, line=line, unit=unit, backend=backend)
        given = place.settings(settings or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(
            attempt.attempt(driver, where, SystemClock(), configure=configure, polls=polls, settings=given)
        )


@app.command()
def record(
    file: DriverFile,
    at: At,
    line: Line = None,
    unit: Unit = None,
    backend: Backend = None,
    polls: Polls = None,
    settings: Settings = None,
    configure: Configure = False,
    append: Annotated[
        bool, typer.Option("--append", help="Write them into FILE, behind its examples; else they are printed.")
    ] = False,
) -> None:
    """Keep the answers of a real instrument as examples of its driver, to be pasted, or with --append written.

    Only answers that the driver can read are kept; what it refused is told on stderr. Exit code 1 where nothing is
    kept.
    """
    from daq.clock import SystemClock  # noqa: PLC0415  as in _attempted
    from daq.workshop.record import append as write  # noqa: PLC0415
    from daq.workshop.record import examples, left_out, new_among  # noqa: PLC0415

    driver = load_driver(file)[0]
    found = _attempted(driver, at, line, unit, backend, polls, settings, configure)
    for words in [found.refused] if found.refused else left_out(driver, found):
        typer.echo(f"left out: {words}", err=True)
    kept = (
        [] if found.refused else new_among(examples(driver, found, SystemClock().now().utc_ns), file.read_text("utf-8"))
    )
    if not kept:
        typer.echo("nothing to keep.", err=True)
        raise typer.Exit(1)
    if append:
        write(file, kept)
        typer.echo(f"{file}: {_many(sum(not line.startswith('#') for line in kept), 'example')} more")
    else:
        typer.echo("\n".join(f"  {each}" for each in kept))

"""`daq driver`: make a driver: begin one, try it against the instrument, record its answers, hold it to the rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import orjson
import typer

from daq.core.errors import DaqError
from daq.load import Shelf, load_driver

if TYPE_CHECKING:
    from daq.core.driver import Driver
    from daq.workshop.attempt import Attempt
    from daq.workshop.findings import Examined

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make a driver: begin one, try it against the instrument, record its answers, hold it to the rules.",
)


def _driver_file(word: str) -> Path:
    """Return the file that is meant: by its path, or by the driver's name as a bench gives it."""
    path = Path(word)
    if path.is_file():
        return path
    shelf = Shelf.beside()
    found = None if word.endswith((".yaml", ".yml")) else shelf.find(word)
    if found is None:
        here = "no such file" if "." in path.name else "no such file or driver"
        raise typer.BadParameter(f"{word!r}: {here}. {shelf.nearest(word.removesuffix('.yaml'))}")
    return found


DriverFile = Annotated[
    Path, typer.Argument(help="Driver file, or name of a driver.", parser=_driver_file, metavar="FILE")
]
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


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Driver file to write, such as drivers/acme/dmm.yaml.", metavar="FILE")],
    similar: Annotated[
        str | None, typer.Option("--from", help="Begin from this driver: its name, or its file.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Maker and models.")] = None,
    source: Annotated[str | None, typer.Option(help="Manual, edition, pages.")] = None,
    speaks: Annotated[Literal["text", "registers"] | None, typer.Option(help="Lines of text, or Modbus.")] = None,
    eol: Annotated[Literal["LF", "CRLF", "CR"] | None, typer.Option(help="How lines of text end.")] = None,
    line: Annotated[str | None, typer.Option(help="Serial settings as delivered, such as 9600/8n1.")] = None,
    who: Annotated[str | None, typer.Option(help="Text: the reply to *IDN? as printed.")] = None,
    poll: Annotated[str | None, typer.Option(help="A name for the first poll.")] = None,
    ask: Annotated[str | None, typer.Option(help="Text: its question.")] = None,
    got: Annotated[str | None, typer.Option(help="Text: its reply as the manual prints it.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Name of a number in the reply; again for more.")] = None,
    quantity: Annotated[list[str] | None, typer.Option(help="What it is, such as voltage.dc.")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="Its unit, a UCUM code such as V.")] = None,
    age: Annotated[str | None, typer.Option(help="Longest age of an answer, such as '500 ms'.")] = None,
    addressing: Annotated[Literal["pdu", "plc"] | None, typer.Option(help="Registers: counted from 0, or 1.")] = None,
    address: Annotated[str | None, typer.Option(help="Registers: address of the first number.")] = None,
    table: Annotated[Literal["input", "holding"] | None, typer.Option(help="Registers: which table.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Registers: int16, uint32, float32 ...")] = None,
    words: Annotated[str | None, typer.Option(help="Registers: an example, such as '4366 3334'.")] = None,
    value: Annotated[str | None, typer.Option(help="Registers: what that example reads.")] = None,
) -> None:
    """Begin a driver: write a commented skeleton, never over a file that is there.

    At a terminal it asks what was not given; an empty answer leaves a TODO. A reply as the manual prints it becomes a
    template and an example. `daq driver test` names the TODO lines that are left.
    """
    from daq.workshop.asking import asked  # noqa: PLC0415  only this verb needs it
    from daq.workshop.beginning import begin  # noqa: PLC0415
    from daq.workshop.new import doubts, with_comma  # noqa: PLC0415

    given = {
        "title": title, "source": source, "speaks": speaks, "eol": eol, "line": line, "who": who, "poll": poll,
        "ask": ask, "got": got, "channels": channel, "quantities": quantity, "units": unit, "age": age,
        "addressing": addressing, "address": address, "table": table, "type": kind, "words": words, "value": value,
    }  # fmt: skip
    question = _question if sys.stdin.isatty() else None
    wish = asked({key: each for key, each in given.items() if each}, question, copy=similar is not None)
    begin(file, wish, similar)
    if wish.decimal == ",":
        assumed = f"{with_comma(wish.got or '', 0)[0]} is one number, with a decimal comma (link: decimal)"
        typer.echo(f"{file}: assumed that {assumed}. If it is two, name both: --channel, twice.")
    for doubt in doubts(wish):
        typer.echo(f"{file}: {doubt}", err=True)
    typer.echo(f"{file}: begun. Fill in what says TODO, then: daq driver test {file}")


def _question(text: str) -> str:
    return str(typer.prompt(text, default="", show_default=False))


@app.command("test")
def hold(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Driver files, or names of drivers.", parser=_driver_file, metavar="FILE..."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every driver in ./drivers and those shipped.")] = False,
    as_json: Json = False,
) -> None:
    """Run the examples of drivers, damage their replies, and look for what they lack.

    Problems and failed examples end with exit code 1; warnings are right and yet a risk, and leave it 0; remarks, told
    of a file that is looked at alone, cannot be mended. Each is one line: file:line:column: key: what. How to mend.
    """
    from daq.workshop.findings import examined  # noqa: PLC0415  only this verb needs it

    if everything == bool(files):
        raise typer.BadParameter("name driver files, or give --all.")
    found = {str(path): examined(path) for path in files or Shelf.beside().names().values()}
    if as_json:
        told = {
            file: {
                "examples": one.examples,
                "problems": one.problems,
                "warnings": one.warnings,
                "remarks": one.remarks,
                "damaged": {"tried": one.tried, "passed": one.passed},
            }
            for file, one in found.items()
        }
        typer.echo(orjson.dumps(told).decode())
    else:
        for file, one in found.items():
            _tell(file, one, remarks=len(found) == 1)
    if any(one.problems for one in found.values()):
        raise typer.Exit(1)


def _tell(file: str, one: Examined, *, remarks: bool) -> None:
    """Print what was found; remarks, of which nothing can be mended, only where one file is looked at."""
    for line in one.problems:
        typer.echo(line)
    for line in one.warnings:
        typer.echo(f"{line} (a warning)")
    for line in one.remarks if remarks else ():
        typer.echo(f"{line} (a remark)")
    verdict = f"{_many(len(one.problems), 'problem')}" if one.problems else "fine"
    also = f", {_many(len(one.warnings), 'warning')}" if one.warnings else ""
    passed = f"; {one.passed} of {one.tried} damaged replies would pass" if one.passed else ""
    typer.echo(f"{file}: {_many(one.examples, 'example')}: {verdict}{also}{passed}")


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
    found = _attempted(file, driver, at, line, unit, backend, polls, settings, configure)
    if as_json:
        typer.echo(orjson.dumps(as_data(driver, found)).decode())
    else:
        typer.echo("\n".join([*as_lines(found), *order_table(driver, found)]))
    if not found.all_ok:
        raise typer.Exit(1)


def _attempted(
    file: Path,
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
    from daq.workshop import attempt, output_findings, place  # noqa: PLC0415

    if driver.speaks == "registers" and unit is None:
        raise typer.BadParameter("the Modbus unit is missing. Give --unit 1, or the address that the device has.")
    try:
        where = place.address(at, line=line, unit=unit, backend=backend)
        given = place.settings(settings or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if configure and driver.speaks == "text" and (unasked := output_findings.unasked_outputs(driver, given)):
        raise DaqError(f"Nothing was sent: --configure would put something out that nobody asked for. {unasked[0]}")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(
            attempt.attempt(
                driver, where, SystemClock(), name=str(file), configure=configure, polls=polls, settings=given
            )
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
    found = _attempted(file, driver, at, line, unit, backend, polls, settings, configure)
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


@app.command()
def replay(
    file: DriverFile,
    record: Annotated[
        Path,
        typer.Argument(
            help="Recorded dialogue: lines '> question' and '< answer', or JSON with ask and got; registers as "
            "frames, in hexadecimal.",
            exists=True,
            dir_okay=False,
            metavar="RECORD",
        ),
    ],
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Have the driver read a recorded dialogue, whoever recorded it: each answer's values and units, or why it is none.

    Nothing is asked. Exit code 1 where an answer is refused, or is to no question of the driver.
    """
    from daq.workshop import place  # noqa: PLC0415  only this verb needs it
    from daq.workshop.replay import pairs, replayed  # noqa: PLC0415
    from daq.workshop.shown import reread_data, reread_lines  # noqa: PLC0415

    driver = load_driver(file)[0]
    try:
        found = replayed(driver, pairs(_recorded(record)), place.settings(settings or []))
    except ValueError as error:
        raise typer.BadParameter(f"{record}: {error}") from None
    typer.echo(orjson.dumps(reread_data(found)).decode() if as_json else "\n".join(reread_lines(found)))
    if any(one.refused is not None for one in found) or not found:
        raise typer.Exit(1)


def _recorded(record: Path) -> str:
    """Read a recorded dialogue: in UTF-8, or byte for byte as a terminal logs it, with Latin-1's degree sign."""
    try:
        return record.read_text("utf-8")
    except UnicodeDecodeError:
        return record.read_text("latin-1")


@app.command()
def reference() -> None:
    """Print every key of a driver file with its meaning, as Markdown (docs/driver-reference.md)."""
    from daq.workshop.reference import reference as page  # noqa: PLC0415  only this verb needs it

    typer.echo(page(), nl=False)

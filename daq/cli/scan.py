"""`daq scan`: which instruments answer at the places that are named, and the bench lines for them."""

from __future__ import annotations

import asyncio
from typing import Annotated

import orjson
import typer

from daq.clock import SystemClock
from daq.core.bench import host_port, line_notation
from daq.core.observation import NS
from daq.loop import new_event_loop
from daq.workshop.places import Found, Wanted, all_drivers, as_data, lines_for, scanned, serial_ports, summary


def scan(
    visa: Annotated[bool, typer.Option("--visa", help="What the VISA library finds: LAN, USB, GPIB.")] = False,
    serial: Annotated[bool, typer.Option("--serial", help="All ports under /dev/serial/by-id.")] = False,
    port: Annotated[list[str] | None, typer.Option(help="This serial port; again for more.")] = None,
    tcp: Annotated[list[str] | None, typer.Option(help="HOST:PORT of a bare socket; again for more.")] = None,
    modbus: Annotated[
        list[str] | None, typer.Option(help="HOST:PORT of Modbus TCP, or the device of a line; again for more.")
    ] = None,
    rtu_over_tcp: Annotated[
        list[str] | None,
        typer.Option("--rtu-over-tcp", help="HOST:PORT of a serial-device server for Modbus RTU; again for more."),
    ] = None,
    units: Annotated[str, typer.Option(help="Modbus units, such as 1-16,20; else 1 on TCP, 1-10 on a line.")] = "",
    line: Annotated[
        str | None,
        typer.Option(help="Serial settings, tried with every driver; else those it comes with."),
    ] = None,
    backend: Annotated[str, typer.Option(help="VISA library.")] = "@py",
    wait: Annotated[float, typer.Option(help="Seconds that an answer may take.", min=0.05, max=60)] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Ask who is there, with read-only questions, and only at the places that you name.

    A station that runs has its wires for itself: stop it before its ports are scanned. Exit code 0 when somebody
    answered, else 1.
    """
    if not (visa or serial or port or tcp or modbus or rtu_over_tcp):
        raise typer.BadParameter(
            "nothing is scanned unasked. Give --visa, --serial, --port, --tcp, --modbus or --rtu-over-tcp."
        )
    wanted = Wanted(
        visa=visa,
        ports=[*(serial_ports() if serial else []), *(port or [])],
        tcp=[_checked(each) for each in tcp or []],
        modbus=[each if "/" in each else _checked(each) for each in modbus or []],
        rtu_over_tcp=[_checked(each) for each in rtu_over_tcp or []],
        units=_units(units),
        line=None if line is None else _line(line),
        backend=backend,
        wait_ns=round(wait * NS),
    )
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(scanned(wanted, all_drivers(), SystemClock(), _progress))
    if as_json:
        typer.echo(orjson.dumps(as_data(found)).decode())
    else:
        _show(found)
    if not found.answered:
        raise typer.Exit(1)


def _show(found: Found) -> None:
    for one in found.answered:
        typer.echo(f"# {summary(one)}")
    typer.echo(lines_for(found), nl=False)
    for place in found.silent:
        typer.echo(f"{place}: nobody answers.", err=True)
    for said in (*found.troubles, *found.hints):
        typer.echo(said, err=True)


def _progress(text: str) -> None:
    typer.echo(f"  {text}", err=True)


def _checked(place: str) -> str:
    try:
        return host_port(place)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _line(text: str) -> str:
    try:
        return line_notation(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _units(text: str) -> list[int]:
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit() or not 0 <= int(first) <= int(last or first) <= 255:
            raise typer.BadParameter(f"{part!r} is no range of Modbus units. Write it like 1-16,20, from 0 to 255.")
        found.extend(range(int(first), int(last or first) + 1))
    return found

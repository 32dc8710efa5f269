"""Goes through the places that a person allowed to be scanned, one after the other, and says what was found there.

--visa, --serial, --modbus, --tcp -> [scanned] -> Found (answers, silence, troubles) -> daq scan
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from daq.clock import Clock
from daq.core.bench import Address
from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import ConfigError, LinkError
from daq.core.observation import NS
from daq.core.wiring import DEFAULT_LINE
from daq.load import Shelf, load_driver
from daq.transports import visa_resources
from daq.workshop.bench_lines import Asked, bench_lines, instrument_name, pasted
from daq.workshop.entry import streams_of
from daq.workshop.scan import Answered, Fits, Told, delivered_with, lines_of, scan_registers, scan_text

BY_ID = Path("/dev/serial/by-id")
"""Where serial adapters stand by a name of their own (udev)."""

VISA_LIST_NS = 30 * NS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What may be scanned; nothing else is touched.

    Args:
        visa: ask the VISA library what there is.
        ports: serial ports for text.
        tcp: host:port for text.
        modbus: host:port for Modbus TCP, or a device for RTU.
        rtu_over_tcp: host:port of serial-device servers with Modbus RTU behind them.
        units: of Modbus; () for the usual: 1 on TCP, 1 to 10 on a line.
        line: serial settings; None for those that drivers are delivered with.
        backend: VISA library.
        wait_ns: how long an answer may take.
    """

    visa: bool = False
    ports: Sequence[str] = ()
    tcp: Sequence[str] = ()
    modbus: Sequence[str] = ()
    rtu_over_tcp: Sequence[str] = ()
    units: Sequence[int] = ()
    line: str | None = None
    backend: str = "@py"
    wait_ns: int = NS


@dataclass(slots=True)
class Found:
    """What a scan brought.

    Args:
        answered: who said something.
        silent: places where nobody did.
        troubles: places that could not be asked, and why.
        hints: what else may be tried, a sentence or more a place.
    """

    answered: list[Answered] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def serial_ports(folder: Path = BY_ID) -> list[str]:
    """Return the serial ports of this machine that have a name of their own."""
    return sorted(str(port) for port in folder.iterdir()) if folder.is_dir() else []


def all_drivers() -> dict[str, Driver]:
    """Return every driver that can be read, by name; `daq driver test --all` names the others."""
    found = {}
    for name, path in Shelf.beside().names().items():
        try:
            found[name] = load_driver(path)[0]
        except ConfigError:
            continue
    return found


async def scanned(wanted: Wanted, drivers: Mapping[str, Driver], clock: Clock, told: Told) -> Found:
    """Go through all places."""
    found = Found()
    for place in [*[Address(tcp=where) for where in wanted.tcp], *await _visa_places(wanted, clock, found)]:
        await _text([place], wanted, drivers, clock, told, found)
    for port in wanted.ports:
        lines = [wanted.line] if wanted.line else lines_of(drivers, TextDriver)
        await _text([Address(serial=port, line=line) for line in lines], wanted, drivers, clock, told, found)
    for where in wanted.modbus:
        ways = _on_line(where, wanted, drivers) if "/" in where else [Address(modbus_tcp=where, unit=1)]
        await _modbus(ways, wanted, drivers, clock, told, found)
    for where in wanted.rtu_over_tcp:
        await _modbus([Address(modbus_rtu_over_tcp=where, unit=1)], wanted, drivers, clock, told, found)
    return found


def _on_line(port: str, wanted: Wanted, drivers: Mapping[str, Driver]) -> list[Address]:
    """Return the ways of opening a serial port for Modbus, one for each of its settings."""
    lines = [wanted.line] if wanted.line else lines_of(drivers, RegisterDriver)
    return [Address(serial=port, line=line, unit=1) for line in lines]


async def _visa_places(wanted: Wanted, clock: Clock, found: Found) -> list[Address]:
    """Ask the VISA library; serial ports are left to --serial, which knows their settings."""
    if not wanted.visa:
        return []
    try:
        names = await visa_resources(wanted.backend, clock.now().mono_ns + VISA_LIST_NS)
    except LinkError as error:
        found.troubles.append(f"visa: {error}")
        return []
    if not names:
        found.silent.append(f"VISA library {wanted.backend}")
    backend = None if wanted.backend == "@py" else wanted.backend
    return [Address(visa=name, backend=backend) for name in names if not name.upper().startswith("ASRL")]


async def _text(
    ways: Sequence[Address], wanted: Wanted, drivers: Mapping[str, Driver], clock: Clock, told: Told, found: Found
) -> None:
    """Scan one place, with one way of opening it after the other until a driver fits."""
    vague: Answered | None = None  # at another baud rate it may be somebody we know
    for at in ways:
        told(f"{_name(at)}{f' at {at.line}' if at.line else ''} ...")
        ask = partial(scan_text, at, clock=clock, wait_ns=wanted.wait_ns, told=told)
        try:
            answered = await ask(_likely(drivers, at, wanted))
            if at.line is not None and answered is not None and answered.is_legible and not answered.is_sure:
                answered = await ask(drivers) or answered  # one that was set to other settings than its maker's
        except LinkError as error:
            found.troubles.append(str(error))
            return
        vague = vague or answered
        if answered is not None and answered.fits:
            vague = answered
            break
    if vague is not None:
        found.answered.append(vague)
    else:
        found.silent.append(_name(ways[0]))
    if vague is None or not vague.fits:
        found.hints.append(_text_hint(ways, vague))


def _likely(drivers: Mapping[str, Driver], at: Address, wanted: Wanted) -> Mapping[str, Driver]:
    """Return the drivers to be tried first: of lines whose settings nobody gave, those that are delivered so."""
    return drivers if at.line is None or wanted.line is not None else delivered_with(drivers, at.line)


async def _modbus(
    ways: Sequence[Address], wanted: Wanted, drivers: Mapping[str, Driver], clock: Clock, told: Told, found: Found
) -> None:
    """Scan one place, with one way of opening it after the other until somebody answers."""
    for at in ways:
        units = _units(at, wanted)
        told(f"{_name(at)}{f' at {at.line}' if at.line else ''} ...")
        try:
            answered = await scan_registers(at, units, drivers, clock, wait_ns=wanted.wait_ns, told=told)
        except LinkError as error:
            found.troubles.append(str(error))
            return
        found.answered.extend(answered)
        if answered:
            return
    found.silent.append(_name(ways[0]))
    found.hints.append(_modbus_hint(ways, _units(ways[0], wanted)))


def _units(at: Address, wanted: Wanted) -> list[int]:
    return list(wanted.units) or ([1] if at.modbus_tcp is not None else list(range(1, 11)))


# What else may be tried -----------------------------------------------------------------------------------------------


def _text_hint(ways: Sequence[Address], said: Answered | None) -> str:
    """Say what was tried at a place where no driver fits, and what was not: line settings above all."""
    place = _name(ways[0])
    lines = ", ".join(at.line for at in ways if at.line)
    if said is not None and said.is_legible:
        return f"{place}: begin a driver for it: daq driver new, or with --from one that speaks like it."
    if lines:
        heard = "what it says is not legible" if said is not None else "nobody understood"
        return (
            f"{place}: {heard} at {lines}. Look in the instrument's menu for its baud rate, data bits and parity, and "
            f"give them: --port {place} --line 19200/8n1. Questions ended with CR LF, LF and CR. Is the cable crossed "
            "where it must be, and the interface switched to RS-232?"
        )
    return (
        f"{place}: questions ended with CR LF, LF and CR. Is it the instrument's port for commands, and is no other "
        "program connected? Behind a serial-device server the baud rate is set there: it must be the instrument's."
    )


def _modbus_hint(ways: Sequence[Address], units: Sequence[int]) -> str:
    """Say which units, at which line settings, were asked in vain."""
    place = _name(ways[0])
    asked = f"unit{'s' if len(units) > 1 else ''} {_ranges(units)}"
    if ways[0].modbus_tcp is not None:
        return f"{place}: asked for {asked}. A gateway passes on to the units behind it: give --units 1-247."
    lines = ", ".join(at.line for at in ways if at.line)
    at = f" at {lines}" if lines else ""
    other = "--line 19200/8e1" if lines else "the baud rate of the server"
    return (
        f"{place}: asked for {asked}{at}. Others: --units 1-247, and {other}. Are A and B the right way round, and is "
        "the meter set to Modbus RTU?"
    )


def _ranges(units: Sequence[int]) -> str:
    """Return units as they are given: 1-10, or 1,2,9."""
    one_range = len(units) > 2 and [*units] == [*range(units[0], units[-1] + 1)]
    return f"{units[0]}-{units[-1]}" if one_range else ",".join(map(str, units))


def _name(at: Address) -> str:
    return str(getattr(at, at.way))


# What is printed ------------------------------------------------------------------------------------------------------


def summary(one: Answered) -> str:
    """Say in a line who answered where."""
    where = _name(one.at) + (f" unit {one.at.unit}" if one.at.unit is not None else "")
    if not one.fits:
        return f"{where}: somebody answers, and no driver knows it: {one.said.decode('latin-1').strip()!r}"
    first = one.fits[0]
    who = " ".join(word for key in ("maker", "model") if (word := first.fields.get(key, "").strip()))
    serial = first.fields.get("serial", "").strip()
    said = (
        ", ".join([*([who] if who else []), *([f"serial {serial}"] if serial else [])]) or "it does not say who it is"
    )
    others = f", or {', '.join(each.name for each in one.fits[1:])}" if len(one.fits) > 1 else ""
    doubt = "" if first.sure else " (nothing tells the model: look at the type plate)"
    return f"{where}: {said}{', simulated' if one.simulated else ''}: driver {first.name}{others}{doubt}"


def lines_for(found: Found) -> str:
    """Return the bench lines for all whose driver is known: of each the first poll, the others named beside it."""
    known = [(one, one.fits[0]) for one in found.answered if one.fits]
    wires = _shared(known)
    entries, taken = [], set[str]()
    for one, fit in known:
        polls, rest = _polls(fit)
        serial = fit.fields.get("serial", "").strip() or None
        name = _free(instrument_name(fit.name), taken)
        block = bench_lines(name, fit.name, _at(one, fit, wires), polls, serial_number=serial, configure=False)
        entries.append(block + (f"      # also: {', '.join(rest)}\n" if rest else ""))
    return pasted(entries, {name: _wire(way, place, line) for (way, place), (name, line) in wires.items()})


def _wire(way: str, place: str, line: str | None) -> Address:
    """Return the address of a wire: not validated, for it has no unit of its own."""
    written: dict[str, Any] = {way: place, "line": line}
    return Address.model_construct(**written)


def _shared(known: Sequence[tuple[Answered, Fits]]) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Return (way, place) -> name and settings of the wire, for lines with several instruments."""
    lines = [(one.at.way, _name(one.at)) for one, _ in known if one.at.way in {"serial", "modbus_rtu_over_tcp"}]
    shared = [line for line in dict.fromkeys(lines) if lines.count(line) > 1]
    settings = {(one.at.way, _name(one.at)): one.at.line for one, _ in known}
    return {line: (f"line{number}", settings[line]) for number, line in enumerate(shared, 1)}


def _at(one: Answered, fit: Fits, wires: Mapping[tuple[str, str], tuple[str, str | None]]) -> Address:
    """Return the address as a bench writes it: on a shared wire by its name, settings only where they are special."""
    line = (one.at.way, _name(one.at))
    if line in wires:
        return Address(wire=wires[line][0], unit=one.at.unit)
    usual = one.at.line == (fit.driver.link.line or DEFAULT_LINE)
    return one.at.model_copy(update={"line": None}) if usual else one.at


def _polls(fit: Fits) -> tuple[dict[str, Asked], list[str]]:
    """Return the poll to begin with, and the names of the others."""
    unasked, asked = streams_of(fit.driver), [*fit.driver.polls]
    if unasked and (fit.talks or not asked):
        return {unasked[0]: Asked(every=None)}, unasked[1:]
    return {asked[0]: Asked()}, asked[1:]


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    taken.add(found)
    return found


def as_data(found: Found) -> dict[str, object]:
    """Return the same for programs."""
    return {
        "answered": [
            {
                "at": one.at.model_dump(exclude_none=True),
                "said": one.said.decode("latin-1"),
                "simulated": one.simulated,
                "drivers": [{"name": fit.name, "sure": fit.sure, "identity": dict(fit.fields)} for fit in one.fits],
            }
            for one in found.answered
        ],
        "silent": found.silent,
        "troubles": found.troubles,
        "hints": found.hints,
        "bench": lines_for(found),
    }

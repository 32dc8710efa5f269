"""Says what cannot be true of a bench's wires and addresses, before anything is opened. Pure.

Bench, drivers -> wiring_problems -> Problem -> load (line and column)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from daq.core.bench import WIRED_BY, Bench, InstrumentFile, StationName
from daq.core.driver import Driver, RegisterDriver
from daq.core.errors import nearest, quoted
from daq.core.plan import Problem

Keys = tuple[str | int, ...]

EXAMPLE_STATION = StationName(site="example", name="example")
"""Where a driver is checked without a bench."""


def all_of(driver: Driver) -> InstrumentFile:
    """Return an instrument that asks everything its driver knows, for checking the driver alone."""
    registers = isinstance(driver, RegisterDriver)
    polls: dict[str, object] = {f"poll{i}": {"ask": poll, "every": "1 s"} for i, poll in enumerate(driver.polls)}
    if not isinstance(driver, RegisterDriver):
        polls |= {f"stream{i}": {"ask": stream} for i, stream in enumerate(driver.streams)}
    at = {"modbus_tcp": "localhost:502", "unit": 1} if registers else {"tcp": "localhost:5025"}
    return InstrumentFile.model_validate({"driver": "example", "at": at, "poll": polls})


def wiring_problems(bench: Bench, drivers: Mapping[str, Driver], wires: Collection[str]) -> list[Problem]:
    """Find what is wrong between the instruments of a bench.

    Args:
        bench: each part right in itself; parts that are not may be left out.
        drivers: those that could be read, by name.
        wires: names of all wires of the file, the wrong ones too.
    """
    return [*_wires(bench), *_addresses(bench, wires), *_units(bench), *_languages(bench, drivers)]


def _wires(bench: Bench) -> Iterator[Problem]:
    """Two wires at one place would be opened twice."""
    seen: dict[str, str] = {}
    for name, wire in bench.wires.items():
        way = next(each for each in WIRED_BY if getattr(wire, each) is not None)
        place = str(getattr(wire, way)).lower()
        if place in seen:
            message = f"wire {seen[place]!r} is there already. Keep one of them and name it for all its instruments."
            yield Problem("bench", ("wires", name, way), message)
        seen.setdefault(place, name)


def _addresses(bench: Bench, wires: Collection[str]) -> Iterator[Problem]:
    """Two instruments at one place need a wire; a wire that is named must exist."""
    taken = {
        str(getattr(wire, way)).lower(): f"wire {name!r}"
        for name, wire in bench.wires.items()
        for way in WIRED_BY
        if getattr(wire, way) is not None
    }
    for name, instrument in bench.instruments.items():
        at = instrument.at
        path: Keys = ("instruments", name, "at", at.way)
        if at.wire is not None:
            if at.wire not in wires:
                message = f"no wire {quoted(at.wire)}. {nearest(at.wire, wires)} Wires are the names under wires:."
                yield Problem("bench", path, message)
            continue
        address = getattr(at, at.way)
        place = address.lower() if at.modbus_tcp is None else f"{address.lower()} unit {at.unit}"
        if place in taken:
            yield Problem("bench", path, _shared(address, at.way, taken[place]))
        taken.setdefault(place, f"instrument {name!r}")


def _shared(address: str, way: str, other: str) -> str:
    if other.startswith("wire"):
        return f"{quoted(address)} is {other}. Write at: {{wire: {other.split()[1][1:-1]}}}."
    if way == "modbus_tcp":
        return f"{other} has this address and unit already. Give each its own unit."
    if way == "visa":
        return f"{other} is at this resource already. Give each its own, or ask both from one instrument."
    return (
        f"{other} is at {quoted(address)} already. Two on one line need a wire: "
        f"put {{{way}: {address}}} under wires: with a name, and write at: {{wire: NAME}} for both."
    )


def _units(bench: Bench) -> Iterator[Problem]:
    """Two units of one number answer at the same time."""
    seen: dict[tuple[str, int], str] = {}
    for name, instrument in bench.instruments.items():
        at = instrument.at
        if at.wire is None or at.unit is None:
            continue
        if (at.wire, at.unit) in seen:
            other = seen[at.wire, at.unit]
            message = f"unit {at.unit} on wire {at.wire!r} is instrument {other!r} already. Give each its own unit."
            yield Problem("bench", ("instruments", name, "at", "unit"), message)
        seen.setdefault((at.wire, at.unit), name)


def _languages(bench: Bench, drivers: Mapping[str, Driver]) -> Iterator[Problem]:
    """Registers need a Modbus address, text must not have one."""
    for name, instrument in bench.instruments.items():
        driver = drivers.get(instrument.driver)
        if driver is None:
            continue
        path: Keys = ("instruments", name, "at")
        if isinstance(driver, RegisterDriver):
            yield from _of_registers(bench, path, instrument)
        elif instrument.at.unit is not None or _is_modbus(bench, instrument):
            message = f"{instrument.driver} speaks text, and this is a Modbus address. Reach it by tcp, serial or visa."
            yield Problem("bench", path, message)


def _of_registers(bench: Bench, path: Keys, instrument: InstrumentFile) -> Iterator[Problem]:
    at = instrument.at
    if at.way in ("tcp", "visa"):
        message = (
            f"{instrument.driver} speaks Modbus registers, which {at.way} does not carry. "
            "Reach it by modbus_tcp, modbus_rtu_over_tcp, serial or a wire, with its unit."
        )
        yield Problem("bench", (*path, at.way), message)
    elif at.wire in bench.wires and bench.wires[at.wire].tcp is not None:
        message = f"wire {at.wire!r} is for text (tcp), and {instrument.driver} speaks Modbus registers. "
        yield Problem("bench", (*path, "wire"), message + "Write modbus_rtu_over_tcp for that wire.")
    elif at.unit is None:
        yield Problem("bench", (*path, "unit"), "is missing. Write the Modbus unit, such as unit: 1.")


def _is_modbus(bench: Bench, instrument: InstrumentFile) -> bool:
    at = instrument.at
    shared = bench.wires.get(at.wire) if at.wire is not None else None
    return (
        at.modbus_tcp is not None
        or at.modbus_rtu_over_tcp is not None
        or (shared is not None and shared.modbus_rtu_over_tcp is not None)
    )

"""Which instruments share which wire, how it is opened, and what cannot be true of it, before anything is opened.

Whatever names the same address is on the same wire, and one task will own it. Pure.

    Bench, drivers -> wiring_problems -> Problem -> load (line and column)
    Bench, drivers -> wirings -> station (transports, lines), plan (load of each wire)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from daq.core.address import Wire, WireKind, spot
from daq.core.bench import WIRED_BY, Address, Bench, InstrumentFile, WireFile
from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import nearest, quoted
from daq.core.line_settings import line_settings
from daq.core.modbus import silence_ns
from daq.core.plan import Problem
from daq.core.reached import as_reached

Framing = Literal["tcp", "rtu"]

DEFAULT_LINE = "9600/8n1"
"""Serial settings where neither bench nor driver gives any: what most instruments are delivered with."""

UNKNOWN_BAUD = 115_200
"""Behind a serial-device server, which keeps the silence of its line itself."""

_KINDS: dict[str, WireKind] = {
    "tcp": "tcp",
    "modbus_tcp": "tcp",
    "modbus_rtu_over_tcp": "tcp",
    "serial": "serial",
    "visa": "visa",
}


@dataclass(frozen=True, slots=True)
class Wiring:
    """One wire of the bench and who is on it.

    Args:
        name: from the bench file where it has one, else its address; names the task, `line[name]`.
        framing: of registers; None for text.
        gap_ns: shortest pause between an answer and the next question that the wire asks for.
        instruments: their names, in the order of the file.
    """

    name: str
    wire: Wire
    framing: Framing | None
    gap_ns: int
    instruments: tuple[str, ...]

    @property
    def interface(self) -> str:
        """The word for it in tables: tcp, visa, serial, modbus_tcp, modbus_rtu, modbus_rtu_over_tcp."""
        if self.framing is None:
            return self.wire.kind
        if self.framing == "tcp":
            return "modbus_tcp"
        return "modbus_rtu" if self.wire.kind == "serial" else "modbus_rtu_over_tcp"

    @property
    def silence_ns(self) -> int:
        """How long an RTU line must be silent between frames; behind a serial-device server as on a fast line."""
        if self.framing != "rtu":
            return 0
        return silence_ns(line_settings(self.wire.line).baud if self.wire.line is not None else UNKNOWN_BAUD)


def wirings(bench: Bench, drivers: Mapping[str, Driver]) -> tuple[Wiring, ...]:
    """Group the instruments of a bench by the wire they are on.

    Args:
        bench: as loaded and found right: addresses are complete, wires that are named exist.
        drivers: by the name that the bench file gives.
    """
    found: dict[tuple[WireKind, str], Wiring] = {}
    for name, instrument in bench.instruments.items():
        wiring = _wiring(bench, name, instrument, drivers[instrument.driver])
        place = (wiring.wire.kind, spot(wiring.wire.address))
        before = found.get(place)
        found[place] = wiring if before is None else _joined(before, wiring)
    return tuple(found.values())


def _joined(before: Wiring, more: Wiring) -> Wiring:
    behind = before.wire.behind_serial_server or more.wire.behind_serial_server
    return replace(
        before,
        wire=replace(before.wire, behind_serial_server=behind),
        gap_ns=max(before.gap_ns, more.gap_ns),
        instruments=before.instruments + more.instruments,
    )


def _wiring(bench: Bench, name: str, instrument: InstrumentFile, driver: Driver) -> Wiring:
    shared = bench.wires[instrument.at.wire] if instrument.at.wire is not None else None
    source = instrument.at if shared is None else shared
    key = next(key for key in _KINDS if getattr(source, key, None) is not None)
    wire = _wire(source, key, as_reached(driver, instrument))
    behind = "serial_server" in (instrument.behind, shared.behind if shared is not None else None)
    framing: Framing = "tcp" if key == "modbus_tcp" else "rtu"
    return Wiring(
        name=instrument.at.wire or wire.address,
        wire=replace(wire, behind_serial_server=behind or key == "modbus_rtu_over_tcp"),
        framing=framing if isinstance(driver, RegisterDriver) else None,
        gap_ns=shared.gap if shared is not None else 0,
        instruments=(name,),
    )


def _wire(source: Address | WireFile, key: str, driver: Driver) -> Wire:
    kind = _KINDS[key]
    return Wire(
        kind=kind,
        address=str(getattr(source, key)),
        line=(source.line or driver.link.line or DEFAULT_LINE) if kind == "serial" else None,
        backend=source.backend if isinstance(source, Address) else None,
        eol=driver.link.eol.encode("latin-1") if isinstance(driver, TextDriver) else b"",
        proven=isinstance(driver, RegisterDriver),
    )


# ---------------------------------------------------------------- what cannot be true

Keys = tuple[str | int, ...]


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
        place = spot(str(getattr(wire, way)))
        if place in seen:
            message = f"wire {seen[place]!r} is there already. Keep one of them and name it for all its instruments."
            yield Problem("bench", ("wires", name, way), message)
        seen.setdefault(place, name)


def _addresses(bench: Bench, wires: Collection[str]) -> Iterator[Problem]:
    """Two instruments at one place need a wire; a wire that is named must exist."""
    taken = {
        spot(str(getattr(wire, way))): f"wire {name!r}"
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
        place = spot(address) if at.modbus_tcp is None else f"{spot(address)} unit {at.unit}"
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
        if at.unit == 0 and at.modbus_tcp is None:
            message = "0 is said to all units of a line, and none answers it. Write the meter's own, 1 to 247."
            yield Problem("bench", ("instruments", name, "at", "unit"), message)
        if at.wire is None or at.unit is None:
            continue
        if (at.wire, at.unit) in seen:
            other = seen[at.wire, at.unit]
            message = f"unit {at.unit} on wire {at.wire!r} is instrument {other!r} already. Give each its own unit."
            yield Problem("bench", ("instruments", name, "at", "unit"), message)
        seen.setdefault((at.wire, at.unit), name)


def _languages(bench: Bench, drivers: Mapping[str, Driver]) -> Iterator[Problem]:
    """A wire carries one language; `compile` sees to addresses without a wire."""
    first: dict[str, tuple[str, bool]] = {}
    for name, instrument in bench.instruments.items():
        driver, wire = drivers.get(instrument.driver), bench.wires.get(instrument.at.wire or "")
        if driver is None or wire is None:
            continue
        path: Keys = ("instruments", name, "at", "wire")
        said = f"wire {instrument.at.wire!r}"
        if isinstance(driver, RegisterDriver) and wire.tcp is not None:
            message = f"{said} is for text (tcp), and driver {instrument.driver!r} speaks Modbus registers."
            yield Problem("bench", path, f"{message} Write modbus_rtu_over_tcp for that wire.")
        elif not isinstance(driver, RegisterDriver) and wire.modbus_rtu_over_tcp is not None:
            message = f"{said} is for Modbus (modbus_rtu_over_tcp), and driver {instrument.driver!r} speaks text."
            yield Problem("bench", path, f"{message} Write tcp for that wire.")
        else:
            other, registers = first.setdefault(instrument.at.wire or "", (name, isinstance(driver, RegisterDriver)))
            if registers != isinstance(driver, RegisterDriver):
                spoken, here = ("Modbus", "text") if registers else ("text", "Modbus")
                message = f"{said} carries {spoken} for {other!r}, and driver {instrument.driver!r} speaks {here}."
                yield Problem("bench", path, f"{message} Give it a line of its own.")

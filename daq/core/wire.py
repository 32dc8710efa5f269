"""Which instruments share which wire, and how that wire is opened.

Whatever names the same address is on the same wire, and one task will own it. Pure.

    Bench, drivers -> wirings -> station (transports, lines), plan (load of each wire)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from daq.core.address import Wire, WireKind
from daq.core.bench import Address, Bench, InstrumentFile, WireFile
from daq.core.driver import Driver, RegisterDriver, TextDriver

Framing = Literal["tcp", "rtu"]

DEFAULT_LINE = "9600/8n1"
"""Serial settings where neither bench nor driver gives any: what most instruments are delivered with."""

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


def wirings(bench: Bench, drivers: Mapping[str, Driver]) -> tuple[Wiring, ...]:
    """Group the instruments of a bench by the wire they are on.

    Args:
        bench: as loaded and found right: addresses are complete, wires that are named exist.
        drivers: by the name that the bench file gives.
    """
    found: dict[tuple[WireKind, str], Wiring] = {}
    for name, instrument in bench.instruments.items():
        wiring = _wiring(bench, name, instrument, drivers[instrument.driver])
        place = (wiring.wire.kind, wiring.wire.address)
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
    wire = _wire(source, key, driver)
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
    )

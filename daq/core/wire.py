"""Which instruments share which wire, and how that wire is opened.

A wire is an address with its line settings; whatever names the same address is on the same wire, and one task will own
it. Pure.

    Bench, drivers -> wires -> station (transports, lines), plan (load of each wire)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from daq.core.bench import Bench, InstrumentFile
from daq.core.driver import Driver, RegisterDriver

WireKind = Literal["tcp", "serial", "visa"]
Framing = Literal["tcp", "rtu"]

DEFAULT_LINE = "9600/8n1"
"""Serial settings where neither bench nor driver gives any: what most instruments are delivered with."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire of the bench.

    Args:
        name: from the bench file where it has one, else its address; names the task, `line[name]`.
        kind: which transport opens it.
        address: host:port, device or VISA resource.
        line: serial settings, "" where it is none.
        backend: VISA library, "" where it is none.
        behind_serial_server: closing the socket drops no outstanding reply.
        framing: of registers; None for text.
        gap_ns: shortest pause between an answer and the next question that the wire asks for.
        instruments: their names, in the order of the file.
    """

    name: str
    kind: WireKind
    address: str
    line: str
    backend: str
    behind_serial_server: bool
    framing: Framing | None
    gap_ns: int
    instruments: tuple[str, ...]

    @property
    def interface(self) -> str:
        """The word for it in tables: tcp, visa, serial, modbus_tcp, modbus_rtu, modbus_rtu_over_tcp."""
        if self.framing is None:
            return self.kind
        if self.framing == "tcp":
            return "modbus_tcp"
        return "modbus_rtu" if self.kind == "serial" else "modbus_rtu_over_tcp"


def wires(bench: Bench, drivers: Mapping[str, Driver]) -> tuple[Wire, ...]:
    """Group the instruments of a bench by the wire they are on.

    Args:
        bench: as loaded and found right: addresses are complete, wires that are named exist.
        drivers: by the name that the bench file gives.
    """
    found: dict[tuple[WireKind, str], Wire] = {}
    for name, instrument in bench.instruments.items():
        wire = _wire(bench, name, instrument, drivers[instrument.driver])
        before = found.get((wire.kind, wire.address))
        found[wire.kind, wire.address] = wire if before is None else _joined(before, wire)
    return tuple(found.values())


def _joined(before: Wire, more: Wire) -> Wire:
    return Wire(
        name=before.name,
        kind=before.kind,
        address=before.address,
        line=before.line,
        backend=before.backend,
        behind_serial_server=before.behind_serial_server or more.behind_serial_server,
        framing=before.framing or more.framing,
        gap_ns=max(before.gap_ns, more.gap_ns),
        instruments=before.instruments + more.instruments,
    )


def _wire(bench: Bench, name: str, instrument: InstrumentFile, driver: Driver) -> Wire:
    at = instrument.at
    shared = bench.wires[at.wire] if at.wire is not None else None
    source = shared or at
    kind, address, over_tcp = _address(source)
    registers = isinstance(driver, RegisterDriver)
    framing: Framing | None = None
    if registers:
        framing = "tcp" if getattr(source, "modbus_tcp", None) is not None else "rtu"
    return Wire(
        name=at.wire or address,
        kind=kind,
        address=address,
        line=(source.line or driver.link.line or DEFAULT_LINE) if kind == "serial" else "",
        backend=(at.backend or "@py") if kind == "visa" else "",
        behind_serial_server=over_tcp or instrument.behind is not None or (shared is not None and kind == "tcp"),
        framing=framing,
        gap_ns=shared.gap if shared is not None else 0,
        instruments=(name,),
    )


def _address(source: object) -> tuple[WireKind, str, bool]:
    """Return the kind, the address, and whether a serial-device server must stand behind it."""
    keys: tuple[tuple[str, WireKind], ...] = (
        ("tcp", "tcp"),
        ("modbus_tcp", "tcp"),
        ("modbus_rtu_over_tcp", "tcp"),
        ("serial", "serial"),
        ("visa", "visa"),
    )
    for key, kind in keys:
        address = getattr(source, key, None)
        if address is not None:
            return kind, address, key == "modbus_rtu_over_tcp"
    raise AssertionError("load lets no address without a key through")

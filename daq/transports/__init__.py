"""Transports move bytes, stamp them, translate the operating system's errors, and do nothing else.

They know no templates, no frames of their own and no retries. What is a whole reply, a Cut tells them; how long it may
take, a deadline on the monotonic clock; how much it may be, MAX_REPLY. Text and registers run over the same transports.

    session (Ask) -> line -> transport -> wire          a new transport: a class of this Protocol and a row in OPENERS
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from daq.core.address import Wire, WireKind, host_and_port
from daq.core.line_settings import line_settings
from daq.transports.seam import MAX_REPLY, Direct, Now, Received, Transport
from daq.transports.serial import Serial
from daq.transports.tcp import Tcp
from daq.transports.visa import Visa, visa_resources

__all__ = ["MAX_REPLY", "OPENERS", "Direct", "Received", "Transport", "visa_resources"]

USUAL_LINE = "9600/8n1"
"""Serial settings where neither the bench file nor the driver names any."""

USUAL_BACKEND = "@py"
"""The VISA library where the bench file names none: the one that comes with us."""


def _tcp(wire: Wire, clock: Now) -> Transport:
    host, port = host_and_port(wire.address)
    return Tcp(host, port, clock, behind_serial_server=wire.behind_serial_server)


def _serial(wire: Wire, clock: Now) -> Transport:
    return Serial(wire.address, line_settings(wire.line or USUAL_LINE), clock, proven=wire.proven)


def _visa(wire: Wire, clock: Now) -> Transport:
    line = None if wire.line is None else line_settings(wire.line)
    return Visa(wire.address, clock, backend=wire.backend or USUAL_BACKEND, eol=wire.eol, line=line)


OPENERS: Mapping[WireKind, Callable[[Wire, Now], Transport]] = MappingProxyType(
    {"tcp": _tcp, "serial": _serial, "visa": _visa}
)
"""Kind of wire -> makes its transport, not open yet. Raises ValueError where the wire is not written properly."""

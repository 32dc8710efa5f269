"""Where a wire is: the described counterpart of an open line, and the notation of network addresses. Pure.

bench file (at:, wires:) -> Wire -> transports.OPENERS
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

WireKind = Literal["tcp", "serial", "visa"]


@dataclass(frozen=True, slots=True)
class Wire:
    """An address and what must be known to open it.

    Args:
        kind: who opens it; Modbus TCP and RTU over TCP are `tcp` here.
        address: `host:port`, a device path, or a VISA resource name.
        line: serial settings such as `9600/8n1`; None for other kinds.
        backend: VISA library, such as `@py`; None for other kinds or for the default.
        behind_serial_server: a serial-device server stands between, so that closing the socket drops nothing.
        eol: how the instrument's messages end, for VISA resources without an END of their own (SOCKET, ASRL).
        proven: each message proves itself by a checksum, as in Modbus RTU.
    """

    kind: WireKind
    address: str
    line: str | None = None
    backend: str | None = None
    behind_serial_server: bool = False
    eol: bytes = b"\n"
    proven: bool = False


def host_and_port(text: str) -> tuple[str, int]:
    """Read `host:port`; an IPv6 number stands in brackets, as in `[fe80::1]:5025`.

    Raises:
        ValueError: not of that form; the message says how to mend it.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()):
        raise ValueError(f"{text!r} is no host:port. Write the port behind a colon, as in 10.0.0.5:5025.")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r}: port {port} is outside 1 to 65535. Put the port right.")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed != (":" in host):
        raise ValueError(f"{text!r}: an IPv6 number stands in brackets, and only that, as in [fe80::1]:5025.")
    return (host[1:-1] if bracketed else host), int(port)


def spot(text: str) -> str:
    """Return one spelling for all that name the same place: ports without zeros, names in small letters, IPv6 short.

    Devices and VISA resources differ by more than the size of their letters.
    """
    try:
        host, port = host_and_port(text)
    except ValueError:
        return text.lower()
    host = host.lower().rstrip(".")
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        host = "127.0.0.1" if host == "localhost" else host
    return f"{host} {port}"

"""Energy meters served by pymodbus, one on TCP and two on a serial line: a process that prints where, and runs until
its standard input ends.

The serial line is a pair of pseudo-terminals with a copier between, pymodbus's serial server at one end.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import tty

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

WORDS = 72
NUMBERS = [230.5, 231.25, 229.75, 5.0, 8.5, 1.125, 1152.5, -1000.0]
"""u1 to u3, i1 to i3, p1, p2: what stands at input registers 0 to 15; the rest is zero."""


def meter(unit: int, serial: int) -> SimDevice:
    """Registers as the manual of the SDM630 has them: floats and the serial number high word first."""
    block = struct.pack(f">{len(NUMBERS)}f", *NUMBERS).ljust(2 * WORDS, b"\0")
    inputs = [SimData(0, values=list(struct.unpack(f">{WORDS}H", block)), datatype=DataType.REGISTERS)]
    identity = [*struct.unpack(">2H", serial.to_bytes(4, "big")), 0x0070]
    holdings = [SimData(0xFC00, values=identity, datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    return SimDevice(unit, simdata=(bits, bits, holdings, inputs))


def line() -> tuple[str, str]:
    """Make a serial line and return the names of its two ends."""
    loop = asyncio.get_running_loop()
    ends = [os.openpty(), os.openpty()]
    for _, slave in ends:
        tty.setraw(slave)
    (one, _), (other, _) = ends
    loop.add_reader(one, lambda: os.write(other, os.read(one, 4096)))
    loop.add_reader(other, lambda: os.write(one, os.read(other, 4096)))
    return os.ttyname(ends[0][1]), os.ttyname(ends[1][1])


async def main() -> None:
    """Serve until standard input ends."""
    tcp = ModbusTcpServer(meter(1, 4290000003), address=("127.0.0.1", 0))
    await tcp.serve_forever(background=True)
    served, far = line()
    units = [meter(1, 4290000001), meter(2, 4290000002)]
    rtu = ModbusSerialServer(units, port=served, baudrate=9600)
    await rtu.serve_forever(background=True)
    port = tcp.transport.sockets[0].getsockname()[1]
    sys.stdout.write(json.dumps({"tcp": f"127.0.0.1:{port}", "serial": far}) + "\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    await tcp.shutdown()
    await rtu.shutdown()


asyncio.run(main())

"""Other programs that reach for an instrument that the daemon reads: on a port of their own, on the same line.

What such a program makes the instrument say on the daemon's own line is noted as forged, byte for byte: it is a true
answer, and none to a question of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from simulators.modbus import crc
from tests.faults.wires import PtyWire, SerialServer, Strike, TcpWire, Wire

LOOK_S = 0.001
PATIENCE_S = 10.0

QUESTIONS = {
    "text": b"*IDN?\n",
    "mbap": b"\x77\x77\0\0\0\6\1\4\0\0\0\2",
    "rtu": b"\1\4\0\0\0\2" + crc(b"\1\4\0\0\0\2"),
}
"""What the other program wants to know: who it is, or the first two registers."""


async def second_client(wire: Wire, strike: Strike) -> None:
    """Another program connects to the same port and asks, for a second or two; a serial server hands the line to it."""
    assert isinstance(wire, TcpWire)
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    heard = 0
    try:
        for _ in range(strike.rng.randint(1, 4)):
            writer.write(QUESTIONS[wire.framing])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    heard += bool(await reader.read(256))
            await asyncio.sleep(strike.rng.uniform(0, 2 * strike.latency_s))
    finally:
        writer.close()
    assert heard or isinstance(wire, SerialServer), f"{strike.instrument} did not speak to the other program"


async def second_master(wire: Wire, strike: Strike) -> None:
    """Another program puts the daemon's own questions on the same line; all hear the answers."""
    for _ in range(strike.rng.randint(1, 3)):
        assert wire.talk is not None, "the line is open"
        wire.talk.intrude(strike)
        await asyncio.sleep(strike.rng.uniform(0, strike.latency_s))


async def second_reader(wire: Wire, strike: Strike) -> None:
    """Another program opens the line beside the daemon and takes what it gets; that much of an answer is missing."""
    assert isinstance(wire, PtyWire)
    other = os.open(wire.name_of_device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    taken: list[bytes] = []
    wire.passed.clear()
    try:
        until = asyncio.get_running_loop().time() + strike.rng.uniform(1, 3) * strike.latency_s
        while asyncio.get_running_loop().time() < until:
            with contextlib.suppress(OSError):
                taken.append(os.read(other, strike.rng.randint(1, 64)))
            await asyncio.sleep(LOOK_S)
    finally:
        os.close(other)
    for reply in wire.passed:
        for piece in taken:
            strike.forge(reply.replace(piece, b"", 1))

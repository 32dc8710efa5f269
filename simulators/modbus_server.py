"""Serves register devices over Modbus TCP, and several on one RTU wire.

What a unit says leaves through its own outlet, so one unit may be silent or late while its neighbours answer.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from simulators import modbus
from simulators.dialogue import loud
from simulators.faults import Carrier, Faults, Outlet, Sent
from simulators.log import Exchange, Log
from simulators.modbus import Device
from simulators.text_server import LOOPBACK, Listener, SocketCarrier

MAX_PENDING = 32  # answers a wire may owe at once, late ones included; a request beyond them is lost
TURNAROUND_S = 0.002  # what a slave takes to answer: more than 3.5 characters at 38400 Bd


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came.

    Attributes:
        frame: all of it, for the log.
        head: transaction and protocol on TCP, which the reply repeats; empty on a serial line.
        pdu: function code and data.
        asked_ns: when it was complete, monotonic.
    """

    frame: bytes
    head: bytes
    pdu: bytes
    asked_ns: int


class Unit:
    """One device with its address, faults and log."""

    def __init__(self, name: str, unit: int, device: Device, faults: Faults, log: Log) -> None:
        self.name = name
        self.unit = unit
        self.faults = faults
        self._device = device
        self._outlet = Outlet(faults, lines=False)
        self._log = log

    async def hear(self, request: Request, carrier: Carrier) -> None:
        """Answer one request."""
        reply = modbus.reply(self._device, request.pdu)
        tail = struct.pack(">HB", len(reply.pdu) + 1, self.unit) + reply.pdu
        answer = request.head + tail if request.head else modbus.rtu(self.unit, reply.pdu)

        def note(sent: Sent) -> None:
            self._log.write(
                Exchange(
                    instrument=self.name,
                    unit=self.unit,
                    kind="registers",
                    ask=request.frame.hex(),
                    answer=sent.data.hex(),
                    asked_mono_ns=request.asked_ns,
                    answered_mono_ns=time.monotonic_ns(),
                    sampled_mono_ns=reply.sampled if sent.whole else (),
                    values=reply.values if sent.whole else {},
                    fault=sent.fault,
                )
            )

        await self._outlet.send(answer, carrier, note)


class ModbusTcpServer(Listener):
    """One device on a port of its own; a request for another unit is not answered."""

    def __init__(self, unit: Unit, port: int) -> None:
        super().__init__(port)
        self._unit = unit

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer request by request; a header that is none ends the connection."""
        carrier = SocketCarrier(writer)
        while True:
            header = await reader.readexactly(7)
            protocol, length, unit = struct.unpack(">HHB", header[2:])
            if protocol != 0 or not 2 <= length <= 254:
                return
            pdu = await reader.readexactly(length - 1)
            if unit == self._unit.unit:
                await self._unit.hear(Request(header + pdu, header[:4], pdu, time.monotonic_ns()), carrier)
                await writer.drain()

    def where(self) -> dict[str, object]:
        """Say where it listens, as the ready line does."""
        return {"modbus_tcp": f"{LOOPBACK}:{self.port}", "unit": self._unit.unit}


class RtuBus:
    """The units on one serial wire. Bytes come in through `heard`; a silence ends a frame that never completed."""

    def __init__(self, units: Mapping[int, Unit]) -> None:
        self._units = dict(units)
        self._buffer = bytearray()
        self._last_ns = 0
        self._owed: set[asyncio.Task[None]] = set()

    def heard(self, data: bytes, carrier: Carrier) -> None:
        """Take bytes from the wire and answer the requests they complete."""
        now_ns = time.monotonic_ns()
        if now_ns - self._last_ns > 50_000_000:  # far more than 3.5 characters: the rest of that frame never comes
            self._buffer.clear()
        self._last_ns = now_ns
        self._buffer += data
        while (frame := modbus.take_rtu(self._buffer)) is not None:
            unit = self._units.get(frame[0])
            if unit is not None and len(self._owed) < MAX_PENDING:
                task = asyncio.create_task(self._answer(unit, frame, carrier, now_ns), name=f"unit[{unit.name}]")
                self._owed.add(task)
                task.add_done_callback(self._owed.discard)
                task.add_done_callback(loud)

    async def _answer(self, unit: Unit, frame: bytes, carrier: Carrier, asked_ns: int) -> None:
        await asyncio.sleep(TURNAROUND_S)
        await unit.hear(Request(frame, b"", frame[1:-2], asked_ns), carrier)

    async def close(self) -> None:
        """Give up the answers still owed."""
        owed = list(self._owed)
        for task in owed:
            task.cancel()
        await asyncio.gather(*owed, return_exceptions=True)

"""Serves a text instrument over HiSLIP 1.0, synchronous mode, as LAN instruments do for VISA.

A session is two connections: the synchronous one carries messages, the asynchronous one device clear, status and
locks. An answer carries the identifier of the message it answers, by which the client drops stale ones. Left out:
overlap mode, shared locks (every lock is granted), service requests, and the Interrupted exchange (a stale answer is
told by its identifier).
Source: IVI-6.1 HiSLIP, header, message types, initialisation and device clear.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from simulators.dialogue import MAX_LINE, Dialogue, Lines, loud
from simulators.text_server import LOOPBACK, Listener, abort, takes_more

HEADER = struct.Struct(">2sBBIQ")  # prologue, type, control code, parameter, payload length
VERSION = 0x0100
MAX_MESSAGE = 1 << 20
MAX_SESSIONS = 256  # identifiers before they come round again


class Kind(IntEnum):
    """Message types this server knows."""

    INITIALIZE = 0
    INITIALIZE_RESPONSE = 1
    FATAL_ERROR = 2
    ERROR = 3
    ASYNC_LOCK = 4
    ASYNC_LOCK_RESPONSE = 5
    DATA = 6
    DATA_END = 7
    DEVICE_CLEAR_COMPLETE = 8
    DEVICE_CLEAR_ACKNOWLEDGE = 9
    ASYNC_REMOTE_LOCAL = 10
    ASYNC_REMOTE_LOCAL_RESPONSE = 11
    TRIGGER = 12
    ASYNC_MAX_SIZE = 15
    ASYNC_MAX_SIZE_RESPONSE = 16
    ASYNC_INITIALIZE = 17
    ASYNC_INITIALIZE_RESPONSE = 18
    ASYNC_DEVICE_CLEAR = 19
    ASYNC_STATUS_QUERY = 21
    ASYNC_STATUS_RESPONSE = 22
    ASYNC_DEVICE_CLEAR_ACKNOWLEDGE = 23
    ASYNC_LOCK_INFO = 24
    ASYNC_LOCK_INFO_RESPONSE = 25


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `kind` is a bare number: a client may send types this server does not know."""

    kind: int
    control: int
    parameter: int
    payload: bytes


class _Malformed(Exception):
    """The stream holds no HiSLIP message."""


async def _receive(reader: asyncio.StreamReader) -> Message:
    prologue, kind, control, parameter, length = HEADER.unpack(await reader.readexactly(HEADER.size))
    if prologue != b"HS" or length > MAX_MESSAGE:
        raise _Malformed
    return Message(kind, control, parameter, await reader.readexactly(length))


def _send(writer: asyncio.StreamWriter, kind: Kind, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
    if takes_more(writer):
        writer.write(HEADER.pack(b"HS", kind, control, parameter, len(payload)) + payload)


class _Session:
    """Two connections and what goes on in them; it is the carrier of its answers."""

    def __init__(self, dialogue: Dialogue, writer: asyncio.StreamWriter) -> None:
        self._dialogue = dialogue
        self._sync = writer
        self._message = 0
        self._pending = b""
        self._work: asyncio.Task[None] | None = None
        self._clearing = False

    def write(self, data: bytes, *, more: bool = False) -> None:
        """Send an answer, or a part of it, to the message under way."""
        _send(self._sync, Kind.DATA if more else Kind.DATA_END, parameter=self._message, payload=data)

    def reset(self) -> None:
        """Cut the connection."""
        abort(self._sync)

    async def synchronous(self, message: Message) -> None:
        """Do what came on the synchronous connection."""
        if message.kind == Kind.DEVICE_CLEAR_COMPLETE:
            self._clearing = False
            self._pending = b""
            _send(self._sync, Kind.DEVICE_CLEAR_ACKNOWLEDGE)
        elif self._clearing:
            return  # what was on its way when the clear came
        elif message.kind in (Kind.DATA, Kind.DATA_END):
            self._pending = (self._pending + message.payload)[: MAX_LINE + 1]
            if message.kind == Kind.DATA_END:
                text, self._pending, self._message = self._pending, b"", message.parameter
                await self._do(Lines().feed(text + b"\n"))
        elif message.kind == Kind.TRIGGER:
            self._message = message.parameter
            await self._do([b"*TRG"])
        else:
            _send(self._sync, Kind.ERROR, control=1, payload=b"Unrecognized Message Type")

    async def _do(self, lines: list[bytes]) -> None:
        async def work() -> None:
            for line in lines:
                await self._dialogue.hear(line, self)

        self._work = task = asyncio.create_task(work(), name=f"hislip[{self._dialogue.name}]")
        task.add_done_callback(loud)
        try:
            await asyncio.wait({task})
        finally:
            self._work = None
            task.cancel()  # done already, unless this connection is being closed
            await asyncio.wait({task})

    def device_clear(self) -> None:
        """Give up what is under way, and what comes until the client says it has cleared."""
        self._clearing = True
        if self._work is not None:
            self._work.cancel()
        self._dialogue.instrument.clear()

    async def asynchronous(self, message: Message, writer: asyncio.StreamWriter) -> None:
        """Do what came on the asynchronous connection."""
        if message.kind == Kind.ASYNC_DEVICE_CLEAR:
            self.device_clear()
            _send(writer, Kind.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE)
        elif message.kind == Kind.ASYNC_MAX_SIZE:
            _send(writer, Kind.ASYNC_MAX_SIZE_RESPONSE, payload=struct.pack(">Q", MAX_MESSAGE))
        elif message.kind in _SIMPLE:
            kind, control = _SIMPLE[message.kind]
            _send(writer, kind, control=control)
        else:
            _send(writer, Kind.ERROR, control=1, payload=b"Unrecognized Message Type")


_SIMPLE: dict[int, tuple[Kind, int]] = {
    Kind.ASYNC_LOCK: (Kind.ASYNC_LOCK_RESPONSE, 1),
    Kind.ASYNC_LOCK_INFO: (Kind.ASYNC_LOCK_INFO_RESPONSE, 0),
    Kind.ASYNC_REMOTE_LOCAL: (Kind.ASYNC_REMOTE_LOCAL_RESPONSE, 0),
    Kind.ASYNC_STATUS_QUERY: (Kind.ASYNC_STATUS_RESPONSE, 0),
}
"""Asynchronous requests whose answer is one message without content: its type and control code."""


class HislipServer(Listener):
    """A text instrument behind sub-address hislip0; any other is let in too."""

    def __init__(self, dialogue: Dialogue, port: int) -> None:
        super().__init__(port)
        self._dialogue = dialogue
        self._sessions: dict[int, _Session] = {}
        self._last = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: its first message says which of the two it is."""
        try:
            first = await _receive(reader)
            if first.kind == Kind.INITIALIZE:
                await self._synchronous(reader, writer)
            elif first.kind == Kind.ASYNC_INITIALIZE and first.parameter in self._sessions:
                await self._asynchronous(reader, writer, self._sessions[first.parameter])
            else:
                _send(writer, Kind.FATAL_ERROR, control=3, payload=b"Invalid Initialization sequence")
        except _Malformed:
            _send(writer, Kind.FATAL_ERROR, control=1, payload=b"Poorly formed message header")

    async def _synchronous(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._last = self._last % MAX_SESSIONS + 1
        number, session = self._last, _Session(self._dialogue, writer)
        self._sessions[number] = session
        _send(writer, Kind.INITIALIZE_RESPONSE, parameter=(VERSION << 16) | number)
        try:
            await _each(reader, writer, session.synchronous)
        finally:
            if self._sessions.get(number) is session:
                del self._sessions[number]

    async def _asynchronous(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: _Session
    ) -> None:
        vendor = int.from_bytes(b"SM", "big")
        _send(writer, Kind.ASYNC_INITIALIZE_RESPONSE, parameter=vendor)
        await _each(reader, writer, lambda message: session.asynchronous(message, writer))

    def where(self) -> dict[str, object]:
        """Say where it listens, as the ready line does."""
        return {"visa": f"TCPIP0::{LOOPBACK}::hislip0,{self.port}::INSTR"}


async def _each(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    do: Callable[[Message], Awaitable[None]],
) -> None:
    """Do message after message until the client goes."""
    while True:
        await do(await _receive(reader))
        await writer.drain()

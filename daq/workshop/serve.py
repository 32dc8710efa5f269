"""Serves a stand-in on a socket of this machine or on a pseudo-terminal, so that a bench reaches it as the real one.

Loopback only. Text is cut into lines, registers into frames (Modbus TCP on the socket, RTU on the pseudo-terminal).

    StandIn, Served -> [serve] -> bytes in, bytes out, until the end
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import termios
import tty
from collections.abc import AsyncIterator, Callable

from daq.core.modbus import checksum
from daq.workshop.stand_in import RegisterStandIn, StandIn, TextStandIn

LOOPBACK = "127.0.0.1"
UNIT = 1
TALK_EVERY_S = 1.0
IDENTIFICATION = bytes((43, 14))
"""Function and MEI type of Read Device Identification."""

MOST_SAID = 240
"""Bytes of objects in one frame, at most."""

MOST_WAITING = 1 << 16
"""Bytes of a question without an end that are kept."""


class Lines:
    """Text: a line in, a line out."""

    def __init__(self, instrument: TextStandIn) -> None:
        link = instrument.driver.link
        self._instrument = instrument
        self._ask_ending = (link.eol if link.ask_eol is None else link.ask_eol).encode("latin-1")
        self._ending = link.eol.encode("latin-1")
        self._rest = b""

    async def heard(self, data: bytes) -> bytes:
        """Answer all whole lines; measuring takes its time."""
        if not self._ask_ending:
            return await self._answer(data)
        *lines, self._rest = (self._rest + data)[-MOST_WAITING:].split(self._ask_ending)
        return b"".join([await self._answer(line) for line in lines])

    async def _answer(self, data: bytes) -> bytes:
        line = data.decode("latin-1")
        await asyncio.sleep(self._instrument.measuring_s(line))
        said = self._instrument.answer(line)
        return b"" if said is None else said.encode("latin-1") + self._ending

    def talk(self) -> bytes:
        """Say what it says unasked."""
        return b"".join(line.encode("latin-1") + self._ending for line in self._instrument.talk())


class Frames:
    """Modbus: a frame in, a frame out; tcp or rtu."""

    def __init__(self, instrument: RegisterStandIn, *, tcp: bool) -> None:
        self._instrument = instrument
        self._tcp = tcp
        self._rest = b""

    async def heard(self, data: bytes) -> bytes:
        """Answer all whole frames."""
        self._rest = (self._rest + data)[-MOST_WAITING:]
        out = b""
        while len(self._rest) >= (length := self._length()):
            frame, self._rest = self._rest[:length], self._rest[length:]
            out += self._over_tcp(frame) if self._tcp else self._over_rtu(frame)
        return out

    def _length(self) -> int:
        """Return how long the question at the head is (MODBUS Application Protocol V1.1b3, 6.1 to 6.4, 6.21)."""
        function = self._rest[7 if self._tcp else 1 :][:1]
        return (7 if self._tcp else 1) + (4 if function == IDENTIFICATION[:1] else 5) + (0 if self._tcp else 2)

    def _over_tcp(self, frame: bytes) -> bytes:
        answer = self._pdu(frame[7:])
        return frame[:4] + struct.pack(">H", len(answer) + 1) + frame[6:7] + answer

    def _over_rtu(self, frame: bytes) -> bytes:
        if frame[0] != UNIT or checksum(frame[:-2]) != frame[-2:]:
            self._rest = b""
            return b""
        answer = frame[:1] + self._pdu(frame[1:-2])
        return answer + checksum(answer)

    def _pdu(self, asked: bytes) -> bytes:
        if len(asked) == 4:
            return self._device(asked)
        function, address, count = struct.unpack(">BHH", asked)
        if not 1 <= function <= 4:
            return bytes((function | 0x80, 1))
        held = self._instrument.answer(function, address, count)
        return bytes((function | 0x80, 2)) if held is None else bytes((function, len(held))) + held

    def _device(self, asked: bytes) -> bytes:
        """Say who it is: as many objects as go into one frame."""
        objects = [(number, its) for number, its in self._instrument.objects().items() if number >= asked[3]]
        if not objects or asked[:2] != IDENTIFICATION:
            return bytes((asked[0] | 0x80, 1))
        said, count = b"", 0
        while count < len(objects) and len(said) + len(objects[count][1]) < MOST_SAID:
            number, its = objects[count]
            said += bytes((number, len(its))) + its
            count += 1
        more = (0xFF, objects[count][0]) if count < len(objects) else (0, 0)
        return asked[:3] + bytes((asked[2], *more, count)) + said


def hears(instrument: StandIn, *, tcp: bool) -> Lines | Frames:
    """Return what takes a client's bytes."""
    return Lines(instrument) if isinstance(instrument, TextStandIn) else Frames(instrument, tcp=tcp)


# On a socket ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def on_socket(instrument: StandIn, port: int) -> AsyncIterator[str]:
    """Serve on a port of loopback, 0 for any; give host:port. Raises OSError where it is taken."""
    clients: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        talker = _talker(instrument, writer.write)
        client = hears(instrument, tcp=True)
        try:
            while data := await reader.read(4096):
                writer.write(await client.heard(data))
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # the client went, or the end has come
        finally:
            talker.cancel()
            writer.close()
            clients.discard(task)

    server = await asyncio.start_server(converse, LOOPBACK, port)
    try:
        yield f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(clients):
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


def _talker(instrument: StandIn, say: Callable[[bytes], object]) -> asyncio.Task[None]:
    async def talk() -> None:
        lines = Lines(instrument) if isinstance(instrument, TextStandIn) else None
        while lines is not None and (said := lines.talk()):
            say(said)
            await asyncio.sleep(TALK_EVERY_S)

    return asyncio.create_task(talk(), name="talker")


# On a pseudo-terminal -------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def on_pty(instrument: StandIn) -> AsyncIterator[str]:
    """Serve on a pseudo-terminal; give its name. Both its ends stay open, so that clients may come and go."""
    near, far = os.openpty()
    tty.setraw(far)
    os.set_blocking(near, False)
    loop = asyncio.get_running_loop()
    client = hears(instrument, tcp=False)
    came: asyncio.Queue[bytes] = asyncio.Queue()

    def say(data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: as on a real line, it is lost
            os.write(near, data)

    def say_afresh(data: bytes) -> None:
        termios.tcflush(far, termios.TCIFLUSH)  # what nobody has read until now is no news
        say(data)

    def readable() -> None:
        with contextlib.suppress(BlockingIOError):
            came.put_nowait(os.read(near, 4096))

    async def answer() -> None:
        while True:
            say(await client.heard(await came.get()))

    loop.add_reader(near, readable)
    answering = asyncio.create_task(answer(), name="pty")
    talker = _talker(instrument, say_afresh)
    try:
        yield os.ttyname(far)
    finally:
        loop.remove_reader(near)
        for task in (talker, answering):
            task.cancel()
        await asyncio.gather(talker, answering, return_exceptions=True)
        os.close(near)
        os.close(far)

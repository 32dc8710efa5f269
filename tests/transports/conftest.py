"""The far sides of the wires: what stands where an instrument would, driven by the test word by word.

Each says and hears bytes over a real socket or pseudo-terminal, goes away and comes back at the same address, and can
stop listening. The shared suite runs over all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import tempfile
import time
import tty
from pathlib import Path

import pytest

from daq.clock import SystemClock
from daq.core.line_settings import line_settings
from daq.transports.serial import Serial
from daq.transports.tcp import Tcp
from daq.transports.visa import Visa

PATIENCE_S = 20.0


def within(seconds: float) -> int:
    return time.monotonic_ns() + int(seconds * 1e9)


class TcpFar:
    """A listening socket and the newest connection to it."""

    late = "unread"

    def __init__(self):
        self._port = 0
        self._conn = None

    async def start(self):
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]

    def transport(self):
        return Tcp("127.0.0.1", self._port, SystemClock())

    async def accept(self):
        async with asyncio.timeout(PATIENCE_S):
            conn, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        if self._conn is not None:
            self._conn.close()
        self._conn = conn

    async def say(self, data):
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_sendall(self._conn, data)

    def say_now(self, data):
        assert self._conn.send(data) == len(data)

    async def hear(self, size):
        heard = b""
        while len(heard) < size:
            async with asyncio.timeout(PATIENCE_S):
                piece = await asyncio.get_running_loop().sock_recv(self._conn, size - len(heard))
            assert piece, "the transport hung up"
            heard += piece
        return heard

    async def hang_up(self):
        self._conn.close()
        self._conn = None

    def reset(self):
        self._conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._conn.close()
        self._conn = None

    async def go(self):
        self._listener.close()
        if self._conn is not None:
            await self.hang_up()

    async def come_back(self):
        await self.start()

    async def stop(self):
        await self.go()


class PtyFar:
    """A pseudo-terminal behind a symbolic link, as udev makes them; plugged in again, it has a new number."""

    late = "unread"

    async def start(self):
        self._folder = tempfile.TemporaryDirectory()
        self.link = Path(self._folder.name) / "adapter"
        self._plug_in()

    def _plug_in(self):
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(os.ttyname(self._slave))

    def transport(self, line="9600/8n1"):
        return Serial(str(self.link), line_settings(line), SystemClock())

    async def accept(self):
        """Nothing to do: a serial line is there or not."""

    def say_now(self, data):
        assert os.write(self._master, data) == len(data)

    async def say(self, data):
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await self._ready(asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer)

    async def hear(self, size):
        heard = b""
        while len(heard) < size:
            try:
                heard += os.read(self._master, size - len(heard))
            except BlockingIOError:
                await self._ready(asyncio.get_running_loop().add_reader, asyncio.get_running_loop().remove_reader)
        return heard

    async def _ready(self, add, remove):
        ready = asyncio.Event()
        add(self._master, ready.set)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ready.wait()
        finally:
            remove(self._master)

    async def hang_up(self):
        if self._master >= 0:
            os.close(self._master)
            os.close(self._slave)
        self._master = self._slave = -1

    async def go(self):
        await self.hang_up()
        self.link.unlink(missing_ok=True)

    async def come_back(self):
        self._plug_in()

    async def stop(self):
        await self.go()
        self._folder.cleanup()


class VisaSocketFar(TcpFar):
    """The same socket, called by a VISA library."""

    late = "told by the next write"

    def transport(self):
        return Visa(f"TCPIP0::127.0.0.1::{self._port}::SOCKET", SystemClock())


class VisaSerialFar(PtyFar):
    """The same pseudo-terminal, opened by a VISA library."""

    late = "told by the next write"

    def transport(self, line="9600/8n1"):
        return Visa(f"ASRL{self.link}::INSTR", SystemClock(), line=line_settings(line))


class HislipFar:
    """An instrument's HiSLIP 1.0 server with nothing behind it (IVI-6.1: header and message types).

    A message ends with a line end; what is said without one is the beginning of a longer message.
    """

    late = "cleared"
    header = struct.Struct(">2sBBIQ")

    def __init__(self):
        self._port = 0
        self._writers = []

    async def start(self):
        self._sessions = asyncio.Queue()
        self._heard = asyncio.StreamReader()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def transport(self):
        return Visa(f"TCPIP0::127.0.0.1::hislip0,{self._port}::INSTR", SystemClock())

    async def accept(self):
        async with asyncio.timeout(PATIENCE_S):
            self._sync = await self._sessions.get()
        self._message = 0xFFFFFF00

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _, kind, _, parameter, length = self.header.unpack(await reader.readexactly(16))
                payload = await reader.readexactly(length)
                self._react(writer, kind, parameter, payload)

    def _react(self, writer, kind, parameter, payload):
        if kind == 0:  # Initialize; answered with version 1.0 and session 7
            self._put(writer, 1, (0x0100 << 16) | 7)
            self._sessions.put_nowait(writer)
        elif kind in (6, 7):  # Data, DataEnd
            self._message = parameter
            self._heard.feed_data(payload)
        elif kind == 8:  # DeviceClearComplete
            self._put(writer, 9)
        elif kind == 15:  # AsyncMaximumMessageSize
            self._put(writer, 16, payload=payload)
        elif kind == 17:  # AsyncInitialize
            self._put(writer, 18)
        elif kind == 19:  # AsyncDeviceClear
            self._put(writer, 23)

    def _put(self, writer, kind, parameter=0, payload=b""):
        writer.write(self.header.pack(b"HS", kind, 0, parameter, len(payload)) + payload)

    async def say(self, data, message=None):
        self._put(self._sync, 7 if data.endswith(b"\n") else 6, message or self._message, data)
        async with asyncio.timeout(PATIENCE_S):
            await self._sync.drain()

    async def hear(self, size):
        async with asyncio.timeout(PATIENCE_S):
            return await self._heard.readexactly(size)

    async def hang_up(self):
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    async def go(self):
        self._server.close()
        await self.hang_up()

    async def come_back(self):
        await self.start()

    async def stop(self):
        await self.go()


class Vxi11Far:
    """An instrument's VXI-11 core channel with nothing behind it, without a port mapper.

    Source: VXI-11 (TCP/IP Instrument Protocol), core channel procedures; RFC 5531, record marking and messages.
    """

    late = "cleared"

    def __init__(self):
        self._port = 0
        self._writers, self._hung_up = [], 0

    async def start(self):
        self._links = asyncio.Queue()
        self._heard = asyncio.StreamReader()
        self._said, self._changed = bytearray(), asyncio.Condition()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def transport(self):
        return Visa(f"TCPIP0::127.0.0.1,{self._port}::inst0::INSTR", SystemClock())

    async def accept(self):
        async with asyncio.timeout(PATIENCE_S):
            await self._links.get()
        self._said.clear()

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (mark,) = struct.unpack(">I", await reader.readexactly(4))
                call = await reader.readexactly(mark & 0x7FFFFFFF)
                number, procedure, credentials = call[:4], *struct.unpack(">20xI4xI", call[:32])
                verifier = 32 + credentials
                arguments = call[verifier + 8 + int.from_bytes(call[verifier + 4 : verifier + 8]) :]
                results = number + struct.pack(">IIIII", 1, 0, 0, 0, 0) + await self._do(procedure, arguments)
                writer.write(struct.pack(">I", 0x80000000 | len(results)) + results)

    async def _do(self, procedure, arguments):
        if procedure == 10:  # create_link: link 7, no abort channel, at most 64 KiB a write
            self._links.put_nowait(7)
            return struct.pack(">IIII", 0, 7, 0, 1 << 16)
        if procedure == 11:  # device_write
            (size,) = struct.unpack(">16xI", arguments[:20])
            self._heard.feed_data(arguments[20 : 20 + size])
            return struct.pack(">II", 0, size)
        if procedure == 12:  # device_read
            return await self._device_read(*struct.unpack(">4xII", arguments[:12]))
        if procedure == 15:  # device_clear
            self._said.clear()
        return struct.pack(">I", 0)

    async def _device_read(self, most, patience_ms):
        times = self._hung_up
        async with self._changed:
            try:
                async with asyncio.timeout(patience_ms / 1000):
                    await self._changed.wait_for(lambda: self._said or self._hung_up != times)
            except TimeoutError:
                return struct.pack(">III", 15, 0, 0)  # I/O time-out
            if self._hung_up != times:
                raise ConnectionError
            end = self._said.find(b"\n") + 1
            size = min(most, end or len(self._said))
            data = bytes(self._said[:size])
            del self._said[:size]
            self._changed.notify_all()
        reason = 4 * (size == end) + 1 * (size == most)  # END, REQCNT
        return struct.pack(">III", 0, reason, size) + data + bytes(-size % 4)

    async def say(self, data):
        async with self._changed, asyncio.timeout(PATIENCE_S):
            await self._changed.wait_for(lambda: len(self._said) < 1 << 16)
            self._said += data
            self._changed.notify_all()

    async def hear(self, size):
        async with asyncio.timeout(PATIENCE_S):
            return await self._heard.readexactly(size)

    async def hang_up(self):
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        async with self._changed:
            self._hung_up += 1
            self._changed.notify_all()
        await asyncio.sleep(0)

    async def go(self):
        self._server.close()
        await self.hang_up()

    async def come_back(self):
        await self.start()

    async def stop(self):
        await self.go()


FAR_SIDES = {
    "tcp": TcpFar,
    "serial": PtyFar,
    "visa_hislip": HislipFar,
    "visa_vxi11": Vxi11Far,
    "visa_socket": VisaSocketFar,
    "visa_serial": VisaSerialFar,
}


def pytest_generate_tests(metafunc):
    if "far" in metafunc.fixturenames:
        metafunc.parametrize("far", getattr(metafunc.module, "FAR_SIDES", tuple(FAR_SIDES)), indirect=True)


@pytest.fixture
async def far(request):
    side = FAR_SIDES[request.param]()
    await side.start()
    yield side
    await side.stop()


@pytest.fixture
async def near(far):
    transport = far.transport()
    yield transport
    await transport.close()


@pytest.fixture
async def opened(far, near):
    await near.open(within(PATIENCE_S))
    await far.accept()
    return near

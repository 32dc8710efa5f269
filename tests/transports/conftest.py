"""The far sides of the wires: what stands where an instrument would, driven by the test word by word.

Each says and hears bytes over a real socket or pseudo-terminal, goes away and comes back at the same address, and can
stop listening. The shared suite runs over all of them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest

from daq.clock import SystemClock
from daq.transports.tcp import Tcp

PATIENCE_S = 20.0


def within(seconds: float) -> int:
    return time.monotonic_ns() + int(seconds * 1e9)


class TcpFar:
    """A listening socket and the newest connection to it."""

    reopen_heals = True
    messages = False

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


FAR_SIDES = {"tcp": TcpFar}


@pytest.fixture(params=FAR_SIDES)
async def far(request):
    side = FAR_SIDES[request.param]()
    await side.start()
    yield side
    await side.go()


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

"""What stands between the daemon and its broker, and what can happen to the two.

Packets pass whole. It is noted which observation the broker acknowledged to the daemon, and which it refused: what a
broker has acknowledged and then loses is the broker's loss, and counted apart.

Source: MQTT 5.0, 2.1 (fixed header), 3.3 (PUBLISH), 3.4 (PUBACK).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Callable

_ID = re.compile(rb'"id":"([^"]+)"')
PUBLISH, PUBACK = 3, 4
REFUSED, QUOTA = 0x80, 0x97


def packet_length(got: bytes) -> int:
    """Bytes of the first packet; 0 while it is not whole."""
    length = 0
    for at, byte in enumerate(got[1:5]):
        length |= (byte & 0x7F) << 7 * at
        if not byte & 0x80:
            whole = 2 + at + length
            return whole if len(got) >= whole else 0
    return 0


def published(packet: bytes) -> tuple[int, str] | None:
    """Packet identifier and observation of a PUBLISH at QoS 1; None for anything else."""
    if packet[0] >> 4 != PUBLISH or not packet[0] & 0x06:
        return None
    start = 2
    while packet[start - 1] & 0x80:
        start += 1
    topic = struct.unpack_from(">H", packet, start)[0]
    number = struct.unpack_from(">H", packet, start + 2 + topic)[0]
    found = _ID.search(packet, start + 4 + topic, start + 200 + topic)
    return (number, found[1].decode()) if found else None


class BrokerWire:
    """A port in front of the broker's."""

    def __init__(self, broker_port: int) -> None:
        self.port = 0
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.quota = 0
        self.pause_s = 0.0
        self.shows: ssl.SSLContext | None = None  # the certificate; None: no TLS
        self._flows = asyncio.Event()
        self._flows.set()
        self._broker_port = broker_port
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self) -> None:
        while self._server is None:
            with contextlib.suppress(OSError):
                self._server = await asyncio.start_server(self._welcome, "127.0.0.1", self.port, ssl=self.shows)
            if self._server is None:
                await asyncio.sleep(0.05)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    async def close(self) -> None:
        self.flow()
        await self.shut()
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self) -> None:
        """Let nothing pass, either way, and say nothing."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def cut(self) -> None:
        for writer in self._clients.values():
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        under_way: dict[int, str] = {}
        back: asyncio.StreamWriter | None = None
        try:
            answers, back = await asyncio.open_connection("127.0.0.1", self._broker_port)
            both = [
                asyncio.create_task(self._pass(reader, back, lambda packet: self._sent(packet, under_way))),
                asyncio.create_task(self._pass(answers, writer, lambda packet: self._answered(packet, under_way))),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in both:
                    each.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._clients.pop(task, None)
            writer.close()
            if back is not None:
                back.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], bytes]
    ) -> None:
        rest = b""
        while data := await reader.read(65536):
            rest += data
            while length := packet_length(rest):
                packet, rest = rest[:length], rest[length:]
                await self._flows.wait()
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
                writer.write(look(packet))
            await writer.drain()

    @staticmethod
    def _sent(packet: bytes, under_way: dict[int, str]) -> bytes:
        found = published(packet)
        if found is not None:
            under_way[found[0]] = found[1]
        return packet

    def _answered(self, packet: bytes, under_way: dict[int, str]) -> bytes:
        if packet[0] >> 4 != PUBACK:
            return packet
        if self.quota > 0:
            self.quota -= 1
            packet = b"\x40\x03" + packet[2:4] + bytes((QUOTA,))
        name = under_way.pop(struct.unpack_from(">H", packet, 2)[0], None)
        code = packet[4] if len(packet) > 4 else 0
        if name is not None and code != QUOTA:
            (self.refused if code >= REFUSED else self.acknowledged).add(name)
        return packet

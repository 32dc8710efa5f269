"""Serves a text instrument on a TCP socket, as a bare SCPI socket (port 5025) or a serial server does.

Loopback only. Several clients may be connected; the instrument answers one line at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from simulators.dialogue import Dialogue, Lines, loud

LOOPBACK = "127.0.0.1"
MAX_CLIENTS = 16
MAX_UNREAD = 1 << 18  # bytes


def abort(writer: asyncio.StreamWriter) -> None:
    """Cut a connection with a reset, not a polite end."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def takes_more(writer: asyncio.StreamWriter) -> bool:
    """Tell whether a client is there and has not left too much unread; what it cannot take is lost."""
    return not writer.is_closing() and writer.transport.get_write_buffer_size() < MAX_UNREAD


class SocketCarrier:
    """One client's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def write(self, data: bytes, *, more: bool = False) -> None:
        """Send, unless the client has gone or does not read."""
        if takes_more(self._writer):
            self._writer.write(data)

    def reset(self) -> None:
        """Cut the connection."""
        abort(self._writer)


class Listener:
    """A listening socket and the clients it let in; a subclass says what is done with a client.

    Args:
        port: 0 for one that the system gives; it stays the same when the instrument is plugged in again.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it goes."""
        raise NotImplementedError

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._welcome, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut every client."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._clients)
        for task in tasks:
            abort(self._clients[task])
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._clients) >= MAX_CLIENTS or self._server is None:
            abort(writer)
            return
        task.set_name(f"client[{self.port}]")
        self._clients[task] = writer
        try:
            await self.converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went, or we are closing: either way there is nobody left to tell
        finally:
            del self._clients[task]
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class TextServer(Listener):
    """A text instrument on a port of its own."""

    def __init__(self, dialogue: Dialogue, port: int) -> None:
        super().__init__(port)
        self._dialogue = dialogue

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer line by line; talk unasked meanwhile."""
        carrier = SocketCarrier(writer)
        self._dialogue.greet(carrier)
        talker = asyncio.create_task(self._dialogue.talk(carrier), name=f"talker[{self._dialogue.name}]")
        talker.add_done_callback(loud)
        lines = Lines()
        try:
            while data := await reader.read(4096):
                for line in lines.feed(data):
                    await self._dialogue.hear(line, carrier)
                    await writer.drain()
        finally:
            talker.cancel()
            await asyncio.gather(talker, return_exceptions=True)

    def where(self) -> dict[str, object]:
        """Say where it listens, as the ready line does."""
        return {"tcp": f"{LOOPBACK}:{self.port}"}

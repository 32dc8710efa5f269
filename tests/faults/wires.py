"""The proxies: wires that stand between the daemon and the stand-ins and do what a strike tells them.

A Wire is one address of the bench. What the daemon asks passes at once; what is answered passes frame by frame, in
order, and an armed strike decides what becomes of the next one. The log of the stand-ins, the witness, is out of reach
from here.

    daemon <-> TcpWire (a connection of its own for each client), SerialServer (one connection to the instrument,
               whoever is the client), PtyWire <-> Talk (frames, strikes) <-> stand-in
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import time
import tty
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from simulators.pty_server import Pty
from tests.faults.frames import QUESTIONS, REPLIES, Cut, Framing
from tests.faults.identity import Names

CHUNK = bytes(range(0x21, 0x61)) * 1024
"""64 KiB without any ending."""

MOST_ASKED = 3
"""Answers that may be out at a time; some questions are commands, and have none."""


@dataclass(eq=False)
class Strike:
    """One fault, let loose on one instrument once.

    Args:
        fault: its name.
        act: what becomes of a reply (Talk, reply, strike); None where the fault is the wire's.
        unit: the Modbus unit on a shared RTU wire; None elsewhere.
        times: replies it still wants.
        forged: what it sent that no instrument meant as the answer to that question.
        hidden: nothing on this wire shows it (declared by its `integrity`): a forgery that is believed counts apart.
    """

    fault: str
    instrument: str
    rng: random.Random
    latency_s: float
    act: Callable[[Talk, bytes, Strike], Awaitable[None]] | None = None
    unit: int | None = None
    times: int = 1
    hidden: bool = False
    forged: list[bytes] = field(default_factory=list)
    begun_ns: int = 0
    ended_ns: int = 0
    healed_ns: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    later: list[asyncio.Task[None]] = field(default_factory=list)

    def forge(self, data: bytes) -> bytes:
        self.forged.append(data)
        return data


class Way(Protocol):
    """Where a talk's replies go."""

    def send(self, data: bytes) -> None: ...

    async def room(self) -> bool: ...

    def cut(self, how: str) -> None: ...


class Talk:
    """One client in conversation with an instrument. Replies leave in order: what is late delays what is behind it."""

    def __init__(self, wire: Wire, way: Way, to_instrument: Callable[[bytes], None]) -> None:
        self.wire = wire
        self.way = way
        self._to_instrument = to_instrument
        self._questions = Cut(QUESTIONS[wire.framing])
        self._answers = Cut(REPLIES[wire.framing])
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._worker = asyncio.create_task(self._deliver(), name=f"talk[{wire.name}]")
        self.asked = b""
        self._askers: deque[Strike | None] = deque()  # whose answers are still to come; None: the daemon's
        self.last: dict[int | None, bytes] = {}
        self.dead = False

    def heard(self, data: bytes) -> None:
        """Take bytes of the daemon."""
        if self.dead:
            return
        for question in self._questions.feed(data):
            self.asked = question
            self._askers.append(None)
            self.wire.note_question()
        self._to_instrument(data)

    def intrude(self, strike: Strike) -> None:
        """Ask what the daemon asked last, as another program on the same line: what comes next may be its answer."""
        self._askers = deque([strike] * (len(self._askers) + 1), MOST_ASKED)
        self._to_instrument(self.asked)

    def answered(self, data: bytes) -> None:
        """Take bytes of the instrument."""
        for reply in self._answers.feed(data):
            asker = self._askers.popleft() if self._askers else None
            if asker is not None:
                asker.forge(reply)
            self._queue.put_nowait(reply)

    def send(self, data: bytes) -> None:
        if not self.dead:
            self.way.send(data)

    async def flood(self, size: int) -> int:
        """Send so many bytes without an ending, or until the client is gone; say how many."""
        sent = 0
        while sent < size and not self.dead and await self.way.room():
            self.way.send(CHUNK)
            sent += len(CHUNK)
        return sent

    async def _deliver(self) -> None:
        while True:
            reply = await self._queue.get()
            key = reply[0] if self.wire.framing == "rtu" else None
            strike = self.wire.armed.get(key)
            if strike is None or strike.act is None:
                self.send(reply)
            else:
                strike.times -= 1
                try:
                    await strike.act(self, reply, strike)
                finally:  # also where the client leaves meanwhile: it was struck
                    if strike.times <= 0:
                        self.wire.armed.pop(key, None)
                        strike.done.set()
            self.last[key] = reply

    def end(self) -> None:
        self.dead = True
        self._worker.cancel()

    async def close(self) -> None:
        self.end()
        await asyncio.gather(self._worker, return_exceptions=True)


class Wire:
    """One address: strikes are armed here, whoever is connected."""

    def __init__(self, name: str, framing: Framing) -> None:
        self.name = name
        self.framing = framing
        self.armed: dict[int | None, Strike] = {}
        self.questions = 0
        self._asked: asyncio.Event = asyncio.Event()
        self._came: asyncio.Event = asyncio.Event()
        self.greeting = b""
        self.talk: Talk | None = None  # where there is one for whoever is the client
        self.known_as = ""  # the name that the daemon looks up; "" where it knows the number
        self.names: Names | None = None

    def note_question(self) -> None:
        self.questions += 1
        self._asked.set()
        self._asked = asyncio.Event()

    def note_client(self) -> None:
        self._came.set()
        self._came = asyncio.Event()

    async def next_question(self) -> None:
        await self._asked.wait()

    async def next_client(self) -> None:
        await self._came.wait()

    async def strike(self, strike: Strike, within_s: float) -> bool:
        """Let a strike act on the next replies; False where none came in time."""
        self.armed[strike.unit] = strike
        try:
            async with asyncio.timeout(within_s):
                await strike.done.wait()
                await asyncio.gather(*strike.later)
        except TimeoutError:
            return False
        finally:
            self.armed.pop(strike.unit, None)
            for task in strike.later:
                task.cancel()
        return True

    def send_now(self, data: bytes) -> None:
        """Say something to whoever is connected now."""
        raise NotImplementedError

    def cut(self, how: str) -> None:
        """End the daemon's connection: fin, rst, or dead (no word passes any more)."""
        raise NotImplementedError

    async def shut(self) -> None:
        """Be gone."""
        raise NotImplementedError

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


# ---------------------------------------------------------------- the instrument's side


class TtyEnd:
    """The line of a stand-in, opened like any client does."""

    def __init__(self, path: str, heard: Callable[[bytes], None]) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._fd)
        self._heard = heard
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            self._heard(os.read(self._fd, 4096))

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._fd, data)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


# ---------------------------------------------------------------- TCP


class SocketWay:
    """One connection of the daemon."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    def send(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)

    async def room(self) -> bool:
        try:
            await self.writer.drain()
        except OSError:
            return False
        return not self.writer.is_closing()

    def cut(self, how: str) -> None:
        if how == "rst":
            sock = self.writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


class TcpWire(Wire):
    """A port in front of a stand-in's port; each client has a connection of its own behind it."""

    def __init__(self, name: str, framing: Framing, instrument_port: int) -> None:
        super().__init__(name, framing)
        self.port = 0
        self._instrument_port = instrument_port
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[Any], Talk] = {}

    async def open(self) -> None:
        deadline = time.monotonic() + 10
        while self._server is None:
            try:
                self._server = await asyncio.start_server(self._welcome, "127.0.0.1", self.port)
            except OSError:  # somebody was given our port meanwhile; it will be given back
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut("rst")

    async def close(self) -> None:
        await self.shut()
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self, how: str) -> None:
        for talk in self._clients.values():
            if how == "dead":
                talk.dead = True
            else:
                talk.way.cut(how)

    def send_now(self, data: bytes) -> None:
        for talk in self._clients.values():
            talk.send(data)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = SocketWay(writer)
        task = asyncio.current_task()
        assert task is not None
        if self._server is None:
            way.cut("rst")
            return
        back: asyncio.StreamWriter | None = None
        try:
            answers, back = await asyncio.open_connection("127.0.0.1", self._instrument_port)
            talk = Talk(self, way, back.write)
            self._clients[task] = talk
            listening = asyncio.create_task(_pump(answers, talk.answered), name=f"pump[{self.name}]")
            try:
                way.send(self.greeting)
                self.note_client()
                await _pump(reader, talk.heard)
            finally:
                listening.cancel()
                talk.end()  # before anything is awaited: a second cancellation may come meanwhile
                await asyncio.gather(listening, return_exceptions=True)
                await talk.close()
        except (OSError, asyncio.CancelledError):
            pass  # one of the two is gone
        finally:
            self._clients.pop(task, None)
            writer.close()
            if back is not None:
                back.close()


async def _pump(reader: asyncio.StreamReader, taken: Callable[[bytes], None]) -> None:
    while data := await reader.read(65536):
        taken(data)


class SerialServer(TcpWire):
    """A serial-device server: what the instrument still has to say comes to whoever is connected by then."""

    def __init__(self, name: str, framing: Framing, tty_path: str) -> None:
        super().__init__(name, framing, 0)
        self._tty_path = tty_path
        self._end: TtyEnd | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._before: list[asyncio.StreamWriter] = []  # clients that had the line and lost it to a newer one

    async def open(self) -> None:
        if self._end is None:
            self._end = TtyEnd(self._tty_path, lambda data: self.talk.answered(data) if self.talk else None)
            self.talk = Talk(self, self, self._end.write)
        await super().open()

    def send(self, data: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    async def room(self) -> bool:
        return self._writer is not None and await SocketWay(self._writer).room()

    def cut(self, how: str) -> None:
        if how == "dead":
            self._writer = None
        elif self._writer is not None:
            SocketWay(self._writer).cut(how)

    def send_now(self, data: bytes) -> None:
        self.send(data)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:
            SocketWay(writer).cut("rst")
            return
        task = asyncio.current_task()
        assert task is not None
        assert self.talk is not None
        self._clients[task] = self.talk
        self._before += [self._writer] if self._writer is not None else []
        self._writer = writer
        self.send(self.greeting)
        self.note_client()
        try:
            while data := await reader.read(65536):
                if self._writer is writer:
                    self.talk.heard(data)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._clients.pop(task, None)
            self._before = [each for each in self._before if each is not writer]
            if self._writer is writer:
                self._writer = self._before.pop() if self._before else None
            writer.close()

    async def close(self) -> None:
        await super().close()
        if self.talk is not None:
            await self.talk.close()
        if self._end is not None:
            self._end.close()
            self._end = None


# ---------------------------------------------------------------- pseudo-terminals


class _Port(Pty):
    """The end that the daemon opens."""

    def __init__(self, wire: PtyWire, link: Path) -> None:
        super().__init__(link)
        self._wire = wire

    @property
    def master(self) -> int:
        return self._master

    def arrived(self) -> None:
        self._wire.note_client()

    def heard(self, data: bytes) -> None:
        self._wire.heard(data)


class PtyWire(Wire):
    """A pseudo-terminal in front of a stand-in's; the stand-in never learns who comes and goes."""

    def __init__(self, name: str, framing: Framing, tty_path: str, link: Path) -> None:
        super().__init__(name, framing)
        self.link = link
        self.passed: deque[bytes] = deque(maxlen=64)
        self._port = _Port(self, link)
        self._tty_path = tty_path
        self._end: TtyEnd | None = None

    async def open(self) -> None:
        if self._end is None:
            self._end = TtyEnd(self._tty_path, self._answered)
            self.talk = Talk(self, self, self._end.write)
        await self._port.open()

    def _answered(self, data: bytes) -> None:
        assert self.talk is not None
        self.talk.answered(data)

    def heard(self, data: bytes) -> None:
        assert self.talk is not None
        self.talk.heard(data)

    @property
    def name_of_device(self) -> str:
        return self._port.name

    def send(self, data: bytes) -> None:
        self.passed.append(data)
        self._port.write(data)

    def send_now(self, data: bytes) -> None:
        self.send(data)

    async def room(self) -> bool:
        await asyncio.sleep(
            0.005
        )  # a pty tells nobody that there is room; what does not fit is lost, as on a real line
        return self._port.master >= 0

    def cut(self, how: str) -> None:
        """Do nothing: a line has no connection to cut."""

    async def shut(self) -> None:
        await self._port.close()

    async def close(self) -> None:
        await self._port.close()
        if self.talk is not None:
            await self.talk.close()
        if self._end is not None:
            self._end.close()
            self._end = None

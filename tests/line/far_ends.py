"""A far end on a real socket that does what a script says, question by question, and a line at it.

Script holds one act for each question but those of the connection; when it is used up, everything is answered. All it
does it does at once, in the turn in which it hears: what lies on the wire when the line looks is no matter of chance.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from daq.clock import SystemClock
from daq.core.address import Wire
from daq.core.observation import ClockState, Exchange, Observation
from daq.line import Line, Outlets
from daq.loop import new_event_loop
from daq.session import Session
from daq.transports import OPENERS

GENEROUS_S = 60

Act = Callable[["FarEnd", bytes, bytes], None]
"""(far end, question, its right answer): what it does."""


def on_station_loop(main):
    """Run a coroutine as the station runs."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


class FarEnd:
    """An instrument; `speak` gives the right answer, `framed` how long the first whole question is (0: none yet)."""

    def __init__(self, acts: Iterable[Act], speak: Callable[[bytes], bytes], framed: Callable[[bytes], int]) -> None:
        self.acts = list(acts)
        self.asked: list[bytes] = []
        self.deaf = False
        """Whether it leaves unread what it is asked from now on."""
        self._speak, self._framed = speak, framed
        self._came = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._near: socket.socket | None = None
        self._later: list[asyncio.TimerHandle] = []
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def send(self, data: bytes) -> None:
        if self._near is not None:
            with suppress(OSError):
                self._near.send(data)

    def later(self, data: bytes, after_s: float = 0.002) -> None:
        """Send in another turn; meanwhile what was sent before has been read."""
        to = self._near
        self._later.append(asyncio.get_running_loop().call_later(after_s, self._if_still, to, data))

    def _if_still(self, to: socket.socket | None, data: bytes) -> None:
        if to is self._near:
            self.send(data)

    def hang_up(self, *, hard: bool = False) -> None:
        near, self._near, self._came = self._near, None, b""
        if near is None:
            return
        if hard:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asyncio.get_running_loop().remove_reader(near)
        near.close()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self.hang_up()
        for each in self._later:
            each.cancel()

    def _accept(self) -> None:
        self.hang_up()
        self._near, _ = self._listener.accept()
        self._near.setblocking(False)
        self._near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asyncio.get_running_loop().add_reader(self._near, self._hear)

    def _hear(self) -> None:
        try:
            data = self._near.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.hang_up()
            return
        self._came += data
        while self._near is not None and (length := self._framed(self._came)):
            question, self._came = self._came[:length], self._came[length:]
            self._answer(question)
        if self.deaf and self._near is not None:
            asyncio.get_running_loop().remove_reader(self._near)

    def _answer(self, question: bytes) -> None:
        right = self._speak(question)
        if question == b"IDN?\n":
            self.send(right)
            return
        self.asked.append(question)
        (self.acts.pop(0) if self.acts else whole)(self, question, right)


def line_of_text(came: bytes) -> int:
    return came.find(b"\n") + 1


def frame(came: bytes) -> int:
    return 12 if len(came) >= 12 else 0


class Counts:
    """The right answers of a text instrument: each number once."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, question: bytes) -> bytes:
        if question == b"IDN?\n":
            return b"COUNTER,S1\n"
        self.number += 1
        return f"{self.number}.0\n".encode()


# Acts -----------------------------------------------------------------------------------------------------------------


def whole(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right)


def in_pieces(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right[:2])
    far.later(right[2:])


def byte_by_byte(far: FarEnd, _: bytes, right: bytes) -> None:
    for index in range(len(right)):
        far.later(right[index : index + 1], 0.001 * (index + 1))


def slowly(far: FarEnd, _: bytes, right: bytes) -> None:
    far.later(right, 0.005)


def with_more(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right + b"7.5\n")


def with_half_more(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right + b"7")


def with_more_in_a_segment(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right)
    far.send(b"7.5\n")


def twice(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right + right)


def garbage(far: FarEnd, _: bytes, __: bytes) -> None:
    far.send(b"oops\n")


def silence(_: FarEnd, __: bytes, ___: bytes) -> None:
    pass


def half_and_silence(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right[:-1])


def hangs_up(far: FarEnd, _: bytes, __: bytes) -> None:
    far.hang_up()


def resets(far: FarEnd, _: bytes, __: bytes) -> None:
    far.hang_up(hard=True)


def answers_and_hangs_up(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right)
    far.hang_up()


def half_and_hangs_up(far: FarEnd, _: bytes, right: bytes) -> None:
    far.send(right[:2])
    far.hang_up()


# The line -------------------------------------------------------------------------------------------------------------


@dataclass
class Entry:
    """One question as it was entered."""

    key: str
    status: str
    detail: str | None
    readings: dict
    exchanges: tuple[Exchange, ...]


@dataclass
class Watched:
    """A line, all it published, and all that was asked, one entry a question."""

    session: Session
    far: FarEnd
    line: Line | None = None
    observations: list[Observation] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    dialogues: list[str] = field(default_factory=list)
    """Polls that were asked by a dialogue."""
    notes: list[Callable[[Entry], None]] = field(default_factory=list)
    """Called with each entry, at once."""
    emitted: list[Callable[[Observation], None]] = field(default_factory=list)
    """Called with each observation, at once."""
    held: str | None = None
    task: asyncio.Task | None = None

    def emit(self, observation: Observation) -> None:
        self.observations.append(observation)
        for each in tuple(self.emitted):
            each(observation)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something that becomes so as something is published, asked or entered."""
        async with asyncio.timeout(GENEROUS_S):
            while not holds():
                if self.task is not None and self.task.done():
                    return
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        self.line.stop()
        async with asyncio.timeout(GENEROUS_S):
            await self.task

    def slots(self, key: str) -> list[int]:
        """All slots of a poll that were accounted for, in the order in which they were."""
        every_ns = self.line.items[key].plan.every_ns
        found = []
        for seen in self.observations:
            if f"{seen.instrument}/{seen.poll}" == key:
                first_ns = seen.slots.first_ns if seen.slots else seen.due_ns
                count = seen.slots.count if seen.slots else 1
                found += [first_ns + number * every_ns for number in range(count)]
        return found

    def assert_every_slot_once(self) -> None:
        """From the first to the last that was handed out no slot is missing, and none is there twice."""
        for key, item in self.line.items.items():
            slots, next_ns = sorted(self.slots(key)), self.line._queue._waiting[key].due_ns
            assert slots
            assert slots == list(range(slots[0], next_ns, item.plan.every_ns)), key


@asynccontextmanager
async def line_at(far: FarEnd, plan, *, framing=None, steadily: bool = True):
    """Have a line run at a far end; the old way, by dialogues alone, where not `steadily`. The test stops it."""
    clock = SystemClock()
    session = Session(plan, framing)
    watched = Watched(session, far)
    outlets = Outlets(
        emit=watched.emit,
        announce=lambda _event, _details: None,
        describe=lambda _name, met: f"info of {met and met.identity.serial}",
        verdict=lambda _name, _verdict: None,
        context=lambda: (),
        clock_state=lambda: ClockState("none", None),
        held=lambda: watched.held,
    )
    line = Line("far", OPENERS["tcp"](Wire("tcp", far.address), clock), [session], clock, outlets)
    assert line._steady is not None
    if not steadily:
        line._steady = None
    watched.line = line
    _spy(watched)
    watched.task = asyncio.create_task(line.run())
    try:
        yield watched
    finally:
        line.stop()
        await asyncio.gather(watched.task, return_exceptions=True)
        far.close()


def _spy(watched: Watched) -> None:
    ledger, session = watched.line._ledger, watched.session
    entered, failed, poll = ledger.entered, ledger.failed, session.poll

    def note(entry: Entry) -> None:
        watched.entries.append(entry)
        for each in tuple(watched.notes):
            each(entry)

    def spy_entered(item, observation):
        entered(item, observation)
        note(Entry(item.key, "ok", observation.detail, observation.readings, observation.exchanges))

    def spy_failed(item, outcome, slots, exchanges=(), scene=None):
        failed(item, outcome, slots, exchanges, scene)
        if scene is not None:  # a question, not a slot that nobody asked for
            note(Entry(item.key, str(outcome.status), outcome.detail, outcome.readings, exchanges))

    def spy_poll(plan, now_ns=0):
        watched.dialogues.append(plan.name)
        return poll(plan, now_ns)

    ledger.entered, ledger.failed, session.poll = spy_entered, spy_failed, spy_poll

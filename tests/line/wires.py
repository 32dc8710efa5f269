"""A wire and instruments that a test can make as devilish as it likes, in the time of a ManualClock.

FakeTransport obeys the Transport Protocol. What an instrument says is put on the wire with the instant of its arrival;
closing drops it only where the test says so. CountingInstrument answers every question with a number it never used
before, and remembers which: a value that was shifted by one answer shows.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count

from daq.core.cut import Cut, ends_with
from daq.core.errors import LinkClosed, LinkTimeout, UnreadableReply
from daq.core.observation import NS, ClockState, Integrity, Observation, Reading, Stamp
from daq.core.plan import IdentifyPlan, InstrumentPlan, Match, PollPlan, ReplyForm, TextStep
from daq.core.timing import Triggered
from daq.line import Line, Outlets
from daq.session import Met, Session
from daq.transports import Received
from tests.manual_clock import ManualClock

MS = 1_000_000
Answer = Callable[[bytes, int], list[tuple[int, bytes]]]
"""(what was written, when) -> (how much later it arrives, bytes) of each piece."""


class FakeTransport:
    """A wire whose far end is a function."""

    direct = None

    def __init__(self, clock: ManualClock, answer: Answer, *, reopen_heals: bool = True, can_clear: bool = False):
        self.reopen_heals, self.can_clear = reopen_heals, can_clear
        self.absent: str | None = None  # why it cannot be opened
        self.opened = self.closed = self.cleared = 0
        self.written: list[bytes] = []
        self.written_ns: list[int] = []
        self._clock, self._answer = clock, answer
        self._is_open = False
        self._coming: list[tuple[int, int, bytes]] = []
        self._order = count()
        self._buffer: list[tuple[int, int]] = []  # byte, when it came
        self._silent = clock.now()

    def say(self, data: bytes, after_ns: int = 0) -> None:
        """Put bytes on the wire, unasked."""
        heapq.heappush(self._coming, (self._clock.mono_ns + after_ns, next(self._order), data))

    def hang_up(self) -> None:
        self._is_open = False

    async def open(self, deadline_ns: int) -> None:
        await self.close()
        if self.absent is not None:
            raise LinkClosed(self.absent)
        self._is_open, self.opened, self._silent = True, self.opened + 1, self._clock.now()

    async def close(self) -> None:
        self.closed += self._is_open
        self._is_open = False
        self._arrive()
        self._buffer.clear()
        if self.reopen_heals:
            self._coming.clear()

    async def clear(self, deadline_ns: int) -> None:
        self._check()
        self.cleared += 1
        self._buffer.clear()
        self._coming.clear()

    async def write(self, data: bytes, deadline_ns: int) -> Stamp:
        self._check()
        asked = self._clock.now()
        self.written.append(data)
        self.written_ns.append(asked.mono_ns)
        for after_ns, piece in self._answer(data, asked.mono_ns):
            self.say(piece, after_ns)
        return asked

    async def read(self, cut: Cut, deadline_ns: int) -> Received:
        while True:
            self._check()
            self._arrive()
            length = cut(bytes(byte for byte, _ in self._buffer))
            if length:
                return self._take(length)
            if self._clock.mono_ns >= deadline_ns:
                raise LinkTimeout("wire: nothing came in time", partial=self.unread())
            next_ns = self._coming[0][0] if self._coming else deadline_ns
            await self._clock.wait(min(next_ns, deadline_ns))

    def unread(self) -> bytes:
        self._arrive()
        taken = bytes(byte for byte, _ in self._buffer)
        self._buffer.clear()
        return taken

    def _take(self, length: int) -> Received:
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        ahead_ns = self._clock.now().utc_ns - self._clock.now().mono_ns
        first, last = (Stamp(when, when + ahead_ns) for when in (taken[0][1], taken[-1][1]))
        silent, self._silent = self._silent, last
        return Received(bytes(byte for byte, _ in taken), silent, first, last)

    def _arrive(self) -> None:
        while self._coming and self._coming[0][0] <= self._clock.mono_ns:
            when, _, data = heapq.heappop(self._coming)
            self._buffer += [(byte, when) for byte in data]

    def _check(self) -> None:
        if not self._is_open:
            raise LinkClosed("nobody is there")


@dataclass
class CountingInstrument:
    """Answers in the order it was asked, `IDN?` with its name, everything else with the next number.

    Args:
        delays: how long each answer to a reading takes, one after the other; None: it never comes. 10 ms behind them.
    """

    clock: ManualClock
    delays: Iterator[int | None] = field(default_factory=lambda: iter(()))
    serial: str = "S1"
    log: dict[int, str] = field(default_factory=dict)  # when it was asked -> what it answers
    number: int = 0
    free_ns: int = 0
    spoilt: bytes = b""  # the question that is answered with what cannot be read

    def __call__(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        if not data.endswith(b"?\n"):
            return []
        delay_ns = 10 * MS if data == b"IDN?\n" else next(self.delays, 10 * MS)
        if delay_ns is None:
            return []
        self.free_ns = max(self.free_ns, now_ns + delay_ns)
        return [(self.free_ns - now_ns, self._say(data, now_ns))]

    def _say(self, data: bytes, now_ns: int) -> bytes:
        if data == b"IDN?\n":
            return f"COUNTER,{self.serial}\n".encode()
        if data == self.spoilt:
            return b"oops\n"
        self.number += 1
        self.log[now_ns] = f"{self.number}.0"
        return f"{self.number}.0\n".encode()


def number_form() -> ReplyForm:
    def match(reply: bytes) -> Match:
        text = reply.decode().removesuffix("\n")
        if not text.replace(".", "", 1).isdigit():
            raise UnreadableReply(f"{reply!r} is no number")
        return Match({"n": text})

    return ReplyForm(ends_with(b"\n"), match, "{n}")


def identity_form() -> ReplyForm:
    def match(reply: bytes) -> Match:
        if not reply.startswith(b"COUNTER,"):
            raise UnreadableReply(f"{reply!r} is no identity")
        return Match({"serial": reply.decode().strip().partition(",")[2]})

    return ReplyForm(ends_with(b"\n"), match, "COUNTER,{s}")


def command(request: bytes) -> TextStep:
    """A command that is not answered."""
    return TextStep(request, None, NS, told=True)


def poll(name: str = "n", every_ns: int = NS, *, ask: bytes = b"N?\n", within_ns: int = NS, **more: object) -> PollPlan:
    def readings(answers: object) -> dict[str, Reading]:
        return {"n": Reading(answers[-1].fields["n"], answers[-1].fields["n"], "1", "count")}

    settings = {
        "name": name,
        "source": name,
        "every_ns": every_ns,
        "phase_ns": 0,
        "mode": None,
        "steps": (TextStep(ask, number_form(), within_ns),),
        "readings": readings,
        "time": Triggered(0),
        "integrity": Integrity.NONE,
        "channels": (),
    }
    return PollPlan(**(settings | more))


def instrument(*polls: PollPlan, name: str = "dmm", serial: str | None = None, **more: object) -> InstrumentPlan:
    identity = TextStep(b"IDN?\n", identity_form(), NS)
    check = lambda fields: None if serial in (None, fields["serial"]) else f"serial number {fields['serial']}"  # noqa: E731
    settings = {
        "name": name,
        "driver": "test/counter",
        "title": "Counter",
        "speaks": "text",
        "unit": None,
        "configure": True,
        "banner": False,
        "latency_ns": NS,
        "gap_ns": 0,
        "eol": b"\n",
        "identify": IdentifyPlan((identity,), lambda answers: dict(answers[0].fields), check),
        "barrier": identity,
        "verify": None,
        "setup": (),
        "readbacks": (),
        "errors": None,
        "polls": polls or (poll(),),
        "teardown": (),
        "simulated": False,
        "asset": None,
    }
    return InstrumentPlan(**(settings | more))


def addressed(plan: InstrumentPlan, address: bytes) -> InstrumentPlan:
    """Put an address before every question."""

    def put(step: TextStep) -> TextStep:
        return replace(step, ask=address + step.ask)

    return replace(
        plan,
        barrier=put(plan.barrier),
        identify=replace(plan.identify, steps=tuple(put(step) for step in plan.identify.steps)),
        polls=tuple(replace(each, steps=tuple(put(step) for step in each.steps)) for each in plan.polls),
    )


@dataclass
class Room:
    """A line on a manual clock, and all it said."""

    clock: ManualClock
    transport: FakeTransport
    line: Line
    observations: list[Observation]
    events: list[tuple[str, dict]]
    verdicts: list[tuple[str, object]]
    described: list[tuple[str | None, int]]
    """Serial number it was described by, and how many verdicts there were before."""

    def values(self, poll_name: str = "n") -> list[str]:
        return [seen.readings["n"].value for seen in self.observations if seen.poll == poll_name and seen.readings]

    def statuses(self) -> list[str]:
        return [str(seen.status) for seen in self.observations]

    def slots(self, instrument: str = "dmm", poll_name: str = "n") -> int:
        """How many slots were accounted for."""
        own = [seen for seen in self.observations if (seen.instrument, seen.poll) == (instrument, poll_name)]
        return sum(seen.slots.count if seen.slots else 1 for seen in own)


def room(
    transport: FakeTransport,
    clock: ManualClock,
    *plans: InstrumentPlan,
    held: Callable[[], str | None] = lambda: None,
    context: Callable[[], tuple[tuple[str, str], ...]] = tuple,
    **more: object,
) -> Room:
    observations: list[Observation] = []
    events: list[tuple[str, dict]] = []
    verdicts: list[tuple[str, object]] = []
    described: list[tuple[str | None, int]] = []

    def describe(name: str, met: Met | None) -> str:
        described.append((met.identity.serial if met else None, len(verdicts)))
        return f"{name}:{met.identity.serial if met else None}"

    outlets = Outlets(
        emit=observations.append,
        announce=lambda event, details: events.append((event, dict(details))),
        describe=describe,
        verdict=lambda name, verdict: verdicts.append((name, verdict)),
        context=context,
        clock_state=lambda: ClockState("none", None),
        held=held,
    )
    framing = None if all(plan.speaks == "text" for plan in plans) else "tcp" if more.get("numbered") else "rtu"
    sessions = [Session(plan, framing) for plan in plans or (instrument(),)]
    line = Line("wire", transport, sessions, clock, outlets, **more)
    return Room(clock, transport, line, observations, events, verdicts, described)


@asynccontextmanager
async def running(bench: Room) -> AsyncIterator[None]:
    task = asyncio.create_task(bench.line.run())
    try:
        yield
    finally:
        bench.line.stop()
        await bench.clock.advance_until(task.done, 60)
        await task


def assert_answers_are_their_own(bench: Room, *instruments: CountingInstrument) -> None:
    """Every value is what the instrument answered to the question that was asked at that very instant."""
    for seen in bench.observations:
        if seen.readings:
            assert seen.timing is not None
            asked_ns = seen.timing.mono_ns - seen.timing.err_ns
            answers = {each.log.get(when) for each in instruments for when in (asked_ns, asked_ns + 1)} - {None}
            assert {seen.readings["n"].value} == answers, seen

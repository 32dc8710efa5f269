"""Looks who answers at a place, with read-only questions alone, and proposes the driver whose identity matches.

Only identity is asked: what drivers ask on every connect anyway, *IDN? first. Whatever a driver would have to tell, or
set, is left out. A place is opened by nobody else meanwhile, and left as it was.

    places, drivers -> [scan_text, scan_registers] -> Answered (who, drivers) -> daq scan
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from daq.clock import Clock
from daq.core import modbus
from daq.core.bench import SIMULATED, Address
from daq.core.cut import Cut
from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import DaqError, LinkDamaged, LinkTimeout, ReplyError
from daq.core.modbus import Framing
from daq.core.observation import NS
from daq.core.plan import Answer, DeviceStep, InstrumentPlan, Match, RegisterStep, TextStep
from daq.core.register_answers import device_objects
from daq.core.wiring import DEFAULT_LINE
from daq.transports import OPENERS, Transport
from daq.workshop.entry import compiled, entry, streams_of, wiring_of

T = TypeVar("T")

OPEN_NS = 5 * NS
REST_S = 0.05
"""How long bytes behind the end of a line may take to come."""

LISTEN_NS = 2 * NS
"""How long one that may talk by itself is listened to."""

SILENT_QUESTIONS = 3
"""So many unanswered questions, and a Modbus unit counts as absent."""

Told = Callable[[str], object]
"""Takes a line about what is being done."""


@dataclass(frozen=True, slots=True)
class Fits:
    """A driver whose identity matches.

    Args:
        name: of the driver.
        sure: it was told by more than that somebody answers: by expect, verify, or a form of reply of its own.
        fields: model, serial and the like, as answered.
        talks: it was heard sending this driver's lines unasked.
    """

    name: str
    driver: Driver
    sure: bool
    fields: Mapping[str, str] = field(default_factory=dict)
    talks: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What was found at one address.

    Args:
        fits: drivers that match, the surest first; () where none does.
        said: the reply that none matches; b"" where one does.
    """

    at: Address
    fits: tuple[Fits, ...]
    said: bytes = b""

    @property
    def simulated(self) -> bool:
        """Whether the serial number says so."""
        return any(one.fields.get("serial", "").strip().startswith(SIMULATED) for one in self.fits)

    @property
    def is_sure(self) -> bool:
        """Whether a driver fits by more than that somebody answers."""
        return any(one.sure for one in self.fits)

    @property
    def is_legible(self) -> bool:
        """Whether what it said is text; at a wrong baud rate, or with a wrong parity, other bytes come."""
        return all(byte in b"\r\n\t" or 0x20 <= byte < 0x7F for byte in self.said)


@dataclass(frozen=True, slots=True)
class _Known:
    """A driver compiled for a place."""

    name: str
    driver: Driver
    plan: InstrumentPlan


def lines_of(drivers: Mapping[str, Driver], kind: type[TextDriver | RegisterDriver]) -> list[str]:
    """Return the serial settings that drivers of a kind are delivered with, the most frequent first."""
    found = [driver.link.line or DEFAULT_LINE for driver in drivers.values() if isinstance(driver, kind)]
    return sorted(set(found), key=lambda line: (-found.count(line), line))


def delivered_with(drivers: Mapping[str, Driver], line: str) -> dict[str, Driver]:
    """Return the drivers of instruments that leave their maker with these serial settings."""
    return {name: driver for name, driver in drivers.items() if (driver.link.line or DEFAULT_LINE) == line}


# Text -----------------------------------------------------------------------------------------------------------------


async def scan_text(
    at: Address, drivers: Mapping[str, Driver], clock: Clock, *, wait_ns: int, told: Told
) -> Answered | None:
    """Ask who is there, question by question until one is answered; None where nobody says anything.

    Args:
        at: the place.
        drivers: to be tried, by name; see delivered_with.
        clock: time.
        wait_ns: how long an answer may take.
        told: progress.

    Raises:
        LinkError: the place cannot be opened.
    """
    known = list(_text_drivers(at, drivers))
    if not known:
        return None
    wire = wiring_of(known[0].driver, entry(known[0].driver, at)).wire
    transport = OPENERS[wire.kind](wire, clock)
    hearing = _Hearing(transport, clock, wait_ns)
    try:
        await transport.open(clock.now().mono_ns + OPEN_NS)
        return await _asked_around(at, known, hearing, told)
    finally:
        await transport.close()


@dataclass(slots=True)
class _Hearing:
    """One place while it is asked, and what it said so far.

    Args:
        said: reply -> the question it answered first.
        parroted: what came to several questions.
    """

    transport: Transport
    clock: Clock
    wait_ns: int
    said: dict[bytes, bytes] = field(default_factory=dict)
    parroted: set[bytes] = field(default_factory=set)

    async def ask(self, question: bytes, wait_ns: int | None = None) -> bytes:
        """Ask, and return all that comes; b"" is only listened for. Raises LinkError, but not for silence.

        What the port counts as damaged is what a wrong baud rate makes of an answer: other settings are tried next.
        """
        self.transport.unread()
        if question:
            await self.transport.write(question, self.clock.now().mono_ns + self.wait_ns)
        try:
            received = await self.transport.read(_line, self.clock.now().mono_ns + (wait_ns or self.wait_ns))
        except (LinkTimeout, LinkDamaged) as error:
            return error.partial
        await asyncio.sleep(REST_S)
        return received.data + self.transport.unread()

    def is_parrot(self, question: bytes, reply: bytes) -> bool:
        """Whether the same came to another question already: what is said to everything is no identity."""
        if self.said.setdefault(reply, question).strip() != question.strip():
            self.parroted.add(reply)
        return reply in self.parroted


async def _asked_around(at: Address, known: Sequence[_Known], hearing: _Hearing, told: Told) -> Answered | None:
    """Put question after question until a driver surely fits; what fits less surely is kept until then."""
    fits: list[Fits] = []
    introduced: list[tuple[bytes, Fits]] = []
    for question in _questions(known):
        reply = await hearing.ask(question)
        told(f"{question!r}: {reply!r}" if reply else f"{question!r}: nothing")
        if not reply:
            continue
        fits += _talkers(known, reply)
        if not hearing.is_parrot(question, reply):
            introduced += [(reply, one) for one in await _introduced_as(known, question, reply, hearing)]
        if any(one.sure for _, one in introduced) or reply.count(b",") >= 2:
            break  # who answers with commas has understood: other questions would only fill its error queue
    fits += [one for reply, one in introduced if one.sure or reply not in hearing.parroted]
    if fits:
        return Answered(at, await _who_talks(_best(fits), known, hearing))
    return Answered(at, (), next(iter(hearing.said))) if hearing.said else None


async def _introduced_as(known: Sequence[_Known], question: bytes, reply: bytes, hearing: _Hearing) -> list[Fits]:
    """Return the drivers whose identity the answer to their first question begins, whatever the question ended with."""
    fits = []
    for one in known:
        if question and _first(one.plan).strip() == question.strip():
            fields = await _introduced(one.plan, reply, hearing)
            if fields is not None:
                fits.append(Fits(one.name, one.driver, _is_sure(one), fields))
    return fits


async def _who_talks(fits: tuple[Fits, ...], known: Sequence[_Known], hearing: _Hearing) -> tuple[Fits, ...]:
    """Listen whether one that may talk by itself does."""
    if any(one.talks for one in fits) or not any(streams_of(one.driver) for one in fits):
        return fits
    came = await hearing.ask(b"", max(hearing.wait_ns, LISTEN_NS))
    talking = {one.name for one in _talkers(known, came)}
    return tuple(replace(one, talks=one.name in talking) for one in fits)


def _text_drivers(at: Address, drivers: Mapping[str, Driver]) -> Iterator[_Known]:
    """Give the drivers that could be there and ask who is, without telling anything."""
    for name, driver in drivers.items():
        if not isinstance(driver, TextDriver):
            continue
        try:
            plan = compiled(driver, entry(driver, at))
        except DaqError:
            continue
        steps = plan.identify.steps if plan.identify is not None else ()
        asks = steps and all(isinstance(step, TextStep) and step.reply is not None and not step.told for step in steps)
        if asks or streams_of(driver):
            yield _Known(name, driver, plan)


def _first(plan: InstrumentPlan) -> bytes:
    """Return the first question of an identity; b"" where there is none."""
    step = plan.identify.steps[0] if plan.identify is not None and plan.identify.steps else None
    return step.ask if isinstance(step, TextStep) and step.reply is not None else b""


ENDINGS = (b"\r\n", b"\n", b"\r")
"""Of questions, in the order in which they are tried."""


def _questions(known: Sequence[_Known]) -> list[bytes]:
    """Return the first questions by their endings: CR LF first, which whoever waits for either takes for an end.

    One that ends with LF alone stays in the buffer of whoever waits for CR LF, and spoils what follows; one that ends
    with CR alone does so to whoever waits for LF. By then those were asked all that is meant for them. What is left
    over for whoever waits for CR goes with the first of his questions, which is therefore asked twice. Within an
    ending *IDN? comes first, then what most drivers ask.
    """
    asked = [first for one in known if (first := _first(one.plan))]
    by_habit = sorted(set(asked), key=lambda ask: (not ask.startswith(b"*IDN?"), -asked.count(ask), ask))
    crlf, lf, cr, bare = ([ask for ask in by_habit if _ending(ask) == ending] for ending in (*ENDINGS, b""))
    return [*crlf, *lf, *(cr[:1] if crlf or lf else []), *cr, *bare] or [b""]


def _ending(ask: bytes) -> bytes:
    return next((ending for ending in ENDINGS if ask.endswith(ending)), b"")


def _line(got: bytes | bytearray) -> int:
    """Cut behind the last line that is there."""
    return len(got) if got[-1:] in (b"\n", b"\r") else 0


async def _introduced(plan: InstrumentPlan, reply: bytes, hearing: _Hearing) -> dict[str, str] | None:
    """Read a first reply as a driver does, and ask its other questions; None where it is another instrument."""
    assert plan.identify is not None
    answers: list[Answer] = []
    for number, step in enumerate(plan.identify.steps):
        assert isinstance(step, TextStep)
        assert step.reply is not None
        came = reply if number == 0 else await hearing.ask(step.ask)
        matches = [match for part in _replies(came, plan.eol) if (match := _match(step, part)) is not None]
        if not matches:
            return None
        answers.append(matches[0])
    try:
        fields = plan.identify.fields(answers)
    except ReplyError:
        return None
    return fields if plan.identify.check(fields) is None else None


def _replies(came: bytes, ending: bytes) -> Iterator[bytes]:
    """Give all that came, then each of its lines: one who talks may have spoken meanwhile.

    What stands behind the last ending is no line: a prompt, or one that is still coming.
    """
    yield came
    if ending:
        yield from (line + ending for line in came.split(ending)[:-1] if line)


def _match(step: TextStep, data: bytes) -> Match | None:
    assert step.reply is not None
    try:
        return step.reply.match(data)
    except ReplyError:
        return None


def _talkers(known: Sequence[_Known], came: bytes) -> Iterator[Fits]:
    """Give the drivers of whose streams a line came unasked."""
    for one in known:
        steps = [poll.steps[0] for poll in one.plan.polls if poll.every_ns is None]
        lines = [*_replies(came, one.plan.eol)][1:]
        if any(isinstance(step, TextStep) and _match(step, line) for step in steps for line in lines):
            yield Fits(one.name, one.driver, sure=False, talks=True)


# Registers ------------------------------------------------------------------------------------------------------------


async def scan_registers(
    at: Address, units: Sequence[int], drivers: Mapping[str, Driver], clock: Clock, *, wait_ns: int, told: Told
) -> list[Answered]:
    """Read the identity registers of each unit; units that answer and match no driver are returned as well.

    Args:
        at: the place, with any unit.
        units: to be tried.
        drivers: to be tried, by name; see delivered_with.
        clock: time.
        wait_ns: how long an answer may take.
        told: progress.

    Raises:
        LinkError: the place cannot be opened, or is lost.
    """
    known = list(_register_drivers(at, drivers))
    if not known:
        return []
    wire = wiring_of(known[0].driver, entry(known[0].driver, at)).wire
    transport = OPENERS[wire.kind](wire, clock)
    framing: Framing = "tcp" if at.modbus_tcp is not None else "rtu"
    found = []
    try:
        await transport.open(clock.now().mono_ns + OPEN_NS)
        for unit in units:
            answered = await _unit(_Asker(transport, framing, unit, clock, wait_ns), known, at)
            told(f"unit {unit}: {'answers' if answered is not None else 'nothing'}")
            found.extend([answered] if answered is not None else [])
    finally:
        await transport.close()
    return found


def _register_drivers(at: Address, drivers: Mapping[str, Driver]) -> Iterator[_Known]:
    for name, driver in drivers.items():
        if not isinstance(driver, RegisterDriver) or (driver.identify is None and driver.verify is None):
            continue
        try:
            yield _Known(name, driver, compiled(driver, entry(driver, at)))
        except DaqError:
            continue


@dataclass(slots=True)
class _Asker:
    """Asks one unit for registers, and who it is, each question once."""

    transport: Transport
    framing: Framing
    unit: int
    clock: Clock
    wait_ns: int
    silent: int = 0
    there: bool = False
    asked: int = 0
    _read: dict[tuple[int, ...], bytes | None] = field(default_factory=dict)

    async def answer(self, step: RegisterStep | DeviceStep) -> bytes | None:
        """Return what a step brings; None where it is refused or unanswered."""
        key = (step.category,) if isinstance(step, DeviceStep) else (step.function, step.address, step.count)
        if key not in self._read:
            silent = self.silent >= SILENT_QUESTIONS and not self.there
            self._read[key] = None if silent else await self._brought(step)
        return self._read[key]

    async def _brought(self, step: RegisterStep | DeviceStep) -> bytes | None:
        if isinstance(step, DeviceStep):
            return await self._device(step)
        asked = modbus.request(self.framing, self.unit, self._number(), step.function, step.address, step.count)
        cut = modbus.cut(self.framing, step.function, step.count)
        return await self._ask(asked, cut, partial(modbus.registers, self.framing, asked))

    async def _device(self, step: DeviceStep) -> bytes | None:
        told, first = b"", 0
        for _ in range(modbus.MOST_PARTS):
            asked = modbus.identification_request(self.framing, self.unit, self._number(), step.category, first)
            judge = partial(modbus.identification, self.framing, asked)
            found = await self._ask(asked, modbus.identification_cut(self.framing), judge)
            if found is None:
                return None
            told += b"".join(bytes((number, len(its))) + its for number, its in found.objects.items())
            if found.more is None:
                break
            first = found.more
        return told

    def _number(self) -> int:
        self.asked = (self.asked + 1) % 0x10000
        return self.asked

    async def _ask(self, asked: bytes, cut: Cut, judge: Callable[[bytes], T]) -> T | None:
        self.transport.unread()
        await self.transport.write(asked, self.clock.now().mono_ns + self.wait_ns)
        try:
            received = await self.transport.read(cut, self.clock.now().mono_ns + self.wait_ns)
        except LinkTimeout:
            self.silent += 1
            return None
        try:
            content = judge(received.data)
        except modbus.RefusedBlock:
            self.there = True
            return None
        except ReplyError:
            self.silent += 1  # a gateway that reaches nobody, or noise
            return None
        self.there = True
        return content


async def _unit(asker: _Asker, known: Sequence[_Known], at: Address) -> Answered | None:
    fits = []
    for one in known:
        fields = await _read_identity(asker, one.plan)
        if fields is not None:
            fits.append(Fits(one.name, one.driver, _is_sure(one), fields))
    place = at.model_copy(update={"unit": asker.unit})
    if not asker.there:
        return None
    return Answered(place, _best(fits), b"" if fits else await _own_words(asker))


async def _own_words(asker: _Asker) -> bytes:
    """Return what a unit that no driver knows says of itself: maker, product and revision, if it says anything."""
    told = await asker.answer(DeviceStep(1, asker.wait_ns))
    words = device_objects(told).values() if told else ()
    return ", ".join(filter(None, words)).encode("latin-1") or b"registers of no driver"


async def _read_identity(asker: _Asker, plan: InstrumentPlan) -> dict[str, str] | None:
    """Read a driver's identity and the register of known content; None where it is another instrument."""
    fields: dict[str, str] = {}
    if plan.verify is not None:
        content = await asker.answer(plan.verify.step)
        if content is None or plan.verify.check(content) is not None:
            return None
    if plan.identify is not None:
        answers: list[Answer] = []
        for step in plan.identify.steps:
            content = None if isinstance(step, TextStep) else await asker.answer(step)
            if content is None:
                return None
            answers.append(content)
        try:
            fields = plan.identify.fields(answers)
        except ReplyError:
            return None
        if plan.identify.check(fields) is not None:
            return None
    return fields


# Both -----------------------------------------------------------------------------------------------------------------


def _is_sure(known: _Known) -> bool:
    """Whether a match says more than that somebody answers: expect, verify, or replies with text of their own."""
    driver, plan = known.driver, known.plan
    if plan.verify is not None or (driver.identify is not None and driver.identify.expect):
        return True
    steps = plan.identify.steps if plan.identify is not None else ()
    shapes = [
        step.reply.shape for step in steps if isinstance(step, TextStep) and step.reply is not None and not step.told
    ]
    return any(len(re.sub(r"\{[^}]*\}|\W", "", shape)) >= 2 for shape in shapes)


def _best(fits: Sequence[Fits]) -> tuple[Fits, ...]:
    """Leave out the unsure where there is a sure one, and talkers where identity was asked."""
    asked = [one for one in fits if not one.talks] or list(fits)
    sure = [one for one in asked if one.sure] or asked
    names = {one.name for one in fits if one.talks}
    return tuple(replace(one, talks=one.talks or one.name in names) for one in sure)

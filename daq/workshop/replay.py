"""Has a driver read a recorded dialogue again, whoever recorded it: questions and answers in, values and units out.

What stands in the record decides: an answer is read by every poll that asks its question, after the mode whose commands
came before it; what no poll asks is told as such. Registers are taken out of frames (Modbus TCP or RTU, in hexadecimal)
and read channel by channel, however the recorder had divided them. Pure.

    text of a record -> [pairs] -> Pair -> [replayed] -> Reread (poll, readings, or why not) -> daq driver replay
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daq.core.assembly import expansions
from daq.core.compile_registers import AddressError, scalings, span_of
from daq.core.driver import Driver, RegisterDriver, Scalar, TextDriver
from daq.core.errors import ReplyError, quoted
from daq.core.modbus import Framing, registers, request
from daq.core.observation import Exchange, Reading
from daq.core.plan import InstrumentPlan, PollPlan, RegisterStep, TextStep
from daq.core.settings import names_in, put_in
from daq.workshop.entry import compiled, whole_entry
from daq.workshop.orders import Memory, memory_of, words_of
from daq.workshop.reread import matched, replies

NOBODY = "no poll of the driver asks this"


@dataclass(frozen=True, slots=True)
class Pair:
    """One exchange of a record; ask "" where the instrument spoke unasked, got "" where it was only told."""

    ask: str
    got: str


@dataclass(frozen=True, slots=True)
class Reread:
    """What the driver made of one answer, or of the answers to all steps of a poll.

    Args:
        pair: the last exchange it took.
        source: poll or stream, or identity; None where nobody asks this.
        readings: channel -> reading.
        fields: of an identity.
        refused: why it is no reading; None where it is.
    """

    pair: Pair
    source: str | None
    readings: Mapping[str, Reading] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    refused: str | None = None


# The record -----------------------------------------------------------------------------------------------------------


def pairs(text: str) -> list[Pair]:
    """Read a record: lines `> question` and `< answer`, or JSON with ask and got, as daq prints it.

    Raises:
        ValueError: it is neither; the message says where.
    """
    bare = re.sub(r"\A(?:\s*#.*\n)+", "", text)
    if bare.lstrip()[:1] in ("[", "{"):
        try:
            return [*_from_json(json.loads(bare))]
        except json.JSONDecodeError:
            return [pair for line in bare.splitlines() if line.strip() for pair in _from_json(json.loads(line))]
    return [*_from_lines(text)]


def _from_json(data: Any) -> Iterator[Pair]:
    """Find every mapping with ask and got, wherever it stands."""
    if isinstance(data, dict) and data.keys() >= {"ask", "got"}:
        yield Pair(str(data["ask"] or ""), str(data["got"] or ""))
    elif isinstance(data, dict | list):
        for below in data.values() if isinstance(data, dict) else data:
            yield from _from_json(below)


def _from_lines(text: str) -> Iterator[Pair]:
    asked: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        sign, said = line.strip()[:1], line.lstrip()[1:].removeprefix(" ")  # blanks may end an answer
        if sign in ("", "#"):
            continue
        if sign == ">":
            if asked is not None:
                yield Pair(asked, "")
            asked = _unquoted(said.rstrip())
        elif sign == "<":
            yield Pair(asked or "", _unquoted(said))
            asked = None
        else:
            said = line.strip()[:40]
            raise ValueError(f"line {number}: {said!r} is neither '> question', '< answer' nor '# remark'.")
    if asked is not None:
        yield Pair(asked, "")


def _unquoted(said: str) -> str:
    """Take the quotes off, as `daq driver try` prints them, and the time behind them."""
    found = re.fullmatch(r"""('.*'|".*")(  \([0-9.]+ ms\))?""", said)
    return str(ast.literal_eval(found[1])) if found else re.sub(r"  \([0-9.]+ ms\)$", "", said)


# Text -----------------------------------------------------------------------------------------------------------------


def replayed(driver: Driver, record: Sequence[Pair], settings: Mapping[str, Scalar] | None = None) -> list[Reread]:
    """Read a record by a driver.

    Args:
        driver: of the instrument.
        record: its exchanges, in order.
        settings: in force for the polls.

    Raises:
        ConfigError: driver and settings do not go together.
    """
    plan = compiled(driver, whole_entry(driver, settings=settings or {}))
    if isinstance(driver, RegisterDriver):
        return [each for pair in record for each in _registers(driver, plan, pair)]
    return [*_Listener(driver, plan).all(record if driver.link.eol else map(_unhexed, record))]


def _unhexed(pair: Pair) -> Pair:
    """Read the hexadecimal digits in which replies of bytes are recorded."""
    return Pair(
        *(bytes.fromhex(part).decode("latin-1") if _HEX.fullmatch(part) else part for part in (pair.ask, pair.got))
    )


_HEX = re.compile("(?:[0-9A-Fa-f]{2} ?)+")


class _Listener:
    """Goes through a record of text, with every poll whose questions have begun."""

    def __init__(self, driver: TextDriver, plan: InstrumentPlan) -> None:
        self._driver = driver
        self._plan = plan
        self._ending = driver.link.eol.encode("latin-1")
        self._ask_ending = driver.link.eol if driver.link.ask_eol is None else driver.link.ask_eol
        self._mode: str | None = None
        self._begun: dict[str, list[str]] = {}  # poll -> the answers to its first steps
        self._last: dict[str, Pair] = {}  # poll -> the last exchange of those
        self._used: set[Pair] = set()  # exchanges that somebody read
        self._taken = False  # whether somebody asks the question at hand

    def all(self, record: Iterable[Pair]) -> Iterator[Reread]:
        """Give what is made of each exchange; commands are only followed."""
        for pair in record:
            if pair.ask and not pair.got:
                self._told(self._bare(pair.ask))
                continue
            self._taken = False
            found = [*self._identity(pair), *(each for poll in self._polls() for each in self._poll(poll, pair))]
            yield from [each for each in found if each.refused is None] or found[:1]
            if not self._taken:
                yield Reread(pair, None, refused=NOBODY)
            self._used |= {pair} if found else set()
        yield from self._left_open()

    def _left_open(self) -> Iterator[Reread]:
        """Tell of polls whose other answers never came, where nobody else read the one that did."""
        for poll in self._plan.polls:
            got, pair = self._begun.get(poll.source), self._last.get(poll.source)
            if got and pair is not None and pair not in self._used:
                missing = quoted(self._asked(replies(poll)[len(got)]))
                yield Reread(pair, poll.source, refused=f"the record has no answer to {missing}, which belongs to it")

    def _bare(self, text: str) -> str:
        return text.removesuffix(self._ask_ending).rstrip("\r\n")

    def _told(self, command: str) -> None:
        """Follow which mode is entered: by the word that its first command begins with."""
        for poll in self._plan.polls:
            if poll.mode is not None and poll.mode.enter:
                first = self._bare(poll.mode.enter[0].ask.decode("latin-1"))
                if first.split(" ")[0].upper() == command.split(" ", maxsplit=1)[0].upper():
                    self._mode = poll.mode.name

    def _polls(self) -> list[PollPlan]:
        """Return the polls of the mode that was entered; all of them where none was."""
        ours = [poll for poll in self._plan.polls if poll.mode is not None and poll.mode.name == self._mode]
        return [poll for poll in self._plan.polls if poll.mode is None or poll in ours or not ours]

    def _poll(self, poll: PollPlan, pair: Pair) -> Iterator[Reread]:
        steps = replies(poll)
        got = self._begun.setdefault(poll.source, [])
        step = steps[len(got)]
        if self._asked(step) != self._bare(pair.ask):
            if self._asked(steps[0]) != self._bare(pair.ask):
                return  # somebody else's question in between
            got.clear()
        self._taken, self._last[poll.source] = True, pair
        ending = self._driver.link.eol
        got.append(pair.got.removesuffix(ending).rstrip("\r\n") if ending else pair.got)  # bytes may look like one
        if len(got) < len(steps):
            return
        answers, self._begun[poll.source] = got, []
        try:
            matches = [matched(step, text, self._ending) for step, text in zip(steps, answers, strict=True)]
            yield Reread(pair, poll.source, poll.readings(matches))
        except ReplyError as error:
            yield Reread(pair, poll.source, refused=str(error))

    def _asked(self, step: TextStep) -> str:
        return self._bare(step.ask.decode("latin-1"))

    def _identity(self, pair: Pair) -> Iterator[Reread]:
        """Read an answer that says who it is; what it should say is checked where one answer says all."""
        identify = self._plan.identify
        steps = [step for step in identify.steps if isinstance(step, TextStep)] if identify is not None else []
        for step in steps:
            if identify is None or step.reply is None or self._asked(step) != self._bare(pair.ask):
                continue
            self._taken = True
            try:
                match = matched(step, pair.got.rstrip("\r\n"), self._ending)
                fields = identify.fields([match]) if len(steps) == 1 else match.fields
            except ReplyError as error:
                yield Reread(pair, "identity", refused=str(error))
                continue
            yield Reread(pair, "identity", fields=fields, refused=identify.check(fields) if len(steps) == 1 else None)


# Registers ------------------------------------------------------------------------------------------------------------


def _registers(driver: RegisterDriver, plan: InstrumentPlan, pair: Pair) -> Iterator[Reread]:
    """Read all channels whose registers one answer holds."""
    try:
        memory = _memory(pair)
    except (ReplyError, ValueError) as error:
        yield Reread(pair, None, refused=str(error))
        return
    found = [each for poll in plan.polls if (each := _held(driver, poll, memory, pair)) is not None]
    identify = plan.identify
    steps = [step for step in identify.steps if isinstance(step, RegisterStep)] if identify is not None else []
    if identify is not None and steps and all(_holds(memory, step) for step in steps):
        fields = identify.fields([words_of(step, memory) for step in steps])
        found.append(Reread(pair, "identity", fields=fields, refused=identify.check(fields)))
    yield from found or [Reread(pair, None, refused=NOBODY)]


def _memory(pair: Pair) -> Memory:
    """Take the registers out of a frame with its question. Raises ReplyError, ValueError."""
    try:
        ask, got = (bytes.fromhex(re.sub(r"\b0[xX]|[:,-]", " ", text)) for text in (pair.ask, pair.got))
    except ValueError:
        ask, got = b"", b""
    framing: Framing = "tcp" if len(ask) == 12 and ask[2:6] == b"\0\0\0\x06" else "rtu"
    if len(ask) == 5:  # without framing, as the specification prints them
        whole = request("tcp", 1, 0, ask[0], int.from_bytes(ask[1:3], "big"), int.from_bytes(ask[3:], "big"))
        ask, got, framing = whole, whole[:4] + (len(got) + 1).to_bytes(2, "big") + whole[6:7] + got, "tcp"
    if len(ask) != (12 if framing == "tcp" else 8):
        raise ValueError(f"{pair.ask!r} is no question for registers: Modbus TCP, RTU, or the bare PDU in hexadecimal.")
    registers(framing, ask, got)  # raises what is wrong with it
    return memory_of([Exchange(ask, got, 0.0, None, binary=True)], framing)


def _held(driver: RegisterDriver, poll: PollPlan, memory: Memory, pair: Pair) -> Reread | None:
    names = {name for name, places in _places(driver, poll.source) if places <= memory.keys()}
    if not names:
        return None
    steps = [step for step in poll.steps if isinstance(step, RegisterStep)]
    readings = poll.readings([words_of(step, memory) for step in steps])
    return Reread(pair, poll.source, {name: its for name, its in readings.items() if name in names})


def _places(driver: RegisterDriver, poll: str) -> Iterator[tuple[str, set[tuple[int, int]]]]:
    """Give each channel of a poll and all registers that it is read from, those that scale it among them."""
    its = driver.polls[poll]
    for key, channel in its.channels.items():
        repeated = expansions(its.for_each) if set(names_in(key)) & its.for_each.keys() else [{}]
        for number, values in enumerate(repeated):
            at = channel.model_copy(update={"at": channel.at + number * channel.stride})
            try:
                spans = [span_of(each, driver.addressing) for each in (at, *(one for _, one in scalings(channel)))]
            except AddressError:
                continue
            yield put_in(key, values), {(s.function, s.address + n) for s in spans for n in range(s.count)}


def _holds(memory: Memory, step: RegisterStep) -> bool:
    return all((step.function, step.address + offset) in memory for offset in range(step.count))

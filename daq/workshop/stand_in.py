"""Answers as a driver's own examples do, so that a bench can be tried before the instrument arrives.

It proves nothing of the driver, whose words it repeats: the hand-written simulators do that. Questions of polls are
answered with the examples' replies in turn, identity with a serial number that begins with SIM-, settings with what was
set. Pure: bytes in, bytes out; what moves them is `serve`.

    driver -> TextStandIn | RegisterStandIn -> serve
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daq.core import driver as files
from daq.core.compile_registers import span_of
from daq.core.driver import RegisterDriver, Setting, TextDriver
from daq.core.errors import DaqError, ReplyError
from daq.core.examples import register_memory
from daq.core.formula import names
from daq.core.modbus import COILS, payload_length
from daq.core.observation import NS
from daq.core.plan import Answer, InstrumentPlan, PollPlan, ReadBack, TextStep
from daq.core.register_map import Register
from daq.core.settings import as_number, names_in, put_in, words_of
from daq.core.template import Template, parse
from daq.core.text_readings import WholeReply
from daq.core.timing import Triggered
from daq.workshop.entry import compiled, entry, poll_plan
from daq.workshop.made_up import encoded, rendered, serial_number, specimen
from daq.workshop.reread import readings_of, replies


@dataclass(slots=True)
class _Turns:
    """Replies to one question, in turn."""

    replies: list[str]
    next: int = 0

    def take(self) -> str:
        reply = self.replies[self.next % len(self.replies)]
        self.next += 1
        return reply


@dataclass(slots=True)
class TextStandIn:
    """One instrument that speaks text.

    Args:
        driver: with the endings that hold where it is reached.
        name: of the driver, for its serial number.
    """

    driver: TextDriver
    name: str
    left_out: list[str] = field(default_factory=list)
    """What it cannot answer, in words."""
    _fields: dict[str, str] = field(default_factory=dict)
    _fixed: dict[str, str] = field(default_factory=dict)
    _asked: dict[tuple[str | None, str], _Turns] = field(default_factory=dict)
    _owner: dict[tuple[str | None, str], str] = field(default_factory=dict)
    _talks: dict[str, _Turns] = field(default_factory=dict)
    _gets: dict[tuple[str | None, str], ReadBack] = field(default_factory=dict)
    _settings: dict[str, Mapping[str, files.Scalar]] = field(default_factory=dict)
    _plans: dict[str, PollPlan] = field(default_factory=dict)
    _set: dict[str, str] = field(default_factory=dict)
    _acks: dict[str, str | None] = field(default_factory=dict)
    _plan: InstrumentPlan = field(init=False)
    _mode: str | None = None

    def __post_init__(self) -> None:
        """Gather what it can say."""
        self._plan = compiled(self.driver, entry(self.driver))
        self._identify()
        self._learn_settings()
        self._learn_acknowledgements()
        if self.driver.errors is not None:
            self._fixed[self.driver.errors.ask] = self.driver.errors.none[0]
        for example in self.driver.examples:
            if example.outcome is None:
                self._learn(example.poll, example.settings, example.got)
        self._put_serial_numbers_in()
        self._check_identity()

    # What it says -----------------------------------------------------------------------------------------------------

    def answer(self, line: str) -> str | None:
        """Answer one line, both without their endings; None where nothing is to be said."""
        if line in self._fixed:
            return self._fixed[line]
        for mode in (self._mode, None, *self.driver.modes):
            turns = self._asked.get((mode, line)) or self._by_pattern(mode, line)
            if turns is not None:
                return turns.take()
        said = self._read_back(line) or self._who_at(line)
        if said is None:
            self._take_command(line)
            said = self._acknowledgement(line)
        return said

    def _acknowledgement(self, line: str) -> str | None:
        """Acknowledge a command as the driver wants it; None where it wants nothing."""
        if line in self._acks:
            return self._acks[line]
        said = self.driver.link.ack
        if said is None:
            return None
        return rendered(parse(put_in(said, {"command": line.replace("{", "{{").replace("}", "}}")}), ""), {})

    def measuring_s(self, line: str) -> float:
        """Return how many seconds the answer to a question takes: what answers sooner has not measured."""
        owner = next((self._owner[key] for mode in (self._mode, None) if (key := (mode, line)) in self._owner), None)
        time = self.driver.polls[owner].time if owner is not None else None
        if owner is None or not isinstance(time, files.Triggered):
            return 0.0
        settings = {name: self._set[name] for name in names(time.aperture) if name in self._set}
        try:
            plan = poll_plan(self.driver, owner, settings)
        except (DaqError, ValueError):
            plan = poll_plan(self.driver, owner)
        assert isinstance(plan.time, Triggered)
        return (plan.time.delay_ns + (plan.time.aperture_ns or 0) * (1 if plan.time.autozero == "none" else 2)) / NS

    def talk(self) -> list[str]:
        """Return what it says unasked, a line each."""
        return [turns.take() for turns in self._talks.values()]

    def polls(self) -> dict[str, Mapping[str, files.Scalar]]:
        """Return the polls and streams that it answers so that they can be read -> the settings to ask them with."""
        found = {stream: self._settings[stream] for stream in self._talks}
        for poll in self.driver.polls if not self._talks else ():
            if poll in self._plans and self._can_be_read(poll):
                found[poll] = self._settings[poll]
        self._mode = None
        return found

    def _can_be_read(self, poll: str) -> bool:
        plan = self._planned(poll, {})
        self._mode = self._mode_of(poll) or self._mode
        got = [self.answer(self._text(step.ask)) or "" for step in replies(plan)]
        try:
            readings_of(plan, got, self.driver.link.eol.encode("latin-1"))
        except ReplyError:
            return False
        return True

    def says_who(self) -> bool:
        """Whether its serial number says that it is simulated."""
        said = [*self._fixed.values(), *(each for turns in self._asked.values() for each in turns.replies)]
        return any(serial_number(self.name) in each for each in said)

    # What it knows ----------------------------------------------------------------------------------------------------

    def _learn(self, poll: str, settings: Mapping[str, files.Scalar], got: Sequence[str]) -> None:
        """Take the replies of an example. A question that polls share is the first one's.

        What another example's settings bring counts only if it can be read with those of the first: they stand in the
        bench lines.
        """
        if poll in self.driver.streams and self._talks and poll not in self._talks:
            return  # a real one says one kind of line at a time
        try:
            plan = self._planned(poll, settings)
            if settings != self._settings[poll]:
                readings_of(plan, got, self.driver.link.eol.encode("latin-1"))
        except (DaqError, ValueError):
            return
        if poll in self.driver.streams:
            self._talks.setdefault(poll, _Turns([])).replies.extend(got)
            return
        for step, said in zip(replies(plan), got, strict=False):
            key = (self._mode_of(poll), self._text(step.ask))
            if self._owner.setdefault(key, poll) == poll:
                self._asked.setdefault(key, _Turns([])).replies.append(said)

    def _planned(self, poll: str, settings: Mapping[str, files.Scalar]) -> PollPlan:
        """Return a poll as its first example's settings make it. Raises DaqError where the driver is wrong."""
        if poll not in self._plans:
            self._settings[poll] = settings
            self._plans[poll] = poll_plan(self.driver, poll, settings)
        return self._plans[poll]

    def _mode_of(self, poll: str) -> str | None:
        return self.driver.polls[poll].mode

    def _text(self, ask: bytes) -> str:
        ending = self.driver.link.eol if self.driver.link.ask_eol is None else self.driver.link.ask_eol
        return ask.decode("latin-1").removesuffix(ending)

    def _by_pattern(self, mode: str | None, line: str) -> _Turns | None:
        """Find a question that holds settings: the bench may ask it with others than the example."""
        for name, poll in self.driver.polls.items():
            if poll.mode != mode:
                continue
            for step in poll.steps or [files.TextStep(ask=poll.ask)]:
                if step.ask is not None and names_in(step.ask) and _matches(step.ask, line) is not None:
                    near = [key for key, owner in self._owner.items() if owner == name and _matches(step.ask, key[1])]
                    return self._asked[near[0]] if near else None
        return None

    def _identify(self) -> None:
        """Make up who it is, so that the driver's own check accepts it."""
        identify, plan = self.driver.identify, self._plan.identify
        if identify is None or plan is None:
            return
        words = re.findall(r"[\w.-]*\w", f"{self.driver.title} {self.driver.notes or ''} {self.driver.source}")
        fields = {"maker": words[0], "model": words[1] if len(words) > 1 else "x", "firmware": "1.0"}
        fields["serial"] = serial_number(self.name)
        fields |= {name: specimen(expression, words) for name, expression in identify.expect.items()}
        self._fields = fields
        self._fixed |= self._introduced(self._plan)

    def _introduced(self, plan: InstrumentPlan) -> dict[str, str]:
        """Return question -> answer of an identity."""
        steps = [step for step in (plan.identify.steps if plan.identify else ()) if isinstance(step, TextStep)]
        templates = [(step, _template(step)) for step in steps]
        return {
            self._text(step.ask): rendered(template, self._fields)
            for step, template in templates
            if template is not None
        }

    def _who_at(self, line: str) -> str | None:
        """Say who it is where the question holds settings, such as an address, and others than usual."""
        identify = self.driver.identify
        written = [each.ask for each in (identify.steps or [])] + [identify.ask] if identify is not None else []
        for ask in written:
            values = _matches(ask, line) if ask is not None and names_in(ask) else None
            if values:
                at = entry(self.driver).model_copy(update={"settings": values})
                try:
                    return self._introduced(compiled(self.driver, at)).get(line)
                except DaqError:
                    continue  # no address that its driver takes
        return None

    def _put_serial_numbers_in(self) -> None:
        """Where a poll's own answer says who it is, have the examples say that they are simulated."""
        for step in self._plan.identify.steps if self._plan.identify is not None else ():
            turns = self._asked.get((None, self._text(step.ask))) if isinstance(step, TextStep) else None
            if turns is None or not isinstance(step, TextStep) or step.reply is None:
                continue
            self._fixed.pop(self._text(step.ask))
            for place, said in enumerate(turns.replies):
                try:
                    serial = step.reply.match((said + self.driver.link.eol).encode("latin-1")).fields.get("serial")
                except ReplyError:
                    continue
                turns.replies[place] = said.replace(serial, serial_number(self.name)) if serial else said

    def _check_identity(self) -> None:
        plan = self._plan.identify
        if plan is None:
            return
        ending = self.driver.link.eol.encode("latin-1")
        answers: list[Answer] = []
        try:
            for step in plan.steps:
                if isinstance(step, TextStep) and step.reply is not None and not step.told:
                    said = self._first_answer(self._text(step.ask)).encode("latin-1") + ending
                    answers.append(step.reply.match(said))
            wrong = plan.check(plan.fields(answers))
        except ReplyError as error:
            wrong = str(error)
        if wrong is not None:
            self.left_out.append(f"identity: {wrong}")

    def _first_answer(self, line: str) -> str:
        turns = self._asked.get((None, line))
        return self._fixed.get(line) or (turns.replies[0] if turns is not None else "")

    # Settings ---------------------------------------------------------------------------------------------------------

    def _learn_settings(self) -> None:
        """Remember how each setting is read back, in which mode, and what it is when nobody has set it."""
        for poll in self._plan.polls:
            for readback in poll.mode.readbacks if poll.mode is not None else ():
                self._gets.setdefault((self._mode_of(poll.source), self._text(readback.step.ask)), readback)
        for readback in self._plan.readbacks:
            self._gets.setdefault((None, self._text(readback.step.ask)), readback)

    def _learn_acknowledgements(self) -> None:
        """Remember what each command is answered with."""
        told = [*self._plan.wake, *self._plan.setup, *self._plan.teardown]
        for poll in self._plan.polls:
            told += [*(poll.mode.enter if poll.mode is not None else ()), *poll.start, *poll.stop]
            told += [step for step in poll.steps if isinstance(step, TextStep) and step.told]
        for step in told:
            template = _template(step)
            self._acks.setdefault(self._text(step.ask), None if template is None else rendered(template, {}))

    def _read_back(self, line: str) -> str | None:
        for mode in (self._mode, None, *self.driver.modes):
            readback = self._gets.get((mode, line))
            template = _template(readback.step) if readback is not None else None
            if readback is not None and template is not None:
                return rendered(template, {"value": self._set.get(readback.setting) or readback.wanted})
        return self._not_asked_for(line)

    def _not_asked_for(self, line: str) -> str | None:
        """Answer for a setting that the driver compares only where a bench file gives it."""
        for name, setting in self.driver.settings.items():
            if setting.get == line:
                template = parse(setting.reply or "{value:text}", self.driver.link.eol, None, self.driver.link.decimal)
                return rendered(template, {"value": self._set.get(name) or _usual(setting)})
        return None

    def _take_command(self, line: str) -> None:
        """Remember what a command sets, and which mode it enters."""
        for name, mode in self.driver.modes.items():
            known = {**self.driver.settings, **mode.settings}
            for command in (each.tell for each in mode.enter):
                written = (known[command].set or "") if command in known else command
                found = _matches(written, line)
                if found is not None and all(_allowed(known.get(key), value) for key, value in found.items()):
                    self._mode = name if command == mode.enter[0].tell else self._mode
                    self._set |= found
                    return
        for setting in self.driver.settings.values():
            self._set |= _matches(setting.set or "", line) or {}


def _template(step: TextStep) -> Template | None:
    """Return the first shape of a reply, settings put in; None where there is none."""
    whole = step.reply.match if step.reply is not None else None
    return whole.shapes[0].template if isinstance(whole, WholeReply) else None


_TOKEN = re.compile(r"\{\{|\}\}|\{:\w+\}|\{([A-Za-z0-9_-]+)\}")


def _matches(written: str, line: str) -> dict[str, str] | None:
    """Match a command as the driver writes it, {names} standing for anything; return what stands there."""
    if not written:
        return None
    names: list[str] = []
    pattern, end = "", 0
    for token in _TOKEN.finditer(written):
        pattern += re.escape(written[end : token.start()])
        end = token.end()
        if token[1]:
            names.append(token[1])
        pattern += "(.+?)" if token[1] else re.escape(token[0][0]) if token[0] in ("{{", "}}") else "[0-9A-Fa-f]+"
    found = re.fullmatch(pattern + re.escape(written[end:]), line)
    return None if found is None else dict(zip(names, found.groups(), strict=True))


def _allowed(setting: Setting | None, value: str) -> bool:
    """Whether a command sets this very setting: in another mode the same command may set another one."""
    if setting is None or setting.one_of is None or value in words_of(setting):
        return True
    return any(value == str(one) or (as_number(value) or value) == as_number(one) for one in setting.one_of)


def _usual(setting: Setting) -> str:
    """Return what a setting reads that nobody has set."""
    choices = [setting.default, *(setting.one_of or []), setting.min, "1"]
    return str(next(each for each in choices if each is not None))


# Registers ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class RegisterStandIn:
    """One instrument that holds registers.

    Args:
        driver: whose examples it holds.
        name: of the driver, for its serial number.
    """

    driver: RegisterDriver
    name: str
    left_out: list[str] = field(default_factory=list)
    _held: dict[tuple[int, int], int] = field(default_factory=dict)
    _turns: list[dict[tuple[int, int], int]] = field(default_factory=list)
    _counts: dict[tuple[int, int, int], int] = field(default_factory=dict)
    _objects: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put everything into its registers; where examples differ they take turns, and the first fills the rest."""
        self._turns = [register_memory(self.driver, example) for example in self.driver.examples]
        for memory in reversed(self._turns):
            self._held |= memory
        identify = self.driver.identify
        if identify is not None:
            words = re.findall(r"[\w.-]*\w", self.driver.title)
            for name, register in identify.read.items():
                said = self._identity(name, identify.expect.get(name), words, numeric=register.type != "string")
                self._hold(register, said)
            for name, number in identify.device.items():
                self._objects[number] = self._identity(name, identify.expect.get(name), words, numeric=False)
        if self.driver.verify is not None:
            self._hold(self.driver.verify, self.driver.verify.content)

    def _identity(self, name: str, expected: str | None, words: list[str], *, numeric: bool) -> str:
        if expected is not None:
            return specimen(expected, words)
        said = {"serial": serial_number(self.name), "model": words[-1], "maker": words[0], "firmware": "1.0"}
        return "1" if numeric else said.get(name, "x")

    def _hold(self, register: Register, text: str) -> None:
        span = span_of(register, self.driver.addressing)
        content = encoded(text, register)
        for offset in range(span.count):
            self._held[span.function, span.address + offset] = int.from_bytes(
                content[2 * offset : 2 * offset + 2], "big"
            )

    def objects(self) -> dict[int, bytes]:
        """Return what it says of itself (function 43/14), object by object; {} where the driver asks for nothing."""
        told = {number: text.encode("latin-1", "replace")[:200] for number, text in self._objects.items()}
        return {number: told.get(number, b"x") for number in sorted({0, 1, 2, *told})} if told else {}

    def answer(self, function: int, address: int, count: int) -> bytes | None:
        """Return what so many registers, or coils, hold; None where it has none of them."""
        places = [(function, address + offset) for offset in range(count)]
        if not any(place in self._held for place in places):
            return None
        turns = [memory for memory in self._turns if any(place in memory for place in places)]
        key = (function, address, count)
        number = self._counts.get(key, 0)
        self._counts[key] = number + 1
        over = turns[number % len(turns)] if turns else {}
        words = [over.get(place, self._held.get(place, 0)) for place in places]
        if function not in COILS:
            return b"".join(word.to_bytes(2, "big") for word in words)
        packed = sum(1 << offset for offset, bit in enumerate(words) if bit)
        return packed.to_bytes(payload_length(function, count), "little")

    def polls(self) -> dict[str, Mapping[str, files.Scalar]]:
        """Return the polls that have an example."""
        return {example.poll: {} for example in self.driver.examples}

    def says_who(self) -> bool:
        """Whether its serial number says that it is simulated: only characters can."""
        identify = self.driver.identify
        serial = identify.read.get("serial") if identify is not None else None
        told = identify is not None and "serial" in identify.device
        return told or (serial is not None and serial.type == "string")


StandIn = TextStandIn | RegisterStandIn

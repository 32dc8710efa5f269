"""Compiles text drivers: questions with settings put in, reply forms, readers of channels, modes, barriers.

Every template is parsed here, once; every field must be somebody's, every channel must stand in a reply, whatever its
shape. Pure.

    Assembly (TextDriver) -> [compile_text] -> InstrumentPlan -> session
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from daq.core import driver as files
from daq.core.assembly import Assembly, Path, Wanted, expansions, identity_check
from daq.core.driver import Setting, TextChannel, TextDriver, TextPoll
from daq.core.errors import nearest
from daq.core.observation import Integrity, Kind, Reading, ReadingStatus
from daq.core.plan import (
    Answer,
    ErrorQueuePlan,
    IdentifyPlan,
    InstrumentPlan,
    Match,
    ModePlan,
    PollPlan,
    ReadBack,
    TextStep,
)
from daq.core.settings import agree, as_number, names_in, put_in, substitute, words_of
from daq.core.template import NUMBERS, Literal, TemplateError, parse
from daq.core.text_readings import Shape, StatusCode, TextChannelReader, WholeReply, reply_form
from daq.core.units import symbol

_NO_NUMBER = frozenset({"text", "word", "quoted", "unit", "enum"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One exchange of a poll while it is compiled.

    Args:
        step: as the driver writes it, names of for_each put in.
        plan: what the session asks.
        whole: what matches its reply; None where none comes.
        path: its keys in the driver file.
    """

    step: files.TextStep
    plan: TextStep
    whole: WholeReply | None
    path: Path


@dataclass(slots=True)
class TextCompiler:
    """Compiles one instrument.

    Args:
        modes: (mode, its values) -> plan, so that the same state is the same plan.
        replies: all that can be asked, for telling foreign replies from unreadable ones.
    """

    work: Assembly
    driver: TextDriver
    modes: dict[tuple[str, tuple[tuple[str, str], ...]], ModePlan] = field(default_factory=dict)
    replies: list[WholeReply] = field(default_factory=list)
    poll_replies: list[WholeReply] = field(default_factory=list)

    # The whole --------------------------------------------------------------------------------------------------------

    def instrument(self, wire_gap_ns: int) -> InstrumentPlan:
        """Compile everything; what is wrong stands in work.problems afterwards."""
        driver, work = self.driver, self.work
        self._check_address()
        everywhere: dict[str, Setting] = {}
        for mode in driver.modes.values():
            everywhere |= mode.settings
        work.check_given(everywhere | driver.settings)
        values = work.values(driver.settings, None, ("settings",))
        polls = tuple(self._poll(wanted) for wanted in work.wanted())
        identify = self._identify()
        setup = self._commands(driver.setup, driver.settings, values, ("setup",))
        readbacks = self._readbacks(driver.setup, driver.settings, values, ("settings",))
        errors = self._errors()
        teardown = self._commands(driver.teardown, driver.settings, values, ("teardown",))
        for reply in self.replies:
            reply.others.extend(other for other in self.replies if _tells_something(other))
        work.check_overrides(channel.name for poll in polls for channel in poll.channels)
        barrier = self._barrier(readbacks)
        if barrier is None:
            work.warnings.append(
                f"{work.name}: no question of driver {work.entry.driver!r} has a reply that differs from every poll's; "
                "after a fault its line is only kept quiet, and a late answer beyond max_latency could be mistaken"
            )
        return InstrumentPlan(
            name=work.name,
            driver=work.entry.driver,
            title=driver.title,
            speaks="text",
            unit=None,
            configure=work.entry.configure == "on_connect",
            banner=driver.link.banner,
            latency_ns=max([driver.link.max_latency, *(step.within_ns for poll in polls for step in poll.steps)]),
            gap_ns=max(driver.link.gap, wire_gap_ns),
            eol=_bytes(driver.link.eol),
            identify=identify,
            barrier=barrier,
            verify=None,
            setup=setup,
            readbacks=readbacks,
            errors=errors,
            polls=polls,
            teardown=teardown,
            simulated=work.entry.simulated,
            asset=work.entry.asset,
            warnings=tuple(work.warnings),
        )

    def _check_address(self) -> None:
        at = self.work.entry.at
        if at.way.startswith("modbus") or at.unit is not None:
            key = at.way if at.way.startswith("modbus") else "unit"
            message = f"driver {self.work.entry.driver!r} speaks text, not Modbus. Use tcp, visa, serial or wire, without unit."
            self.work.wrong_bench(("at", key), message)

    # Polls ------------------------------------------------------------------------------------------------------------

    def _poll(self, wanted: Wanted) -> PollPlan:
        stream = self.driver.streams.get(wanted.source)
        return self._stream(wanted, stream) if stream is not None else self._asked_poll(wanted)

    def _asked_poll(self, wanted: Wanted) -> PollPlan:
        poll, path = self.driver.polls[wanted.source], ("polls", wanted.source)
        mode = self._mode_of(poll, path)
        known = self.driver.settings | (mode.settings if mode else {})
        values = self.work.values(known, wanted, ("settings",))
        channels = _expanded_channels(poll.channels, poll.for_each)
        steps = _expanded_steps(self._steps(poll, path), poll.for_each)
        self._check_effect(wanted, poll, mode, [step for step, _ in steps])
        within = poll.within or self.driver.link.max_latency
        asked = [self._asked(step, values, channels, within, (*path, *where)) for step, where in steps]
        return PollPlan(
            name=wanted.name,
            source=wanted.source,
            every_ns=wanted.every_ns,
            phase_ns=wanted.phase_ns,
            mode=self._mode(poll.mode, known, values) if mode and poll.mode else None,
            steps=tuple(one.plan for one in asked),
            readings=self._reader(channels, asked, path),
            time=self.work.time_model(poll.time, values, known, wanted, path),
            integrity=_integrity(asked, poll),
            channels=tuple(
                self.work.channel_plan(name, channel, (*path, "channels", key))
                for name, (key, channel) in channels.items()
            ),
        )

    def _stream(self, wanted: Wanted, stream: files.Stream) -> PollPlan:
        path: Path = ("streams", wanted.source)
        values = self.work.values(self.driver.settings, wanted, ("settings",))
        channels = _expanded_channels(stream.channels, {})
        step = files.TextStep(reply=stream.reply, replies=stream.replies)
        asked = self._asked(step, values, channels, stream.quiet, path, listen=True)
        return PollPlan(
            name=wanted.name,
            source=wanted.source,
            every_ns=None,
            phase_ns=None,
            mode=None,
            steps=(asked.plan,),
            readings=self._reader(channels, [asked], path),
            time=self.work.time_model(stream.time, values, self.driver.settings, wanted, path),
            integrity=Integrity.NONE,
            channels=tuple(
                self.work.channel_plan(name, channel, (*path, "channels", key))
                for name, (key, channel) in channels.items()
            ),
            quiet_ns=stream.quiet,
        )

    def _steps(self, poll: TextPoll, path: Path) -> list[tuple[files.TextStep, Path]]:
        """Return the steps as written, with their keys below the poll."""
        if poll.steps is not None:
            if poll.ask is not None or poll.reply is not None or poll.replies is not None:
                self.work.wrong_driver(path, "write either steps, or ask and reply, not both.")
            return [(step, ("steps", number)) for number, step in enumerate(poll.steps)]
        if poll.ask is None:
            self.work.wrong_driver(path, "a poll asks something: give ask and reply, or steps.")
            return []
        return [(files.TextStep(ask=poll.ask, reply=poll.reply, replies=poll.replies), ())]

    def _check_effect(
        self, wanted: Wanted, poll: TextPoll, mode: files.Mode | None, steps: Sequence[files.TextStep]
    ) -> None:
        """Refuse settings of a poll that change nothing: a setting that is ignored in silence is a wrong value."""
        written = [text for step in steps for text in (step.ask, step.tell) if text]
        written += mode.enter if mode else []
        used = {name for text in written for name in names_in(text)} | set(mode.enter if mode else [])
        used |= self.work.names_in_time(poll.time)
        for key in wanted.settings:
            if key not in used and key in self.driver.settings:
                message = f"poll {wanted.source!r} does nothing with {key!r}. {nearest(key, used & self.driver.settings.keys())}"
                self.work.wrong_bench((*wanted.path, "settings", key), message)

    # Exchanges --------------------------------------------------------------------------------------------------------

    def _asked(
        self,
        step: files.TextStep,
        values: Mapping[str, str],
        channels: Mapping[str, tuple[str, TextChannel]],
        within_ns: int,
        path: Path,
        *,
        listen: bool = False,
    ) -> Asked:
        """Compile one exchange."""
        text = step.tell if step.ask is None else step.ask
        question = b"" if listen else self._question(text, values, path)
        if step.tell is not None:
            if step.ask is not None or step.reply is not None or step.replies is not None:
                self.work.wrong_driver(path, "tell is not answered: write tell alone, or ask and reply.")
            return Asked(step, TextStep(question, None, within_ns), None, path)
        codes = {channel.field or name: list(channel.enum or {}) for name, (_, channel) in channels.items()}
        whole = self._whole(text or "", step, put_values=values, codes=codes, path=path)
        if whole is not None:
            self.replies.append(whole)
            self.poll_replies.append(whole)
        return Asked(step, self._text_step(question, whole, within_ns, path), whole, path)

    def _text_step(self, question: bytes, whole: WholeReply | None, within_ns: int, path: Path) -> TextStep:
        if whole is None:
            return TextStep(question, None, within_ns)
        try:
            return TextStep(question, reply_form(whole), within_ns)
        except TemplateError as error:
            self.work.wrong_driver(path, str(error))
            return TextStep(question, None, within_ns)

    def _question(self, text: str | None, values: Mapping[str, str], path: Path) -> bytes:
        """Write a question or command with settings put in and its ending behind it."""
        link = self.driver.link
        if text is None:
            self.work.wrong_driver(path, "a step asks or tells something: give ask and reply, or tell.")
            return b""
        try:
            return _bytes(substitute(text, values) + (link.eol if link.ask_eol is None else link.ask_eol))
        except ValueError as error:
            self.work.wrong_driver(path, _why(error))
            return b""

    def _whole(
        self,
        asked: str,
        step: files.TextStep,
        *,
        put_values: Mapping[str, str],
        codes: Mapping[str, Sequence[str]],
        path: Path,
    ) -> WholeReply | None:
        """Compile the shapes of a reply; None where there is none that is right."""
        if (step.reply is None) == (step.replies is None):
            self.work.wrong_driver(path, "a question has an answer: give reply, or replies for several shapes.")
            return None
        written = step.replies or [files.ReplyShape(match=step.reply or "")]
        shapes = []
        for number, shape in enumerate(written):
            where = (*path, "replies", number, "match") if step.replies else (*path, "reply")
            try:
                template = parse(put_in(shape.match, put_values), self.driver.link.eol, codes)
            except TemplateError as error:
                self.work.wrong_driver(where, str(error))
                continue
            shapes.append(Shape(template, tuple(shape.flags), shape.status, shape.outcome))
        return WholeReply(asked, tuple(shapes), _bytes(self.driver.link.eol)) if len(shapes) == len(written) else None

    # Channels ---------------------------------------------------------------------------------------------------------

    def _reader(
        self, channels: Mapping[str, tuple[str, TextChannel]], asked: Sequence[Asked], path: Path
    ) -> Callable[[Sequence[Answer]], dict[str, Reading]]:
        """Return what turns the answers of a poll's steps into its readings."""
        if any(one.whole is None and one.step.tell is None for one in asked):
            return _nothing  # what is wrong with its replies is noted already
        asked = [one for one in asked if one.whole is not None]
        owned: set[tuple[int, str]] = set()
        readers = []
        for name, (key, channel) in channels.items():
            reader = self._channel(name, channel, asked, (*path, "channels", key), owned)
            if reader is not None:
                readers.append(reader)
        readers = self._with_codes(readers, channels, asked, owned)
        self._check_owned(asked, owned)
        return Readings(tuple(readers))

    def _channel(
        self, name: str, channel: TextChannel, asked: Sequence[Asked], path: Path, owned: set[tuple[int, str]]
    ) -> TextChannelReader | None:
        wanted = channel.field or name
        places = [number for number, one in enumerate(asked) if wanted in _types(one)]
        if len(places) != 1:
            fields = {each for one in asked for each in _types(one)}
            what = "no reply has a field" if not places else "several replies have a field"
            self.work.wrong_driver(path, f"{what} {wanted!r}. {nearest(wanted, fields) if not places else ''}".strip())
            return None
        step = places[0]
        kinds = _types(asked[step])[wanted]
        owned.add((step, wanted))
        self._check_shapes(wanted, asked[step])
        self._check_kind(wanted, channel, kinds, path)
        if channel.unit_in is not None:
            if channel.unit_in not in _types(asked[step]):
                self.work.wrong_driver(
                    (*path, "unit_in"),
                    f"the reply has no field {channel.unit_in!r}. {nearest(channel.unit_in, _types(asked[step]))}",
                )
            owned.add((step, channel.unit_in))
        for code in channel.units.values():
            self.work.check_unit(code, (*path, "units"))
        override = self.work.entry.channels.get(name)
        return TextChannelReader(
            name=name,
            step=step,
            field=wanted,
            base=16 if "hex" in kinds else 10,
            quantity=channel.quantity,
            unit=channel.unit,
            kind=Kind(channel.kind),
            role=(override.role if override else None) or self.work.entry.role,
            unit_field=channel.unit_in,
            units={channel.unit: channel.unit, symbol(channel.unit): channel.unit, **channel.units},
            specials=self._specials(channel, path),
            enum=channel.enum or {},
            scale=self.work.scale(channel, path),
            plausible=self.work.plausible(channel, path),
        )

    def _check_shapes(self, wanted: str, one: Asked) -> None:
        """Every shape holds the channel, or says its status."""
        for number, shape in enumerate(one.whole.shapes if one.whole else ()):
            if wanted not in shape.template.types and shape.status is None and shape.outcome is None:
                where = (*one.path, "replies", number) if one.step.replies else (*one.path, "reply")
                self.work.wrong_driver(where, f"this shape has no field {wanted!r}: give it a status or an outcome.")

    def _check_kind(self, wanted: str, channel: TextChannel, kinds: set[str], path: Path) -> None:
        if channel.kind == "number" and kinds & _NO_NUMBER:
            kind = sorted(kinds & _NO_NUMBER)[0]
            message = f"field {wanted!r} is of type {kind}, which is no number. Use one of {', '.join(sorted(NUMBERS))}, or kind."
            self.work.wrong_driver(path, message)
        if channel.kind == "bits" and not kinds <= {"bits", "hex"}:
            self.work.wrong_driver(
                path, f"kind bits needs a field of type bits or hex, not {', '.join(sorted(kinds))}."
            )
        if "hex" in kinds and len(kinds) > 1:
            self.work.wrong_driver(path, f"field {wanted!r} is hex in one shape and decimal in another.")

    def _specials(self, channel: TextChannel, path: Path) -> dict[Decimal, ReadingStatus]:
        found: dict[Decimal, ReadingStatus] = {}
        for where, specials in ((("special",), self.driver.special), ((*path, "special"), channel.special)):
            for text, status in specials.items():
                number = as_number(text)
                if number is None:
                    self.work.wrong_driver((*where, text), f"{text!r} is no number, such as 9.9E37.")
                else:
                    found[number] = status
        return found

    def _with_codes(
        self,
        readers: list[TextChannelReader],
        channels: Mapping[str, tuple[str, TextChannel]],
        asked: Sequence[Asked],
        owned: set[tuple[int, str]],
    ) -> list[TextChannelReader]:
        """Give each channel the fields that say how it is to be read."""
        codes: dict[str, list[StatusCode]] = {}
        for number, one in enumerate(asked):
            if not one.step.status:
                continue
            free = [each for each in _types(one) if (number, each) not in owned]
            if len(free) != 1:
                message = "status needs exactly one field in this reply that is no channel; it holds the code."
                self.work.wrong_driver((*one.path, "status"), message)
                continue
            owned.add((number, free[0]))
            for name, table in one.step.status.items():
                if name not in channels:
                    self.work.wrong_driver(
                        (*one.path, "status", name), f"no channel {name!r}. {nearest(name, channels)}"
                    )
                codes.setdefault(name, []).append(self._code(number, free[0], table, one))
        return [_with(reader, codes.get(reader.name, [])) for reader in readers]

    def _code(self, number: int, name: str, table: Mapping[str, ReadingStatus], one: Asked) -> StatusCode:
        kinds = _types(one)[name]
        base = 16 if "hex" in kinds else 10
        if not kinds & {"bits", "hex"}:
            return StatusCode(number, name, base, codes=dict(table))
        masks = []
        for text, status in table.items():
            try:
                masks.append((int(text, 0), status))
            except ValueError:
                self.work.wrong_driver((*one.path, "status"), f"{text!r} is no mask. Write bits as 32 or 0x20.")
        return StatusCode(number, name, base, masks=tuple(mask for mask in masks if mask[0]))

    def _check_owned(self, asked: Sequence[Asked], owned: set[tuple[int, str]]) -> None:
        """Refuse named fields that nobody reads: most often a mistyped name."""
        for number, one in enumerate(asked):
            for name, kinds in _types(one).items():
                if (number, name) not in owned:
                    message = (
                        f"field {name!r} of the reply is no channel, unit or status. "
                        f"To check it and throw it away, write {{:{sorted(kinds)[0]}}}."
                    )
                    self.work.wrong_driver(one.path, message)

    # Modes and settings -----------------------------------------------------------------------------------------------

    def _mode_of(self, poll: TextPoll, path: Path) -> files.Mode | None:
        if poll.mode is None:
            return None
        if poll.mode not in self.driver.modes:
            self.work.wrong_driver((*path, "mode"), f"no mode {poll.mode!r}. {nearest(poll.mode, self.driver.modes)}")
        return self.driver.modes.get(poll.mode)

    def _mode(self, name: str, known: Mapping[str, Setting], values: Mapping[str, str]) -> ModePlan:
        mode, path = self.driver.modes[name], ("modes", name)
        used = _settings_in(mode.enter, known)
        key = (name, tuple((each, values.get(each, "")) for each in used))
        if key not in self.modes:
            self.modes[key] = ModePlan(
                name=name,
                enter=self._commands(mode.enter, known, values, (*path, "enter")),
                readbacks=self._readbacks(mode.enter, known, values, (*path, "settings")),
                settle_ns=mode.settle,
                discard=mode.discard,
            )
        return self.modes[key]

    def _commands(
        self, written: Sequence[str], known: Mapping[str, Setting], values: Mapping[str, str], path: Path
    ) -> tuple[bytes, ...]:
        """Write commands, and settings by their name, as bytes."""
        commands = []
        for number, item in enumerate(written):
            where = (*path, number)
            if item in known:
                command = known[item].set
                if command is None:
                    self.work.wrong_driver(where, f"setting {item!r} has no command to set it: give it set.")
                    continue
                commands.append(self._question(command, values, where))
                continue
            close = nearest(item, known)
            if re.fullmatch("[a-z0-9_-]+", item) and close.startswith("Nearest"):
                self.work.wrong_driver(where, f"{item!r} is neither a setting nor looks like a command. {close}")
            commands.append(self._question(item, values, where))
        return tuple(commands)

    def _readbacks(
        self, written: Sequence[str], known: Mapping[str, Setting], values: Mapping[str, str], path: Path
    ) -> tuple[ReadBack, ...]:
        """Return the questions that read back what these commands set."""
        found = []
        for name in _settings_in(written, known):
            setting = known[name]
            if setting.get is None or name not in values:
                continue
            template = setting.reply or f"{{value:{'nr' if _is_number(setting, values[name]) else 'text'}}}"
            step = files.TextStep(ask=setting.get, reply=template)
            whole = self._whole(setting.get, step, put_values=values, codes={}, path=(*path, name))
            if whole is None:
                continue
            if "value" not in whole.shapes[0].template.types:
                self.work.wrong_driver((*path, name, "reply"), "the answer needs a field {value:...}.")
            self.replies.append(whole)
            plan = self._text_step(
                self._question(setting.get, values, (*path, name, "get")),
                whole,
                self.driver.link.max_latency,
                (*path, name),
            )
            found.append(ReadBack(name, plan, values[name], Agrees(values[name], tuple(words_of(setting))), _value))
        return tuple(found)

    # Identity, errors, barrier ----------------------------------------------------------------------------------------

    def _identify(self) -> IdentifyPlan | None:
        identify, path = self.driver.identify, ("identify",)
        if identify is None:
            self.work.check_serial_number(())
            return None
        written: list[tuple[files.TextStep, Path]] = [
            (step, ("steps", number)) for number, step in enumerate(identify.steps or [])
        ]
        if identify.ask is not None:
            written.insert(0, (files.TextStep(ask=identify.ask, reply=identify.reply), ()))
        if not written:
            self.work.wrong_driver(path, "give ask and reply, or steps.")
        steps, fields = [], set()
        for step, where in written:
            here = (*path, *where)
            question = self._question(step.ask, {}, here)
            whole = self._whole(step.ask or "", step, put_values={}, codes={}, path=here)
            if whole is not None:
                self.replies.append(whole)
                fields |= {each for shape in whole.shapes for each in shape.template.types}
            steps.append(self._text_step(question, whole, self.driver.link.max_latency, here))
        self.work.check_expectations(identify.expect, fields, path)
        self.work.check_serial_number(fields)
        return IdentifyPlan(tuple(steps), _identity_fields, identity_check(self.work.entry, identify.expect))

    def _errors(self) -> ErrorQueuePlan | None:
        queue = self.driver.errors
        if queue is None:
            return None
        step = files.TextStep(ask=queue.ask, reply="{error:text}")
        whole = self._whole(queue.ask, step, put_values={}, codes={}, path=("errors",))
        plan = self._text_step(
            self._question(queue.ask, {}, ("errors", "ask")), whole, self.driver.link.max_latency, ("errors",)
        )
        return ErrorQueuePlan(plan, IsNone(queue.none), queue.at_most)

    def _barrier(self, readbacks: Sequence[ReadBack]) -> TextStep | None:
        """Choose a question whose reply no poll's reply can be mistaken for, nor the other way round.

        First what identifies, then what reads a setting back, then polls of the driver that the bench file does not
        use and that need no mode. The reply that ends the cleaning must match it and no poll.
        """
        identify = self.driver.identify
        written = [step for step in (identify.steps or [])] if identify else []
        if identify and identify.ask is not None:
            written.insert(0, files.TextStep(ask=identify.ask, reply=identify.reply))
        written += [
            files.TextStep(ask=setting.get, reply=setting.reply or "{value:text}")
            for name, setting in self.driver.settings.items()
            if setting.get is not None and not names_in(setting.get) and name
        ]
        written += [step for poll in self._unused_polls() for step, _ in self._steps(poll, ("polls",))[:1]]
        for step in written:
            found = self._as_barrier(step)
            if found is not None:
                return found
        return None

    def _unused_polls(self) -> list[TextPoll]:
        used = {one.source for one in self.work.wanted()}
        return [
            poll
            for name, poll in self.driver.polls.items()
            if name not in used and poll.mode is None and not poll.for_each
        ]

    def _as_barrier(self, step: files.TextStep) -> TextStep | None:
        """Return a question as a barrier; None where its reply might be a poll's."""
        if step.ask is None or names_in(step.ask) or any(one.asked == step.ask for one in self.poll_replies):
            return None
        quiet = Assembly(self.driver, self.work.name, self.work.entry, self.work.station)
        whole = TextCompiler(quiet, self.driver)._whole(step.ask, step, put_values={}, codes={}, path=())  # noqa: SLF001 its findings are noted elsewhere
        if whole is None or not _tells_something(whole):
            return None
        ending = _bytes(self.driver.link.eol)
        samples = [shape.template.sample().encode("latin-1") + ending for shape in whole.shapes if not shape.outcome]
        none = self.driver.errors.none.encode("latin-1") + ending if self.driver.errors else None
        if any(other.fits(sample) for sample in samples for other in self.poll_replies) or (none and whole.fits(none)):
            return None
        whole.strangers.extend(self.poll_replies)
        return self._text_step(self._question(step.ask, {}, ()), whole, self.driver.link.max_latency, ())


def compile_text(work: Assembly, driver: TextDriver, wire_gap_ns: int) -> InstrumentPlan:
    """Compile one instrument that speaks text; findings stand in work.problems."""
    return TextCompiler(work, driver).instrument(wire_gap_ns)


# What the plans call --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Readings:
    """Answers of a poll's steps -> channel -> Reading."""

    readers: tuple[TextChannelReader, ...]

    def __call__(self, answers: Sequence[Answer]) -> dict[str, Reading]:
        """Return the readings. Raises ReplyError: one that cannot be read spoils the observation."""
        return {reader.name: reader.read(answers) for reader in self.readers}


def _nothing(_: Sequence[Answer]) -> dict[str, Reading]:
    return {}


@dataclass(frozen=True, slots=True)
class Agrees:
    """Whether a setting read back is the one that was set."""

    wanted: str
    words: tuple[str, ...]

    def __call__(self, answer: Match) -> bool:
        """Return whether it is."""
        return agree(self.wanted, answer.fields["value"], self.words)


@dataclass(frozen=True, slots=True)
class IsNone:
    """Whether the error queue says that it is empty."""

    none: str

    def __call__(self, answer: Match) -> bool:
        """Return whether it does."""
        return answer.fields["error"] == self.none


def _value(answer: Match) -> str:
    return answer.fields["value"]


def _identity_fields(answers: Sequence[Answer]) -> dict[str, str]:
    """Put the fields of all answers together."""
    fields: dict[str, str] = {}
    for answer in answers:
        assert isinstance(answer, Match), "text steps bring matches"
        fields |= answer.fields
    return fields


# Reading the driver ---------------------------------------------------------------------------------------------------


def _expanded_channels(
    channels: Mapping[str, TextChannel], for_each: Mapping[str, list[files.Scalar]]
) -> dict[str, tuple[str, TextChannel]]:
    """Return channel -> (its key in the file, the channel), repeated for each value where it names one."""
    expanded: dict[str, tuple[str, TextChannel]] = {}
    for key, channel in channels.items():
        for values in expansions(for_each) if set(names_in(key)) & for_each.keys() else [{}]:
            texts = {name: getattr(channel, name) for name in ("field", "unit_in", "label")}
            put = {name: put_in(text, values) for name, text in texts.items() if text is not None}
            expanded[put_in(key, values)] = (key, channel.model_copy(update=put))
    return expanded


def _expanded_steps(
    steps: list[tuple[files.TextStep, Path]], for_each: Mapping[str, list[files.Scalar]]
) -> list[tuple[files.TextStep, Path]]:
    """Repeat neighbouring steps that name a value, together; those that name none are asked once, where they stand."""
    expanded: list[tuple[files.TextStep, Path]] = []
    run: list[tuple[files.TextStep, Path]] = []

    def flush() -> None:
        expanded.extend((_filled(step, values), path) for values in expansions(for_each) for step, path in run)
        run.clear()

    for step, path in steps:
        if for_each and for_each.keys() & set(names_in(" ".join(_texts(step)))):
            run.append((step, path))
            continue
        if run:
            flush()
        expanded.append((step, path))
    if run:
        flush()
    return expanded


def _texts(step: files.TextStep) -> list[str]:
    shapes = [shape.match for shape in step.replies or []]
    return [text for text in (step.ask, step.tell, step.reply, *shapes, *step.status) if text]


def _filled(step: files.TextStep, values: Mapping[str, str]) -> files.TextStep:
    """Put the values of for_each into a step."""
    texts = {key: getattr(step, key) for key in ("ask", "tell", "reply")}
    update: dict[str, object] = {key: put_in(text, values) for key, text in texts.items() if text is not None}
    if step.replies is not None:
        update["replies"] = [shape.model_copy(update={"match": put_in(shape.match, values)}) for shape in step.replies]
    update["status"] = {put_in(name, values): table for name, table in step.status.items()}
    return step.model_copy(update=update)


def _types(one: Asked) -> dict[str, set[str]]:
    """Return field -> its types in all shapes of a reply."""
    types: dict[str, set[str]] = {}
    for shape in one.whole.shapes if one.whole else ():
        for name, kind in shape.template.types.items():
            types.setdefault(name, set()).add(kind)
    return types


def _with(reader: TextChannelReader, codes: list[StatusCode]) -> TextChannelReader:
    return reader if not codes else _replace_codes(reader, tuple(codes))


def _replace_codes(reader: TextChannelReader, codes: tuple[StatusCode, ...]) -> TextChannelReader:
    from dataclasses import replace

    return replace(reader, codes=codes)


def _settings_in(written: Sequence[str], known: Mapping[str, Setting]) -> list[str]:
    """Return the settings that these commands set, in order: by name, or put into a command."""
    names: list[str] = []
    for item in written:
        inside = [item] if item in known else names_in(item)
        names.extend(name for name in inside if name in known and name not in names)
    return names


def _is_number(setting: Setting, value: str) -> bool:
    return setting.unit is not None or as_number(value) is not None


def _tells_something(whole: WholeReply) -> bool:
    """Whether a reply to it can be told from other replies: one that is nothing but text cannot."""
    return not any(re.fullmatch(r"\{(text|word)\}", shape.template.shape) for shape in whole.shapes)


def _integrity(asked: Sequence[Asked], poll: TextPoll) -> Integrity:
    """Tagged, where every reply names its question."""
    if poll.header is not None:
        return Integrity.TAGGED
    answered = [one for one in asked if one.whole is not None]
    tagged = answered and all(_echoes(one) for one in answered)
    return Integrity.TAGGED if tagged else Integrity.NONE


def _echoes(one: Asked) -> bool:
    """Whether every shape of the reply begins with two characters or more of the question."""
    whole = one.whole
    assert whole, "only answered steps are looked at"
    asked = one.plan.ask.decode("latin-1").casefold()
    for shape in whole.shapes:
        first = shape.template.parts[0] if shape.template.parts else None
        head = first.text.strip(" ,:=").casefold() if isinstance(first, Literal) else ""
        if len(head) < 2 or head not in asked:
            return False
    return True


def _bytes(text: str) -> bytes:
    """Write text as Latin-1. Raises ValueError where a character has no byte."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} holds {error.object[error.start]!r}, which is not one byte (Latin-1)") from None


def _why(error: ValueError) -> str:
    return str(error)

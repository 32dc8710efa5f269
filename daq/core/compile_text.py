"""Compiles text drivers: questions with settings put in, reply forms, readers of channels, modes, barriers.

Every template is parsed here, once; every field must be somebody's, every channel must stand in a reply, whatever its
shape. Pure.

    Assembly (TextDriver) -> [compile_text] -> InstrumentPlan -> session
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from daq.core import driver as files
from daq.core.assembly import Assembly, Path, Wanted, identity_check
from daq.core.driver import Setting, TextChannel, TextDriver, TextPoll
from daq.core.errors import choices
from daq.core.plan import (
    Answer,
    ErrorQueuePlan,
    IdentifyPlan,
    InstrumentPlan,
    Match,
    PollPlan,
    TextStep,
)
from daq.core.reached import is_serial
from daq.core.settings import names_in
from daq.core.text_channels import channel_readers, straight
from daq.core.text_commands import Commands, outputs_in
from daq.core.text_exchanges import Asked, Exchanges, integrity, names_its_question, tells_something, to_bytes
from daq.core.text_readings import WholeReply
from daq.core.text_steps import expanded_channels, expanded_commands, expanded_steps, touches

Steps = tuple[TextStep, ...]


@dataclass(slots=True)
class TextCompiler:
    """Compiles one instrument.

    Args:
        exchanges: all that is asked.
        commands: all that is told.
    """

    work: Assembly
    driver: TextDriver
    exchanges: Exchanges
    commands: Commands

    # The whole --------------------------------------------------------------------------------------------------------

    def instrument(self, wire_gap_ns: int) -> InstrumentPlan:
        """Compile everything; what is wrong stands in work.problems afterwards."""
        driver, work = self.driver, self.work
        self._check_address()
        self._check_outputs()
        everywhere: dict[str, Setting] = {}
        for mode in driver.modes.values():
            everywhere |= mode.settings
        work.check_given(everywhere | driver.settings)
        values = work.values(driver.settings, None, ("settings",))
        polls = tuple(self._poll(wanted) for wanted in work.wanted())
        identify = self._identify(values)
        wake, setup, teardown = self._told(values)
        readbacks = self.commands.readbacks(driver.setup, driver.settings, values, ("settings",))
        errors = self._errors()
        for reply in self.exchanges.replies:
            reply.others.extend(other for other in self.exchanges.replies if names_its_question(other))
        work.check_overrides(channel.name for poll in polls for channel in poll.channels)
        barrier, second_barrier = self._barriers(values)
        if barrier is None:
            work.warnings.append(
                f"no question of driver {work.entry.driver!r} has a reply that differs from every poll's: after a "
                "fault its line is only kept quiet, and an answer later than max_latency could be mistaken. Give the "
                "driver identify, or a setting with get, whose reply looks otherwise; or ask a poll less"
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
            eol=to_bytes(driver.link.eol),
            identify=identify,
            barrier=barrier,
            verify=None,
            wake=wake,
            setup=setup,
            readbacks=readbacks,
            errors=errors,
            polls=polls,
            teardown=teardown,
            simulated=work.entry.is_simulated,
            asset=work.entry.asset,
            warnings=tuple(work.warnings),
            second_barrier=second_barrier,
        )

    def _told(self, values: Mapping[str, str]) -> tuple[Steps, Steps, Steps]:
        """Return what is told before it can answer, after it has, and before leaving."""
        driver, there = self.driver, self.driver.over_serial

        def told(written: Sequence[files.Command], *path: str) -> tuple[TextStep, ...]:
            return self.commands.written(written, driver.settings, values, path)

        setup, teardown = told(driver.setup, "setup"), told(driver.teardown, "teardown")
        if not is_serial(self.work.entry):
            return (), setup, teardown
        wake = told(there.wake, "over_serial", "wake")
        if wake:
            self._unsaid(there.wake[0].tell, "it may not answer before it is in remote")
        setup = told(there.setup, "over_serial", "setup") + setup
        return wake, setup, teardown + told(there.teardown, "over_serial", "teardown")

    def _unsaid(self, command: str, so: str) -> None:
        """Warn of a command that `configure: never` leaves unsaid although the driver needs it."""
        if self.work.entry.configure != "on_connect":
            self.work.warnings.append(
                f"configure: never leaves {command!r} unsaid, so {so}. Do by hand what it does, or write "
                "configure: on_connect"
            )

    def _check_outputs(self) -> None:
        """Refuse what would put something out that no bench file asks for."""
        for name, setting in self.driver.settings.items():
            if setting.puts_out and setting.default is not None:
                message = (
                    f"what an instrument puts out is never set by a default, and {setting.default!r} would be, for "
                    "every bench that does not speak of it. Take the default away."
                )
                self.work.wrong_driver(("settings", name, "default"), message)
        for name, poll in self.driver.polls.items():
            for number, step in enumerate(poll.steps or []):
                if step.tell is not None and outputs_in(step.tell, self.driver.settings):
                    message = "a poll would tell what is put out each time. It belongs into setup alone."
                    self.work.wrong_driver(("polls", name, "steps", number, "tell"), message)

    def _check_address(self) -> None:
        at = self.work.entry.at
        if at.way == "visa" and not self.driver.link.eol:
            message = (
                f"answers of driver {self.work.entry.driver!r} have no ending, and VISA reads up to one. Use tcp, "
                "serial or wire."
            )
            self.work.wrong_bench(("at", "visa"), message)
        if at.way.startswith("modbus") or at.unit is not None:
            key = at.way if at.way.startswith("modbus") else "unit"
            message = (
                f"driver {self.work.entry.driver!r} speaks text, not Modbus. Use tcp, visa, serial or wire, no unit."
            )
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
        for_each = self._lists(wanted, poll, values, path)
        channels = self._channels(expanded_channels(poll.channels, for_each), values, wanted, path)
        steps = expanded_steps(self._steps(poll, path), for_each)
        self._check_effect(wanted, poll, mode, [step for step, _ in steps])
        touches = self._touching(wanted, [step for step, _ in steps])
        within = poll.within or self.driver.link.max_latency
        asked = [self.exchanges.asked(step, values, channels, within, (*path, *where)) for step, where in steps]
        readings = channel_readers(self.work, self.driver, channels, asked, path)
        return PollPlan(
            name=wanted.name,
            source=wanted.source,
            every_ns=wanted.every_ns,
            phase_ns=wanted.phase_ns,
            mode=self.commands.mode(poll.mode, known, values) if mode and poll.mode else None,
            touches=touches,
            steps=tuple(one.plan for one in asked),
            readings=readings,
            straight=straight(asked, readings),
            time=self.work.time_model(poll.time, values, known, wanted, path),
            integrity=integrity(asked, poll.header),
            channels=tuple(
                self.work.channel_plan(name, channel, wanted, (*path, "channels", key))
                for name, (key, channel) in channels.items()
            ),
        )

    def _touching(self, wanted: Wanted, steps: Sequence[files.TextStep]) -> str | None:
        """Return what a poll says that changes the instrument; refuse it where nothing may be changed unasked."""
        texts = (text for step in steps if (text := step.tell or step.ask) and touches(step))
        command = next(texts, None)
        if command is not None and self.work.entry.configure != "on_connect":
            message = (
                f"{wanted.source!r} says {command!r}, which changes the instrument, and configure: never leaves it "
                "alone. Write configure: on_connect; or, where it changes nothing, touches: false in the driver."
            )
            self.work.wrong_bench(wanted.path, message)
        return command

    def _stream(self, wanted: Wanted, stream: files.Stream) -> PollPlan:
        path: Path = ("streams", wanted.source)
        values = self.work.values(self.driver.settings, wanted, ("settings",))
        for_each = self._lists(wanted, stream, values, path)
        channels = self._channels(expanded_channels(stream.channels, for_each), values, wanted, path)
        line = files.TextStep.model_construct(**{key: getattr(stream, key) for key in files.Answer.model_fields})
        (step, _), *more = expanded_steps([(line, ())], for_each)
        if more:
            self.work.wrong_driver(path, "a line is one: write each for what is repeated in it, and {each} in reply.")
        starting = expanded_commands(stream.start, for_each)
        start = self.commands.written(starting, self.driver.settings, values, (*path, "start"))
        if start:
            self._unsaid(stream.start[0].tell, f"{wanted.source!r} may stay silent")
        asked = self.exchanges.asked(step, values, channels, stream.quiet, path, listen=True)
        readings = channel_readers(self.work, self.driver, channels, [asked], path)
        return PollPlan(
            name=wanted.name,
            source=wanted.source,
            every_ns=None,
            phase_ns=None,
            mode=None,
            steps=(asked.plan,),
            readings=readings,
            straight=straight([asked], readings),
            time=self.work.time_model(stream.time, values, self.driver.settings, wanted, path),
            integrity=integrity([asked]),
            channels=tuple(
                self.work.channel_plan(name, channel, wanted, (*path, "channels", key))
                for name, (key, channel) in channels.items()
            ),
            quiet_ns=stream.quiet,
            start=start,
            stop=self.commands.written(stream.stop, self.driver.settings, values, (*path, "stop")),
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

    def _channels(
        self, channels: Mapping[str, tuple[str, TextChannel]], values: Mapping[str, str], wanted: Wanted, path: Path
    ) -> dict[str, tuple[str, TextChannel]]:
        """Return the channels with what settings decide put in."""
        return {
            name: (key, self.work.decided(channel, values, wanted, (*path, "channels", key)))
            for name, (key, channel) in channels.items()
        }

    def _lists(
        self, wanted: Wanted, poll: TextPoll | files.Stream, values: Mapping[str, str], path: Path
    ) -> dict[str, list[files.Scalar]]:
        """Return for_each with the lists that settings give put in."""
        lists: dict[str, list[files.Scalar]] = {}
        for name, written in poll.for_each.items():
            if not isinstance(written, str):
                lists[name] = written
                continue
            if written not in values:
                where = (*path, "for_each", name)
                self.work.wrong_driver(where, f"no setting {written!r} with a value. {choices(written, values)}")
            listed = [one.strip() for one in values.get(written, "1").split(",")]
            if len(set(listed)) < len(listed) or not all(re.fullmatch("[A-Za-z0-9_-]+", one) for one in listed):
                message = f"{values[written]!r} is no list of different values. Write each one, as in '101,102,103'."
                self.work.wrong_bench((*wanted.path, "settings", written), message)
                listed = ["1"]
            lists[name] = [*listed]
        return lists

    def _check_effect(
        self, wanted: Wanted, poll: TextPoll, mode: files.Mode | None, steps: Sequence[files.TextStep]
    ) -> None:
        """Refuse settings of a poll that change nothing: a setting that is ignored in silence is a wrong value."""
        written = [text for step in steps for text in (step.ask, step.tell) if text]
        entering = [command.tell for command in mode.enter] if mode else []
        used = {name for text in (*written, *entering) for name in names_in(text)} | set(entering)
        used |= {each for channel in poll.channels.values() for each in channel.set_by.values()}
        used |= self.work.names_in_time(poll.time) | {each for each in poll.for_each.values() if isinstance(each, str)}
        for key in wanted.settings:
            if key not in used and key in self.driver.settings:
                advice = choices(key, used & self.driver.settings.keys())
                if key in {command.tell for command in self.driver.setup}:
                    advice = "It is set once, on connect: write it under settings: of the instrument."
                message = f"poll {wanted.source!r} does nothing with {key!r}. {advice}"
                self.work.wrong_bench((*wanted.path, "settings", key), message)

    def _mode_of(self, poll: TextPoll, path: Path) -> files.Mode | None:
        if poll.mode is None:
            return None
        if poll.mode not in self.driver.modes:
            self.work.wrong_driver((*path, "mode"), f"no mode {poll.mode!r}. {choices(poll.mode, self.driver.modes)}")
        return self.driver.modes.get(poll.mode)

    # Identity, errors, barrier ----------------------------------------------------------------------------------------

    def _identify(self, values: Mapping[str, str]) -> IdentifyPlan | None:
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
            if step.tell is not None and step.ask is None:  # before it can answer, such as how messages are to end
                if touches(step):
                    self._unsaid(step.tell, "it may not say who it is")
                command = self.exchanges.command(step.tell, step.ack, values, here)
                steps.append(replace(command, touches=touches(step)))
                continue
            question = self.exchanges.question(step.ask, values, here)
            whole = self.exchanges.whole(step.ask or "", step, here, values=values)
            if whole is not None:
                self.exchanges.replies.append(whole)
                fields |= {each for shape in whole.shapes for each in shape.template.types}
            steps.append(self.exchanges.step(question, whole, self.driver.link.max_latency, here))
        self.work.check_expectations(identify.expect, fields, path)
        self.work.check_serial_number(fields)
        return IdentifyPlan(tuple(steps), _identity_fields, identity_check(self.work.entry, identify.expect))

    def _errors(self) -> ErrorQueuePlan | None:
        queue = self.driver.errors
        if queue is None:
            return None
        step = files.TextStep(ask=queue.ask, reply="{error:text}")
        whole = self.exchanges.whole(queue.ask, step, ("errors",))
        plan = self.exchanges.step(
            self.exchanges.question(queue.ask, {}, ("errors", "ask")), whole, self.driver.link.max_latency, ("errors",)
        )
        return ErrorQueuePlan(plan, IsNone(tuple(queue.none)), queue.at_most)

    def _barriers(self, values: Mapping[str, str]) -> tuple[TextStep | None, TextStep | None]:
        """Choose a question whose reply no poll's reply can be mistaken for, nor the other way round, and a second one.

        First what identifies, then what reads a setting back, then polls of the driver that the bench file does not
        use and that need no mode. The reply that ends the cleaning must match it and no poll. The second one is asked
        while answers to the first are owed, so that neither may be answered like the other.
        """
        identify = self.driver.identify
        written = [*(identify.steps or [])] if identify else []
        if identify and identify.ask is not None:
            written.insert(0, files.TextStep(ask=identify.ask, reply=identify.reply))
        written += [
            files.TextStep(ask=setting.get, reply=setting.reply or "{value:text}")
            for setting in self.driver.settings.values()
            if setting.get is not None
        ]
        written += [step for poll in self._unused_polls() for step, _ in self._steps(poll, ("polls",))[:1]]
        first: Asked | None = None
        for step in written:
            found = self._as_barrier(step, values, None if first is None else first.whole)
            if found is not None and first is not None:
                return first.plan, found.plan
            first = first or found
        return (None if first is None else first.plan), None

    def _unused_polls(self) -> list[TextPoll]:
        used = {one.source for one in self.work.wanted()}
        return [
            poll
            for name, poll in self.driver.polls.items()
            if name not in used and poll.mode is None and not poll.for_each
        ]

    def _as_barrier(self, step: files.TextStep, values: Mapping[str, str], first: WholeReply | None) -> Asked | None:
        """Return a question as a barrier; None where its reply might be a poll's, or one to the first barrier."""
        if step.ask is None or set(names_in(step.ask)) - values.keys():
            return None
        if any(one.asked == step.ask for one in self.exchanges.poll_replies):
            return None
        apart = Assembly(self.driver, self.work.name, self.work.entry, self.work.station)  # findings were noted before
        whole = Exchanges(apart, self.driver).whole(step.ask, step, (), values=values)
        if whole is None or not tells_something(whole):
            return None
        ending = to_bytes(self.driver.link.eol)
        samples = _samples(whole)
        if first is not None and (any(map(first.fits, samples)) or any(map(whole.fits, _samples(first)))):
            return None
        empty = [each.encode("latin-1") + ending for each in self.driver.errors.none] if self.driver.errors else []
        alike = any(other.fits(sample) for sample in samples for other in self.exchanges.poll_replies)
        if alike or any(map(whole.fits, empty)):
            return None
        whole.strangers.extend(self.exchanges.poll_replies)
        question = self.exchanges.question(step.ask, values, ())
        return Asked(step, self.exchanges.step(question, whole, self.driver.link.max_latency, ()), whole, ())


def compile_text(work: Assembly, driver: TextDriver, wire_gap_ns: int) -> InstrumentPlan:
    """Compile one instrument that speaks text; findings stand in work.problems."""
    exchanges = Exchanges(work, driver)
    return TextCompiler(work, driver, exchanges, Commands(work, driver, exchanges)).instrument(wire_gap_ns)


# What the plans call --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IsNone:
    """Whether the error queue says that it is empty."""

    none: tuple[str, ...]

    def __call__(self, answer: Match) -> bool:
        """Return whether it does."""
        return answer.fields["error"] in self.none


def _samples(whole: WholeReply) -> list[bytes]:
    """Return replies as they may come, one a shape that holds an answer."""
    return [shape.template.sample().encode("latin-1") + whole.eol for shape in whole.shapes if not shape.outcome]


def _identity_fields(answers: Sequence[Answer]) -> dict[str, str]:
    """Put the fields of all answers together."""
    fields: dict[str, str] = {}
    for answer in answers:
        assert isinstance(answer, Match), "text steps bring matches"
        fields |= answer.fields
    return fields

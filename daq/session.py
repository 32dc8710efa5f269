"""Builds the exchanges of a poll and judges the replies: the conversation with one instrument.

Never waits, never sees a transport, reads no clock: each conversation is a Dialogue (core.dialogue) that a line plays.
What the session remembers between two of them is what it knows of the instrument: who it is, which mode it is in,
which blocks of registers it refused. `forget` drops what a new connection must find out again.

    plan -> connect, barrier, poll, listen, teardown (Dialogues) -> line -> Met, Outcome -> line -> Observation
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from daq.core.bench import SIMULATED
from daq.core.blocks import joined
from daq.core.dialogue import (
    Ask,
    Dialogue,
    Pause,
    Quiet,
    Replied,
    Tell,
    ask,
    in_text,
    nothing_behind,
    questions,
    tell,
    too_late,
)
from daq.core.errors import (
    LinkDamaged,
    LinkDesync,
    LinkError,
    LinkTimeout,
    RefusedReply,
    ReplyError,
    UnreadableReply,
    WrongInstrument,
    WrongState,
    quoted,
)
from daq.core.frames import Frames
from daq.core.modbus import Framing, NotReached, RefusedBlock
from daq.core.observation import NS, OK, Flag, Identity, Stamp, Status
from daq.core.outcome import Changed, Met, Outcome, failure, read_back, unread
from daq.core.plan import Answer, DeviceStep, InstrumentPlan, Match, ModePlan, PollPlan, RegisterStep, Step, TextStep
from daq.core.shortcut import shortcut
from daq.core.timing import Seen, bound

__all__ = ["Met", "Outcome", "Session", "failure"]

log = logging.getLogger(__name__)

T = TypeVar("T")

RECHECK_NS = 10 * NS
"""The settings of a mode are read back again after so long: a hand at the front panel does not tell us."""


class Session:
    """The conversation with one instrument.

    Args:
        plan: compiled from its driver and its entry in the bench file.
        framing: of registers, as its wire has it; None for text.
    """

    def __init__(self, plan: InstrumentPlan, framing: Framing | None = None) -> None:
        assert (plan.speaks == "registers") == (framing is not None), "registers are framed, text is not"
        self.plan = plan
        self.framing = framing
        self.met: Met | None = None
        self._mode: ModePlan | None = None  # None: unknown
        self._mode_seen_ns = 0  # when it was entered or last read back
        self._agreed_ns: dict[str, int] = {}  # mode -> when it last read back right, while it is not entered anew
        self._joined = False  # a talker's line is known to begin where the next byte is
        self._put_out = False  # what is told once was told, and has read back
        self._frames = None if framing is None or plan.unit is None else Frames(framing, plan.unit)
        self._split: dict[RegisterStep, tuple[RegisterStep, ...]] = {}  # blocks it refused as a whole
        self._traced: set[str] = set()  # polls whose inner failure was logged
        self.streams = tuple(poll for poll in plan.polls if poll.every_ns is None)
        self.polls = tuple(poll for poll in plan.polls if poll.every_ns is not None)
        self._questions = questions((step for poll in self.polls for step in poll.steps), plan.eol)
        self.shortcuts = {
            poll.name: way
            for poll in self.polls
            if plan.configure or poll.touches is None
            if (way := shortcut(poll, self._questions, self._frames)) is not None
        }
        """Polls that can be asked without a dialogue, while the instrument is in the mode they need."""

    @property
    def answers_on_connect(self) -> bool:
        """Whether a connection proves that somebody is there: it was asked something."""
        return self.plan.identify is not None or self.plan.barrier is not None or self.plan.verify is not None

    def forget(self) -> None:
        """Trust nothing that was known of the instrument's state: the connection is new, or it may have restarted."""
        self._mode = None
        self._joined = False
        self._agreed_ns.clear()

    def is_in(self, mode: ModePlan, now_ns: int) -> bool:
        """Say whether the instrument is in a mode, for all that is known: it was read back not long ago."""
        return mode is self._mode and now_ns - self._mode_seen_ns < RECHECK_NS

    # ------------------------------------------------------------ who, and in which state

    def connect(self) -> Dialogue[Met]:
        """Identify, compare, set up, read settings back, drain the error queue, verify.

        `configure: never` only asks, and leaves the error queue to whoever reads it at the front panel.

        Raises:
            LinkError: on the wire.
            WrongInstrument, WrongState, UnreadableReply, ...: it answers, and must not be read.
        """
        self.forget()
        yield from self._tell(self.plan.wake)
        fields = yield from self._identify()
        yield from self._tell(self.plan.setup)
        plan, told = self.plan, self._put_out
        settings = yield from read_back(plan.readbacks, plan.eol, configure=plan.configure, set_before=told)
        self._put_out = plan.configure
        errors = yield from self._drain_errors()
        yield from self._verify()
        for stream in self.streams:
            yield from self._tell(stream.start)
        known = {name: text.strip() or None for name, text in fields.items()}
        serial = known.get("serial")
        self.met = Met(
            identity=Identity(self.plan.asset, known.get("model"), serial),
            maker=known.get("maker"),
            firmware=known.get("firmware"),
            settings=settings,
            simulated=self.plan.simulated or (serial or "").startswith(SIMULATED),
            warnings=tuple(f"its error queue held {error}" for error in errors),
        )
        return self.met

    def _tell(self, commands: Sequence[TextStep]) -> Dialogue[None]:
        """Tell what changes the instrument; nothing with configure: never. Raises LinkError, UnexpectedAck."""
        for command in commands if self.plan.configure else ():
            if not (command.once and self._put_out):
                yield from self._command(command)

    def _command(self, command: TextStep) -> Dialogue[Stamp]:
        """Tell one command, take its acknowledgement where it has one, and return when it was told."""
        if command.reply is None:
            return (yield from tell(Tell(command.ask, command.within_ns)))
        _, replied = yield from self._text(command, tolerant=bool(self.streams))
        return replied.asked

    def _identify(self) -> Dialogue[dict[str, str]]:
        """Ask who answers; refuse only after two mismatches with quiet between: the first may be a late answer."""
        if self.plan.identify is None:
            return {}
        try:
            return (yield from self._who())
        except NotReached:
            raise  # nobody is there who could owe an answer
        except ReplyError:
            yield Quiet(self.plan.latency_ns)
        return (yield from self._who())

    def _who(self) -> Dialogue[dict[str, str]]:
        identify = self.plan.identify
        assert identify is not None
        answers: list[Answer] = []
        for step in identify.steps:
            if isinstance(step, TextStep) and step.told:
                if self.plan.configure or not step.touches:
                    yield from self._command(step)
                continue
            answer, _ = yield from self._one(step, tolerant=bool(self.streams))
            answers.append(answer)
        fields = identify.fields(answers)
        wrong = identify.check(fields)
        if wrong is not None:
            raise WrongInstrument(wrong)
        return fields

    def _drain_errors(self) -> Dialogue[tuple[str, ...]]:
        """Take the errors out of the instrument's queue and return them, quoted; () with configure: never."""
        queue = self.plan.errors
        found: list[str] = []
        if queue is None or not self.plan.configure:
            return ()
        for _ in range(queue.at_most):
            match, replied = yield from self._text(queue.step)
            if queue.is_none(match):
                break
            found.append(quoted(replied.data.strip()))
        return tuple(found)

    def _verify(self) -> Dialogue[None]:
        """Read the register of known content. Raises WrongInstrument: its map is not the driver's."""
        verify = self.plan.verify
        if verify is None:
            return
        content, _ = yield from self._one(verify.step)
        wrong = verify.check(content) if isinstance(content, bytes) else None
        if wrong is not None:
            raise WrongInstrument(wrong)

    def barrier(self, owes: Callable[[bytes], bool] = lambda _: False) -> Dialogue[None]:
        """Ask what only one reply can answer, and throw away whatever else comes before it.

        Where earlier questions are owed an answer that looks the same, as many must come as were asked.

        Args:
            owes: whether the wire still owes an answer to a question; then another one is asked, if there is one.

        Raises:
            LinkError: no answer; LinkDesync: too few.
        """
        step, second = self.plan.barrier, self.plan.second_barrier
        if isinstance(step, TextStep) and isinstance(second, TextStep) and owes(step.ask) and not owes(second.ask):
            step = second
        if step is None:
            return
        yield from self._tell(self.plan.wake)
        try:
            yield from self._one(step, tolerant=True)
        except RefusedBlock:
            return  # some devices give no part of a value; nothing else is owed, so this refusal answers this question

    def teardown(self) -> Dialogue[None]:
        """Tell what the driver wants told before leaving; nothing with configure: never. Raises DaqError."""
        for stream in self.streams:
            yield from self._tell(stream.stop)
        yield from self._tell(self.plan.teardown)

    # ------------------------------------------------------------ polls

    def poll(self, poll: PollPlan, now_ns: int = 0) -> Dialogue[Outcome]:
        """Ask one poll. Never raises a DaqError: whatever happens is an outcome.

        Args:
            poll: one of the plan's.
            now_ns: monotonic; says when a mode must be read back again.
        """
        if poll.touches is not None and not self.plan.configure:
            return Outcome(Status.SKIPPED, f"it says {quoted(poll.touches)}, which changes the instrument")
        try:
            if poll.mode is not None:
                yield from self._be_in_mode(poll, now_ns)
            answers, seen = yield from self._steps(poll)
            outcome = self._judged(poll, answers, seen)
            return outcome if outcome.claim_held else (yield from self._proved(outcome))
        except (RefusedReply, UnreadableReply) as error:
            self._mode = None
            return (yield from self._explained(failure(error)))
        except WrongState as error:
            return replace(failure(error), changed=self._changed(poll, error))
        except (LinkError, ReplyError) as error:
            outcome = failure(error)
            if outcome.lost_track:
                self._mode = None
            return outcome

    def _proved(self, outcome: Outcome) -> Dialogue[Outcome]:
        """See that an answer which came too soon was not to an older question. Raises LinkError."""
        if isinstance(self.plan.barrier, TextStep):
            yield from nothing_behind(self.plan.barrier, self.plan.eol)
        return outcome

    def _changed(self, poll: PollPlan, error: WrongState) -> Changed | None:
        """Say since when a mode may not be what it was; None where it never was right since it was entered."""
        since_ns = None if poll.mode is None else self._agreed_ns.pop(poll.mode.name, None)
        return None if since_ns is None else Changed(error.setting, error.wanted, error.found, since_ns)

    def _judged(self, poll: PollPlan, answers: Sequence[Answer], seen: Sequence[Seen]) -> Outcome:
        """Turn answers into readings. Raises ReplyError where text holds none: it may answer another question."""
        try:
            readings = poll.readings(answers)
        except ReplyError as error:
            if self.plan.speaks == "registers":  # the frame named its question, only its content is no reading
                return replace(failure(error), lost_track=False)
            raise
        except Exception as error:  # noqa: BLE001  a fault of ours in one poll; its neighbours go on
            return self._broken(poll, error)
        bounded = bound(poll.time, seen)
        if not bounded.claim_held:
            self._mode = None  # somebody may have changed it
            readings = {name: replace(each, flags=(*each.flags, Flag.SUSPECT)) for name, each in readings.items()}
        return Outcome(OK, None, readings, bounded.timing, claim_held=bounded.claim_held)

    def _broken(self, poll: PollPlan, error: Exception) -> Outcome:
        """Keep a fault of ours to this poll; its trace is logged once."""
        if poll.name not in self._traced:
            self._traced.add(poll.name)
            log.error("%s/%s: reading the answer failed inside", self.plan.name, poll.name, exc_info=error)
        return Outcome(Status.INTERNAL, f"{type(error).__name__}: {error}")

    def _explained(self, outcome: Outcome) -> Dialogue[Outcome]:
        """Put what the instrument's error queue says behind the detail."""
        try:
            errors = yield from self._drain_errors()
        except (LinkError, ReplyError):
            return replace(outcome, lost_track=True)
        if not errors:
            return outcome
        return replace(outcome, detail=f"{outcome.detail}; its error queue says {', '.join(errors)}")

    def _be_in_mode(self, poll: PollPlan, now_ns: int) -> Dialogue[None]:
        """Enter the poll's mode where the instrument is in another one, and now and then see that it still is in it.

        With configure: never it is not entered, and looked at before every poll.
        """
        mode = poll.mode
        if mode is None:
            return
        entered = mode == self._mode
        if entered and now_ns - self._mode_seen_ns < RECHECK_NS:
            return
        self._mode = None
        if self.plan.configure and not entered:
            self._agreed_ns.pop(mode.name, None)
            yield from self._tell(mode.enter)
            if mode.settle_ns:
                yield Pause(mode.settle_ns)
            for _ in range(mode.discard):
                yield from self._steps(poll)
        values = yield from read_back(mode.readbacks, self.plan.eol, again=entered, configure=self.plan.configure)
        self._note_settings(poll, values)
        self._agreed_ns[mode.name] = now_ns
        if self.plan.configure:
            self._mode, self._mode_seen_ns = mode, now_ns

    def _note_settings(self, poll: PollPlan, values: dict[str, str]) -> None:
        if self.met is not None and self.met.poll_settings.get(poll.name) != values:
            self.met = replace(self.met, poll_settings={**self.met.poll_settings, poll.name: values})

    def _steps(self, poll: PollPlan) -> Dialogue[tuple[list[Answer], list[Seen]]]:
        """Go through the exchanges of a poll; a command counts for the time, and has no answer."""
        answers: list[Answer] = []
        seen: list[Seen] = []
        answer: Answer
        begun: Stamp | None = None  # of a command that may have been the trigger
        for step in poll.steps:
            if isinstance(step, TextStep) and step.told:
                told = yield from self._command(step)
                begun = begun or told
                continue
            if isinstance(step, RegisterStep):
                answer, replied = yield from self._registers(step, poll)
            else:
                question = self._questions[id(step)]
                try:  # as `answered`, which would be one more to go through on the way to here and back
                    came = yield question.ask
                except LinkTimeout as late:
                    raise too_late(late, question.what, step.within_ns) from None
                assert isinstance(came, Replied), "the wire answers questions with replies"
                answer, replied = question.match(came.data), came
            asked = begun if begun is not None and not seen else replied.asked
            answers.append(answer)
            seen.append(Seen(asked, replied.not_before, replied.first, replied.wire_ns))
        return answers, seen

    def _one(self, step: Step | DeviceStep, *, tolerant: bool = False) -> Dialogue[tuple[Answer, Replied]]:
        if isinstance(step, TextStep):
            return (yield from self._text(step, tolerant=tolerant))
        if isinstance(step, DeviceStep):
            return (yield from self._framed().device(step, tolerant=tolerant))
        return (yield from self._framed().block(step, tolerant=tolerant))

    def _framed(self) -> Frames:
        assert self._frames is not None, "registers are framed, and their units numbered"
        return self._frames

    def _text(self, step: TextStep, *, tolerant: bool = False) -> Dialogue[tuple[Match, Replied]]:
        return (yield from in_text(step, self.plan.eol, tolerant=tolerant))

    def _registers(self, step: RegisterStep, poll: PollPlan) -> Dialogue[tuple[bytes, Replied]]:
        """Read a block; in smaller ones where the device refuses it as a whole, which is remembered."""
        parts = self._split.get(step) if self._split else None
        if parts is None:
            try:
                return (yield from self._framed().block(step))
            except RefusedBlock:
                parts = poll.subdivide(step) if poll.subdivide is not None else ()
                if len(parts) < 2:
                    raise
        answers: list[tuple[RegisterStep, bytes]] = []
        times: list[Replied] = []
        for part in parts:
            answer, replied = yield from self._framed().block(part)
            answers.append((part, answer))
            times.append(replied)
        self._split[step] = parts
        for each in self.polls:  # whoever asks for this block does so in parts from now on
            if step in each.steps:
                self.shortcuts.pop(each.name, None)
        return joined(step, answers), replace(times[-1], asked=times[0].asked, not_before=times[0].not_before)

    # ------------------------------------------------------------ talkers

    def listen(self) -> Dialogue[tuple[PollPlan, Outcome]]:
        """Take one line of an instrument that sends unasked, and judge it.

        The first line after joining is thrown away: nobody saw it begin. Lines find back to each other by their ending,
        so that a bad one does not make the wire dirty. Silence beyond `quiet` is a time-out of the first stream.
        """
        first = self.streams[0]
        try:
            while not self._joined:
                yield from self._line()
                self._joined = True
            replied = yield from self._line()
        except LinkTimeout as error:
            self._joined = self._joined and not error.partial
            return first, replace(failure(error), lost_track=False)
        except LinkDamaged as error:
            self._joined = False
            return first, unread(first, error, [Seen(error.not_before, error.not_before, error.first)])
        except LinkError as error:
            self._joined = False
            return first, replace(failure(error), lost_track=not isinstance(error, LinkDesync))
        return self._heard(replied)

    def _line(self) -> Dialogue[Replied]:
        first = self.streams[0].steps[0]
        assert isinstance(first, TextStep)
        assert first.reply is not None
        quiet_ns = min(stream.quiet_ns for stream in self.streams)
        return (yield from ask(Ask(b"", first.reply.cut, quiet_ns)))

    def _heard(self, replied: Replied) -> tuple[PollPlan, Outcome]:
        """Give a line to the first stream that can read it."""
        seen = [Seen(replied.not_before, replied.not_before, replied.first, replied.wire_ns)]
        refused: tuple[PollPlan, Outcome] | None = None
        for stream in self.streams:
            step = stream.steps[0]
            assert isinstance(step, TextStep)
            assert step.reply is not None
            try:
                return stream, self._judged(stream, [step.reply.match(replied.data)], seen)
            except ReplyError as error:
                refused = refused or (stream, unread(stream, error, seen))
        assert refused is not None, "a talker has a stream"
        return refused

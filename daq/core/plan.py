"""Driver and bench entry -> the fewest exchanges, compiled once at start.

Everything that a session needs to ask and to judge is settled here: questions as bytes, cuts, templates, block reads,
time models. Nothing is looked up by name while polling. Pure.

    TextDriver | RegisterDriver, InstrumentFile -> compile_instrument -> InstrumentPlan -> session
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from daq.core.cut import Cut
from daq.core.observation import Flag, Integrity, Reading, ReadingStatus
from daq.core.timing import TimeModel
from daq.core.unchanging import unchanging


@unchanging
class Match:
    """What a template found in one whole text reply.

    Args:
        fields: field -> characters as printed.
        flags: of every reading of this shape.
        status: of the channels that this shape does not hold, None where the shape says nothing.
        text: the whole reply as printed, without its ending.
    """

    fields: dict[str, str]
    flags: tuple[Flag, ...] = ()
    status: ReadingStatus | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """How the reply to a question looks.

    Args:
        cut: where it ends in the stream of bytes.
        match: whole reply, ending included -> Match. Raises UnreadableReply, BusyReply, RefusedReply.
        shape: two questions with the same shape cannot be told apart by their replies (barriers need different ones).
        binary: it is to be shown as hex.
    """

    cut: Cut
    match: Callable[[bytes], Match]
    shape: str
    binary: bool = False


@dataclass(frozen=True, slots=True)
class TextStep:
    """One exchange in text.

    Args:
        ask: with its ending; b"" to listen only.
        reply: None where none comes.
        told: it is a command: its reply, if there is one, acknowledges it and is no answer.
        touches: it changes the instrument, and is not said without `configure`; only identities look at it.
        once: it decides what the instrument puts out, and is told on the first connection alone.
    """

    ask: bytes
    reply: ReplyForm | None
    within_ns: int
    told: bool = False
    touches: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True)
class RegisterStep:
    """One block read.

    Args:
        function: Modbus function code, 1 to 4.
        address: first register or coil, PDU addressing (0-based).
        count: how many.
    """

    function: int
    address: int
    count: int
    within_ns: int


@dataclass(frozen=True, slots=True)
class DeviceStep:
    """Who a Modbus device says it is (function 43/14), in as many exchanges as that takes.

    Args:
        category: 1 basic, 2 regular, 3 extended.
    """

    category: Literal[1, 2, 3]
    within_ns: int


Step = TextStep | RegisterStep
Answer = Match | bytes
"""What a step brought: a Match for text, the registers' (or packed coils') bytes for a block; for a DeviceStep its
objects one behind the other: number, length, content."""


Straight = Callable[[bytes], dict[str, Reading] | None]
"""The whole of one answer -> its readings, each of them ok and without a flag; None where the general way decides."""


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel as info describes it."""

    name: str
    quantity: str
    unit: str
    symbol: str
    kind: str
    role: str | None
    asset: str | None
    label: str | None


@dataclass(frozen=True, slots=True)
class PollPlan:
    """One poll of the bench file, ready to be asked.

    Args:
        name: name from the bench file; `source` is the driver's poll or stream.
        every_ns: interval; None for streams.
        phase_ns: from the bench file; None where the station spreads it.
        mode: name of the mode it needs, with the settings of this poll already put in; None where it needs none.
        steps: exchanges in order.
        readings: answers of the steps that have a reply, in order -> channel -> Reading. Raises ReplyError.
        quiet_ns: streams: silence longer than this is a time-out.
        start, stop: streams: commands that make it send, and silent.
        touches: what it says that changes the instrument, so that it needs `configure`; None where nothing does.
        subdivide: registers: the blocks to try instead when the device refuses a merged one (RefusedBlock), once; ()
            where it is one value. core.blocks.joined makes the block's answer of theirs.
        straight: what reads its one answer in one step, the whole text reply as ReplyForm.match takes it, or the bytes
            of the block: just as match and `readings` do where every reading is ok and without a flag, None in every
            other case (core.straight). None where a poll has several steps, or more than plain numbers.
    """

    name: str
    source: str
    every_ns: int | None
    phase_ns: int | None
    mode: ModePlan | None
    steps: tuple[Step, ...]
    readings: Callable[[Sequence[Answer]], dict[str, Reading]]
    time: TimeModel
    integrity: Integrity
    channels: tuple[ChannelPlan, ...]
    quiet_ns: int = 0
    start: tuple[TextStep, ...] = ()
    stop: tuple[TextStep, ...] = ()
    touches: str | None = None
    subdivide: Callable[[RegisterStep], tuple[RegisterStep, ...]] | None = None
    straight: Straight | None = field(default=None, repr=False, compare=False)  # follows from the others


@dataclass(frozen=True, slots=True)
class ModePlan:
    """A state of the instrument, with settings put in: equal plans are the same state."""

    name: str
    enter: tuple[TextStep, ...]
    readbacks: tuple[ReadBack, ...]
    settle_ns: int
    discard: int


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A setting that can be read back.

    Args:
        wanted: what was set, as text; compared as numbers where both are.
        agrees: Match -> whether the instrument's answer is the wanted one.
        value: Match -> the setting as the instrument says it.
        once: it is told on the first connection alone; later it may differ.
    """

    setting: str
    step: TextStep
    wanted: str
    agrees: Callable[[Match], bool]
    value: Callable[[Match], str]
    once: bool = False


@dataclass(frozen=True, slots=True)
class IdentifyPlan:
    """Who answers.

    Args:
        steps: questions, in order.
        fields: answers of the steps -> model, serial, firmware, maker as printed. Raises ReplyError.
        check: fields -> None, or why this is the wrong instrument (driver's expect, bench's serial_number).
    """

    steps: tuple[Step | DeviceStep, ...]
    fields: Callable[[Sequence[Answer]], dict[str, str]]
    check: Callable[[dict[str, str]], str | None]


@dataclass(frozen=True, slots=True)
class ErrorQueuePlan:
    """The error queue: ask until `none` comes, at most `at_most` times."""

    step: TextStep
    is_none: Callable[[Match], bool]
    at_most: int


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """A register of known content: check(bytes) -> None, or what is wrong."""

    step: RegisterStep
    check: Callable[[bytes], str | None]


@dataclass(frozen=True, slots=True)
class InstrumentPlan:
    """Everything a session of one instrument needs.

    Args:
        speaks: text or registers.
        unit: Modbus unit, None for text.
        barrier: a question whose reply can be told from every poll's (RTU: another count); None where there is none.
        second_barrier: another such question, for when answers to the first are owed.
        latency_ns: longest time from a question to the end of its answer.
        wake: commands without which it answers nothing.
        gap_ns: shortest pause between an answer and the next question (the larger of driver's and wire's).
    """

    name: str
    driver: str
    title: str
    speaks: Literal["text", "registers"]
    unit: int | None
    configure: bool
    banner: bool
    latency_ns: int
    gap_ns: int
    eol: bytes
    identify: IdentifyPlan | None
    barrier: Step | None
    verify: VerifyPlan | None
    setup: tuple[TextStep, ...]
    readbacks: tuple[ReadBack, ...]
    errors: ErrorQueuePlan | None
    polls: tuple[PollPlan, ...]
    teardown: tuple[TextStep, ...]
    simulated: bool
    asset: str | None
    warnings: tuple[str, ...] = field(default=())
    second_barrier: Step | None = None
    wake: tuple[TextStep, ...] = ()

    @property
    def only_time_heals(self) -> bool:
        """Whether nothing can be asked whose answer differs from all that may still come; talkers are not asked."""
        return self.barrier is None and all(poll.every_ns is not None for poll in self.polls)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file, for `load` to find the line of.

    Args:
        file: which of the two files.
        path: keys from the top of that file, e.g. ("instruments", "dmm1", "poll", "vref", "ask").
        message: what, and how to mend it.
        at_key: the key itself is wrong, not what it holds.
    """

    file: Literal["bench", "driver"]
    path: tuple[str | int, ...]
    message: str
    at_key: bool = False

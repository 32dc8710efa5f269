"""What a session learned of its instrument, and how one poll went. Pure.

session -> Met, Outcome -> line -> ledger -> Observation
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from daq.core.dialogue import Dialogue, in_text
from daq.core.errors import (
    DaqError,
    ForeignReply,
    LinkError,
    ReplyError,
    UnexpectedAck,
    UnreadableReply,
    WrongState,
    quoted,
)
from daq.core.modbus import NotReached
from daq.core.observation import Identity, Reading, Status, Timing
from daq.core.plan import PollPlan, ReadBack
from daq.core.timing import Seen, bound
from daq.core.unchanging import unchanging


@dataclass(frozen=True, slots=True)
class Met:
    """What a session learned of its instrument by asking.

    Args:
        settings: setting -> as the instrument says it, for all polls.
        poll_settings: poll -> the same for what its mode sets; polls whose mode was not entered yet are missing.
        simulated: the serial number or the bench file says so.
        warnings: what was found in the error queue, and the like; for people.
    """

    identity: Identity
    maker: str | None = None
    firmware: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    poll_settings: dict[str, dict[str, str]] = field(default_factory=dict)
    simulated: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """A setting that read back right before, and no longer does: somebody changed it.

    Args:
        since_ns: monotonic, when it last read back right: readings since are in doubt.
    """

    setting: str
    wanted: str
    found: str
    since_ns: int


@unchanging
class Outcome:
    """How one poll went.

    Args:
        lost_track: an answer may still be on its way, or was not the answer to the question: the wire is dirty.
        not_reached: a gateway answered in its place: nobody has heard the instrument itself.
        changed: which setting somebody changed, where that is why.
        claim_held: False where the answer came faster than the driver's time model allows; its readings are suspect.
    """

    status: Status
    detail: str | None = None
    readings: dict[str, Reading] = field(default_factory=dict)
    timing: Timing | None = None
    lost_track: bool = False
    not_reached: bool = False
    claim_held: bool = True
    changed: Changed | None = None


def failure(error: DaqError) -> Outcome:
    """Judge an error: its status, its words, and whether the wire is still to be trusted."""
    status = error.status if isinstance(error, LinkError | ReplyError) else Status.INTERNAL
    lost_track = isinstance(error, LinkError | UnreadableReply | ForeignReply | UnexpectedAck)
    return Outcome(status, str(error), lost_track=lost_track, not_reached=isinstance(error, NotReached))


def unread(stream: PollPlan, error: DaqError, seen: Sequence[Seen]) -> Outcome:
    """Judge what a talker said and cannot be read: it came at its time, and lines find back to each other."""
    return replace(failure(error), lost_track=False, timing=bound(stream.time, seen).timing)


def judged(result: Outcome | None, failed: DaqError | None, extra: bytes) -> Outcome:
    """Judge a poll with what lay behind its last answer.

    Args:
        result: what the session made of it; None where its dialogue failed.
        failed: why, where it did.
        extra: bytes that nobody asked for.
    """
    if result is None:
        assert failed is not None, "a dialogue has a result or has failed"
        return failure(failed)
    if not extra or result.lost_track:
        return result
    detail = f"{quoted(extra)} came behind the answer: whose answer is whose cannot be told"
    return Outcome(Status.DESYNC, detail, lost_track=True)


def disagreement(readback: ReadBack, value: str, *, again: bool, configure: bool) -> str:
    """Say that a setting does not read back as wanted, and how to mend it.

    Args:
        readback: which, and what was wanted.
        value: what it reads.
        again: it was right before.
        configure: the driver may set it.
    """
    mend = "It was set and reads back otherwise: is the value allowed?"
    if again:
        mend = "It was right before: somebody changed it. It is set anew before the next reading."
    if not configure:
        mend = "configure: never leaves it so: set it at the front panel, or put the bench file right."
    return f"{readback.setting} is {quoted(value)}, wanted {quoted(readback.wanted)}. {mend}"


def read_back(
    readbacks: Sequence[ReadBack], eol: bytes, *, again: bool = False, configure: bool, set_before: bool = False
) -> Dialogue[dict[str, str]]:
    """Read settings back; return them as the instrument says them.

    Args:
        readbacks: what to ask, and what was wanted.
        eol: how questions end.
        again: they have read back right before.
        configure: whether we may set them.
        set_before: those that are told once were, on an earlier connection: what they are now is somebody's wish.

    Raises:
        WrongState: at the first that differs. LinkError, ReplyError: not answered.
    """
    values: dict[str, str] = {}
    for readback in readbacks:
        match, _ = yield from in_text(readback.step, eol)
        values[readback.setting] = readback.value(match)
        if not readback.agrees(match) and not (readback.once and set_before):
            found = values[readback.setting]
            message = disagreement(readback, found, again=again, configure=configure)
            raise WrongState(message, readback.setting, readback.wanted, found)
    return values

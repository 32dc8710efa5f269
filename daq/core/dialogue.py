"""What a session may want of its wire, and what the wire tells it back.

A dialogue is a generator: it yields one Action at a time and is sent what came of it; what went wrong on the wire
(LinkError) is thrown into it. It never waits and never sees a transport: a test can play it with a list of pairs.

    session (Dialogue) -> Ask, Tell, ... -> open wire -> Replied, Stamp -> session
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from daq.core.cut import Cut
from daq.core.errors import ForeignReply, LinkDesync, LinkTimeout, ReplyError, UnreadableReply, quoted
from daq.core.observation import NS, Stamp
from daq.core.plan import Match, Step, TextStep
from daq.core.unchanging import unchanging


@unchanging
class Ask:
    """Send a question and read its answer; sent back: Replied.

    Args:
        request: b"" to listen only.
        cut: where the answer ends.
        within_ns: from the write to the last byte.
        binary: to be shown as hex.
        fits: whether a whole reply could be the answer, be it a refusal; None where nobody needs to know.
    """

    request: bytes
    cut: Cut
    within_ns: int
    binary: bool = False
    fits: Callable[[bytes], bool] | None = None


@unchanging
class Again:
    """The answer was not ours: keep it for the record and read on, same deadline; sent back: Replied."""

    cut: Cut


@dataclass(frozen=True, slots=True)
class Tell:
    """Send what is not answered; sent back: the Stamp before its first byte."""

    request: bytes
    within_ns: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; sent back: None."""

    for_ns: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Wait until nothing has come for so long, and throw away what came; sent back: None."""

    for_ns: int


Action = Ask | Again | Tell | Pause | Quiet


@unchanging
class Replied:
    """One whole reply.

    Args:
        data: the bytes, ending included.
        asked: just before the first byte of the question; for listening, the same as not_before.
        not_before: the last instant at which the wire was seen silent.
        first: when the first byte of the reply was seen.
        last: when its last byte was seen.
        wire_ns: how long its bytes take on a serial line, 0 on a socket.
        owed: how many answers are still to come that would look the same; 0 where this one is the question's own.
    """

    data: bytes
    asked: Stamp
    not_before: Stamp
    first: Stamp
    last: Stamp
    wire_ns: int = 0
    owed: int = 0


MOST_DISCARDED = 64
"""Replies thrown away while waiting for the one to a barrier; an instrument owes far fewer."""

T = TypeVar("T")

Dialogue = Generator[Action, Replied | Stamp | None, T]


def ask(question: Ask | Again) -> Dialogue[Replied]:
    """Put a question, or read once more; return the reply. Raises LinkError."""
    replied = yield question
    assert isinstance(replied, Replied), "the wire answers questions with replies"
    return replied


def tell(command: Tell) -> Dialogue[Stamp]:
    """Send a command; return when. Raises LinkError."""
    told = yield command
    assert isinstance(told, Stamp), "the wire answers commands with a stamp"
    return told


def answered(
    question: Ask | Again, what: str, within_ns: int, *, request: bytes = b"", came: bytes = b""
) -> Dialogue[Replied]:
    """Put a question; a time-out says who, or what, was asked, and how long the answer was waited for.

    Args:
        question: as it is put to the wire.
        what: who was asked, or what.
        within_ns: how long the answer may take.
        request: the question, where an adapter may give it back; b"" where nobody need look for it.
        came: what came since it was asked, and was no answer.
    """
    try:
        replied = yield question
    except LinkTimeout as late:
        raise too_late(late, what, within_ns, request=request, came=came) from None
    assert isinstance(replied, Replied), "the wire answers questions with replies"
    return replied


def too_late(late: LinkTimeout, what: str, within_ns: int, *, request: bytes = b"", came: bytes = b"") -> LinkTimeout:
    """Say of a time-out who, or what, was asked, and how long the answer was waited for; arguments as of `answered`."""
    if request and (came + late.partial).startswith(request):
        behind = len(came + late.partial) > len(request)
        return LinkTimeout(f"{what}: {_own_question(behind=behind)} ({within_ns / NS:g} s)", late.partial)
    return LinkTimeout(f"{what} at {late} ({within_ns / NS:g} s)", late.partial)


def _own_question(*, behind: bool) -> str:
    if behind:
        return "our own question came back, ahead of what it answered. Switch off the local echo of the adapter"
    return (
        "our own question came back, and no answer. The local echo of the adapter is on, or its two lines touch; "
        "nobody else was heard: is the instrument on, are its address and the baud rate right?"
    )


def still_owed(again: Again, what: str, within_ns: int, owed: int) -> Dialogue[Replied]:
    """Wait for the rest of the answers to a question that was asked more often than it was answered."""
    try:
        return (yield from answered(again, what, within_ns))
    except LinkTimeout as late:
        answers = "an answer is" if owed == 1 else f"{owed} answers are"
        raise LinkDesync(f"{what}: {answers} still owed to it: which one came cannot be told", late.partial) from None


def could_answer(judge: Callable[[bytes], object], reply: bytes) -> bool:
    """Say whether a reply answers a question, be it by refusing it."""
    try:
        judge(reply)
    except (UnreadableReply, ForeignReply):
        return False
    except ReplyError:
        return True
    return True


@unchanging
class Question:
    """A question in text, ready to be asked again and again.

    Args:
        what: names it, for what is said where its answer does not come.
        match: as ReplyForm.match.
    """

    ask: Ask
    what: str
    match: Callable[[bytes], Match]

    @classmethod
    def of(cls, step: TextStep, eol: bytes) -> Question:
        """Make the question of a step; its ending is not named."""
        assert step.reply is not None, "a command without acknowledgement has no reply to be read"
        form = step.reply
        ask = Ask(step.ask, form.cut, step.within_ns, form.binary, partial(could_answer, form.match))
        return cls(ask, f"asked {quoted(step.ask.rstrip(eol))}", form.match)


def questions(steps: Iterable[Step], eol: bytes) -> dict[int, Question]:
    """Make ready what is asked in text among the steps of a plan.

    By the identity of the step, which lives as long as its plan: to hash one would be to hash its form, each time.
    """
    return {id(step): Question.of(step, eol) for step in steps if isinstance(step, TextStep) and not step.told}


def in_text(step: TextStep, eol: bytes, *, tolerant: bool = False) -> Dialogue[tuple[Match, Replied]]:
    """One exchange in text; `tolerant` throws away replies that are not of its form, until the deadline.

    Raises:
        LinkError, ReplyError: no reply, or not of its form.
    """
    assert step.reply is not None, "a command without acknowledgement has no reply to be read"
    form, question = step.reply, Question.of(step, eol)
    what = question.what
    replied = yield from answered(question.ask, what, step.within_ns)
    for _ in range(MOST_DISCARDED if tolerant else 0):
        try:
            found = form.match(replied.data)
        except ReplyError:
            replied = yield from answered(Again(form.cut), what, step.within_ns)
            continue
        if not replied.owed:
            return found, replied
        replied = yield from still_owed(Again(form.cut), what, step.within_ns, replied.owed)
    return form.match(replied.data), replied


def nothing_behind(barrier: TextStep, eol: bytes) -> Dialogue[None]:
    """See that no answer follows the one that came sooner than it can have been measured: it may be an older one's.

    Whose answer that was shows when the right one comes behind it: ahead of the answer to a question that only one
    reply can answer.

    Raises:
        LinkError: that reply did not come. LinkDesync: another one came first.
    """
    try:
        yield from in_text(barrier, eol)
    except ReplyError as error:
        what = "it answered sooner than it can measure, and another answer came behind that one"
        raise LinkDesync(f"{what}: {error}") from None

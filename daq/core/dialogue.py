"""What a session may want of its wire, and what the wire tells it back.

A dialogue is a generator: it yields one Action at a time and is sent what came of it; what went wrong on the wire
(LinkError) is thrown into it. It never waits and never sees a transport: a test can play it with a list of pairs.

    session (Dialogue) -> Ask, Tell, ... -> open wire -> Replied, Stamp -> session
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from daq.core.cut import Cut
from daq.core.observation import Stamp


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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

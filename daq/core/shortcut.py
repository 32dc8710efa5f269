"""A poll of one exchange, asked and judged at once where everything is as it nearly always is.

What is in any way unusual - another form, a refusal, a number that is not this question's, an answer that came sooner
than it can have been measured - is judged by nobody here: the session's dialogue, which knows them all, goes through
the same exchange again, with the same bytes. Pure.

    PollPlan -> shortcut -> Shortcut -> steady (question, bytes that came) -> readings, or None: by the dialogue
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from daq.core.cut import Cut
from daq.core.dialogue import Question
from daq.core.frames import Frames
from daq.core.modbus import content
from daq.core.observation import Reading, Stamp, Timing
from daq.core.plan import ModePlan, PollPlan, RegisterStep, TextStep
from daq.core.timing import bounder


class Shortcut(Protocol):
    """One poll.

    Attributes:
        cut: where the answer ends.
        within_ns: from the question to the answer's last byte.
        binary: both are to be shown as hex.
        mode: what the instrument must be in before; None where it need not be in any.
        timed: as core.timing.bounder makes it.
    """

    cut: Cut
    within_ns: int
    binary: bool
    mode: ModePlan | None
    timed: Callable[[Stamp, Stamp, Stamp, int], Timing | None]

    def ask(self) -> bytes:
        """Return the question that is to be sent now."""
        ...

    def unask(self) -> None:
        """Have the dialogue begin with the very question that was sent."""
        ...

    def readings(self, came: bytes) -> dict[str, Reading] | None:
        """Judge one whole reply to the question asked last; None where that takes the dialogue."""
        ...


def shortcut(poll: PollPlan, questions: Mapping[int, Question], frames: Frames | None) -> Shortcut | None:
    """Return the shortcut of a poll, None where it has none: it takes several exchanges, or more than asking.

    Args:
        poll: the poll.
        questions: as core.dialogue.questions makes them; what is asked in text.
        frames: what is asked in registers; only where each answer names its question.
    """
    if len(poll.steps) != 1:
        return None
    step = poll.steps[0]
    if isinstance(step, RegisterStep):
        return None if frames is None or not frames.numbered else _InFrames(poll, step, frames)
    return None if step.told or not step.ask else _InText(poll, step, questions[id(step)])


class _InText:
    """A question in text."""

    def __init__(self, poll: PollPlan, step: TextStep, question: Question) -> None:
        self.cut, self.within_ns, self.binary = question.ask.cut, step.within_ns, question.ask.binary
        self.mode, self.timed = poll.mode, bounder(poll.time)
        self._request = step.ask
        self._question = question
        self._poll = poll
        self._straight = poll.straight or _never

    def ask(self) -> bytes:
        return self._request

    def unask(self) -> None:
        pass

    def readings(self, came: bytes) -> dict[str, Reading] | None:
        try:
            readings = self._straight(came)
            return self._poll.readings([self._question.match(came)]) if readings is None else readings
        except Exception:  # noqa: BLE001  whatever it is, the dialogue meets it again, and says what it was
            return None


class _InFrames:
    """A question for one block of registers, with a number of its own."""

    def __init__(self, poll: PollPlan, step: RegisterStep, frames: Frames) -> None:
        self.cut, self.within_ns, self.binary = frames.ready(step).cut, step.within_ns, True
        self.mode, self.timed = poll.mode, bounder(poll.time)
        self._frames = frames
        self._step = step
        self._poll = poll
        self._straight = poll.straight or _never
        self._begins = b""

    def ask(self) -> bytes:
        request, self._begins = self._frames.next(self._step)
        return request

    def unask(self) -> None:
        self._frames.take_back()

    def readings(self, came: bytes) -> dict[str, Reading] | None:
        block = content(came, self._begins)
        if block is None:
            return None
        try:
            readings = self._straight(block)
            return self._poll.readings([block]) if readings is None else readings
        except Exception:  # noqa: BLE001  as in text
            return None


def _never(_: bytes) -> None:
    """Know no way straighter than the general one."""

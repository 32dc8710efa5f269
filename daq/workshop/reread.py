"""Reads replies that came earlier, or might come, through the very path that readings take. Pure.

PollPlan, replies in text -> [readings_of] -> channel -> Reading
"""

from __future__ import annotations

from collections.abc import Sequence

from daq.core.errors import ReplyError
from daq.core.observation import Reading
from daq.core.plan import Match, PollPlan, TextStep


def replies(plan: PollPlan) -> list[TextStep]:
    """Return the steps of a poll that are answered."""
    return [step for step in plan.steps if isinstance(step, TextStep) and step.reply is not None and not step.told]


def readings_of(plan: PollPlan, got: Sequence[str], ending: bytes) -> dict[str, Reading]:
    """Read the replies of a poll.

    Args:
        plan: the poll.
        got: a reply for each step that has one, without its ending.
        ending: of each.

    Raises:
        ReplyError: one of them is refused.
    """
    return plan.readings([matched(step, text, ending) for step, text in zip(replies(plan), got, strict=True)])


def matched(step: TextStep, text: str, ending: bytes) -> Match:
    """Return what one reply holds. Raises ReplyError."""
    assert step.reply is not None
    data = text.encode("latin-1") + ending
    if step.reply.cut(data) != len(data):
        raise ReplyError("not one reply")
    return step.reply.match(data)

"""Damages the replies of a driver's own examples and sees which would still be taken for whole ones.

What is tried is the very path that readings take, checksums and all: the examples are real dialogues, and a damaged
reply is a risk only where another value, or a value in place of a status, comes of it. Pure.

    TextDriver -> [risks] -> poll -> risks in words
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from daq.core.driver import TextDriver
from daq.core.errors import DaqError, ReplyError, quoted
from daq.core.observation import Reading, ReadingStatus
from daq.core.plan import Match, PollPlan, TextStep
from daq.workshop.entry import poll_plan


@dataclass(frozen=True, slots=True)
class _Dialogue:
    """An example that gives readings: the poll, its replies without ending, what comes of them."""

    source: str
    plan: PollPlan
    got: tuple[str, ...]
    readings: Mapping[str, Reading]


def risks(driver: TextDriver) -> dict[str, list[str]]:
    """Return poll -> what damaged or foreign replies it would take, in words; polls without a risk are left out."""
    dialogues = list(_dialogues(driver))
    found: dict[str, dict[str, str]] = {}
    for one in dialogues:
        words = found.setdefault(one.plan.source, {})
        for step, whole in enumerate(one.got):
            for kind, damaged in _damaged(whole):
                if kind not in words and (now := _misread(driver, one, step, damaged)):
                    words[kind] = f"{kind} ({quoted(damaged, 40)} of {quoted(whole, 40)} gives {now})"
    foreign = _foreign(driver, dialogues)
    told = {poll: [*words.values(), *foreign.get(poll, [])] for poll, words in found.items()}
    return {poll: words for poll, words in told.items() if words}


def replies(plan: PollPlan) -> list[TextStep]:
    """Return the steps of a poll that are answered."""
    return [step for step in plan.steps if isinstance(step, TextStep) and step.reply is not None]


def readings_of(plan: PollPlan, got: Sequence[str], ending: bytes) -> dict[str, Reading]:
    """Read the replies of a poll.

    Args:
        plan: the poll.
        got: a reply for each step that has one, without its ending.
        ending: of each.

    Raises:
        ReplyError: one of them is refused.
    """
    answers: list[Match | bytes] = []
    for step, text in zip(replies(plan), got, strict=True):
        assert step.reply is not None
        data = text.encode("latin-1") + ending
        if step.reply.cut(data) != len(data):
            raise ReplyError("not one reply")
        answers.append(step.reply.match(data))
    return plan.readings(answers)


def _dialogues(driver: TextDriver) -> Iterator[_Dialogue]:
    ending = driver.link.eol.encode("latin-1")
    plans: dict[tuple[str, str], PollPlan] = {}
    for example in driver.examples:
        if example.outcome is not None:
            continue
        try:
            key = (example.poll, repr(example.settings))
            plan = plans.get(key) or poll_plan(driver, example.poll, example.settings)
            plans[key] = plan
            found = readings_of(plan, example.got, ending)
        except (DaqError, ValueError):
            continue  # named as a problem already
        yield _Dialogue(example.poll, plan, tuple(example.got), found)


def _damaged(whole: str) -> Iterator[tuple[str, str]]:
    """Give (how, what is left) for each way in which a reply gets lost in part."""
    for cut in range(1, len(whole)):
        yield "one without its first characters", whole[cut:]
    for cut in range(1, len(whole)):
        yield "one without its last characters", whole[:-cut]
    yield "one doubled", whole + whole


def _misread(driver: TextDriver, one: _Dialogue, step: int, reply: str) -> str | None:
    """Return what a wrong reply would read as; None where it is refused, or means the same."""
    got = [*one.got[:step], reply, *one.got[step + 1 :]]
    try:
        readings = readings_of(one.plan, got, driver.link.eol.encode("latin-1"))
    except ReplyError:
        return None
    for name, reading in readings.items():
        if not _same(one.readings.get(name), reading):
            return f"{name} {(reading.value or reading.text or reading.status)[:40]}"
    return None


def _same(right: Reading | None, now: Reading) -> bool:
    if right is None or right.status != now.status or right.unit != now.unit:
        return False
    if right.value is None or now.value is None:
        return right.value == now.value and (right.text == now.text or right.status is not ReadingStatus.OK)
    try:
        return Decimal(right.value) == Decimal(now.value)
    except InvalidOperation:
        return right.value == now.value


def _foreign(driver: TextDriver, dialogues: Sequence[_Dialogue]) -> dict[str, list[str]]:
    """Return poll -> whose answers it would take for its own, in words."""
    found: dict[str, list[str]] = {}
    for one in dialogues:
        if one.plan.source in found or not one.plan.every_ns:
            continue
        takes = {
            other.plan.source
            for other in dialogues
            if other.plan.source != one.plan.source and other.plan.every_ns and _takes(driver, one, other)
        }
        if takes:
            found[one.plan.source] = [f"the answer to {', '.join(sorted(takes))}"]
    return found


def _takes(driver: TextDriver, one: _Dialogue, other: _Dialogue) -> bool:
    """Whether a step of one poll would take a reply to another question of the other."""
    asked = [step.ask for step in replies(one.plan)]
    apart = driver.polls[one.plan.source].mode != driver.polls[other.plan.source].mode
    return any(
        (apart or ask != step.ask) and _misread(driver, one, place, reply) is not None
        for place, ask in enumerate(asked)
        for step, reply in zip(replies(other.plan), other.got, strict=True)
    )

"""Damages the replies of a driver's own examples in every small way and counts which would still be taken for readings.

Head or tail lost, one character lost, doubled or put in, a field lost or doubled, the reply glued to itself, the answer
to another question. What is tried is the very path that readings take, checksums and all, and a damaged reply counts
only where another value, or a value in place of a status, comes of it. Three kinds, told apart by what was hit:

    loose    the value was taken from elsewhere, or past a checksum: the template is too loose
    column   a number that always takes as many characters: with its width the template would see the loss
    digits   a digit of a number of free width, a letter of a word: nothing on such a line shows it

    TextDriver -> [damages] -> poll -> Damage (how many, examples, cures) -> findings
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal

from daq.core import template
from daq.core.driver import TextDriver
from daq.core.errors import DaqError, ReplyError, quoted
from daq.core.observation import Reading, ReadingStatus
from daq.core.plan import Match, PollPlan, TextStep
from daq.core.template import NUMBERS, Template
from daq.core.text_readings import WholeReply
from daq.workshop.entry import poll_plan
from daq.workshop.reread import matched, readings_of, replies

Kind = Literal["loose", "column", "digits"]

WORDS = frozenset({"text", "word", "quoted"})

PUT_IN = "17.-, E"
"""Characters that are put in at every place: what numbers and separators are made of."""


@dataclass(slots=True)
class Damage:
    """What came of the damaged replies of one poll.

    Args:
        tried: how many there were.
        passed: kind -> how many of them would be read as something else.
        shown: kind -> the first of them, in words.
        columns: fields that a width would guard, as the template should have them.
        hit: fields whose digits or letters may be lost unseen.
        foreign: polls whose answers would be taken for this one's.
    """

    tried: int = 0
    passed: dict[Kind, int] = field(default_factory=dict)
    shown: dict[Kind, str] = field(default_factory=dict)
    columns: dict[str, None] = field(default_factory=dict)
    hit: dict[str, None] = field(default_factory=dict)
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Dialogue:
    """An example that gives readings: the poll, its replies without ending, what they hold and what comes of them."""

    plan: PollPlan
    got: tuple[str, ...]
    matches: tuple[Match, ...]
    readings: Mapping[str, Reading]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a field stands in a reply.

    Args:
        column: characters with the blanks before it that the template does not ask for.
    """

    part: template.Field
    text: str
    column: int


def damages(driver: TextDriver) -> dict[str, Damage]:
    """Return poll -> what came of damaging the replies of its examples."""
    ending = driver.link.eol.encode("latin-1")
    dialogues = list(_dialogues(driver, ending))
    widths = _columns(dialogues)
    found: dict[str, Damage] = {}
    tried: set[tuple[str, int, str]] = set()
    for one in dialogues:
        damage = found.setdefault(one.plan.source, Damage())
        for step, whole in enumerate(one.got):
            if (one.plan.source, step, whole) not in tried:
                tried.add((one.plan.source, step, whole))
                _strike(damage, one, step, ending, widths)
    for poll, damage in found.items():
        damage.foreign = _foreign(poll, dialogues, ending)
    return found


def _dialogues(driver: TextDriver, ending: bytes) -> Iterator[_Dialogue]:
    plans: dict[tuple[str, str], PollPlan] = {}
    for example in driver.examples:
        if example.outcome is not None:
            continue
        try:
            key = (example.poll, repr(example.settings))
            plan = plans.get(key) or poll_plan(driver, example.poll, example.settings)
            plans[key] = plan
            readings = readings_of(plan, example.got, ending)
            matches = [matched(step, got, ending) for step, got in zip(replies(plan), example.got, strict=True)]
        except (DaqError, ValueError):
            continue  # named as a problem already
        yield _Dialogue(plan, tuple(example.got), tuple(matches), readings)


# Damaging -------------------------------------------------------------------------------------------------------------


def edits(whole: str) -> set[str]:
    """Return a reply damaged in every small way."""
    places = range(len(whole))
    pieces = re.split("([,; ]+)", whole)
    found = {whole[at:] for at in places} | {whole[:at] for at in places}
    found |= {whole[:at] + whole[at + 1 :] for at in places}
    found |= {whole[:at] + char + whole[at:] for at in range(len(whole) + 1) for char in PUT_IN}
    found |= {whole[:at] + whole[at] + whole[at:] for at in places}
    found |= {"".join(pieces[:at] + pieces[at + 2 :]) for at in range(0, len(pieces), 2)}
    found |= {"".join(pieces[: at + 2] + pieces[at:]) for at in range(0, len(pieces) - 1, 2)}
    return (found | {whole + whole}) - {whole, ""}


def _strike(damage: Damage, one: _Dialogue, step: int, ending: bytes, widths: Mapping[str, int]) -> None:
    """Damage one reply of a dialogue in every way, and note what would be read of it."""
    whole = one.got[step]
    for text in sorted(edits(whole)):
        damage.tried += 1
        said = _misread(one, step, text, ending)
        if said is None:
            continue
        kind, part = _kind(_form(one, step), whole, text, ending, widths)
        damage.passed[kind] = damage.passed.get(kind, 0) + 1
        damage.shown.setdefault(kind, f"{quoted(text, 60)} in place of {quoted(whole, 60)} gives {said}")
        if kind == "column" and part is not None:
            damage.columns[f"{{{part.name or ''}:{part.type}:{widths[_key(part)]}}}"] = None
        elif kind == "digits" and part is not None and part.name is not None:
            damage.hit[part.name] = None


def _form(one: _Dialogue, step: int) -> WholeReply:
    form = replies(one.plan)[step].reply
    assert form is not None
    assert isinstance(form.match, WholeReply), "text is matched by templates"
    return form.match


def _misread(one: _Dialogue, step: int, reply: str, ending: bytes) -> str | None:
    """Return what a wrong reply would read as; None where it is refused, or means the same."""
    asked = replies(one.plan)[step]
    if not _form(one, step).fits(reply.encode("latin-1") + ending):
        return None
    try:
        answers = [*one.matches[:step], matched(asked, reply, ending), *one.matches[step + 1 :]]
        readings = one.plan.readings(answers)
    except ReplyError:
        return None
    for name, reading in readings.items():
        if reading.status is ReadingStatus.OK and not _same(one.readings.get(name), reading):
            return f"{name} {(reading.value or reading.text)[:40]}"
    return None


def _same(right: Reading | None, now: Reading) -> bool:
    if right is None or right.status != now.status or right.unit != now.unit:
        return False
    if right.value is None or now.value is None:
        return right.value == now.value and right.text == now.text
    try:
        return Decimal(right.value) == Decimal(now.value)
    except InvalidOperation:
        return right.value == now.value


# Which kind -----------------------------------------------------------------------------------------------------------


def _kind(
    form: WholeReply, whole: str, damaged: str, ending: bytes, widths: Mapping[str, int]
) -> tuple[Kind, template.Field | None]:
    """Return what was hit: the one field whose text lost, doubled or gained characters, or more than that."""
    right, wrong = _shape_of(form, whole, ending), _shape_of(form, damaged, ending)
    if right is None or right is not wrong or right.checksums:
        return "loose", None
    changed = [
        (before.part, before.text, after.text)
        for before, after in zip(_places(right, whole, ending), _places(right, damaged, ending), strict=True)
        if before.text != after.text and before.part.type != "blanks"
    ]
    if len(changed) != 1:
        return "loose", None
    part, before_it, after_it = changed[0]
    if part.type not in WORDS and not _mangled(before_it, after_it):
        return "loose", None
    if part.type in NUMBERS and part.width is None and _key(part) in widths:
        return "column", part
    return "digits", part


def _mangled(right: str, wrong: str) -> bool:
    """Whether a text is another one that lost head or tail, that lost or gained a character, or that stands twice."""
    if right.startswith(wrong) or right.endswith(wrong) or wrong == right + right:
        return True
    return _one_apart(right, wrong) or _one_apart(right.replace(" ", ""), wrong.replace(" ", ""))  # a sign stands apart


def _one_apart(one: str, other: str) -> bool:
    """Whether one text is the other with a character more."""
    short, long = sorted((one, other), key=len)
    head = next((at for at, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]), len(short))
    return len(long) == len(short) + 1 and short[head:] == long[head + 1 :]


def _shape_of(form: WholeReply, text: str, ending: bytes) -> Template | None:
    data = text.encode("latin-1") + ending
    return next((shape.template for shape in form.shapes if shape.template.fields(data) is not None), None)


def _places(shape: Template, text: str, ending: bytes) -> list[_Place]:
    """Return where the fields of a reply stand that a template matches."""
    whole = text + ending.decode("latin-1")
    found = shape.pattern.fullmatch(whole)
    assert found is not None, "it matched before"
    places, group, before = [], 0, ""
    for part in shape.parts:
        if isinstance(part, template.Literal):
            before = part.text
            continue
        group += 1
        start, end = found.span(group)
        room = start - len(whole[:start].rstrip(" ")) - (len(before) - len(before.rstrip(" ")))
        places.append(_Place(part, found[group], end - start + max(room, 0)))
        before = ""
    return places


def _columns(dialogues: Sequence[_Dialogue]) -> dict[str, int]:
    """Return field -> its width, of numbers that always take as many characters, as far as the examples show.

    A sign that is always printed, or blanks in front, speak for a column; numbers that happen to be of one length do
    not, and a width that is not the instrument's would refuse good readings.
    """
    seen: dict[str, list[_Place]] = {}
    for one in dialogues:
        for step, got in enumerate(one.got):
            form = _form(one, step)
            shape = _shape_of(form, got, form.eol)
            for place in [] if shape is None else _places(shape, got, form.eol):
                if place.part.type in NUMBERS and place.part.width is None:
                    seen.setdefault(_key(place.part), []).append(place)
    return {
        key: places[0].column
        for key, places in seen.items()
        if len({place.column for place in places}) == 1 and any(_in_a_column(place) for place in places)
    }


def _in_a_column(place: _Place) -> bool:
    return place.column > len(place.text) or place.text.startswith("+")


def _key(part: template.Field) -> str:
    return f"{part.name}:{part.type}"


# Answers to other questions -------------------------------------------------------------------------------------------


def _foreign(poll: str, dialogues: Sequence[_Dialogue], ending: bytes) -> tuple[str, ...]:
    """Return the polls whose answers a poll would take for its own."""
    own = next((one for one in dialogues if one.plan.source == poll and one.plan.every_ns), None)
    if own is None:
        return ()
    others = [one for one in dialogues if one.plan.source != poll and one.plan.every_ns]
    return tuple(sorted({other.plan.source for other in others if _takes(own, other, ending)}))


def _takes(one: _Dialogue, other: _Dialogue, ending: bytes) -> bool:
    """Whether a step of one poll would take a reply to another question of the other."""
    modes = [each.plan.mode.name if each.plan.mode is not None else None for each in (one, other)]
    apart = modes[0] != modes[1]
    asked: list[TextStep] = replies(one.plan)
    return any(
        (apart or ask.ask != step.ask) and _misread(one, place, reply, ending) is not None
        for place, ask in enumerate(asked)
        for step, reply in zip(replies(other.plan), other.got, strict=True)
    )

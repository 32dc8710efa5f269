"""Turns text replies into readings: which shape a reply has, what it says of each channel, or why it says nothing.

A reply that matches no shape as a whole gives nothing; one that answers another of the instrument's questions is named
so. Values keep the instrument's digits. Pure; all of it is settled when the driver is compiled.

    reply (bytes) -> [WholeReply] -> Match -> [TextChannelReader.read] -> Reading -> session
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Literal

from daq.core.cut import Cut, ends_with, exactly
from daq.core.errors import (
    BusyReply,
    ForeignReply,
    RefusedReply,
    ReplyError,
    UnexpectedAck,
    UnreadableReply,
    quoted,
)
from daq.core.near_miss import far_as, near_miss
from daq.core.number import json_number
from daq.core.observation import Flag, Kind, Reading, ReadingStatus
from daq.core.plan import Answer, Match, ReplyForm
from daq.core.template import Literal as Fixed
from daq.core.template import Template, TemplateError
from daq.core.template_parts import solid

_GOOD, _NUMBER = ReadingStatus.OK, Kind.NUMBER  # found once, as observation.OK

EXACT = Context(prec=200)
"""Scaling never rounds: no factor and no reading have together more digits."""

_ANOTHER_STATE = "was the instrument set to that one at its front panel, or by its menu?"


@dataclass(frozen=True, slots=True)
class Shape:
    """One of the shapes of a reply.

    Args:
        status: of the channels it does not hold, None where it holds all.
        outcome: busy or instrument_error where such a reply holds no reading.
        assumes_unit: it prints no unit, and the driver says that it is the declared one.
    """

    template: Template
    flags: tuple[Flag, ...] = ()
    status: ReadingStatus | None = None
    outcome: Literal["busy", "instrument_error"] | None = None
    assumes_unit: bool = False


@dataclass(slots=True)
class WholeReply:
    """Matches whole replies to one question; the callable of a ReplyForm.

    Args:
        asked: the question, for messages.
        shapes: tried in order.
        eol: of the replies.
        others: the instrument's other questions, filled in when all are known; only looked at when nothing matches.
        strangers: questions whose replies this one must not be taken for; only barriers have them.
        acknowledges: it is what a command is answered with.
        binary: some shape holds bytes that are no characters.
    """

    asked: str
    shapes: tuple[Shape, ...]
    eol: bytes
    others: list[WholeReply] = dataclasses.field(default_factory=list, repr=False, compare=False)
    strangers: list[WholeReply] = dataclasses.field(default_factory=list, repr=False, compare=False)
    acknowledges: bool = False
    binary: bool = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.binary = any(shape.template.in_bytes for shape in self.shapes)

    def __call__(self, reply: bytes) -> Match:
        """Return what the reply holds.

        Raises:
            UnreadableReply: no shape matches the whole of it.
            ForeignReply: it is the answer to another question.
            BusyReply, RefusedReply: the instrument says so.
        """
        for shape in self.shapes:
            fields = shape.template.fields(reply)
            if fields is None:
                continue
            if self.strangers and any(other.fits(reply) for other in self.strangers):
                break
            if shape.outcome is not None:
                raise _OUTCOMES[shape.outcome](f"asked {quoted(self.asked)}, got {quoted(reply)}")
            text = reply.hex(" ") if self.binary else reply[: len(reply) - len(self.eol)].decode("latin-1")
            return Match(fields, shape.flags, shape.status, text)
        raise self._refusal(reply)

    def fits(self, reply: bytes) -> bool:
        """Whether some shape matches the whole reply."""
        return any(shape.template.fields(reply) is not None for shape in self.shapes)

    def _refusal(self, reply: bytes) -> ReplyError:
        got = f"asked {quoted(self.asked)}, got {quoted(reply)}"
        for other in (*self.others, *self.strangers):
            if other is self or not other.fits(reply):
                continue
            if other.asked == self.asked:
                return UnreadableReply(f"{got}, which is how a poll that asks the same reads it: {_ANOTHER_STATE}")
            how = f"which is how {quoted(other.asked)} is answered"
            return ForeignReply(f"{got}, {how}; its driver expects {self._expected()}")
        if self.acknowledges:
            expected = self.shapes[0].template.source
            return UnexpectedAck(f"told {quoted(self.asked)}, got {quoted(reply)}; its driver expects {expected!r}")
        nearly = next((why for shape in self.shapes if (why := near_miss(shape.template, reply))), None)
        if nearly is not None:
            return UnreadableReply(f"{got}: {nearly}")
        far = far_as([shape.template for shape in self.shapes], reply)
        return UnreadableReply(f"{got}; its driver expects {self._expected()} and then {self.eol!r}{far}")

    def _expected(self) -> str:
        return " or ".join(repr(shape.template.source) for shape in self.shapes[:3])


_OUTCOMES = {"busy": BusyReply, "instrument_error": RefusedReply}


def reply_form(whole: WholeReply) -> ReplyForm:
    """Make the form that a session reads by.

    Raises:
        TemplateError: replies without an ending, and not all of the same length.
    """
    shape = " | ".join(shape.template.shape for shape in whole.shapes)
    return ReplyForm(_cut(whole), whole, shape, whole.binary)


def _cut(whole: WholeReply) -> Cut:
    if whole.eol and not whole.binary:
        return ends_with(whole.eol)
    lengths = {shape.template.length for shape in whole.shapes}
    length = lengths.pop()
    if length is not None and not lengths:
        return exactly(length + len(whole.eol))
    ends = {_last_mark(shape.template, whole.eol) for shape in whole.shapes}
    end = ends.pop()
    if end is not None and not ends:
        return ends_with(*end)
    why = "a byte of it may look like link.eol" if whole.eol else "link.eol is empty"
    raise TemplateError(
        f"{why}, so all shapes of the reply must have one fixed length: give each field a width. Or all of them end "
        'alike, with a control character, such as ETX ("\\x03"), that stands nowhere else, and as many bytes behind it.'
    )


def _last_mark(template: Template, eol: bytes) -> tuple[bytes, int] | None:
    """Return the control character after which a reply has a fixed number of bytes left, and that number.

    Nothing that prints characters can hold it; where a byte of any kind may come before it, there is none.
    """
    mark, behind, found = b"", len(eol), ""
    for part in reversed(solid(template.parts)):
        if found:
            whole = part.text if isinstance(part, Fixed) else ""
            if found in whole or (not isinstance(part, Fixed) and part.in_bytes):
                return None
        elif isinstance(part, Fixed):
            head, found = part.text[:-1], part.text[-1]
            if not re.fullmatch(r"[\x00-\x1f\x7f]", found) or found in head:
                return None
            mark = found.encode("latin-1")
        elif part.width is None:
            return None
        else:
            behind += part.width
    return (mark, behind) if found else None


# Channels -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusCode:
    """A field that tells how a value is to be read.

    Args:
        step: index of the answer it stands in.
        masks: (mask, status) for a field of bits, in the driver's order: the first that is set counts.
        codes: code -> status for any other field; a code that is not listed is invalid, if `ok` is listed.
    """

    step: int
    field: str
    base: int
    masks: tuple[tuple[int, ReadingStatus], ...] = ()
    codes: Mapping[str, ReadingStatus] = dataclasses.field(default_factory=dict)

    def status(self, answer: Match) -> ReadingStatus:
        """Return what the code says of the value; ok where it says nothing."""
        code = answer.fields.get(self.field)
        if code is None:
            return _GOOD
        if self.masks:
            bits = bits_of(code, self.base)
            return next((status for mask, status in self.masks if bits & mask), _GOOD)
        unlisted = ReadingStatus.INVALID if _GOOD in self.codes.values() else _GOOD
        return self.codes.get(plain_code(code), unlisted)


@dataclass(frozen=True, slots=True)
class FlagBits:
    """A field of bits that casts doubts on a value.

    Args:
        step: index of the answer it stands in.
        marks: (mask, whether its bits ought to be set, flag where they are not so).
    """

    step: int
    field: str
    base: int
    marks: tuple[tuple[int, bool, Flag], ...]

    def flags(self, answer: Match) -> list[Flag]:
        """Return the doubts, in the driver's order; none where the answer has no such field."""
        code = answer.fields.get(self.field)
        if code is None:
            return []
        bits = bits_of(code, self.base)
        return [flag for mask, wanted, flag in self.marks if (bits & mask) != (mask if wanted else 0)]


@dataclass(frozen=True, slots=True)
class FlagWords:
    """A field of a word, or a number, that casts doubts on a value.

    Args:
        step: index of the answer it stands in.
        marks: (word, whether it ought to be this one, flag where it is not so).
    """

    step: int
    field: str
    marks: tuple[tuple[str, bool, Flag], ...]

    def flags(self, answer: Match) -> list[Flag]:
        """Return the doubts, in the driver's order; none where the answer has no such field."""
        code = answer.fields.get(self.field)
        return (
            [] if code is None else [flag for word, wanted, flag in self.marks if (plain_code(code) == word) != wanted]
        )


@dataclass(frozen=True, slots=True)
class TextChannelReader:
    """How one channel is read from the answers of a poll.

    Args:
        step, field: where its characters stand; base 16 for fields of type hex and hexs, else 10.
        signed: hexadecimal digits are a two's complement. comma: decimals stand behind a comma.
        units: what the instrument may print for a unit -> UCUM code.
        unit_field: field that prints the unit; None where it prints none. unit_step: the answer it stands in.
        specials: numbers that mean a status; words: what is printed in place of a number and means one.
        enum: code -> meaning.
        plausible: [low, high] in `unit`; None where everything is.
    """

    name: str
    step: int
    field: str
    base: int
    quantity: str
    unit: str
    kind: Kind
    role: str | None
    unit_field: str | None = None
    unit_step: int = 0
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    specials: Mapping[Decimal, ReadingStatus] = dataclasses.field(default_factory=dict)
    words: Mapping[str, ReadingStatus] = dataclasses.field(default_factory=dict)
    codes: tuple[StatusCode, ...] = ()
    doubts: tuple[FlagBits | FlagWords, ...] = ()
    enum: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scale: Decimal | None = None
    plausible: tuple[Decimal, Decimal] | None = None
    signed: bool = False
    comma: bool = False

    def read(self, answers: Sequence[Answer]) -> Reading:
        """Return the reading.

        Raises:
            UnreadableReply: its characters are no number, no known code or no known unit.
        """
        answer = answers[self.step]
        assert isinstance(answer, Match), "text steps bring matches"
        text = answer.fields.get(self.field)
        unit = self.unit if self.unit_field is None else self._unit(answers)
        if text is None:
            return self._reading(None, answer.text, unit, answer.status or ReadingStatus.ABSENT, answer.flags)
        status = self._coded(answers) if self.codes else _GOOD
        flags = self._doubted(answers, answer.flags) if self.doubts else answer.flags
        if self.kind is not _NUMBER:
            return self._reading(None, self._meaning(text), unit, status, flags)
        if self.words or self.specials:
            special = self._special(text)
            status = status if status is not _GOOD else special
        if status is not _GOOD:
            return self._reading(None, text, unit, status, flags)
        digits = text if self.base == 10 and not self.comma else self._decimal(text)
        value = json_number(digits) if self.scale is None else self._scaled(digits, self.scale)
        if self.plausible is not None and unit == self.unit:
            low, high = self.plausible
            flags = flags if low <= Decimal(value) <= high else _implausible(flags)
        return Reading(value, text, unit, self.quantity, status, flags, _NUMBER, self.role)

    def _reading(
        self, value: str | None, text: str, unit: str, status: ReadingStatus, flags: tuple[Flag, ...]
    ) -> Reading:
        return Reading(value, text, unit, self.quantity, status, flags, self.kind, self.role)

    def _unit(self, answers: Sequence[Answer]) -> str:
        answer = answers[self.unit_step]
        assert isinstance(answer, Match), "text steps bring matches"
        if self.unit_field is None or self.unit_field not in answer.fields:
            return self.unit
        printed = answer.fields[self.unit_field].strip()
        if printed not in self.units:
            known = ", ".join(repr(unit) for unit in self.units)
            raise UnreadableReply(
                f"{self.name}: the instrument answered in {quoted(printed)}; its driver knows {known}"
            )
        return self.units[printed]

    def _coded(self, answers: Sequence[Answer]) -> ReadingStatus:
        for code in self.codes:
            answer = answers[code.step]
            assert isinstance(answer, Match), "text steps bring matches"
            status = code.status(answer)
            if status is not _GOOD:
                return status
        return _GOOD

    def _doubted(self, answers: Sequence[Answer], flags: tuple[Flag, ...]) -> tuple[Flag, ...]:
        """Return the flags of the reply's shape and those that bits of any answer add, each once."""
        found = list(flags)
        for doubt in self.doubts:
            answer = answers[doubt.step]
            assert isinstance(answer, Match), "text steps bring matches"
            found += doubt.flags(answer)
        return tuple(dict.fromkeys(found))

    def _meaning(self, text: str) -> str:
        """Return what stands in `text`: the word, the meaning of a code, the bits as a decimal number."""
        if self.kind is Kind.BITS:
            return str(bits_of(text, self.base))
        if self.kind is not Kind.ENUM:
            return text
        if text not in self.enum:
            known = ", ".join(repr(code) for code in self.enum)
            raise UnreadableReply(f"{self.name}: the instrument answered {quoted(text)}; its driver knows {known}")
        return self.enum[text]

    def _special(self, text: str) -> ReadingStatus:
        if text in self.words:
            return self.words[text]
        if not self.specials:
            return _GOOD
        try:
            return self.specials.get(Decimal(self._decimal(text)), _GOOD)
        except ArithmeticError:
            return _GOOD  # json_number judges what is no decimal

    def _decimal(self, text: str) -> str:
        """Write the digits that were sent as a decimal with a point."""
        if self.base == 16:
            number = bits_of(text, 16)
            return str(number - (1 << 4 * len(text)) if self.signed and number >> 4 * len(text) - 1 else number)
        return text.replace(",", ".") if self.comma else text

    def _scaled(self, digits: str, scale: Decimal) -> str:
        json_number(digits)
        return json_number(str(EXACT.multiply(Decimal(digits), scale)))


def _implausible(flags: tuple[Flag, ...]) -> tuple[Flag, ...]:
    return flags if Flag.IMPLAUSIBLE in flags else (*flags, Flag.IMPLAUSIBLE)


def bits_of(text: str, base: int) -> int:
    """Read a field of type bits (base 10) or hex (base 16, perhaps after 0x or #H).

    Raises:
        UnreadableReply: it is neither.
    """
    digits = text[2:] if base == 16 and text[:2].lower() in {"0x", "#h"} else text
    try:
        return int(digits, base)
    except ValueError:
        raise UnreadableReply(f"{quoted(text)} is not a number of base {base}") from None


def plain_code(code: str) -> str:
    """Write a code as drivers do: +0 and 00 are 0."""
    stripped = code.strip()
    return str(int(stripped)) if stripped.lstrip("+-").isdigit() and stripped.isascii() else stripped

"""Turns the contents of registers into decimals, words and bits, exactly.

Integers of 64 bits stay whole, a float32 prints as the shortest decimal that gives the same float32, scaling is done in
decimals. Contents that mean "not available" are told apart before any number is made of them. Pure.

    core.modbus (bytes) -> [Layout.read] -> Raw -> [RegisterReader.read] -> Reading -> session

Orders: the letters are the bytes of the value, A the highest, in the order in which they arrive.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Literal

from daq.core.number import MAX_PLAIN, PLAIN, json_number
from daq.core.observation import Flag, Kind, Reading, ReadingStatus
from daq.core.plan import Answer
from daq.core.register_map import RegisterType, WordOrder

WORDS = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}
WORDS |= {"bcd16": 1, "bcd32": 2, "bcd64": 4}
"""Registers that each type takes; strings and bits say their own length."""

ORDERS = {  # order -> (words from the last to the first, bytes of each word swapped)
    "ABCD": (False, False),
    "CDAB": (True, False),
    "BADC": (False, True),
    "DCBA": (True, True),
    "ABCDEFGH": (False, False),
    "GHEFCDAB": (True, False),
    "BADCFEHG": (False, True),
    "HGFEDCBA": (True, True),
}

_GOOD, _NUMBER = ReadingStatus.OK, Kind.NUMBER  # found once, as observation.OK

EXACT = Context(prec=400)
"""No product of a register and its factors has more digits: nothing is rounded."""

ROUNDED = Context(prec=120)
"""More digits than any quotient of numbers in registers has that ends: what differs from it does not end."""

ENDLESS = Context(prec=20)

MAX_EXPONENT = 30
"""A register that scales by more powers of ten than this, up or down, holds no exponent."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a value stands in the answers of a poll, and how.

    Args:
        step: index of the answer.
        offset: of its first byte; of its first bit, for coils and discrete inputs.
        length: bytes; bits for coils and discrete inputs.
        coils: the answer holds packed bits.
    """

    step: int
    offset: int
    length: int
    type: RegisterType
    order: WordOrder = "ABCD"
    coils: bool = False

    def content(self, answers: Sequence[Answer]) -> bytes:
        """Return the value's bytes, the highest first."""
        answer = answers[self.step]
        assert isinstance(answer, bytes), "register steps bring bytes"
        if self.coils:
            bits = int.from_bytes(answer, "little") >> self.offset & (1 << self.length) - 1
            return bits.to_bytes((self.length + 7) // 8, "big")
        return ordered(answer[self.offset : self.offset + self.length], self.order)


def ordered(content: bytes, order: WordOrder) -> bytes:
    """Put bytes as they arrived into the order of their worth, the highest first."""
    backwards, swapped = ORDERS[order]
    if not backwards and not swapped:
        return content
    words = [content[at : at + 2] for at in range(0, len(content), 2)]
    if swapped:
        words = [word[::-1] for word in words]
    if backwards:
        words.reverse()
    return b"".join(words)


def decoded(content: bytes, kind: RegisterType) -> str | None:
    """Return a value as text: a decimal, or the characters of a string; None where it is none (NaN, digit above 9).

    Args:
        content: the value's bytes, the highest first.
        kind: its type.
    """
    if kind == "string":
        return content.split(b"\0", 1)[0].decode("latin-1").strip()
    if kind == "float32":
        return shortest_float32(struct.unpack(">f", content)[0])
    if kind == "float64":
        return shortest_float64(struct.unpack(">d", content)[0])
    if kind.startswith("bcd"):
        digits = content.hex()
        return str(int(digits)) if digits.isdecimal() else None
    return str(int.from_bytes(content, "big", signed=kind.startswith("int")))


Scaling = Literal["range_from", "scale_from", "decimals_from", "times_from", "divisor_from"]
"""What the content of a register does to a value: spreads it over a range, times ten to it, divided by ten to it, times
it, divided by it."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A register that a value is scaled by.

    Args:
        codes: raw contents, as unsigned numbers, that mean not available.
        again: where the same register was read once more, behind the value; None where one request brought both. A
            meter may have changed its range between two requests, and the value would be wrong by a power of ten.
        ranges: its content -> what no count and all counts mean; all_counts: how many these are.
    """

    layout: Layout
    way: Scaling
    codes: frozenset[int] = frozenset()
    again: Layout | None = None
    ranges: Mapping[int, tuple[Decimal, Decimal]] = field(default_factory=dict)
    all_counts: Decimal = Decimal(1)

    def scaled(self, number: Decimal, answers: Sequence[Answer]) -> Decimal | None:
        """Return the number scaled; None where the register holds nothing that a value can be scaled by, or changed.

        A factor of zero is one that was never set: whatever it were applied to would read zero.
        """
        content = self.layout.content(answers)
        if self.again is not None and self.again.content(answers) != content:
            return None
        text = decoded(content, self.layout.type)
        if text is None or int.from_bytes(content, "big") in self.codes:
            return None
        if self.way == "range_from":
            return self._spread(number, int.from_bytes(content, "big"))
        by = Decimal(text)
        if self.way in ("scale_from", "decimals_from"):
            whole = by == by.to_integral_value() and abs(by) <= MAX_EXPONENT
            return EXACT.scaleb(number, int(by if self.way == "scale_from" else -by)) if whole else None
        if by == 0:
            return None
        return EXACT.multiply(number, by) if self.way == "times_from" else quotient(number, by)

    def _spread(self, counts: Decimal, code: int) -> Decimal | None:
        """Return where counts lie in a range; None where it is not known."""
        if code not in self.ranges:
            return None
        low, high = self.ranges[code]
        return EXACT.add(low, quotient(EXACT.multiply(counts, EXACT.subtract(high, low)), self.all_counts))


def quotient(number: Decimal, by: Decimal) -> Decimal:
    """Divide; a quotient that no decimal shows whole is rounded to 20 digits, more than a double holds."""
    near = ROUNDED.divide(number, by)
    return near if EXACT.multiply(near, by) == number else ENDLESS.divide(number, by)


@dataclass(frozen=True, slots=True)
class RegisterReader:
    """How one channel is read.

    Args:
        codes: raw content as an unsigned number -> status (not available, over range).
        scale: exact factor; None where there is none.
        factors: registers that it is scaled by as well.
        enum: number -> meaning.
        plausible: [low, high] in the channel's unit, after scaling.
    """

    layout: Layout
    quantity: str
    unit: str
    kind: Kind
    role: str | None
    codes: Mapping[int, ReadingStatus] = field(default_factory=dict)
    scale: Decimal | None = None
    factors: tuple[Factor, ...] = ()
    enum: Mapping[str, str] = field(default_factory=dict)
    plausible: tuple[Decimal, Decimal] | None = None

    def read(self, answers: Sequence[Answer]) -> Reading:
        """Return the reading. `text` is the decimal or the word; the raw content in hex where there is neither."""
        content = self.layout.content(answers)
        status = self.codes.get(int.from_bytes(content, "big"), _GOOD) if self.codes else _GOOD
        text = decoded(content, self.layout.type)
        if status is _GOOD and text is None:
            status = ReadingStatus.INVALID
        if self.kind is Kind.ENUM and status is _GOOD and text not in self.enum:
            status = ReadingStatus.INVALID
        if status is not _GOOD or text is None:
            return Reading(None, f"0x{content.hex()}", self.unit, self.quantity, status, (), self.kind, self.role)
        if self.kind is not _NUMBER:
            word = self.enum[text] if self.kind is Kind.ENUM else text
            return Reading(None, word, self.unit, self.quantity, status, (), self.kind, self.role)
        return self._number(text, answers)

    def _number(self, text: str, answers: Sequence[Answer]) -> Reading:
        if self.scale is not None or self.factors:
            scaled = self._scaled(Decimal(text), answers)
            if scaled is None:
                unscaled = (None, text, self.unit, self.quantity, ReadingStatus.INVALID, (), self.kind, self.role)
                return Reading(*unscaled)
            text = json_number(plain(scaled))  # which refuses what no double holds
        flags: tuple[Flag, ...] = ()
        if self.plausible is not None and not self.plausible[0] <= Decimal(text) <= self.plausible[1]:
            flags = (Flag.IMPLAUSIBLE,)
        return Reading(text, text, self.unit, self.quantity, _GOOD, flags, self.kind, self.role)

    def _scaled(self, number: Decimal, answers: Sequence[Answer]) -> Decimal | None:
        """Scale; None where a register that it is scaled by holds no number. Divisions come last: they may round."""
        found: Decimal | None = number if self.scale is None else EXACT.multiply(number, self.scale)
        for factor in self.factors:
            found = None if found is None else factor.scaled(found, answers)
        return found


PACKED = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
PACKED |= {"float32": "f", "float64": "d"}
"""Types that struct reads as they are."""


@dataclass(frozen=True, slots=True)
class NumberReader:
    """How a channel is read that is a number in one piece: most channels of most devices.

    Args:
        step: index of the answer.
        offset: of its first byte.
        written: see text_of.
        general: how it is read where there is more to be said.
    """

    step: int
    offset: int
    packed: struct.Struct
    written: Written
    quantity: str
    unit: str
    role: str | None
    general: RegisterReader

    def read(self, answers: Sequence[Answer]) -> Reading:
        """Return the reading, as RegisterReader would."""
        answer = answers[self.step]
        assert isinstance(answer, bytes), "register steps bring bytes"
        text = self.written(self.packed.unpack_from(answer, self.offset)[0])
        if text is None:
            return self.general.read(answers)
        return Reading(text, text, self.unit, self.quantity, _GOOD, (), _NUMBER, self.role)


def quickest(reader: RegisterReader) -> RegisterReader | NumberReader:
    """Choose, once, what reads a channel: where struct reads its register, few need be looked at twice."""
    layout = reader.layout
    if reader.kind is not _NUMBER or reader.factors or layout.coils or layout.type not in PACKED:
        return reader
    backwards, swapped = ORDERS[layout.order]
    if WORDS[layout.type] > 1 and backwards != swapped:
        return reader
    packed = struct.Struct(("<" if swapped else ">") + PACKED[layout.type])
    written = text_of(reader)
    return NumberReader(layout.step, layout.offset, packed, written, reader.quantity, reader.unit, reader.role, reader)


Written = Callable[[float], str | None]
"""A number as struct reads it, whole ones as int -> the text of its reading, scaled; None where more is to be said."""


def text_of(reader: RegisterReader) -> Written:
    """Make what writes the numbers of a channel that no other register scales."""
    layout = reader.layout
    as_it_is = _AS_IT_IS.get(layout.type, str)
    if not reader.codes and reader.scale is None and reader.plausible is None:
        return as_it_is
    codes = {struct.unpack(f">{PACKED[layout.type]}", code.to_bytes(layout.length, "big"))[0] for code in reader.codes}
    usual, scale = between(reader.plausible), reader.scale

    def written(number: float) -> str | None:
        text = None if number in codes else as_it_is(number)
        if text is None:
            return None
        if scale is not None:
            text = str(EXACT.multiply(Decimal(text), scale))
            if len(text) > MAX_PLAIN or not PLAIN.fullmatch(text):
                return None
        return text if usual is None or usual[0] < float(text) < usual[1] else None

    return written


Between = tuple[float, float] | None


def between(plausible: tuple[Decimal, Decimal] | None, specials: Sequence[Decimal] = ()) -> Between:
    """Return two numbers, between which one is plausible and none of the special ones; None where every one is.

    Rounding to a double keeps the order: what lies between them as a double is plausible as the decimal that was sent.
    """
    if plausible is None and not specials:
        return None
    low, high = (-math.inf, math.inf) if plausible is None else map(float, plausible)
    below, above = [float(each) for each in specials if each < 0], [float(each) for each in specials if each >= 0]
    return max([low, *below]), min([high, *above])


# Decimals -------------------------------------------------------------------------------------------------------------


def plain(number: Decimal) -> str:
    """Write a decimal as JSON does, every digit kept: without an exponent where that is short."""
    return format(number, "f") if -7 < number.adjusted() < 21 else str(number).replace("E+", "E")


def shortest_float64(number: float) -> str | None:
    """Write a double as the shortest decimal that reads back as the same; None for NaN and infinities."""
    return plain(Decimal(repr(number).removesuffix(".0"))) if math.isfinite(number) else None


def shortest_float32(number: float) -> str | None:
    """Write a float32 as the shortest decimal that reads back as the same, the nearest of several.

    Six digits always survive the way through a normal float32 (FLT_DIG), so six, seven, eight and nine are tried: the
    nearest decimal of so many digits will do if it is nearer than half the way to the neighbours. At powers of two,
    where the neighbours are not equally far, among the smallest numbers, and on the border itself, exact decimals are
    compared instead.

    Args:
        number: exactly a float32. None is returned for NaN and infinities.
    """
    if not math.isfinite(number):
        return None
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    mantissa, exponent = math.frexp(number)
    if abs(mantissa) == 0.5 or exponent < _NORMAL:
        return plain(_shortest_exactly(number))
    border = math.ulp(number) * 2**28  # half of a float32's ulp: a double has 29 bits more
    for form in _DIGITS:
        text = form % number
        off = abs(float(text) - number)
        if off < border * (1 - _CLOSE):
            return plain(Decimal(text)) if "e" in text else text
        if off <= border * (1 + _CLOSE):
            return plain(_shortest_exactly(number))
    raise AssertionError("nine digits always tell a float32")


_AS_IT_IS: Mapping[str, Written] = {"float32": shortest_float32, "float64": shortest_float64}
"""How what is no whole number is written."""

_NORMAL = -125
"""The exponent of the smallest normal float32, as frexp counts."""

_DIGITS = ("%.6g", "%.7g", "%.8g", "%.9g")
_CLOSE = 1e-6
"""So near to the border, relatively, a double cannot say on which side a decimal is."""


def _shortest_exactly(number: float) -> Decimal:
    """Find the shortest decimal between the midpoints to both neighbours, the midpoints included for even bits."""
    bits = int.from_bytes(struct.pack(">f", number), "big")
    magnitude, even = bits & 0x7FFFFFFF, bits & 1 == 0
    exact, below = _float32(magnitude), _float32(magnitude - 1)
    largest = magnitude == 0x7F7FFFFF
    above = EXACT.add(exact, EXACT.subtract(exact, below)) if largest else _float32(magnitude + 1)
    low, high = (EXACT.divide(EXACT.add(exact, each), Decimal(2)) for each in (below, above))
    for digits in range(1, 10):
        near = [Context(prec=digits, rounding=way).plus(exact) for way in (ROUND_FLOOR, ROUND_CEILING)]
        inside = [each for each in near if low < each < high or (even and each in {low, high})]
        if inside:
            best = min(inside, key=lambda each: EXACT.subtract(each, exact).copy_abs())
            return best.copy_negate() if bits >> 31 else best
    raise AssertionError("nine digits always tell a float32")


def _float32(bits: int) -> Decimal:
    return Decimal(struct.unpack(">f", bits.to_bytes(4, "big"))[0])

"""Reads in one step what most polls bring: one reply of plain numbers, or one block of registers that hold them.

Compiled once from what the general way reads by, and never another reading than it gives. Whatever is unusual, be it a
status, a doubt, a special number, or anything that cannot be read, is no business of this module: it says None, and the
general way decides. Pure.

    reply or block (bytes) -> [PollPlan.straight] -> Reading by channel; None -> ReplyForm.match, PollPlan.readings
"""

from __future__ import annotations

import math
import re
import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

from daq.core.errors import UnreadableReply
from daq.core.number import MAX_PLAIN, PLAIN, written_anew
from daq.core.observation import Kind, Reading, ReadingStatus
from daq.core.plan import Straight
from daq.core.registers import EXACT, ORDERS, Layout, RegisterReader, shortest_float32, shortest_float64
from daq.core.text_readings import TextChannelReader, WholeReply

_GOOD, _NUMBER = ReadingStatus.OK, Kind.NUMBER  # found once, as observation.OK


_Between = tuple[float, float] | None


def _between(plausible: tuple[Decimal, Decimal] | None, specials: Sequence[Decimal] = ()) -> _Between:
    """Return two numbers, between which one is plausible and none of the special ones; None where every one is.

    Rounding to a double keeps the order: what lies between them as a double is plausible as the decimal that was sent.
    """
    if plausible is None and not specials:
        return None
    low, high = (-math.inf, math.inf) if plausible is None else map(float, plausible)
    below, above = [float(each) for each in specials if each < 0], [float(each) for each in specials if each >= 0]
    return max([low, *below]), min([high, *above])


# Text -----------------------------------------------------------------------------------------------------------------

_AS_PRINTED = frozenset({"nr1", "nr2", "nr3", "nr"})
"""Types of fields whose characters are the number, and so few that a plain one is as short as it must be."""


_Printed = tuple[str, int, re.Pattern[str] | None, _Between, str, str, str | None]
"""A channel: name, group of the pattern, what its padding stands around, between what its number is as expected, and
what its reading says of it: unit, quantity, role."""


def straight_reply(whole: WholeReply, readers: Sequence[TextChannelReader]) -> Straight | None:
    """Make what reads the reply of a poll that asks one question; None where its shape, or a channel, takes more.

    It knows the first shape alone: drivers begin with the good reply.
    """
    shape = whole.shapes[0]
    template = shape.template
    places = {name: (group, inside) for name, group, inside in template.insides if name is not None}
    wanted = {one.field for one in readers}
    if any(inside is not None and name not in wanted for name, _, inside in template.insides):
        return None
    if shape.outcome is not None or shape.flags or template.checksums or template.numbers or template.blocks:
        return None
    if not readers or not all(_is_plain(one) and template.types.get(one.field) in _AS_PRINTED for one in readers):
        return None
    channels = [
        (one.name, *places[one.field], _between(one.plausible, [*one.specials]), one.unit, one.quantity, one.role)
        for one in readers
    ]
    return _reading_as_printed(template.pattern, channels)


def _reading_as_printed(pattern: re.Pattern[str], channels: Sequence[_Printed]) -> Straight:
    fullmatch, is_plain = pattern.fullmatch, PLAIN.fullmatch

    def straight(reply: bytes) -> dict[str, Reading] | None:
        found = fullmatch(reply.decode("latin-1"))
        if found is None:
            return None
        readings = {}
        for name, group, inside, between, unit, quantity, role in channels:
            text: str = found[group]
            if inside is not None:
                padded = inside.fullmatch(text)
                if padded is None:
                    return None
                text = padded[1]
            try:
                value = text if is_plain(text) else written_anew(text)
            except UnreadableReply:
                return None
            if between is not None and not between[0] < float(value) < between[1]:
                return None
            readings[name] = Reading(value, text, unit, quantity, _GOOD, (), _NUMBER, role)
        return readings

    return straight


def _is_plain(reader: TextChannelReader) -> bool:
    """Whether a channel is the number that stands in its field, in the declared unit, and nothing else speaks of it."""
    says_more = reader.codes or reader.doubts or reader.unit_field is not None or reader.scale is not None
    return reader.kind is _NUMBER and reader.step == 0 and not says_more and not reader.comma and reader.base == 10


# Registers ------------------------------------------------------------------------------------------------------------

_PACKED = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
_PACKED |= {"float32": "f", "float64": "d"}
"""Types that struct reads as they are."""

_Place = tuple[int, int, str]
"""Offset of a value in its block, how many bytes it takes, as what struct reads it."""


def straight_block(count: int, readers: Mapping[str, RegisterReader]) -> Straight | None:
    """Make what reads the one block of a poll; None where a channel is no number, or scaled by another register.

    Args:
        count: registers in the block.
        readers: channel -> how it is read in general.
    """
    found = [*readers.values()]
    if not found or not all(_is_number(one) for one in found):
        return None
    order = next((each for each in ORDERS.values() if all(_arrives_in(each, one.layout) for one in found)), None)
    places = sorted({_place(one.layout) for one in found})
    if order is None or any(left[0] + left[1] > right[0] for left, right in pairwise(places)):
        return None
    backwards, swapped = order
    packed = struct.Struct(("<" if backwards else ">") + _format(places, 2 * count))
    length, unpack = packed.size, packed.unpack
    channels = [
        (name, places.index(_place(one.layout)), _text_of(one), one.unit, one.quantity, one.role)
        for name, one in readers.items()
    ]

    def straight(content: bytes) -> dict[str, Reading] | None:
        if len(content) != length:
            return None
        values = unpack(content if backwards == swapped else _with_bytes_swapped(content))
        readings = {}
        for name, number, text_of, unit, quantity, role in channels:
            text = text_of(values[number])
            if text is None:
                return None
            readings[name] = Reading(text, text, unit, quantity, _GOOD, (), _NUMBER, role)
        return readings

    return straight


def _is_number(reader: RegisterReader) -> bool:
    layout = reader.layout
    whole = layout.type in _PACKED and not layout.coils and layout.step == 0
    return whole and reader.kind is _NUMBER and not reader.factors


def _arrives_in(order: tuple[bool, bool], layout: Layout) -> bool:
    """Whether a value comes in an order: words from the last to the first, which is all one of one word; bytes so."""
    its = ORDERS[layout.order]
    return its[1] == order[1] and (its[0] == order[0] or layout.length == 2)


def _place(layout: Layout) -> _Place:
    return layout.offset, layout.length, _PACKED[layout.type]


def _format(places: Sequence[_Place], length: int) -> str:
    """Return how struct reads values that stand one behind the other, with nothing left over."""
    written, end = "", 0
    for offset, taken, kind in places:
        written += f"{offset - end}x{kind}"
        end = offset + taken
    return f"{written}{length - end}x"


def _with_bytes_swapped(content: bytes) -> array[int]:
    words = array("H", content)
    words.byteswap()
    return words


def _text_of(reader: RegisterReader) -> Callable[[float], str | None]:
    """Make what writes a value of a channel as text; it returns None where that takes more."""
    layout = reader.layout
    written = _WRITTEN.get(layout.type, str)
    if not reader.codes and reader.scale is None and reader.plausible is None:
        return written
    codes = {struct.unpack(f">{_PACKED[layout.type]}", code.to_bytes(layout.length, "big"))[0] for code in reader.codes}
    between, scale = _between(reader.plausible), reader.scale

    def text_of(value: float) -> str | None:
        text = None if value in codes else written(value)
        if text is not None and scale is not None:
            text = _scaled(text, scale)
        if text is None or between is None:
            return text
        return text if between[0] < float(text) < between[1] else None

    return text_of


def _scaled(text: str, scale: Decimal) -> str | None:
    """Return a number times a factor; None where that is not short, or nothing that a double holds."""
    scaled = str(EXACT.multiply(Decimal(text), scale))
    return scaled if len(scaled) <= MAX_PLAIN and PLAIN.fullmatch(scaled) else None


_WRITTEN: Mapping[str, Callable[[float], str | None]] = {"float32": shortest_float32, "float64": shortest_float64}
"""How what is no whole number is written."""

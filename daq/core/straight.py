"""Reads in one step what most polls bring: one reply of plain numbers, or one block of registers that hold them.

Compiled once from what the general way reads by, and never another reading than it gives. Whatever is unusual, be it a
status, a doubt, a special number, or anything that cannot be read, is no business of this module: it says None, and the
general way decides. Pure.

    reply or block (bytes) -> [PollPlan.straight] -> Reading by channel; None -> ReplyForm.match, PollPlan.readings
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise

from daq.core.errors import UnreadableReply
from daq.core.number import PLAIN, written_anew
from daq.core.observation import Kind, Reading, ReadingStatus
from daq.core.plan import Straight
from daq.core.registers import ORDERS, PACKED, Between, Layout, RegisterReader, between, text_of
from daq.core.text_readings import TextChannelReader, WholeReply

_GOOD, _NUMBER = ReadingStatus.OK, Kind.NUMBER  # found once, as observation.OK


# Text -----------------------------------------------------------------------------------------------------------------

_AS_PRINTED = frozenset({"nr1", "nr2", "nr3", "nr"})
"""Types of fields whose characters are the number, and so few that a plain one is as short as it must be."""


_Printed = tuple[str, int, re.Pattern[str] | None, Between, str, str, str | None]
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
        (one.name, *places[one.field], between(one.plausible, [*one.specials]), one.unit, one.quantity, one.role)
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
        for name, group, inside, usual, unit, quantity, role in channels:
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
            if usual is not None and not usual[0] < float(value) < usual[1]:
                return None
            readings[name] = Reading(value, text, unit, quantity, _GOOD, (), _NUMBER, role)
        return readings

    return straight


def _is_plain(reader: TextChannelReader) -> bool:
    """Whether a channel is the number that stands in its field, in the declared unit, and nothing else speaks of it."""
    says_more = reader.codes or reader.doubts or reader.unit_field is not None or reader.scale is not None
    return reader.kind is _NUMBER and reader.step == 0 and not says_more and not reader.comma and reader.base == 10


# Registers ------------------------------------------------------------------------------------------------------------

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
        (name, places.index(_place(one.layout)), text_of(one), one.unit, one.quantity, one.role)
        for name, one in readers.items()
    ]

    def straight(content: bytes) -> dict[str, Reading] | None:
        if len(content) != length:
            return None
        values = unpack(content if backwards == swapped else _with_bytes_swapped(content))
        readings = {}
        for name, number, written, unit, quantity, role in channels:
            text = written(values[number])
            if text is None:
                return None
            readings[name] = Reading(text, text, unit, quantity, _GOOD, (), _NUMBER, role)
        return readings

    return straight


def _is_number(reader: RegisterReader) -> bool:
    layout = reader.layout
    whole = layout.type in PACKED and not layout.coils and layout.step == 0
    return whole and reader.kind is _NUMBER and not reader.factors


def _arrives_in(order: tuple[bool, bool], layout: Layout) -> bool:
    """Whether a value comes in an order: words from the last to the first, which is all one of one word; bytes so."""
    its = ORDERS[layout.order]
    return its[1] == order[1] and (its[0] == order[0] or layout.length == 2)


def _place(layout: Layout) -> _Place:
    return layout.offset, layout.length, PACKED[layout.type]


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

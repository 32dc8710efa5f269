"""Finds in which order, and by which factor, the registers that a manual prints make the value that it prints. Pure.

The manual seldom says the order of words outright, and its example says it beyond doubt. What fits nowhere is told,
with the type that would fit.

    words, value, type -> [fitting] -> Fit (order, scale, the value as it is read) -> new
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import cast, get_args

from daq.core.errors import ReplyError
from daq.core.observation import Kind
from daq.core.register_map import RegisterType, WordOrder
from daq.core.registers import WORDS, Layout, RegisterReader

_SHORT: tuple[WordOrder, ...] = ("ABCD", "CDAB", "BADC", "DCBA")
_LONG: tuple[WordOrder, ...] = ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA")
_SCALES = (None, *map(Decimal, ("0.1", "0.01", "0.001", "0.0001", "10", "100", "1000")))
_TYPES = [kind for kind in get_args(RegisterType) if kind in WORDS]


@dataclass(frozen=True, slots=True)
class Fit:
    """How an example is read as its manual says.

    Args:
        order: of its words.
        scale: factor; None where there is none.
        value: what comes out, all digits of it.
    """

    order: WordOrder
    scale: Decimal | None
    value: str


def words_of(printed: str) -> str | None:
    """Write registers as a driver does, 4366 3334, from 0x4366, 0x3334 or 43 66 33 34; None where they are none."""
    digits = re.findall(r"[0-9A-Fa-f]+", re.sub(r"0[xX]|[hH]\b", " ", printed))
    if not digits or re.sub(r"0[xX]|[hH]\b|[0-9A-Fa-f,;\s]", "", printed) or any(len(each) % 2 for each in digits):
        return None
    joined = "".join(digits)
    return " ".join(joined[at : at + 4] for at in range(0, len(joined), 4)).upper() if len(joined) % 4 == 0 else None


def first_order(kind: str) -> WordOrder:
    """Return the order that most makers have, high word first."""
    return (_LONG if WORDS.get(kind) == 4 else _SHORT)[0]


def fitting(words: str, value: str, kind: str) -> Fit | None:
    """Return the first way of reading the words that gives the value; None where none does.

    Args:
        words: registers in hexadecimal, as `words_of` writes them.
        value: as printed; of a floating-point number perhaps rounded.
        kind: the type of register.
    """
    try:
        content, wanted = bytes.fromhex(words), Decimal(value)
    except (ValueError, InvalidOperation):
        return None
    if kind not in WORDS or len(content) != 2 * WORDS[kind] or not wanted.is_finite():
        return None
    return next((fit for fit in _ways(content, cast("RegisterType", kind)) if _is(fit.value, wanted, kind)), None)


def other_type(words: str, value: str, kind: str) -> tuple[str, Fit] | None:
    """Return a type by which the words would read the value, where by their own they do not."""
    found = ((other, fitting(words, value, other)) for other in _TYPES if other != kind)
    return next(((other, fit) for other, fit in found if fit is not None), None)


def _ways(content: bytes, kind: RegisterType) -> Iterator[Fit]:
    """Give every order, without a factor first; a floating-point number needs none."""
    for scale in _SCALES if not kind.startswith("float") else (None,):
        for order in (_LONG if WORDS[kind] == 4 else _SHORT)[:: 2 if WORDS[kind] == 1 else 1]:
            reader = RegisterReader(Layout(0, 0, len(content), kind, order), "", "", Kind.NUMBER, None, scale=scale)
            try:
                read = reader.read([content]).value
            except ReplyError:
                continue
            if read is not None:
                yield Fit(order, scale, read)


def _is(read: str, wanted: Decimal, kind: str) -> bool:
    """Whether it is the printed value; of floating-point numbers manuals print as many digits as they like."""
    number = Decimal(read)
    if not kind.startswith("float"):
        return number == wanted
    last = Decimal(1).scaleb(int(wanted.as_tuple().exponent))
    return abs(number - wanted) <= min(last, abs(wanted) / 100)

"""Decimal numbers as instruments print them, and the same digits as JSON writes them. Pure; no number is ever computed.

reply text -> [json_number] -> Reading.value -> core.message
"""

from __future__ import annotations

import math
import re

from daq.core.errors import UnreadableReply, quoted

# NR1 (integer), NR2 (with a point) and NR3 (with an exponent) of IEEE 488.2-1992, 8.7.2 to 8.7.4, as instruments send
# them: a digit may be missing on one side of the point, never on both. Python's float() would also take `1_000`,
# `nan`, `infinity`, blanks and the digits of other scripts.
_DECIMAL = re.compile(r"([+-]?)(?:([0-9]+)(?:(\.)([0-9]*))?|(\.)([0-9]+))(?:[eE]([+-]?)([0-9]+))?")

_NOT_ZERO = re.compile("[+-]?[0.]*[1-9]")

MAX_DIGITS = 400
"""Characters: no instrument prints a longer number, and none can make us count its digits for long."""


PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
"""A number as JSON writes it, without an exponent."""

MAX_PLAIN = 300
"""Characters: a double holds a plain number that is so short."""


# +9.99998713E+00, -1.5, 1.20E-03: what most instruments print. The sign of the exponent is kept where it is a minus.
_USUAL = re.compile(r"(?:\+(?!-))?(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(?:[eE](?:\+|(-))?(?=[0-9])0*([1-9][0-9]?)?)?")

MAX_USUAL = 200
"""Characters: a double holds a number that is so short, with two digits of an exponent."""


def json_number(text: str) -> str:
    """Write a decimal as JSON does, keeping every digit of it.

    The plus signs go, a zero is put where a digit is missing before or after the point, superfluous leading zeros go,
    and so does an exponent of zero: `+9.99998713E+00` is `9.99998713`, `-.5` is `-0.5`, `5.` is `5.0`, `1.20E-03` is
    `1.20E-3`. Zeros at the end stay: they say how fine the instrument reads.

    Raises:
        UnreadableReply: text is not an NR1, NR2 or NR3 as a whole, or a double cannot hold it (readers of JSON would
            see infinity, or zero).
    """
    return text if len(text) <= MAX_PLAIN and PLAIN.fullmatch(text) else written_anew(text)


def written_anew(text: str) -> str:
    """Write a decimal that is not plain as json_number does."""
    usual = _USUAL.fullmatch(text) if len(text) <= MAX_USUAL else None
    if usual is not None:
        plain, minus, power = usual.groups()
        return plain if power is None else f"{plain}E{minus or ''}{power}"
    found = _DECIMAL.fullmatch(text) if len(text) <= MAX_DIGITS else None
    if found is None:
        raise UnreadableReply(f"{quoted(text)} is not a decimal number (NR1, NR2 or NR3)")
    sign, before, point, after, bare_point, bare_after, exponent_sign, exponent = found.groups()
    whole = (before or "0").lstrip("0") or "0"
    fraction = f".{after or bare_after or '0'}" if point or bare_point else ""
    power = (exponent or "").lstrip("0")
    if not _fits_double(text):
        raise UnreadableReply(f"{quoted(text)} is beyond what readers of JSON can hold (a double: 1.8E308 and 5E-324)")
    tail = f"E{'-' if exponent_sign == '-' else ''}{power}" if power else ""
    return f"{'-' if sign == '-' else ''}{whole}{fraction}{tail}"


def _fits_double(text: str) -> bool:
    """Whether the number neither overflows to infinity nor vanishes to zero when read as a double."""
    number = float(text)
    return math.isfinite(number) if number != 0 else not _NOT_ZERO.match(text)

"""Durations and quantities as people write them: a number, a blank, a unit.

Pure text -> exact numbers (Decimal, integer nanoseconds); used by the models of bench and driver files.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*(\S.*?)?\s*")
_COMMA = re.compile(r"\s*[+-]?(\d+),(\d+)(?!\d*,)")
THOUSANDS = 3
"""Digits behind a comma that may part thousands."""

EXPONENT_DIGITS = 3
"""No quantity of a bench has more; an exponent of many digits is a number of as many digits."""

_DURATIONS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
LONGEST_NS = 100 * 366 * 86400 * 10**9
"""Of any time in a file: a century."""

LARGEST_BYTES = 2**47
"""Of any size in a file: more than a database may have."""

FEW_DIGITS = 10_000
"""Numbers below this are read as easily without a prefix."""

_PREFIXED = ("V", "A", "Ohm", "F", "H", "Hz", "W", "S", "s")
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_PREFIXES = {"p": -12, "n": -9, "u": -6, "µ": -6, "m": -3, "k": 3, "M": 6, "G": 9}


def split_quantity(text: str) -> tuple[Decimal, str]:
    """Split "10.5 kOhm" into (Decimal("10.5"), "kOhm"); the unit is "" where there is none.

    Raises:
        ValueError: text does not begin with a plain decimal number.
    """
    refuse_comma(text)
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a number with a unit. Write it like '10 V' or '500 ms'.")
    exponent = found[1].lower().partition("e")[2].lstrip("+-0")
    if len(exponent) > EXPONENT_DIGITS:
        raise ValueError(f"{text!r} is no number that can be meant. Write it like '10 V' or '500 ms'.")
    return Decimal(found[1]), found[2] or ""


def refuse_comma(text: str) -> None:
    """Refuse a number with a comma: "0,5 s", "1,000 V". Raises ValueError."""
    found = _COMMA.match(text)
    if found:
        thousands = f", or {text.replace(',', '', 1)!r} for thousands" if len(found[2]) == THOUSANDS else ""
        raise ValueError(f"{text!r} has a comma. Decimals have a point: {text.replace(',', '.', 1)!r}{thousands}.")


def in_unit(text: str, unit: str) -> Decimal:
    """Convert to `unit`, SI prefixes exactly: "10 kOhm" in Ohm is 10000.

    Raises:
        ValueError: the text's unit is missing or is not `unit` with or without a prefix.
    """
    number, written = split_quantity(text)
    if written == unit:
        return number
    for prefix, exponent in _PREFIXES.items():
        if written == prefix + unit:
            return number.scaleb(exponent)
        if unit == prefix + written:
            return number.scaleb(-exponent)
    if not written:
        raise ValueError(f"{text!r} has no unit. Write '{number} {unit}'.")
    raise ValueError(f"{text!r} is not in {unit}. Write it in {unit}, or with a prefix such as 'k{unit}' or 'm{unit}'.")


def short(number: Decimal, unit: str) -> str:
    """Write a number with its unit as people do: 1E-6 A is "1 uA", 10000 Ohm "10 kOhm"; in_unit reads it back."""
    prefixes = {exponent: prefix for prefix, exponent in _PREFIXES.items() if prefix.isascii()}
    exponent = number.adjusted() // 3 * 3
    if unit not in _PREFIXED or not number or (1 <= abs(number) < FEW_DIGITS) or exponent not in prefixes:
        return f"{number.normalize():f} {unit}"
    return f"{number.scaleb(-exponent).normalize():f} {prefixes[exponent]}{unit}"


def duration_ns(value: object) -> int:
    """Read "500 ms", "1.5 s", "2 min" as integer nanoseconds (exact; a fraction of one is an error)."""
    if isinstance(value, int) and not isinstance(value, bool) and value == 0:
        return 0
    ns = _scaled(value, _DURATIONS_NS, "a time", "500 ms")
    if ns > LONGEST_NS:
        raise ValueError(f"{value!r} is longer than a hundred years. Write a time that can be waited for.")
    return int(ns)


def size_bytes(value: object) -> int:
    """Read "20 GB" as bytes (decimal prefixes)."""
    size = _scaled(value, _BYTES, "a size", "20 GB")
    if size > LARGEST_BYTES:
        raise ValueError(f"{value!r} is larger than any journal may be: 140 TB. Write less, like '20 GB'.")
    return int(size)


def _scaled(value: object, units: dict[str, int], what: str, example: str) -> Decimal:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} has no unit. Write {what} with its unit, like '{example}'.")  # noqa: TRY004 pydantic reports ValueError
    number, unit = split_quantity(value)
    if not unit:
        raise ValueError(f"{value!r} has no unit. Write {what} with its unit, like '{example}'.")
    if unit not in units:
        raise ValueError(f"{value!r} is not {what}: its unit must be one of {', '.join(units)}, like '{example}'.")
    scaled = number * units[unit]
    if scaled != scaled.to_integral_value() or scaled < 0:
        raise ValueError(f"{value!r} is not {what} that can be kept: it must be whole and not negative.")
    return scaled


Duration = Annotated[
    int,
    BeforeValidator(duration_ns),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*[0-9.]+\s*(ns|us|µs|ms|s|min|h|d)\s*$", "examples": ["500 ms", "1 s"]}
    ),
]
"""A time with its unit in the file; integer nanoseconds in the model."""

Size = Annotated[
    int,
    BeforeValidator(size_bytes),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9.]+\s*(B|kB|MB|GB|TB)\s*$", "examples": ["20 GB"]}),
]
"""An amount of storage with its unit in the file; bytes in the model."""

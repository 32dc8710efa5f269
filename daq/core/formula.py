"""Spans of time that depend on settings: 'nplc / line_frequency', '500 ms', '2 * aperture'.

Names, durations and numbers joined by * and /, nothing else: no Python, no brackets. Reckoned exactly and rounded up to
the nanosecond, since a bound may be wider and must not be narrower. What is not a time is refused. Pure.

    driver (aperture, window, period, latency), settings -> [span_ns] -> core.timing
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from daq.core.errors import nearest
from daq.core.settings import as_number

_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?"
_TERM = re.compile(rf"\s*(?:({_NUMBER})\s*(ns|us|µs|ms|s|min|h|d)?(?![A-Za-z0-9_])|([A-Za-z_][A-Za-z0-9_]*))\s*")
_SECONDS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}


@dataclass(frozen=True, slots=True)
class Term:
    """A number and its dimension in time: 1 for seconds, -1 for hertz, 0 for plain numbers."""

    number: Fraction
    time: int


def span_ns(formula: str, settings: Mapping[str, tuple[str, str | None]], line_frequency_hz: int) -> int:
    """Reckon a span of time.

    Args:
        formula: terms joined by * and /.
        settings: name -> value as text and its unit; None where it has none.
        line_frequency_hz: 50 or 60, known as line_frequency.

    Returns:
        Nanoseconds, rounded up.

    Raises:
        ValueError: the formula is wrong, a name is unknown or has a word for a value, or the result is not a time.
    """
    number, time = Fraction(1), 0
    for sign, text in _terms(formula):
        term = _term(text, settings, line_frequency_hz, formula)
        if sign < 0 and term.number == 0:
            raise ValueError(f"{formula!r} divides by zero")
        number = number * term.number if sign > 0 else number / term.number
        time += sign * term.time
    if time != 1:
        raise ValueError(f"{formula!r} is not a time. Write one like '500 ms' or 'nplc / line_frequency'.")
    return -int(-number * 10**9 // 1)


def names(formula: str) -> set[str]:
    """Return the names of settings in a formula. Raises ValueError where it is wrong."""
    return {found[3] for _, text in _terms(formula) if (found := _TERM.fullmatch(text)) and found[3]} - {
        "line_frequency"
    }


def _terms(formula: str) -> list[tuple[int, str]]:
    """Split into (1 or -1, term)."""
    pieces = re.split(r"([*/])", formula)
    terms = [(1, pieces[0])]
    terms += [(1 if mark == "*" else -1, text) for mark, text in zip(pieces[1::2], pieces[2::2], strict=True)]
    for _, text in terms:
        if not _TERM.fullmatch(text):
            raise ValueError(
                f"{formula!r}: {text.strip()!r} is neither a name, a number nor a duration. "
                "Join these by * and /, as in 'nplc / line_frequency'."
            )
    return terms


def _term(text: str, settings: Mapping[str, tuple[str, str | None]], hertz: int, formula: str) -> Term:
    found = _TERM.fullmatch(text)
    assert found, "_terms looked"
    if found[1]:
        return Term(Fraction(found[1]) * _SECONDS[found[2] or "s"], 1 if found[2] else 0)
    name = found[3]
    if name == "line_frequency":
        return Term(Fraction(hertz), -1)
    if name not in settings:
        raise ValueError(
            f"{formula!r}: no setting {name!r} with a value. {nearest(name, [*settings, 'line_frequency'])}"
        )
    value, unit = settings[name]
    number = as_number(value)
    if number is None:
        raise ValueError(
            f"{formula!r}: {name} is {value!r}, and no time can be reckoned from a word. Give a number, "
            f"or what it counts as: {name}: {{counts_as: {{{value}: 200 ms}}}}."
        )
    if unit in _SECONDS:
        return Term(Fraction(number) * _SECONDS[unit], 1)
    return Term(Fraction(number), -1 if unit == "Hz" else 0)

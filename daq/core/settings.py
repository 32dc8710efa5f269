"""Settings of an instrument: what the bench file wants, in the instrument's own unit and words, put into commands.

It converts units exactly and refuses what the driver does not allow, with the nearest right word. Pure.

    bench (settings), driver (Setting) -> [setting_text] -> [substitute] -> commands
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from daq.core.driver_parts import Scalar, Setting
from daq.core.errors import nearest
from daq.core.quantity import in_unit, refuse_comma, short

_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z0-9_-]+)\}")
"""A brace of its own, or a name in braces."""

SAME = Decimal("1e-6")
"""Relative difference below which a setting read back is the one that was set: instruments keep single floats."""


def setting_text(setting: Setting, given: Scalar, *, from_driver: bool = False) -> str:
    """Write a setting as the instrument wants it: "10 kOhm" in Ohm is "10000".

    Args:
        setting: what the driver allows.
        given: number with unit, number, or word.
        from_driver: bare numbers are in the setting's unit; in a bench file they are refused where there is one.

    Raises:
        ValueError: not allowed; the message says what is.
    """
    text = _plain(given)
    if text in words_of(setting) or _is_free(setting):
        return text
    number = _number(setting, given, from_driver=from_driver)
    if number is None:
        return _word(setting, text)
    if setting.one_of is not None and number not in {as_number(one) for one in setting.one_of}:
        raise ValueError(f"{text!r} is not allowed. {_allowed(setting)}")
    low, high = (None if end is None else _number(setting, end, from_driver=True) for end in (setting.min, setting.max))
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"{text!r} is out of range. {_allowed(setting)}")
    return format(number, "f")


def _is_free(setting: Setting) -> bool:
    """Whether the driver says nothing of what is allowed: then it is written as it was given, 01 as 01."""
    limits = (setting.unit, setting.one_of, setting.min, setting.max)
    return not (setting.words or setting.set_word or any(limit is not None for limit in limits))


def words_of(setting: Setting) -> list[str]:
    """Return the words allowed in place of a number; a word that is the default is one of them."""
    default = setting.default
    is_word = isinstance(default, str) and as_number(default) is None and not re.match(r"[+-]?\.?[0-9]", default)
    words = [*setting.words, *setting.set_word]
    return [*words, *([default] if is_word and default not in words else [])]  # type: ignore[list-item]


def substitute(command: str, values: Mapping[str, str]) -> str:
    """Put values in for {name}, and a brace for each {{ or }}; anything else in braces stays.

    Raises:
        ValueError: a name is not known; the message names the nearest.
    """
    for name in names_in(command):
        if name not in values:
            raise ValueError(f"{command!r} needs the setting {name!r}, which has no value. {nearest(name, values)}")
    return _PLACE.sub(lambda found: values[found[1]] if found[1] else found[0][0], command)


def put_in(text: str, values: Mapping[str, str]) -> str:
    """Put values in for the {name}s that are known; the others stay, and so do {{ and }}."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]) if found[1] else found[0], text)


def names_in(text: str) -> list[str]:
    """Return the names that stand in braces, in order."""
    return [found for found in _PLACE.findall(text) if found]


def as_number(value: Scalar) -> Decimal | None:
    """Read a decimal; None where it is a word."""
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def is_word(text: str) -> bool:
    """Whether it can be told from numbers, even mistyped ones: it does not begin like one."""
    return not re.match(r"\s*[+-]?\.?[0-9]", text)


def agree(wanted: str, answered: str, words: Iterable[str]) -> bool:
    """Whether a setting read back is the one that was set.

    Numbers are compared as numbers; a word such as auto leaves the number to the instrument, and agrees with any.
    """
    left, right = as_number(wanted), as_number(answered)
    if left is not None and right is not None:
        return abs(left - right) <= SAME * abs(left)
    if wanted in words and right is not None:
        return True
    return wanted.strip().casefold() == answered.strip().strip('"').casefold()


def _number(setting: Setting, given: Scalar, *, from_driver: bool) -> Decimal | None:
    """Return the number in the setting's unit; None where it is a word."""
    number = as_number(given)
    if setting.unit is None:
        return number
    if number is not None:
        if from_driver:
            return number
        raise ValueError(f"'{given}' has no unit. Write '{given} {setting.unit}'.")
    text = _plain(given)
    if not re.match(r"\s*[+-]?\.?[0-9]", text):
        return None
    try:
        return in_unit(text, setting.unit)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number with a unit. {_allowed(setting)}") from None


def _word(setting: Setting, text: str) -> str:
    """Return a word that is allowed."""
    refuse_comma(text)
    choices = [*words_of(setting), *(_plain(one) for one in setting.one_of or [])]
    if text in choices:
        return text
    raise ValueError(f"{text!r} is not allowed. {_near(text, choices)}{_allowed(setting)}")


def _near(text: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(text, choices, n=1)
    return f"Nearest: {close[0]!r}. " if close else ""


def _allowed(setting: Setting) -> str:
    """Say what is allowed."""
    unit = f" {setting.unit}" if setting.unit else ""
    parts = [_with_unit(one, setting.unit) for one in setting.one_of or []]
    if not parts and (setting.min is not None or setting.max is not None):
        low = "" if setting.min is None else f"from {setting.min}{unit} "
        high = "" if setting.max is None else f"to {setting.max}{unit}"
        parts = [(low + high).strip()]
    if not parts and setting.unit:
        parts = [f"a number in {setting.unit}"]
    return f"Allowed: {', '.join(dict.fromkeys([*parts, *words_of(setting)]))}."


def _with_unit(one: Scalar, unit: str | None) -> str:
    number = as_number(one)
    return _plain(one) if unit is None or number is None else short(number, unit)


def _plain(value: Scalar) -> str:
    """Write true and false as instruments do."""
    return str(int(value)) if isinstance(value, bool) else str(value)

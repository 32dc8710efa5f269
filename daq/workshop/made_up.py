"""Makes up what a driver leaves open: the answer to its identity question, a setting read back, a register's content.

Whatever is made up is an answer that the driver itself accepts, or nothing. Serial numbers begin with SIM- wherever
characters can say so. Pure.

    template, fields -> [rendered] -> reply         expression -> [specimen] -> text that it matches
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from decimal import Decimal
from re import _parser as grammar  # type: ignore[attr-defined]  # the one place that knows what an expression means
from typing import Any

from daq.core.bench import SIMULATED
from daq.core.binary import KINDS, as_sent
from daq.core.register_map import Register
from daq.core.registers import WORDS, ordered
from daq.core.template import Field, Template, put_together

_BY_TYPE = dict.fromkeys(("bits", "hex", "hexs"), "0") | dict.fromkeys(("nr1", "nr", "snr"), "1")
_BY_TYPE |= {"nr2": "1.0", "nr3": "1.0E+00", "unit": "V"}
"""What a field prints of which nothing is known."""


def serial_number(driver: str) -> str:
    """Return the serial number of a driver's stand-in, such as SIM-34465A."""
    return SIMULATED + re.sub("[^A-Z0-9]+", "-", driver.rsplit("/", 1)[-1].upper()).strip("-")


def rendered(template: Template, values: Mapping[str, str]) -> str:
    """Write a reply, without ending, that a template may match.

    Args:
        template: compiled.
        values: field -> what it shall hold; any other is made up.
    """
    return put_together(template.parts, lambda part: _printed(part, values.get(part.name or "")))


def _printed(field: Field, value: str | None) -> str:
    if field.type in KINDS:
        return as_sent(KINDS[field.type].write(value or "1"), field.order)
    text = _of_type(field.type, value)
    if field.comma:
        text = text.replace(".", ",")
    if field.type == "hexs" and value is None:
        text = text.zfill(field.width or 1)
    if field.width is not None:
        text = text[: field.width].ljust(field.width)
    return text


def _of_type(kind: str, value: str | None) -> str:
    if kind == "blanks":
        return ""
    if kind == "quoted":
        return '"' + (value or "x").replace('"', '""') + '"'
    if kind not in _BY_TYPE:
        return value or "x"
    return _BY_TYPE[kind] if value is None else _number(kind, value)


def _number(kind: str, value: str) -> str:
    """Print a number as its type wants it; what is none stays."""
    try:
        number = Decimal(value)
    except ArithmeticError:
        return _BY_TYPE[kind] if kind in {"nr1", "nr2", "nr3", "nr", "snr"} else value
    if kind == "nr3":
        return f"{number:+.8E}"
    if kind == "nr2" and "." not in value:
        return f"{value}.0"
    return value


# Expressions ----------------------------------------------------------------------------------------------------------


def specimen(expression: str, words: Iterable[str] = ()) -> str:
    """Return a text that an expression matches whole: one of the words, else one spelled out from the expression."""
    fitting = (word for word in words if re.fullmatch(expression, word))
    return next(fitting, None) or "".join(_spelled(item) for item in grammar.parse(expression))


def _spelled(item: tuple[Any, Any]) -> str:
    what, of = str(item[0]), item[1]
    if what == "LITERAL":
        return chr(of)
    if what == "ANY":
        return "x"
    if what == "IN":
        return _member(of)
    return "".join(_spelled(each) for each in _inside(what, of))


def _inside(what: str, of: Any) -> list[Any]:
    """Return the parts of an alternative, a group or a repetition; anchors and the like match nothing."""
    if what == "BRANCH":
        return [*of[1][0]]
    if what == "SUBPATTERN":
        return [*of[-1]]
    return [*of[2]] * of[0] if what.endswith("_REPEAT") else []


def _member(of: list[tuple[Any, Any]]) -> str:
    """Return one character of a class."""
    allowed = "0A a-_.x1b/"
    if str(of[0][0]) == "NEGATE":
        return next(char for char in allowed if not any(_is(char, each) for each in of[1:]))
    what, value = str(of[0][0]), of[0][1]
    if what == "LITERAL":
        return chr(value)
    return chr(value[0]) if what == "RANGE" else next(char for char in allowed if _is(char, of[0]))


def _is(char: str, item: tuple[Any, Any]) -> bool:
    what, value = str(item[0]), item[1]
    if what == "LITERAL":
        return bool(ord(char) == value)
    if what == "RANGE":
        return bool(value[0] <= ord(char) <= value[1])
    kind = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[str(value).rsplit("_", 1)[-1]]
    return (re.fullmatch(kind, char) is not None) is not ("NOT_" in str(value))


# Registers ------------------------------------------------------------------------------------------------------------


def encoded(text: str, register: Register) -> bytes:
    """Write a value as registers hold it, in the order in which they send it.

    Args:
        text: a decimal, or the characters of a string.
        register: its type, order, and length where it is a string.
    """
    if register.type == "string":
        content = text.encode("latin-1", "replace")[: 2 * (register.length or 1)].ljust(
            2 * (register.length or 1), b"\0"
        )
    elif register.type == "float32":
        content = struct.pack(">f", float(text))
    elif register.type == "float64":
        content = struct.pack(">d", float(text))
    elif register.type.startswith("bcd"):
        content = bytes.fromhex(str(int(Decimal(text))).rjust(4 * WORDS[register.type], "0"))
    else:
        width = 2 * (WORDS.get(register.type) or register.length or 1)
        content = (int(Decimal(text)) & (1 << 8 * width) - 1).to_bytes(width, "big")
    return ordered(content, register.order)  # each order undoes itself

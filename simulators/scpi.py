"""SCPI program messages: short and long mnemonics, compound messages, the error queue. Knows no instrument.

A model gives a table from patterns such as "[SENSe:]VOLTage[:DC]:NPLC?" to its own methods. Capitals are the short
form, brackets may be left out, <n> is a numeric suffix. Source: SCPI-1999 volume 1, chapters 6 (headers) and 21
(errors).
"""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from simulators.dialogue import Answer

MAX_ERRORS = 20  # entries a queue keeps; 34460A family operating guide, SYSTem:ERRor

Handler = Callable[..., Any]  # (model, argument, suffixes) -> Answer | str | None, or an awaitable of one


def pattern(text: str) -> re.Pattern[str]:
    """Compile a header pattern."""
    regex = ""
    for part in re.findall(r"[A-Za-z]+|<n>|.", text):
        if part == "<n>":
            regex += r"(\d*)"
        elif part in "[]":
            regex += {"[": "(?:", "]": ")?"}[part]
        elif part.isalpha():
            short = "".join(char for char in part if char.isupper())
            regex += f"(?:{short}|{part.upper()})"
        else:
            regex += re.escape(part)
    return re.compile(f":?{regex}", re.IGNORECASE)


def table(handlers: Mapping[str, Handler]) -> list[tuple[re.Pattern[str], Handler]]:
    """Compile a model's table."""
    return [(pattern(header), handler) for header, handler in handlers.items()]


class ScpiError(Exception):
    """What goes into the error queue instead of an answer: a number and a text of SCPI-1999, 21.8."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(number, text)
        self.number, self.text = number, text


DATA_OUT_OF_RANGE = (-222, "Data out of range")
ILLEGAL_PARAMETER = (-224, "Illegal parameter value")


class Errors:
    """The error queue: first in, first out; when full the last entry says so."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, str]] = deque()

    def add(self, number: int, text: str) -> None:
        """Append an error."""
        if len(self._queue) < MAX_ERRORS:
            self._queue.append((number, text))
        else:
            self._queue[-1] = (-350, "Error queue overflow")

    def take(self) -> tuple[int, str]:
        """Remove and give the oldest; (0, "No error") where there is none."""
        return self._queue.popleft() if self._queue else (0, "No error")

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()

    def __len__(self) -> int:
        return len(self._queue)


def units(line: str) -> list[tuple[str, str]]:
    """Split a program message into (header, argument), headers made absolute.

    A header after a semicolon starts where the one before it left off, unless it begins with a colon or an asterisk.
    Semicolons within quotes do not separate.
    """
    found = []
    path = ""
    for message in re.findall(r"""(?:"[^"]*"|'[^']*'|[^;])+""", line):
        header, _, argument = message.strip().partition(" ")
        if not header:
            continue
        if header.startswith("*"):
            found.append((header, argument.strip()))
            continue
        absolute = header if header.startswith(":") else f"{path}{header}"
        path = absolute[: absolute.rfind(":") + 1]
        found.append((absolute, argument.strip()))
    return found


async def answer(
    model: object, handlers: list[tuple[re.Pattern[str], Handler]], line: str, errors: Errors
) -> Answer | None:
    """Have a model do one program message.

    Returns:
        The answers of all its queries, joined by semicolons; None where there was none. The message ends at its first
        error.
    """
    said: list[Answer] = []
    for header, argument in units(line):
        try:
            result = _handle(model, handlers, header, argument)
            if inspect.isawaitable(result):
                result = await result
        except ScpiError as error:
            errors.add(error.number, error.text)
            break
        if result is not None:
            said.append(result if isinstance(result, Answer) else Answer(result))
    if not said:
        return None
    return Answer(
        ";".join(one.text for one in said),
        tuple(instant for one in said for instant in one.sampled),
        {name: text for one in said for name, text in one.values.items()},
    )


def _handle(model: object, handlers: list[tuple[re.Pattern[str], Handler]], header: str, argument: str) -> Any:
    for regex, handler in handlers:
        match = regex.fullmatch(header)
        if match:
            return handler(model, argument, match.groups())
    raise ScpiError(-113, "Undefined header")


def number(argument: str, units_: str = "") -> float:
    """Read a numeric parameter; a unit and its multiplier may follow.

    Raises:
        ScpiError: -104 where it is no number.
    """
    match = re.fullmatch(
        r"([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?)\s*(G|MA|K|M|U|N)?([A-Z]*)", argument.strip(), re.IGNORECASE
    )
    if not match or (match[3] and match[3].upper() not in units_.upper().split()):
        raise ScpiError(-104, "Data type error")
    scale = {"G": 1e9, "MA": 1e6, "K": 1e3, "M": 1e-3, "U": 1e-6, "N": 1e-9, "": 1.0}[(match[2] or "").upper()]
    return float(match[1]) * scale


def boolean(argument: str) -> bool:
    """Read ON, OFF, 1 or 0.

    Raises:
        ScpiError: -224 where it is none of them.
    """
    state = {"ON": True, "1": True, "OFF": False, "0": False}.get(argument.upper())
    if state is None:
        raise ScpiError(*ILLEGAL_PARAMETER)
    return state

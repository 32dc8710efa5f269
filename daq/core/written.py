"""What stands in a file, as it was written: plain data, digits and places. Pure; parses no YAML itself.

YAML 1.2 says what a plain scalar means; a number keeps its digits beside its value, so that a serial number 00123 or a
reading 100.00 is still that where a text belongs.

    scalar -> [scalar] -> str | int | float | bool        Source says where every key stands
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Keys = tuple[str | int, ...]
"""From the top of a file, e.g. ("instruments", "dmm1", "at")."""

Place = tuple[int, int]
"""Line and column, both counted from 1."""

MERGE = "<<"
"""A key of YAML 1.1 that puts another mapping in; whoever learned YAML elsewhere writes it."""

_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# YAML 1.2.2, 10.3.2 (core schema); .inf and .nan are left as the words they are: no key takes them


@dataclass(frozen=True, slots=True)
class Source:
    """A file as written: plain data, and where everything stands.

    Args:
        shown: the file's name as the user knows it.
        data: dicts with keys as written, lists, str, int, float, bool.
        keys: path -> line and column of the key, both counted from 1.
        values: path -> line and column of what it holds.
        hash: first 12 hexadecimal digits of the SHA-256 of the file's bytes.
        faults: what is wrong with the YAML itself and yet lets the rest be judged: path, place, sentence.
    """

    shown: str
    data: Any
    keys: Mapping[Keys, Place]
    values: Mapping[Keys, Place]
    hash: str
    faults: tuple[tuple[Keys, Place, str], ...] = ()

    def place(self, path: Keys, *, at_key: bool = False) -> Place:
        """Return line and column of a value, or of its key; of the nearest key above where it is not in the file."""
        if path in self.values and not at_key:
            return self._value(path)
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, self.values.get(path, (1, 1)))

    def tells_all(self, path: Keys) -> bool:
        """Whether a fault of the YAML is all that is to be said here: what a merge left out is not missing as well."""
        told = [fault for fault, _, _ in self.faults]
        merged = any(fault[-1:] == (MERGE,) and path[: len(fault) - 1] == fault[:-1] for fault in told)
        return path in told or (merged and path not in self.values)

    def _value(self, path: Keys) -> Place:
        """A block below its key is best shown by the key."""
        key, value = self.keys.get(path), self.values[path]
        return key if key is not None and value[0] > key[0] else value


class WrittenInt(int):
    """A whole number that remembers how it was written, for where a text belongs: a serial number 00123."""

    written: str

    def __str__(self) -> str:
        return self.written


class WrittenFloat(float):
    """A number that remembers its digits, for where a text belongs: 100.00."""

    written: str

    def __str__(self) -> str:
        return self.written


def is_nothing(text: str) -> bool:
    """Tell whether a plain scalar says null."""
    return text in _NULLS


def scalar(text: str) -> str | int | float | bool:
    """Read a plain scalar by the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        whole = WrittenInt(int(text, 0) if text[:2] in ("0x", "0o") else int(text))
        whole.written = text
        return whole
    if _FLOAT.fullmatch(text):
        number = WrittenFloat(text)
        number.written = text
        return number
    return text


def dotted(path: Keys) -> str:
    """Return a path as people read it."""
    return ".".join(str(part) for part in path)


_SENTENCES = {
    "mapping values are not allowed": "a colon too many, or a line indented too far. Put texts with ': ' in quotes.",
    "could not find expected ':'": "a key without its colon. Write 'key: value'.",
    "expected <document start>": "a line that does not fit the ones above. Check its indentation.",
    "but found another document": "a second document begins here ('---'). One file holds one bench or driver.",
    "expected ',' or '}'": (
        "a brace { or a quote is not closed, a comma is missing, or a text with braces or brackets needs quotes."
    ),
    "expected ',' or ']'": (
        "a bracket [ or a quote is not closed, a comma is missing, or a text with braces or brackets needs quotes."
    ),
    "found unexpected end of stream": "a quote is not closed.",
    "expected <block end>": "a line that does not fit the ones above. Check its indentation.",
    "found undefined alias": "no anchor (&name) for this alias (*name). Put a text that begins with * in quotes.",
    "found character '%'": "a text that begins with %. Put it in quotes.",
    "found character '@'": "a text that begins with @. Put it in quotes.",
    "found character '`'": "a text that begins with `. Put it in quotes.",
    "found duplicate anchor": "the same anchor (&name) twice. Give one of them another name.",
}


def in_plain_words(said: str, written: str) -> str:
    """Say what is wrong with a line that is no YAML.

    Args:
        said: by the parser.
        written: the line, up to the place that it complains of.
    """
    if "\\t" in said or "\t" in written:
        return "a tab stands where blanks belong. Indent with blanks."
    known = (sentence for sign, sentence in _SENTENCES.items() if sign in said)
    return next(known, f"is no YAML: {said}.")

"""The parts of a reply template: literals and fields, read from how a driver writes them.

What could be read in two ways is refused here, with how to mend it. Pure; the grammar stands in core.template.

    driver (template) -> [parts_of] -> Literal, Field, ... -> template (regular expression)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from daq.core.binary import KINDS
from daq.core.checksum import CHECKSUMS
from daq.core.errors import nearest

MAX_TEXT = 4096
"""Characters in one text field, at most."""

MAX_HEX = 16
"""Hexadecimal digits of a number: 64 bits."""

MARKS = frozenset({"from", "to"})
"""Where what a checksum counts begins and ends; nothing of the reply stands there."""

BLOCK = "block"
"""The head of a definite-length block."""

BITS = frozenset({"bits", "bits8", "bits16", "hex"})
"""Sets of bits, which masks look at."""

HEX = frozenset({"hex", "hexs"})
DIGITS = frozenset({"nr1", "nr2", "nr3", "nr", "snr"})
NUMBERS = DIGITS | {name for name, kind in KINDS.items() if kind.number}
POINTED = DIGITS - {"nr1"}
"""Those that may have a decimal point, or comma."""

TYPES = frozenset({*DIGITS, *HEX, *KINDS, *CHECKSUMS, *MARKS, BLOCK})
TYPES |= {"text", "word", "quoted", "unit", "enum", "bits", "blanks"}

_NAMELESS = frozenset({"blanks", BLOCK, *CHECKSUMS, *MARKS})
_ORDERED = frozenset({"int16", "uint16", "int32", "uint32", "float32", "float64", "bits16"})
_ORDERS = {
    2: ("AB", "BA"),
    4: ("ABCD", "CDAB", "BADC", "DCBA"),
    8: ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"),
}
"""Bytes -> orders that they may come in, named as for registers."""

_SPEC = re.compile(r"([A-Za-z0-9_.,-]*):([a-z0-9]+)(?::([0-9]{1,9}|[A-H]+))?(?:\*(.+))?", re.DOTALL)
_NAME = re.compile("[A-Za-z0-9_-]+")
_RANGE = re.compile(r"([A-Za-z0-9_-]*?)([0-9]{1,9})\.\.([A-Za-z0-9_-]*?)([0-9]{1,9})")


class TemplateError(ValueError):
    """The template itself is wrong; the message says where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands in every reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """Something the instrument puts in.

    Args:
        name: None where it is only checked.
        width: exact number of characters; None where the content decides.
        comma: whether its decimals stand behind a comma.
        order: of its bytes, the letters as they arrive, A the highest; None where it is no number in bytes.
    """

    name: str | None
    type: str
    width: int | None = None
    comma: bool = False
    order: str | None = None

    @property
    def in_bytes(self) -> bool:
        """Whether any byte may stand in it, one that ends lines too."""
        return self.type in KINDS or (self.type in CHECKSUMS and CHECKSUMS[self.type].in_bytes)


Part = Literal | Field


def parts_of(source: str, *, comma: bool) -> list[Part]:
    """Read a template; two literals never follow each other.

    Raises:
        TemplateError: it is wrong, or could be read in two ways.
    """
    parts = _joined(_parts(source, comma=comma))
    _check(parts, source)
    return parts


def solid(parts: Sequence[Part]) -> list[Part]:
    """Return the parts that something of the reply stands in."""
    return [part for part in parts if isinstance(part, Literal) or part.type not in MARKS]


def latin1(text: str) -> str:
    """Return the text as it is, if every character is one byte on the wire."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"{text!r} holds {error.object[error.start]!r}, which is not one byte (Latin-1) on the wire"
        ) from None
    return text


def _parts(source: str, *, comma: bool) -> list[Part]:
    parts: list[Part] = []
    rest = source
    while rest:
        if rest[:2] in ("{{", "}}"):
            parts.append(Literal(rest[0]))
            rest = rest[2:]
        elif rest[0] == "{":
            inside, brace, rest = rest[1:].partition("}")
            if not brace:
                raise TemplateError(f"{source!r}: '{{{inside}' has no closing brace. For a brace itself write '{{{{'.")
            parts.extend(_fields(inside, source, comma=comma))
        elif rest[0] == "}":
            raise TemplateError(f"{source!r}: a closing brace without an opening one. For a brace itself write '}}}}'.")
        else:
            parts.append(Literal(latin1(rest[0])))
            rest = rest[1:]
    return parts


def _fields(inside: str, source: str, *, comma: bool) -> list[Part]:
    """Read what stands between braces: one field, or several with their separators."""
    found = _SPEC.fullmatch(inside)
    if found is None:
        raise TemplateError(f"{source!r}: '{{{inside}}}' is not {{name:type}}, {{name:type:width}} or {{a,b:type}}")
    names, kind, width, separator = found.groups()
    if kind not in TYPES:
        raise TemplateError(f"{source!r}: no type {kind!r}. {nearest(kind, TYPES, len(TYPES))}")
    if kind in _NAMELESS:
        return [_nameless(kind, names or width, source)]
    if kind in KINDS:
        return _in_bytes(_names(names, source), kind, width, separator, source)
    if width is not None and not (width.isdecimal() and 1 <= int(width) <= MAX_TEXT):
        raise TemplateError(f"{source!r}: a width is 1 to {MAX_TEXT}, not {width}")
    if kind == "hexs" and not (width and int(width) <= MAX_HEX):
        raise TemplateError(
            f"{source!r}: {{{names}:hexs}} needs the number of digits that are sent, 1 to {MAX_HEX}, as in "
            f"{{{names}:hexs:8}}: the first of them decides the sign"
        )
    fields: list[Part] = []
    for name in _names(names, source):
        if fields:
            fields.append(Literal(latin1(separator or ",")))
        fields.append(Field(name, kind, None if width is None else int(width), comma and kind in POINTED))
    return fields


def _nameless(kind: str, given: str | None, source: str) -> Field:
    if given:
        raise TemplateError(f"{source!r}: {kind} has neither name nor width. Write '{{:{kind}}}'")
    if kind in CHECKSUMS:
        return Field(None, kind, CHECKSUMS[kind].length)
    return Field(None, kind, 0 if kind in MARKS else None)


def _in_bytes(
    names: Sequence[str | None], kind: str, order: str | None, separator: str | None, source: str
) -> list[Part]:
    """Read fields that are bytes and not characters; nothing separates them but what is written."""
    length = KINDS[kind].length
    orders = _ORDERS.get(length, ()) if kind in _ORDERED else ()
    if order is not None and order not in orders:
        known = f"Orders: {', '.join(orders)}" if orders else "It has none"
        raise TemplateError(f"{source!r}: {order!r} is no order of the bytes of {kind}. {known}.")
    fields: list[Part] = []
    for name in names:
        if fields and separator:
            fields.append(Literal(latin1(separator)))
        fields.append(Field(name, kind, length, order=order))
    return fields


def _names(text: str, source: str) -> list[str | None]:
    if not text:
        return [None]
    names: list[str | None] = []
    for part in text.split(","):
        several = _RANGE.fullmatch(part)
        if several and several[1] == several[3] and int(several[2]) <= int(several[4]) < 1000:
            names.extend(f"{several[1]}{number}" for number in range(int(several[2]), int(several[4]) + 1))
        elif _NAME.fullmatch(part):
            names.append(part)
        else:
            raise TemplateError(f"{source!r}: {part!r} is neither a field's name nor a range such as v1..v20")
    return names


def _joined(parts: list[Part]) -> list[Part]:
    """Put literals that follow each other together."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Literal) and isinstance(last, Literal):
            joined[-1] = Literal(last.text + part.text)
        else:
            joined.append(part)
    return joined


def _check(parts: list[Part], source: str) -> None:
    """Refuse names that stand twice, and neighbours whose border no one could find."""
    names = [part.name for part in parts if isinstance(part, Field) and part.name is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TemplateError(f"{source!r}: the field {twice[0]!r} stands twice")
    parts = solid(parts)
    for left, literal, right in zip(parts, parts[1:], [*parts[2:], None], strict=False):
        if isinstance(literal, Literal) and _comma_in_doubt(left, literal, right):
            raise TemplateError(
                f"{source!r}: nobody can tell whether the comma in {literal.text!r} separates or is a decimal comma. "
                "Give the numbers beside it a width."
            )
    for left, right in pairwise(parts):
        if isinstance(left, Field) and isinstance(right, Field) and not _border(left, right):
            raise TemplateError(
                f"{source!r}: nobody can tell where the {left.type} ends and the {right.type} begins. "
                "Put a literal between them, or give them a width."
            )
        if isinstance(left, Field) and left.type == "blanks" and isinstance(right, Literal) and right.text[0] == " ":
            raise TemplateError(f"{source!r}: {{:blanks}} takes all blanks; the blank behind it can never match")


def _comma_in_doubt(left: Part, literal: Literal, right: Part | None) -> bool:
    """Whether a comma between two parts might be that of a number."""
    if not literal.text.startswith(",") or not isinstance(left, Field) or left.width is not None:
        return False
    after = isinstance(right, Field) and right.comma and right.width is None and literal.text == ","
    return left.comma or (left.type in DIGITS and after)


def _border(left: Field, right: Field) -> bool:
    """Whether the end of `left` can be seen when `right` follows directly."""
    if left.type == BLOCK:
        return True
    if left.width is not None:
        return right.type != "blanks" or left.type != "blanks"
    if left.type == "blanks":
        return right.width is None and right.type != "blanks"
    if left.type == "quoted":
        return right.type not in {"quoted", "text"}
    if right.type == "blanks":
        return left.type != "text"
    return left.type in DIGITS and right.type == "unit" and right.width is None

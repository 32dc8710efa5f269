"""Reply templates: the whole of a reply or nothing.

A template is the reply as the manual prints it, with fields in braces where the instrument puts something of its own.
It must match from the first byte to the last, the line's ending included: text before, behind or missing, a second
reply glued on, a number that is no number, all make the reply unreadable. It never guesses, converts or rounds.

    driver (template) -> parse -> Template; reply (bytes) -> [Template.fields] -> core.text_readings

Grammar
    {name:type}         one field, named by a-z A-Z 0-9 _ and -; a channel, unit_in or status must want it.
    {:type}             the same, checked and thrown away.
    {name:type:8}       exactly 8 characters, padded with blanks on either side (or both); what is inside must be of the
                        type. `text` of fixed width may hold blanks and may be nothing but blanks.
    {a,b,c:type}        three fields, separated by a comma each.
    {v1..v20:type}      twenty fields v1, v2, ... v20, separated by a comma each.
    {a,b,c:type*; }     the same, separated by what stands between * and }, here semicolon and blank.
    {{  }}              a brace.
    blank               one blank or more. Directly before a field of fixed width: exactly as many as are written.
                        Where the template has no blank, the reply may have none: no edge is trimmed.
    anything else       itself. Characters beyond ASCII stand for their Latin-1 byte (degree, micro).
Where link.decimal is a comma, nr2, nr3, nr and snr have one in place of the point, and a point is none of theirs.
A comma behind such a field would be taken for its own and is refused, unless the field has a width.
A template has no ending: link.eol is put behind it. Names of for_each and of settings in braces ({n}) are replaced
before all this.

Types
    nr1     -12, +12, 12                        nr2     12.5, +.5, 5.       nr3     1.25E+01, 1E3
    nr      any of these three                  snr     as nr, with blanks allowed between sign and digits (balances)
    text    printable characters, perhaps none, up to the first character of the literal that follows; blanks too,
            unless it is a blank that follows. Another field may not follow directly.
    word    at least one printable character but no blank, comma, semicolon or double quote; ends like text.
    quoted  "..." with doubled quotes inside, as IEEE 488.2 prints strings; the field is what stands between them.
    unit    a letter, %, degree sign or the like, then at most 15 more of these, digits or one of / . ^ * ( ) _
    enum    one of the codes of the channel's `enum`
            Numbers may also be one of the words listed in `special`, such as NAN or -----.
    bits    a decimal number that is a set of flags         hex     hexadecimal digits, perhaps after 0x or #H
    hexs    a signed number in two's complement, in exactly as many hexadecimal digits as its width says, which it
            needs: {x:hexs:8} reads FFFFFE0C as -500; with one digit less nobody could tell what was sent.
    blanks  any number of blanks, none too; has no name: {:blanks}
    sum2    the checksum of all characters before it: their sum in two hexadecimal digits; has no name: {:sum2}. The
            same are sum4 (four digits), xor2 (all of them combined by exclusive or), crc4 (CRC-16 as Modbus has it).

Matching takes time proportional to the reply's length: every part takes all it can and never gives back.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from daq.core.checksum import CHECKSUMS, printed

MAX_TEXT = 4096
"""Characters in one text field, at most."""

MAX_HEX = 16
"""Hexadecimal digits of a number: 64 bits."""

_DIGITS = "[0-9]{1,40}"
_MANTISSA = rf"(?:{_DIGITS}(?:\.[0-9]{{0,40}})?|\.{_DIGITS})"
_EXPONENT = "[eE][+-]?[0-9]{1,4}"

# NR1, NR2, NR3 of IEEE 488.2-1992, 8.7.2 to 8.7.4, as instruments print them (see core.number).
_PATTERNS = {
    "nr1": rf"[+-]?{_DIGITS}",
    "nr2": rf"[+-]?(?:{_DIGITS}\.[0-9]{{0,40}}|\.{_DIGITS})",
    "nr3": rf"[+-]?{_MANTISSA}{_EXPONENT}",
    "nr": rf"[+-]?{_MANTISSA}(?:{_EXPONENT})?",
    "snr": rf"(?:[+-] {{0,20}}+)?{_MANTISSA}(?:{_EXPONENT})?",
    "bits": "[0-9]{1,20}",
    "hex": "(?:0[xX]|#[hH])?[0-9A-Fa-f]{1,16}",
    "hexs": "[0-9A-Fa-f]{1,16}",
    "blanks": " {0,256}",
    "quoted": f'"(?>(?:[^"\x00-\x1f\x7f]|""){{0,{MAX_TEXT}}})"',
}
_RUNNING = {  # what ends where the following literal begins: (first character, the others, at least, at most)
    "text": (r"\x20-\x7e\x80-\xff", r"\x20-\x7e\x80-\xff", 0, MAX_TEXT),
    "word": (r"!#-+\--:<-~\x80-\xff", r"!#-+\--:<-~\x80-\xff", 1, MAX_TEXT),
    "unit": (r"A-Za-z%\xa1-\xff", r"A-Za-z0-9%/.^*()_\xa1-\xff", 1, 16),
}
TYPES = frozenset({*_PATTERNS, *_RUNNING, *CHECKSUMS, "enum"})
HEX = frozenset({"hex", "hexs"})
NUMBERS = frozenset({"nr1", "nr2", "nr3", "nr", "snr"})
_POINTED = NUMBERS - {"nr1"}  # those that may have a decimal point, or comma
_WITH_COMMA = {kind: _PATTERNS[kind].replace(r"\.", ",") for kind in _POINTED}

_SAMPLES = {
    "nr1": "+123",
    "nr2": "-12.345",
    "nr3": "+1.23450000E+01",
    "nr": "12.345",
    "snr": "-  12.345",
    "bits": "32",
    "hex": "1F",
    "hexs": "FFFFFFFFFFFFFE0C",
    "blanks": "",
    "quoted": '"Sample text"',
    "text": "Sample",
    "word": "Sample",
    "unit": "V",
}

_SPEC = re.compile(r"([A-Za-z0-9_.,-]*):([a-z0-9]+)(?::([0-9]+))?(?:\*(.+))?", re.DOTALL)
_NAME = re.compile("[A-Za-z0-9_-]+")
_RANGE = re.compile(r"([A-Za-z0-9_-]*?)([0-9]+)\.\.([A-Za-z0-9_-]*?)([0-9]+)")


DecimalSign = typing.Literal[".", ","]
"""What stands before the decimals of a number."""


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
    """

    name: str | None
    type: str
    width: int | None = None
    comma: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A template compiled once.

    Args:
        source: as the driver writes it.
        parts: literals and fields in order; two literals never follow each other.
        types: field -> type.
        shape: the template without names; equal shapes cannot be told apart.
        length: characters of every reply without its ending; None where they vary.
        checksums: group of the pattern, type.
        eol, codes, decimal: as it was parsed with.
    """

    source: str
    parts: tuple[Literal | Field, ...]
    types: Mapping[str, str]
    shape: str
    length: int | None
    pattern: re.Pattern[str]
    insides: tuple[tuple[str | None, int, re.Pattern[str] | None], ...]
    checksums: tuple[tuple[int, str], ...] = ()
    eol: str = ""
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    decimal: DecimalSign = "."

    def fields(self, reply: bytes) -> dict[str, str] | None:
        """Return field -> characters as printed, without padding and quotes; None where the whole does not match."""
        found = self.pattern.fullmatch(reply.decode("latin-1"))
        if found is None:
            return None
        fields: dict[str, str] = {}
        for name, group, inside in self.insides:
            text: str = found[group]
            if inside is not None:
                padded = inside.fullmatch(text)
                if padded is None:
                    return None
                text = padded[1]
            if name is not None:
                fields[name] = _content_of(text, self.types[name])
        if any(printed(kind, reply[: found.start(group)]) != found[group].upper() for group, kind in self.checksums):
            return None
        return fields

    def sample(self, codes: Mapping[str, Sequence[str]] | None = None) -> str:
        """Return a reply, without ending, that this template matches; `codes`: field -> codes of an enum."""
        whole = ""
        for part in self.parts:
            if isinstance(part, Literal):
                whole += part.text
            elif part.type in CHECKSUMS:
                whole += printed(part.type, whole.encode("latin-1"))
            else:
                whole += _sample(part, (codes or {}).get(part.name or "", ()))
        return whole


def _content_of(text: str, kind: str) -> str:
    """Take away what the type puts around its content: quotes, and blanks behind a sign."""
    if kind == "quoted":
        return text[1:-1].replace('""', '"')
    return text.replace(" ", "") if kind == "snr" else text


def parse(
    source: str, eol: str, codes: Mapping[str, Sequence[str]] | None = None, decimal: DecimalSign = "."
) -> Template:
    """Compile a template.

    Args:
        source: as the driver writes it, names of for_each and settings already replaced.
        eol: the line's ending, matched exactly behind the template; "" where replies have none.
        codes: field -> what it may print, for fields of type enum; for numbers, words that stand in place of one.
        decimal: what stands before the decimals of its numbers.

    Raises:
        TemplateError: the template is wrong, or could be read in two ways.
    """
    return _compiled(source, eol, tuple((field, tuple(words)) for field, words in (codes or {}).items()), decimal)


@lru_cache(maxsize=2048)
def _compiled(source: str, eol: str, given: tuple[tuple[str, tuple[str, ...]], ...], decimal: DecimalSign) -> Template:
    """Compile; kept, for each poll of a driver is compiled with all that a poll may be mistaken for."""
    codes = dict(given)
    parts = _joined(_parts(source, comma=decimal == ","))
    _check(parts, source)
    fields = [part for part in parts if isinstance(part, Field)]
    pattern = "".join(_patterns(parts, codes)) + re.escape(_latin1(eol))
    lengths = [len(part.text) if isinstance(part, Literal) else part.width for part in parts]
    fixed = all(length is not None for length in lengths) and not _has_loose_blank(parts)
    template = Template(
        source=source,
        parts=tuple(parts),
        types={field.name: field.type for field in fields if field.name is not None},
        shape="".join(_shape(part) for part in parts),
        length=sum(length or 0 for length in lengths) if fixed else None,
        pattern=re.compile(pattern),
        insides=tuple(
            (field.name, number, _inside(field, codes) if field.width is not None else None)
            for number, field in enumerate(fields, 1)
            if field.name is not None or field.width is not None
        ),
        checksums=tuple((number, field.type) for number, field in enumerate(fields, 1) if field.type in CHECKSUMS),
        eol=eol,
        codes=codes,
        decimal=decimal,
    )
    if template.fields(_latin1(template.sample(codes) + eol).encode("latin-1")) is None:
        raise TemplateError(
            f"{source!r} can match no reply: a field takes all it can, and so what stands behind it as well. Give the "
            "field its width, such as {v:nr:8}, or another type."
        )
    return template


def may_print(field: Field, text: str, codes: Sequence[str] = ()) -> bool:
    """Whether a text may stand in a field; `codes`: of an enum, or words that it may print in place of a number."""
    return re.fullmatch(_content(field, None, {field.name or "": codes}), text) is not None


def weaknesses(template: Template, eol: str, codes: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Say which damaged replies the template would still take for whole ones, in words; [] where none."""
    whole, ending = template.sample(codes), eol.encode("latin-1")
    found = []
    for what, damaged in (
        ("has lost its first characters", [whole[cut:] for cut in range(1, len(whole))]),
        ("has lost its last characters but not its ending", [whole[:-cut] for cut in range(1, len(whole))]),
        ("stands twice before one ending", [whole + whole]),
    ):
        passing = next((text for text in damaged if template.fields(_latin1(text).encode("latin-1") + ending)), None)
        if passing is not None:
            found.append(f"{template.source!r} also matches a reply that {what}: {passing!r} of {whole!r}")
    return found


# Parsing --------------------------------------------------------------------------------------------------------------


def _parts(source: str, *, comma: bool) -> list[Literal | Field]:
    parts: list[Literal | Field] = []
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
            parts.append(Literal(_latin1(rest[0])))
            rest = rest[1:]
    return parts


def _fields(inside: str, source: str, *, comma: bool) -> list[Literal | Field]:
    """Read what stands between braces: one field, or several with their separators."""
    found = _SPEC.fullmatch(inside)
    if found is None:
        raise TemplateError(f"{source!r}: '{{{inside}}}' is not {{name:type}}, {{name:type:width}} or {{a,b:type}}")
    names, kind, width, separator = found.groups()
    if kind not in TYPES:
        raise TemplateError(f"{source!r}: no type {kind!r}. Types: {', '.join(sorted(TYPES))}")
    if (kind == "blanks" or kind in CHECKSUMS) and (names or width):
        raise TemplateError(f"{source!r}: {kind} has neither name nor width. Write '{{:{kind}}}'")
    if kind in CHECKSUMS:
        return [Field(None, kind, CHECKSUMS[kind][0])]
    if kind == "hexs" and not (width and int(width) <= MAX_HEX):
        raise TemplateError(
            f"{source!r}: {{{names}:hexs}} needs the number of digits that are sent, 1 to {MAX_HEX}, as in "
            f"{{{names}:hexs:8}}: the first of them decides the sign"
        )
    if width is not None and not 1 <= int(width) <= MAX_TEXT:
        raise TemplateError(f"{source!r}: a width is 1 to {MAX_TEXT}, not {width}")
    fields: list[Literal | Field] = []
    for name in _names(names, source):
        if fields:
            fields.append(Literal(_latin1(separator or ",")))
        fields.append(Field(name, kind, None if width is None else int(width), comma and kind in _POINTED))
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


def _joined(parts: list[Literal | Field]) -> list[Literal | Field]:
    """Put literals that follow each other together."""
    joined: list[Literal | Field] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Literal) and isinstance(last, Literal):
            joined[-1] = Literal(last.text + part.text)
        else:
            joined.append(part)
    return joined


def _check(parts: list[Literal | Field], source: str) -> None:
    """Refuse names that stand twice, and neighbours whose border no one could find."""
    names = [part.name for part in parts if isinstance(part, Field) and part.name is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TemplateError(f"{source!r}: the field {twice[0]!r} stands twice")
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


def _comma_in_doubt(left: Literal | Field, literal: Literal, right: Literal | Field | None) -> bool:
    """Whether a comma between two parts might be that of a number."""
    if not literal.text.startswith(",") or not isinstance(left, Field) or left.width is not None:
        return False
    after = isinstance(right, Field) and right.comma and right.width is None and literal.text == ","
    return left.comma or (left.type in NUMBERS and after)


def _border(left: Field, right: Field) -> bool:
    """Whether the end of `left` can be seen when `right` follows directly."""
    if left.width is not None:
        return right.type != "blanks" or left.type != "blanks"
    if left.type == "blanks":
        return right.width is None and right.type != "blanks"
    if left.type == "quoted":
        return right.type not in {"quoted", "text"}
    if right.type == "blanks":
        return left.type != "text"
    return left.type in NUMBERS and right.type == "unit" and right.width is None


# Regular expressions --------------------------------------------------------------------------------------------------


def _patterns(parts: list[Literal | Field], codes: Mapping[str, Sequence[str]]) -> list[str]:
    patterns = []
    for part, after in zip(parts, [*parts[1:], None], strict=False):  # an empty reply has no parts
        if isinstance(part, Literal):
            patterns.append(_literal(part.text, exact_end=isinstance(after, Field) and after.width is not None))
        elif part.width is not None:
            patterns.append(rf"([\x20-\x7e\x80-\xff]{{{part.width}}})")
        else:
            # (?>...), not a + behind the group: that failed in Python before 3.11.5 (gh-106052)
            patterns.append(f"(?>({_content(part, after, codes)}))")
    return patterns


def _literal(text: str, *, exact_end: bool) -> str:
    """Escape a literal; each run of blanks takes one or more, the last one exactly as many before a fixed width."""
    pieces = re.split("( +)", text)
    patterns = []
    for number, piece in enumerate(pieces):
        if not piece.startswith(" "):
            patterns.append(re.escape(piece))
        elif exact_end and not any(pieces[number + 1 :]):
            patterns.append(f" {{{len(piece)}}}")
        else:
            patterns.append(" {1,256}+")
    return "".join(patterns)


def _content(field: Field, after: Literal | Field | None, codes: Mapping[str, Sequence[str]]) -> str:
    """Return the pattern of what a field may print, `after` being what follows it."""
    if field.type == "enum":
        listed = sorted(codes.get(field.name or "", ()), key=len, reverse=True)
        if not listed:
            raise TemplateError(f"the field {field.name!r} is an enum, but no channel of that field lists its codes")
        return "(?:" + "|".join(re.escape(_latin1(code)) for code in listed) + ")"
    if field.type in CHECKSUMS:
        return f"[0-9A-Fa-f]{{{field.width}}}"
    if field.type not in _RUNNING:
        worded = field.type in NUMBERS or field.type == "hexs"
        words = sorted(codes.get(field.name or "", ()), key=len, reverse=True) if worded else []
        number = _WITH_COMMA[field.type] if field.comma else _PATTERNS[field.type]
        if field.type == "hexs":
            number = f"[0-9A-Fa-f]{{{field.width}}}"
        return "|".join([number, *(re.escape(_latin1(word)) for word in words)])
    first, others, least, most = _RUNNING[field.type]
    stop = ""
    if isinstance(after, Literal):
        stop = f"(?![{re.escape(after.text[0])}])"
    elif after is not None and after.type == "blanks":
        stop = "(?! )"
    if least == 0:
        return f"(?>(?:{stop}[{others}]){{0,{most}}})"
    return f"{stop}[{first}](?>(?:{stop}[{others}]){{0,{most - 1}}})"


def _inside(field: Field, codes: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """Return what a field of fixed width must hold: its content between blanks."""
    if field.type == "text":
        return re.compile(r" *+((?>(?:[!-~\x80-\xff]++(?: +(?=[!-~\x80-\xff]))?)*)) *+")
    return re.compile(f" *+(?>({_content(field, None, codes)})) *+")


def _has_loose_blank(parts: list[Literal | Field]) -> bool:
    """Whether a blank of the template may stand for several."""
    return any(
        isinstance(part, Literal)
        and " " in (part.text.rstrip(" ") if isinstance(after, Field) and after.width is not None else part.text)
        for part, after in zip(parts, [*parts[1:], None], strict=False)
    )


def _shape(part: Literal | Field) -> str:
    if isinstance(part, Literal):
        return re.sub(" +", " ", part.text)
    return f"{{{part.type}{'' if part.width is None else f':{part.width}'}}}"


def _sample(field: Field, codes: Sequence[str]) -> str:
    text = codes[0] if field.type == "enum" and codes else _SAMPLES.get(field.type, "")
    text = text.replace(".", ",") if field.comma else text
    if field.type == "hexs":
        return text[-(field.width or 1) :]
    if field.width is None:
        return text
    if len(text) > field.width:
        text = {"nr2": "1," if field.comma else "1.", "nr3": "1E1"}.get(field.type, "1" * field.width)
    return text[: field.width].rjust(field.width)


def _latin1(text: str) -> str:
    """Return the text as it is, if every character is one byte on the wire."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"{text!r} holds {error.object[error.start]!r}, which is not one byte (Latin-1) on the wire"
        ) from None
    return text

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
    {:from} {:to}       where what the next checksum counts begins and ends: ${:from}GP,{v:nr2}{:to}*{:xor2}. Without
                        {:from} it counts from the first character, without {:to} up to itself.
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
            same are sum4 (four digits), xor2 (all of them combined by exclusive or), lrc2 (what their sum lacks to a
            multiple of 256, as Modbus ASCII has it), crc4 (CRC-16 as Modbus has it); and sent as bytes sum1, xor1,
            lrc1 (one byte), crc2 (two bytes, the low one first).
    block   the head of a definite-length block (IEEE 488.2), #, a digit, as many digits: {:block}. As many characters
            as they say must follow, up to {:to} or the end of the reply.

Types of numbers sent as bytes, the high one first unless the letters of registers say otherwise ({v:float32:DCBA}):
    uint8, int16, uint16, int32, uint32, float32, float64; bits8 and bits16, which are sets of flags. What is no number
    is one of the words NAN, INF, -INF. Several names ({a,b:float32}) follow each other with nothing between. The reply
    ends where all of it is there.
    easy32  six bytes of an EASYBus (Greisinger): a measured value, with a CRC behind each two bytes; or a word such as
            E16365, which is the number of an error. easy16: three bytes, a whole number. easyid: six bytes, eight
            hexadecimal digits.

Matching takes time proportional to the reply's length: every part takes all it can and never gives back.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from daq.core.binary import KINDS, Kind, highest_first
from daq.core.checksum import CHECKSUMS, agrees, printed
from daq.core.template_parts import (
    BITS,
    BLOCK,
    HEX,
    MARKS,
    NUMBERS,
    Field,
    Literal,
    Part,
    TemplateError,
    latin1,
    parts_of,
)
from daq.core.template_patterns import content, has_loose_blank, inside_of, pattern_of, sample_of, shape_of

__all__ = [
    "BITS",
    "HEX",
    "NUMBERS",
    "Field",
    "Literal",
    "Template",
    "TemplateError",
    "may_print",
    "parse",
    "put_together",
    "weaknesses",
]

DecimalSign = typing.Literal[".", ","]
"""What stands before the decimals of a number."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template compiled once.

    Args:
        source: as the driver writes it.
        parts: literals and fields in order; two literals never follow each other.
        types: field -> type.
        shape: the template without names; equal shapes cannot be told apart.
        length: characters of every reply without its ending; None where they vary.
        checksums: what each counts.
        proven: whether a checksum stands for every named field.
        numbers: fields in bytes.
        blocks: heads of blocks: group of the head, group of {:to} where the block ends, 0 for the reply's end.
        eol, codes, decimal: as it was parsed with.
    """

    source: str
    parts: tuple[Part, ...]
    types: Mapping[str, str]
    shape: str
    length: int | None
    pattern: re.Pattern[str]
    insides: tuple[tuple[str | None, int, re.Pattern[str] | None], ...]
    checksums: tuple[Counted, ...] = ()
    proven: bool = False
    numbers: tuple[InBytes, ...] = ()
    blocks: tuple[tuple[int, int], ...] = ()
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
                kind = self.types[name]
                fields[name] = text if kind not in _AROUND else _content_of(text, kind)
        if not (self.checksums or self.numbers or self.blocks):
            return fields
        return fields if self._is_whole(found, reply, fields) else None

    def _is_whole(self, found: re.Match[str], reply: bytes, fields: dict[str, str]) -> bool:
        """Read what is sent as bytes; tell whether it can be read, and whether checksums and lengths are right."""
        for number in self.numbers:
            said = number.kind.read(highest_first(found[number.group], number.order))
            if said is None:
                return False
            if number.name is not None:
                fields[number.name] = said
        for one in self.checksums:
            if not one.agrees(found, reply):
                return False
        return all(self._is_as_long(found, head, end) for head, end in self.blocks)

    @property
    def in_bytes(self) -> bool:
        """Whether any byte may stand in such a reply, one that ends lines too."""
        return any(isinstance(part, Field) and part.in_bytes for part in self.parts)

    def sample(self, codes: Mapping[str, Sequence[str]] | None = None) -> str:
        """Return a reply, without ending, that this template matches; `codes`: field -> codes of an enum."""
        return put_together(self.parts, lambda part: sample_of(part, (codes or {}).get(part.name or "", ())))

    def _is_as_long(self, found: re.Match[str], head: int, end: int) -> bool:
        """Whether a block is as long as its head says."""
        behind = found.start(end) if end else found.end() - len(self.eol)
        return int(found[head][2:]) == behind - found.end(head)


@dataclass(frozen=True, slots=True)
class Counted:
    """A checksum, and what it counts.

    Args:
        group: of the pattern.
        kind: of core.checksum.
        begin, end: groups where it begins and ends; 0 for the beginning of the reply, and for the checksum itself.
    """

    group: int
    kind: str
    begin: int = 0
    end: int = 0

    def agrees(self, found: re.Match[str], reply: bytes) -> bool:
        """Whether it is right in a reply that the pattern matched."""
        return agrees(self.kind, self.counted(found, reply), found[self.group])

    def counted(self, found: re.Match[str], reply: bytes) -> bytes:
        """Return what it counts."""
        return reply[found.end(self.begin) if self.begin else 0 : found.start(self.end or self.group)]


@dataclass(frozen=True, slots=True)
class InBytes:
    """A field of bytes: group of the pattern, and how they are read."""

    name: str | None
    group: int
    kind: Kind
    order: str | None


def put_together(parts: Sequence[Part], text_of: Callable[[Field], str]) -> str:
    """Write a reply, without ending: what each field prints, with its checksums, and with the heads of blocks."""
    whole, begin, end, block = "", 0, None, None
    for part in parts:
        if isinstance(part, Literal):
            whole += part.text
        elif part.type == "from":
            begin, end = len(whole), None
        elif part.type == "to":
            whole, block = _with_head(whole, block), None
            end = len(whole)
        elif part.type == BLOCK:
            block = len(whole)
        elif part.type in CHECKSUMS:
            whole += printed(part.type, whole[begin:end].encode("latin-1"))
            begin, end = 0, None
        else:
            whole += text_of(part)
    return _with_head(whole, block)


def _with_head(whole: str, begin: int | None) -> str:
    """Put the head of a block before what stands in it; None where no block is open."""
    if begin is None:
        return whole
    length = str(len(whole) - begin)
    return f"{whole[:begin]}#{len(length)}{length}{whole[begin:]}"


_AROUND = frozenset({"quoted", "snr"})
"""Types that put something around their content, or into it."""


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
    parts = parts_of(source, comma=decimal == ",")
    fields = [part for part in parts if isinstance(part, Field)]
    checksums, blocks = _spans(fields, source)
    template = Template(
        source=source,
        parts=tuple(parts),
        types={field.name: field.type for field in fields if field.name is not None},
        shape="".join(shape_of(part) for part in parts),
        length=_length(parts),
        pattern=re.compile(pattern_of(parts, codes) + re.escape(latin1(eol)), re.DOTALL),
        insides=tuple(
            (field.name, number, inside_of(field, codes) if field.width is not None else None)
            for number, field in enumerate(fields, 1)
            if not field.in_bytes and field.type not in MARKS and (field.name is not None or field.width is not None)
        ),
        checksums=checksums,
        proven=_are_proven(fields, checksums),
        numbers=tuple(
            InBytes(field.name, number, KINDS[field.type], field.order)
            for number, field in enumerate(fields, 1)
            if field.type in KINDS
        ),
        blocks=blocks,
        eol=eol,
        codes=codes,
        decimal=decimal,
    )
    if template.fields(latin1(template.sample(codes) + eol).encode("latin-1")) is None:
        raise TemplateError(
            f"{source!r} can match no reply: a field takes all it can, and so what stands behind it as well. Give the "
            "field its width, such as {v:nr:8}, or another type."
        )
    return template


def _spans(fields: Sequence[Field], source: str) -> tuple[tuple[Counted, ...], tuple[tuple[int, int], ...]]:
    """Find what each checksum counts, and where each block ends. Raises TemplateError: a mark that serves nothing."""
    checksums: list[Counted] = []
    blocks: list[tuple[int, int]] = []
    begin = end = block = 0
    for group, part in enumerate(fields, 1):
        if part.type == BLOCK:
            block = group
        elif part.type == "from":
            begin, end = group, 0
        elif part.type == "to":
            blocks += [(block, group)] if block else []
            end, block = group, 0
        elif part.type in CHECKSUMS:
            checksums.append(Counted(group, part.type, begin, end))
            begin = end = 0
    blocks += [(block, 0)] if block else []
    used = {each for one in checksums for each in (one.begin, one.end)} | {end for _, end in blocks}
    for group, part in enumerate(fields, 1):
        if part.type in MARKS and group not in used:
            raise TemplateError(
                f"{source!r}: no checksum counts what {{:{part.type}}} marks. Write it before the checksum that it is "
                "for, as in ${:from}...{:to}*{:xor2}, or take it away."
            )
    return tuple(checksums), tuple(blocks)


def _are_proven(fields: Sequence[Field], checksums: Sequence[Counted]) -> bool:
    """Whether each named field is counted by a checksum, or has one of its own."""
    there_are = bool(checksums) or any(_proves(part) for part in fields)
    return there_are and all(
        part.name is None or _proves(part) or any(one.begin < group < (one.end or one.group) for one in checksums)
        for group, part in enumerate(fields, 1)
    )


def _proves(part: Field) -> bool:
    return part.type in KINDS and KINDS[part.type].proves


def _length(parts: Sequence[Part]) -> int | None:
    """Return how many characters every reply has without its ending; None where they vary."""
    lengths = [len(part.text) if isinstance(part, Literal) else part.width for part in parts if not _is_head(part)]
    if has_loose_blank(parts) or any(length is None for length in lengths):
        return None
    return len(put_together(parts, lambda part: " " * (part.width or 0)))


def _is_head(part: Part) -> bool:
    return isinstance(part, Field) and part.type == BLOCK


def may_print(field: Field, text: str, codes: Sequence[str] = ()) -> bool:
    """Whether a text may stand in a field; `codes`: of an enum, or words that it may print in place of a number."""
    return re.fullmatch(content(field, None, {field.name or "": codes}), text) is not None


def weaknesses(template: Template, eol: str, codes: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Say which damaged replies the template would still take for whole ones, in words; [] where none."""
    whole, ending = template.sample(codes), eol.encode("latin-1")
    found = []
    for what, damaged in (
        ("has lost its first characters", [whole[cut:] for cut in range(1, len(whole))]),
        ("has lost its last characters but not its ending", [whole[:-cut] for cut in range(1, len(whole))]),
        ("stands twice before one ending", [whole + whole]),
    ):
        passing = next((text for text in damaged if template.fields(latin1(text).encode("latin-1") + ending)), None)
        if passing is not None:
            found.append(f"{template.source!r} also matches a reply that {what}: {passing!r} of {whole!r}")
    return found

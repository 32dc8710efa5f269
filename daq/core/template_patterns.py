"""The regular expression of a reply template, and a reply that it matches.

Every part takes all it can and never gives back, and every repetition has a bound: matching takes time proportional to
the reply's length. Pure.

    template_parts (Literal, Field) -> [pattern_of] -> template
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from daq.core.binary import KINDS, as_sent
from daq.core.checksum import CHECKSUMS
from daq.core.template_parts import (
    BLOCK,
    DIGITS,
    MARKS,
    MAX_TEXT,
    POINTED,
    Field,
    Literal,
    Part,
    TemplateError,
    latin1,
    solid,
)

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
_WITH_COMMA = {kind: _PATTERNS[kind].replace(r"\.", ",") for kind in POINTED}
_HEAD = "#(?:" + "|".join(f"{digits}[0-9]{{{digits}}}" for digits in range(1, 8)) + ")"
"""#, a digit, as many digits: seven say more than any reply is long (IEEE 488.2-1992, 8.7.9)."""

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
_SAMPLE_IN_BYTES = "123"


def pattern_of(parts: Sequence[Part], codes: Mapping[str, Sequence[str]]) -> str:
    """Return the regular expression of a template; each field is a group, in their order.

    Args:
        parts: as template_parts reads them.
        codes: field -> what it may print, for an enum, or in place of a number.
    """
    return "".join(_patterns(parts, codes))


def reached(parts: Sequence[Part], codes: Mapping[str, Sequence[str]], text: str) -> tuple[int, Part | None]:
    """Return how many characters of a reply fit, and the part that does not follow there; None at the end."""
    patterns = _patterns(parts, codes)
    for count in range(len(patterns), 0, -1):
        found = re.match("".join(patterns[:count]), text, re.DOTALL)
        if found is not None:
            return found.end(), next(iter(parts[count:]), None)
    return 0, next(iter(parts), None)


def _patterns(parts: Sequence[Part], codes: Mapping[str, Sequence[str]]) -> list[str]:
    patterns = []
    for at, part in enumerate(parts):
        after = next(iter(solid(parts[at + 1 :])), None)
        if isinstance(part, Literal):
            patterns.append(_literal(part.text, exact_end=isinstance(after, Field) and after.width is not None))
        elif part.in_bytes:
            patterns.append(rf"([\x00-\xff]{{{part.width}}})")
        elif part.type in MARKS:
            patterns.append("()")
        elif part.width is not None:
            patterns.append(rf"([\x20-\x7e\x80-\xff]{{{part.width}}})")
        else:
            # (?>...), not a + behind the group: that failed in Python before 3.11.5 (gh-106052)
            patterns.append(f"(?>({content(part, after, codes)}))")
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


def content(field: Field, after: Part | None, codes: Mapping[str, Sequence[str]]) -> str:
    """Return the pattern of what a field may print, `after` being what follows it."""
    if field.type == "enum":
        listed = sorted(codes.get(field.name or "", ()), key=len, reverse=True)
        if not listed:
            raise TemplateError(f"the field {field.name!r} is an enum, but no channel of that field lists its codes")
        return "(?:" + "|".join(re.escape(latin1(code)) for code in listed) + ")"
    if field.type in CHECKSUMS:
        return f"[0-9A-Fa-f]{{{field.width}}}"
    if field.type == BLOCK:
        return _HEAD
    if field.type not in _RUNNING:
        worded = field.type in DIGITS or field.type == "hexs"
        words = sorted(codes.get(field.name or "", ()), key=len, reverse=True) if worded else []
        number = _WITH_COMMA[field.type] if field.comma else _PATTERNS[field.type]
        if field.type == "hexs":
            number = f"[0-9A-Fa-f]{{{field.width}}}"
        return "|".join([number, *(re.escape(latin1(word)) for word in words)])
    first, others, least, most = _RUNNING[field.type]
    stop = ""
    if isinstance(after, Literal):
        stop = f"(?![{re.escape(after.text[0])}])"
    elif after is not None and after.type == "blanks":
        stop = "(?! )"
    if least == 0:
        return f"(?>(?:{stop}[{others}]){{0,{most}}})"
    return f"{stop}[{first}](?>(?:{stop}[{others}]){{0,{most - 1}}})"


def inside_of(field: Field, codes: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """Return what a field of fixed width must hold: its content between blanks."""
    if field.type == "text":
        return re.compile(r" *+((?>(?:[!-~\x80-\xff]++(?: +(?=[!-~\x80-\xff]))?)*)) *+")
    return re.compile(f" *+(?>({content(field, None, codes)})) *+")


def has_loose_blank(parts: Sequence[Part]) -> bool:
    """Whether a blank of the template may stand for several."""
    return any(
        isinstance(part, Literal)
        and " " in (part.text.rstrip(" ") if isinstance(after, Field) and after.width is not None else part.text)
        for part, after in zip(parts, [*parts[1:], None], strict=False)
    )


def shape_of(part: Part) -> str:
    """Return a part without its name: replies of equal shapes cannot be told apart."""
    if isinstance(part, Literal):
        return re.sub(" +", " ", part.text)
    return f"{{{part.type}{'' if part.width is None else f':{part.width}'}}}"


def sample_of(field: Field, codes: Sequence[str]) -> str:
    """Return what a field may print; `codes`: of an enum."""
    if field.type in KINDS:
        return as_sent(KINDS[field.type].write(_SAMPLE_IN_BYTES), field.order)
    text = codes[0] if field.type == "enum" and codes else _SAMPLES.get(field.type, "")
    text = text.replace(".", ",") if field.comma else text
    if field.type == "hexs":
        return text[-(field.width or 1) :]
    if field.width is None:
        return text
    if len(text) > field.width:
        text = {"nr2": "1," if field.comma else "1.", "nr3": "1E1"}.get(field.type, "1" * field.width)
    return text[: field.width].rjust(field.width)

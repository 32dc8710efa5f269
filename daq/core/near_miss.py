"""Says why a reply was refused although nearly all of it is as its driver says: a word nobody listed, a wrong checksum.

Only for people: what is refused stays refused, whatever is found here. Pure.

    Template, refused reply -> [near_miss] -> words -> UnreadableReply
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from daq.core.checksum import printed
from daq.core.errors import quoted
from daq.core.template import Field, Template, TemplateError, may_print, parse
from daq.core.template_parts import DIGITS, Literal
from daq.core.template_patterns import reached, shape_of

_LISTED = ("enum", "bits", "hexs", "hex", *sorted(DIGITS))
"""Types of fields whose content can be seen to be wrong by itself."""

_FIELD = re.compile(rf"(\{{[A-Za-z0-9_.,-]*:)(?:{'|'.join(_LISTED)})(?=[:*}}])")


def near_miss(template: Template, reply: bytes) -> str | None:
    """Return what alone is wrong with a refused reply; None where more is."""
    return _wrong_checksum(template, reply) or _wrong_field(template, reply)


def far_as(templates: Sequence[Template], reply: bytes) -> str:
    """Say how far a refused reply fits the template that it fits best, and what belongs there; '' where not at all."""
    text = reply.decode("latin-1")
    ends = [(*reached(template.parts, template.codes, text), template.eol) for template in templates]
    end, part, eol = max(ends, key=lambda each: each[0])
    if end == 0:
        return ""
    belongs = quoted(eol) if part is None else quoted(part.text) if isinstance(part, Literal) else shape_of(part)
    return f"; it fits as far as {quoted(text[:end])}, where {belongs} belongs"


def _wrong_checksum(template: Template, reply: bytes) -> str | None:
    found = template.pattern.fullmatch(reply.decode("latin-1"))
    for one in template.checksums if found is not None else ():
        assert found is not None, "it was asked before"
        if not one.agrees(found, reply):
            right = printed(one.kind, one.counted(found, reply))
            which = "that it counts" if one.begin or one.end else "before it"
            return f"its checksum is {quoted(found[one.group])}, and the characters {which} make {right!r} ({one.kind})"
    return None


def _wrong_field(template: Template, reply: bytes) -> str | None:
    try:
        fields = parse(_FIELD.sub(r"\1word", template.source), template.eol, None, template.decimal).fields(reply)
    except TemplateError:
        return None  # such a word could not be told from what follows it
    wrong = [
        (part.name, fields[part.name])
        for part in template.parts
        if fields and isinstance(part, Field) and part.name is not None and part.type in _LISTED
        if not may_print(part, fields[part.name], template.codes.get(part.name, ()) or ("",))
    ]
    return _in_words(template, *wrong[0]) if len(wrong) == 1 else None


def _in_words(template: Template, name: str, text: str) -> str:
    kind, known = template.types[name], ", ".join(map(repr, template.codes.get(name, ())))
    if kind == "enum":
        cure = "Where the manual has it, list it: in enum, or in status, such as 0: ok"
        return f"{name} is {quoted(text)}, which is none of its codes: {known}. {cure}"
    if re.match(r"[+-]?\.?[0-9]", text):
        return f"{name} is {quoted(text)}, which is not of type {kind}; its driver expects {template.source!r}"
    beside = f", nor one of {known}" if known else ""
    return (
        f"{name} is {quoted(text)}, which is no number ({kind}){beside}. "
        f"Where the manual says what it means, list it: special: {{{text!r}: invalid}}, or absent, overrange"
    )

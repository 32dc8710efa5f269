"""Looks for checksums that a driver throws away, and for fields that its checksums do not count.

A reply whose checksum is not declared as one is read although a digit of it was damaged. Which one it is shows by
trying: of the ways known here, what counts to the same number in every example of a template.

    TextDriver -> its examples -> [checksum_findings] -> (keys, what is to be said) -> findings
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from daq.core.checksum import CHECKSUMS, agrees
from daq.core.driver import TextDriver
from daq.core.errors import DaqError, quoted
from daq.core.template import Field, Template
from daq.core.text_readings import WholeReply
from daq.workshop.entry import poll_plan, streams_of
from daq.workshop.register_findings import Found
from daq.workshop.reread import replies

_DIGITS = re.compile("[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}")


@dataclass(frozen=True, slots=True)
class _Fit:
    """A way of counting that gives what was printed.

    Args:
        begin: characters at the beginning that do not count; end: those right before the checksum that do not.
    """

    kind: str
    begin: int
    end: int


@dataclass(slots=True)
class _Suspect:
    """A field that is thrown away, in every reply of the examples."""

    fits: set[_Fit]
    shown: str
    replies: int = 0


def checksum_findings(driver: TextDriver) -> Iterator[Found]:
    """Give each field that is thrown away and is a checksum in all examples, and how to declare it."""
    found: dict[tuple[str, str, int], _Suspect] = {}
    different = {(poll, template.source, whole): template for poll, template, whole in _seen(driver)}
    for (poll, _, whole), template in different.items():
        for group, fits, shown in _suspects(template, whole):
            known = found.setdefault((poll, template.source, group), _Suspect(fits, shown))
            known.fits = known.fits & fits
            known.replies += 1
    for (poll, source, _), one in found.items():
        if one.fits:
            yield _where(driver, poll), _said(source, one)
    for poll, source in {(poll, its.source): None for (poll, _, _), its in different.items() if _is_uncounted(its)}:
        said = f"{source!r} has a checksum, and a field that it does not count: damaged, that one is read all the same."
        yield _where(driver, poll), f"{said} Have {{:from}} and {{:to}} hold all of them, if the manual says so."


def _where(driver: TextDriver, poll: str) -> tuple[str, str]:
    return "streams" if poll in streams_of(driver) else "polls", poll


def _is_uncounted(template: Template) -> bool:
    return bool(template.checksums) and not template.proven


def _said(source: str, one: _Suspect) -> str:
    fit = min(one.fits, key=lambda each: (each.begin, each.end, list(CHECKSUMS).index(each.kind)))
    marks = [
        *(["{:from} behind the first character"] if fit.begin else []),
        *(["{:to} before the character that stands in front of it"] if fit.end else []),
    ]
    counted = f", with {' and '.join(marks)}" if marks else ""
    how_often = f"in all {one.replies} replies" if one.replies > 1 else "in the only reply"
    return (
        f"{source!r} throws {quoted(one.shown)} away, which {how_often} of the examples is the checksum {fit.kind} of "
        f"what stands before it: damaged replies are read, and could be refused. Write {{:{fit.kind}}} there{counted}."
    )


def _seen(driver: TextDriver) -> Iterator[tuple[str, Template, str]]:
    """Give (poll, template, reply with its ending) for every reply of the examples."""
    ending = driver.link.eol
    for example in driver.examples:
        try:
            steps = replies(poll_plan(driver, example.poll, example.settings))
        except DaqError:
            continue  # named as a problem already
        for step, got in zip(steps, example.got, strict=False):
            assert step.reply is not None, "only what is answered is among them"
            assert isinstance(step.reply.match, WholeReply), "text is matched by templates"
            for shape in step.reply.match.shapes:
                if shape.template.fields((got + ending).encode("latin-1")) is not None:
                    yield example.poll, shape.template, got + ending


def _suspects(template: Template, whole: str) -> Iterator[tuple[int, set[_Fit], str]]:
    """Give the fields of a reply that are thrown away and could be checksums: group, ways that fit, what is printed."""
    found = template.pattern.fullmatch(whole)
    assert found is not None, "it matched before"
    fields = [part for part in template.parts if isinstance(part, Field)]
    for group, part in enumerate(fields, 1):
        text: str = found[group]
        known = part.type in CHECKSUMS or part.name is not None
        if known or not (part.type.startswith("uint") if part.in_bytes else _DIGITS.fullmatch(text)):
            continue
        yield group, set(_fits(whole[: found.start(group)], text, in_bytes=part.in_bytes)), text


def _fits(before: str, sent: str, *, in_bytes: bool) -> Iterator[_Fit]:
    for kind, its in CHECKSUMS.items():
        if its.in_bytes is not in_bytes or its.length != len(sent):
            continue
        for begin in (0, 1):
            for end in (0, 1):
                counted = before[begin : len(before) - end]
                if len(counted) >= 2 and agrees(kind, counted.encode("latin-1"), sent):
                    yield _Fit(kind, begin, end)

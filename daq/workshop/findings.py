"""Holds a driver file against the rules of the house: what is wrong, and what is right and yet a risk.

Each finding has its place and says how to mend it. Wrong is what the daemon would refuse, an example that does not come
out, and a TODO that is left. A warning can be mended in the file. A remark cannot: what nothing on such a wire shows.

    path -> [examined] -> Examined (problems, warnings, remarks: file:line:column: key: what. How to mend.) -> cli
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import DaqError
from daq.core.register_map import RegisterIdentify
from daq.core.written import Keys, Source, dotted
from daq.load import judge_driver
from daq.workshop.checksum_findings import checksum_findings
from daq.workshop.damage import Damage, Kind, damages
from daq.workshop.entry import poll_plan, polls_of, streams_of
from daq.workshop.output_findings import output_findings
from daq.workshop.register_findings import TOLD, Found, register_findings
from daq.workshop.text_findings import text_findings

TODO = "TODO"
"""Stands where a skeleton of `daq driver new` waits for its author."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in one driver file.

    Args:
        examples: how many it has.
        problems: one line each; the file is not fit for use.
        warnings: one line each.
        remarks: one line each.
        tried, passed: replies damaged on purpose, and how many of them would be read as something else.
    """

    examples: int
    problems: list[str]
    warnings: list[str]
    remarks: list[str] = field(default_factory=list)
    tried: int = 0
    passed: int = 0


def examined(path: Path) -> Examined:
    """Read a driver file, run its examples, and look for what it lacks."""
    driver, source, problems = judge_driver(path)
    if source is None:
        return Examined(0, problems, [])
    todos = [] if source.faults else _lines(source, _todos(source))
    unfinished = {_row(line) for line in todos}
    problems = [line for line in problems if TODO not in line or _row(line) not in unfinished]
    told = {_row(problem) for problem in problems}
    for line in todos:
        if _row(line) not in told:  # one finding is enough to send its author to a line
            told.add(_row(line))
            problems.append(line)
    if driver is None:
        return Examined(0, problems, [])
    struck = damages(driver) if isinstance(driver, TextDriver) else {}
    warnings = [*_warnings(driver), *_avoidable(driver, struck)]
    return Examined(
        len(driver.examples),
        problems,
        _lines(source, warnings),
        _lines(source, _unavoidable(driver, struck)),
        sum(one.tried for one in struck.values()),
        sum(sum(one.passed.values()) for one in struck.values()),
    )


def _row(finding: str) -> str:
    return re.sub(r":\d+: .*", "", finding, flags=re.DOTALL)


def _lines(source: Source, found: Iterable[Found]) -> list[str]:
    """Put the place before each finding, in the order of the file."""
    placed = sorted((source.place(path), dotted(path), said) for path, said in found)
    return [f"{source.shown}:{line}:{column}: {key}: {said}" for (line, column), key, said in placed]


def _todos(source: Source) -> Iterator[Found]:
    """Find values that still wait for their author; comments may say what they like."""
    for path, value in _leaves(source.data, ()):
        if isinstance(value, str) and re.search(rf"\b{TODO}\b", value):
            yield path, f"{value.strip()[:60]!r} is still to be filled in. The manual says what belongs here."


def _leaves(data: Any, path: Keys) -> Iterator[tuple[Keys, object]]:
    if isinstance(data, dict):
        for key, below in data.items():
            yield from _leaves(below, (*path, key))
            if TODO in key:
                yield (*path, key), key
    elif isinstance(data, list):
        for number, below in enumerate(data):
            yield from _leaves(below, (*path, number))
    else:
        yield path, data


# Warnings -------------------------------------------------------------------------------------------------------------


def _warnings(driver: Driver) -> Iterator[Found]:
    yield from _identity(driver)
    yield from _times(driver)
    yield from _unproven(driver)
    yield from _overload(driver)
    if isinstance(driver, RegisterDriver):
        yield from register_findings(driver)
    else:
        yield from text_findings(driver)
        yield from checksum_findings(driver)
        yield from output_findings(driver)


def _avoidable(driver: Driver, struck: Mapping[str, Damage]) -> Iterator[Found]:
    """Tell of damaged replies that another template would refuse."""
    for poll, one in struck.items():
        if "loose" in one.passed:
            cure = (
                "Have the templates name all that stands around the value: what one shape refuses, a text field or "
                "another shape may take."
            )
            yield _where(driver, poll), _passed(one, "loose", "something else", cure)
        if "column" in one.passed:
            cure = f"If the manual says that it always has as many characters, write {', '.join(one.columns)}."
            yield _where(driver, poll), _passed(one, "column", "another number", cure)


def _unavoidable(driver: Driver, struck: Mapping[str, Damage]) -> Iterator[Found]:
    """Tell of those that nothing on such a wire shows; of polls that are all answered alike in one line."""
    alike = set[frozenset[str]]()
    for poll, one in ((poll, struck[poll]) for poll in polls_of(driver) if poll in struck):
        if "digits" in one.passed:
            why = f"Characters lost from {', '.join(one.hit)} show nowhere: neither width nor checksum."
            yield _where(driver, poll), _passed(one, "digits", "another value", why)
        if one.foreign and frozenset({poll, *one.foreign}) not in alike:
            alike.add(frozenset({poll, *one.foreign}))
            cure = "Where the instrument can send headers with its answers, have it do so."
            yield _where(driver, poll), f"its answer cannot be told from that to {', '.join(one.foreign)}. {cure}"


def _passed(one: Damage, kind: Kind, read_as: str, cure: str) -> str:
    return f"{one.passed[kind]} of {one.tried} damaged replies would be read as {read_as}: {one.shown[kind]}. {cure}"


def _where(driver: Driver, poll: str) -> Keys:
    return ("streams" if poll in streams_of(driver) else "polls", poll)


def _all(driver: Driver) -> dict[str, Any]:
    """Return polls and streams by name; they have channels and time in common."""
    return {**driver.polls, **(driver.streams if isinstance(driver, TextDriver) else {})}


def _identity(driver: Driver) -> Iterator[Found]:
    """Look for who answers, and for the serial number."""
    identify = driver.identify
    if identify is None:
        if isinstance(driver, RegisterDriver) and driver.verify is not None:
            return
        cure = (
            "Give identify with a register that tells the model, or verify with a register of known content."
            if isinstance(driver, RegisterDriver)
            else 'Give identify, such as {ask: "*IDN?", reply: "{maker:text},{model:text},{serial:text},{:text}"}.'
        )
        yield ("identify",), f"is missing: nobody asks who answers, and a swapped instrument goes unnoticed. {cure}"
        return
    if isinstance(identify, RegisterIdentify):
        fields = {*identify.read, *identify.device}
        cure = "Add it to read, or to device where the instrument says it itself (function 43/14), if it can."
    else:
        fields = set(re.findall(r"\{(\w+):", str(identify.model_dump())))
        cure = "Add the field {serial:text}, or a step that asks for it, if the instrument can say it."
    if "serial" not in fields:
        yield ("identify",), f"the serial number is not asked: another one of the same model goes unnoticed. {cure}"
    if not identify.expect:
        cure = "Give expect: {model: ...}, a regular expression of the models that speak so."
        yield ("identify",), f"any model that answers is taken for this one. {cure}"


def _times(driver: Driver) -> Iterator[Found]:
    """Look for time models that claim nothing: a reading true at the very instant of its answer."""
    keys = {"triggered": "aperture", "filtered": "window", "latest": "period", "arrival": "latency"}
    for name, poll in _all(driver).items():
        key = keys[poll.time.model]
        if not re.search("[1-9]|[a-zA-Z_]{2}", str(getattr(poll.time, key))):
            said = f"{poll.time.model} over no time at all. Write the longest that the manual gives, such as '500 ms'."
            yield (*_where(driver, name), "time"), said


def _unproven(driver: Driver) -> Iterator[Found]:
    """Look for channels that no example gives, one line a poll."""
    for poll in polls_of(driver):
        try:
            plan = poll_plan(driver, poll)
        except DaqError:
            continue  # named as a problem already
        given = {name for one in driver.examples if one.poll == poll for name in (*one.gives, *one.text)}
        missing = [channel.name for channel in plan.channels if channel.name not in given]
        if missing:
            said = (
                f"no example gives {', '.join(missing)}. Copy a reply from the manual, or keep one: daq driver record."
            )
            yield _where(driver, poll), said


def _overload(driver: Driver) -> Iterator[Found]:
    """Look for polls that measure and never say what they answer beyond their range."""
    for name, poll in _all(driver).items() if isinstance(driver, TextDriver) else ():
        measuring = [key for key, each in poll.channels.items() if _measures(each)]
        if measuring and not _declared(driver, name, poll):
            cure = (
                "Give special: {'9.9E37': overrange}, a shape of its own with status: overrange, or an example with "
                "the status or outcome that comes of it."
            )
            yield _where(driver, name), f"what {measuring[0]} answers beyond its range is not declared. {cure}"


def _measures(channel: Any) -> bool:
    """Whether a channel can be beyond its range: a number that was measured."""
    return channel.kind == "number" and not channel.quantity.endswith(".setpoint") and channel.quantity not in TOLD


def _declared(driver: Driver, name: str, poll: Any) -> bool:
    shown = any(one.status or getattr(one, "outcome", None) for one in driver.examples if one.poll == name)
    listed = getattr(driver, "special", None) or any(channel.special for channel in poll.channels.values())
    parts = [poll, *(getattr(poll, "steps", None) or [])]
    shaped = any(shape.status for part in parts for shape in getattr(part, "replies", None) or [])
    return bool(shown or listed or shaped or any(getattr(part, "status", None) for part in parts))

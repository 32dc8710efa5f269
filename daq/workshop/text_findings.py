"""Looks for slips of the pen in text drivers that compile, and pass their examples, and yet mean something else.

Each is a contradiction within the file: what a question says against what its channel is said to be, a setting that
nobody sets, a list whose order a decimal comma has broken. None of it knows the instrument.

    TextDriver -> [text_findings] -> (keys, what is to be said) -> findings
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from daq.core import template
from daq.core.driver import Stream, TextChannel, TextDriver, TextPoll, TextStep, Triggered
from daq.core.driver_parts import Setting
from daq.core.errors import DaqError
from daq.core.formula import names
from daq.core.observation import NS, ReadingStatus
from daq.core.plan import InstrumentPlan
from daq.core.quantity import in_unit
from daq.core.settings import as_number, names_in
from daq.core.template import BITS, NUMBERS, TemplateError, parse
from daq.core.timing import Triggered as Measured
from daq.core.written import Keys
from daq.workshop.entry import compiled, entry
from daq.workshop.register_findings import Found

IDENTITY = ("maker", "model", "serial", "firmware")
"""Fields of the answer to *IDN?, in their order (IEEE 488.2-1992, 10.14.3)."""

PRINTED = {"C": "Cel", "°C": "Cel", "F": "[degF]", "°F": "[degF]", "K": "K"}
"""What instruments print, and UCUM calls otherwise."""

DURATIONS = frozenset({"nplc", "aperture", "integration", "integration_time", "gate", "gate_time"})
"""Settings by whose names measuring takes its time."""


def text_findings(driver: TextDriver) -> Iterator[Found]:
    """Give all findings of a driver that compiles."""
    yield from _spelled_out(driver)
    yield from _questions(driver)
    yield from _identity_order(driver)
    yield from _cut_short(driver)
    yield from _starred(driver)
    yield from _ended_twice(driver)
    yield from _nothing_wrong(driver)
    yield from _settings(driver)
    yield from _alternating(driver)
    yield from _times(driver)
    yield from _printed_units(driver)
    yield from _thrown_away(driver)
    yield from _open_codes(driver)


# What is asked --------------------------------------------------------------------------------------------------------


_SPELLED = re.compile(r"\\x[0-9A-Fa-f]{2}|\\[rnt](?![A-Za-z])|<(?:ESC|CR|LF|STX|ETX|ENQ|ACK)>")
"""A control character as manuals and programmers write it."""


def _spelled_out(driver: TextDriver) -> Iterator[Found]:
    """Look for control characters that are spelled out, which go over the wire letter by letter."""
    for path, text in _texts(
        driver.model_dump(mode="json", include={"identify", "setup", "modes", "polls", "streams"}), ()
    ):
        found = _SPELLED.search(text)
        if found is not None:
            how = 'Write it in double quotes, ESC as "\\x1b", CR as "\\r".'
            yield path, f"{found[0]!r} is sent, or waited for, letter by letter. {how}"


def _texts(data: object, path: Keys) -> Iterator[tuple[Keys, str]]:
    """Give every text below a key, with its keys."""
    for key, below in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        if isinstance(below, str):
            yield (*path, key), below
        else:
            yield from _texts(below, (*path, key))


def _asked(driver: TextDriver) -> Iterator[tuple[Keys, str]]:
    """Give every question of the driver with its keys."""
    if driver.identify is not None and driver.identify.ask is not None:
        yield ("identify", "ask"), driver.identify.ask
    for name, poll in driver.polls.items():
        if poll.ask is not None:
            yield ("polls", name, "ask"), poll.ask
        for number, step in enumerate(poll.steps or []):
            if step.ask is not None:
                yield ("polls", name, "steps", number, "ask"), step.ask
    for path, setting in _all_settings(driver):
        if setting.get is not None:
            yield (*path, "get"), setting.get


def _questions(driver: TextDriver) -> Iterator[Found]:
    """Look for the one question without a question mark in a language that puts it behind all others."""
    asked = list(_asked(driver))
    bare = [(path, ask) for path, ask in asked if "?" not in ask]
    if len(asked) >= 3 and len(bare) == 1:
        path, ask = bare[0]
        yield path, f"{ask!r} is the only question without a question mark: it may never be answered. Is one missing?"


def _identity_order(driver: TextDriver) -> Iterator[Found]:
    """Look for an identity whose fields stand in another order than IEEE 488.2 has them."""
    identify = driver.identify
    if identify is None or (identify.ask or "").upper() != "*IDN?":
        return
    fields = [name for name in re.findall(r"\{(\w+):", identify.reply or "") if name in IDENTITY]
    wanted = [name for name in IDENTITY if name in fields]
    if fields != wanted:
        said = f"{', '.join(fields)} is not the order of answers to *IDN?, which is {', '.join(IDENTITY)}. Check it."
        yield ("identify", "reply"), said


def _cut_short(driver: TextDriver) -> Iterator[Found]:
    """Look for an expected model that is only the beginning of one that the title names."""
    expected = driver.identify.expect.get("model") if driver.identify is not None else None
    if expected is None:
        return
    titled = re.findall(r"[\w.-]*\w", driver.title)
    begun = [word for word in titled if word.startswith(expected) and word != expected]
    if begun and expected not in titled:
        said = f"{expected!r} must match the whole of the model, and the title has {begun[0]!r}. Write {expected}.*"
        yield ("identify", "expect", "model"), said


def _starred(driver: TextDriver) -> Iterator[Found]:
    """Look for an expectation with a star as file names have it: here it repeats what stands before it."""
    for name, expected in (driver.identify.expect if driver.identify is not None else {}).items():
        if re.search(r"[A-Za-z0-9]\*$", expected):
            said = f"{expected!r} repeats {expected[-2]!r}, and nothing else may follow. Write {expected[:-1]}.*"
            yield ("identify", "expect", name), said


def _ended_twice(driver: TextDriver) -> Iterator[Found]:
    """Look for questions that bring an ending of their own where the link gives them one."""
    ending = driver.link.eol if driver.link.ask_eol is None else driver.link.ask_eol
    for path, ask in _asked(driver) if ending else ():
        if ask[-1:] in ("\n", "\r"):
            said = (
                f"{ask!r} brings its own ending, and {ending!r} is put behind it. Leave it out, or have ask_eol empty."
            )
            yield path, said


def _nothing_wrong(driver: TextDriver) -> Iterator[Found]:
    """Look for an empty queue of errors that no SCPI instrument would print so."""
    errors = driver.errors
    if errors is None or not re.search("SYST.*ERR", errors.ask.upper()):
        return
    nothing = [errors.none] if isinstance(errors.none, str) else errors.none
    if not any("," in each for each in nothing):
        said = f"{nothing[0]!r} is compared whole, and SCPI prints number and words. Write it like '+0,\"No error\"'."
        yield ("errors", "none"), said


def _alternating(driver: TextDriver) -> Iterator[Found]:
    """Look for polls whose question, or mode, says AC and whose quantity says DC, or the other way round."""
    for name, poll in driver.polls.items():
        said = [ask for path, ask in _asked(driver) if path[:2] == ("polls", name)]
        said += [each.tell for each in driver.modes[poll.mode].enter] if poll.mode in driver.modes else []
        kinds = {found.lower() for each in said for found in re.findall(r"(?:VOLT|CURR)\w*:(AC|DC)\b", each.upper())}
        for key, channel in poll.channels.items():
            kind = channel.quantity.rpartition(".")[2]
            if len(kinds) == 1 and kind in {"ac", "dc"} and kind not in kinds:
                (asked,) = kinds
                words = f"{channel.quantity} is read, and what is asked says {asked.upper()}. Check the quantity."
                yield ("polls", name, "channels", key, "quantity"), words


# Settings -------------------------------------------------------------------------------------------------------------


def _all_settings(driver: TextDriver) -> Iterator[tuple[Keys, Setting]]:
    yield from ((("settings", name), its) for name, its in driver.settings.items())
    for mode, its in driver.modes.items():
        yield from ((("modes", mode, "settings", name), each) for name, each in its.settings.items())


def _settings(driver: TextDriver) -> Iterator[Found]:
    """Look for settings that are never set, and for lists of values in disorder."""
    used = _used(driver)
    for path, setting in _all_settings(driver):
        name = str(path[-1])
        if setting.set is not None and name not in used:
            said = "is never set: no mode's enter and no setup names it. A bench that gives it changes nothing."
            yield path, f"{said} Put {name} where it belongs, or take it away."
        if setting.set is not None and name not in names_in(setting.set) and len(setting.one_of or []) != 1:
            said = f"{setting.set!r} says the same whatever the setting is. Put {{{name}}} where its value belongs."
            yield (*path, "set"), said
        numbers = [as_number(one) for one in setting.one_of or []]
        known = [number for number in numbers if number is not None]
        orders = (sorted(set(known)), sorted(set(known), reverse=True))
        if len(known) == len(numbers) and known not in orders:
            said = "are in no order. Is a decimal comma meant? Decimals have a point."
            yield (*path, "one_of"), f"{', '.join(map(str, setting.one_of or []))} {said}"


def _used(driver: TextDriver) -> set[str]:
    """Return the settings that commands and questions name, or hold in braces."""
    told = [*driver.over_serial.wake, *driver.over_serial.setup, *driver.setup, *driver.teardown]
    told += [command for stream in driver.streams.values() for command in (*stream.start, *stream.stop)]
    told += [command for mode in driver.modes.values() for command in mode.enter]
    commands = [each.tell for each in told]
    text = repr(driver.model_dump(include={"polls", "streams", "identify", "errors"}))
    channels = [channel for poll in driver.polls.values() for channel in poll.channels.values()]
    chosen = {name for channel in channels for name in channel.set_by.values()}
    values = {each for poll in driver.polls.values() for each in poll.for_each.values() if isinstance(each, str)}
    return {*commands, *(name for command in commands for name in names_in(command)), *names_in(text), *chosen, *values}


# Times ----------------------------------------------------------------------------------------------------------------


def _times(driver: TextDriver) -> Iterator[Found]:
    """Look for apertures that a setting changes unseen, waits that end before the measurement, silence too short."""
    for name, poll in driver.polls.items():
        yield from _deaf_aperture(driver, name, poll)
        fetched = [ask for path, ask in _asked(driver) if path[:2] == ("polls", name) and "FETC" in ask.upper()]
        if fetched and isinstance(poll.time, Triggered):
            said = (
                f"{fetched[0]} answers with the newest measurement (SCPI-99, 3.5). Write model: latest and its period."
            )
            yield ("polls", name, "time"), said
    try:
        plan = compiled(driver, entry(driver))
    except DaqError:
        return
    yield from _short_waits(plan)
    for name, stream in driver.streams.items():
        found = next((poll for poll in plan.polls if poll.source == name), None)
        latency_ns = getattr(found.time, "latency_ns", 0) if found is not None else 0
        if stream.quiet <= latency_ns:
            said = f"{stream.quiet / NS:g} s of silence is a time-out, and a line alone may take {latency_ns / NS:g} s."
            yield ("streams", name, "quiet"), f"{said} Make it several times as long."


def _deaf_aperture(driver: TextDriver, name: str, poll: TextPoll) -> Iterator[Found]:
    if not isinstance(poll.time, Triggered) or poll.mode not in driver.modes:
        return
    mode = driver.modes[poll.mode]
    entering = [command.tell for command in mode.enter]
    entered = {*entering, *(each for command in entering for each in names_in(command))}
    try:
        known = names(poll.time.aperture)
    except ValueError:
        return  # named as a problem already
    for setting in sorted(entered & DURATIONS - known):
        said = f"{poll.time.aperture} does not depend on {setting}, which the mode sets. Write it as a formula of it."
        yield ("polls", name, "time", "aperture"), said


def _short_waits(plan: InstrumentPlan) -> Iterator[Found]:
    for poll in plan.polls:
        if not isinstance(poll.time, Measured) or poll.every_ns is None:
            continue
        takes_ns = poll.time.delay_ns + (poll.time.aperture_ns or 0) * (1 if poll.time.autozero == "none" else 2)
        within_ns = max((step.within_ns for step in poll.steps), default=takes_ns)
        if within_ns < takes_ns:
            said = f"an answer is waited for {within_ns / NS:g} s, and measuring alone takes {takes_ns / NS:g} s"
            yield ("polls", poll.source), f"{said}. Make within, or link.max_latency, longer."


# Replies --------------------------------------------------------------------------------------------------------------


def _printed_units(driver: TextDriver) -> Iterator[Found]:
    """Look for printed units that are read as another unit of the same kind: kg as g."""
    for path, channel in _channels(driver):
        for printed, code in channel.units.items():
            meant = PRINTED.get(printed) or (printed if _factor(printed, code) not in {None, Decimal(1)} else code)
            if meant != code:
                said = f"{printed!r} is printed and would be read as {code!r}. Write {printed}: {meant}."
                yield (*path, "units"), said


def _channels(driver: TextDriver) -> Iterator[tuple[Keys, TextChannel]]:
    for name, poll in driver.polls.items():
        yield from ((("polls", name, "channels", key), channel) for key, channel in poll.channels.items())
    for name, stream in driver.streams.items():
        yield from ((("streams", name, "channels", key), channel) for key, channel in stream.channels.items())


def _factor(printed: str, code: str) -> Decimal | None:
    """Return how many of one unit make one of the other; None where the printed one is no code, or of another kind."""
    try:
        return in_unit(f"1 {printed}", code)
    except (ValueError, ArithmeticError, InvalidOperation):
        return None


def _thrown_away(driver: TextDriver) -> Iterator[Found]:
    """Look for fields that are thrown away and touch a number: its sign or its digits may be among them."""
    for path, source in templates_of(driver):
        try:
            parts = parse(source, driver.link.eol, None, driver.link.decimal).parts
        except TemplateError:
            continue  # an enum, whose codes only its poll knows
        for left, right in pairwise(parts):
            if not (isinstance(left, template.Field) and isinstance(right, template.Field)):
                continue
            number, beside = (right, left) if right.type in NUMBERS else (left, right)
            if number.type in NUMBERS and number.name and beside.name is None and beside.type in {"text", "word"}:
                said = f"{number.name} touches a field that is thrown away: a sign or a digit may go with it"
                yield path, f"{source!r}: {said}. Have the number's own width hold all of it."


def templates_of(driver: TextDriver) -> Iterator[tuple[Keys, str]]:
    """Give the templates of all polls and streams, each with its keys."""
    for top, polls in (("polls", driver.polls), ("streams", driver.streams)):
        for name, poll in polls.items():
            for key in ("reply", "replies"):
                yield from _shapes((top, name, key), getattr(poll, key))
            for number, step in enumerate(getattr(poll, "steps", None) or []):
                for key in ("reply", "replies"):
                    yield from _shapes((top, name, "steps", number, key), getattr(step, key))


def _shapes(path: Keys, written: object) -> Iterator[tuple[Keys, str]]:
    if isinstance(written, str):
        yield path, written
    elif isinstance(written, list):
        yield from (((*path, number), shape.match) for number, shape in enumerate(written))


def _open_codes(driver: TextDriver) -> Iterator[Found]:
    """Look for codes of a status of which those that nobody listed count as ok, and for numbers taken for bits."""
    for name, poll in driver.polls.items():
        for number, step in enumerate(poll.steps or []):
            yield from _codes_of(driver, ("polls", name, "steps", number), step, poll.channels)
    for name, stream in driver.streams.items():
        yield from _codes_of(driver, ("streams", name), stream, stream.channels)


def _codes_of(driver: TextDriver, path: Keys, step: TextStep | Stream, channels: Iterable[str]) -> Iterator[Found]:
    written = [source for _, source in _shapes(path, step.reply or step.replies)]
    kinds = {part.name: part.type for source in written for part in _fields(driver, source) if part.name is not None}
    free = [field for field in kinds if field not in channels]
    for channel, codes in step.status.items():
        field = step.status_in.get(channel) or (free[0] if len(free) == 1 else "")
        kind, shared = kinds.get(field), _shared_bits([code for code in codes if code.isdecimal()])
        if kind in BITS - {"hex"} and shared:
            said = f"{shared} have bits in common: are they numbers? Write {{{field}:enum}}, and list 0: ok as well."
            yield (*path, "status", channel), said
        elif kind not in {None, "enum", *BITS} and ReadingStatus.OK not in codes.values():
            said = f"what {field} says and the list has not counts as ok. List what is ok, such as 0: ok; "
            yield (*path, "status", channel), f"{said}then all else is invalid."


def _fields(driver: TextDriver, source: str) -> list[template.Field]:
    try:
        parts = parse(source, driver.link.eol, None, driver.link.decimal).parts
    except TemplateError:
        return []  # an enum refuses what is not listed
    return [part for part in parts if isinstance(part, template.Field)]


def _shared_bits(codes: Sequence[str]) -> str:
    """Return the masks that have bits in common; "" where none have."""
    return ", ".join(code for code in codes if any(int(code) & int(other) for other in codes if other != code))

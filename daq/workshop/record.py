"""Keeps the dialogue with a real instrument as examples of its driver.

What was answered becomes `got`, what came of it `gives`; a reply that the driver refused is no example of anything and
is left out. Appending changes nothing else in the file: comments stay, and what would not load is not written.

    Attempt -> [examples] -> lines of YAML -> [appended] -> the user's driver file
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import DaqError
from daq.core.modbus import Framing
from daq.core.observation import Exchange, Kind, Reading, ReadingStatus, Status
from daq.core.plan import TextStep
from daq.core.written import Source
from daq.load import judge_driver, read_yaml
from daq.workshop.attempt import Attempt, Tried
from daq.workshop.entry import settings_of
from daq.workshop.orders import memory_of
from daq.workshop.reread import replies

_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_NAMED = {1: 0, 2: 10000, 3: 40000, 4: 30000}
_OUTCOMES = {Status.BUSY: "busy", Status.INSTRUMENT_ERROR: "instrument_error"}


def examples(driver: Driver, found: Attempt, utc_ns: int) -> list[str]:
    """Return the examples, a line each without indentation, below a comment that says where they come from."""
    lines = [line for one in found.tried if (line := _example(driver, found, one)) is not None]
    return [_origin(found, utc_ns), *lines] if lines else []


def left_out(driver: Driver, found: Attempt) -> list[str]:
    """Say which polls became no example, and why."""
    return [
        f"{one.poll}: {one.status}{f': {one.detail}' if one.detail else ''}"
        for one in found.tried
        if _example(driver, found, one) is None
    ]


def _origin(found: Attempt, utc_ns: int) -> str:
    day = datetime.fromtimestamp(utc_ns / 1e9, UTC).date().isoformat()
    met = found.met
    known = [] if met is None else [met.identity.model, met.identity.serial, met.firmware]
    who = ", ".join(each for each in known if each) or "an instrument that does not say who it is"
    simulated = ", simulated" if met is not None and met.simulated else ""
    return f"# recorded {day} from {who}{simulated}"


def _example(driver: Driver, found: Attempt, one: Tried) -> str | None:
    parts: dict[str, object] = {"poll": one.poll}
    if isinstance(driver, RegisterDriver):
        held = _registers(driver, one.exchanges, found.framing)
        if one.status is not Status.OK or not held:
            return None
        parts["registers"] = held
    else:
        got = _got(one, found.plan.eol.decode("latin-1"))
        if got is None or (one.status is not Status.OK and (one.status not in _OUTCOMES or len(got) != 1)):
            return None
        parts["got"] = got
    parts["settings"] = settings_of(driver, one.poll, found.settings)
    if one.status is not Status.OK:
        parts["outcome"] = _OUTCOMES[one.status]
    elif isinstance(driver, TextDriver) and _prints_unit(driver, one.poll):
        parts |= _gives(one.readings)
        parts["unit"] = {name: its.unit for name, its in one.readings.items() if its.kind is Kind.NUMBER}
    else:
        parts |= _gives(one.readings)
    return f"- {_flow({key: part for key, part in parts.items() if part not in ({}, [])})}"


def _gives(readings: Mapping[str, Reading]) -> dict[str, object]:
    good = {name: its for name, its in readings.items() if its.status is ReadingStatus.OK}
    return {
        "gives": {name: its.value for name, its in good.items() if its.value is not None},
        "text": {name: its.text for name, its in good.items() if its.value is None},
        "status": {name: str(its.status) for name, its in readings.items() if its.status is not ReadingStatus.OK},
        "flags": {name: [str(flag) for flag in its.flags] for name, its in readings.items() if its.flags},
    }


def _prints_unit(driver: TextDriver, poll: str) -> bool:
    asked = driver.polls.get(poll) or driver.streams[poll]
    return any(channel.unit_in is not None for channel in asked.channels.values())


def _got(one: Tried, ending: str) -> list[str] | None:
    """Return the replies of a poll's steps, without ending; None where they are not all there.

    Before them a mode may have been entered, and readings discarded: the last answer to each question counts.
    """
    found: list[str] = []
    left = list(one.exchanges)
    for step in reversed(replies(one.plan)):
        answer = _last_answer(left, step)
        if answer is None:
            return None
        found.insert(0, answer.got.decode("latin-1").removesuffix(ending))
    return found


def _last_answer(left: list[Exchange], step: TextStep) -> Exchange | None:
    while left:
        exchange = left.pop()
        if exchange.ask == step.ask and exchange.got:
            return exchange
    return None


def _registers(driver: RegisterDriver, exchanges: Iterable[Exchange], framing: Framing | None) -> dict[str, str]:
    """Return 'input 0' -> words from there on, in the driver's own way of counting."""
    memory = {} if framing is None else memory_of(exchanges, framing)
    found: dict[str, str] = {}
    begun, end = "", (0, -1)
    for (function, address), word in sorted(memory.items()):
        digits = f"{word:X}" if function in (1, 2) else f"{word:04X}"
        if (function, address) == end:
            found[begun] += f" {digits}"
        else:
            begun = f"{_TABLES[function]} {_counted(driver, function, address)}"
            found[begun] = digits
        end = (function, address + 1)
    return found


def _counted(driver: RegisterDriver, function: int, address: int) -> int:
    if driver.addressing == "pdu":
        return address
    return address + 1 + (_NAMED[function] if address < 9999 else 0)


def _flow(part: object) -> str:
    """Write plain data as YAML on one line; texts in quotes, names bare."""
    if isinstance(part, dict):
        return "{" + ", ".join(f"{key}: {_flow(below)}" for key, below in part.items()) + "}"
    if isinstance(part, list):
        return "[" + ", ".join(_flow(below) for below in part) + "]"
    text = str(part)
    plain = text.isidentifier() and text.lower() not in {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
    return text if plain else json.dumps(text, ensure_ascii=False)


# Into the file --------------------------------------------------------------------------------------------------------


def new_among(lines: Sequence[str], text: str) -> list[str]:
    """Return the examples that a file does not have yet, under their comment; [] where all are known."""
    fresh = [line for line in lines if line.startswith("#") or line not in text]
    return fresh if any(not line.startswith("#") for line in fresh) else []


def append(path: Path, lines: Sequence[str]) -> None:
    """Write examples to the end of those in a driver file, and nothing else.

    Raises:
        DaqError: with them the file would be wrong, or they cannot be put where they belong; it was left as it is.
    """
    path = path.resolve()
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    changed = _with_examples(text, read_yaml(path, str(path)), lines)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_text(changed, encoding="utf-8", newline="")
        problems = [problem.replace(str(trial), str(path)) for problem in judge_driver(trial)[2]]
    if problems:
        raise DaqError("\n".join([f"{path}: nothing was written; with these examples it would be wrong:", *problems]))
    written = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        written.write_text(changed, encoding="utf-8", newline="")
        shutil.copymode(path, written)
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


def _with_examples(text: str, source: Source, lines: Sequence[str]) -> str:
    ending = "\r\n" if "\r\n" in text else "\n"
    rows = text.splitlines(keepends=True)
    if rows and not rows[-1].endswith("\n"):
        rows[-1] += ending
    if "examples" not in source.data:
        return "".join(rows) + ending.join(["examples:", *(f"  {line}" for line in lines)]) + ending
    key_row = source.keys[("examples",)][0]
    first = source.values.get(("examples", 0))
    row = rows[first[0] - 1] if first is not None else ""
    if not row.lstrip().startswith("-"):
        raise DaqError(
            f"{source.shown}:{key_row}: examples: written in brackets. Write one a line, each behind a dash."
        )
    indent = row[: len(row) - len(row.lstrip())]
    at = _end_of(source, key_row, rows)
    return "".join([*rows[:at], *(f"{indent}{line}{ending}" for line in lines), *rows[at:]])


def _end_of(source: Source, key_row: int, rows: Sequence[str]) -> int:
    """Return how many rows there are up to the end of the examples; what leads to the next key stays with it."""
    behind = [row for path, (row, _) in source.keys.items() if len(path) == 1 and row > key_row]
    at = min(behind) - 1 if behind else len(rows)
    while at > key_row and (not rows[at - 1].strip() or (behind and rows[at - 1].startswith("#"))):
        at -= 1
    return at

"""Turns records of the journal into lines a person can keep: JSON Lines as published, or a table of readings as CSV.

Pure: records in, text out. No digit is touched: numbers are carried as the characters they were written with.

    journal (Record) -> [export] -> cli -> file
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from daq.core.record import Record

COLUMNS = (
    *("id", "t", "t_err", "aperture", "due", "instrument", "poll", "channel", "value", "text", "unit", "quantity"),
    *("status", "reading_status", "flags", "kind", "role", "detail", "first_slot", "last_slot", "slots"),
    *("asset", "model", "serial", "simulated", "origin", "durable", "clock_source", "clock_err"),
    *("info", "context", "epoch", "seq"),
)
"""One row a reading; `status` is the observation's. An observation without readings is one row without channel."""


def json_lines(records: Iterable[Record]) -> Iterator[bytes]:
    """Yield one line a record, its payload byte for byte as it was published, with its line end."""
    for record in records:
        yield record.payload + b"\n"


def csv_header() -> str:
    """Return the first line of the table."""
    return _line(COLUMNS)


def csv_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield one line for each reading of each observation; events and information are not of this table."""
    for record in records:
        if record.kind == "obs":
            yield from (_line([row.get(column, "") for column in COLUMNS]) for row in _rows(record))


def _rows(record: Record) -> Iterator[dict[str, str]]:
    message = json.loads(record.payload, parse_float=str, parse_int=str)
    observation = _observation(record, message)
    readings = message.get("readings") or {}
    if not readings:
        yield observation
    for channel, reading in readings.items():
        yield {
            **observation,
            **{key: _cell(reading.get(key)) for key in ("value", "text", "unit", "quantity", "kind", "role", "flags")},
            "channel": channel,
            "reading_status": _cell(reading.get("status")),
        }


def _observation(record: Record, message: dict[str, Any]) -> dict[str, str]:
    instrument, _, poll = record.stream.partition("/")
    plain = ("id", "t", "t_err", "aperture", "due", "status", "detail", "simulated", "origin", "durable", "info")
    slots, clock = message.get("slots") or {}, message.get("clock") or {}
    return {
        **{key: _cell(message.get(key)) for key in (*plain, "epoch", "seq", "context")},
        **{key: _cell((message.get("instrument") or {}).get(key)) for key in ("asset", "model", "serial")},
        "instrument": instrument,
        "poll": poll,
        "first_slot": _cell(slots.get("first")),
        "last_slot": _cell(slots.get("last")),
        "slots": _cell(slots.get("count")),
        "clock_source": _cell(clock.get("source")),
        "clock_err": _cell(clock.get("err")),
    }


def _cell(value: Any) -> str:
    """Write a JSON value: nothing for null, words joined by blanks, pairs as `name=value`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    if isinstance(value, dict):
        return " ".join(f"{key}={_cell(part)}" for key, part in value.items())
    return str(value)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()

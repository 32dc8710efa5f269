"""Shows what came of trying a driver: the bytes as they passed, and behind them what they read.

Attempt -> [as_lines, order_table] for people, [as_data] for programs
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from daq.core.driver import Driver, RegisterDriver
from daq.core.errors import quoted
from daq.core.observation import Exchange, Reading, Status
from daq.core.plan import TextStep
from daq.workshop.attempt import Attempt, Tried
from daq.workshop.orders import ORDERS, Words, by_order, memory_of
from daq.workshop.replay import Reread

LONGEST = 400
"""Bytes of one reply that are shown."""


def as_lines(found: Attempt) -> Iterator[str]:
    """Give the dialogue, a line an utterance, and what came of it."""
    yield from _dialogue(found.exchanges)
    yield from _who(found)
    for one in found.tried:
        yield ""
        yield f"{one.poll}: {one.status}{f': {one.detail}' if one.detail else ''}"
        if not found.plan.configure:
            yield from _untold(one)
        yield from _dialogue(one.exchanges)
        yield from (_reading(name, its) for name, its in one.readings.items())


def _untold_identity(found: Attempt) -> Iterator[str]:
    """Say what an identity would have been told first."""
    identify = found.plan.identify
    steps = identify.steps if identify is not None else ()
    held_back = [quoted(step.ask) for step in steps if isinstance(step, TextStep) and step.touches]
    if held_back and not found.plan.configure:
        said = f"identify tells {', '.join(held_back)}, which may change something"
        yield f"  ({said}: give --configure, or write touches: false beside it)"


def _untold(one: Tried) -> Iterator[str]:
    """Say what was not told because nothing was to be changed."""
    if one.status is Status.WRONG_STATE or one.plan.touches is not None:
        yield "  (--configure lets the driver set it up)"
    elif one.plan.start and one.status is Status.TIMEOUT:
        said = ", ".join(quoted(step.ask) for step in one.plan.start)
        yield f"  (it begins to talk when it is told {said}: --configure lets the driver say so)"


def as_data(driver: Driver, found: Attempt) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "identity": _identity(found),
        "simulated": found.met is not None and found.met.simulated,
        "settings": {} if found.met is None else found.met.settings,
        "refused": found.refused,
        "exchanges": [_exchange(each) for each in found.exchanges],
        "polls": {one.poll: _tried(one) for one in found.tried},
        "orders": [
            {
                "poll": row.poll,
                "channel": row.channel,
                "place": row.place,
                "raw": row.raw,
                "order": row.order,
                "values": row.values,
            }
            for row in words(driver, found)
        ],
    }


def words(driver: Driver, found: Attempt) -> list[Words]:
    """Return all numbers of all polls in all word orders; none where it speaks text."""
    if not isinstance(driver, RegisterDriver) or found.framing is None:
        return []
    return [row for one in found.tried for row in by_order(driver, one.poll, memory_of(one.exchanges, found.framing))]


def order_table(driver: Driver, found: Attempt) -> list[str]:
    """Return the table of word orders, a line each; [] where there is nothing to choose."""
    rows = words(driver, found)
    if not rows:
        return []
    table = [
        ("channel", "registers", "raw", *ORDERS),
        *((row.channel, row.place, row.raw, *_values(row)) for row in rows),
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "",
        "word orders (* the driver's, ? no number or not plausible):",
        *(
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ),
    ]


def reread_lines(found: Sequence[Reread]) -> Iterator[str]:
    """Give what a driver read of a record, below each answer."""
    for one in found:
        yield f"{one.source or '?'}: {'ok' if one.refused is None else one.refused}"
        said = ((">", one.pair.ask), ("<", one.pair.got))
        yield from (f"  {sign} {quoted(words, LONGEST)}" for sign, words in said if words)
        yield from (_reading(name, its) for name, its in one.readings.items())
        yield from (f"  {name} {words}" for name, words in one.fields.items() if words)


def reread_data(found: Sequence[Reread]) -> list[dict[str, Any]]:
    """Return the same as plain data."""
    return [
        {
            "ask": one.pair.ask,
            "got": one.pair.got,
            "poll": one.source,
            "refused": one.refused,
            "identity": dict(one.fields),
            "readings": {name: _read(its) for name, its in one.readings.items()},
        }
        for one in found
    ]


def _values(row: Words) -> list[str]:
    """Return the four values; those of other orders short, since only their size matters."""
    return [
        (row.values[order] if order == row.order else _short(row.values[order]))
        + ("*" if order == row.order else "")
        + ("?" if order in row.doubtful else "")
        for order in ORDERS
    ]


def _short(value: str) -> str:
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return value


def _who(found: Attempt) -> Iterator[str]:
    if found.met is None or found.refused is not None:
        yield f"not as it should be: {found.refused}"
        yield from _untold_identity(found)
        return
    said = ", ".join(f"{key} {value}" for key, value in (_identity(found) or {}).items() if value)
    yield f"who: {said or 'the driver does not ask'}{' (simulated)' if found.met.simulated else ''}"
    yield from (f"  {name} is {value}" for name, value in found.met.settings.items())
    yield from found.met.warnings


def _dialogue(exchanges: Sequence[Exchange]) -> Iterator[str]:
    for one in exchanges:
        if one.ask:
            yield f"  > {_printed(one.ask, binary=one.binary)}"
        if one.got:
            took = "" if one.rtt_s is None or not one.ask else f"  ({one.rtt_s * 1000:.1f} ms)"
            yield f"  < {_printed(one.got, binary=one.binary)}{took}"


def _printed(data: bytes, *, binary: bool) -> str:
    return data[:LONGEST].hex(" ") if binary else quoted(data, LONGEST)


def _reading(name: str, its: Reading) -> str:
    marks = " ".join([its.status, *its.flags]) if its.status != "ok" or its.flags else ""
    value = its.value if its.value is not None else quoted(its.text)
    return f"  {name} = {value} {its.unit} {marks}".rstrip()


def _identity(found: Attempt) -> dict[str, str | None] | None:
    met = found.met
    if met is None:
        return None
    return {"maker": met.maker, "model": met.identity.model, "serial": met.identity.serial, "firmware": met.firmware}


def _tried(one: Tried) -> dict[str, Any]:
    return {
        "status": one.status,
        "detail": one.detail,
        "readings": {name: _read(its) for name, its in one.readings.items()},
        "exchanges": [_exchange(each) for each in one.exchanges],
    }


def _read(its: Reading) -> dict[str, Any]:
    return {"value": its.value, "text": its.text, "unit": its.unit, "status": its.status, "flags": its.flags}


def _exchange(one: Exchange) -> dict[str, str]:
    if one.binary:
        return {"ask": one.ask.hex(" "), "got": one.got.hex(" ")}
    return {"ask": one.ask.decode("latin-1"), "got": one.got.decode("latin-1")}

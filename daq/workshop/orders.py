"""Lays the word orders of registers side by side: what the same bytes would read in each of them.

Which order a meter has, its manual often leaves open; one look at four numbers, of which one is near 230, says it.
Pure: it reads again what was answered already.

    RegisterDriver, exchanges -> [by_order] -> Words (place, raw words, order -> value)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daq.core.assembly import expansions
from daq.core.compile_registers import span_of
from daq.core.driver import RegisterChannel, RegisterDriver
from daq.core.errors import ReplyError
from daq.core.modbus import COILS, Framing, registers
from daq.core.observation import Exchange, Flag, Reading
from daq.core.plan import RegisterStep
from daq.core.register_map import WordOrder
from daq.core.registers import WORDS
from daq.core.settings import names_in, put_in
from daq.workshop.entry import poll_plan

ORDERS: tuple[WordOrder, ...] = ("ABCD", "CDAB", "BADC", "DCBA")
_EIGHT = dict(zip(ORDERS, ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"), strict=True))

Memory = dict[tuple[int, int], int]
"""(function, address as on the wire) -> word, or bit."""


@dataclass(frozen=True, slots=True)
class Words:
    """One channel in all orders.

    Args:
        place: table and address as the driver counts.
        raw: its registers as they came, hexadecimal.
        order: the driver's own, by the names of four.
        values: order -> what it would read; the raw content where that is no number.
        doubtful: orders whose value is outside of the channel's plausible range, or no number.
    """

    poll: str
    channel: str
    place: str
    raw: str
    order: WordOrder
    values: dict[WordOrder, str]
    doubtful: frozenset[WordOrder]


def memory_of(exchanges: Iterable[Exchange], framing: Framing) -> Memory:
    """Return the registers and coils that were read; refused and unreadable answers hold none."""
    memory: Memory = {}
    for exchange in exchanges:
        head = 7 if framing == "tcp" else 1
        if len(exchange.ask) < head + 5:
            continue
        function, address, count = struct.unpack_from(">BHH", exchange.ask, head)
        if not 1 <= function <= 4:
            continue
        try:
            content = registers(framing, exchange.ask, exchange.got)
        except ReplyError:
            continue
        if function in COILS:
            memory |= {(function, address + bit): content[bit // 8] >> bit % 8 & 1 for bit in range(count)}
        else:
            words = struct.unpack(f">{len(content) // 2}H", content)
            memory |= {(function, address + offset): word for offset, word in enumerate(words)}
    return memory


def by_order(driver: RegisterDriver, poll: str, memory: Memory) -> list[Words]:
    """Read each number of a poll in all four orders; channels whose registers did not come are left out."""
    plan = poll_plan(driver, poll)
    found = {order: _readings(driver, poll, order, memory) for order in ORDERS}
    rows = []
    names = _expanded(driver, poll)
    for channel in plan.channels:
        register = names.get(channel.name)
        if register is None or any(channel.name not in readings for readings in found.values()):
            continue
        span = span_of(register, driver.addressing)
        places = [(span.function, span.address + offset) for offset in range(span.count)]
        if not all(place in memory for place in places):
            continue
        values = {order: found[order][channel.name] for order in ORDERS}
        rows.append(
            Words(
                poll,
                channel.name,
                f"{register.table} {register.at}",
                " ".join(f"{memory[place]:04X}" for place in places),
                _of_four(register.order),
                {order: reading.value or reading.text for order, reading in values.items()},
                frozenset(order for order, reading in values.items() if _is_doubtful(reading)),
            )
        )
    return rows


def _is_doubtful(reading: Reading) -> bool:
    return reading.value is None or Flag.IMPLAUSIBLE in reading.flags


def _readings(driver: RegisterDriver, poll: str, order: WordOrder, memory: Memory) -> dict[str, Reading]:
    """Read a poll as if all its numbers had one order."""
    written = driver.polls[poll]
    channels = {
        name: channel.model_copy(update={"order": _EIGHT[order] if WORDS[channel.type] == 4 else order})
        for name, channel in written.channels.items()
        if channel.type in WORDS
    }
    if not channels:
        return {}
    alone = driver.model_copy(update={"polls": {poll: written.model_copy(update={"channels": channels})}})
    plan = poll_plan(alone, poll)
    try:
        return plan.readings([words_of(step, memory) for step in plan.steps if isinstance(step, RegisterStep)])
    except ReplyError:
        return {}


def words_of(step: RegisterStep, memory: Memory) -> bytes:
    """Answer one block out of what was read; what is not there is zero."""
    words: Sequence[int] = [memory.get((step.function, step.address + offset), 0) for offset in range(step.count)]
    return struct.pack(f">{len(words)}H", *words)


def _expanded(driver: RegisterDriver, poll: str) -> dict[str, RegisterChannel]:
    """Return channel -> its register, for_each written out."""
    written = driver.polls[poll]
    found: dict[str, RegisterChannel] = {}
    for key, channel in written.channels.items():
        repeated = expansions(written.for_each) if set(names_in(key)) & written.for_each.keys() else [{}]
        for number, values in enumerate(repeated if channel.type in WORDS else []):
            found[put_in(key, values)] = channel.model_copy(update={"at": channel.at + number * channel.stride})
    return found


def _of_four(order: WordOrder) -> WordOrder:
    return next((four for four, eight in _EIGHT.items() if eight == order), order)

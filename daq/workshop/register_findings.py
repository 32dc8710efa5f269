"""Looks for the traps of register maps: addresses of the wrong kind, ranges that overlap, contents that are no values.

All of it compiles, and reads numbers; only that some of them would be others than the ones that were meant.

    RegisterDriver -> [register_findings] -> (keys, what is to be said) -> findings
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from daq.core.assembly import expansions
from daq.core.blocks import Span
from daq.core.compile_registers import NAMED, AddressError, span_of
from daq.core.driver import RegisterChannel, RegisterDriver
from daq.core.examples import register_memory
from daq.core.register_map import Register
from daq.core.registers import WORDS
from daq.core.settings import names_in, put_in
from daq.core.written import Keys

Found = tuple[Keys, str]
"""Keys from the top of the file, and what is to be said of them."""

TOLD = frozenset({"count", "state", "status", "ratio", "time"})
"""Quantities that are told rather than measured: they know no overload."""

MOST_NAMED = 4
"""Channels that are named in one finding; of the others only the number."""


def register_findings(driver: RegisterDriver) -> Iterator[Found]:
    """Give all findings of a driver that compiles."""
    yield from _bare_contents(driver)
    yield from _narrow_codes(driver)
    yield from _numbered_by_table(driver)
    yield from _overlaps(driver)
    yield from _overlapping_identity(driver)
    yield from _unproven_order(driver)
    yield from _half_given(driver)


def measures(channel: RegisterChannel) -> bool:
    """Whether a channel holds a number that was measured."""
    told = channel.quantity.endswith(".setpoint") or channel.quantity in TOLD
    return channel.kind == "number" and not told and channel.type not in {"bits", "string"}


def _bare_contents(driver: RegisterDriver) -> Iterator[Found]:
    """Look for whole numbers of which every content is a value; floats have their NaN."""
    bare: dict[str, Keys] = {}
    for poll, its in driver.polls.items():
        for name, channel in its.channels.items():
            declared = "invalid" in channel.model_fields_set or channel.special or channel.plausible is not None
            if measures(channel) and not channel.type.startswith("float") and not declared:
                bare.setdefault(name, ("polls", poll, "channels", name))
    if bare:
        said = (
            f"{_listed(list(bare))}: whatever stands in the registers is taken for a value, what says 'not available' "
            "too. Give invalid: [0x8000], special: {0x7FFF: overrange} or plausible: [low, high] as the manual has it, "
            "and invalid: [] where it knows of no such code."
        )
        yield next(iter(bare.values())), said


def _narrow_codes(driver: RegisterDriver) -> Iterator[Found]:
    """Look for a code of one register that is to be found in several, such as 0x8000 in an int32: it never comes."""
    for poll, its in driver.polls.items():
        for name, channel in its.channels.items():
            width = WORDS.get(channel.type, 1)
            if channel.type in {"string", "bits"} or width == 1:
                continue
            for key, listed in (("invalid", channel.invalid), ("special", channel.special)):
                for code in listed:
                    if (narrow := _width_of_code(str(code))) and narrow < width:
                        said = (
                            f"{code} is a code of {16 * narrow} bits, and {name} has {16 * width}. Write all "
                            f"{4 * width} hexadecimal digits, as the manual has them for {channel.type}."
                        )
                        yield ("polls", poll, "channels", name, key), said


def _width_of_code(text: str) -> int:
    """Return how many registers a usual code of no value fills: 0x8000, 0x7FFF, 0xFFFF or as wider; 0 for others."""
    try:
        code = int(text, 0)
    except ValueError:
        return 0  # no raw content: named as a problem already
    signs = {width: 1 << (16 * width - 1) for width in (1, 2)}
    return next((width for width, sign in signs.items() if code in {sign - 1, sign, 2 * sign - 1}), 0)


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _numbered_by_table(driver: RegisterDriver) -> Iterator[Found]:
    """Look for numbers in the style of 40001 that would go over the wire as they are."""
    if driver.addressing != "pdu" or driver.verify is not None:
        return
    registers = [(path, its) for path, its in _registers(driver) if NAMED[its.table]]  # coils have no such base
    styled = [(path, its) for path, its in registers if NAMED[its.table] < its.at < NAMED[its.table] + 10000]
    if styled and len(styled) == len(registers):
        path, register = styled[0]
        said = (
            f"{register.at} goes over the wire as it is, and looks like a number that names its table: then write "
            "addressing: plc. If it is meant so, prove it by verify, a register of known content."
        )
        yield (*path, "at"), said


def _registers(driver: RegisterDriver) -> Iterator[tuple[Keys, Register]]:
    """Give every register of the driver with its keys."""
    if driver.identify is not None:
        yield from ((("identify", "read", name), its) for name, its in driver.identify.read.items())
    for poll, its in driver.polls.items():
        yield from ((("polls", poll, "channels", name), channel) for name, channel in its.channels.items())


def _overlaps(driver: RegisterDriver) -> Iterator[Found]:
    """Look for values that share registers: one of them is at a wrong address, has a wrong type or a wrong stride."""
    for poll in driver.polls:
        told: set[str] = set()
        for (name, key, channel, span), (other, other_key, beside, beside_span) in combinations(
            list(_spans(driver, poll)), 2
        ):
            if other_key in told or span.function != beside_span.function:
                continue
            if not span.touches(beside_span.address, beside_span.end - 1) or not _collide(channel, beside):
                continue
            told.add(other_key)
            first = max(span.address, beside_span.address) - span.address + channel.at
            keys = "at, type and stride" if key == other_key else "at and type of both"
            said = f"{other} and {name} share register {first} ({beside.table}). Check {keys}."
            yield ("polls", poll, "channels", other_key), said


def _overlapping_identity(driver: RegisterDriver) -> Iterator[Found]:
    """Look for fields of the identity that share registers."""
    spans: list[tuple[str, Register, Span]] = []
    for name, register in (driver.identify.read if driver.identify is not None else {}).items():
        try:
            spans.append((name, register, span_of(register, driver.addressing)))
        except AddressError:
            continue  # named as a problem already
    for (name, one, span), (other, another, beside) in combinations(spans, 2):
        shared = span.function == beside.function and span.touches(beside.address, beside.end - 1)
        if shared and span != beside:
            said = f"{other} ({another.at}) and {name} ({one.at}) share registers. Check at and type of both."
            yield ("identify", "read", other), said


def _collide(one: RegisterChannel, other: RegisterChannel) -> bool:
    """Whether two values may not share registers: bits, words of status and the like are looked at in several ways."""
    return one.kind == other.kind == "number" and (one.at, one.type, one.scale) != (other.at, other.type, other.scale)


def _spans(driver: RegisterDriver, poll: str) -> Iterator[tuple[str, str, RegisterChannel, Span]]:
    """Give each value of a poll: its name, its key in the file, the channel where it stands, and its registers."""
    its = driver.polls[poll]
    for key, channel in its.channels.items():
        repeated = expansions(its.for_each) if set(names_in(key)) & its.for_each.keys() else [{}]
        for number, values in enumerate(repeated):
            at = channel.model_copy(update={"at": channel.at + number * channel.stride})
            try:
                yield put_in(key, values), key, at, span_of(at, driver.addressing)
            except AddressError:
                continue  # named as a problem already


def _unproven_order(driver: RegisterDriver) -> Iterator[Found]:
    """Look for a register of known content that no example holds: its order is then first tried on the bench."""
    verify = driver.verify
    if verify is None:
        return
    try:
        span = span_of(verify, driver.addressing)
        held = [register_memory(driver, example) for example in driver.examples]
    except (ValueError, KeyError):
        return  # named as a problem already
    wanted = {(span.function, span.address + offset) for offset in range(span.count)}
    if not any(wanted <= memory.keys() for memory in held):
        cure = f"Put {verify.table} {verify.at}: its words into the registers of an example."
        yield ("verify",), f"no example holds it, so that its word order is not tried before it is asked. {cure}"


def _half_given(driver: RegisterDriver) -> Iterator[Found]:
    """Look for examples that hold a value only in part: what they leave open is taken for zero."""
    for number, example in enumerate(driver.examples):
        try:
            memory = register_memory(driver, example)
        except (ValueError, KeyError):
            continue  # named as a problem already
        for name, _, channel, span in _spans(driver, example.poll) if example.poll in driver.polls else ():
            held = [(span.function, span.address + offset) in memory for offset in range(span.count)]
            told = name in {*example.gives, *example.text, *example.status}
            if (any(held) or told) and not all(held):
                said = f"holds {sum(held)} of the {span.count} registers of {name} ({channel.table} {channel.at})"
                yield ("examples", number), f"{said}; what is left open counts as zero. Write all of them."
                break

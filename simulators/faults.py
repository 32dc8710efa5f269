"""Faults that can be switched on and off while the stand-ins run, and the one place where they touch an answer.

An Outlet stands between an instrument and its wire: every answer leaves through it and nothing else writes. Faults of
the instrument itself (overload, unstable, other_serial) are asked for by the model; those of the carrier (unplug) by
the server that owns it. A fault never makes up a value that the log would call good.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

SHAPES = ("silence", "reset", "garbage", "truncate", "duplicate", "drip")
ON_THE_WIRE = ("late", *SHAPES)
IN_THE_INSTRUMENT = ("overload", "unstable", "other_serial")
OF_THE_CARRIER = ("unplug", "banner")
NAMES = (*ON_THE_WIRE, *IN_THE_INSTRUMENT, *OF_THE_CARRIER)
DELAYS = ("late", "drip")  # for these `seconds` is the delay; for the others it is how long the fault lasts
MAX_DELAY_S = 600.0


@dataclass(slots=True)
class Fault:
    """One fault that is switched on.

    Attributes:
        times: answers left that it strikes; None strikes until cleared.
        until_ns: monotonic end; None has none.
        delay_s: how late (`late`), how long between bytes (`drip`).
        text: what it says: the banner, the garbage, the other serial number.
    """

    name: str
    times: int | None = None
    until_ns: int | None = None
    delay_s: float = 1.0
    text: str | None = None


class Faults:
    """The faults of one instrument."""

    def __init__(self) -> None:
        self._on: dict[str, Fault] = {}

    def switch_on(
        self, name: str, *, times: int | None = None, seconds: float | None = None, text: str | None = None
    ) -> None:
        """Switch a fault on, in place of one of the same name."""
        fault = Fault(name, times=times, text=text)
        if name in DELAYS:
            fault.delay_s = {"late": 2.0, "drip": 0.02}[name] if seconds is None else seconds
        elif seconds is not None:
            fault.until_ns = time.monotonic_ns() + int(seconds * 1e9)
        self._on[name] = fault

    def clear(self) -> None:
        """Switch all of them off."""
        self._on.clear()

    def take(self, name: str) -> Fault | None:
        """Give the fault if it strikes now, and count it."""
        fault = self._on.get(name)
        if fault is None:
            return None
        if fault.until_ns is not None and time.monotonic_ns() >= fault.until_ns:
            del self._on[name]
            return None
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                del self._on[name]
        return fault

    def strikes(self, name: str) -> bool:
        """Tell whether the fault strikes now, and count it."""
        return self.take(name) is not None

    def serial_number(self, own: str, other: str) -> str:
        """Give the serial number to answer: the instrument's own, or another's while `other_serial` is on."""
        fault = self.take("other_serial")
        return own if fault is None else fault.text or other


class Carrier(Protocol):
    """What an answer leaves by."""

    def write(self, data: bytes, *, more: bool = False) -> None:
        """Put bytes on the wire; without a peer they are lost. `more` says that the answer goes on after them."""

    def reset(self) -> None:
        """Cut the connection, where there is one to cut."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What leaves: the bytes, the fault that struck, and whether the whole answer is among them."""

    data: bytes
    fault: str | None
    whole: bool


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What a fault makes of an answer: the pieces it leaves in, the gap between them, and whether the line is cut."""

    pieces: tuple[bytes, ...]
    whole: bool
    gap_s: float = 0.0
    cut: bool = False


def garbled(data: bytes, *, lines: bool, text: str | None) -> bytes:
    """Spoil an answer; a line stays a line, so that it is read and has to be judged."""
    body = data.rstrip(b"\r\n") if lines else data
    end = data[len(body) :]
    if text is not None:
        return text.encode("latin-1", "backslashreplace") + end
    if lines:
        return b"?#" + bytes(0x21 + (byte * 7) % 0x5D for byte in body) + end
    return bytes(byte ^ 0x5A for byte in body)


def _delivery(fault: Fault, data: bytes, *, lines: bool) -> _Delivery:
    match fault.name:
        case "garbage":
            return _Delivery((garbled(data, lines=lines, text=fault.text),), whole=False)
        case "truncate":
            return _Delivery((data[: len(data) // 2],), whole=False)
        case "duplicate":
            return _Delivery((data + data,), whole=True)
        case "drip":
            return _Delivery(tuple(data[at : at + 1] for at in range(len(data))), whole=True, gap_s=fault.delay_s)
    return _Delivery((), whole=False, cut=fault.name == "reset")  # or silence


class Outlet:
    """Sends answers through whatever fault is switched on.

    Args:
        faults: of the instrument whose answers leave here.
        lines: whether its answers are lines of text; else they are frames.
    """

    def __init__(self, faults: Faults, *, lines: bool) -> None:
        self._faults = faults
        self._lines = lines

    async def send(self, data: bytes, carrier: Carrier, note: Callable[[Sent], None]) -> None:
        """Send one answer.

        Args:
            data: the answer.
            carrier: what it leaves by.
            note: told what leaves just before the last of it does, so that nobody has an answer that is not noted.
        """
        late = self._faults.take("late")
        if late is not None:
            await asyncio.sleep(late.delay_s)
        fault = next((one for name in SHAPES if (one := self._faults.take(name)) is not None), None)
        delivery = _Delivery((data,), whole=True) if fault is None else _delivery(fault, data, lines=self._lines)
        for piece in delivery.pieces[:-1]:
            carrier.write(piece, more=True)
            await asyncio.sleep(delivery.gap_s)
        struck = fault or late
        note(Sent(b"".join(delivery.pieces), struck.name if struck else None, delivery.whole))
        for piece in delivery.pieces[-1:]:
            carrier.write(piece)
        if delivery.cut:
            carrier.reset()

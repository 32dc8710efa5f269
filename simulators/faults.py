"""Faults that can be switched on and off while the stand-ins run, and the one place where they touch an answer.

An Outlet stands between an instrument and its wire: every answer leaves through it and nothing else writes. Faults of
the instrument itself (overload, unstable, other_serial) are asked for by the model; those of the carrier (unplug) by
the server that owns it. A fault never makes up a value that the log would call good.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

ON_THE_WIRE = ("silence", "reset", "late", "garbage", "truncate", "duplicate", "drip")
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

    def write(self, data: bytes) -> None:
        """Put bytes on the wire; without a peer they are lost."""

    def reset(self) -> None:
        """Cut the connection, where there is one to cut."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What left: the bytes, the fault that struck, and whether the whole answer is among them."""

    data: bytes
    fault: str | None
    whole: bool


async def _drip(data: bytes, carrier: Carrier, delay_s: float) -> None:
    for at in range(len(data)):
        carrier.write(data[at : at + 1])
        await asyncio.sleep(delay_s)


def garbled(data: bytes, *, lines: bool, text: str | None) -> bytes:
    """Spoil an answer; a line stays a line, so that it is read and has to be judged."""
    body = data.rstrip(b"\r\n") if lines else data
    end = data[len(body) :]
    if text is not None:
        return text.encode("latin-1", "backslashreplace") + end
    if lines:
        return b"?#" + bytes(0x21 + (byte * 7) % 0x5D for byte in body) + end
    return bytes(byte ^ 0x5A for byte in body)


class Outlet:
    """Sends answers through whatever fault is switched on.

    Args:
        faults: of the instrument whose answers leave here.
        lines: whether its answers are lines of text; else they are frames.
    """

    def __init__(self, faults: Faults, *, lines: bool) -> None:
        self._faults = faults
        self._lines = lines

    async def send(self, data: bytes, carrier: Carrier) -> Sent:
        """Send one answer and say what really left."""
        late = self._faults.take("late")
        if late is not None:
            await asyncio.sleep(late.delay_s)
        for name, strike in self._strikes.items():
            fault = self._faults.take(name)
            if fault is not None:
                return await strike(self, data, carrier, fault)
        carrier.write(data)
        return Sent(data, "late" if late else None, whole=True)

    async def _silence(self, data: bytes, carrier: Carrier, fault: Fault) -> Sent:
        return Sent(b"", fault.name, whole=False)

    async def _reset(self, data: bytes, carrier: Carrier, fault: Fault) -> Sent:
        carrier.reset()
        return Sent(b"", fault.name, whole=False)

    async def _garbage(self, data: bytes, carrier: Carrier, fault: Fault) -> Sent:
        spoilt = garbled(data, lines=self._lines, text=fault.text)
        carrier.write(spoilt)
        return Sent(spoilt, fault.name, whole=False)

    async def _truncate(self, data: bytes, carrier: Carrier, fault: Fault) -> Sent:
        part = data[: len(data) // 2]
        carrier.write(part)
        return Sent(part, fault.name, whole=False)

    async def _duplicate(self, data: bytes, carrier: Carrier, fault: Fault) -> Sent:
        carrier.write(data + data)
        return Sent(data + data, fault.name, whole=True)

    async def _drip(self, data: bytes, carrier: Carrier, fault: Fault) -> Sent:
        await _drip(data, carrier, fault.delay_s)
        return Sent(data, fault.name, whole=True)

    _strikes = {  # noqa: RUF012 - a table, never written to
        "silence": _silence,
        "reset": _reset,
        "garbage": _garbage,
        "truncate": _truncate,
        "duplicate": _duplicate,
        "drip": _drip,
    }

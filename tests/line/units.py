"""Modbus units on one wire, written for tests from the specification: frames are taken apart and put together here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from daq.core.observation import NS, Integrity, Reading
from daq.core.plan import InstrumentPlan, PollPlan, RegisterStep
from daq.core.timing import Triggered
from tests.line.wires import MS, instrument
from tests.manual_clock import ManualClock


def crc(frame: bytes) -> bytes:
    """CRC-16/MODBUS, bit by bit: MODBUS over Serial Line V1.02, 6.2.2."""
    register = 0xFFFF
    for byte in frame:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return struct.pack("<H", register)


@dataclass
class Units:
    """Units that answer with numbers never used before; each in its own time, late ones too.

    Args:
        delays: unit -> how long its answers take, one after the other; None: it never comes. 10 ms behind them.
        log: (unit, when it was asked) -> the number it answers.
        refuses: (address, count) of blocks that are refused with exception 2.
    """

    clock: ManualClock
    delays: dict[int, Iterator[int | None]] = field(default_factory=dict)
    mbap: bool = False
    refuses: set[tuple[int, int]] = field(default_factory=set)
    log: dict[tuple[int, int], int] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    free_ns: dict[int, int] = field(default_factory=dict)

    def __call__(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        frame = data[6:] if self.mbap else data[:-2]
        assert self.mbap or crc(frame) == data[-2:]
        unit, function, address, words = struct.unpack(">BBHH", frame)
        delay_ns = next(self.delays.get(unit, iter(())), 10 * MS)
        if delay_ns is None:
            return []
        arrives_ns = self.free_ns[unit] = max(self.free_ns.get(unit, 0), now_ns + delay_ns)
        return [(arrives_ns - now_ns, self._framed(data, self._answer(unit, function, address, words, now_ns)))]

    def _answer(self, unit: int, function: int, address: int, words: int, now_ns: int) -> bytes:
        if (address, words) in self.refuses:
            return bytes((unit, function | 0x80, 2))
        number = next(self.numbers) % 65536
        self.log[unit, now_ns] = number
        return bytes((unit, function, 2 * words)) + struct.pack(">H", number) * words

    def _framed(self, asked: bytes, answer: bytes) -> bytes:
        return asked[:4] + struct.pack(">H", len(answer)) + answer if self.mbap else answer + crc(answer)


def register_poll(
    name: str = "n", every_ns: int = NS, *, words: int = 2, within_ns: int = NS // 4, **more: object
) -> PollPlan:
    def readings(answers: object) -> dict[str, Reading]:
        (number,) = struct.unpack_from(">H", answers[0])
        return {"n": Reading(str(number), str(number), "1", "count")}

    settings = {
        "name": name,
        "source": name,
        "every_ns": every_ns,
        "phase_ns": 0,
        "mode": None,
        "steps": (RegisterStep(4, 0, words, within_ns),),
        "readings": readings,
        "time": Triggered(0),
        "integrity": Integrity.CHECKSUM,
        "channels": (),
    }
    return PollPlan(**(settings | more))


def meter(unit: int, *polls: PollPlan, **more: object) -> InstrumentPlan:
    settings = {
        "name": f"meter{unit}",
        "speaks": "registers",
        "unit": unit,
        "latency_ns": NS // 4,
        "identify": None,
        "barrier": RegisterStep(4, 0, 1, NS // 4),
    }
    return instrument(*(polls or (register_poll(phase_ns=unit * 300 * MS),)), **(settings | more))

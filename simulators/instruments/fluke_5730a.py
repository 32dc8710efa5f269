"""A Fluke 5730A multifunction calibrator, DC voltage: the source that the multimeters of the world measure.

Its output moves the world's voltage; ISR? bit 12 (SETTLED) says when it has arrived. Resistance and AC, which it has,
are refused with fault 502 here.
Source: 5700A/5720A Series II Operators Manual, chapter 5 (OUT, OPER, STBY, ISR?, FAULT?, units and multipliers);
PhilippCo/testgear Fluke/F5730A.py for the shape of OUT?, ADJOUT? and UNCERT?. The unit that follows UNCERT?'s number
and the numbers of FAULT? are not verified against hardware.
"""

# ruff: noqa: SLF001 - the command table stands below the class whose methods it names

from __future__ import annotations

import asyncio
import time
from collections import deque

from simulators import scpi
from simulators.dialogue import Answer, never
from simulators.faults import Faults
from simulators.instruments import Spec
from simulators.world import World

OPERATING, SETTLED = 1 << 0, 1 << 12  # bits of the instrument status register
MAX_VOLTS = 1100.0
UNDEFINED, REFUSED = 500, 502  # fault numbers: unknown command, output outside what can be given
MAX_FAULTS = 16
SETTLES_WITHIN = 1e-7  # of the setting, at least 1 uV
OPC_LOOK_S = 0.01
OPC_LIMIT_S = 30.0


def nr3(value: float) -> str:
    """Write a number as OUT? does."""
    return f"{value:.6E}"


class Calibrator:
    """The instrument. It begins in operate at the world's nominal voltage, as somebody left it."""

    eol = "\n"

    def __init__(self, spec: Spec, world: World, faults: Faults) -> None:
        self._serial = spec.serial_number
        self._world = world
        self._faults = faults
        self._queue: deque[int] = deque(maxlen=MAX_FAULTS)
        self._set_v = world.output.target
        self._operating = True

    def clear(self) -> None:
        """Give up nothing: a device clear leaves the output alone."""

    async def talk(self) -> Answer:
        """Wait for ever: it speaks only when asked."""
        return await never()

    async def answer(self, line: str) -> Answer | None:
        """Do one message: commands separated by semicolons."""
        errors = scpi.Errors()
        answer = await scpi.answer(self, COMMANDS, line, errors)
        if len(errors):
            self._queue.append(UNDEFINED)
        return answer

    def _identity(self, *_: object) -> str:
        return f"FLUKE,5730A,{self._faults.serial_number(self._serial, 'SIM-OTHER-0002')},1.22+A"

    def _reset(self, *_: object) -> None:
        self._set_v = 0.0
        self._standby()

    def _clear_status(self, *_: object) -> None:
        self._queue.clear()

    def _output(self, argument: str, __: object) -> None:
        amplitude, _, frequency = argument.partition(",")
        volts = scpi.number(amplitude, "V")
        if abs(volts) > MAX_VOLTS or (frequency.strip() and scpi.number(frequency, "HZ") != 0.0):
            self._queue.append(REFUSED)
            return
        self._set_v = volts
        if self._operating:
            self._world.output.change(volts, time.monotonic_ns())

    def _operate(self, *_: object) -> None:
        self._operating = True
        self._world.output.change(self._set_v, time.monotonic_ns())

    def _standby(self, *_: object) -> None:
        self._operating = False
        self._world.output.change(0.0, time.monotonic_ns())

    def _setting(self, *_: object) -> Answer:
        text = nr3(self._set_v)
        return Answer(f"{text},V,0.00E+00", (time.monotonic_ns(),), {"output": text})

    def _is_settled(self) -> bool:
        within = max(abs(self._set_v) * SETTLES_WITHIN, 1e-6)
        return self._world.output.settled(time.monotonic_ns(), within) and not self._faults.strikes("unstable")

    def _status(self, *_: object) -> Answer:
        register = (OPERATING if self._operating else 0) | (SETTLED if self._is_settled() else 0)
        return Answer(str(register), (time.monotonic_ns(),), {"status": str(register)})

    def _fault(self, *_: object) -> str:
        return str(self._queue.popleft()) if self._queue else "0"

    def _uncertainty(self, *_: object) -> Answer:
        # 3.5 uV/V of output and 0.4 uV floor, as percent of the output: the shape of the 5730A's 11 V range
        percent = 3.5e-4 + (4e-5 / abs(self._set_v) if self._set_v else 0.0)
        text = f"{percent:.3E}"
        return Answer(f"{text},PCT", (time.monotonic_ns(),), {"uncertainty": text})

    async def _complete(self, *_: object) -> str:
        """Wait until the output has settled, within reason."""
        deadline_ns = time.monotonic_ns() + int(OPC_LIMIT_S * 1e9)
        while not self._is_settled() and time.monotonic_ns() < deadline_ns:  # noqa: ASYNC110 - the world has no events
            await asyncio.sleep(OPC_LOOK_S)
        return "1"

    def _accept(self, *_: object) -> None:
        """Do nothing: what the command changes cannot be seen in this world."""


COMMANDS = scpi.table(
    {
        "*IDN?": Calibrator._identity,
        "*RST": Calibrator._reset,
        "*CLS": Calibrator._clear_status,
        "*OPC?": Calibrator._complete,
        "*ESR?": lambda *_: "0",
        "*STB?": lambda *_: "0",
        "OUT": Calibrator._output,
        "OUT?": Calibrator._setting,
        "ADJOUT?": Calibrator._setting,
        "OPER": Calibrator._operate,
        "STBY": Calibrator._standby,
        "ISR?": Calibrator._status,
        "FAULT?": Calibrator._fault,
        "ERR?": Calibrator._fault,
        "UNCERT?": Calibrator._uncertainty,
        "EXTSENSE": Calibrator._accept,
        "EXTGUARD": Calibrator._accept,
        "RANGELCK": Calibrator._accept,
        "LOCAL": Calibrator._accept,
        "REMOTE": Calibrator._accept,
    }
)

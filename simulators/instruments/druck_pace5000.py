"""A Druck PACE5000 pressure controller with one module, absolute. Its answers echo the header of the question.

The header comes back in short form, without the numeric suffix where that is 1. Measures ten times a second.
Source: PACE Series SCPI manual K0472 (:SENS, :SOUR, :OUTP, :UNIT, :INST, :SYST:ERR); tiagocoutinho/gepace for the
shape of the answers. The serial number is a word here, where the instrument has digits, so that it can be told from a
real one.
"""

# ruff: noqa: SLF001 - the command table stands below the class whose methods it names

from __future__ import annotations

import time

from simulators import scpi
from simulators.dialogue import Answer, never
from simulators.faults import Faults
from simulators.instruments import Spec
from simulators.scpi import ScpiError
from simulators.world import SECOND_NS, Eye, World

PASCALS = {"PA": 1.0, "HPA": 100.0, "MBAR": 100.0, "KPA": 1000.0, "BAR": 100_000.0, "PSI": 6894.757293168}
RANGE_PA = 200_000.0
RANGE_NAME = "2.00bara"
IN_LIMITS = 2e-5  # of full scale


class PressureController:
    """The instrument. It begins in control at the world's nominal pressure, as somebody left it."""

    eol = "\n"

    def __init__(self, spec: Spec, world: World, faults: Faults) -> None:
        self._serial = spec.serial_number
        self._world = world
        self._faults = faults
        self._eye = Eye(world, spec.name, spec.error_ppm, spec.noise_ppm, spec.lag_s)
        self._period_ns = int(spec.period_s * SECOND_NS)
        self._errors = scpi.Errors()
        self._unit = "KPA"
        self._controlling = True
        self._set_pa = world.held.target
        self._slew = 10.0

    def clear(self) -> None:
        """Give up nothing: nothing it is asked takes time."""

    async def talk(self) -> Answer:
        """Wait for ever: it speaks only when asked."""
        return await never()

    async def answer(self, line: str) -> Answer | None:
        """Do one program message."""
        return await scpi.answer(self, COMMANDS, line, self._errors)

    def _check(self, suffixes: tuple[str, ...]) -> None:
        """Refuse a module that is not there."""
        if any(suffix not in ("", "1") for suffix in suffixes):
            raise ScpiError(-114, "Header suffix out of range")

    def _identity(self, *_: object) -> str:
        return f"*IDN GE Druck,PACE5000,{self._faults.serial_number(self._serial, 'SIM-OTHER-0006')},DK0367  v02.02.14"

    def _serial_number(self, _: str, suffixes: tuple[str, ...]) -> str:
        self._check(suffixes)
        return f":INST:SN {self._faults.serial_number(self._serial, 'SIM-OTHER-0006')}"

    def _reset(self, *_: object) -> None:
        self._unit, self._controlling = "KPA", False

    def _clear_status(self, *_: object) -> None:
        self._errors.clear()

    def _error(self, *_: object) -> str:
        number, text = self._errors.take()
        return f':SYST:ERR {number},"{text}"'

    def _seen(self) -> tuple[int, str]:
        """Give the instant of the last measurement and its text in the unit that is set."""
        now_ns = time.monotonic_ns()
        at_ns = now_ns - now_ns % self._period_ns
        pascals = self._eye.see("pressure", at_ns, unstable=self._faults.strikes("unstable"))
        if self._faults.strikes("overload"):
            pascals = 1.1 * RANGE_PA
        return at_ns, self._text(pascals)

    def _text(self, pascals: float) -> str:
        return f"{pascals / PASCALS[self._unit]:.{7 if self._unit == 'BAR' else 5}f}"

    def _pressure(self, _: str, suffixes: tuple[str, ...]) -> Answer:
        self._check(suffixes)
        at_ns, text = self._seen()
        return Answer(f":SENS:PRES {text}", (at_ns,), {"pressure": text})

    def _in_limits(self, _: str, suffixes: tuple[str, ...]) -> Answer:
        self._check(suffixes)
        at_ns, text = self._seen()
        inside = self._controlling and self._world.held.settled(at_ns, IN_LIMITS * RANGE_PA)
        flag = f"{inside and not self._faults.strikes('unstable'):d}"
        return Answer(f":SENS:PRES:INL {text},{flag}", (at_ns,), {"pressure": text, "in_limits": flag})

    def _range(self, _: str, suffixes: tuple[str, ...]) -> str:
        self._check(suffixes)
        return f':SENS:PRES:RANG "{RANGE_NAME}"'

    def _set_point(self, _: str, suffixes: tuple[str, ...]) -> Answer:
        self._check(suffixes)
        text = self._text(self._set_pa)
        return Answer(f":SOUR:PRES:LEV:IMM:AMPL {text}", (time.monotonic_ns(),), {"set_point": text})

    def _set(self, argument: str, suffixes: tuple[str, ...]) -> None:
        self._check(suffixes)
        pascals = scpi.number(argument) * PASCALS[self._unit]
        if not 0 <= pascals <= RANGE_PA:
            raise ScpiError(*scpi.DATA_OUT_OF_RANGE)
        self._set_pa = pascals
        if self._controlling:
            self._world.held.change(pascals, time.monotonic_ns())

    def _output(self, _: str, suffixes: tuple[str, ...]) -> Answer:
        self._check(suffixes)
        state = f"{self._controlling:d}"
        return Answer(f":OUTP:STAT {state}", (time.monotonic_ns(),), {"output": state})

    def _set_output(self, argument: str, suffixes: tuple[str, ...]) -> None:
        self._check(suffixes)
        self._controlling = scpi.boolean(argument)
        if self._controlling:
            self._world.held.change(self._set_pa, time.monotonic_ns())

    def _unit_name(self, _: str, suffixes: tuple[str, ...]) -> str:
        self._check(suffixes)
        return f":UNIT:PRES {self._unit}"

    def _set_unit(self, argument: str, suffixes: tuple[str, ...]) -> None:
        self._check(suffixes)
        if argument.upper() not in PASCALS:
            raise ScpiError(*scpi.ILLEGAL_PARAMETER)
        self._unit = argument.upper()

    def _slew_rate(self, _: str, suffixes: tuple[str, ...]) -> str:
        self._check(suffixes)
        return f":SOUR:PRES:SLEW {self._slew:.5f}"


COMMANDS = scpi.table(
    {
        "*IDN?": PressureController._identity,
        "*RST": PressureController._reset,
        "*CLS": PressureController._clear_status,
        "SYSTem:ERRor?": PressureController._error,
        "SYSTem:VERSion?": lambda *_: ':SYST:VERS "1995.0"',
        "INSTrument:SN<n>?": PressureController._serial_number,
        "SENSe<n>[:PRESsure]?": PressureController._pressure,
        "SENSe<n>[:PRESsure]:INLimits?": PressureController._in_limits,
        "SENSe<n>[:PRESsure]:RANGe?": PressureController._range,
        "SOURce<n>[:PRESsure][:LEVel][:IMMediate][:AMPLitude]?": PressureController._set_point,
        "SOURce<n>[:PRESsure][:LEVel][:IMMediate][:AMPLitude]": PressureController._set,
        "SOURce<n>[:PRESsure]:SLEW?": PressureController._slew_rate,
        "OUTPut<n>[:STATe]?": PressureController._output,
        "OUTPut<n>[:STATe]": PressureController._set_output,
        "UNIT<n>[:PRESsure]?": PressureController._unit_name,
        "UNIT<n>[:PRESsure]": PressureController._set_unit,
    }
)

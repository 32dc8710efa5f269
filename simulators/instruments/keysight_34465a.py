"""A Keysight 34465A multimeter: DC and AC voltage, 2- and 4-wire resistance.

A measurement takes its real time: the aperture (NPLC over the line frequency), as long again where autozero measures
zero after it. The reading holds the world at the middle of its aperture. An AC reading leaves through a filter that
takes the settling delay of its bandwidth to forget: it holds the world of that whole time, here the mean of
AC_SAMPLES instants of it, and the log names them all.
Source: Truevolt Series Operating and Service Guide (34460-90901), SCPI chapters CONFigure, SENSe, TRIGger, READ?,
FETCh?, [SENSe:]<function>:NULL; [SENSe:]VOLTage:AC:BANDwidth, page 373, for the filters and their delays. What shape
the filter's memory has is not in the guide. Left out: statistics, limits, scaling, digitising and current.
"""

# ruff: noqa: SLF001 - the command table stands below the class whose methods it names

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

from simulators import scpi
from simulators.dialogue import Answer, never
from simulators.faults import Faults
from simulators.instruments import Spec
from simulators.scpi import ScpiError
from simulators.world import SECOND_NS, Eye, World

NPLC = (0.02, 0.06, 0.2, 1.0, 10.0, 100.0)  # power line cycles; 34465A without the digitising option
RESOLUTION = {0.02: 3e-6, 0.06: 1.5e-6, 0.2: 7e-7, 1.0: 3e-7, 10.0: 1e-7, 100.0: 3e-8}  # of range
VOLT_RANGES = (0.1, 1.0, 10.0, 100.0, 1000.0)
OHM_RANGES = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
OVERLOAD = "+9.90000000E+37"
AC_SETTLING_S = {3.0: 2.5, 20.0: 0.625, 200.0: 0.025}  # default settling delay, by the filter's bandwidth in Hz
AC_SAMPLES = 9
MAX_SAMPLES = 1000  # of one INIT; the instrument's memory is larger, a stand-in's patience is not


@dataclass(slots=True)
class Function:
    """The settings of one measuring function."""

    quantity: str
    ranges: tuple[float, ...]
    preset: float
    range: float = 0.0
    auto: bool = True
    alternating: bool = False
    nplc: float = 10.0
    autozero: bool = True
    bandwidth: float = 20.0
    null: bool = False
    null_value: float = 0.0
    high_impedance: bool = False

    def reset(self) -> None:
        """Go back to the factory settings."""
        self.range, self.auto, self.nplc, self.autozero = self.preset, True, 10.0, True
        self.bandwidth = 20.0
        self.null, self.null_value, self.high_impedance = False, 0.0, False

    def instants(self, started_ns: int, cycle_s: float) -> tuple[int, ...]:
        """Give the instants whose world values a reading holds that began then."""
        if not self.alternating:
            return (started_ns + int(self.nplc * cycle_s * SECOND_NS) // 2,)
        window_ns = int(AC_SETTLING_S[self.bandwidth] * SECOND_NS)
        return tuple(started_ns + window_ns * n // (AC_SAMPLES - 1) for n in range(AC_SAMPLES))

    def choose(self, argument: str) -> None:
        """Set the range: AUTO, DEF, MIN, MAX or the smallest one that holds a number."""
        word = argument.upper()
        if word in {"AUTO", "DEF", ""}:
            self.auto, self.range = True, self.preset
            return
        limit = {"MIN": self.ranges[0], "MAX": self.ranges[-1]}.get(word)
        wanted = abs(scpi.number(argument, "V OHM")) if limit is None else limit
        fitting = [one for one in self.ranges if wanted <= one]
        if not fitting:
            raise ScpiError(*scpi.DATA_OUT_OF_RANGE)
        self.auto, self.range = False, fitting[0]


def nr3(value: float) -> str:
    """Write a number as the instrument does: SD.DDDDDDDDESDD."""
    return f"{value:+.8E}"


class Multimeter:
    """The instrument. One message is handled at a time."""

    eol = "\n"

    def __init__(self, spec: Spec, world: World, faults: Faults) -> None:
        self._serial = spec.serial_number
        self._faults = faults
        self._cycle_s = 1.0 / spec.line_frequency
        self._eye = Eye(world, spec.name, spec.error_ppm, spec.noise_ppm, spec.lag_s)
        self._errors = scpi.Errors()
        self._functions = {
            "VOLT": Function("dc_voltage", VOLT_RANGES, 10.0),
            "VOLT:AC": Function("mains_voltage", VOLT_RANGES, 10.0, alternating=True),
            "RES": Function("resistance", OHM_RANGES, 1e4),
            "FRES": Function("resistance", OHM_RANGES, 1e4),
        }
        self._reset()

    def _reset(self, *_: object) -> None:
        self._function = "VOLT"
        for one in self._functions.values():
            one.reset()
        self._source, self._samples = "IMM", 1
        self.clear()

    def clear(self) -> None:
        """Give up the measurement under way or waited for."""
        self._waiting = False
        self._started_ns: int | None = None  # of the readings in memory; None where there are none

    async def talk(self) -> Answer:
        """Wait for ever: it speaks only when asked."""
        return await never()

    async def answer(self, line: str) -> Answer | None:
        """Do one program message."""
        return await scpi.answer(self, COMMANDS, line, self._errors)

    @property
    def _now(self) -> Function:
        return self._functions[self._function]

    def _identity(self, *_: object) -> str:
        serial = self._faults.serial_number(self._serial, "SIM-OTHER-0001")
        return f"Keysight Technologies,34465A,{serial},A.03.03-02.40-03.03-00.52-03-02"

    def _clear_status(self, *_: object) -> None:
        self._errors.clear()

    def _error(self, *_: object) -> str:
        number, text = self._errors.take()
        return f'{number:+d},"{text}"'

    def _error_count(self, *_: object) -> str:
        return f"{len(self._errors):+d}"

    def _configure(self, function: str, argument: str) -> None:
        wanted = argument.partition(",")[0].strip()
        self._functions[function].reset()
        self._functions[function].choose(wanted)
        self._function = function
        self._source, self._samples = "IMM", 1
        self.clear()

    def _configured(self, *_: object) -> str:
        now = self._now
        return f'"{self._function} {now.range:+.6E},{now.range * RESOLUTION[now.nplc]:+.6E}"'

    def _set_function(self, argument: str, _: object) -> None:
        word = argument.strip("\"'").upper()
        function = {"VOLT:DC": "VOLT"}.get(word, word if word in self._functions else None)
        if function is None:
            raise ScpiError(*scpi.ILLEGAL_PARAMETER)
        self._function = function
        self.clear()

    def _set_nplc(self, function: str, argument: str) -> None:
        limit = {"MIN": NPLC[0], "MAX": NPLC[-1], "DEF": 10.0}.get(argument.upper())
        wanted = scpi.number(argument) if limit is None else limit
        if not NPLC[0] <= wanted <= NPLC[-1]:
            raise ScpiError(*scpi.DATA_OUT_OF_RANGE)
        self._functions[function].nplc = next(one for one in NPLC if wanted <= one)
        self.clear()

    def _set_bandwidth(self, argument: str) -> None:
        limit = {"MIN": 3.0, "MAX": 200.0, "DEF": 20.0}.get(argument.upper())
        lowest = scpi.number(argument, "HZ") if limit is None else limit
        fitting = [one for one in AC_SETTLING_S if one <= lowest]
        if not fitting:
            raise ScpiError(*scpi.DATA_OUT_OF_RANGE)
        self._functions["VOLT:AC"].bandwidth = fitting[-1]
        self.clear()

    def _set_range(self, function: str, argument: str) -> None:
        self._functions[function].choose(argument)
        self.clear()

    def _set_auto(self, function: str, argument: str) -> None:
        self._functions[function].auto = argument.upper() == "ONCE" or scpi.boolean(argument)
        self.clear()

    def _set_autozero(self, function: str, argument: str) -> None:
        self._functions[function].autozero = argument.upper() != "ONCE" and scpi.boolean(argument)
        self.clear()

    def _set_null(self, function: str, argument: str) -> None:
        self._functions[function].null = scpi.boolean(argument)
        self.clear()

    def _set_null_value(self, function: str, argument: str) -> None:
        self._functions[function].null_value = scpi.number(argument, "V OHM")
        self.clear()

    def _set_impedance(self, argument: str, _: object) -> None:
        self._functions["VOLT"].high_impedance = scpi.boolean(argument)  # the world's sources have no resistance
        self.clear()

    def _set_scaling(self, argument: str, _: object) -> None:
        if scpi.boolean(argument):
            raise ScpiError(-221, "Settings conflict")  # no scaling function is chosen: the stand-in has none

    def _set_source(self, argument: str, _: object) -> None:
        source = {"IMM": "IMM", "IMMEDIATE": "IMM", "BUS": "BUS", "EXT": "EXT", "EXTERNAL": "EXT"}.get(argument.upper())
        if source is None:
            raise ScpiError(*scpi.ILLEGAL_PARAMETER)
        self._source = source
        self.clear()

    def _set_samples(self, argument: str, _: object) -> None:
        wanted = scpi.number(argument)
        if not 1 <= wanted <= MAX_SAMPLES:
            raise ScpiError(*scpi.DATA_OUT_OF_RANGE)
        self._samples = int(wanted)
        self.clear()

    @property
    def _reading_ns(self) -> int:
        now = self._now
        if now.alternating:
            return int(AC_SETTLING_S[now.bandwidth] * SECOND_NS)
        return int(now.nplc * self._cycle_s * SECOND_NS) * (2 if now.autozero or self._function == "FRES" else 1)

    def _initiate(self, *_: object) -> None:
        if self._waiting:
            raise ScpiError(-213, "Init ignored")
        if self._source == "IMM":
            self._started_ns = time.monotonic_ns()
        else:
            self._started_ns, self._waiting = None, True

    def _trigger(self, *_: object) -> None:
        if not self._waiting or self._source != "BUS":
            raise ScpiError(-211, "Trigger ignored")
        self._waiting, self._started_ns = False, time.monotonic_ns()

    async def _measured(self) -> int:
        """Wait until the readings are complete and say when the first began."""
        if self._started_ns is None:
            raise ScpiError(-230, "Data stale")
        started_ns = self._started_ns
        end_ns = started_ns + self._samples * self._reading_ns
        while (left_ns := end_ns - time.monotonic_ns()) > 0:  # noqa: ASYNC110 - a timer may fire early
            await asyncio.sleep(left_ns / SECOND_NS)
        return started_ns

    def _text(self, instants_ns: tuple[int, ...]) -> str:
        now, unstable = self._now, self._faults.strikes("unstable")
        seen = statistics.fmean(self._eye.see(now.quantity, one, unstable=unstable) for one in instants_ns)
        if now.auto:
            now.range = next((one for one in now.ranges if abs(seen) <= 1.2 * one), now.ranges[-1])
        if self._faults.strikes("overload") or abs(seen) > 1.2 * now.range:
            return OVERLOAD
        return nr3(seen - now.null_value * now.null)

    async def _fetch(self, *_: object) -> Answer:
        started_ns = await self._measured()
        begins = [started_ns + k * self._reading_ns for k in range(self._samples)]
        held = [self._now.instants(began_ns, self._cycle_s) for began_ns in begins]
        texts = [self._text(instants_ns) for instants_ns in held]
        names = ["reading"] if self._samples == 1 else [f"reading_{k + 1}" for k in range(self._samples)]
        instants = tuple(one for reading in held for one in reading)
        return Answer(",".join(texts), instants, dict(zip(names, texts, strict=True)))

    async def _read(self, *_: object) -> Answer:
        if self._source == "BUS":
            raise ScpiError(-214, "Trigger deadlock")
        self._initiate()
        return await self._fetch()

    async def _measure(self, function: str, argument: str) -> Answer:
        self._configure(function, argument)
        return await self._read()

    async def _complete(self, *_: object) -> str:
        if self._started_ns is not None:
            await self._measured()
        return "1"

    def _accept(self, *_: object) -> None:
        """Do nothing: the command changes nothing that can be seen from outside."""


def _sense(node: str, function: str) -> dict[str, scpi.Handler]:
    """Give the commands of one function's SENSe subsystem."""

    def one(meter: Multimeter) -> Function:
        return meter._functions[function]

    commands: dict[str, scpi.Handler] = {
        f"CONFigure:{node}": lambda meter, argument, _: meter._configure(function, argument),
        f"MEASure:{node}?": lambda meter, argument, _: meter._measure(function, argument),
        f"[SENSe:]{node}:RANGe[:UPPer]": lambda meter, argument, _: meter._set_range(function, argument),
        f"[SENSe:]{node}:RANGe[:UPPer]?": lambda meter, *_: nr3(one(meter).range),
        f"[SENSe:]{node}:RANGe:AUTO": lambda meter, argument, _: meter._set_auto(function, argument),
        f"[SENSe:]{node}:RANGe:AUTO?": lambda meter, *_: f"{one(meter).auto:d}",
        f"[SENSe:]{node}:NULL[:STATe]": lambda meter, argument, _: meter._set_null(function, argument),
        f"[SENSe:]{node}:NULL[:STATe]?": lambda meter, *_: f"{one(meter).null:d}",
        f"[SENSe:]{node}:NULL:VALue": lambda meter, argument, _: meter._set_null_value(function, argument),
        f"[SENSe:]{node}:NULL:VALue?": lambda meter, *_: nr3(one(meter).null_value),
    }
    if function == "VOLT:AC":
        return commands | {
            f"[SENSe:]{node}:BANDwidth": lambda meter, argument, _: meter._set_bandwidth(argument),
            f"[SENSe:]{node}:BANDwidth?": lambda meter, *_: nr3(one(meter).bandwidth),
        }
    commands |= {
        f"[SENSe:]{node}:NPLC": lambda meter, argument, _: meter._set_nplc(function, argument),
        f"[SENSe:]{node}:NPLC?": lambda meter, *_: nr3(one(meter).nplc),
    }
    if function != "FRES":  # four-wire resistance always zeroes
        commands |= {
            f"[SENSe:]{node}:ZERO:AUTO": lambda meter, argument, _: meter._set_autozero(function, argument),
            f"[SENSe:]{node}:ZERO:AUTO?": lambda meter, *_: f"{one(meter).autozero:d}",
        }
    return commands


COMMANDS = scpi.table(
    {
        "*IDN?": Multimeter._identity,
        "*RST": Multimeter._reset,
        "*CLS": Multimeter._clear_status,
        "*OPC?": Multimeter._complete,
        "*OPC": Multimeter._accept,
        "*WAI": Multimeter._accept,
        "*ESR?": lambda *_: "+0",
        "*STB?": lambda *_: "+0",
        "*TST?": lambda *_: "+0",
        "*TRG": Multimeter._trigger,
        "SYSTem:ERRor[:NEXT]?": Multimeter._error,
        "SYSTem:ERRor:COUNt?": Multimeter._error_count,
        "SYSTem:VERSion?": lambda *_: "1994.0",
        "SYSTem:LOCal": Multimeter._accept,
        "SYSTem:REMote": Multimeter._accept,
        "SYSTem:RWLock": Multimeter._accept,
        **_sense("VOLTage:AC", "VOLT:AC"),
        **_sense("VOLTage[:DC]", "VOLT"),
        **_sense("RESistance", "RES"),
        **_sense("FRESistance", "FRES"),
        "CONFigure?": Multimeter._configured,
        "[SENSe:]FUNCtion[:ON]": Multimeter._set_function,
        "[SENSe:]FUNCtion[:ON]?": lambda meter, *_: f'"{meter._function}"',
        "[SENSe:]VOLTage[:DC]:IMPedance:AUTO": Multimeter._set_impedance,
        "[SENSe:]VOLTage[:DC]:IMPedance:AUTO?": lambda meter, *_: f"{meter._functions['VOLT'].high_impedance:d}",
        "CALCulate:SCALe[:STATe]": Multimeter._set_scaling,
        "CALCulate:SCALe[:STATe]?": lambda *_: "0",
        "TRIGger:SOURce": Multimeter._set_source,
        "TRIGger:SOURce?": lambda meter, *_: meter._source,
        "SAMPle:COUNt": Multimeter._set_samples,
        "SAMPle:COUNt?": lambda meter, *_: f"{meter._samples:+d}",
        "INITiate[:IMMediate]": Multimeter._initiate,
        "ABORt": lambda meter, *_: meter.clear(),
        "FETCh?": Multimeter._fetch,
        "READ?": Multimeter._read,
        "ROUTe:TERMinals?": lambda *_: "FRON",
    }
)

"""A Fluke (Hart) 1502A thermometer readout, which sends every measurement unasked.

A measurement ends a conversion that takes part of the sample period; the line leaves as it ends.
Source: 1502A and 1504 Thermometer Readout User's Guide, chapter 7 (T, FETCh?, SA, U, *VER, *IDN?); line format
"t: nnnn.nnn u". Half duplex: commands are not echoed. Commands that set something are not answered.
"""

from __future__ import annotations

import asyncio
import time

from simulators.dialogue import Answer
from simulators.faults import Faults
from simulators.instruments import Spec
from simulators.world import SECOND_NS, Eye, World

CONVERSION_NS = 100_000_000  # what one measurement integrates over, at most half the sample period
MAX_PERIOD_S = 86_400.0


class Thermometer:
    """The instrument. It has measured, and goes on measuring, whether anybody listens or not."""

    eol = "\r\n"

    def __init__(self, spec: Spec, world: World, faults: Faults) -> None:
        self._serial = spec.serial_number
        self._faults = faults
        self._eye = Eye(world, spec.name, spec.error_ppm, spec.noise_ppm, spec.lag_s)
        self._measures_ns = int(spec.period_s * SECOND_NS)
        self._period_ns = self._measures_ns  # of sending; 0 where it does not talk
        self._changed = asyncio.Event()
        self._unit = "C"

    def clear(self) -> None:
        """Give up nothing: there is nothing it waits for."""

    async def talk(self) -> Answer:
        """Give the next measurement when it ends."""
        while True:
            self._changed.clear()
            if not self._period_ns:
                await self._changed.wait()
                continue
            now_ns = time.monotonic_ns()
            end_ns = now_ns - now_ns % self._period_ns + self._period_ns
            try:
                async with asyncio.timeout((end_ns - now_ns) / SECOND_NS):
                    await self._changed.wait()
            except TimeoutError:
                return self._measured(end_ns, labelled=True)

    async def answer(self, line: str) -> Answer | None:
        """Do one command, upper or lower case."""
        command, equals, argument = line.strip().upper().partition("=")
        if equals:
            self._set(command.strip(), argument.strip())
            return None
        if command in ("T", "FETC?", "FETCH?"):
            return self._measured(self._last_ns(), labelled=command == "T")
        text = self._told(command)
        return None if text is None else Answer(text)

    def _told(self, command: str) -> str | None:
        """Answer what asks about the readout; None where it does not understand."""
        match command:
            case "SA":
                seconds = self._period_ns // SECOND_NS
                return f"sa: {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
            case "U":
                return f"u: {self._unit}"
            case "*VER":
                return "ver.1502A,1.10"
            case "*IDN?" | "IDN?":  # the 1502A's guide has it with the asterisk, the 1504's without
                return f"HART,1502A,{self._faults.serial_number(self._serial, 'SIM-OTHER-0004')},1.10"
        return None

    def _set(self, command: str, argument: str) -> None:
        """Set the sample period ([[hh:]mm:]ss) or the unit; what it does not understand it ignores."""
        if command == "SA":
            try:
                parts = [float(part) for part in argument.split(":")]
            except ValueError:
                return
            seconds = sum(part * 60**power for power, part in enumerate(reversed(parts)))
            if 0 <= seconds <= MAX_PERIOD_S:
                self._period_ns = int(seconds * SECOND_NS)
                self._changed.set()
        elif command == "U" and argument in ("C", "F", "K"):
            self._unit = argument

    def _last_ns(self) -> int:
        now_ns = time.monotonic_ns()
        return now_ns - now_ns % self._measures_ns

    def _measured(self, end_ns: int, *, labelled: bool) -> Answer:
        """Give the measurement whose conversion ended at an instant; it holds the middle of the conversion."""
        middle_ns = end_ns - min(CONVERSION_NS, self._measures_ns // 2) // 2
        if self._faults.strikes("overload"):
            return Answer("t: ----.--- C" if labelled else "----.---")
        celsius = self._eye.see("bath_temperature", middle_ns, unstable=self._faults.strikes("unstable"))
        value = {"C": celsius, "F": celsius * 1.8 + 32, "K": celsius + 273.15}[self._unit]
        text = f"{value:.3f}"
        return Answer(f"t: {text:>8} {self._unit}" if labelled else text, (middle_ns,), {"temperature": text})

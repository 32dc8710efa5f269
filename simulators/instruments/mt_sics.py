"""A Mettler-Toledo balance that speaks MT-SICS, levels 0 and 1.

Converts ten times a second; SI gives the last conversion, S waits for rest. The load changes by itself and rings out.
Source: MT-SICS Interface Commands reference manual 11780711 (weight responses, ES/EL, I0 to I4, @); InstrumentKit
mettler_toledo/mt_sics.py.
"""

# ruff: noqa: SLF001 - the command table stands below the class whose methods it names

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from simulators.dialogue import Answer
from simulators.faults import Faults
from simulators.instruments import Spec
from simulators.world import SECOND_NS, Eye, World

STABILITY_TIMEOUT_S = 4.0  # S and T answer "S I" when there is no rest within this
MODEL = "XPR205"
CAPACITY_G = 220.0


class Balance:
    """The instrument."""

    eol = "\r\n"

    def __init__(self, spec: Spec, world: World, faults: Faults) -> None:
        self._serial = spec.serial_number
        self._world = world
        self._faults = faults
        self._eye = Eye(world, spec.name, spec.error_ppm, spec.noise_ppm, spec.lag_s)
        self._period_ns = int(spec.period_s * SECOND_NS)
        self._repeating = asyncio.Event()
        self._zero_g = 0.0
        self._tare_g = 0.0

    def clear(self) -> None:
        """Stop repeating."""
        self._repeating.clear()

    async def talk(self) -> Answer:
        """After SIR, give every conversion."""
        await self._repeating.wait()
        await asyncio.sleep(self._period_ns / SECOND_NS)
        await self._repeating.wait()
        return self._at_once()

    async def answer(self, line: str) -> Answer | None:
        """Do one command; a wrong one is a syntax error."""
        command = COMMANDS.get(line.strip())
        if command is None:
            return Answer("ES")
        if line.strip() != "SIR":
            self._repeating.clear()  # any command ends the repetition
        result = command(self)
        return result if isinstance(result, Answer) else await result

    def _converted_ns(self) -> int:
        now_ns = time.monotonic_ns()
        return now_ns - now_ns % self._period_ns

    def _weigh(self, head: str, at_ns: int, *, stable: bool) -> Answer:
        """Give a weight response: the head, the weight in ten characters, the unit."""
        gross = self._eye.see("mass", at_ns) - self._zero_g
        if self._faults.strikes("overload") or gross > CAPACITY_G:
            return Answer(f"{head} +")
        if gross < -0.02 * CAPACITY_G:
            return Answer(f"{head} -")
        text = f"{gross - self._tare_g:.5f}"
        return Answer(f"{head} {'S' if stable else 'D'} {text:>10} g", (at_ns,), {"weight": text})

    def _at_once(self) -> Answer:
        at_ns = self._converted_ns()
        stable = self._world.pan.stable(at_ns) and not self._faults.strikes("unstable")
        return self._weigh("S", at_ns, stable=stable)

    async def _rest(self) -> int | None:
        """Give the first conversion at rest; None where none comes in time."""
        deadline_ns = time.monotonic_ns() + int(STABILITY_TIMEOUT_S * SECOND_NS)
        restless = self._faults.strikes("unstable")
        while restless or not self._world.pan.stable(self._converted_ns()):
            if time.monotonic_ns() >= deadline_ns:
                return None
            await asyncio.sleep(self._period_ns / SECOND_NS)
        return self._converted_ns()

    async def _stable(self) -> Answer:
        at_ns = await self._rest()
        return Answer("S I") if at_ns is None else self._weigh("S", at_ns, stable=True)

    def _repeat(self) -> Answer:
        self._repeating.set()
        return self._at_once()

    async def _zero(self) -> Answer:
        at_ns = await self._rest()
        if at_ns is None:
            return Answer("Z I")
        self._zero_g, self._tare_g = self._eye.see("mass", at_ns), 0.0
        return Answer("Z A")

    def _zero_at_once(self) -> Answer:
        at_ns = self._converted_ns()
        self._zero_g, self._tare_g = self._eye.see("mass", at_ns), 0.0
        return Answer("ZI S" if self._world.pan.stable(at_ns) else "ZI D")

    async def _tare(self) -> Answer:
        at_ns = await self._rest()
        if at_ns is None:
            return Answer("T I")
        self._tare_g = self._eye.see("mass", at_ns) - self._zero_g
        text = f"{self._tare_g:.5f}"
        return Answer(f"T S {text:>10} g", (at_ns,), {"tare": text})

    def _tare_value(self) -> Answer:
        text = f"{self._tare_g:.5f}"
        return Answer(f"TA A {text:>10} g", (), {"tare": text})

    def _clear_tare(self) -> Answer:
        self._tare_g = 0.0
        return Answer("TAC A")

    def _serial_number(self) -> Answer:
        return Answer(f'I4 A "{self._faults.serial_number(self._serial, "SIM-OTHER-0003")}"')

    def _commands(self) -> Answer:
        lines = [f'I0 B {0 if name in LEVEL_0 else 1} "{name}"' for name in COMMANDS]
        lines[-1] = lines[-1].replace("I0 B", "I0 A")
        return Answer("\r\n".join(lines))


LEVEL_0 = ("@", "I0", "I1", "I2", "I3", "I4", "S", "SI", "SIR", "Z", "ZI")

COMMANDS: dict[str, Callable[[Balance], Answer | Awaitable[Answer]]] = {
    "@": Balance._serial_number,  # a cancel answers as I4 does
    "I0": Balance._commands,
    "I1": lambda _: Answer('I1 A "01" "2.30" "2.20" "" ""'),
    "I2": lambda _: Answer(f'I2 A "{MODEL} Excellence {CAPACITY_G:.5f} g"'),
    "I3": lambda _: Answer('I3 A "2.10 10.28.0.493.142"'),
    "I4": Balance._serial_number,
    "S": Balance._stable,
    "SI": Balance._at_once,
    "SIR": Balance._repeat,
    "Z": Balance._zero,
    "ZI": Balance._zero_at_once,
    "T": Balance._tare,
    "TA": Balance._tare_value,
    "TAC": Balance._clear_tare,
}

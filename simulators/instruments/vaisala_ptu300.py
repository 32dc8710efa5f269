"""A Vaisala PTU300 transmitter: pressure, temperature, humidity. Echo is off, so there is no prompt.

Measures by itself every `period`; an output gives what was measured last, all of it at one instant.
Source: PTU300 User's Guide M210796EN-G, pages 97 to 110 (SEND, R, S, INTV, FORM and its modifiers in table 30, UNIT, ?,
ERRS); MSLNZ/msl-equipment vaisala/ptu300.py for the replies of FORM, UNIT, ERRS and *9900SN.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

from simulators.dialogue import Answer
from simulators.faults import Faults
from simulators.instruments import Spec
from simulators.world import SECOND_NS, Eye, World

DEFAULT_FORM = r'6.1 "P=" P " " U6 3.1 "T=" T " " U3 3.1 "RH=" RH " " U4 \r \n'  # page 103
OTHER_SERIAL = "SIM-OTHER-0005"
MAX_FORM = 200  # characters
QUANTITIES = {
    "P": ("ambient_pressure", "hPa"),
    "T": ("ambient_temperature", "'C"),
    "RH": ("ambient_humidity", "%RH"),
}
INTERVAL_UNITS = {"S": 1, "MIN": 60, "H": 3600}
TOKEN = re.compile(
    r'"[^"]*"|\d+\.\d+|[#\\](?:RN|[RNT]|\d{1,3})|CS[24X]|U\d?|ADDR|ERR|SN|TIME|DATE|RH|P|T', re.IGNORECASE
)


@dataclass(slots=True)
class _Output:
    """A message being put together."""

    text: str = ""
    digits: str = "4.1"
    unit: str = ""
    values: dict[str, str] = field(default_factory=dict)


def checksum(kind: str, text: str) -> str:
    """Give the checksum of what was sent so far: CS2, CS4 (sums) or CSX (exclusive or), in hexadecimal."""
    data = text.encode("latin-1")
    if kind == "CSX":
        value = 0
        for byte in data:
            value ^= byte
        return f"{value:02X}"
    return f"{sum(data) % 0x100:02X}" if kind == "CS2" else f"{sum(data) % 0x10000:04X}"


class AmbientStation:
    """The instrument."""

    eol = ""  # every message carries its own end, as the format says

    def __init__(self, spec: Spec, world: World, faults: Faults) -> None:
        self._serial = spec.serial_number
        self._faults = faults
        self._eye = Eye(world, spec.name, spec.error_ppm, spec.noise_ppm, spec.lag_s)
        self._period_ns = int(spec.period_s * SECOND_NS)
        self._form = DEFAULT_FORM
        self._interval_s = 1
        self._running = asyncio.Event()

    def clear(self) -> None:
        """Stop the continuous output."""
        self._running.clear()

    async def talk(self) -> Answer:
        """In RUN mode, give a message every interval."""
        await self._running.wait()
        await asyncio.sleep(self._interval_s)
        await self._running.wait()
        return self._message()

    async def answer(self, line: str) -> Answer | None:
        """Do one command, upper or lower case."""
        command, _, argument = line.strip().partition(" ")
        match command.upper():
            case "SEND":
                return self._message()
            case "R":
                self._running.set()
                return None
            case "S":
                self._running.clear()
                return None
            case "FORM":
                return self._format(argument.strip())
            case "INTV":
                return self._interval(argument.strip())
        return self._told(command.upper(), argument.strip().upper())

    def _told(self, command: str, argument: str) -> Answer:
        """Answer what asks about the transmitter."""
        asked = command in ("?", "??", "SNUM", "*9900SN")
        serial = self._faults.serial_number(self._serial, OTHER_SERIAL) if asked else self._serial
        whole = f"{command} {argument}".strip()
        told = {
            "VERS": "PTU300 / 4.06",
            "SNUM": f"Serial number  : {serial}",
            "*9900SN": serial,
            "ERRS": "No errors",
            "UNIT": "Output units   : metric",
            "UNIT M": "Output units   : metric",
            "UNIT P HPA": "P units        : hPa",
            "SMODE": "Serial mode    : STOP",
            "SMODE STOP": "Serial mode    : STOP",
            "ECHO": "Echo           : OFF",
            "ECHO OFF": "Echo           : OFF",
        }
        if whole in ("?", "??"):
            return self._lines(self._information(serial))
        return self._lines([told.get(whole, "Unknown command.")])

    @staticmethod
    def _lines(lines: list[str]) -> Answer:
        return Answer("".join(f"{line}\r\n" for line in lines))

    def _information(self, serial: str) -> list[str]:
        return [
            "PTU300 / 4.06",
            f"Serial number  : {serial}",
            "Batch number   : SIM-BATCH",
            f"Output format  : {self._form}",
            "Adjust. date   : 2026-01-05",
            "Adjust. info   : VAISALA",
            "Start mode     : STOP",
            "Baud P D S     : 4800 E 7 1",
            f"Output interval: {self._interval_s} s",
            "Address        : 0",
            "Echo           : OFF",
            "Module 1       : BARO-1",
            "Module 2       : EMPTY",
        ]

    def _interval(self, argument: str) -> Answer:
        match = re.fullmatch(r"(\d{1,3})\s*(S|MIN|H)?", argument.upper())
        if match:
            self._interval_s = max(int(match[1]), 1) * INTERVAL_UNITS[match[2] or "S"]
        elif argument:
            return self._lines(["Unknown command."])
        return self._lines([f"Output interval: {self._interval_s} s"])

    def _format(self, argument: str) -> Answer:
        if argument in ("", "?"):
            return self._lines([f"Output format  : {self._form}"])
        if argument == "/":
            self._form = DEFAULT_FORM
        elif len(argument) > MAX_FORM or TOKEN.sub("", argument).strip():
            return self._lines(["Unknown command."])
        else:
            self._form = argument.replace("#", "\\")
        return self._lines(["OK"])

    def _message(self) -> Answer:
        """Put together the output, of what was measured last."""
        now_ns = time.monotonic_ns()
        sampled_ns = now_ns - now_ns % self._period_ns
        unstable, overload = self._faults.strikes("unstable"), self._faults.strikes("overload")
        output = _Output()
        for token in TOKEN.findall(self._form):
            if token.upper() in QUANTITIES:
                quantity, output.unit = QUANTITIES[token.upper()]
                whole, decimals = map(int, output.digits.split("."))
                text = f"{self._eye.see(quantity, sampled_ns, unstable=unstable):.{decimals}f}"
                width = whole + decimals + 1
                output.text += "*" * width if overload else f"{text:>{width}}"
                if not overload:
                    output.values[token.upper()] = text
            else:
                self._modify(output, token, overload=overload)
        return Answer(output.text, (sampled_ns,) if output.values else (), output.values)

    def _modify(self, output: _Output, token: str, *, overload: bool) -> None:
        word = token.upper()
        if token.startswith('"'):
            output.text += token[1:-1]
        elif token[0].isdigit():
            output.digits = token
        elif token[0] in "#\\":
            output.text += {"R": "\r", "N": "\n", "T": "\t", "RN": "\r\n"}.get(word[1:]) or chr(int(word[1:]) % 256)
        elif word.startswith("CS"):
            output.text += checksum(word, output.text)
        elif word.startswith("U"):
            output.text += output.unit.ljust(int(word[1:] or len(output.unit)))[: int(word[1:] or len(output.unit))]
        elif word == "SN":
            output.text += self._faults.serial_number(self._serial, OTHER_SERIAL)
        else:
            clock = time.localtime()
            output.text += {
                "ADDR": "0",
                "ERR": "1111" if overload else "0000",
                "TIME": time.strftime("%H:%M:%S", clock),
                "DATE": time.strftime("%Y-%m-%d", clock),
            }[word]

"""The notation of serial settings, `9600/8n1/rts=0/dtr=1/xonxoff=1`. Pure.

Baud rate, then data bits, parity and stop bits, then what differs from the usual: a level to hold a modem line at, or a
flow control. Some adapters take their power from a line held high, some balances need a handshake.

    bench file (line:) -> line_settings -> transports.serial
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from daq.core.observation import NS

Parity = Literal["n", "e", "o", "m", "s"]

_FRAME = re.compile(r"([5-8])([neoms])(1|1\.5|2)", re.IGNORECASE | re.ASCII)
_SLOWEST, _FASTEST = 50, 4_000_000  # bits per second; termios(3) knows none beyond
_SWITCHES = ("dtr", "rts", "rtscts", "xonxoff")
_EXAMPLE = "Write baud rate and frame as in 9600/8n1, then what differs, as in 9600/7e1/rts=0/xonxoff=1."


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How a serial line runs.

    Args:
        baud: bits per second, 50 to 4 000 000.
        data_bits: 5 to 8.
        parity: none, even, odd, mark, space.
        stop_bits: 1, 1.5 or 2.
        rts, dtr: level to hold the line at; None leaves it as the driver of the port opens it (high).
        rtscts, xonxoff: flow control.
    """

    baud: int
    data_bits: int = 8
    parity: Parity = "n"
    stop_bits: Fraction = Fraction(1)
    rts: bool | None = None
    dtr: bool | None = None
    rtscts: bool = False
    xonxoff: bool = False

    @property
    def holds_back(self) -> bool:
        """Whether the other side is told to wait while nobody takes what it sends."""
        return self.rtscts or self.xonxoff

    @property
    def byte_ns(self) -> int:
        """Nanoseconds one byte takes on the wire: start bit, data, parity, stop bits; rounded up."""
        bits = 1 + self.data_bits + (self.parity != "n") + self.stop_bits
        return -int(-bits * NS // self.baud)


def line_settings(text: str) -> LineSettings:
    """Read serial settings.

    Raises:
        ValueError: not of that notation; the message says what and how to mend it.
    """
    baud, *rest = text.split("/")
    if not rest:
        raise ValueError(f"{text!r} names no frame. {_EXAMPLE}")
    frame = _FRAME.fullmatch(rest[0])
    if frame is None:
        raise ValueError(
            f"{text!r}: {rest[0]!r} is no frame. Write data bits 5 to 8, parity n, e, o, m or s, stop bits 1, 1.5 "
            "or 2, as in 8n1."
        )
    switches = _switches(text, rest[1:])
    if switches.get("rtscts") and "rts" in switches:
        raise ValueError(f"{text!r}: rtscts=1 drives RTS itself. Leave out rts={switches['rts']:d} or rtscts=1.")
    return LineSettings(
        baud=_baud(text, baud),
        data_bits=int(frame[1]),
        parity=frame[2].lower(),  # type: ignore[arg-type]  # as the pattern has it
        stop_bits=Fraction(frame[3]),
        rts=switches.get("rts"),
        dtr=switches.get("dtr"),
        rtscts=switches.get("rtscts", False),
        xonxoff=switches.get("xonxoff", False),
    )


def _baud(text: str, word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(f"{text!r}: {word!r} is no baud rate. {_EXAMPLE}")
    if len(word) > len(str(_FASTEST)) or not _SLOWEST <= int(word) <= _FASTEST:
        raise ValueError(f"{text!r}: {word} baud is outside {_SLOWEST} to {_FASTEST}. Put the baud rate right.")
    return int(word)


def _switches(text: str, words: list[str]) -> dict[str, bool]:
    switches: dict[str, bool] = {}
    for word in words:
        name, _, level = word.partition("=")
        if name not in _SWITCHES:
            nearest = difflib.get_close_matches(name, _SWITCHES, n=1, cutoff=0.5)
            hint = f" Nearest: {nearest[0]!r}." if nearest else ""
            raise ValueError(
                f"{text!r}: no setting {name!r}.{hint} Settings are {', '.join(_SWITCHES)}, each =0 or =1."
            )
        if level not in {"0", "1"}:
            raise ValueError(f"{text!r}: {word!r} is neither on nor off. Write {name}=0 or {name}=1.")
        if name in switches:
            raise ValueError(f"{text!r}: {name} stands there twice. Leave one out.")
        switches[name] = level == "1"
    return switches

"""Numbers sent as bytes and not as digits: how many bytes each kind takes, what they say, how they are written.

What is read of them is text, as if the instrument had printed it: from there on they are like any other field. Pure.

    template ({v:float32}) -> [KINDS.read] -> characters -> Template.fields
    stand-ins, samples: characters -> [KINDS.write] -> bytes
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from daq.core.registers import decoded


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of writing something in bytes.

    Args:
        length: bytes.
        read: bytes, the highest first -> characters; None where they are not such a thing.
        write: characters -> bytes; for what it cannot write, those of zero.
        proves: its bytes hold a checksum of their own.
        number: it is one.
    """

    length: int
    read: Callable[[bytes], str | None]
    write: Callable[[str], bytes]
    proves: bool = False
    number: bool = True


def _whole(length: int, *, signed: bool) -> Kind:
    def read(content: bytes) -> str:
        return str(int.from_bytes(content, "big", signed=signed))

    def write(text: str) -> bytes:
        number = _decimal(text)
        low, high = (-(1 << 8 * length - 1), 1 << 8 * length - 1) if signed else (0, 1 << 8 * length)
        return int(number if low <= number < high else 0).to_bytes(length, "big", signed=signed)

    return Kind(length, read, write)


def _float32(content: bytes) -> str:
    return decoded(content, "float32") or _no_number(struct.unpack(">f", content)[0])


def _float64(content: bytes) -> str:
    return decoded(content, "float64") or _no_number(struct.unpack(">d", content)[0])


def _no_number(number: float) -> str:
    """Name what is none, so that a driver may list it among its special words."""
    return "NAN" if math.isnan(number) else "INF" if number > 0 else "-INF"


def _packed(kind: str, text: str) -> bytes:
    try:
        return struct.pack(kind, float(_decimal(text)))
    except OverflowError:
        return struct.pack(kind, 0)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return number if number.is_finite() else Decimal(0)


def highest_first(content: str, order: str | None) -> bytes:
    """Put bytes, one a character, into the order of their worth; `order`: its letters as they arrive, A the highest."""
    arrived = content.encode("latin-1")
    return arrived if order is None else bytes(arrived[order.index(letter)] for letter in sorted(order))


def as_sent(content: bytes, order: str | None) -> str:
    """Put bytes into the order in which they are sent, one a character."""
    sent = content if order is None else bytes(content[ord(letter) - ord("A")] for letter in order)
    return sent.decode("latin-1")


# EASYBus --------------------------------------------------------------------------------------------------------------

_ERRORS = 0x07F5E100
"""Values from here on are no measurement but a number of an error."""

_MIDDLE = 0x02000000
"""What is sent for zero is this far below zero."""


def easybus_crc(high: int, low: int) -> int:
    """Return the byte that follows each two bytes.

    Source: "Schnittstellenbeschreibung für EASYBus Sensormodule und GMH Handmessgeräte V1.0", 8.5, as quoted in
    MSLNZ/msl-equipment greisinger/gmh3000.py: the remainder by the polynomial x^8 + x^2 + x + 1, inverted.
    """
    rest = high << 8 | low
    for _ in range(16):
        rest = rest << 1 ^ (0x0700 if rest & 0x8000 else 0)
    return ~(rest >> 8) & 0xFF


def _two(content: bytes) -> int | None:
    """Read a word of three bytes: the high one inverted, the low one, their CRC; None where that is wrong."""
    high, low, crc = content
    return (high ^ 0xFF) << 8 | low if easybus_crc(high, low) == crc else None


def _three(word: int) -> bytes:
    high, low = word >> 8 ^ 0xFF, word & 0xFF
    return bytes((high, low, easybus_crc(high, low)))


def _four(content: bytes) -> int | None:
    """Read two words."""
    high, low = _two(content[:3]), _two(content[3:])
    return None if high is None or low is None else high << 16 | low


def _word(content: bytes) -> str | None:
    word = _two(content)
    return None if word is None else str(word)


def _hex(content: bytes) -> str | None:
    number = _four(content)
    return None if number is None else f"{number:08X}"


def _value(content: bytes) -> str | None:
    """Read a measured value: five bits of decimals (15 for none), 27 bits of a signed number; or E and an error.

    Source: the same, 8.1. 0x8E000880 is 21.76 and 0x8FF620ED the error 16365, no sensor (exchanges recorded in
    MSLNZ/msl-equipment tests/resources/test_greisinger_gmh3000.py).
    """
    sent = _four(content)
    if sent is None:
        return None
    number, decimals = sent & 0x07FFFFFF, (sent >> 27) - 15
    if number >= _ERRORS:
        return f"E{number - _ERRORS}"
    if number & 0x04000000:
        number -= 0x08000000
    return format(Decimal(number + _MIDDLE).scaleb(-decimals), "f")


def _sent(text: str) -> bytes:
    """Write a value as the instrument would."""
    if text[:1] == "E" and text[1:].isdecimal():
        number, decimals = int(text[1:]) + _ERRORS, 2
    else:
        value = _decimal(text)
        exponent = value.as_tuple().exponent
        decimals = -exponent if isinstance(exponent, int) else 0
        number = int(value.scaleb(decimals)) - _MIDDLE
    whole = (decimals + 15 & 0x1F) << 27 | number & 0x07FFFFFF
    return _three(whole >> 16) + _three(whole & 0xFFFF)


def _id(text: str) -> bytes:
    try:
        number = int(text, 16) & 0xFFFFFFFF
    except ValueError:
        number = 0
    return _three(number >> 16) + _three(number & 0xFFFF)


KINDS = {
    "uint8": _whole(1, signed=False),
    "bits8": replace(_whole(1, signed=False), number=False),
    "bits16": replace(_whole(2, signed=False), number=False),
    "int16": _whole(2, signed=True),
    "uint16": _whole(2, signed=False),
    "int32": _whole(4, signed=True),
    "uint32": _whole(4, signed=False),
    "float32": Kind(4, _float32, lambda text: _packed(">f", text)),
    "float64": Kind(8, _float64, lambda text: _packed(">d", text)),
    "easy32": Kind(6, _value, _sent, proves=True),
    "easy16": Kind(3, _word, lambda text: _three(int(_decimal(text)) & 0xFFFF), proves=True),
    "easyid": Kind(6, _hex, _id, proves=True, number=False),
}
"""Type of a template -> how its bytes are read."""

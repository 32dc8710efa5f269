"""Where questions and replies end on the wires that the proxies stand in, and what damage does to a reply. Pure.

Written from the protocols' specifications, without a line of the daemon's own framing: a proxy that shared it would be
blind to its mistakes.

bytes -> cutters -> frames -> damage (rng) -> bytes

Source: MODBUS Application Protocol V1.1b3, chapters 4 to 7; MODBUS over Serial Line V1.02, 2.5; MODBUS Messaging on
TCP/IP V1.0b, 3.1.3.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from typing import Literal

from simulators.modbus import crc

Framing = Literal["text", "mbap", "rtu", "raw"]
Cutter = Callable[[bytes], int]

LINE_END = re.compile(rb"[\r\n]+")


def _line(got: bytes) -> int:
    """A question in text: up to its last CR or LF."""
    found = LINE_END.search(got)
    return found.end() if found else 0


def _whole_line(got: bytes) -> int:
    """A reply in text: up to its LF, which ends every reply of the stand-ins."""
    return got.find(b"\n") + 1


def _mbap(got: bytes) -> int:
    whole = 6 + int.from_bytes(got[4:6], "big") if len(got) >= 6 else 0
    return whole if 0 < whole <= len(got) else 0


def _rtu_question(got: bytes) -> int:
    return 8 if len(got) >= 8 else 0


def _rtu_reply(got: bytes) -> int:
    whole = (5 if got[1] & 0x80 else 5 + got[2]) if len(got) >= 3 else 0
    return whole if 0 < whole <= len(got) else 0


def _all(got: bytes) -> int:
    return len(got)


QUESTIONS: dict[Framing, Cutter] = {"text": _line, "mbap": _mbap, "rtu": _rtu_question, "raw": _all}
REPLIES: dict[Framing, Cutter] = {"text": _whole_line, "mbap": _mbap, "rtu": _rtu_reply, "raw": _all}


class Cut:
    """Gathers bytes and gives them back a frame at a time."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._rest += data
        frames = []
        while self._rest and (length := self._cutter(self._rest)):
            frames.append(self._rest[:length])
            self._rest = self._rest[length:]
        return frames


# ---------------------------------------------------------------- damage


def body_and_end(reply: bytes, framing: Framing) -> tuple[bytes, bytes]:
    """Part a reply from what ends it: line ending, or checksum."""
    if framing == "text":
        body = reply.rstrip(b"\r\n")
        return body, reply[len(body) :]
    return (reply[:-2], reply[-2:]) if framing == "rtu" else (reply, b"")


def noise(rng: random.Random, framing: Framing) -> bytes:
    """Bytes that are no part of any number: in text no digit, no ending; in frames anything."""
    length = rng.randint(1, 9)
    if framing == "text":
        return bytes(rng.choice((*range(0x3A, 0x41), *range(0x80, 0x100), 1, 7, 27)) for _ in range(length))
    return rng.randbytes(length)


def flipped(reply: bytes, rng: random.Random) -> bytes:
    """One bit wrong, anywhere."""
    at = rng.randrange(8 * len(reply))
    return bytes(byte ^ (1 << at % 8) if place == at // 8 else byte for place, byte in enumerate(reply))


def inside(reply: bytes, added: bytes, framing: Framing, rng: random.Random) -> bytes:
    """Something put into the middle of it."""
    body, end = body_and_end(reply, framing)
    at = rng.randint(1, max(1, len(body) - 1))
    return body[:at] + added + body[at:] + end


def pdu(reply: bytes, framing: Framing) -> bytes:
    """Function code and data of a Modbus reply."""
    return reply[7:] if framing == "mbap" else reply[1:-2]


def framed(reply: bytes, framing: Framing, unit: int, data: bytes, transaction: int | None = None) -> bytes:
    """A Modbus reply in place of another one, right in its framing and checksum."""
    if framing == "rtu":
        body = bytes((unit,)) + data
        return body + crc(body)
    number = int.from_bytes(reply[:2], "big") if transaction is None else transaction % 0x10000
    return struct.pack(">HHHB", number, 0, 1 + len(data), unit) + data


def unit_of(reply: bytes, framing: Framing) -> int:
    return reply[6] if framing == "mbap" else reply[0]


def with_words(data: bytes, words: int) -> bytes:
    """A reply's PDU with more or fewer registers, its own count of bytes right."""
    payload = (data[2:] + bytes(2 * max(0, words)))[: max(0, len(data) - 2 + 2 * words)]
    return bytes((data[0], len(payload) & 0xFF)) + payload

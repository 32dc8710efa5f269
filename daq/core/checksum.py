"""Checksums in text: what stands for the characters before it, in digits or as bytes.

One is written {:sum2} in a reply's template or in a question. It counts from {:from} to {:to} in front of it; where
there is no {:from}, from the first character of the line, and where there is no {:to}, up to itself. Pure.

    template ({:sum2}) -> [printed] -> Template.fields; question -> [with_checksums] -> wire
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import xor

from daq.core.modbus import checksum as crc16


@dataclass(frozen=True, slots=True)
class Checksum:
    """One way of counting.

    Args:
        length: characters that it is printed in, or bytes that it takes.
        number: of what it counts.
        in_bytes: it is sent as bytes, not in hexadecimal digits.
    """

    length: int
    number: Callable[[bytes], int]
    in_bytes: bool = False


def _sum(text: bytes) -> int:
    return sum(text)


def _xor(text: bytes) -> int:
    return reduce(xor, text, 0)


def _minus(text: bytes) -> int:
    return -sum(text)


def _crc(text: bytes) -> int:
    return int.from_bytes(crc16(text), "little")


def _crc_as_sent(text: bytes) -> int:
    return int.from_bytes(crc16(text), "big")


CHECKSUMS = {
    "sum2": Checksum(2, _sum),
    "sum4": Checksum(4, _sum),
    "xor2": Checksum(2, _xor),
    "lrc2": Checksum(2, _minus),
    "crc4": Checksum(4, _crc),
    "sum1": Checksum(1, _sum, in_bytes=True),
    "xor1": Checksum(1, _xor, in_bytes=True),
    "lrc1": Checksum(1, _minus, in_bytes=True),
    "crc2": Checksum(2, _crc_as_sent, in_bytes=True),
}
"""sum2: ADAM-4000 User's Manual, appendix F. sum2, sum4: Vaisala CS2 and CS4. xor2: NMEA 0183. lrc2: MODBUS over
Serial Line V1.02, 2.5.2.2. crc4, crc2: the same, 2.5.1.2; crc2 low byte first, as it has it. xor1: the block check of
ISO 1745."""

_PLACE = re.compile(r"\{:(from|to|" + "|".join(CHECKSUMS) + r")\}")


def printed(kind: str, text: bytes) -> str:
    """Return the checksum of a text: upper-case hexadecimal digits, or bytes, one a character."""
    its = CHECKSUMS[kind]
    bits = 8 * its.length if its.in_bytes else 4 * its.length
    number = its.number(text) & (1 << bits) - 1
    return number.to_bytes(its.length, "big").decode("latin-1") if its.in_bytes else f"{number:0{its.length}X}"


def agrees(kind: str, text: bytes, sent: str) -> bool:
    """Whether a checksum is that of a text; digits may be of either case."""
    return printed(kind, text) == (sent if CHECKSUMS[kind].in_bytes else sent.upper())


def with_checksums(question: str) -> str:
    """Return a question with {:sum2} and the like replaced by the checksum of what each counts.

    Raises:
        UnicodeEncodeError: a character that it counts is not one byte (Latin-1).
    """
    done, rest, begin, end = "", question, 0, None
    while found := _PLACE.search(rest):
        done += rest[: found.start()]
        rest = rest[found.end() :]
        if found[1] == "from":
            begin, end = len(done), None
        elif found[1] == "to":
            end = len(done)
        else:
            done += printed(found[1], done[begin:end].encode("latin-1"))
            begin, end = 0, None
    return done + rest

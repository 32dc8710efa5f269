"""Checksums in text: what stands for all characters before it, as instruments print it.

One is written {:sum2} in a reply's template or in a question. It counts from the first character of the line up to
itself; the ending comes behind it and does not count. Pure.

    template ({:sum2}) -> [printed] -> Template.fields; question -> [with_checksums] -> wire
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import reduce
from operator import xor

from daq.core.modbus import checksum as crc16


def _crc(text: bytes) -> int:
    return int.from_bytes(crc16(text), "little")


CHECKSUMS: dict[str, tuple[int, Callable[[bytes], int]]] = {  # type -> hexadecimal digits, number of what came before
    "sum2": (2, lambda text: sum(text) & 0xFF),
    "sum4": (4, lambda text: sum(text) & 0xFFFF),
    "xor2": (2, lambda text: reduce(xor, text, 0)),
    "crc4": (4, _crc),
}
"""sum2: ADAM-4000 User's Manual, appendix F. sum2, sum4: Vaisala CS2 and CS4. xor2: NMEA 0183. crc4: as Modbus."""

_PLACE = re.compile(r"\{:(" + "|".join(CHECKSUMS) + r")\}")


def printed(kind: str, text: bytes) -> str:
    """Return the checksum of what came before it, in upper-case hexadecimal digits."""
    digits, number = CHECKSUMS[kind]
    return f"{number(text):0{digits}X}"


def with_checksums(question: str) -> str:
    """Return a question with {:sum2} and the like replaced by the checksum of what stands before each.

    Raises:
        UnicodeEncodeError: a character before it is not one byte (Latin-1).
    """
    done, rest = "", question
    while found := _PLACE.search(rest):
        done += rest[: found.start()]
        done += printed(found[1], done.encode("latin-1"))
        rest = rest[found.end() :]
    return done + rest

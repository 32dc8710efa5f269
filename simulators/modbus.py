"""Modbus, the server's side: frames, and what a device makes of a request. Pure: bytes in, bytes out.

Function codes 3 and 4, and 43/14 of a device that says who it is; the rest is refused with exception 1. Source: MODBUS
Application Protocol 1.1b3, chapters 4 to 7; MODBUS over serial line 1.02, chapter 2.5.1; MODBUS Messaging on TCP/IP
1.0b, chapter 3.1.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, Protocol

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
Table = Literal[3, 4]  # the function code that reads it
HOLDING: Table = 3
INPUT: Table = 4
ENCAPSULATED, DEVICE_IDENTIFICATION = 0x2B, 0x0E
MAX_FRAME = 260


@dataclass(frozen=True, slots=True)
class Register:
    """One parameter as it stands in the registers, and the exact text of its value."""

    words: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All parameters of a table at one instant.

    Attributes:
        registers: by the address of their first word.
        sampled_ns: the instant whose world values they hold; None where they hold settings.
    """

    registers: Mapping[int, Register]
    sampled_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply's PDU with what it holds, for the log."""

    pdu: bytes
    sampled: tuple[int, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


class Device(Protocol):
    """A model that speaks registers."""

    max_words: int

    def holds(self, table: Table, start: int, count: int) -> bool:
        """Tell whether these addresses may be read."""

    def read(self, table: Table) -> Snapshot:
        """Give the table as it stands now."""

    def who(self) -> Mapping[int, bytes]:
        """Give what it says of itself, object by object; nothing where it does not know that question."""


def float32(value: float) -> Register:
    """Put a single into two registers, high word first; its text is the shortest decimal that reads back the same."""
    words = struct.pack(">f", value)
    if value != value:  # noqa: PLR0124 - NaN
        return Register(words, "NaN")
    single = struct.unpack(">f", words)[0]
    digits = next(text for p in range(1, 10) if struct.pack(">f", float(text := f"{single:.{p}g}")) == words)
    return Register(words, format(Decimal(digits), "f"))


def unsigned(value: int, words: int) -> Register:
    """Put an unsigned integer into registers, high word first."""
    return Register(value.to_bytes(2 * words, "big"), str(value))


def reply(device: Device, request: bytes) -> Reply:
    """Do what a request PDU asks."""
    function = request[0]
    if function == ENCAPSULATED and device.who():
        return Reply(_identification(device.who(), request))
    if function not in (HOLDING, INPUT):
        return Reply(bytes((function | 0x80, ILLEGAL_FUNCTION)))
    table: Table = HOLDING if function == HOLDING else INPUT
    if len(request) != 5:
        return Reply(bytes((function | 0x80, ILLEGAL_VALUE)))
    start, count = struct.unpack(">HH", request[1:])
    if not 1 <= count <= device.max_words:
        return Reply(bytes((function | 0x80, ILLEGAL_VALUE)))
    if start + count > 0x10000 or not device.holds(table, start, count):
        return Reply(bytes((function | 0x80, ILLEGAL_ADDRESS)))
    return _read(device, table, start, count)


def _read(device: Device, table: Table, start: int, count: int) -> Reply:
    snapshot = device.read(table)
    block = bytearray(2 * count)
    values = {}
    for address, register in snapshot.registers.items():
        if start <= address and address + len(register.words) // 2 <= start + count:
            at = 2 * (address - start)
            block[at : at + len(register.words)] = register.words
            values[f"0x{address:04X}"] = register.text
    sampled = () if snapshot.sampled_ns is None or not values else (snapshot.sampled_ns,)
    return Reply(bytes((table, len(block))) + bytes(block), sampled, values)


def _identification(objects: Mapping[int, bytes], request: bytes) -> bytes:
    """Say who the device is: a stream of objects, or one (chapter 6.21)."""
    refused = ENCAPSULATED | 0x80
    if len(request) != 4 or request[1] != DEVICE_IDENTIFICATION or not 1 <= request[2] <= 4:
        return bytes((refused, ILLEGAL_VALUE))
    _, _, kind, first = request
    level = 1 if max(objects) < 3 else 2 if max(objects) < 0x80 else 3
    if kind == 4:
        wanted = {first: objects[first]} if first in objects else {}
        if not wanted:
            return bytes((refused, ILLEGAL_ADDRESS))
    else:
        last = (2, 0x7F, 0xFF)[min(kind, level) - 1]
        told = {number: its for number, its in sorted(objects.items()) if number <= last}
        begin = first if first in told else 0  # an object that is not there: from the beginning
        wanted = {number: its for number, its in told.items() if number >= begin}
    said, count, more = b"", 0, 0
    for number, its in wanted.items():
        if 7 + len(said) + 2 + len(its) > MAX_FRAME - 7:
            more = number
            break
        said += bytes((number, len(its))) + its
        count += 1
    return bytes((ENCAPSULATED, DEVICE_IDENTIFICATION, kind, 0x80 | level, 0xFF if more else 0, more, count)) + said


def _crc_row(byte: int) -> int:
    value = byte
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


CRC_TABLE = tuple(_crc_row(byte) for byte in range(256))


def crc(data: bytes) -> bytes:
    """Give the checksum of an RTU frame, low byte first."""
    value = 0xFFFF
    for byte in data:
        value = (value >> 8) ^ CRC_TABLE[(value ^ byte) & 0xFF]
    return struct.pack("<H", value)


def rtu(unit: int, pdu: bytes) -> bytes:
    """Frame a PDU for a serial line."""
    body = bytes((unit,)) + pdu
    return body + crc(body)


def _request_length(buffer: bytes) -> int:
    """Give how long the request at the head of the buffer is, checksum included.

    What a function code does not tell is taken to be all that has come.
    """
    if 1 <= buffer[1] <= 6:
        return 8
    if buffer[1] == ENCAPSULATED:
        return 7
    return 9 + buffer[6] if buffer[1] in (15, 16) and len(buffer) > 6 else len(buffer)


def take_rtu(buffer: bytearray) -> bytes | None:
    """Remove the first whole request from a buffer, and whatever noise stood before it.

    Returns:
        The frame with unit and checksum; None while there is none. The caller empties the buffer after a silence.
    """
    del buffer[: max(len(buffer) - 2 * MAX_FRAME, 0)]
    for skip in range(max(len(buffer) - 3, 0)):
        head = bytes(buffer[skip:])
        length = _request_length(head)
        if 4 <= length <= len(head) and crc(head[: length - 2]) == head[length - 2 : length]:
            del buffer[: skip + length]
            return head[:length]
    return None

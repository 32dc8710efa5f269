"""Modbus frames: questions out, the registers in exactly the answer to them back. No waiting, no retries, no decoding.

Function codes 1 to 4, and 43/14 (who the device is), over MBAP (Modbus TCP) and RTU (serial lines, or RTU inside TCP).
A reply counts only if every byte is right: length, unit, function, transaction number, byte count, checksum. RTU has no
transaction number: what its unit, function and count cannot tell apart, nobody can, which is why lines that lost track
are cleaned.

    RegisterStep -> [request] -> transport, [cut] -> reply -> [registers] -> core.registers
    DeviceStep -> [identification_request] -> transport, [identification_cut] -> reply -> [identification] -> fields

Source: MODBUS Application Protocol Specification V1.1b3, chapters 6 (43/14: 6.21) and 7; MODBUS over Serial Line V1.02,
2.5.1; MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from daq.core.cut import Cut
from daq.core.errors import BusyReply, ForeignReply, RefusedReply, ReplyError, UnreadableReply

Framing = Literal["tcp", "rtu"]

COILS = frozenset({1, 2})
"""Function codes that read bits: coils and discrete inputs. 3 and 4 read holding and input registers."""

_MBAP = struct.Struct(">HHHB")  # transaction, protocol (0), bytes from the unit on, unit
_QUESTION = struct.Struct(">BHH")  # function, address, count
_LONGEST_PDU = 254  # with the unit: what the length field of a reply may say, at most

_IDENTIFICATION = bytes((43, 14))
"""Function code and MEI type of Read Device Identification."""

_LONGEST_RTU = 256

MOST_PARTS = 16
"""Exchanges that a device may take to say who it is; of its 256 objects few are ever there."""

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    5: "acknowledge: it takes long, ask later",
    6: "server device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
_BUSY = frozenset({5, 6})
_BLOCK = frozenset({2, 3})
_GATEWAY = frozenset({10, 11})


class RefusedBlock(RefusedReply):
    """The device has not all of these registers, or not so many at once (exceptions 2 and 3)."""


class NotReached(RefusedReply):
    """A gateway answers in the unit's place: it has no way to it, or had no answer from it (exceptions 10 and 11)."""


def request(framing: Framing, unit: int, transaction: int, function: int, address: int, count: int) -> bytes:
    """Write a question.

    Args:
        framing: tcp or rtu.
        unit: 0 to 255.
        transaction: 0 to 65535; not sent in RTU.
        function: 1 to 4.
        address: of the first register or coil, 0-based.
        count: 1 to 125 registers, 1 to 2000 coils.
    """
    return _framed(framing, unit, transaction, _QUESTION.pack(function, address, count))


class Block:
    """One block of one unit, made ready to be asked for again and again.

    Args:
        framing, unit, function, address, count: as `request` takes them.

    On Modbus TCP the number of a question stands before `rest`, and before `head` in the right answer to it.
    """

    __slots__ = ("_framing", "_length", "cut", "head", "rest")

    def __init__(self, framing: Framing, unit: int, function: int, address: int, count: int) -> None:
        self.cut = cut(framing, function, count)
        self._framing = framing
        asked, wanted = request(framing, unit, 0, function, address, count), payload_length(function, count)
        self.rest = asked[2:] if framing == "tcp" else asked
        self._length = 9 + wanted
        self.head = _MBAP.pack(0, 0, 3 + wanted, unit)[2:] + bytes((function, wanted))

    def request(self, transaction: int) -> bytes:
        """Write the question with this number."""
        return transaction.to_bytes(2, "big") + self.rest if self._framing == "tcp" else self.rest

    def registers(self, asked: bytes, reply: bytes) -> bytes:
        """Return, or raise, what `registers` does; at once where every byte of the head is as it must be."""
        as_it_must_be = len(reply) == self._length and reply[2:9] == self.head and reply[:2] == asked[:2]
        if self._framing == "tcp" and as_it_must_be:
            return reply[9:]
        return registers(self._framing, asked, reply)


def content(reply: bytes, begins: bytes) -> bytes | None:
    """Return what `registers` does, in one step, on Modbus TCP; None where that is for `registers` to say.

    Args:
        reply: one frame, or perhaps more bytes, or fewer.
        begins: the head of the right answer up to its byte count, as Frames.next gives it.
    """
    return reply[9:] if reply[:9] == begins and len(reply) == 9 + begins[8] else None


def _framed(framing: Framing, unit: int, transaction: int, question: bytes) -> bytes:
    if framing == "tcp":
        return _MBAP.pack(transaction, 0, len(question) + 1, unit) + question
    frame = bytes((unit,)) + question
    return frame + checksum(frame)


def cut(framing: Framing, function: int, count: int) -> Cut:
    """Return where a reply ends. What cannot be a reply at all ends where the bytes do, and is then refused."""
    return _cut_mbap if framing == "tcp" else _RtuCut(5 + payload_length(function, count))


def registers(framing: Framing, asked: bytes, reply: bytes) -> bytes:
    """Return what the registers or coils hold: two bytes a register, or coils packed from the lowest bit on.

    Args:
        framing: tcp or rtu.
        asked: the question as `request` wrote it.
        reply: one frame as `cut` found it.

    Raises:
        UnreadableReply: no Modbus frame, or its checksum is wrong.
        ForeignReply: a frame, but not the answer to this question.
        BusyReply: exceptions 5 and 6.
        RefusedBlock: exceptions 2 and 3.
        NotReached: exceptions 10 and 11.
        RefusedReply: any other exception.
    """
    return _payload(*_parts(framing, asked, reply))


def _parts(framing: Framing, asked: bytes, reply: bytes) -> tuple[bytes, bytes]:
    """Return the question from its unit on and the reply from its function code on, both without framing."""
    return _from_mbap(asked, reply) if framing == "tcp" else _from_rtu(asked, reply)


def payload_length(function: int, count: int) -> int:
    """Return how many bytes so many registers, or coils, take in a reply."""
    return (count + 7) // 8 if function in COILS else 2 * count


def silence_ns(baud: int) -> int:
    """Return the silence that ends an RTU frame, t3.5: 3.5 characters of 11 bits, 1.75 ms above 19200 baud.

    Of 11 bits whatever the frame of the line: a unit on a line of 8n1 times its silence as the specification has it.
    Source: MODBUS over Serial Line V1.02, 2.5.1.1.
    """
    return 1_750_000 if baud > 19200 else -(-35 * 11 * 10**8 // baud)


# MBAP -----------------------------------------------------------------------------------------------------------------


def _cut_mbap(got: bytes | bytearray) -> int:
    if len(got) < 6:
        return 0
    protocol, length = struct.unpack_from(">HH", got, 2)
    if protocol != 0 or not 3 <= length <= _LONGEST_PDU:
        return len(got)
    return 6 + length if len(got) >= 6 + length else 0


def are_frames(data: bytes) -> bool:
    """Say whether bytes are MBAP frames, the last of them perhaps not all here: answers to earlier questions.

    Others mean that a frame before them lacked bytes, and took those of the next one for its own.
    """
    while len(data) >= _MBAP.size:
        _, protocol, length, _ = _MBAP.unpack_from(data)
        if protocol != 0 or not 3 <= length <= _LONGEST_PDU:
            return False
        data = data[6 + length :]
    return data[2:4] in b"\0\0"


def _from_mbap(asked: bytes, reply: bytes) -> tuple[bytes, bytes]:
    protocol, length = struct.unpack_from(">HH", reply.ljust(6, b"\0"), 2)
    if protocol != 0 or length < 3 or length != len(reply) - 6:
        raise UnreadableReply(
            f"{_named(asked[6:])}: {reply[:16].hex(' ')} is no Modbus TCP frame of {len(reply)} bytes"
        )
    transaction, _, _, unit = _MBAP.unpack_from(reply)
    wanted, _, _, wanted_unit = _MBAP.unpack_from(asked)
    if transaction != wanted:
        raise ForeignReply(f"{_named(asked[6:])}: got the answer to transaction {transaction}, not to {wanted}")
    if unit != wanted_unit:
        raise ForeignReply(f"{_named(asked[6:])}: unit {unit} answered")
    return asked[6:], reply[7:]


# RTU ------------------------------------------------------------------------------------------------------------------


class _RtuCut:
    """Cuts by the length that the reply's own head announces; `expected` where the head is none of a reply."""

    __slots__ = ("_expected",)

    def __init__(self, expected: int) -> None:
        self._expected = expected

    def __call__(self, got: bytes | bytearray) -> int:
        if len(got) < 3:
            return 0
        function = got[1]
        length = self._expected
        if function & 0x80:
            length = 5
        elif 1 <= function <= 4:
            length = 5 + got[2]
        return length if len(got) >= length else 0


def _from_rtu(asked: bytes, reply: bytes) -> tuple[bytes, bytes]:
    if len(reply) < 5:
        raise UnreadableReply(f"{_named(asked)}: {len(reply)} bytes are no Modbus RTU frame")
    if checksum(reply[:-2]) != reply[-2:]:
        if asked.startswith(reply):
            raise _own_question(asked)
        raise UnreadableReply(
            f"{_named(asked)}: the checksum of {reply[:16].hex(' ')}... ({len(reply)} bytes) is wrong"
        )
    if reply[0] != asked[0]:
        raise ForeignReply(f"{_named(asked)}: unit {reply[0]} answered")
    if reply == asked:
        # The question for 17 to 24 coils from 0x0300 on is a frame that could answer it: three bytes, checksum right.
        raise _own_question(asked)
    return asked[:-2], reply[1:-2]


def _own_question(asked: bytes) -> ForeignReply:
    return ForeignReply(f"{_named(asked)}: our own question came back. Switch off the local echo of the adapter.")


def checksum(frame: bytes) -> bytes:
    """Return the CRC-16 of an RTU frame, as it is sent: low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def _remainder(byte: int) -> int:
    """Return what one byte leaves of the polynomial 0xA001 (0x8005 reflected)."""
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_TABLE = tuple(_remainder(byte) for byte in range(256))


# Both -----------------------------------------------------------------------------------------------------------------


def _payload(asked: bytes, pdu: bytes) -> bytes:
    """Return the payload of a reply; `asked` begins with the unit, `pdu` with the function code."""
    _check_function(asked, pdu)
    function, _, count = _QUESTION.unpack_from(asked, 1)
    wanted = payload_length(function, count)
    if pdu[1] != wanted or len(pdu) != 2 + wanted:
        raise ForeignReply(
            f"{_named(asked)}: got {len(pdu) - 2} bytes, said to be {pdu[1]}, where {wanted} were asked for"
        )
    return pdu[2:]


def _check_function(asked: bytes, pdu: bytes) -> None:
    function = asked[1]
    if pdu[0] == function | 0x80 and len(pdu) == 2:
        raise _exception(pdu[1], asked)
    if pdu[0] != function:
        raise ForeignReply(f"{_named(asked)}: got the answer to function {pdu[0] & 0x7F}")


def _exception(code: int, asked: bytes) -> ReplyError:
    message = f"{_named(asked)}: exception {code}, {EXCEPTIONS.get(code, 'not in the specification')}"
    if code in _BUSY:
        return BusyReply(message)
    if code in _GATEWAY:
        return NotReached(message)
    return RefusedBlock(message) if code in _BLOCK else RefusedReply(message)


def _named(asked: bytes) -> str:
    """Name a question that begins with its unit."""
    if asked[1:3] == _IDENTIFICATION:
        return f"unit {asked[0]}, device identification (43/14) from object {asked[4]}"
    function, address, count = _QUESTION.unpack_from(asked, 1)
    return f"unit {asked[0]}, function {function}, {count} from {address}"


# Who it is ------------------------------------------------------------------------------------------------------------

Category = Literal[1, 2, 3]
"""How much of itself a device is asked to tell: basic (objects 0 to 2), regular (to 6), extended (0x80 to 0xFF)."""


@dataclass(frozen=True, slots=True)
class Identification:
    """One reply of a device about itself.

    Args:
        objects: number -> content.
        more: the object to ask from for the rest; None where this was all.
    """

    objects: Mapping[int, bytes]
    more: int | None


def identification_request(framing: Framing, unit: int, transaction: int, category: Category, first: int) -> bytes:
    """Ask a device who it is, from an object on: 0, or what `more` of its last reply says."""
    return _framed(framing, unit, transaction, _IDENTIFICATION + bytes((category, first)))


def identification_cut(framing: Framing) -> Cut:
    """Return where a reply ends; what cannot be one ends where the bytes do, and is then refused."""
    return _cut_mbap if framing == "tcp" else _cut_rtu_identification


def _cut_rtu_identification(got: bytes | bytearray) -> int:
    if len(got) < 3:
        return 0
    if got[1] != _IDENTIFICATION[0]:
        return _RtuCut(5)(got)  # an exception, or a late answer to a read
    end = 8
    for _ in range(got[7] if len(got) > 7 else 0):
        if end + 2 > len(got):
            return 0
        end += 2 + got[end + 1]
        if end > _LONGEST_RTU:
            return len(got)
    return end + 2 if len(got) >= end + 2 else 0


def identification(framing: Framing, asked: bytes, reply: bytes) -> Identification:
    """Return what a device says of itself in one reply. Raises as `registers` does."""
    asked, pdu = _parts(framing, asked, reply)
    _check_function(asked, pdu)
    if len(pdu) < 7 or pdu[1:3] != asked[2:4]:
        raise ForeignReply(f"{_named(asked)}: {pdu[:7].hex(' ')} is no answer to that")
    objects: dict[int, bytes] = {}
    rest, least = pdu[7:], asked[4]
    for _ in range(pdu[6]):
        if len(rest) < 2 or len(rest) < 2 + rest[1] or rest[0] < least:
            raise ForeignReply(f"{_named(asked)}: its objects are not what their numbers and lengths say")
        objects[rest[0]] = rest[2 : 2 + rest[1]]
        least, rest = rest[0] + 1, rest[2 + rest[1] :]
    if rest:
        raise ForeignReply(f"{_named(asked)}: {len(rest)} bytes lie behind its objects")
    goes_on = pdu[4] == 0xFF and bool(objects) and pdu[5] >= least
    return Identification(objects, pdu[5] if goes_on else None)

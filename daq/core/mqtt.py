"""MQTT as a publisher speaks it: packets to bytes, bytes to packets. Versions 5 and 3.1.1, pure.

Only what a client needs that publishes and never subscribes: CONNECT with a will, PUBLISH, PINGREQ, DISCONNECT; and
back CONNACK, PUBACK, PINGRESP, DISCONNECT.

    delivery -> [connect, publish] -> socket -> [Packets] -> Granted, Acknowledged, Ended, Pong -> sinks.connection

Source: MQTT Version 5.0 and MQTT Version 3.1.1, OASIS Standards; sections are named where their rule stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Version = Literal["5", "3.1.1"]

PING = b"\xc0\x00"
GOOD_BYE = b"\xe0\x00"
"""DISCONNECT, normal: the broker drops the will (3.14)."""

LONGEST_PACKET = 1 << 20
"""Bytes: what a broker has to say to a publisher is far shorter."""

_LEVELS = {"5": 5, "3.1.1": 4}

WORDS = {
    0x00: "Success",
    0x04: "Disconnect with will message",
    0x80: "Unspecified error",
    0x81: "Malformed packet",
    0x82: "Protocol error",
    0x83: "Implementation specific error",
    0x84: "Unsupported protocol version",
    0x85: "Client identifier not valid",
    0x86: "Bad user name or password",
    0x87: "Not authorized",
    0x88: "Server unavailable",
    0x89: "Server busy",
    0x8A: "Banned",
    0x8B: "Server shutting down",
    0x8D: "Keep alive timeout",
    0x8E: "Session taken over",
    0x93: "Receive maximum exceeded",
    0x94: "Topic alias invalid",
    0x95: "Packet too large",
    0x96: "Message rate too high",
    0x97: "Quota exceeded",
    0x98: "Administrative action",
    0x9A: "Retain not supported",
    0x9B: "QoS not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    0x9F: "Connection rate exceeded",
    0xA0: "Maximum connect time",
}
"""What a reason code means (5.0, 2.4)."""

_OLD_CODES = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
"""CONNACK return codes of 3.1.1 (3.2.2.3) as reason codes of 5; brokers of old answer so to a CONNECT of 5, too."""


class Malformed(Exception):
    """What came is no MQTT."""


def reason(code: int) -> str:
    """Say in words what a reason code means."""
    return WORDS.get(code, f"reason code 0x{code:02X}")


# To the broker --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker is to say, retained and at QoS 1, when the connection ends without a good-bye."""

    topic: str
    payload: bytes


def connect(
    version: Version, client_id: str, keepalive_s: int, will: Will, username: str | None, password: str | None
) -> bytes:
    """Write CONNECT (3.1), with a clean start: what is in flight is ours to send again."""
    five = version == "5"
    flags = 0x02 | 0x04 | 0x08 | 0x20 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = _text("MQTT") + bytes((_LEVELS[version], flags)) + keepalive_s.to_bytes(2, "big") + _none(five)
    body += _text(client_id) + _none(five) + _text(will.topic) + _bytes(will.payload)
    for secret in (username, password):
        if secret is not None:
            body += _text(secret)
    return b"\x10" + _length(len(body)) + body


def publish(version: Version, topic: str, payload: bytes, number: int, *, qos: int, retain: bool) -> bytes:
    """Write PUBLISH (3.3); `number` is the packet identifier, 1 to 65535, and counts at QoS 1 only."""
    head = _text(topic) + (number.to_bytes(2, "big") if qos else b"") + _none(version == "5")
    return b"".join((bytes((0x30 | qos << 1 | retain,)), _length(len(head) + len(payload)), head, payload))


def _none(five: bool) -> bytes:
    """No properties; 3.1.1 knows none."""
    return b"\x00" if five else b""


def _text(text: str) -> bytes:
    return _bytes(text.encode())


def _bytes(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _length(size: int) -> bytes:
    """Write a variable byte integer (1.5.5)."""
    if size < 0x80:
        return bytes((size,))
    digits = bytearray()
    while True:
        size, digit = size >> 7, size & 0x7F
        digits.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(digits)


# From the broker ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Granted:
    """CONNACK: let in, or not, and what the broker can take. None: not said, the specification's default holds."""

    code: int
    receive_maximum: int | None = None
    maximum_packet: int | None = None
    maximum_qos: int | None = None
    retain_available: bool | None = None
    keepalive_s: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """PUBACK of the message with this number."""

    number: int
    code: int


@dataclass(frozen=True, slots=True)
class Ended:
    """DISCONNECT by the broker."""

    code: int


@dataclass(frozen=True, slots=True)
class Pong:
    """PINGRESP."""


Packet = Granted | Acknowledged | Ended | Pong


class Packets:
    """Cuts the broker's bytes into packets, however they come."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> Iterator[Packet]:
        """Yield the packets that are whole now. Raises Malformed."""
        data = self._rest + data if self._rest else data
        begin, end = 0, len(data)
        while end - begin >= 2:
            size, head = data[begin + 1], begin + 2
            if size & 0x80:
                found = _long_size(data, begin + 1)
                if found is None:
                    break
                size, head = found
            if head + size > end:
                break
            yield _packet(data[begin], data[head : head + size])
            begin = head + size
        self._rest = data[begin:]


def _long_size(data: bytes, at: int) -> tuple[int, int] | None:
    """Read a variable byte integer; return it and where it ends, None where it is not all there."""
    size = 0
    for place in range(4):
        if at + place >= len(data):
            return None
        size |= (data[at + place] & 0x7F) << 7 * place
        if not data[at + place] & 0x80:
            if size > LONGEST_PACKET:
                break
            return size, at + place + 1
    raise Malformed("a packet longer than a broker sends to a publisher")


def _packet(first: int, body: bytes) -> Packet:
    kind = first >> 4
    if kind == 4 and len(body) >= 2:  # (3.4): without a reason code it is success
        return Acknowledged(body[0] << 8 | body[1], body[2] if len(body) > 2 else 0)
    if kind == 2 and len(body) >= 2:
        return _granted(body)
    if kind == 13:
        return Pong()
    if kind == 14:  # (3.14): without a reason code it is a normal end
        return Ended(body[0] if body else 0)
    raise Malformed(f"a packet of kind {kind} with {len(body)} bytes, which no publisher is sent")


def _granted(body: bytes) -> Granted:
    code = _OLD_CODES.get(body[1], body[1])
    said = dict(_properties(body[2:])) if len(body) > 2 else {}
    retain = said.get(0x25)
    return Granted(
        code,
        receive_maximum=said.get(0x21),
        maximum_packet=said.get(0x27),
        maximum_qos=said.get(0x24),
        retain_available=None if retain is None else bool(retain),
        keepalive_s=said.get(0x13),
    )


_SIZES = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
"""Bytes of the numeric properties of a CONNACK (2.2.2.2, 3.2.2.3)."""


def _properties(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the numeric properties; texts are passed over. Raises Malformed."""
    found = _long_size(data, 0)
    if found is None or found[1] + found[0] > len(data):
        raise Malformed("properties that end in the middle")
    size, at = found
    end = at + size
    while at < end:
        kind, at = data[at], at + 1
        if kind in _SIZES:
            yield kind, int.from_bytes(data[at : at + _SIZES[kind]], "big")
            at += _SIZES[kind]
        elif kind in {0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F}:  # texts and binary data
            at += 2 + int.from_bytes(data[at : at + 2], "big")
        elif kind == 0x26:  # a user property: two texts
            at += 2 + int.from_bytes(data[at : at + 2], "big")
            at += 2 + int.from_bytes(data[at : at + 2], "big")
        else:
            raise Malformed(f"a property 0x{kind:02X} that a CONNACK does not have")
    if at != end:
        raise Malformed("a property that ends behind all of them")

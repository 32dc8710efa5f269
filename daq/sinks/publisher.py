"""What the delivery of records asks of an MQTT client library: little, so that the library can be changed.

delivery -> Publisher -> broker          daq.sinks.connection holds the one that stands on mqttium
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from daq.core.errors import SinkError

Version = Literal["5", "3.1.1"]

REFUSED = 0x80
"""Reason codes from here on say that the broker did not take the message (MQTT 5.0, 2.4)."""

QUOTA_EXCEEDED = 0x97
PACKET_ID_IN_USE = 0x91
PACKET_TOO_LARGE = 0x95
TAKEN_OVER = 0x8E

BLAMELESS = frozenset({0x00, 0x89, 0x8B, 0x8D, TAKEN_OVER, 0x98, 0x9C, 0x9D, 0x9F, 0xA0})
"""Why a broker hangs up whatever it was sent: busy, shutting down, taken over, moved and the like (5.0, table 3-10)."""

CARRIED_MOST = 65_536
"""Bytes of topic and payload of a message that goes with others, at most."""

REASONS = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorised",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}
"""Why a broker does not take a message (MQTT 5.0, table 3-4)."""


class ConnectionLost(SinkError):
    """The connection to the broker is gone.

    Args:
        message: what was seen.
        code: reason code of the broker's own DISCONNECT, None where it sent none.
        silent: the broker stopped answering, rather than closing.
    """

    def __init__(self, message: str, code: int | None = None, *, silent: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.silent = silent


def first_lost(group: BaseExceptionGroup[ConnectionLost]) -> ConnectionLost:
    """Return the first loss that several tasks noticed together."""
    found = group.exceptions[0]
    return first_lost(found) if isinstance(found, BaseExceptionGroup) else found


class NotConnected(SinkError):
    """The broker could not be reached, or does not let us in.

    Args:
        message: what was seen.
        closed: it closed the connection without a word, as old brokers do on MQTT 5.
        unsupported: it said that it does not speak this version.
    """

    def __init__(self, message: str, *, closed: bool = False, unsupported: bool = False) -> None:
        super().__init__(message)
        self.closed = closed
        self.unsupported = unsupported


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker said it can take, on this connection.

    Args:
        receive_maximum: messages it lets be in flight.
        maximum_packet: bytes of one packet.
        maximum_qos: 0 where it cannot acknowledge anything.
    """

    version: Version
    receive_maximum: int = 65535
    maximum_packet: int = 268_435_455
    maximum_qos: int = 2
    retain_available: bool = True

    @property
    def carried_most(self) -> int:
        """Bytes of topic and payload that go with others; `packet_size` adds ten to them at most."""
        return min(self.maximum_packet - 10, CARRIED_MOST)


class Publisher(Protocol):
    """One connection to the broker. A new one is made for each: nothing is carried over."""

    limits: Limits
    lost: asyncio.Future[ConnectionLost]
    """Set as soon as the connection is gone, for whatever reason."""
    answered: Callable[[list[int], int], None]
    """Called with keys of `carry` that came back together, each key once, and the reason code of all of them.

    Whoever carries sets it first.
    """

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, acknowledged: Callable[[int], None]
    ) -> None:
        """Hand a message to the connection and return at once.

        `acknowledged` is called with the broker's reason code (0 on MQTT 3.1.1, whatever the broker did with it; at
        QoS 0 as soon as it is written), or never when the connection is lost before. Raises ConnectionLost.
        """
        ...

    def carry(self, messages: Iterable[tuple[int, str, bytes]]) -> None:
        """Publish many at once, at QoS 1 and not retained: key, topic, payload; none longer than `limits` says.

        `answered` is called with their keys, or never when the connection is lost before. Raises ConnectionLost.
        """
        ...

    async def disconnect(self) -> None:
        """Say good-bye, so that the broker drops the will. Raises ConnectionLost."""
        ...

    async def abort(self) -> None:
        """Close without a word; the broker sends the will. Never raises, may be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How the broker is known, and how it knows us. Paths of PEM files; None is the system's own authorities."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Where the broker is and how it is spoken to. Secrets are resolved, and never shown.

    Args:
        host, port: of the broker.
        client_id: one for each station: two clients with the same throw each other out.
        password: called before each connection, in a thread: who renews it need not restart the station.
        version: auto is MQTT 5, and 3.1.1 where the broker cannot.
        exchanges: False leaves questions and answers out of what is published.
        keepalive_s: the longest silence on an idle connection.
        ack_timeout_s: a broker that does not acknowledge for so long is dead.
        late_per_s: observations delivered after an outage, a second at most; less where that would hold up others.
        retry_first_s, retry_most_s: between two attempts to connect.
    """

    host: str
    port: int = 1883
    client_id: str = ""
    username: str | None = None
    password: Callable[[], str] | None = None
    tls: TlsSettings | None = None
    version: Literal["auto", "5", "3.1.1"] = "auto"
    exchanges: bool = True
    keepalive_s: int = 15
    ack_timeout_s: float = 10.0
    late_per_s: int = 8000
    retry_first_s: float = 1.0
    retry_most_s: float = 5.0


def packet_size(topic: str, payload: bytes) -> int:
    """Bytes of the PUBLISH packet that carries this at QoS 1 on MQTT 5 (5.0, 3.3): topic, identifier, no properties."""
    remaining = 2 + len(topic) + 2 + 1 + len(payload)
    length_bytes = 1 + (remaining >= 128) + (remaining >= 16_384) + (remaining >= 2_097_152)
    return 1 + length_bytes + remaining

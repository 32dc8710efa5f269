"""One connection to the broker: the Publisher that stands on the packets of mqttium.

mqttium writes and reads every byte of MQTT; the socket is ours. Names are resolved, sockets opened and TLS agreed in a
daemon thread of its own, so that a resolver that hangs holds up nobody, not even the exit. Nothing is retried, resent
or kept beyond the connection: that is the delivery's.

What is published in one turn of the loop leaves in one write, and so does what acknowledgements that came together
made room for. What the kernel does not take waits here, no more of it than the delivery's window lets out.

    delivery -> Connection.publish -> mqttium -> socket -> broker -> acknowledged(code)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from mqttium import MQTTError, MQTTProtocolVersion, QoS
from mqttium.codec import IncrementalDecoder, RawPacket, encode_vbi
from mqttium.enums import PacketType
from mqttium.packets import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    PubAckPacket,
    encode_disconnect,
    encode_pingreq,
)
from mqttium.packets.publish import encode_publish_item

from daq.sinks.publisher import ConnectionLost, Limits, MqttSettings, NotConnected, TlsSettings, Version

TCP_TIMEOUT_S = 5.0
TLS_TIMEOUT_S = 5.0
CONNACK_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 2.0

LARGEST = 65_536
"""Bytes of a packet from the broker; what it says to one that never subscribed is small."""

OF_OLD = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
"""Return code of a CONNACK of MQTT 3.1.1 (table 3.1) -> the reason code of MQTT 5 that says the same."""

UNSUPPORTED_VERSION = 0x84

REASONS = {
    0x00: "Normal disconnection",
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
    0x8C: "Bad authentication method",
    0x8D: "Keep alive timeout",
    0x8E: "Session taken over",
    0x90: "Topic name invalid",
    0x93: "Receive maximum exceeded",
    0x94: "Topic alias invalid",
    0x95: "Packet too large",
    0x96: "Message rate too high",
    0x97: "Quota exceeded",
    0x98: "Administrative action",
    0x99: "Payload format invalid",
    0x9A: "Retain not supported",
    0x9B: "QoS not supported",
    0x9C: "Use another server",
    0x9D: "Server moved",
    0x9F: "Connection rate exceeded",
}
"""What a broker says when it lets nobody in, or throws one out (MQTT 5.0, tables 3-1 and 3-10)."""

_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_QOS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE)

_TAKEN = int.from_bytes(b"\x40\x02", "big")
"""Begins an acknowledgement that is a packet identifier alone: success (MQTT 5.0, 3.4.2.1), as nearly always."""

_BEHIND_TOPIC = {"5": struct.Struct("!Hx"), "3.1.1": struct.Struct("!H")}
"""What stands between topic and payload: the packet identifier, and in MQTT 5 the length of no properties."""


class Connection:
    """See Publisher.

    Args:
        settings: where the broker is, and who we are.
        version: of MQTT to speak.
        will_topic, will: retained by the broker should we go without a word.
    """

    limits: Limits
    answered: Callable[[list[int], int], None]

    def __init__(self, settings: MqttSettings, version: Version, will_topic: str, will: bytes) -> None:
        self._settings = settings
        self._version: Version = version
        self._protocol = _VERSIONS[version]
        self._will = (will_topic, will)
        self._hello = b""  # CONNECT, once the dialling thread has read the password
        self._loop = asyncio.get_running_loop()
        self._dialled: asyncio.Future[None] = self._loop.create_future()
        self._granted: asyncio.Future[Limits] = self._loop.create_future()
        self.lost: asyncio.Future[ConnectionLost] = self._loop.create_future()
        self._sock: socket.socket | None = None
        self._decoder = IncrementalDecoder(LARGEST)
        self._number = 0
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._carried: dict[int, int] = {}  # packet identifier -> key
        self._named: dict[str, bytes] = {}  # topic -> as it stands in a packet that is carried
        self._behind_topic = _BEHIND_TOPIC[version].pack
        self._leaving: list[bytes] = []  # written, and not offered to the kernel yet
        self._untaken = b""  # offered, and not taken yet
        self._unheard: list[Callable[[int], None]] = []  # of QoS 0: called when what they wait for has been taken
        self._taken = asyncio.Event()
        self._listening = False  # in a turn that ends with a write
        self._keepalive_s = float(settings.keepalive_s)
        self._spoke_s = 0.0
        self._pinged_s: float | None = None
        self._look: asyncio.Handle | None = None

    # Opening and closing

    async def open(self) -> None:
        """Connect and learn the broker's limits. Raises NotConnected."""
        threading.Thread(target=self._dial, name="mqtt[dial]", daemon=True).start()
        # TCP and TLS are bounded; the resolver bounds itself, and a second thread would hang beside the first.
        await self._dialled
        self._say(self._hello)
        try:
            async with asyncio.timeout(CONNACK_TIMEOUT_S):
                self.limits = await self._granted
        except TimeoutError:
            raise NotConnected(f"no CONNACK within {CONNACK_TIMEOUT_S:g} s") from None
        self._watch()

    async def disconnect(self) -> None:
        """See Publisher."""
        if self.lost.done():
            raise self.lost.result()
        self._say(encode_disconnect(0, self._protocol))
        self._flush()
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await self._taken.wait()
        except TimeoutError:
            raise ConnectionLost("the good-bye could not be written") from None
        with contextlib.suppress(TimeoutError):  # closed at once, the good-bye might be reset away
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await asyncio.shield(self.lost)

    async def abort(self) -> None:
        """See Publisher."""
        self._dialled.cancel()  # a thread that still dials is left behind; it closes what it opens
        self._end(ConnectionLost("closed by us"))
        for future in (self._dialled, self._granted):
            if future.done() and not future.cancelled():
                future.exception()  # seen, should nobody have waited for it

    def _end(self, lost: ConnectionLost) -> None:
        """Close the socket, if it is open, and say why, if nobody has; nothing is left behind."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()
        if self._look is not None:
            self._look.cancel()
        self._waiting.clear()
        self._carried.clear()
        self._leaving.clear()
        self._unheard.clear()
        self._untaken = b""
        if not self._granted.done():
            self._granted.set_exception(NotConnected(f"{lost} before a CONNACK", closed=True))
        if not self.lost.done():
            self.lost.set_result(lost)

    # In the dialling thread

    def _dial(self) -> None:
        settings = self._settings
        try:
            self._hello = self._introduced()
            context = None if settings.tls is None else trust(settings.tls)
            sock = socket.create_connection((settings.host, settings.port), TCP_TIMEOUT_S)
            if context is not None:
                sock = _agreed(context, sock, settings.host)
        except Exception as problem:  # noqa: BLE001  # OSError, ssl and ValueError of bad certificates: all the same here
            with contextlib.suppress(RuntimeError):  # the loop has ended while a resolver hung
                self._loop.call_soon_threadsafe(self._has_failed, problem)
            return
        try:
            self._loop.call_soon_threadsafe(self._has_dialled, sock)
        except RuntimeError:
            sock.close()

    def _introduced(self) -> bytes:
        settings, (will_topic, will) = self._settings, self._will
        return ConnectPacket(
            settings.client_id,
            clean_start=True,
            keepalive=settings.keepalive_s,
            username=settings.username,
            password=None if settings.password is None else settings.password().encode(),
            will_topic=will_topic,
            will_payload=will,
            will_qos=QoS.AT_LEAST_ONCE,
            will_retain=True,
            protocol=self._protocol,
        ).encode()

    # In the loop

    def _has_failed(self, problem: Exception) -> None:
        if not self._dialled.done():
            self._dialled.set_exception(NotConnected(f"{type(problem).__name__}: {problem}"))

    def _has_dialled(self, sock: socket.socket) -> None:
        if self._dialled.done():
            sock.close()
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._loop.add_reader(sock.fileno(), self._read)
        self._dialled.set_result(None)

    # Writing

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, acknowledged: Callable[[int], None]
    ) -> None:
        """See Publisher."""
        if self.lost.done():
            raise self.lost.result()
        number = self._next_number() if qos else None
        self._say(self._packet(topic, payload, qos=qos, retain=retain, number=number))
        if number is None:
            self._unheard.append(acknowledged)
        else:
            self._waiting[number] = acknowledged

    def carry(self, messages: Iterable[tuple[int, str, bytes]]) -> None:
        """See Publisher. The same bytes as from `publish`: of a topic, mqttium has made them once."""
        if self.lost.done():
            raise self.lost.result()
        carried, waiting, number = self._carried, self._waiting, self._number
        topics, behind_topic = self._named, self._behind_topic
        pieces: list[bytes] = []
        for key, topic, payload in messages:
            number = number % 65_535 + 1
            while number in carried or number in waiting:
                number = number % 65_535 + 1
            named, behind = topics.get(topic) or self._name(topic), behind_topic(number)
            carried[number] = key
            pieces += _begun(len(named) + len(behind) + len(payload)), named, behind, payload
        self._number = number
        self._say(*pieces)

    def _name(self, topic: str) -> bytes:
        """Have mqttium check a topic and make a packet of it; return its bytes from behind the length to the number."""
        size, behind = 2 + len(topic.encode()), self._behind_topic(1)
        packet = self._packet(topic, b"", qos=1, retain=False, number=1)
        named = packet[-size - len(behind) : -len(behind)]
        assert packet == _begun(size + len(behind)) + named + behind, "its packets have another shape"
        self._named[topic] = named
        return named

    def _packet(self, topic: str, payload: bytes, *, qos: int, retain: bool, number: int | None) -> bytes:
        packet = encode_publish_item(
            topic,
            payload,
            qos=_QOS[qos],
            retain=retain,
            dup=False,
            mid=number,
            properties=None,
            protocol=self._protocol,
        )
        return packet if isinstance(packet, bytes) else b"".join(packet)

    def _next_number(self) -> int:
        """Return a packet identifier, 1 to 65535, that is not under way."""
        self._number = self._number % 65_535 + 1
        while self._number in self._waiting or self._number in self._carried:
            self._number = self._number % 65_535 + 1
        return self._number

    def _say(self, *pieces: bytes) -> None:
        if not self._leaving and not self._listening:
            self._loop.call_soon(self._flush)
        self._taken.clear()
        self._leaving += pieces

    def _flush(self) -> None:
        """Offer the kernel what was written, unless it still has to take what came before."""
        if self._leaving and not self._untaken:
            data = b"".join(self._leaving)
            self._leaving.clear()
            self._spoke_s = self._loop.time()
            self._offer(data)

    def _offer(self, data: bytes) -> None:
        assert self._sock is not None, "what was written is forgotten where the socket is closed"
        try:
            taken = self._sock.send(data)
        except _NOT_NOW:
            taken = 0
        except OSError as problem:
            self._end(ConnectionLost(f"connection broken: {problem}"))
            return
        watched, self._untaken = bool(self._untaken), data[taken:]
        if self._untaken and not watched:
            self._loop.add_writer(self._sock.fileno(), self._go_on)
        elif watched and not self._untaken:
            self._loop.remove_writer(self._sock.fileno())
        if not self._untaken:
            self._all_taken()

    def _go_on(self) -> None:
        """Offer again what was not taken: the same bytes, as TLS demands."""
        self._offer(self._untaken)
        self._flush()

    def _all_taken(self) -> None:
        if not self._leaving:
            self._taken.set()
        unheard, self._unheard = self._unheard, []
        for acknowledged in unheard:
            acknowledged(0)

    # Reading

    def _read(self) -> None:
        while self._sock is not None:
            try:
                data = self._sock.recv(LARGEST)
            except _NOT_NOW:
                return
            except OSError as problem:
                self._end(ConnectionLost(f"connection broken: {problem}"))
                return
            if not data:
                self._end(ConnectionLost("connection closed"))
                return
            self._take(data)
            if not isinstance(self._sock, ssl.SSLSocket):  # which may hold back what the kernel has handed over
                return

    def _take(self, data: bytes) -> None:
        """Hear what the broker says, then write at once what that made room for; a turn later half would go through."""
        self._listening = True
        try:
            if self._decoder.buffered or not self._hear_taken(data):
                self._hear_packets(data)
        except MQTTError as problem:
            self._end(ConnectionLost(f"the broker sends what is no MQTT: {problem}"))
        finally:
            self._listening = False
        self._flush()

    def _hear_taken(self, data: bytes) -> bool:
        """Tell whoever carried, at once, where these are whole acknowledgements of success of what was carried alone.

        Where they are anything else nothing was heard, and that is said.
        """
        count, rest = divmod(len(data), 4)
        if rest:
            return False
        words = struct.unpack(f"!{2 * count}H", data)
        numbers, carried = words[1::2], self._carried
        named = set(numbers)
        if words[::2].count(_TAKEN) != count or len(named) != count or not carried.keys() >= named:
            return False
        self.answered(list(map(carried.pop, numbers)), 0)
        return True

    def _hear_packets(self, data: bytes) -> None:
        self._decoder.feed(data)
        while not self.lost.done() and (packet := self._decoder.next_packet()) is not None:
            if packet.packet_type is PacketType.PUBACK:
                self._hear_acknowledgement(packet.remaining)
            else:
                self._hear(packet)

    def _hear(self, packet: RawPacket) -> None:
        if packet.packet_type is PacketType.PINGRESP:
            self._pinged_s = None
        elif packet.packet_type is PacketType.CONNACK:
            self._let_in(packet)
        elif packet.packet_type is PacketType.DISCONNECT:
            code = DisconnectPacket.decode(packet.remaining, self._protocol).reason_code
            self._end(ConnectionLost(f"the broker disconnects: {_reason(code)}", code))
        else:
            self._end(ConnectionLost(f"the broker sends what nobody asked for: {packet.packet_type.name}"))

    def _hear_acknowledgement(self, said: bytes) -> None:
        """Tell whoever waits. Two bytes are the number alone: success (MQTT 5.0, 3.4.2.1), as nearly always."""
        number, code = int.from_bytes(said, "big"), 0
        if len(said) != len(b"\x00\x01") or not (number in self._waiting or number in self._carried):
            answer = PubAckPacket.decode(said, self._protocol)
            number, code = answer.mid, answer.reason_code
        acknowledged = self._waiting.pop(number, None)
        if acknowledged is not None:
            acknowledged(code)
        elif (key := self._carried.pop(number, None)) is not None:
            self.answered([key], code)

    def _let_in(self, packet: RawPacket) -> None:
        if self._granted.done():
            return
        # A broker that knows no MQTT 5 answers its CONNECT with the two bytes of MQTT 3.1.1.
        old = len(packet.remaining) == len(b"\x00\x01")
        answer = ConnAckPacket.decode(packet.remaining, _VERSIONS["3.1.1"] if old else self._protocol)
        code = OF_OLD.get(answer.reason_code, answer.reason_code)
        if code:
            problem = f"the broker refuses the connection: {_reason(code)}"
            self._granted.set_exception(NotConnected(problem, unsupported=code == UNSUPPORTED_VERSION))
            return
        said = {} if answer.properties is None else answer.properties.values
        self._keepalive_s = float(said.get("server_keep_alive", self._keepalive_s))
        self._granted.set_result(_limits(self._version, said))

    def _watch(self) -> None:
        """Break our silence in time, and notice the broker's: it hangs up after one and a half (MQTT 5.0, 3.1.2.10)."""
        if self.lost.done() or not self._keepalive_s:
            return
        now_s = self._loop.time()
        if self._pinged_s is not None and now_s - self._pinged_s >= self._keepalive_s:
            self._end(ConnectionLost("connection closed: Keep alive timeout", silent=True))
            return
        if self._pinged_s is None and now_s - self._spoke_s >= self._keepalive_s / 2:
            self._pinged_s = now_s
            self._say(encode_pingreq())
        self._look = self._loop.call_later(self._keepalive_s / 4, self._watch)


def trust(settings: TlsSettings) -> ssl.SSLContext:
    """Make what checks the broker's certificate and name, and shows ours. Raises OSError, ValueError."""
    context = ssl.create_default_context(cafile=settings.ca)
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    return context


def _agreed(context: ssl.SSLContext, sock: socket.socket, host: str) -> ssl.SSLSocket:
    """Return the socket with TLS on it, or close it. Raises OSError."""
    try:
        wrapped = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except BaseException:
        sock.close()
        raise
    try:
        wrapped.settimeout(TLS_TIMEOUT_S)
        wrapped.do_handshake()
    except BaseException:
        wrapped.close()
        raise
    return wrapped


@lru_cache(4096)
def _begun(size: int) -> bytes:
    """Return how a PUBLISH at QoS 1 begins that is neither retained nor sent twice, up to its length (5.0, 3.3.1)."""
    return b"\x32" + encode_vbi(size)


def _reason(code: int) -> str:
    return REASONS.get(code, f"reason {code:#04x}")


def _limits(version: Version, said: Any) -> Limits:
    """Read the limits in a CONNACK (MQTT 5.0, 3.2.2.3); what is not said has the specification's default."""
    absent = Limits(version)
    return Limits(
        version,
        receive_maximum=said.get("receive_maximum", absent.receive_maximum),
        maximum_packet=said.get("maximum_packet_size", absent.maximum_packet),
        maximum_qos=said.get("maximum_qos", absent.maximum_qos),
        retain_available=bool(said.get("retain_available", 1)),
    )

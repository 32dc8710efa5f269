"""One connection to the broker, on the event loop: the Publisher that stands on our own framing (core.mqtt).

Names are resolved and sockets opened in a daemon thread of its own, so that a resolver that hangs holds up nobody, not
even the exit; TLS and MQTT are then agreed in the loop. What is published within one turn of the loop leaves in one
write.

    delivery -> Connection.publish -> socket -> broker -> acknowledged(code)
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import threading
from collections.abc import Callable

from daq.core import mqtt
from daq.core.mqtt import Acknowledged, Ended, Granted, Malformed, Packets, Pong, Version, Will
from daq.sinks.publisher import ConnectionLost, Limits, MqttSettings, NotConnected, TlsSettings

TCP_TIMEOUT_S = 5.0
TLS_TIMEOUT_S = 5.0
CONNACK_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 2.0

UNSUPPORTED_VERSION = 0x84


class Connection(asyncio.Protocol):
    """See Publisher.

    Args:
        settings: where the broker is, and who we are.
        version: of MQTT to speak.
        will: said by the broker should we go without a word.
    """

    limits: Limits

    def __init__(self, settings: MqttSettings, version: Version, will: Will) -> None:
        self._settings = settings
        self._version: Version = version
        self._will = will
        self._loop = asyncio.get_running_loop()
        self._dialled: asyncio.Future[tuple[socket.socket, ssl.SSLContext | None]] = self._loop.create_future()
        self._granted: asyncio.Future[Limits] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[ConnectionLost] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._packets = Packets()
        self._numbers = itertools.cycle(range(1, 65536))
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._leaving: list[bytes] = []
        self._keepalive_s = float(settings.keepalive_s)
        self._spoke = self._pinged = 0.0
        self._look: asyncio.Handle | None = None

    # ------------------------------------------------------------ open

    async def open(self) -> None:
        """Connect and learn the broker's limits. Raises NotConnected."""
        threading.Thread(target=self._dial, name="mqtt[dial]", daemon=True).start()
        sock, context = await self._dialled
        try:
            await self._loop.create_connection(
                lambda: self,
                sock=sock,
                ssl=context,
                server_hostname=self._settings.host if context else None,
                ssl_handshake_timeout=TLS_TIMEOUT_S if context else None,
            )
            async with asyncio.timeout(CONNACK_TIMEOUT_S):
                self.limits = await self._granted
        except TimeoutError:
            raise NotConnected(f"no CONNACK within {CONNACK_TIMEOUT_S:g} s") from None
        except OSError as problem:  # TLS, or a reset
            sock.close()
            raise NotConnected(f"{type(problem).__name__}: {problem}") from problem
        self._watch()

    def _dial(self) -> None:
        """In the dialling thread: resolve, connect, read certificates. What nobody waits for any more is closed."""
        settings = self._settings
        try:
            context = None if settings.tls is None else _tls(settings.tls)
            sock = socket.create_connection((settings.host, settings.port), TCP_TIMEOUT_S)
        except Exception as problem:  # noqa: BLE001  OSError, ssl and ValueError of bad certificates: all the same here
            with contextlib.suppress(RuntimeError):  # the loop has ended while a resolver hung
                self._loop.call_soon_threadsafe(self._has_failed, problem)
            return
        sock.setblocking(False)
        try:
            self._loop.call_soon_threadsafe(self._has_dialled, sock, context)
        except RuntimeError:
            sock.close()

    def _has_failed(self, problem: Exception) -> None:
        if not self._dialled.done():
            self._dialled.set_exception(NotConnected(f"{type(problem).__name__}: {problem}"))

    def _has_dialled(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        if self._dialled.done():
            sock.close()
        else:
            self._dialled.set_result((sock, context))

    # ------------------------------------------------------------ Publisher

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool, acknowledged: Callable[[int], None]
    ) -> None:
        """See Publisher."""
        if self.lost.done():
            raise self.lost.result()
        number = next(self._numbers)
        while number in self._waiting:
            number = next(self._numbers)
        self._write(mqtt.publish(self._version, topic, payload, number, qos=qos, retain=retain))
        if qos:
            self._waiting[number] = acknowledged
        else:
            self._loop.call_soon(acknowledged, 0)

    async def disconnect(self) -> None:
        """See Publisher."""
        if self._transport is None or self.lost.done():
            raise ConnectionLost("the connection is gone")
        self._write(mqtt.GOOD_BYE)
        self._flush()
        self._transport.close()
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await asyncio.shield(self._closed)
        except TimeoutError:
            raise ConnectionLost("the good-bye could not be written") from None

    async def abort(self) -> None:
        """See Publisher."""
        if self._dialled.done():
            if not self._dialled.cancelled():
                self._dialled.exception()  # seen, should nobody have waited for it
        else:
            self._dialled.cancel()  # the thread is left behind; it closes what it opens
        self._lose(ConnectionLost("closed by us"))
        if self._granted.done() and not self._granted.cancelled():
            self._granted.exception()
        if self._transport is not None:
            self._transport.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                    await asyncio.shield(self._closed)

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = self._settings
        self._write(
            mqtt.connect(
                self._version,
                settings.client_id,
                settings.keepalive_s,
                self._will,
                settings.username,
                settings.password,
            )
        )

    def data_received(self, data: bytes) -> None:
        """Take what the broker says."""
        try:
            for packet in self._packets.take(data):
                if isinstance(packet, Acknowledged):
                    acknowledged = self._waiting.pop(packet.number, None)
                    if acknowledged is not None:
                        acknowledged(packet.code)
                elif isinstance(packet, Pong):
                    self._pinged = 0.0
                elif isinstance(packet, Granted):
                    self._let_in(packet)
                elif isinstance(packet, Ended):
                    self._lose(ConnectionLost(f"the broker disconnects: {mqtt.reason(packet.code)}", packet.code))
        except Malformed as problem:
            self._lose(ConnectionLost(f"the broker sends what is no MQTT: {problem}"))
            assert self._transport is not None
            self._transport.abort()
        self._flush()  # what the acknowledgements made room for: a turn later would halve what goes through

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever."""
        why = "connection closed" if exc is None else f"connection broken: {exc}"
        self._lose(ConnectionLost(why))
        if not self._closed.done():
            self._closed.set_result(None)

    # ------------------------------------------------------------ inside

    def _let_in(self, granted: Granted) -> None:
        if self._granted.done():
            return
        if granted.code:
            unsupported = granted.code == UNSUPPORTED_VERSION
            words = f"the broker refuses the connection: {mqtt.reason(granted.code)}"
            self._granted.set_exception(NotConnected(words, unsupported=unsupported))
            return
        if granted.keepalive_s is not None:
            self._keepalive_s = float(granted.keepalive_s)
        self._granted.set_result(_limits(self._version, granted))

    def _lose(self, lost: ConnectionLost) -> None:
        self._waiting.clear()
        self._leaving.clear()
        if self._look is not None:
            self._look.cancel()
        if not self._granted.done():
            self._granted.set_exception(NotConnected(f"{lost} before a CONNACK", closed=True))
        if not self.lost.done():
            self.lost.set_result(lost)

    def _write(self, packet: bytes) -> None:
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(packet)

    def _flush(self) -> None:
        if self._leaving and self._transport is not None:
            self._spoke = self._loop.time()
            self._transport.write(b"".join(self._leaving))
            self._leaving.clear()

    def _watch(self) -> None:
        """Break our silence in time, and notice the broker's (3.1.2.10: it hangs up after one and a half)."""
        if self.lost.done() or not self._keepalive_s:
            return
        now = self._loop.time()
        if self._pinged and now - self._pinged >= self._keepalive_s:
            self._lose(ConnectionLost("connection closed: Keep alive timeout", silent=True))
            return
        if not self._pinged and now - self._spoke >= self._keepalive_s / 2:
            self._pinged = now
            self._write(mqtt.PING)
        self._look = self._loop.call_later(self._keepalive_s / 4, self._watch)


def _tls(settings: TlsSettings) -> ssl.SSLContext:
    """Make what checks the broker's certificate and name, and shows ours. Raises OSError, ValueError."""
    context = ssl.create_default_context(cafile=settings.ca)
    if settings.certificate is not None:
        context.load_cert_chain(settings.certificate, settings.key)
    return context


def _limits(version: Version, granted: Granted) -> Limits:
    """Read the limits in a CONNACK (MQTT 5.0, 3.2.2.3); what is not said has the specification's default."""
    said = {
        "receive_maximum": granted.receive_maximum,
        "maximum_packet": granted.maximum_packet,
        "maximum_qos": granted.maximum_qos,
        "retain_available": granted.retain_available,
    }
    return Limits(version, **{name: value for name, value in said.items() if value is not None})  # type: ignore[arg-type]

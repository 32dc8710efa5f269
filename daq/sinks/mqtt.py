"""The MQTT sink: keeps a connection to the broker and has the records delivered over it. The only user of aiomqtt.

It connects, and connects again, for ever; a broker that is absent is said once, and once that it is back. It never
decides what a record means (delivery does) and never waits for the network in the loop: names are resolved, sockets
opened and TLS agreed in a thread of its own, so that a resolver that hangs holds up nobody, not even the exit.

    station -> MqttSink -> delivery -> AiomqttPublisher -> broker
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from daq.clock import Clock
from daq.core.errors import SinkError
from daq.core.message import Topics, station_status_payload
from daq.core.observation import NS
from daq.core.record import Opener
from daq.sinks.delivery import Announce, Carried, Delivery, Figures
from daq.sinks.publisher import (
    TAKEN_OVER,
    ConnectionLost,
    Limits,
    MqttSettings,
    NotConnected,
    Publisher,
    Version,
)
from daq.sinks.retained import Retained

log = logging.getLogger(__name__)

# What paho and aiomqtt have to say, the sink says itself, once.
_WIRE_LOG = logging.getLogger(f"{__name__}.wire")
_WIRE_LOG.setLevel(logging.CRITICAL)

TLS_TIMEOUT_S = 5.0
CONNACK_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 2.0

UNSUPPORTED_VERSION = 0x84
"""CONNACK of a broker that knows MQTT 5 and does not speak it; paho gives the same for the older brokers' code 1."""

SLAMMED = 2
"""Closed so often without a word on MQTT 5: the broker is taken to know only 3.1.1."""

TAKE_OVERS = 3
"""Thrown out so often by another client of the same name: one of us must give in."""

UNSTEADY = 10
"""Let in and dropped without a word so often in a row: worth a word of ours. mosquitto 2.0.11 does not say 0x8E."""

_PROTOCOLS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


class AiomqttPublisher(aiomqtt.Client):
    """One connection through aiomqtt, heard beneath it: aiomqtt itself drops the reason codes and the CONNACK's limits.

    aiomqtt brings paho-mqtt onto the event loop; its own `publish` is not used, for it waits for one message at a time
    and calls a refused one published.
    """

    limits: Limits

    def __init__(self, settings: MqttSettings, version: Version, will_topic: str, will: bytes) -> None:
        five = version == "5"
        tls = settings.tls
        super().__init__(
            settings.host,
            settings.port,
            username=settings.username,
            password=settings.password,
            logger=_WIRE_LOG,
            identifier=settings.client_id,
            protocol=_PROTOCOLS[version],
            will=aiomqtt.Will(will_topic, will, 1, retain=True),
            clean_session=None if five else True,
            clean_start=True if five else paho.MQTT_CLEAN_START_FIRST_ONLY,
            keepalive=settings.keepalive_s,
            max_inflight_messages=0,  # the window is the delivery's
            tls_params=None if tls is None else aiomqtt.TLSParameters(tls.ca, tls.certificate, tls.key),
        )
        self._version: Version = version
        self._loop_thread = threading.get_ident()
        self._dialled: asyncio.Future[None] = self._loop.create_future()
        self._granted: asyncio.Future[Limits] = self._loop.create_future()
        self._waiting: dict[int, Callable[[int], None]] = {}
        self._given_up = False
        self.lost: asyncio.Future[ConnectionLost] = self._loop.create_future()
        self._disconnected.add_done_callback(self._broken)
        self._client._ssl_wrap_socket = self._agree_tls  # type: ignore[assignment,method-assign]  # noqa: SLF001  # see there

    async def open(self) -> None:
        """Connect and learn the broker's limits. Raises NotConnected."""
        threading.Thread(target=self._dial, name="mqtt[dial]", daemon=True).start()
        try:
            # paho bounds TCP and TLS; the resolver bounds itself, and a second thread would hang beside the first.
            await self._dialled
            async with asyncio.timeout(CONNACK_TIMEOUT_S):
                self.limits = await self._granted
        except TimeoutError:
            raise NotConnected(f"no CONNACK within {CONNACK_TIMEOUT_S:g} s") from None

    def publish(  # type: ignore[override]  # see the class
        self, topic: str, payload: bytes, *, qos: int, retain: bool, acknowledged: Callable[[int], None]
    ) -> None:
        """See Publisher."""
        if self.lost.done():
            raise self.lost.result()
        told = self._client.publish(topic, payload, qos, retain)
        if told.rc != paho.MQTT_ERR_SUCCESS:
            raise ConnectionLost(paho.error_string(told.rc))
        self._waiting[told.mid] = acknowledged

    async def disconnect(self) -> None:
        """See Publisher."""
        self._client.disconnect()
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await asyncio.shield(self.lost)
        except TimeoutError:
            raise ConnectionLost("the good-bye could not be written") from None

    async def abort(self) -> None:
        """See Publisher."""
        self._given_up = True
        if self._dialled.done():
            self._hang_up()
        else:
            self._dialled.cancel()  # the thread is left behind; it closes what it opens
        self._lose(ConnectionLost("closed by us"))
        for future in (self._dialled, self._granted):
            if future.done() and not future.cancelled():
                future.exception()  # seen, should nobody have waited for it
        if self._misc_task is not None:
            self._misc_task.cancel()
            await asyncio.gather(self._misc_task, return_exceptions=True)

    # In the dialling thread

    def _dial(self) -> None:
        try:
            self._client_connect()
        except Exception as problem:  # noqa: BLE001  # OSError, ssl and ValueError of bad certificates: all the same here
            outcome: Exception | None = problem
        else:
            outcome = None
        try:
            self._loop.call_soon_threadsafe(self._has_dialled, outcome)
        except RuntimeError:  # the loop has ended while a resolver hung
            sock = self._client.socket()
            if sock is not None:
                sock.close()

    def _agree_tls(self, sock: socket.socket) -> ssl.SSLSocket:
        """Wrap the connection in TLS; the broker's name is checked. paho leaves the socket open when this fails."""
        context = self._client._ssl_context  # noqa: SLF001
        assert context is not None, "paho made one from tls_params"
        wrapped = context.wrap_socket(sock, server_hostname=self._hostname, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(TLS_TIMEOUT_S)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    # In the loop

    def _has_dialled(self, problem: Exception | None) -> None:
        if self._given_up:
            self._hang_up()
        elif problem is None:
            self._dialled.set_result(None)
        else:
            self._dialled.set_exception(NotConnected(f"{type(problem).__name__}: {problem}"))

    def _hang_up(self) -> None:
        self._client._sock_close()  # noqa: SLF001  # paho has no way to leave without a DISCONNECT, which drops the will

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if self._granted.done():
            return
        if reason_code.is_failure:
            unsupported = reason_code.value == UNSUPPORTED_VERSION
            problem = NotConnected(f"the broker refuses the connection: {reason_code}", unsupported=unsupported)
            self._granted.set_exception(problem)
        else:
            self._granted.set_result(_limits(self._version, properties))

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._lose(ConnectionLost(f"the broker disconnects: {reason_code}", reason_code.value))
        else:
            silent = reason_code.getName() == "Keep alive timeout"
            self._lose(ConnectionLost(f"connection closed: {reason_code}", silent=silent))

    def _broken(self, disconnected: asyncio.Future[None]) -> None:
        """Reading or writing failed inside aiomqtt's callbacks."""
        if not disconnected.cancelled():
            self._lose(ConnectionLost(f"connection broken: {disconnected.exception()}"))
            self._hang_up()

    def _lose(self, lost: ConnectionLost) -> None:
        self._waiting.clear()
        if not self._granted.done():
            self._granted.set_exception(NotConnected(f"{lost} before a CONNACK", closed=True))
        if not self.lost.done():
            self.lost.set_result(lost)

    def _on_publish(
        self, client: paho.Client, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        acknowledged = self._waiting.pop(mid, None)
        if acknowledged is not None:
            acknowledged(reason_code.value)

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        """Watch for room to write, at once when in the loop.

        aiomqtt always defers this; a socket closed in between would leave a callback on a descriptor that by then may
        be an instrument's.
        """
        if threading.get_ident() == self._loop_thread:
            self._loop.add_writer(sock.fileno(), self._write)
        else:
            self._loop.call_soon_threadsafe(self._loop.add_writer, sock.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as problem:  # noqa: BLE001  # whatever it is, the connection is of no more use
            self._lose(ConnectionLost(f"connection broken: {problem}"))
            self._hang_up()


def _limits(version: Version, properties: Properties | None) -> Limits:
    """Read the limits in a CONNACK (MQTT 5.0, 3.2.2.3); what is not said has the specification's default."""
    absent = Limits(version)
    return Limits(
        version,
        receive_maximum=getattr(properties, "ReceiveMaximum", absent.receive_maximum),
        maximum_packet=getattr(properties, "MaximumPacketSize", absent.maximum_packet),
        maximum_qos=getattr(properties, "MaximumQoS", absent.maximum_qos),
        retain_available=bool(getattr(properties, "RetainAvailable", 1)),
    )


class MqttSink:
    """Delivers the journal to one broker, from `run` until `stop`.

    Args:
        settings: where the broker is; an empty client id becomes one made of the station's name.
        topics: where messages go.
        boot: names this boot, for the status.
        open_feed: opens the journal, anew on each connection.
        announce: makes an event; returns at once.
    """

    name = "mqtt"

    def __init__(
        self,
        settings: MqttSettings,
        *,
        topics: Topics,
        boot: str,
        open_feed: Opener,
        announce: Announce,
        clock: Clock,
    ) -> None:
        station = topics.station
        client_id = settings.client_id or f"bench-daq-{station.site}-{station.name}"
        self._settings = replace(settings, client_id=client_id)
        self._topics = topics
        self._boot = boot
        self._open_feed = open_feed
        self._announce = announce
        self._clock = clock
        self._carried = Carried(Retained())
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._running = False
        self._slammed = 0
        self._take_overs = 0
        self._dropped = 0
        self._said: set[str] = set()
        self._away_since_ns: int | None = None

    def retain(self, topic: str, payload: bytes) -> None:
        """Have the broker hold this, now and after every reconnect. May be called at any time."""
        self._carried.retained.put(topic, payload)

    def forget(self, topic: str) -> None:
        """Have the broker clear a retained topic: its instrument is gone."""
        self._carried.retained.put(topic, None)

    def health(self) -> Figures:
        """Return the figures as they are now."""
        return replace(self._carried.figures)

    async def stop(self, deadline_ns: int) -> bool:
        """Deliver what is left, say `offline`, close; False when the deadline (monotonic ns) came first."""
        self._stopping.set()
        return not self._running or await self._clock.wait(deadline_ns, self._ended)

    async def run(self) -> None:
        """Keep connected and deliver, until stopped. Cancelling it leaves at once; the broker then sends the will."""
        self._running = True
        self._ended.clear()
        try:
            await self._keep_connected()
        finally:
            self._running = False
            self._ended.set()

    async def _keep_connected(self) -> None:
        pause_ns = first_ns = int(self._settings.retry_first_s * NS)
        most_ns = int(self._settings.retry_most_s * NS)
        while not self._stopping.is_set():
            began_ns = self._clock.now().mono_ns
            try:
                await self._connection()
            except SinkError as problem:
                self._away(problem)
            if self._take_overs >= TAKE_OVERS:
                await self._give_in()
            if self._clock.now().mono_ns - began_ns >= 2 * most_ns:  # a steady connection: begin anew
                pause_ns = first_ns
                self._take_overs = self._dropped = 0
            if self._dropped == UNSTEADY:
                self._say_unsteady()
            if not self._stopping.is_set():
                await self._clock.wait(self._clock.now().mono_ns + pause_ns, self._stopping)
            pause_ns = min(2 * pause_ns, most_ns)

    async def _connection(self) -> None:
        """Connect once and deliver until the connection is lost, or the station stops. Raises SinkError."""
        publisher = self._publisher()
        try:
            if not await self._opened(publisher):
                return
            feed = await self._open_feed(self.name)
            self._back(publisher)
            delivery = Delivery(
                publisher,
                feed,
                self._carried,
                topics=self._topics,
                settings=self._settings,
                announce=self._announce,
                clock=self._clock,
            )
            await delivery.run(self._stopping, self._status("online", publisher), lambda: self._status("offline"))
            await publisher.disconnect()
        except ConnectionLost as lost:
            self._take_overs += lost.code == TAKEN_OVER
            self._dropped += lost.code is None and not lost.silent
            raise
        finally:
            await publisher.abort()
            self._carried.figures.connected = False
            self._carried.figures.in_flight = 0

    def _publisher(self) -> AiomqttPublisher:
        version: Version = "5" if self._settings.version == "auto" else self._settings.version
        if self._settings.version == "auto" and self._slammed >= SLAMMED:
            version, self._slammed = "3.1.1", 0
        will = station_status_payload("offline", self._boot, None, "connection lost")
        return AiomqttPublisher(self._settings, version, self._topics.status(), will)

    async def _opened(self, publisher: AiomqttPublisher) -> bool:
        """Open it; False when the station stops meanwhile."""
        opening = asyncio.create_task(publisher.open(), name="mqtt[open]")
        stopping = asyncio.create_task(self._stopping.wait(), name="mqtt[stopping]")
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return False
            opening.result()
        except NotConnected as problem:
            self._slammed += SLAMMED if problem.unsupported else problem.closed
            raise
        else:
            self._slammed = 0
            return True
        finally:
            opening.cancel()
            stopping.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)

    def _status(self, status: Any, publisher: Publisher | None = None) -> bytes:
        why = None if publisher is not None else "stopped"
        version = None if publisher is None else publisher.limits.version
        return station_status_payload(status, self._boot, self._clock.now().utc_ns, why, version)

    async def _give_in(self) -> None:
        """Another client of our name throws us out each time: stop, and say so, rather than fight for ever."""
        client_id = self._settings.client_id
        log.error(
            "%s: another client named %r takes the connection over, %d times now. Nothing is delivered until this "
            "daemon is restarted; the journal keeps it. Give one of the two another name.",
            self._where(),
            client_id,
            self._take_overs,
        )
        self._announce("mqtt", what="taken_over", client_id=client_id, times=self._take_overs)
        await self._stopping.wait()

    def _say_unsteady(self) -> None:
        client_id = self._settings.client_id
        log.error(
            "%s: lets us in and drops us without a word, %d times now. Is there another client named %r? Trying on.",
            self._where(),
            self._dropped,
            client_id,
        )
        self._announce("mqtt", what="dropped", client_id=client_id, times=self._dropped)

    # Saying so, once

    def _where(self) -> str:
        return f"mqtt{'s' if self._settings.tls else ''}://{self._settings.host}:{self._settings.port}"

    def _away(self, problem: SinkError) -> None:
        figures, now = self._carried.figures, self._clock.now()
        if self._away_since_ns is None:
            self._away_since_ns = now.mono_ns
            figures.since_ns = now.utc_ns
        figures.protocol, figures.backlog, figures.window, figures.in_flight = None, None, 0, 0
        figures.why = str(problem)
        if str(problem) not in self._said:
            self._said.add(str(problem))
            most_s = self._settings.retry_most_s
            log.warning(
                "%s: %s. The journal keeps what is not delivered; trying again every %g s at the latest.",
                self._where(),
                problem,
                most_s,
            )

    def _back(self, publisher: Publisher) -> None:
        figures, now = self._carried.figures, self._clock.now()
        limits = publisher.limits
        away = "" if self._away_since_ns is None else f" after {(now.mono_ns - self._away_since_ns) / NS:.1f} s"
        log.info("%s: connected%s, MQTT %s", self._where(), away, limits.version)
        if limits.version != "5":
            log.warning("%s: on MQTT %s a broker cannot say that it refuses a message", self._where(), limits.version)
        if not limits.maximum_qos:
            log.warning("%s: the broker acknowledges nothing (maximum QoS 0): what it loses is lost", self._where())
        if not limits.retain_available:
            log.warning("%s: the broker retains nothing: late subscribers see no status and no info", self._where())
        figures.connected, figures.protocol, figures.since_ns, figures.why = True, limits.version, now.utc_ns, None
        self._away_since_ns = None
        self._said.clear()

"""The MQTT sink: keeps a connection to the broker and has the records delivered over it.

It connects, and connects again, for ever: after pauses that grow to `retry_most_s`, or to minutes where another client
of the same name seems to throw us out. A broker that is absent is said once, and once that it is back. It never decides
what a record means (delivery does) and never speaks MQTT (connection does).

    station -> MqttSink -> delivery -> Connection -> broker
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import secrets
from dataclasses import replace
from typing import Any

from daq.clock import Bell, Clock
from daq.core.errors import SinkError
from daq.core.message import Topics, station_status_payload
from daq.core.observation import NS
from daq.core.record import Opener
from daq.sinks.carried import Carried, Figures
from daq.sinks.connection import Connection
from daq.sinks.delivery import Delivery
from daq.sinks.publisher import (
    TAKEN_OVER,
    ConnectionLost,
    MqttSettings,
    NotConnected,
    Publisher,
    Version,
)
from daq.sinks.refusals import Announce
from daq.sinks.retained import Retained

log = logging.getLogger(__name__)

SLAMMED = 2
"""Closed so often without a word on MQTT 5: the broker may know only 3.1.1. So may a proxy whose broker is away do."""

TAKE_OVERS = 3
"""Thrown out so often by another client of the same name: one of us must give in."""

GIVEN_IN_NS = 300 * NS
"""For so long, and then once more: whoever holds the name loses it for a second in five minutes, not for good."""

UNSTEADY = 10
"""Let in and dropped without a word so often in a row: worth a word of ours. mosquitto 2.0.11 does not say 0x8E."""

UNSTEADY_NS = 20 * NS
"""Between two attempts then: it may be another client of our name, or only a broker or a way to it that is ill."""

SHORTEST = 0.6
"""Of a pause, by chance: stations that lost one broker together do not come back together."""


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
        self._stopping = Bell()
        self._ended = Bell()
        self._running = False
        self._slammed = 0
        self._sure_of_old = False
        """The broker has shown that it knows no MQTT 5: it said so, or hung up on it and took 3.1.1 just before."""
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
        figures = self._carried.figures
        unanswered_ns = self._clock.monotonic_ns() - self._carried.answered_ns if figures.in_flight else 0
        return replace(figures, unanswered_s=round(unanswered_ns / NS, 1))

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
            began_ns, refused = self._clock.now().mono_ns, self._carried.figures.refused
            lost = await self._lost()
            lasted_ns = self._clock.now().mono_ns - began_ns
            steady = lasted_ns >= 2 * most_ns
            if steady:
                pause_ns = first_ns
            if steady or self._carried.figures.refused > refused:  # what it hung up on was found, and set aside
                self._take_overs = self._dropped = 0
            if lost is not None:
                self._take_overs += lost.code == TAKEN_OVER
                self._dropped += lost.code is None and not lost.silent and lasted_ns <= most_ns
            await self._pause(self._given_in() or pause_ns)
            # What an attempt has left holds itself - futures, exceptions, their frames - and by now nobody else does.
            gc.collect(0)  # the young only, which are few
            pause_ns = min(2 * pause_ns, most_ns)

    async def _lost(self) -> ConnectionLost | None:
        """Connect once and deliver until that ends; return how it was lost, None where there was no connection."""
        self._carried.figures.tries += 1
        try:
            await self._connection()
        except SinkError as problem:
            self._away(problem)
            return problem if isinstance(problem, ConnectionLost) else None
        return None

    async def _pause(self, longest_ns: int) -> None:
        """Wait before the next attempt, for SHORTEST of it at least, and tell until when."""
        if self._stopping.is_set():
            return
        now = self._clock.now()
        pause_ns = int(longest_ns * (SHORTEST + (1 - SHORTEST) * self._chance()))
        self._carried.figures.next_try_ns = now.utc_ns + pause_ns
        await self._clock.wait(now.mono_ns + pause_ns, self._stopping)
        self._carried.figures.next_try_ns = None

    def _chance(self) -> float:
        """Return a number from 0 to 1."""
        return secrets.randbelow(1001) / 1000

    async def _connection(self) -> None:
        """Connect once and deliver until the connection is lost, or the station stops. Raises SinkError."""
        publisher = await self._let_in()
        if publisher is None:
            return
        opening = asyncio.create_task(self._open_feed(self.name), name="mqtt[feed]")
        try:
            self._back(publisher)
            delivery = Delivery(
                publisher,
                opening,
                self._carried,
                topics=self._topics,
                settings=self._settings,
                announce=self._announce,
                clock=self._clock,
            )
            await delivery.run(self._stopping, self._status("online", publisher), lambda: self._status("offline"))
            await publisher.disconnect()
        finally:
            opening.cancel()
            for feed in await asyncio.gather(opening, return_exceptions=True):
                if not isinstance(feed, BaseException):
                    feed.close()
            await publisher.abort()
            self._carried.figures.connected = False
            self._carried.figures.in_flight = 0

    def _publisher(self) -> Connection:
        version: Version = "5" if self._settings.version == "auto" else self._settings.version
        if self._settings.version == "auto" and self._slammed >= SLAMMED:
            version, self._slammed = "3.1.1", 0
        will = station_status_payload("offline", self._boot, None, "connection lost")
        return Connection(self._settings, version, self._topics.status(), will)

    async def _let_in(self) -> Connection | None:
        """Return an open connection; None when the station stops meanwhile. Raises NotConnected.

        Who hung up on MQTT 5 and now takes 3.1.1 is asked for 5 once more: it may have been a proxy, its broker away.
        """
        publisher = await self._opened()
        if (
            publisher is None
            or publisher.limits.version == "5"
            or self._settings.version != "auto"
            or self._sure_of_old
        ):
            return publisher
        with contextlib.suppress(ConnectionLost):
            await publisher.disconnect()
        await publisher.abort()
        try:
            return await self._opened()
        except NotConnected as problem:
            if not problem.closed:
                raise
        self._sure_of_old, self._slammed = True, SLAMMED
        return await self._opened()

    async def _opened(self) -> Connection | None:
        """Open a connection; None when the station stops meanwhile. Raises NotConnected."""
        publisher = self._publisher()
        try:
            opened = await self._is_open(publisher)
        except BaseException:
            await publisher.abort()
            raise
        if not opened:
            await publisher.abort()
            return None
        return publisher

    async def _is_open(self, publisher: Connection) -> bool:
        """Open it; False when the station stops meanwhile. Raises NotConnected."""
        opening = asyncio.create_task(publisher.open(), name="mqtt[open]")
        stopping = asyncio.create_task(self._stopping.wait(), name="mqtt[stopping]")
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return False
            opening.result()
        except NotConnected as problem:
            self._slammed += SLAMMED if problem.unsupported else problem.closed
            self._sure_of_old |= problem.unsupported
            raise
        else:
            self._slammed = 0
            self._sure_of_old &= publisher.limits.version != "5"
            return True
        finally:
            opening.cancel()
            stopping.cancel()
            await asyncio.gather(opening, stopping, return_exceptions=True)

    def _status(self, status: Any, publisher: Publisher | None = None) -> bytes:
        why = None if publisher is not None else "stopped"
        version = None if publisher is None else publisher.limits.version
        return station_status_payload(status, self._boot, self._clock.now().utc_ns, why, version)

    def _given_in(self) -> int | None:
        """Return how long to leave the name to another client that seems to have it too, and say so; None if none."""
        if self._take_overs >= TAKE_OVERS:
            self._say_given_in("taken_over", self._take_overs, GIVEN_IN_NS, "another client takes its connection over")
            return GIVEN_IN_NS
        if self._dropped >= UNSTEADY:
            self._say_given_in("dropped", self._dropped, UNSTEADY_NS, "it lets us in and drops us without a word")
            return UNSTEADY_NS
        return None

    def _say_given_in(self, what: str, times: int, pause_ns: int, seen: str) -> None:
        client_id = self._settings.client_id
        log.error(
            "%s: %s, %d times now. Is there another client named %r? Give one of the two another name. The journal "
            "keeps what is not delivered; trying again within %d s.",
            self._where(),
            seen,
            times,
            client_id,
            pause_ns // NS,
        )
        self._announce("mqtt", what=what, client_id=client_id, times=times, again_in_s=pause_ns // NS)

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
        figures.tries = 0
        self._away_since_ns = None
        self._said.clear()

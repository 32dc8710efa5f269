"""One connection's work: retained state first, then records as they come, and the backlog with what room is left.

Nothing is forgotten before the broker has acknowledged it with a reason code below 0x80; what it refuses for good is
set aside and announced; what it was sent and did not acknowledge is sent again on the next connection, same id.
Knows no client library and no journal: it is handed a Publisher and a Feed.

The rule of the window: at most min(Receive Maximum, 20) messages are in flight. Live records may take all of it. The
backlog takes at most half, only while no live record waits, at most `late_per_s` a second, and less where the event
loop comes late: live records and polls feel that first.

    Feed -> [delivery] -> Publisher -> acknowledged -> Feed.done
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from daq.clock import Bell, Clock
from daq.core.message import Topics
from daq.core.observation import NS
from daq.core.record import Feed, Record
from daq.sinks.carried import Carried, Suspect
from daq.sinks.flight import Flight, Flights, UnderWay, record_of, row_of
from daq.sinks.pace import BURST_NS, Pace
from daq.sinks.publisher import (
    BLAMELESS,
    PACKET_ID_IN_USE,
    PACKET_TOO_LARGE,
    QUOTA_EXCEEDED,
    REFUSED,
    ConnectionLost,
    MqttSettings,
    Publisher,
    first_lost,
    packet_size,
)
from daq.sinks.refusals import Announce, Told
from daq.sinks.room import NoRoom
from daq.sinks.settling import Settling
from daq.sinks.silence import watch

WINDOW = 20
"""Messages in flight, at most: what brokers take by default (mosquitto's max_inflight_messages)."""

BEFORE_ALL = -(1 << 63)
"""Below the row of every record."""

PAGE = 100
"""Records fetched at once."""

LATE_PAGE = 500
LATE_PAGE_BYTES = 1 << 19
"""Of the backlog, fetched at once, while as much still waits: a page comes behind a commit, and disks are slow.

The last page foretells how large the next will be.
"""

QUIET_NS = NS // 5
"""So long without a new record, and the journal is taken to have no more when stopping."""

LOOK_AGAIN_NS = 10 * NS
"""Behind the backlog: part of it may have been out of reach, and live records that nobody took in time become late."""

QUOTA_FIRST_NS, QUOTA_MOST_NS = NS, 5 * NS
"""Between two attempts at messages for which the broker had no room; all others wait until there is some again."""

DROPS = 5
"""A message that was alone under way so often when the broker closed the connection is what the broker drops."""

TELL_EVERY_NS = NS
"""Between two looks for refusals that may be told of."""

LEFT_OUT_NS = 600 * NS
"""Retained state on whose refusal the broker hung up is not offered again for so long."""

RETAINED_EVERY_NS = NS
"""Between two rounds of changed retained state: what changes faster is told as it then is."""


class Delivery:
    """Delivers over one connection until it is lost, or until the station stops and all is acknowledged.

    Args:
        opening: gives the feed as soon as the disk lets it be opened; that may be long after the broker has let us in.
    """

    def __init__(
        self,
        publisher: Publisher,
        opening: asyncio.Task[Feed],
        carried: Carried,
        *,
        topics: Topics,
        settings: MqttSettings,
        announce: Announce,
        clock: Clock,
    ) -> None:
        self._publisher = publisher
        self._opening = opening
        self._feed: Feed
        self._carried = carried
        self._topics = topics
        self._settings = settings
        self._announce = announce
        self._clock = clock
        self._figures = carried.figures
        limits = publisher.limits
        self._window = max(1, min(limits.receive_maximum, WINDOW))
        self._qos, self._retains = min(1, limits.maximum_qos), limits.retain_available
        self._most_b, self._carried_b = limits.maximum_packet, limits.carried_most
        self._flights = Flights(topics, carried.retained, exchanges=settings.exchanges, acknowledges=self._qos > 0)
        self._flying: dict[int, UnderWay] = {}
        self._count, self._late_flying = 0, 0
        self._room = asyncio.Event()
        self._again: deque[Flight] = deque()
        self._refused_for_now = asyncio.Event()
        self._settling = Settling()
        self._live_waiting: deque[Record] = deque()
        self._live_low = asyncio.Event()
        self._late_waiting: deque[Record] = deque()
        self._late_low = asyncio.Event()
        self._late_enough = LATE_PAGE // 16  # records; where no more wait, and for the next page
        self._pace = Pace(settings.late_per_s)
        self._late_share = max(1, self._window // 2)
        self._claims, self._fetching = 0, False
        self._delivered_late: set[int] = set()
        self._aside: set[int] = set()  # rows of the backlog that were refused, and are not done with yet
        self._refused_last: str | None = None  # retained topic that was refused, nothing taken since
        publisher.answered = self._observations_answered

    async def run(self, stopping: asyncio.Event, online: bytes, offline: Callable[[], bytes]) -> None:
        """Deliver until `stopping`, then say `offline`.

        Raises:
            ConnectionLost: the rest is sent on the next connection.
        """
        try:
            await self._all_together(stopping, online, offline)
        except BaseExceptionGroup as group:
            lost, others = group.split(ConnectionLost)
            if others is not None or lost is None:
                raise
            found = first_lost(lost)
            self._remember_suspects(found)
            if self._refused_last is not None and not found.silent:
                self._carried.hung_up[self._refused_last] = self._clock.now().mono_ns
            self._tell_refusals(self._carried.refusals.rest)
            await self._settling.now()
            raise found from None

    async def _all_together(self, stopping: asyncio.Event, online: bytes, offline: Callable[[], bytes]) -> None:
        self._figures.window = self._window
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._watch_connection(), name="mqtt[connection]"),
                group.create_task(watch(self._flying, self._settings.ack_timeout_s, self._clock), name="mqtt[silence]"),
                group.create_task(self._settling.keep(self._clock), name="mqtt[settle]"),
                group.create_task(self._send_again(), name="mqtt[again]"),
                group.create_task(self._keep_telling(), name="mqtt[refused]"),
            ]
            await self._post(self._topics.status(), online)
            self._carried.retained.all_changed()
            await self._post_changed()
            await self._take_feed()
            await self._clear_suspects()
            await self._tell_infos()
            late = group.create_task(self._late(), name="mqtt[late]")
            tasks += [
                late,
                group.create_task(self._keep_retained(), name="mqtt[retained]"),
                group.create_task(self._live(), name="mqtt[live]"),
            ]
            await stopping.wait()
            late.cancel()
            self._late_waiting.clear()
            await self._post_changed()
            self._tell_refusals(self._carried.refusals.rest)
            await self._drained()
            await self._post(self._topics.status(), offline())
            await self._landed()
            self._tell_refusals(self._carried.refusals.rest)
            await self._settling.now()
            for task in tasks:
                task.cancel()

    async def _take_feed(self) -> None:
        """Wait until the disk lets the journal be read; what the broker is to hold goes on being told meanwhile."""
        opened = Bell()
        self._opening.add_done_callback(lambda _: opened.set())
        while not await self._clock.wait(self._clock.now().mono_ns + RETAINED_EVERY_NS, opened):
            await self._post_changed()
        self._feed = self._settling.feed = self._opening.result()
        self._figures.backlog = await self._feed.backlog_size()

    # Records

    async def _live(self) -> None:
        """Keep live records at hand; they are sent from here and, where there is no room, by acknowledgements."""
        while True:
            self._fetching = True
            records = await self._feed.live(PAGE)
            self._fetching = False
            self._live_waiting.extend(records)
            self._send_waiting()
            while len(self._live_waiting) >= PAGE:
                self._live_low.clear()
                await self._live_low.wait()

    def _send_waiting(self) -> None:
        """Send what waits, where there is room that nobody has claimed: live records, the backlog behind them."""
        live, late = self._live_waiting, self._late_waiting
        if self._claims or self._again or not (live or late) or self._publisher.lost.done():
            return
        if live:
            self._send_live(live)
        if len(live) < PAGE:
            self._live_low.set()
        while late and not live and self._late_flying < self._late_share and self._has_room() and self._pace.lets_go():
            self._send(late.popleft(), late=True)
        if len(late) <= self._late_enough:
            self._late_low.set()

    def _send_live(self, live: deque[Record]) -> None:
        """Send live records while there is room. What goes as it is, nearly all of it, is handed over in one go."""
        flying, window, known, most_b = self._flying, self._window, self._flights.known, self._carried_b
        as_they_are: list[tuple[int, str, bytes]] = []
        if not flying:
            self._carried.answered_ns = self._clock.monotonic_ns()
        while live and len(flying) < window:
            record = live.popleft()
            topic = known.get(record.stream) if record.kind == "obs" else None
            if topic is not None and len(topic) + len(record.payload) <= most_b:
                self._count = key = self._count + 1
                flying[key] = record
                as_they_are.append((key, topic, record.payload))
            else:
                self._carry(as_they_are)  # first: an info comes before what cites it
                as_they_are = []
                self._send(record, late=False)
        self._carry(as_they_are)

    async def _room_first(self) -> None:
        """Wait for room before live records get any: what they cite, and retained state, comes before them."""
        self._claims += 1
        try:
            await self._answered(lambda: not self._again and self._has_room())
        finally:
            self._claims -= 1

    async def _tell_infos(self) -> None:
        """Say first what live observations may cite: information from before the connection stood."""
        after = BEFORE_ALL
        while records := await self._feed.backlog(after, PAGE, infos=True):
            for record in records:
                after = record.row
                if record.row not in self._delivered_late:
                    await self._room_first()
                    self._send(record, late=True)
                    self._delivered_late.add(record.row)

    async def _late(self) -> None:
        """Deliver the backlog, and look again for ever: what the disk could not give is backlog until it can."""
        while True:
            if self._figures.backlog:
                await self._deliver_backlog()
            await self._settling.now()
            self._figures.backlog = max(await self._feed.backlog_size() - len(self._aside), 0)
            await self._clock.wait(self._clock.now().mono_ns + LOOK_AGAIN_NS)

    async def _deliver_backlog(self) -> None:
        """Deliver the backlog, oldest first, behind the live records, until all of it has been answered."""
        async with asyncio.TaskGroup() as group:
            pace = group.create_task(self._keep_pace(), name="mqtt[pace]")
            await self._fetch_late()
            pace.cancel()
        await self._answered(lambda: not self._late_flying and not any(flight.late for flight in self._again))

    async def _fetch_late(self) -> None:
        """Keep records of the backlog at hand until it is done; they are sent by the pace and by acknowledgements."""
        after = BEFORE_ALL
        while records := await self._feed.backlog(after, self._late_enough):
            after = records[-1].row
            size = sum(len(record.payload) for record in records)
            self._late_enough = max(1, min(LATE_PAGE, LATE_PAGE_BYTES * len(records) // max(size, 1)))
            known = self._delivered_late | self._aside
            self._late_waiting.extend(record for record in records if record.row not in known)
            self._send_waiting()
            while len(self._late_waiting) > self._late_enough:
                self._late_low.clear()
                await self._late_low.wait()
        while self._late_waiting:
            self._late_low.clear()
            await self._late_low.wait()

    async def _keep_pace(self) -> None:
        while True:
            self._pace.begin_burst()
            self._send_waiting()
            due_ns = self._clock.now().mono_ns + BURST_NS
            await self._clock.wait(due_ns)
            self._pace.end_burst(self._clock.now().mono_ns - due_ns)

    def _has_room(self) -> bool:
        return len(self._flying) < self._window

    async def _clear_suspects(self) -> None:
        """Send what was under way when the last connection was lost, one at a time: one of them may be why.

        A broker that speaks 3.1.1 cannot say that a message is too large for it; it closes the connection, each time.
        """
        for row, suspect in sorted(self._carried.suspects.items()):
            self._delivered_late.add(row)
            if suspect.drops >= DROPS:
                self._set_aside(self._flights.of(suspect.record, late=True), None)
            else:
                self._figures.retries += 1
                self._send(suspect.record, late=True)
                await self._landed()
            del self._carried.suspects[row]

    def _remember_suspects(self, lost: ConnectionLost) -> None:
        found = map(record_of, (*self._flying.values(), *self._again))
        under_way = [record for record in found if record is not None]
        alone = len(under_way) == 1 and not lost.silent and lost.code not in BLAMELESS
        for record in under_way:
            suspect = self._carried.suspects.setdefault(record.row, Suspect(record))
            suspect.drops += alone
        self._figures.in_flight = 0

    def _send(self, record: Record, *, late: bool) -> None:
        self._fly(self._flights.of(record, late=late))

    # Retained state

    async def _keep_retained(self) -> None:
        while True:
            await self._carried.retained.changed.wait()
            await self._post_changed()
            await self._clock.wait(self._clock.now().mono_ns + RETAINED_EVERY_NS)

    async def _post_changed(self) -> None:
        for topic, payload in self._carried.retained.take_changed():
            await self._post(topic, payload)
        await self._answered(lambda: None not in map(record_of, self._flying.values()))

    async def _post(self, topic: str, payload: bytes | None) -> None:
        """Publish retained state; None clears it.

        Where the broker hangs up on what it refuses, the same state would be the end of every connection.
        """
        left_out_ns = self._carried.hung_up.get(topic)
        if left_out_ns is not None and self._clock.now().mono_ns - left_out_ns < LEFT_OUT_NS:
            return
        await self._room_first()
        self._fly(Flight(topic, payload or b"", True, False, None, forgets=payload is None))
        self._send_waiting()

    # In flight

    def _fly(self, flight: Flight) -> None:
        if packet_size(flight.topic, flight.payload) > self._most_b:
            self._set_aside(flight, PACKET_TOO_LARGE, limit=self._most_b)
            return
        if not self._flying:
            self._carried.answered_ns = self._clock.monotonic_ns()
        self._count += 1
        key = self._count
        self._flying[key] = flight
        self._late_flying += flight.late
        self._figures.published += 1
        self._figures.in_flight = len(self._flying)
        retain = flight.retain and self._retains
        acknowledged = partial(self._acknowledged, key, flight)
        self._publisher.publish(flight.topic, flight.payload, qos=self._qos, retain=retain, acknowledged=acknowledged)

    def _carry(self, as_they_are: list[tuple[int, str, bytes]]) -> None:
        if as_they_are:
            figures = self._figures
            figures.published, figures.in_flight = figures.published + len(as_they_are), len(self._flying)
            self._publisher.carry(as_they_are)

    def _acknowledged(self, key: int, flight: Flight, code: int) -> None:
        del self._flying[key]
        self._late_flying -= flight.late
        if code < REFUSED:
            self._taken(flight)
        else:
            self._refused(flight, code)
        self._go_on()

    def _observations_answered(self, keys: Sequence[int], code: int) -> None:
        """Live observations that went as they are were answered, all with this code."""
        found = list(map(self._flying.pop, keys))
        if code < REFUSED:
            self._figures.acknowledged += len(found)
            self._refused_last = None
            self._settling.add(map(row_of, found))
        else:
            for under_way in found:
                self._refused(self._flights.whole(under_way), code)
        self._go_on()

    def _go_on(self) -> None:
        """Something was answered: send what that made room for."""
        self._figures.in_flight, self._carried.answered_ns = len(self._flying), self._clock.monotonic_ns()
        self._send_waiting()
        self._room.set()

    def _refused(self, flight: Flight, code: int) -> None:
        if code in {QUOTA_EXCEEDED, PACKET_ID_IN_USE}:
            self._again.append(flight)
            self._refused_for_now.set()
        else:
            self._refused_last = flight.topic if flight.record is None else None
            self._set_aside(flight, code)

    def _taken(self, flight: Flight) -> None:
        self._figures.acknowledged += 1
        self._refused_last = None
        if flight.forgets:
            self._carried.retained.forgotten(flight.topic)
        if flight.record is not None:
            self._finish(flight.record, late=flight.late)

    def _finish(self, record: Record, *, late: bool) -> None:
        self._settling.add((record.row,))
        self._aside.discard(record.row)
        self._count_down(late=late)

    def _count_down(self, *, late: bool) -> None:
        if late and self._figures.backlog:
            self._figures.backlog -= 1

    def _set_aside(self, flight: Flight, code: int | None, limit: int | None = None) -> None:
        """Give up a message that the broker will never take. It stays in the journal until that trims it."""
        self._figures.refused += 1
        if flight.record is not None and flight.late:
            self._aside.add(flight.record.row)
        if flight.topic == self._topics.event():  # an event about it would be refused too
            if flight.record is not None and code != PACKET_TOO_LARGE:  # whose limit may be another one tomorrow
                self._finish(flight.record, late=flight.late)
            return
        self._count_down(late=flight.late)
        self._carried.refusals.add(flight.topic, code, flight.record, limit)
        self._tell_refusals(self._carried.refusals.due)

    def _tell_refusals(self, which: Callable[[int], list[Told]]) -> None:
        for told in which(self._clock.now().mono_ns):
            self._announce("refused", **told.details)
            if told.rows:
                self._settling.add(told.rows)
                self._aside.difference_update(told.rows)

    async def _keep_telling(self) -> None:
        while True:
            await self._clock.wait(self._clock.now().mono_ns + TELL_EVERY_NS)
            self._tell_refusals(self._carried.refusals.due)

    async def _send_again(self) -> None:
        """Try again what the broker had no room for, with longer and longer pauses; nothing else is sent meanwhile."""
        while True:
            await self._refused_for_now.wait()
            pause_ns, spell = QUOTA_FIRST_NS, NoRoom(self._figures, self._announce, self._clock.now().mono_ns)
            while self._again:
                await self._clock.wait(self._clock.now().mono_ns + pause_ns)
                pause_ns = min(2 * pause_ns, QUOTA_MOST_NS)
                for _ in range(len(self._again)):
                    self._figures.retries += 1
                    self._fly(self._again.popleft())
                    await self._landed()
                spell.lasts(self._clock.now().mono_ns, len(self._again))
            self._refused_for_now.clear()
            self._send_waiting()
            self._room.set()

    # Watching

    async def _watch_connection(self) -> None:
        raise await asyncio.shield(self._publisher.lost)

    async def _landed(self) -> None:
        await self._answered(lambda: not self._flying)

    async def _answered(self, enough: Callable[[], bool]) -> None:
        """Wait until it holds; it is looked at after each answer of the broker."""
        while not enough():
            self._room.clear()
            await self._room.wait()

    async def _drained(self) -> None:
        """Wait until the journal hands out nothing new and all that was sent is acknowledged."""
        while True:
            sent = self._count
            await self._clock.wait(self._clock.now().mono_ns + QUIET_NS)
            at_rest = self._fetching and not self._live_waiting and not self._flying and not self._again
            if self._count == sent and at_rest:
                return

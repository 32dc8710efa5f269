"""Whatever broker and disk do, in any order: once both are well, all that was committed is delivered.

The sink, its delivery and the journal's feed are the real ones. The broker is a list of what is under way, which
acknowledges, refuses, hangs up, stays away or falls silent as hypothesis says; the disk can be read or not; time is a
ManualClock. A record counts as delivered when the broker said so, as set aside when an event did.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from daq.core.message import StationName, Topics
from daq.core.numbering import RowSet
from daq.core.record import Record
from daq.journal.feed import Feed, Tail
from daq.sinks.publisher import ConnectionLost, MqttSettings
from tests.manual_clock import ManualClock
from tests.sinks.paper_broker import Broker, TheSink

TOPICS = Topics(StationName("lab", "bench1"))
TAIL_BYTES = 1500
"""Of records in memory: a sink that is held up reads from disk."""

IN_THE_END_S = 4 * 3600.0
"""The longest pause that anything here makes is minutes."""


class Disk:
    """What the journal's thread would do: rows, which of them a sink is done with, a file that can be read or not."""

    def __init__(self) -> None:
        self.rows: list[Record] = []
        self.done = RowSet([(0, 0)])
        self.readable = True
        self.jobs: list[Any] = []

    @property
    def head(self) -> int:
        return len(self.rows)

    async def ask(self, job: Any) -> Any:
        waits = asyncio.get_running_loop().create_future()
        self.jobs.append(lambda: waits.set_result(job()))
        asyncio.get_running_loop().call_soon(self.work)
        return await waits

    def put(self, job: Any, *, soon: bool) -> None:
        assert not soon
        self.jobs.append(job)

    def work(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()

    def undone(self, sink: str, after: int, upto: int, limit: int, infos: bool = False) -> list[Record]:
        assert sink == "mqtt"
        holes = self.done.holes(max(after + 1, 1), min(upto, self.head))
        found = [self.rows[row - 1] for first, last in holes for row in range(first, last + 1)]
        return [row for row in found if not infos or row.kind == "info"][:limit] if self.readable else []

    def backlog(self, sink: str, after: int, upto: int) -> int:
        assert sink == "mqtt"
        return self.done.missing(after + 1, upto)

    def mark_done(self, sink: str, rows: Any) -> None:
        assert sink == "mqtt"
        for row in rows:
            self.done.add(row, row)


class Queue:
    """Takes jobs that may wait."""

    def __init__(self, disk: Disk) -> None:
        self.ask = disk.put


class DeliveryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.disk, self.broker, self.tail = Disk(), Broker(), Tail(TAIL_BYTES)
        self.feed: Feed | None = None
        self.events: list[dict[str, Any]] = []
        self.count = 0
        self.sink: TheSink
        self.task: asyncio.Task[None]

    # ------------------------------------------------------------ the stage

    def play(self, what: Any) -> Any:
        return self.runner.run(what)

    @initialize(window=st.sampled_from([1, 2, 3, 20]), backlog=st.integers(0, 60))
    def begin(self, window: int, backlog: int) -> None:
        self.broker.window = window
        self.play(self._commit(backlog, "obs"))
        self.start()

    def start(self) -> None:
        async def started() -> None:
            self.sink = TheSink(
                MqttSettings("127.0.0.1"),
                topics=TOPICS,
                boot="b00t",
                open_feed=self._open_feed,
                announce=lambda event, **details: self.events.append({"event": event, **details}),
                clock=self.clock,
            )
            self.sink.broker = self.broker
            self.task = asyncio.create_task(self.sink.run())
            await self.clock.settle()

        self.play(started())

    async def _open_feed(self, sink: str) -> Feed:
        if self.feed is not None:
            self.feed.end("another feed was opened for this sink")
        head = await self.disk.ask(lambda: self.disk.head)
        scribe: Any = self.disk  # it stands in for a journal's thread: only what a feed asks of one
        self.feed = Feed(self.disk.ask, Queue(self.disk), scribe, sink, self.tail, head, ())
        return self.feed

    async def _commit(self, count: int, kind: Any) -> None:
        stream = "dmm1/v" if kind == "obs" else "dmm1" if kind == "info" else "event"
        new = []
        for _ in range(count):
            self.count += 1
            new.append(Record(self.count, kind, stream, "e", self.count, 0, b"%d %s" % (self.count, kind.encode())))
        self.disk.rows += new
        taken = self.feed.position if self.feed is not None and self.feed.is_open else self.tail.end
        self.tail.extend(new, taken)
        if self.feed is not None:
            self.feed.arrived.set()
        await asyncio.sleep(0)

    # ------------------------------------------------------------ what may happen

    @rule(count=st.integers(1, 250), kind=st.sampled_from(["obs", "obs", "obs", "event", "info"]))
    def commit(self, count: int, kind: str) -> None:
        self.play(self._settled(self._commit(count if kind == "obs" else 1, kind)))

    async def _settled(self, what: Any = None) -> None:
        if what is not None:
            await what
        await self.clock.settle()

    def _in_loop(self, call: Any) -> None:
        async def called() -> None:
            call()
            await self.clock.settle()

        self.play(called())

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 12.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.play(self.clock.advance(seconds))

    @rule(name=st.sampled_from(["dmm1", "dmm2"]), word=st.sampled_from([b"ok", b"lost"]), gone=st.booleans())
    def something_is_retained(self, name: str, word: bytes, gone: bool) -> None:
        topic = TOPICS.instrument_status(name)
        self._in_loop(lambda: self.sink.forget(topic) if gone else self.sink.retain(topic, word))

    @rule()
    def the_broker_holds_its_acknowledgements_back(self) -> None:
        self.broker.at_once = False

    @precondition(lambda self: self.broker.open is not None)
    @rule(most=st.integers(1, 20))
    def some_acknowledgements_come(self, most: int) -> None:
        self._in_loop(lambda: self.broker.open and self.broker.open.answer(most))

    @rule()
    def the_broker_acknowledges_again(self) -> None:
        self.broker.at_once = True
        self._in_loop(lambda: self.broker.open and self.broker.open.answer(1000))

    @rule(
        ahead=st.integers(0, 60),
        codes=st.lists(st.sampled_from([0x97, 0x97, 0x91, 0x87, 0x10]), min_size=1, max_size=3),
    )
    def it_will_refuse(self, ahead: int, codes: list[int]) -> None:
        """Of the next rows, or of one that is under way."""
        number = max(self.count - 20, 0) + ahead
        self.broker.codes[b"%d obs" % number] = codes

    @precondition(lambda self: self.broker.open is not None)
    @rule(code=st.sampled_from([None, None, 0x8B, 0x8E]), taken=st.booleans())
    def the_connection_is_lost(self, code: int | None, taken: bool) -> None:
        def cut() -> None:
            if self.broker.open is not None:
                if taken:
                    self.broker.open.take_without_a_word()
                self.broker.open.end(ConnectionLost("connection closed", code))

        self._in_loop(cut)

    @rule()
    def the_broker_is_gone(self) -> None:
        self.broker.lets_in = False
        self._in_loop(lambda: self.broker.open and self.broker.open.end(ConnectionLost("connection closed")))

    @rule()
    def the_broker_is_back(self) -> None:
        self.broker.lets_in = True

    @rule()
    def the_disk_cannot_be_read(self) -> None:
        self.disk.readable = False

    @rule()
    def the_disk_can_be_read(self) -> None:
        self.disk.readable = True

    @rule(hard=st.booleans())
    def the_station_starts_anew(self, hard: bool) -> None:
        async def ended() -> None:
            if not hard:
                stopping = asyncio.create_task(self.sink.stop(self.clock.mono_ns + 5 * 10**9))
                await self.clock.advance(5.1)
                await stopping
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.disk.work()

        self.play(ended())
        self.start()

    # ------------------------------------------------------------ what must hold

    def teardown(self) -> None:
        if not hasattr(self, "task"):
            self.runner.close()
            return
        try:
            self.broker.lets_in = self.broker.at_once = self.disk.readable = True
            self._in_loop(lambda: self.broker.open and self.broker.open.answer(1000))
            self.play(self.clock.advance_until(self._drained, IN_THE_END_S))
            self._look()
        finally:

            async def end() -> None:
                self.task.cancel()
                await asyncio.gather(self.task, return_exceptions=True)

            self.play(end())
            self.runner.close()

    def _drained(self) -> bool:
        self.disk.work()
        assert not self.task.done(), self.task
        figures = self.sink.health()
        return not self.disk.done.missing(0, self.disk.head) and figures.backlog == 0 and figures.in_flight == 0

    def _look(self) -> None:
        """What is done with was taken or set aside, and an event tells of the first of each kind that was."""
        told = {(event["topic"], event["code"]) for event in self.events if event["event"] == "refused"}
        for record in self.disk.rows:
            if not self.broker.taken[record.payload]:
                topics = TOPICS.of(record, late=False), TOPICS.of(record, late=True)
                assert {(topic, code) for topic in topics for code in (0x87, None)} & told, record


TestDelivery = DeliveryMachine.TestCase
# Shrinking takes minutes, for hours of virtual time pass in each example; the steps are few as they are.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
TestDelivery.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, phases=PHASES)

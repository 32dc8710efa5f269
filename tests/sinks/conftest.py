"""A journal in memory that obeys Opener and Feed, a subscriber that keeps what it heard, and brokers of two makes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from daq.clock import SystemClock
from daq.core.message import StationName, Topics
from daq.core.record import Record
from daq.sinks.mqtt import MqttSink
from daq.sinks.publisher import MqttSettings
from tests.brokers import Iotcore

PATIENCE_S = 60.0
"""Everything a test waits for comes within it, or never."""

TOPICS = Topics(StationName("lab", "bench1"))


class MemoryJournal:
    """Committed rows, and those that a sink is done with."""

    def __init__(self) -> None:
        self.rows: list[Record] = []
        self.done: set[int] = set()
        self.opened = 0
        self.changed = asyncio.Condition()

    async def commit(self, *payloads: bytes, stream: str = "dmm1/vref", kind: str = "obs") -> list[Record]:
        new = []
        for payload in payloads:
            seq = sum(row.stream == stream for row in self.rows) if not new else new[-1].seq + 1
            new.append(Record(len(self.rows) + len(new), kind, stream, "e1", seq, 0, payload))
        self.rows += new
        await self._tell()
        return new

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(true)

    async def all_done(self) -> None:
        await self.until(lambda: len(self.done) == len(self.rows))

    async def __call__(self, sink: str) -> MemoryFeed:
        assert sink == "mqtt"
        self.opened += 1
        await self._tell()
        return MemoryFeed(self, len(self.rows))


@dataclass
class MemoryFeed:
    journal: MemoryJournal
    start: int
    next: int = field(init=False)

    def __post_init__(self) -> None:
        self.next = self.start

    async def live(self, limit: int) -> list[Record]:
        async with self.journal.changed:
            await self.journal.changed.wait_for(lambda: len(self.journal.rows) > self.next)
        found = self.journal.rows[self.next : self.next + limit]
        self.next += len(found)
        return found

    async def backlog(self, after_row: int, limit: int, infos: bool = False) -> list[Record]:
        before = [row for row in self.journal.rows[: self.start] if not infos or row.kind == "info"]
        return [row for row in before if row.row > after_row and row.row not in self.journal.done][:limit]

    async def backlog_size(self) -> int:
        return sum(row.row not in self.journal.done for row in self.journal.rows[: self.start])

    def close(self) -> None:
        self.next = len(self.journal.rows)

    async def done(self, rows: Sequence[int]) -> None:
        assert all(0 <= row < len(self.journal.rows) for row in rows)
        self.journal.done.update(rows)
        await self.journal._tell()


@dataclass(frozen=True)
class Heard:
    topic: str
    payload: bytes
    retain: bool


class Listener:
    """A subscriber to everything."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.changed = asyncio.Condition()

    async def listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            self.heard.append(Heard(str(message.topic), message.payload, bool(message.retain)))
            async with self.changed:
                self.changed.notify_all()

    def on(self, topic: str) -> list[bytes]:
        return [heard.payload for heard in self.heard if heard.topic == topic]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(true)


@contextlib.asynccontextmanager
async def listening(port: int, version: str = "5", topic: str = "#", **options: object) -> AsyncIterator[Listener]:
    listener = Listener()
    protocol = aiomqtt.ProtocolVersion.V5 if version == "5" else aiomqtt.ProtocolVersion.V311
    named: dict[str, object] = {"identifier": "listener", **options}
    async with aiomqtt.Client("127.0.0.1", port, protocol=protocol, **named) as client:
        await client.subscribe(topic, 1)
        task = asyncio.create_task(listener.listen(client))
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@dataclass
class Station:
    """What a sink is given, and the events it announced."""

    journal: MemoryJournal = field(default_factory=MemoryJournal)
    events: list[dict[str, object]] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def announce(self, event: str, **details: object) -> None:
        self.events.append({"event": event, **details})
        self.told.set()

    async def announced(self) -> dict[str, object]:
        async with asyncio.timeout(PATIENCE_S):
            await self.told.wait()
        return self.events[0]

    def sink(self, port: int, **settings: object) -> MqttSink:
        chosen = {"host": "127.0.0.1", "retry_first_s": 0.05, "retry_most_s": 0.2} | settings
        return MqttSink(
            MqttSettings(port=port, **chosen),
            topics=TOPICS,
            boot="b00t",
            open_feed=self.journal,
            announce=self.announce,
            clock=SystemClock(),
        )


@contextlib.asynccontextmanager
async def running(sink: MqttSink) -> AsyncIterator[asyncio.Task[None]]:
    """Run a sink, and stop it in good order; a test that cancels it itself has left hard."""
    task = asyncio.create_task(sink.run())
    try:
        yield task
        if not task.done():
            assert await sink.stop(SystemClock().now().mono_ns + int(PATIENCE_S * 1e9))
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(true: Callable[[], object]) -> None:
    """Wait for what tells nobody that it has changed."""
    clock = SystemClock()
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await clock.wait(clock.now().mono_ns + 10_000_000)


async def killed(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def make_iotcore(tmp_path: Path) -> Iterator[Callable[..., Iotcore]]:
    brokers: list[Iotcore] = []

    def make(**options: int) -> Iotcore:
        brokers.append(Iotcore(tmp_path, **options))
        brokers[-1].start()
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.mosquitto), "iotcore"])
def any_broker(request: pytest.FixtureRequest) -> object:
    """Either make, speaking MQTT 5."""
    if request.param == "mosquitto":
        return request.getfixturevalue("make_broker")("max_queued_messages 0")
    return request.getfixturevalue("make_iotcore")()


@pytest.fixture
def station() -> Station:
    return Station()


@pytest.fixture
def topics() -> Topics:
    return TOPICS


@pytest.fixture(name="listening")
def listening_fixture() -> Callable[..., contextlib.AbstractAsyncContextManager[Listener]]:
    return listening


@pytest.fixture(name="running")
def running_fixture() -> Callable[[MqttSink], contextlib.AbstractAsyncContextManager[asyncio.Task[None]]]:
    return running


@pytest.fixture(name="killed")
def killed_fixture() -> Callable[..., object]:
    return killed


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., object]:
    return eventually

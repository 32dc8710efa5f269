"""When the sink tries again: soon after an outage, in minutes where another client has its name, never in step."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from daq.core.observation import NS
from daq.sinks.publisher import ConnectionLost, MqttSettings
from tests.manual_clock import ManualClock
from tests.sinks.conftest import TOPICS, MemoryJournal, Station
from tests.sinks.paper_broker import Broker, TheSink

SETTINGS = MqttSettings("127.0.0.1")


@contextlib.asynccontextmanager
async def sinks(broker, clock, count=1, journal=None):
    """Run sinks that all have one name."""
    stations = [Station(journal or MemoryJournal()) for _ in range(count)]
    made, tasks = [], []
    for station in stations:
        sink = TheSink(
            SETTINGS, topics=TOPICS, boot="b", open_feed=station.journal, announce=station.announce, clock=clock
        )
        sink.broker = broker
        made.append((sink, station))
        tasks.append(asyncio.create_task(sink.run()))
    await clock.settle()
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("away_s", [0.5, 7, 600, 86_400])
async def test_however_long_the_broker_was_away_it_is_back_within_the_longest_pause(away_s):
    clock, broker = ManualClock(), Broker()
    async with sinks(broker, clock) as ((sink, _),):
        broker.lets_in = False
        broker.open.end(ConnectionLost("connection closed"))
        await clock.advance(away_s)
        figures = sink.health()
        assert not figures.connected
        assert bool(figures.tries) is (away_s > SETTINGS.retry_first_s)
        assert 0 < figures.next_try_ns - clock.now().utc_ns <= SETTINGS.retry_most_s * NS
        broker.lets_in = True
        await clock.advance(SETTINGS.retry_most_s)
        figures = sink.health()
        assert (figures.connected, figures.tries, figures.next_try_ns) == (True, 0, None)


async def test_stations_that_lost_a_broker_together_do_not_come_back_together():
    clock, broker = ManualClock(), Broker()
    broker.lets_in = False
    async with sinks(broker, clock, count=8) as made:
        await clock.advance(60)
        assert len({sink.health().next_try_ns for sink, _ in made}) > 1


@pytest.mark.parametrize(("code", "most", "what"), [(0x8E, 40, "taken_over"), (None, 480, "dropped")])
async def test_two_daemons_of_one_name_do_not_fight_each_second_and_tell_each_time(code, most, what):
    """In an hour; unhindered it would be one connection every few seconds. Each brings an event of its own."""
    clock, broker = ManualClock(), Broker()
    broker.says_who_takes_over = code
    async with sinks(broker, clock, count=2) as made:
        await clock.advance(3600)
        assert broker.connections <= most
        told = [event for _, station in made for event in station.events]
        assert {event["what"] for event in told} == {what}
        assert len(told) >= 10
        assert any(sink.health().connected for sink, _ in made)


@pytest.mark.parametrize("code", [0x8E, None])
async def test_whose_name_was_taken_comes_back_by_itself_when_the_other_has_gone(code):
    clock, broker = ManualClock(), Broker()
    broker.says_who_takes_over = code
    async with sinks(broker, clock) as ((sink, station),):
        async with sinks(broker, clock):
            await clock.advance_until(lambda: station.events, 7200)
        await station.journal.commit(b"kept meanwhile")
        await clock.advance_until(lambda: station.journal.done == {0}, 400)
        assert sink.health().connected
    assert broker.taken[b"kept meanwhile"] == 1


async def test_one_take_over_in_hours_is_no_fight():
    clock, broker = ManualClock(), Broker()
    async with sinks(broker, clock) as ((sink, station),):
        for _ in range(10):
            await clock.advance(3600)
            broker.open.end(ConnectionLost("taken over", 0x8E))
            await clock.advance(SETTINGS.retry_most_s)
            assert sink.health().connected
    assert station.events == []


async def test_a_message_is_not_blamed_for_what_the_broker_says_was_something_else():
    """Alone under way ten times when the connection went, each time because the broker was shut down."""
    clock, broker, journal = ManualClock(), Broker(), MemoryJournal()
    async with sinks(broker, clock, journal=journal) as ((sink, station),):
        broker.at_once = False
        await journal.commit(b"innocent")
        for _ in range(10):
            await clock.settle()
            while broker.open.under_way[0][0] != b"innocent":
                broker.open.answer(1)
                await clock.settle()
            assert len(broker.open.under_way) == 1
            broker.open.end(ConnectionLost("the broker disconnects: Server shutting down", 0x8B))
            await clock.advance_until(lambda: broker.open is not None, 60)
        broker.at_once = True
        broker.open.answer(9)
        await clock.advance_until(lambda: journal.done == {0}, 60)
        assert (sink.health().refused, station.events) == (0, [])
    assert broker.taken[b"innocent"] == 1


async def test_what_is_kept_for_another_broker_is_not_offered_to_this_one_again_and_again():
    """An event that is too large for this broker stays in the backlog; the backlog is looked at again all the time."""
    clock, broker, journal = ManualClock(), Broker(), MemoryJournal()
    await journal.commit(b"large", stream="event", kind="event")
    broker.codes[b"large"] = [0x95] * 100
    async with sinks(broker, clock, journal=journal) as ((sink, _),):
        await clock.advance(3600)
        figures = sink.health()
        assert (figures.refused, figures.backlog, journal.done) == (1, 0, set())


class HeldJournal(MemoryJournal):
    """Its disk can be held: nobody is let in to read."""

    def __init__(self) -> None:
        super().__init__()
        self.lets_in = asyncio.Event()
        self.lets_in.set()

    async def __call__(self, sink):
        await self.lets_in.wait()
        return await super().__call__(sink)


async def test_a_station_whose_disk_hangs_is_not_offline_for_those_who_read_what_the_broker_retains():
    """It was cut off and is back: what the broker holds is the will of the connection before."""
    clock, broker, journal = ManualClock(), Broker(), HeldJournal()
    async with sinks(broker, clock, journal=journal) as ((sink, _),):
        journal.lets_in.clear()
        before = list(broker.taken)
        broker.open.end(ConnectionLost("connection closed"))
        await journal.commit(b"kept meanwhile")
        await clock.advance_until(lambda: broker.open is not None, 60)
        await clock.settle()
        (said,) = [payload for payload in broker.taken if payload not in before]
        assert json.loads(said)["status"] == "online"
        sink.retain("lab/bench1/dmm1/status", b"lost")
        await clock.advance(2)
        assert broker.taken[b"lost"] == 1
        assert sink.health().connected
        journal.lets_in.set()
        await clock.advance_until(lambda: journal.done == {0}, 60)
    assert broker.taken[b"kept meanwhile"] == 1


async def test_a_broker_that_is_lost_again_while_the_disk_hangs_is_noticed():
    clock, broker, journal = ManualClock(), Broker(), HeldJournal()
    journal.lets_in.clear()
    async with sinks(broker, clock, journal=journal) as ((sink, _),):
        assert sink.health().connected
        broker.lets_in = False
        broker.open.end(ConnectionLost("connection closed"))
        await clock.settle()
        assert not sink.health().connected


async def test_a_broker_without_room_is_told_of_once_it_lasts_and_status_says_so():
    clock, broker, journal = ManualClock(), Broker(), MemoryJournal()
    broker.codes[b"one too many"] = [0x97] * 16
    async with sinks(broker, clock, journal=journal) as ((sink, station),):
        await journal.commit(b"one too many")
        await clock.advance(20)
        assert (station.events, sink.health().connected) == ([], True)
        assert "no room" in sink.health().why
        await clock.advance(60)
        assert [(event["event"], event["what"]) for event in station.events] == [("mqtt", "quota")]
        await clock.advance_until(lambda: journal.done == {0}, 600)
        assert (sink.health().why, len(station.events)) == (None, 1)

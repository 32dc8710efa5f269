"""What real brokers seldom do and may: small windows, quotas, QoS 0 alone, no retained messages.

The broker is a few lines on a real socket that speak MQTT 5 as the standard writes it (OASIS, 5.0, chapter 3).
"""

import asyncio
import contextlib

import pytest

CONNECT, CONNACK, PUBLISH, PUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 12, 14
RECEIVE_MAXIMUM, MAXIMUM_QOS, RETAIN_AVAILABLE, MAXIMUM_PACKET = 0x21, 0x24, 0x25, 0x27


class ScriptedBroker:
    """Answers every PUBLISH with the code that `answer(topic, payload)` gives, or holds it back while that is None."""

    def __init__(self, answer, properties=b"", connack=0):
        self.answer = answer
        self.properties = properties
        self.connack = connack
        self.published = []
        self.held = []
        self.changed = asyncio.Condition()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def until(self, true):
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(true)

    async def _serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, flags, packet = await self._packet(reader)
                if kind == CONNECT:
                    body = bytes([0, self.connack, len(self.properties)]) + self.properties
                    writer.write(bytes([CONNACK << 4, len(body)]) + body)
                elif kind == PUBLISH:
                    await self._take(writer, flags, packet)
                elif kind == PINGREQ:
                    writer.write(b"\xd0\x00")
                elif kind == DISCONNECT:
                    break
        writer.close()

    async def _packet(self, reader):
        first = (await reader.readexactly(1))[0]
        length, shift = 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first >> 4, first & 15, await reader.readexactly(length)

    async def _take(self, writer, flags, packet):
        size = int.from_bytes(packet[:2], "big")
        topic, rest = packet[2 : 2 + size].decode(), packet[2 + size :]
        qos = flags >> 1 & 3
        number, rest = (rest[:2], rest[2:]) if qos else (b"", rest)
        payload = rest[1 + rest[0] :]
        self.published.append((topic, payload, qos, flags & 1))
        code = self.answer(topic, payload)
        if qos and code is None:
            self.held.append((writer, number))
        elif qos:
            writer.write(bytes([PUBACK << 4, 3]) + number + bytes([code]))
        async with self.changed:
            self.changed.notify_all()

    def release(self):
        held, self.held = self.held, []
        for writer, number in held:
            writer.write(bytes([PUBACK << 4, 3]) + number + b"\x00")

    def acknowledge_together(self):
        """As `release`, but short, and in one write: as brokers do whose subscribers heard it all."""
        held, self.held = self.held, []
        if held:
            held[0][0].write(b"".join(bytes([PUBACK << 4, 2]) + number for _, number in held))

    def on(self, topic):
        return [payload for where, payload, *_ in self.published if where == topic]


def bodies(count):
    return [b"%d" % number for number in range(count)]


async def test_no_more_is_in_flight_than_the_broker_allows(station, running, topics):
    obs = topics.observation("dmm1", "vref")
    broker = ScriptedBroker(lambda topic, _: None if topic == obs else 0, bytes([RECEIVE_MAXIMUM, 0, 3]))
    async with broker, running(station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(30))
        for expected in range(3, 31, 3):
            await broker.until(lambda expected=expected: len(broker.on(obs)) == expected)
            assert len(broker.held) == 3
            broker.release()
        assert broker.on(obs) == bodies(30)
        await station.journal.all_done()


async def test_a_quota_is_waited_for_and_nothing_is_lost(station, running, topics, monkeypatch):
    monkeypatch.setattr("daq.sinks.delivery.QUOTA_FIRST_NS", 1_000_000)
    obs, refusals = topics.observation("dmm1", "vref"), 7

    def answer(topic, payload):
        nonlocal refusals
        if topic == obs and payload in {b"3", b"4"} and refusals:
            refusals -= 1
            return 0x97
        return 0x10  # no matching subscribers: taken all the same

    broker = ScriptedBroker(answer)
    async with broker, running(sink := station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(10))
        await station.journal.all_done()
    assert refusals == 0
    assert set(broker.on(obs)) == set(bodies(10))
    assert len(broker.on(obs)) == 17
    assert (station.events, sink.health().refused, sink.health().retries) == ([], 0, 7)


async def test_a_broker_that_acknowledges_nothing_is_spoken_to_at_qos_0(station, running, topics, caplog):
    broker = ScriptedBroker(lambda *_: 0, bytes([MAXIMUM_QOS, 0]))
    async with broker, running(station.sink(broker.port)):
        await station.journal.commit(*bodies(10))
        await station.journal.all_done()
        await broker.until(lambda: len(broker.on(topics.late("dmm1", "vref"))) == 10)
    assert {qos for _, _, qos, _ in broker.published} == {0}
    assert "acknowledges nothing" in caplog.text


async def test_a_broker_that_retains_nothing_is_not_asked_to(station, running, topics, caplog):
    broker = ScriptedBroker(lambda *_: 0, bytes([RETAIN_AVAILABLE, 0]))
    async with broker, running(station.sink(broker.port)):
        await broker.until(lambda: broker.on(topics.status()))
    assert {retain for *_, retain in broker.published} == {0}
    assert "retains nothing" in caplog.text


async def test_the_packet_limit_is_met_to_the_byte(station, running, topics):
    obs = topics.observation("dmm1", "vref")
    limit = 500
    # fixed header 1 + length 2 + topic's length 2 + topic + identifier 2 + properties' length 1 + payload
    largest = limit - (1 + 2 + 2 + len(obs) + 2 + 1)
    broker = ScriptedBroker(lambda *_: 0, bytes([MAXIMUM_PACKET, 0, 0, 1, 244]))
    async with broker, running(station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(b"x" * largest, b"x" * (largest + 1))
        await station.journal.all_done()
    assert broker.on(obs) == [b"x" * largest]
    assert [(event["why"], event["seq"]) for event in station.events] == [("packet too large", 1)]


async def test_an_event_too_large_for_this_broker_is_kept_for_the_next_connection(station, running, topics, eventually):
    """It may be the event that tells what else this broker did not take."""
    async with ScriptedBroker(lambda *_: 0, bytes([MAXIMUM_PACKET, 0, 0, 0, 100])) as small:
        async with running(sink := station.sink(small.port)):
            await station.journal.until(lambda: station.journal.opened)
            await station.journal.commit(b"x" * 200, stream="event", kind="event")
            await eventually(lambda: sink.health().refused)
        assert small.on(topics.event()) == []
    async with ScriptedBroker(lambda *_: 0) as large, running(station.sink(large.port)):
        await large.until(lambda: large.on(topics.event()))
        await station.journal.all_done()


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x90, 0x99])
async def test_whatever_else_it_refuses_is_set_aside(station, running, topics, code):
    obs = topics.observation("dmm1", "vref")
    broker = ScriptedBroker(lambda topic, payload: code if topic == obs and payload == b"1" else 0)
    async with broker, running(station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(3))
        await station.journal.all_done()
    assert [event["code"] for event in station.events] == [code]


class Touchy(ScriptedBroker):
    """Hangs up behind each refusal, as mosquitto 2.0.11 does with `max_queued_messages 0`."""

    async def _take(self, writer, flags, packet):
        await super()._take(writer, flags, packet)
        if self.answer(self.published[-1][0], self.published[-1][1]) >= 0x80:
            raise ConnectionError("hung up on purpose")


async def test_retained_state_that_makes_the_broker_hang_up_does_not_end_every_connection(station, running, topics):
    status = topics.instrument_status("dmm1")
    broker = Touchy(lambda topic, _: 0x87 if topic == status else 0)
    async with broker, running(sink := station.sink(broker.port)):
        sink.retain(status, b"ok")
        await broker.until(lambda: broker.on(status))
        await station.journal.commit(*bodies(3))
        await station.journal.all_done()
        sink.retain(status, b"lost")
        await station.journal.commit(*bodies(3))
        await station.journal.all_done()
    assert broker.on(status) == [b"ok"]
    assert [(event["topic"], event["code"]) for event in station.events] == [(status, 0x87)]


async def test_a_broker_that_does_not_let_us_in_is_asked_again(station, running, topics, eventually):
    broker = ScriptedBroker(lambda *_: 0, connack=0x87)
    async with broker, running(sink := station.sink(broker.port)):
        await station.journal.commit(*bodies(3))
        await eventually(lambda: sink.health().why is not None)
        assert "Not authorized" in sink.health().why
        broker.connack = 0
        await station.journal.all_done()


async def test_late_ones_stand_behind_live_ones(station, running, topics):
    """With a window of four, the backlog holds at most two places, and none that a live record waits for."""
    late, obs = topics.late("dmm1", "vref"), topics.observation("dmm1", "vref")
    await station.journal.commit(*bodies(50))
    broker = ScriptedBroker(lambda topic, _: None if topic in {late, obs} else 0, bytes([RECEIVE_MAXIMUM, 0, 4]))
    async with broker, running(station.sink(broker.port, late_per_s=100_000)):
        await broker.until(lambda: len(broker.on(late)) == 2)
        await station.journal.commit(*bodies(20))
        await broker.until(lambda: len(broker.on(obs)) == 2)
        for expected in (6, 10, 14, 18):
            assert len(broker.held) == 4
            broker.release()
            await broker.until(lambda expected=expected: len(broker.on(obs)) == expected)
            assert len(broker.on(late)) == 2
        broker.answer = lambda *_: 0
        broker.release()
        await station.journal.all_done()
    assert broker.on(late) == bodies(50)
    assert broker.on(obs) == bodies(20)


async def test_whatever_a_record_is_it_goes_in_its_turn(station, running, topics):
    """Observations go many at once; an info that comes between them comes before those that cite it."""
    broker = ScriptedBroker(lambda *_: 0, bytes([MAXIMUM_PACKET, 0, 0, 2, 0]))
    async with broker, running(sink := station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(b"first")
        await station.journal.all_done()
        rows = [("dmm1/vref", "obs"), ("dmm1", "info"), ("dmm1/vref", "obs"), ("dmm2/v", "obs"), ("event", "event")] * 5
        commits = [
            station.journal.commit(b"%d" % at, stream=stream, kind=kind) for at, (stream, kind) in enumerate(rows)
        ]
        await asyncio.gather(*commits)  # in one turn of the loop: they are taken together
        await station.journal.commit(b"x" * 600, b"last")
        await station.journal.all_done()
        await broker.until(lambda: broker.published[-1][1] == b"last")
        figures = sink.health()
    heard = [(topic, payload) for topic, payload, *_ in broker.published]
    expected = [(topics.of(row, late=False), row.payload) for row in station.journal.rows if len(row.payload) < 600]
    assert [each for each in heard if each in expected] == expected
    assert {(retain, topic) for topic, payload, _, retain in broker.published if payload.isdigit()} == {
        (topic == topics.instrument_info("dmm1"), topic) for topic, payload in expected if payload.isdigit()
    }
    assert (figures.refused, figures.in_flight, figures.backlog) == (1, 0, 0)
    assert figures.published == figures.acknowledged == len(expected) + 1  # and that we are online


async def test_acknowledgements_that_come_together_make_room_for_as_many(station, running, topics):
    """Twenty are under way, and never more, whether the broker answers one or all."""
    obs = topics.observation("dmm1", "vref")
    broker = ScriptedBroker(lambda topic, payload: None if topic == obs and payload != b"first" else 0)
    async with broker, running(sink := station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(b"first")
        await station.journal.all_done()
        await station.journal.commit(*bodies(110))
        seen = 1
        for answered in [1, 7, 20, 3, 20, 1, 19, 20]:
            await broker.until(lambda seen=seen: len(broker.on(obs)) == seen + 20)
            assert (len(broker.held), sink.health().in_flight) == (20, 20)
            held, broker.held = broker.held[answered:], broker.held[:answered]
            broker.acknowledge_together()
            broker.held = held
            seen += answered
        broker.answer = lambda *_: 0
        await broker.until(lambda: len(broker.on(obs)) == 111)
        broker.acknowledge_together()
        await station.journal.all_done()
    assert broker.on(obs) == [b"first", *bodies(110)]
    assert sink.health().refused == 0

"""The MQTT sink against brokers that really run: mosquitto where there is one, and iotcore everywhere."""

import asyncio
import base64
import contextlib
import gc
import hashlib
import json
import logging
import socket
import subprocess
import threading

import pytest

from daq.core.message import station_status_payload
from daq.sinks.connection import Connection


def body(number, **more):
    return json.dumps({"seq": number, **more}).encode()


def bodies(count):
    return [body(number) for number in range(count)]


def status(listener, topics):
    return [json.loads(payload)["status"] for payload in listener.on(topics.status())]


# As it should go


async def test_live_records_arrive_and_are_done_with(any_broker, station, listening, running, topics):
    async with listening(any_broker.port) as listener, running(station.sink(any_broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        sent = bodies(500)
        await station.journal.commit(*sent)
        await station.journal.all_done()
        obs = topics.observation("dmm1", "vref")
        await listener.until(lambda: len(listener.on(obs)) == 500)
        assert listener.on(obs) == sent


async def test_what_was_committed_before_arrives_late(any_broker, station, listening, running, topics):
    old = await station.journal.commit(*bodies(300))
    async with listening(any_broker.port) as listener, running(station.sink(any_broker.port, late_per_s=5000)):
        await station.journal.all_done()
        late = topics.late("dmm1", "vref")
        await listener.until(lambda: len(listener.on(late)) == 300)
        assert listener.on(late) == [record.payload for record in old]
        assert listener.on(topics.observation("dmm1", "vref")) == []


async def test_live_records_do_not_wait_for_the_backlog(any_broker, station, listening, running, topics):
    await station.journal.commit(*bodies(2000))
    async with listening(any_broker.port) as listener, running(station.sink(any_broker.port, late_per_s=200)):
        late, obs = topics.late("dmm1", "vref"), topics.observation("dmm1", "vref")
        await listener.until(lambda: listener.on(late))
        await station.journal.commit(*bodies(100))
        await listener.until(lambda: len(listener.on(obs)) == 100)
        assert len(listener.on(late)) < 2000


async def test_events_and_infos_have_their_topics(any_broker, station, listening, running, topics):
    async with listening(any_broker.port) as listener, running(station.sink(any_broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(b"gap", stream="event", kind="event")
        await station.journal.commit(b"info", stream="dmm1", kind="info")
        await listener.until(lambda: listener.on(topics.event()) and listener.on(topics.instrument_info("dmm1")))


async def test_an_info_of_before_the_connection_comes_before_what_cites_it(
    any_broker, station, listening, running, topics
):
    await station.journal.commit(*bodies(50))
    await station.journal.commit(b"info", stream="dmm1", kind="info")
    async with listening(any_broker.port) as listener, running(station.sink(any_broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(b"cites it")
        await station.journal.all_done()
        await listener.until(lambda: len(listener.on(topics.late("dmm1", "vref"))) == 50)
    order = [each.payload for each in listener.heard]
    assert order.index(b"info") < order.index(b"cites it")
    assert order.count(b"info") == 1


async def test_exchanges_can_stay_in_the_journal(any_broker, station, listening, running, topics):
    async with listening(any_broker.port) as listener, running(station.sink(any_broker.port, exchanges=False)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(b'{"seq":1,"exchanges":[{"ask":"READ?"}]}')
        await listener.until(lambda: listener.on(topics.observation("dmm1", "vref")))
        assert listener.on(topics.observation("dmm1", "vref")) == [b'{"seq":1}']


async def test_figures_say_how_it_goes(any_broker, station, running):
    sink = station.sink(any_broker.port)
    assert sink.health().connected is False
    async with running(sink):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(50))
        await station.journal.all_done()
        figures = sink.health()
        assert (figures.connected, figures.protocol, figures.window) == (True, "5", 20)
        assert figures.acknowledged >= 50
        assert (figures.in_flight, figures.refused, figures.retries, figures.backlog) == (0, 0, 0, 0)
    assert sink.health().connected is False


# Coming and going


async def test_a_clean_stop_says_offline(any_broker, station, listening, running, topics):
    async with listening(any_broker.port) as listener:
        async with running(station.sink(any_broker.port)):
            await listener.until(lambda: status(listener, topics) == ["online"])
            await station.journal.commit(*bodies(50))
        assert len(station.journal.done) == 50
        await listener.until(lambda: len(status(listener, topics)) == 2)
        last = json.loads(listener.on(topics.status())[-1])
        assert (last["status"], last["why"]) == ("offline", "stopped")
    async with listening(any_broker.port) as late_comer:
        await late_comer.until(lambda: status(late_comer, topics) == ["offline"])


async def test_a_killed_daemon_is_reported_by_its_will(any_broker, station, listening, running, killed, topics):
    async with listening(any_broker.port) as listener, running(station.sink(any_broker.port)) as task:
        await listener.until(lambda: status(listener, topics) == ["online"])
        await killed(task)
        await listener.until(lambda: len(status(listener, topics)) == 2)
        assert listener.on(topics.status())[-1] == station_status_payload("offline", "b00t", None, "connection lost")


async def test_a_broker_that_goes_and_comes_back_misses_nothing(any_broker, station, listening, running, topics):
    """Every seq arrives at least once; what arrives twice is the very same message."""
    sink = station.sink(any_broker.port)
    heard = []
    async with running(sink):
        for part in range(3):
            async with listening(any_broker.port, clean_session=None) as listener:
                await station.journal.commit(*(body(number) for number in range(part * 200, part * 200 + 200)))
                await listener.until(lambda listener=listener: len(listener.heard) > 100)
                heard.append(listener)
                any_broker.stop()
            await station.journal.commit(*(body(number) for number in range(1000 + part * 50, 1050 + part * 50)))
            any_broker.start()
        async with listening(any_broker.port) as listener:
            heard.append(listener)
            await station.journal.all_done()
            await listener.until(lambda: status(listener, topics)[-1:] == ["online"])
    assert sink.health().acknowledged >= len(station.journal.rows)
    sent = {row.payload for row in station.journal.rows}
    names = {topics.observation("dmm1", "vref"), topics.late("dmm1", "vref")}
    assert {each.payload for one in heard for each in one.heard if each.topic in names} <= sent


async def test_every_record_is_heard_by_a_subscriber_that_stays(station, listening, running, topics, any_broker):
    """The connection of the daemon alone is cut, so that the subscriber can tell what it missed."""
    async with Cutter(any_broker.port) as cutter, listening(any_broker.port) as listener:
        async with running(station.sink(cutter.port)):
            for part in range(4):
                await station.journal.until(lambda part=part: station.journal.opened > part)
                await station.journal.commit(*(body(number) for number in range(part * 300, part * 300 + 300)))
                await station.journal.until(lambda part=part: len(station.journal.done) > part * 300 + 20)
                if part < 3:
                    await cutter.cut()
            await station.journal.all_done()
        obs, late = topics.observation("dmm1", "vref"), topics.late("dmm1", "vref")
        sent = {row.payload for row in station.journal.rows}
        await listener.until(lambda: {*listener.on(obs), *listener.on(late)} == sent)


async def test_a_broker_that_stops_answering_is_left(any_broker, station, running, eventually, caplog):
    caplog.set_level(logging.INFO)
    sink = station.sink(any_broker.port, ack_timeout_s=0.5)
    async with running(sink):
        await station.journal.until(lambda: station.journal.opened == 1)
        any_broker.freeze()
        await station.journal.commit(*bodies(100))
        await eventually(lambda: not sink.health().connected)
        assert "no acknowledgement for 0.5 s" in sink.health().why
        any_broker.thaw()
        await station.journal.all_done()
    assert station.events == []


async def test_an_absent_broker_is_said_once_and_once_that_it_is_back(
    any_broker, station, running, eventually, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "daq.sinks.mqtt")
    any_broker.stop()
    sink = station.sink(any_broker.port, retry_first_s=0.01, retry_most_s=0.01)
    attempts, away = [], sink._away
    monkeypatch.setattr(sink, "_away", lambda problem: (attempts.append(problem), away(problem)))
    async with running(sink):
        await station.journal.commit(*bodies(3))
        await eventually(lambda: len(attempts) >= 5)
        any_broker.start()
        await station.journal.all_done()
    said = [record.getMessage() for record in caplog.records if record.name == "daq.sinks.mqtt"]
    assert [line for line in said if "connected after" in line]
    assert len([line for line in said if "ConnectionRefusedError" in line]) == 1


async def test_a_stop_while_away_is_at_once(station, running, free_port):
    async with running(station.sink(free_port(), retry_first_s=1000.0, retry_most_s=1000.0)):
        await station.journal.commit(*bodies(3))


async def test_what_attempts_leave_does_not_gather_in_memory(station, running, eventually, free_port):
    def kept():
        return sum(isinstance(each, Connection) for each in gc.get_objects())

    gc.collect()
    before = kept()
    gc.disable()  # pytest makes so many objects that Python itself would look: a quiet station makes few
    try:
        async with running(sink := station.sink(free_port(), retry_first_s=0.01, retry_most_s=0.01)):
            await eventually(lambda: sink.health().tries >= 20)
            assert kept() - before <= 2
    finally:
        gc.enable()


async def test_a_resolver_that_hangs_holds_up_nobody(station, running, eventually, monkeypatch):
    asked, released = threading.Event(), threading.Event()

    def hang(*_, **__):
        asked.set()
        assert released.wait(60)
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        async with running(station.sink(1883, host="broker.invalid")):
            await eventually(asked.is_set)
    finally:
        released.set()


# Retained state


async def test_retained_state_is_told_anew_on_every_connection(any_broker, station, listening, running, topics):
    sink = station.sink(any_broker.port)
    sink.retain(topics.info(), b"station")
    sink.retain(topics.instrument_status("dmm1"), b"ok")
    async with running(sink):
        await station.journal.until(lambda: station.journal.opened == 1)
        any_broker.stop()  # it keeps nothing
        sink.retain(topics.instrument_status("dmm1"), b"lost")
        any_broker.start()
        await station.journal.until(lambda: station.journal.opened == 2)
        async with listening(any_broker.port) as listener:
            await listener.until(lambda: listener.on(topics.info()))
            await listener.until(lambda: listener.on(topics.instrument_status("dmm1")))
            assert listener.on(topics.instrument_status("dmm1")) == [b"lost"]
            await listener.until(lambda: status(listener, topics)[-1:] == ["online"])
            sink.retain(topics.instrument_status("dmm1"), b"ok")
            await listener.until(lambda: listener.on(topics.instrument_status("dmm1"))[-1] == b"ok")


async def test_what_is_gone_is_cleared(any_broker, station, listening, running, topics):
    sink = station.sink(any_broker.port)
    gone, stays = topics.instrument_info("dmm1"), topics.instrument_info("dmm2")
    sink.retain(gone, b"gone")
    sink.retain(stays, b"stays")
    async with running(sink):
        async with listening(any_broker.port) as listener:
            await listener.until(lambda: listener.on(gone) and listener.on(stays))
            sink.forget(gone)
            await listener.until(lambda: listener.on(gone)[-1] == b"")
        async with listening(any_broker.port) as late_comer:
            await late_comer.until(lambda: late_comer.on(stays))
            assert late_comer.on(gone) == []


async def test_an_info_of_before_does_not_take_the_place_of_the_one_of_now(
    any_broker, station, listening, running, topics
):
    info = topics.instrument_info("dmm1")
    await station.journal.commit(b"of before", stream="dmm1", kind="info")
    sink = station.sink(any_broker.port)
    sink.retain(info, b"of now")
    async with listening(any_broker.port) as listener, running(sink):
        await listener.until(lambda: set(listener.on(info)) == {b"of before", b"of now"})
        async with listening(any_broker.port, identifier="late") as late_comer:
            await late_comer.until(lambda: late_comer.on(info))
            assert late_comer.on(info) == [b"of now"]


async def test_an_info_that_came_late_is_told_anew_to_a_broker_that_lost_it(
    any_broker, station, listening, running, topics
):
    info = topics.instrument_info("dmm1")
    await station.journal.commit(b"of the outage", stream="dmm1", kind="info")
    sink = station.sink(any_broker.port)
    async with running(sink):
        async with listening(any_broker.port) as listener:
            await listener.until(lambda: listener.on(info))
        await station.journal.all_done()
        any_broker.stop()  # it keeps nothing
        any_broker.start()
        await station.journal.until(lambda: station.journal.opened == 2)
        async with listening(any_broker.port, identifier="late") as late_comer:
            await late_comer.until(lambda: late_comer.on(info))
            assert late_comer.on(info)[0] == b"of the outage"


# What a broker does not take


@pytest.mark.mosquitto
async def test_an_oversized_message_is_set_aside_and_said(make_broker, station, listening, running, topics):
    broker = make_broker("max_packet_size 2000")
    async with listening(broker.port) as listener, running(station.sink(broker.port)) as _:
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(body(0), body(1, filler="x" * 3000), body(2))
        await station.journal.all_done()
        event = await station.announced()
        assert (event["event"], event["code"], event["why"]) == ("refused", 149, "packet too large")
        assert (event["stream"], event["seq"], event["limit"]) == ("dmm1/vref", 1, 2000)
        assert event["instrument"] == "dmm1"
        obs = topics.observation("dmm1", "vref")
        await listener.until(lambda: len(listener.on(obs)) == 2)
        assert listener.on(obs) == [body(0), body(2)]
        assert station.journal.opened == 1


async def test_what_makes_the_broker_hang_up_is_set_aside(make_iotcore, station, listening, running, topics):
    """iotcore says nothing of its limit and closes the connection, each time: without this rule, for ever."""
    broker = make_iotcore(largest=2000)
    async with listening(broker.port) as listener, running(station.sink(broker.port)) as _:
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(5), body(5, filler="x" * 3000), *bodies(5))
        await station.journal.all_done()
        event = await station.announced()
        assert (event["event"], event["why"]) == ("refused", "the broker closes the connection on it")
        assert (event["code"], event["seq"]) == (None, 5)
        both = [topics.observation("dmm1", "vref"), topics.late("dmm1", "vref")]
        await listener.until(lambda: {p for topic in both for p in listener.on(topic)} == set(bodies(5)))


@pytest.fixture
def make_strict(make_broker, tmp_path, topics):
    """Start a broker that refuses all that is said of dmm1."""
    rules = tmp_path / "acl"
    rules.write_text(f"topic readwrite {topics.root}/status\ntopic readwrite {topics.root}/dmm2/#\n")
    return lambda: make_broker(f"acl_file {rules}")


@pytest.mark.mosquitto
async def test_refused_messages_are_set_aside_and_every_one_is_told_of(
    make_strict, station, running, topics, eventually
):
    sink = station.sink(make_strict().port)
    async with running(sink):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(10))
        await station.journal.commit(*bodies(10), stream="dmm2/vref")
        await station.journal.until(lambda: len(station.journal.done) >= 11)
        await eventually(lambda: sink.health().refused == 10)
        event = await station.announced()
        assert (event["event"], event["code"], event["why"]) == ("refused", 135, "not authorised")
        assert (event["topic"], event["stream"]) == (topics.observation("dmm1", "vref"), "dmm1/vref")
        assert len(station.events) == 1
        assert station.journal.opened == 1
    told = [(event["count"], event["first_seq"], event["seq"]) for event in station.events]
    assert told == [(1, 0, 0), (9, 1, 9)]
    assert len(station.journal.done) == 20


@pytest.mark.mosquitto
async def test_what_was_refused_and_not_told_of_is_offered_again_after_a_kill(
    make_strict, station, running, eventually, killed
):
    """Told of once a minute; what the process took with it when it was killed must not be lost in silence."""
    broker = make_strict()
    sink = station.sink(broker.port)
    async with running(sink) as task:
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(10))
        await eventually(lambda: sink.health().refused == 10)
        await killed(task)
    async with running(station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened == 2)
        await eventually(lambda: sum(event["count"] for event in station.events) >= 2)
    assert sum(event["count"] for event in station.events) == 10
    assert len(station.journal.done) == 10


@pytest.mark.mosquitto
async def test_a_refused_event_makes_no_other_event(make_broker, station, running, tmp_path, topics):
    rules = tmp_path / "acl"
    rules.write_text(f"topic readwrite {topics.root}/status\n")
    broker = make_broker(f"acl_file {rules}")
    async with running(station.sink(broker.port)):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(b"{}", stream="event", kind="event")
        await station.journal.all_done()
    assert station.events == []


async def test_a_daemon_whose_name_another_takes_gives_in_for_minutes(station, running, caplog):
    """A broker of a few bytes, for mosquitto 2.0 does not say why it drops a client (MQTT 5.0, 3.2 and 3.14)."""
    connections = []

    async def take_over(reader, writer):
        connections.append(writer)
        await reader.readuntil(b"MQTT\x05")
        writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK, accepted
        writer.write(b"\xe0\x02\x8e\x00")  # DISCONNECT, session taken over
        await reader.read()
        writer.close()

    server = await asyncio.start_server(take_over, "127.0.0.1", 0)
    sink = station.sink(server.sockets[0].getsockname()[1])
    async with running(sink):
        event = await station.announced()
        name = "bench-daq-lab-bench1"
        assert event == {"event": "mqtt", "what": "taken_over", "client_id": name, "times": 3, "again_in_s": 300}
        assert len(connections) == 3
        assert sink.health().next_try_ns is not None
        assert "Session taken over" in sink.health().why
        assert "another client named 'bench-daq-lab-bench1'" in caplog.text
    server.close()
    await server.wait_closed()


@pytest.mark.mosquitto
async def test_two_daemons_of_one_name_are_noticed(broker, station, running, monkeypatch, caplog):
    monkeypatch.setattr("daq.sinks.mqtt.UNSTEADY", 4)
    first, second = station.sink(broker.port, retry_most_s=5.0), station.sink(broker.port, retry_first_s=0.01)
    async with running(first), running(second):
        event = await station.announced()
        assert (event["event"], event["client_id"]) == ("mqtt", "bench-daq-lab-bench1")
        assert "another client named 'bench-daq-lab-bench1'" in caplog.text


# Old brokers


async def test_a_broker_that_only_knows_3_1_1_is_spoken_to_in_it(make_iotcore, station, listening, running, topics):
    broker = make_iotcore(version=4)
    sink = station.sink(broker.port)
    async with listening(broker.port, "3.1.1") as listener, running(sink):
        await station.journal.commit(*bodies(20))
        await station.journal.all_done()
        await listener.until(lambda: listener.on(topics.status()))
        assert json.loads(listener.on(topics.status())[-1])["protocol"] == "3.1.1"
        assert sink.health().protocol == "3.1.1"


@pytest.mark.mosquitto
async def test_3_1_1_can_be_asked_for(broker, station, listening, running, topics, caplog):
    async with listening(broker.port) as listener, running(station.sink(broker.port, version="3.1.1")):
        await station.journal.until(lambda: station.journal.opened)
        await station.journal.commit(*bodies(200))
        await station.journal.all_done()
        await listener.until(lambda: len(listener.on(topics.observation("dmm1", "vref"))) == 200)
    assert "cannot say that it refuses" in caplog.text


@contextlib.asynccontextmanager
async def a_proxy(broker, hangs_up):
    """Stand before a broker and hang up where `hangs_up` says so of the versions tried so far, as CONNECT has them."""
    levels, visits = [], set()

    async def pass_on(reader, writer):
        while data := await reader.read(65_536):
            writer.write(data)

    async def visited(reader, writer):
        visits.add(asyncio.current_task())
        hello = await reader.read(1000)
        levels.append(hello[hello.index(b"MQTT") + 4])
        if not hangs_up(levels):
            there, back = await asyncio.open_connection("127.0.0.1", broker.port)
            back.write(hello)
            ways = [asyncio.create_task(pass_on(reader, back)), asyncio.create_task(pass_on(there, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], levels
    finally:
        server.close()
        await server.wait_closed()
        async with asyncio.timeout(60):
            await asyncio.gather(*visits)


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("hangs_up", "tried", "protocol"),
    [
        (lambda levels: 4 not in levels, [5, 5, 4, 5], "5"),  # its broker was away, and is back with the third
        (lambda levels: levels[-1] == 5, [5, 5, 4, 5, 4], "3.1.1"),  # it knows no other
    ],
)
async def test_only_who_hangs_up_on_5_and_takes_3_1_1_is_spoken_to_in_it(
    broker, station, running, hangs_up, tried, protocol
):
    async with a_proxy(broker, hangs_up) as (port, levels):
        sink = station.sink(port)
        async with running(sink):
            await station.journal.commit(*bodies(20))
            await station.journal.all_done()
            assert sink.health().protocol == protocol
        assert levels == tried


# Who is who


def certificates(folder):
    """An authority, a broker on 127.0.0.1 and a client, made by openssl."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("server", "client"):
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = [
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
        ]
        openssl(*sign, "-out", f"{name}.pem", *(["-extfile", "names"] if name == "server" else []))


@pytest.fixture
def tls_broker(make_broker, tmp_path):
    certificates(tmp_path)
    files = [f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.key"]
    return make_broker(*files, "require_certificate true")


@pytest.mark.mosquitto
async def test_tls_with_a_client_certificate(tls_broker, station, running, tmp_path):
    from daq.sinks.publisher import TlsSettings

    tls = TlsSettings(str(tmp_path / "ca.pem"), str(tmp_path / "client.pem"), str(tmp_path / "client.key"))
    sink = station.sink(tls_broker.port, tls=tls)
    async with running(sink):
        await station.journal.commit(*bodies(200))
        await station.journal.all_done()
    assert sink.health().acknowledged >= 200


@pytest.mark.mosquitto
async def test_tls_goes_on_where_the_broker_stood_still(tls_broker, station, running, tmp_path):
    from daq.sinks.publisher import TlsSettings

    tls = TlsSettings(str(tmp_path / "ca.pem"), str(tmp_path / "client.pem"), str(tmp_path / "client.key"))
    sink = station.sink(tls_broker.port, tls=tls, ack_timeout_s=60.0)
    async with running(sink):
        await station.journal.until(lambda: station.journal.opened)
        tls_broker.freeze()
        await station.journal.commit(*(bytes((number,)) * 3_000_000 for number in range(6)))
        for _ in range(100):  # turns in which the kernel takes what it will
            await asyncio.sleep(0)
        assert station.journal.done == set()
        tls_broker.thaw()
        await station.journal.all_done()
    assert sink.health().retries == 0


@pytest.mark.mosquitto
@pytest.mark.parametrize("wrong", ["authority", "no certificate", "name", "no such file"])
async def test_tls_trusts_nobody_unknown(tls_broker, station, running, eventually, tmp_path, wrong):
    from daq.sinks.publisher import TlsSettings

    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "client.pem", "client.key"))
    tls = {
        "authority": TlsSettings(None, cert, key),
        "no certificate": TlsSettings(ca),
        "name": TlsSettings(ca, cert, key),
        "no such file": TlsSettings(f"{ca}.missing", cert, key),
    }[wrong]
    sink = station.sink(tls_broker.port, tls=tls, host="127.0.0.2" if wrong == "name" else "127.0.0.1")
    async with running(sink):
        await station.journal.commit(body(0))
        await eventually(lambda: sink.health().why is not None)
        assert sink.health().connected is False
    assert station.journal.done == set()


@pytest.fixture
def passwords(tmp_path):
    """A password file as mosquitto reads it, PBKDF2 with SHA-512; its own tool need not be here."""
    salt, turns = b"twelve bytes", 101
    hashed = hashlib.pbkdf2_hmac("sha512", b"s3cret", salt, turns)
    line = f"bench1:$7${turns}${base64.b64encode(salt).decode()}${base64.b64encode(hashed).decode()}"
    path = tmp_path / "passwords"
    path.write_text(line + "\n")
    return path


@pytest.mark.mosquitto
async def test_a_user_and_a_password(make_broker, station, running, eventually, passwords):
    broker = make_broker(f"password_file {passwords}", anonymous=False)
    sink = station.sink(broker.port, username="bench1", password=lambda: "s3cret")
    async with running(sink):
        await station.journal.commit(body(0))
        await station.journal.all_done()
    intruder = station.sink(broker.port, username="bench1", password=lambda: "guessed")
    async with running(intruder):
        await eventually(lambda: intruder.health().why is not None)
    assert "Not authorized" in intruder.health().why
    assert "guessed" not in repr(intruder._settings)


@pytest.mark.mosquitto
async def test_a_password_that_was_renewed_is_read_again_without_a_restart(
    make_broker, station, running, eventually, passwords
):
    broker, said = make_broker(f"password_file {passwords}", anonymous=False), ["of last year"]
    sink = station.sink(broker.port, username="bench1", password=lambda: said[-1])
    async with running(sink):
        await station.journal.commit(body(0))
        await eventually(lambda: "Not authorized" in (sink.health().why or ""))
        said.append("s3cret")
        await station.journal.all_done()


class Cutter:
    """A wire between the daemon and the broker that can be cut."""

    def __init__(self, to_port):
        self._to_port = to_port
        self._open = []
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    async def cut(self):
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _join(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._open += [writer, there_writer]
        await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))
        self._tasks.discard(asyncio.current_task())

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

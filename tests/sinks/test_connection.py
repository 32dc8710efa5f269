"""One connection, against a peer that says byte for byte what the standards draw (OASIS MQTT 5.0, chapter 3)."""

import asyncio
import contextlib
import itertools
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.sinks.connection import Connection
from daq.sinks.publisher import ConnectionLost, Limits, MqttSettings, NotConnected

PATIENCE_S = 60.0
LET_IN = b"\x20\x03\x00\x00\x00"
PING, PONG = b"\xc0\x00", b"\xd0\x00"
GOOD_BYE = b"\xe0\x00"


class Peer:
    """Accepts one connection and does what the test says."""

    async def __aenter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.sock = None
        return self

    async def __aexit__(self, *_):
        self.listener.close()
        self.hang_up()

    async def accept(self):
        self.sock, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self.sock.setblocking(False)
        return await self.packet()

    async def say(self, data):
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def hear(self, count):
        heard = b""
        async with asyncio.timeout(PATIENCE_S):
            while len(heard) < count:
                more = await asyncio.get_running_loop().sock_recv(self.sock, count - len(heard))
                if not more:
                    raise ConnectionError("the daemon hung up")
                heard += more
        return heard

    async def packet(self):
        first, length, shift, more = await self.hear(1), 0, 0, 128
        while more & 128:
            more = (await self.hear(1))[0]
            length |= (more & 127) << shift
            shift += 7
        return first, await self.hear(length)

    def hang_up(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None


@pytest.fixture
async def peer():
    async with Peer() as peer:
        yield peer


@contextlib.asynccontextmanager
async def connected(peer, answer=LET_IN, version="5", **settings):
    connection = Connection(MqttSettings("127.0.0.1", peer.port, "us", **settings), version, "s/status", b"off")
    opening = asyncio.create_task(connection.open())
    try:
        hello = await peer.accept()
        await peer.say(answer)
        async with asyncio.timeout(PATIENCE_S):
            await opening
        yield connection, hello
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await connection.abort()


async def lost(connection):
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.shield(connection.lost)


def publish(connection, payload=b"xy", topic="a/b", qos=1):
    """Publish, and return where the reason code will be."""
    answer = asyncio.get_running_loop().create_future()
    connection.publish(topic, payload, qos=qos, retain=False, acknowledged=answer.set_result)
    return answer


async def test_it_introduces_itself_as_version_5_has_it(peer):
    # 3.1: clean start, will retained at QoS 1, user name and password; empty properties, also of the will.
    body = b"\x00\x04MQTT\x05\xee\x00\x0f\x00" + b"\x00\x02us" + b"\x00" + b"\x00\x08s/status" + b"\x00\x03off"
    async with connected(peer, username="u", password=lambda: "p") as (_, hello):
        assert hello == (b"\x10", body + b"\x00\x01u" + b"\x00\x01p")


async def test_it_introduces_itself_as_version_3_1_1_has_it(peer):
    body = b"\x00\x04MQTT\x04\x2e\x00\x0f" + b"\x00\x02us" + b"\x00\x08s/status" + b"\x00\x03off"
    async with connected(peer, b"\x20\x02\x00\x00", "3.1.1") as (connection, hello):
        assert hello == (b"\x10", body)
        assert connection.limits == Limits("3.1.1")


async def test_the_limits_are_those_the_broker_says(peer):
    said = b"\x21\x00\x14\x27\x00\x01\x00\x00\x24\x01\x25\x00\x22\x00\x0a\x26\x00\x01a\x00\x01b"
    answer = b"\x20" + bytes((3 + len(said),)) + b"\x00\x00" + bytes((len(said),)) + said
    async with connected(peer, answer) as (connection, _):
        assert connection.limits == Limits("5", 20, 65_536, 1, retain_available=False)


@pytest.mark.parametrize(
    ("answer", "why", "unsupported"),
    [
        (b"\x20\x03\x00\x87\x00", "Not authorized", False),
        (b"\x20\x03\x00\x84\x00", "Unsupported protocol version", True),
        (b"\x20\x02\x00\x01", "Unsupported protocol version", True),  # as a broker that knows only 3.1.1 says it
        (b"\x20\x02\x00\x05", "Not authorized", False),
        (b"\x20\x03\x00\x42\x00", "no MQTT", False),
        (b"\x00\x00", "no MQTT", False),
    ],
)
async def test_who_is_not_let_in_says_why(peer, answer, why, unsupported):
    with pytest.raises(NotConnected, match=why) as told:
        async with connected(peer, answer):
            pass
    assert told.value.unsupported is unsupported


async def test_a_broker_that_hangs_up_on_the_introduction_may_be_an_old_one(peer):
    connection = Connection(MqttSettings("127.0.0.1", peer.port), "5", "s", b"")
    opening = asyncio.create_task(connection.open())
    await peer.accept()
    peer.hang_up()
    with pytest.raises(NotConnected) as told:
        await opening
    assert told.value.closed
    await connection.abort()


async def test_reason_codes_are_handed_on_however_the_bytes_come(peer):
    async with connected(peer) as (connection, _):
        answers = [publish(connection) for _ in range(4)]
        for number in range(1, 5):
            assert await peer.packet() == (b"\x32", b"\x00\x03a/b" + bytes((0, number)) + b"\x00xy")
        for byte in b"\x40\x02\x00\x01" + b"\x40\x03\x00\x03\x87" + b"\x40\x04\x00\x02\x10\x00" + b"\x40\x02\x00\x04":
            await peer.say(bytes((byte,)))
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.gather(*answers) == [0, 0x10, 0x87, 0]


def carry(connection, count, payload=b"xy", topic="a/b"):
    """Carry some, under keys from 101 on; return where keys and reason codes will be, as they are told of."""
    told = []
    connection.answered = lambda keys, code: told.append((keys, code))
    connection.carry([(101 + number, topic, payload) for number in range(count)])
    return told


NAMES = st.text(st.sampled_from("abz09_-/") | st.characters(codec="utf-8", exclude_characters="#+\0"), min_size=1)
SIZES = st.integers(0, 300) | st.sampled_from([16_370, 16_383, 16_384, 65_000])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(NAMES, SIZES), min_size=1, max_size=20), st.sampled_from(["5", "3.1.1"]))
def test_what_is_carried_has_the_very_bytes_of_what_is_published(messages, version):
    async def heard(send, count):
        async with (
            Peer() as peer,
            connected(peer, LET_IN if version == "5" else b"\x20\x02\x00\x00", version) as (us, _),
        ):
            send(us)
            return [await peer.packet() for _ in range(count)]

    def publishes(connection):
        for topic, size in messages:
            publish(connection, b"x" * size, topic)

    def carries(connection):
        connection.carry([(key, topic, b"x" * size) for key, (topic, size) in enumerate(messages)])

    async def compared():
        assert await heard(carries, len(messages)) == await heard(publishes, len(messages))

    asyncio.run(compared())


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_what_comes_back_together_is_told_of_together(peer, version, eventually):
    async with connected(peer, LET_IN if version == "5" else b"\x20\x02\x00\x00", version) as (connection, _):
        told = carry(connection, 3)
        await peer.hear(3 * (11 if version == "3.1.1" else 12))
        await peer.say(b"\x40\x02\x00\x01" + b"\x40\x02\x00\x03" + b"\x40\x02\x00\x02")
        await eventually(lambda: told)
    assert told == [([101, 103, 102], 0)]


async def test_what_they_make_room_for_leaves_in_one_write(peer, monkeypatch):
    sent = []
    async with connected(peer) as (connection, _):
        carry(connection, 3)
        await peer.hear(36)
        connection.answered = lambda *_: connection.carry([(key, "a/b", b"xy") for key in range(3)])
        monkeypatch.setattr(socket.socket, "send", lambda _, data: sent.append(data) or len(data))
        connection._take(b"\x40\x02\x00\x01" + b"\x40\x02\x00\x03" + b"\x40\x02\x00\x02")
    assert [len(data) for data in sent] == [36]


def said(number, form, code):
    """An acknowledgement as the standard lets it be written (MQTT 5.0, 3.4.2)."""
    body = {2: b"", 3: bytes((code,)), 4: bytes((code, 0))}[form]
    return bytes((0x40, 2 + len(body))) + number.to_bytes(2) + body


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_every_answer_is_told_once_however_it_is_written_and_cut(data):
    """Some of it was carried and some published, some is acknowledged that never was sent, and some twice."""
    carried, published = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 4))
    numbers = data.draw(st.permutations([*range(1, carried + published + 1), 40, 1]))
    forms = st.tuples(st.sampled_from([2, 2, 2, 2, 3, 4]), st.sampled_from([0, 0x10, 0x87, 0x97]))
    answers = [(number, *data.draw(forms)) for number in numbers]
    stream = b"".join(said(*answer) + (PONG if answer[1] == 4 else b"") for answer in answers)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    expected = {number: code if form > 2 else 0 for number, form, code in reversed(answers)}  # the first counts
    del expected[40]

    async def heard():
        async with Peer() as peer, connected(peer) as (connection, _):
            told = carry(connection, carried)
            futures = [publish(connection) for _ in range(published)]
            await peer.hear(12 * (carried + published))
            for first, last in itertools.pairwise([0, *cuts, len(stream)]):
                connection._take(stream[first:last])
            keys = [(key - 100, code) for keys, code in told for key in keys]
            assert len(set(keys)) == len(keys)
            return dict(keys) | {carried + at: await each for at, each in enumerate(futures, 1)}

    assert asyncio.run(heard()) == expected


async def test_numbers_of_what_is_carried_and_what_is_published_are_never_the_same(peer, eventually):
    async with connected(peer) as (connection, _):
        carry(connection, 3)
        publish(connection)
        carry(connection, 65_531)
        await peer.hear(65_535 * 12)
        await peer.say(b"\x40\x02\x00\x02")
        await eventually(lambda: len(connection._carried) == 65_533)
        carry(connection, 1)
        assert (await peer.packet())[1][5:7] == b"\x00\x02"
        await peer.say(b"\x40\x02\x00\x03")
        await eventually(lambda: len(connection._carried) == 65_533)
        publish(connection)
        assert (await peer.packet())[1][5:7] == b"\x00\x03"


async def test_nothing_is_carried_behind_the_end(peer):
    async with connected(peer) as (connection, _):
        told = carry(connection, 2)
        await peer.hear(24)
        await peer.say(b"\x40\x02\x00\x01\x40\x02\x00\x00")  # a packet identifier of zero
        assert "no MQTT" in str(await lost(connection))
        with pytest.raises(ConnectionLost):
            carry(connection, 1)
    assert told == [([101], 0)]


async def test_an_acknowledgement_of_nothing_is_nothing(peer):
    async with connected(peer) as (connection, _):
        await peer.say(b"\x40\x02\x12\x34")
        answer = publish(connection)
        await peer.packet()
        await peer.say(b"\x40\x02\x00\x01")
        assert await answer == 0


async def test_a_number_is_not_given_twice_while_it_is_under_way(peer):
    async with connected(peer) as (connection, _):
        answers = [publish(connection, b"") for _ in range(65_535)]
        heard = await peer.hear(65_535 * 10)
        assert heard[:10] == b"\x32\x08" + b"\x00\x03a/b" + b"\x00\x01" + b"\x00"
        numbers = [heard[place + 7 : place + 9] for place in range(0, len(heard), 10)]
        assert len(set(numbers)) == 65_535
        assert b"\x00\x00" not in numbers
        await peer.say(b"\x40\x02\x12\x34")
        assert await answers[0x1234 - 1] == 0
        publish(connection, b"")
        assert (await peer.packet())[1][5:7] == b"\x12\x34"


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        (b"\xe0\x01\x8e", 0x8E, "Session taken over"),
        (b"\xe0\x02\x8b\x00", 0x8B, "Server shutting down"),
        (b"\xe0\x00", 0, "Normal disconnection"),
        (b"\x40\x02\x00\x00", None, "no MQTT"),  # a packet identifier of zero
        (b"\x40\x03\x00\x01\x42", None, "no MQTT"),  # a reason code that a PUBACK does not have
        (b"\x30\x05\x00\x01a\x00x", None, "nobody asked for: PUBLISH"),
        (b"\x40\xff\xff\xff\xff\x01", None, "no MQTT"),  # five bytes of length
        (b"\x40\xff\xff\x7f", None, "no MQTT"),  # two megabytes of acknowledgement
    ],
)
async def test_the_end_says_why(peer, said, code, why):
    async with connected(peer) as (connection, _):
        publish(connection)
        await peer.say(said)
        end = await lost(connection)
        assert (end.code, end.silent) == (code, False)
        assert why in str(end)
        with pytest.raises(ConnectionLost):
            publish(connection)


async def test_nothing_is_heard_behind_the_end(peer):
    async with connected(peer) as (connection, _):
        answer = publish(connection)
        await peer.packet()
        await peer.say(b"\xe0\x01\x8e" + b"\x40\x02\x00\x01")
        assert (await lost(connection)).code == 0x8E
        assert not answer.done()


async def test_an_idle_connection_is_kept_alive_as_the_broker_wants_it(peer):
    one_second = b"\x20\x06\x00\x00\x03\x13\x00\x01"
    async with connected(peer, one_second, keepalive_s=3600) as (connection, _):
        for _ in range(2):
            assert await peer.hear(2) == PING
            await peer.say(PONG)
        assert await peer.hear(2) == PING
        end = await lost(connection)
        assert end.silent
        assert "Keep alive" in str(end)


async def test_a_peer_that_does_not_read_is_written_no_more_than_it_was_given(peer):
    async with connected(peer) as (connection, _):
        payloads = [bytes((number,)) * 3_000_000 for number in range(1, 7)]
        answers = [publish(connection, payload) for payload in payloads]
        with pytest.raises(ConnectionLost, match="good-bye"):
            await connection.disconnect()
        for number, payload in enumerate(payloads, 1):
            assert await peer.packet() == (b"\x32", b"\x00\x03a/b" + bytes((0, number)) + b"\x00" + payload)
            await peer.say(bytes((0x40, 2, 0, number)))
        assert await peer.hear(2) == GOOD_BYE
        assert await asyncio.gather(*answers) == [0] * 6


async def test_what_no_one_acknowledges_counts_when_the_kernel_has_taken_it(peer):
    async with connected(peer) as (connection, _):
        small = publish(connection, b"x", qos=0)
        assert await small == 0
        large = publish(connection, bytes(20_000_000), qos=0)
        assert await peer.packet() == (b"\x30", b"\x00\x03a/b\x00x")
        await asyncio.sleep(0)
        assert not large.done()
        await peer.packet()
        assert await large == 0


async def test_a_good_bye_is_waited_for(peer):
    async with connected(peer) as (connection, _):
        leaving = asyncio.create_task(connection.disconnect())
        assert await peer.hear(2) == GOOD_BYE
        peer.hang_up()
        await leaving


async def test_one_that_leaves_without_a_word_says_nothing(peer):
    async with connected(peer) as (connection, _):
        await connection.abort()
        await connection.abort()
        with pytest.raises(ConnectionError):
            await peer.hear(1)

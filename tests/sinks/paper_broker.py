"""A broker on paper: it acknowledges, refuses, hangs up, stays away or falls silent as a test says; no byte is sent.

The sink is the real one, its connection is not: a test moves time (ManualClock) and sees each message under way.

    TheSink -> FakePublisher -> Broker.says -> acknowledged
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import groupby
from typing import Any

from daq.sinks.mqtt import MqttSink
from daq.sinks.publisher import ConnectionLost, Limits, NotConnected


class Broker:
    """What it holds of one connection after the other, and what it has said."""

    def __init__(self) -> None:
        self.lets_in = True
        self.at_once = True
        self.codes: dict[bytes, list[int]] = {}  # payload -> what is said of it, one time after the other
        self.taken: Counter[bytes] = Counter()
        self.set_aside: set[bytes] = set()
        self.window = 20
        self.open: FakePublisher | None = None
        self.connections = 0
        self.dice = random.Random(1)
        self.says_who_takes_over: int | None = None  # mosquitto 2.0 does not

    def says(self, payload: bytes) -> int:
        codes = self.codes.get(payload, [])
        code = codes.pop(0) if codes else 0
        if code < 0x80:
            self.taken[payload] += 1
        elif code not in {0x97, 0x91}:
            self.set_aside.add(payload)
        return code


class FakePublisher:
    """See daq.sinks.publisher.Publisher."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.limits = Limits("5", receive_maximum=broker.window)
        self.lost: asyncio.Future[ConnectionLost] = asyncio.get_running_loop().create_future()
        self.under_way: list[tuple[bytes, Any]] = []  # payload, and whom to tell or the key of what was carried
        self.answered: Any = None

    async def open(self) -> None:
        await asyncio.sleep(0)
        if not self.broker.lets_in:
            raise NotConnected("ConnectionRefusedError")
        if self.broker.open is not None:
            self.broker.open.end(ConnectionLost("connection closed", self.broker.says_who_takes_over))
        self.broker.open = self
        self.broker.connections += 1

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, acknowledged: Any) -> None:
        self._send(payload, acknowledged)

    def carry(self, messages: Any) -> None:
        for key, _, payload in messages:
            self._send(payload, key)

    def _send(self, payload: bytes, whom: Any) -> None:
        if self.lost.done():
            raise self.lost.result()
        self.under_way.append((payload, whom))
        assert len(self.under_way) <= self.limits.receive_maximum, "more is under way than the broker allows"
        if self.broker.at_once:
            asyncio.get_running_loop().call_soon(self.answer, len(self.under_way))

    def answer(self, most: int) -> None:
        """Acknowledge or refuse the oldest that are under way; together what was carried, while it says the same."""
        said = []
        for payload, whom in self.under_way[:most]:
            said.append((whom, self.broker.says(payload)))
        del self.under_way[:most]
        for (carried, code), alike in groupby(said, lambda one: (isinstance(one[0], int), one[1])):
            whom = [each for each, _ in alike]
            for told in [lambda code, keys=whom: self.answered(keys, code)] if carried else whom:
                if not self.lost.done():
                    told(code)

    def take_without_a_word(self) -> None:
        """Take what is under way, and lose the acknowledgements."""
        self.broker.taken.update(payload for payload, _ in self.under_way)

    def end(self, lost: ConnectionLost) -> None:
        if not self.lost.done():
            self.lost.set_result(lost)
            self.under_way.clear()
            if self.broker.open is self:
                self.broker.open = None

    async def disconnect(self) -> None:
        if self.lost.done():
            raise self.lost.result()
        self.end(ConnectionLost("closed by us"))

    async def abort(self) -> None:
        self.end(ConnectionLost("closed by us"))


class TheSink(MqttSink):
    """The sink, with that broker."""

    broker: Broker

    def _chance(self) -> float:
        return self.broker.dice.random()

    def _publisher(self) -> Any:
        return FakePublisher(self.broker)

"""A subscriber to copy from: each observation once, gaps noticed, late ones put in their place.

    python docs/subscriber.py --host broker.lab --topic 'bench/v1/vinhphuc/#'

prints every new observation as one line of JSON and, on the error stream, what is missing. It needs aiomqtt alone
(`pip install aiomqtt`) and a broker that speaks MQTT 5.

Four rules make a good subscriber:

1. Delivery is *at least once*: the same observation may come twice, always under the same `id`. Take it once.
2. `seq` counts the observations of one poll of one instrument within one `epoch`. A jump is a gap; it may be filled
   later, from `late/`. A new epoch (the station began a new journal) counts from its own beginning.
3. Order by `seq`, not by arrival: what comes on `late/` is older than what came on `obs/`.
4. Read an unknown `status` as not ok, and a `value` of null as no value: never as zero, never as the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

MAX_HOLES = 1000
"""Gaps remembered for one stream; beyond that the oldest is given up."""


@dataclass
class Stream:
    """What has come of one poll of one instrument in one epoch.

    Everything below `after` has come, except what lies in `holes`: pairs of the first and the last number missing.
    """

    began: int
    after: int
    holes: list[tuple[int, int]] = field(default_factory=list)

    def take(self, seq: int) -> bool:
        """Note a number; False when it had come before."""
        if seq >= self.after:
            if seq > self.after:
                self.holes.append((self.after, seq - 1))
                del self.holes[:-MAX_HOLES]
            self.after = seq + 1
            return True
        for place, (first, last) in enumerate(self.holes):
            if first <= seq <= last:
                left, right = (first, seq - 1), (seq + 1, last)
                self.holes[place : place + 1] = [hole for hole in (left, right) if hole[0] <= hole[1]]
                return True
        return False

    def missing(self) -> list[tuple[int, int]]:
        """Return the gaps since we began to listen; what was before may have come to others."""
        return [(max(first, self.began), last) for first, last in self.holes if last >= self.began]


class Ledger:
    """Which observations have come, of any number of stations.

    It forgets when the program ends. To be safe across restarts, keep the observations in a database with `id` as its
    primary key: that alone makes taking one twice harmless.
    """

    def __init__(self) -> None:
        self.streams: dict[tuple[str, str], Stream] = {}

    def take(self, observation: dict[str, Any]) -> bool:
        """Note an observation; False when it is one that had come before."""
        # The id is site.station.instrument.poll.epoch.seq; no name holds a dot.
        stream = observation["id"].rsplit(".", 2)[0]
        seq = observation["seq"]
        known = self.streams.setdefault((stream, observation["epoch"]), Stream(began=seq, after=0))
        return known.take(seq)

    def missing(self) -> dict[tuple[str, str], list[tuple[int, int]]]:
        """Return the gaps that are open now, by stream and epoch, as pairs of first and last number."""
        return {key: gaps for key, stream in self.streams.items() if (gaps := stream.missing())}


@dataclass
class Arrived:
    """One observation that had not come before.

    `late` says that it came from the station's journal, after an outage, and is older than what came live.
    """

    observation: dict[str, Any]
    late: bool


async def observations(client: aiomqtt.Client, topic: str, ledger: Ledger) -> AsyncIterator[Arrived]:
    """Subscribe and hand out every observation once, as it arrives. Order by `seq` where order matters."""
    await client.subscribe(topic, qos=1)
    async for message in client.messages:
        levels = str(message.topic).split("/")
        if len(levels) < 2 or levels[-2] not in ("obs", "late"):
            continue  # status, info and event are other messages
        observation = json.loads(message.payload)
        if ledger.take(observation):
            yield Arrived(observation, late=levels[-2] == "late")


def connection(host: str, port: int, name: str) -> aiomqtt.Client:
    """Describe a connection whose messages the broker keeps for an hour while we are away."""
    keep = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    keep.SessionExpiryInterval = 3600
    return aiomqtt.Client(
        host,
        port,
        identifier=name,  # the broker knows us by it: it must stay the same, and be ours alone
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=keep,
    )


def usable(reading: dict[str, Any]) -> bool:
    """Whether a reading holds a value that nobody doubts."""
    return reading["status"] == "ok" and reading["value"] is not None and not reading.get("flags")


async def run(host: str, port: int, topic: str, name: str) -> None:
    """Print observations, for ever; connect again when the broker goes away."""
    ledger = Ledger()
    told: dict[tuple[str, str], list[tuple[int, int]]] = {}
    while True:
        try:
            async with connection(host, port, name) as client:
                async for arrived in observations(client, topic, ledger):
                    print(json.dumps(arrived.observation, ensure_ascii=False), flush=True)
                    if (missing := ledger.missing()) != told:
                        told = missing
                        print("missing:", missing or "nothing", file=sys.stderr, flush=True)
        except aiomqtt.MqttError as problem:
            print(f"broker away: {problem}; trying again in 5 s", file=sys.stderr, flush=True)
            await asyncio.sleep(5)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Print what stations publish, each observation once.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--topic", default="bench/v1/#")
    parser.add_argument("--name", default="my-subscriber", help="our own name, known to the broker")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(given.host, given.port, given.topic, given.name))


if __name__ == "__main__":
    main()

"""What the broker lets this station do: every topic it will use is tried once, before it is relied on.

A broker says that it refuses only to one who writes (MQTT 5, a reason code; MQTT 3.1.1 has none). So this writes as the
station itself would, and nothing that is not so: that the station is offline, an event `probe`, and skipped slots that
say why. Topics that keep a message get an empty one that is not kept. One message goes under another station's name,
and ought to be refused. Only for a station that does not run.

    Loaded -> Tried (topic, payload) -> Publisher -> reason codes -> Rights (problems, warnings)
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from daq import build
from daq.clock import Clock, boot_id
from daq.core.bench import Mqtt
from daq.core.errors import SinkError
from daq.core.message import StationName, Topics, event_payload, station_status_payload
from daq.core.numbering import epoch_name
from daq.core.observation import ClockState, Identity, Observation, Status
from daq.core.observation_message import observation_payload
from daq.load import Loaded
from daq.sinks.connection import Connection
from daq.sinks.publisher import REASONS, REFUSED, ConnectionLost, Publisher, Version

ANSWER_S = 10.0
"""For the broker's word on one message."""

WHY = "the station does not run: daq check --probe asks whether the broker takes this"


@dataclass(frozen=True, slots=True)
class Tried:
    """One message; `foreign`: it goes where this station has nothing to say."""

    topic: str
    payload: bytes
    retain: bool = False
    foreign: bool = False


@dataclass(slots=True)
class Rights:
    """What was found: what stands in the way, and what is right and yet a risk."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


async def rights(loaded: Loaded, mqtt: Mqtt, clock: Clock) -> Rights:
    """Connect as the station would, and try every topic it will use.

    Raises:
        ConfigError: a secret cannot be read.
    """
    found = Rights()
    settings = build.mqtt_settings(mqtt)
    version: Version = "3.1.1" if settings.version == "3.1.1" else "5"
    tried = list(messages(loaded, mqtt, clock))
    publisher = Connection(settings, version, tried[0].topic, tried[0].payload)
    try:
        await publisher.open()
        if version == "3.1.1":
            found.warnings.append(f"mqtt.version: {UNKNOWABLE}")
        for each in tried:
            _judge(found, each, await _answer(publisher, each), version)
        await publisher.disconnect()
    except SinkError as error:
        found.problems.append(f"mqtt: {settings.host}:{settings.port}: {error}")
    finally:
        await publisher.abort()
    return found


UNKNOWABLE = "over MQTT 3.1.1 no broker says what it refused: whether its access list is right was not seen."


def messages(loaded: Loaded, mqtt: Mqtt, clock: Clock) -> Iterator[Tried]:
    """Give what is tried, a topic each."""
    named, now, boot = loaded.bench.station, clock.now(), boot_id()
    station = StationName(named.site, named.name)
    topics = Topics(station, mqtt.prefix)
    epoch = epoch_name(now.utc_ns, secrets.randbits(20))

    def event(teller: StationName) -> bytes:
        details = {"why": WHY}
        return event_payload(teller, "probe", details, boot=boot, epoch=epoch, seq=1, t_ns=now.utc_ns)

    yield Tried(topics.status(), station_status_payload("offline", boot, now.utc_ns, WHY), retain=True)
    yield Tried(topics.info(), b"")
    yield Tried(topics.event(), event(station))
    for name, plan in loaded.plans.items():
        yield Tried(topics.instrument_status(name), b"")
        yield Tried(topics.instrument_info(name), b"")
        for poll in plan.polls:
            nothing = Observation(
                instrument=name,
                poll=poll.name,
                status=Status.SKIPPED,
                due_ns=now.utc_ns,
                clock=ClockState("none", None),
                identity=Identity(plan.asset),
                info="",
                detail=WHY,
                simulated=plan.simulated,
            )
            said = observation_payload(nothing, station, boot=boot, epoch=epoch, seq=1, durable=False)
            yield Tried(topics.observation(name, poll.name), said)
            yield Tried(topics.late(name, poll.name), said)
    other = StationName(named.site, f"not-{named.name}"[:63])
    yield Tried(Topics(other, mqtt.prefix).event(), event(other), foreign=True)


async def _answer(publisher: Publisher, each: Tried) -> int:
    """Return the broker's reason code. Raises ConnectionLost, for one that hangs up or says nothing as well."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()
    publisher.publish(each.topic, each.payload, qos=1, retain=each.retain, acknowledged=told.set_result)
    ends: set[asyncio.Future[int] | asyncio.Future[ConnectionLost]] = {told, publisher.lost}
    await asyncio.wait(ends, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        return told.result()
    seen = str(publisher.lost.result()) if publisher.lost.done() else f"no answer within {ANSWER_S:g} s"
    raise ConnectionLost(f"when it was sent {each.topic}: {seen}. Some brokers hang up on whom they refuse something.")


def _judge(found: Rights, each: Tried, code: int, version: Version) -> None:
    if each.foreign and code < REFUSED and version == "5":
        found.warnings.append(
            f"mqtt: the broker took {each.topic}: it lets this user speak in another station's name. "
            "docs/broker.md has an access list that does not."
        )
    elif not each.foreign and code >= REFUSED:
        reason = REASONS.get(code, f"reason code {code:#04x}")
        found.problems.append(
            f"mqtt: the broker refuses {each.topic}: {reason}. Let the station's user write there in its access list."
        )

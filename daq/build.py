"""Makes lines and sinks from what the files describe: the described in, the living out, not yet started.

Loaded -> wires (name, digest) -> Line          Mqtt (bench file) -> MqttSettings, secrets resolved
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import orjson

from daq.clock import Clock
from daq.core.bench import Mqtt
from daq.core.errors import ConfigError
from daq.core.line_settings import line_settings
from daq.core.observation import Stamp
from daq.core.schedule import spread
from daq.core.wiring import Wiring, wirings
from daq.line import Line, Outlets
from daq.load import Loaded, resolve
from daq.session import Session
from daq.sinks.publisher import MqttSettings, TlsSettings
from daq.transports import OPENERS

Phases = Mapping[tuple[str, str], int]
"""(instrument, poll) -> phase of its slots, ns."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A wire that is to be served.

    Args:
        digest: of all that its line is made from; another digest means another line.
    """

    wiring: Wiring
    digest: str


def planned(loaded: Loaded, phases: Phases) -> dict[str, Planned]:
    """Return the wires of a bench by name."""
    return {
        wiring.name: Planned(wiring, _digest(loaded, wiring, phases))
        for wiring in wirings(loaded.bench, loaded.drivers)
    }


def _digest(loaded: Loaded, wiring: Wiring, phases: Phases) -> str:
    """Name all that a line is made from: the wire, its instruments' entries, their drivers, their phases."""
    bench = loaded.bench
    made_from = {
        "station": bench.station.model_dump(),
        "wiring": repr(wiring),
        "instruments": {name: bench.instruments[name].model_dump() for name in wiring.instruments},
        "drivers": {name: loaded.driver_hashes[bench.instruments[name].driver] for name in wiring.instruments},
        "phases": sorted((*key, phase_ns) for key, phase_ns in phases.items() if key[0] in wiring.instruments),
    }
    return hashlib.sha256(orjson.dumps(made_from, option=orjson.OPT_SORT_KEYS)).hexdigest()


def refuse_what_needs_a_restart(old: Loaded, new: Loaded) -> None:
    """Raise ConfigError where a file changes what a running station is made of."""
    problems = []
    for what, before, after in (
        ("station.site", old.bench.station.site, new.bench.station.site),
        ("station.name", old.bench.station.name, new.bench.station.name),
        ("journal", old.bench.journal, new.bench.journal),
        ("metrics", old.bench.metrics, new.bench.metrics),
        ("mqtt", old.bench.mqtt is None, new.bench.mqtt is None),
        ("mqtt.prefix", old.bench.mqtt and old.bench.mqtt.prefix, new.bench.mqtt and new.bench.mqtt.prefix),
    ):
        if before != after:
            problems.append(f"{new.path}: {what}: cannot change while the station runs. Restart it, or put it back.")
    if problems:
        raise ConfigError(problems)


def phases_of(loaded: Loaded, before: Phases | None = None) -> dict[tuple[str, str], int]:
    """Return the phase of every poll: as the bench file says, else as before, else spread over the station.

    A poll keeps its place on the grid over a reload, so that a bench that grows does not move what is running.
    """
    kept = before or {}
    polls = {
        (name, poll.name): poll
        for name, plan in loaded.plans.items()
        for poll in plan.polls
        if poll.every_ns is not None
    }
    places = spread({f"{name}/{poll}": plan.every_ns or 1 for (name, poll), plan in polls.items()})
    phases = {}
    for (name, poll), plan in polls.items():
        spread_ns = kept.get((name, poll), places[f"{name}/{poll}"])
        phases[name, poll] = plan.phase_ns if plan.phase_ns is not None else spread_ns % (plan.every_ns or 1)
    return phases


def left_off(loaded: Loaded, last_ns: Mapping[str, int], now: Stamp) -> Phases:
    """Return until when the slots of each poll are accounted for, monotonic ns.

    What came due while the station was away, or was asked and not kept when it was killed, is told by the lines. Half a
    period is added: the two clocks are read anew, and the last slot itself is not to come twice.

    Args:
        loaded: the bench.
        last_ns: `instrument/poll` -> the last slot that the journal speaks for, UTC ns.
        now: the station begins.
    """
    since = {}
    for name, plan in loaded.plans.items():
        for poll in plan.polls:
            slot_ns = last_ns.get(f"{name}/{poll.name}")
            if poll.every_ns is not None and slot_ns is not None:
                since[name, poll.name] = now.mono_ns - max(now.utc_ns - slot_ns - poll.every_ns // 2, 0)
    return since


def line(
    loaded: Loaded,
    wiring: Wiring,
    phases: Phases,
    clock: Clock,
    outlets: Outlets,
    since: Mapping[tuple[str, str], int] | None = None,
) -> Line:
    """Make the line of one wire; nothing is opened yet.

    Args:
        loaded: the bench.
        wiring: the wire and who is on it.
        phases: of all polls.
        clock: time.
        outlets: where its results go.
        since: until when another line has accounted for slots, see Line.
    """
    wire = wiring.wire
    return Line(
        wiring.name,
        OPENERS[wire.kind](wire, clock),
        [Session(loaded.plans[name], wiring.framing) for name in wiring.instruments],
        clock,
        outlets,
        phases=phases,
        since=since,
        byte_ns=line_settings(wire.line).byte_ns if wire.line is not None else 0,
        silence_ns=wiring.silence_ns,
        numbered=wiring.framing == "tcp",
    )


def mqtt_settings(mqtt: Mqtt) -> MqttSettings:
    """Put together what the sink needs. Its secret is read now, so that a missing one refuses to start, and ever again.

    Raises:
        ConfigError: a secret cannot be read.
    """
    secret = mqtt.password
    if secret is not None:
        resolve(secret)
    url = urlsplit(mqtt.url)
    secure = url.scheme == "mqtts"
    tls = mqtt.tls
    return MqttSettings(
        host=url.hostname or "",
        port=url.port or (8883 if secure else 1883),
        client_id=mqtt.client_id or "",
        username=mqtt.username,
        password=partial(resolve, secret, again=True) if secret is not None else None,
        tls=TlsSettings(tls.ca, tls.certificate, tls.key) if tls is not None else TlsSettings() if secure else None,
        version="3.1.1" if mqtt.version == "3.1.1" else "auto",
        exchanges=mqtt.exchanges,
    )

"""What a station and its instruments are: the retained messages that say what all the others mean.

An instrument's info has a name made from its content, and every observation cites it: two observations with the same
`info` were taken with the same instrument, driver, settings and units. Pure.

    bench, driver, identity, settings read back -> InstrumentInfo -> [info] -> hash, payload -> journal -> sinks
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from daq.core.message import VERSION, StationName, printed, rfc3339
from daq.core.observation import ClockState, Identity, Integrity, Kind

Json = Any  # what orjson prints: dict, list, str, int, float, bool, None


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One channel of a poll.

    Args:
        unit: UCUM code; `symbol` the same for people.
        quantity: dotted name from the closed list.
    """

    unit: str
    symbol: str
    quantity: str
    role: str | None = None
    kind: Kind = Kind.NUMBER
    label: str | None = None
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class PollInfo:
    """One poll.

    Args:
        ask: its name in the driver.
        every_s, phase_s: its slots, k * every + phase of UTC; None for instruments that send unasked.
        time_model: triggered, filtered, latest or arrival.
        settings: as read back from the instrument, or as set where it cannot say.
    """

    ask: str
    every_s: float | None
    phase_s: float | None
    integrity: Integrity
    time_model: str
    channels: Mapping[str, ChannelInfo]
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstrumentInfo:
    """What one needs to know to use an instrument's observations. Its hash stands in each of them.

    Args:
        instrument: name in the bench file.
        maker, firmware: as read.
        driver, driver_hash: name and content hash of the driver file.
        bench_hash: of the bench file.
        verified: how the driver was proven: manual, public-driver, hardware.
        address: where it stands, as the bench file says it, without secrets.
    """

    instrument: str
    identity: Identity
    driver: str
    driver_hash: str
    bench_hash: str
    address: str
    polls: Mapping[str, PollInfo]
    maker: str | None = None
    firmware: str | None = None
    verified: str | None = None
    label: str | None = None
    role: str | None = None
    configure: str | None = None
    simulated: bool = False


def info_hash(info: InstrumentInfo) -> str:
    """Name an info by its content: the first 8 hex digits of SHA-256 over its JSON with sorted keys."""
    canonical = orjson.dumps(_described(info), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:8]


def instrument_info_payload(info: InstrumentInfo, station: StationName, epoch: str, seq: int, t_ns: int) -> bytes:
    """Write what an instrument's observations mean; `t_ns` (UTC) is since when."""
    message: dict[str, Json] = {
        "v": VERSION,
        "id": f"{station.site}.{station.name}.{info.instrument}.info.{epoch}.{seq}",
        "epoch": epoch,
        "seq": seq,
        "t": rfc3339(t_ns),
        "info": info_hash(info),
    }
    return printed(message | _described(info))


def _described(info: InstrumentInfo) -> dict[str, Json]:
    identity = info.identity
    return {
        "simulated": info.simulated,
        "instrument": info.instrument,
        "label": info.label,
        "role": info.role,
        "identity": {
            "asset": identity.asset,
            "maker": info.maker,
            "model": identity.model,
            "serial": identity.serial,
            "firmware": info.firmware,
        },
        "address": info.address,
        "configure": info.configure,
        "driver": {"name": info.driver, "hash": info.driver_hash, "verified": info.verified},
        "bench": {"hash": info.bench_hash},
        "polls": {name: _poll(poll) for name, poll in info.polls.items()},
    }


def _poll(poll: PollInfo) -> dict[str, Json]:
    return {
        "ask": poll.ask,
        "every": poll.every_s,
        "phase": poll.phase_s,
        "integrity": poll.integrity.value,
        "time": poll.time_model,
        "settings": dict(poll.settings),
        "channels": {name: _channel(channel) for name, channel in poll.channels.items()},
    }


def _channel(channel: ChannelInfo) -> dict[str, Json]:
    return {
        "unit": channel.unit,
        "symbol": channel.symbol,
        "quantity": channel.quantity,
        "kind": channel.kind.value,
        "role": channel.role,
        "label": channel.label,
        "asset": channel.asset,
    }


JournalState = Literal["ok", "failing", "stalled"]


@dataclass(frozen=True, slots=True)
class StationInfo:
    """What a station is.

    Args:
        version: of bench-daq.
        epoch: of its journal now.
        journal: failing while its disk does not take records, stalled while it neither takes nor refuses them.
        driver_hashes: driver name -> content hash.
        limits: what is bounded, by name, with the unit in the name.
        simulated: at least one of its instruments is.
    """

    version: str
    boot: str
    epoch: str
    journal: JournalState
    label: str | None
    bench_hash: str
    driver_hashes: Mapping[str, str]
    clock: ClockState
    instruments: Sequence[str]
    line_frequency_hz: float | None = None
    limits: Mapping[str, int | float] = field(default_factory=dict)
    simulated: bool = False


def station_info_payload(info: StationInfo) -> bytes:
    """Write what a station is."""
    return printed(
        {
            "v": VERSION,
            "version": info.version,
            "boot": info.boot,
            "epoch": info.epoch,
            "journal": info.journal,
            "simulated": info.simulated,
            "label": info.label,
            "line_frequency": info.line_frequency_hz,
            "bench": {"hash": info.bench_hash},
            "drivers": dict(info.driver_hashes),
            "clock": {"source": info.clock.source, "err": info.clock.err_s},
            "limits": dict(info.limits),
            "instruments": list(info.instruments),
        }
    )

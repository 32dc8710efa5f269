"""Turns what the station knows into topics and payload bytes: DESIGN's contract, version 1, and nothing else.

One builder a message, each giving its keys in the order of the contract; what rarely changes is told by core.info. It
never rounds a value: the instrument's own digits go through as they are. Pure: times and names come in as arguments.

    Observation, event, status -> [message] -> bytes -> journal -> sinks; Topics says where they go
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

import orjson

from daq.core.record import Record

VERSION = 1
"""Of the messages. Keys may be added within it, never taken away or given another meaning."""

PREFIX = "bench/v1"
"""The first levels of every topic, where the bench file gives no other."""

RESERVED = frozenset({"status", "info", "event", "cmd", "context", "alarm", "job", "log"})
"""Levels with a meaning of their own: no instrument and no poll may be called so."""

LEVEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What one level of a topic may be. Brokers take far more, and some of it breaks subscribers."""

MAX_EXCHANGE = 4096
"""Characters of question and answer together that one exchange may print, before JSON escapes any of them."""

MAX_EXCHANGES = 65536
"""Characters that all exchanges of an observation may print; they share it evenly."""

MAX_EXCHANGE_COUNT = 256
"""Exchanges an observation may print: the first ones, and always the last."""

MAX_DETAIL = 1000
"""Characters of `detail`."""

Json = Any  # what orjson prints: dict, list, str, int, float, bool, None


class Event(StrEnum):
    """What may happen to a station that its readers must know. New words may be added."""

    GAP = "gap"  # records were dropped before they were delivered
    CLOCK_STEP = "clock_step"
    DESYNC = "desync"  # a line lost track of which answer belongs to which question
    TIME_CLAIM = "time_claim"  # an instrument answered faster than its driver says it can
    WRONG_STATE = "wrong_state"  # somebody changed a setting: readings since `suspect_since` are in doubt
    WRONG_INSTRUMENT = "wrong_instrument"  # not read until the right one answers, or the bench file is mended
    IDENTITY_CHANGED = "identity_changed"
    REFUSED = "refused"  # the broker did not take a record
    RELOAD = "reload"
    JOURNAL = "journal"  # the disk: full, failing, well again, begun anew
    INTERNAL = "internal"  # a part of the station failed inside and was started again
    MQTT = "mqtt"  # the broker: taken over by another client of the same name


@dataclass(frozen=True, slots=True)
class StationName:
    """What names a station in every topic and id. Each a level, see LEVEL."""

    site: str
    name: str

    def __post_init__(self) -> None:
        _check_levels(self.site, self.name)


@dataclass(frozen=True, slots=True)
class Topics:
    """Where the messages of one station go.

    Args:
        prefix: one or more levels, joined by `/`.
        station: its name.

    Raises:
        ValueError: a level is not what LEVEL allows.
    """

    station: StationName
    prefix: str = PREFIX

    def __post_init__(self) -> None:
        _check_levels(*self.prefix.split("/"))

    @property
    def root(self) -> str:
        """The levels that all topics of the station begin with."""
        return f"{self.prefix}/{self.station.site}/{self.station.name}"

    def status(self) -> str:
        """Whether the station is there; retained, and its will."""
        return f"{self.root}/status"

    def info(self) -> str:
        """What the station is; retained."""
        return f"{self.root}/info"

    def event(self) -> str:
        """What happens to the station."""
        return f"{self.root}/event"

    def instrument_status(self, instrument: str) -> str:
        """Whether the instrument answers; retained."""
        return f"{self.root}/{instrument}/status"

    def instrument_info(self, instrument: str) -> str:
        """What the instrument's observations mean; retained."""
        return f"{self.root}/{instrument}/info"

    def observation(self, instrument: str, poll: str) -> str:
        """Observations as they come."""
        return f"{self.root}/{instrument}/obs/{poll}"

    def late(self, instrument: str, poll: str) -> str:
        """The same, delivered after an outage."""
        return f"{self.root}/{instrument}/late/{poll}"

    def of(self, record: Record, *, late: bool) -> str:
        """Where a record of the journal goes; `late` when it was committed before the sink had connected."""
        if record.kind == "event":
            return self.event()
        if record.kind == "info":
            return self.instrument_info(record.stream)
        return _of_stream(self.prefix, self.station.site, self.station.name, record.stream, late)


@lru_cache(maxsize=4096)  # more than a station has polls
def _of_stream(prefix: str, site: str, name: str, stream: str, late: bool) -> str:
    topics = Topics(StationName(site, name), prefix)
    instrument, _, poll = stream.partition("/")
    return topics.late(instrument, poll) if late else topics.observation(instrument, poll)


def _check_levels(*levels: str) -> None:
    for level in levels:
        if not LEVEL.fullmatch(level):
            raise ValueError(
                f"{level!r} is no level of a topic: a-z, 0-9, _ and -, at most 63, beginning with a-z or 0-9"
            )


# Times and numbers ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def second(utc_s: int) -> str:
    """Write a whole second (UTC since 1970) up to the point behind it."""
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def rfc3339(utc_ns: int) -> str:
    """Write an instant (UTC ns since 1970) to the nearest microsecond: `2026-11-22T08:40:00.423456Z`."""
    utc_us = (utc_ns + 500) // 1000
    return f"{second(utc_us // 1_000_000)}{utc_us % 1_000_000:06d}Z"


def utc_ns(text: str) -> int:
    """Read what rfc3339 wrote: UTC ns, whole microseconds. Raises ValueError."""
    return round(datetime.fromisoformat(text).timestamp() * 10**6) * 1000


def utf8(text: str) -> str:
    """Return text that UTF-8 can carry: lone surrogates (undecodable bytes of a command line) become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


_UNSEEN = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]")
"""DEL, the C1 controls and what turns the direction of writing: JSON allows them as they are, a terminal obeys them."""


def printed(message: Json) -> bytes:
    """Write JSON in which every character that a terminal might obey is escaped."""
    return _UNSEEN.sub(_escaped, orjson.dumps(message))


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


# What happens, and who is there ---------------------------------------------------------------------------------------


def event_payload(
    station: StationName,
    event: str,
    details: Mapping[str, Json],
    *,
    boot: str,
    epoch: str,
    seq: int,
    t_ns: int,
    instrument: str | None = None,
    simulated: bool = False,
) -> bytes:
    """Write what happened to the station, or to one of its instruments, at `t_ns` (UTC).

    `event` is an Event, or a newer word; `details` are JSON values, every number of them finite; `simulated` says that
    it concerns simulated data.
    """
    message: dict[str, Json] = {
        "v": VERSION,
        "id": f"{station.site}.{station.name}.event.{epoch}.{seq}",
        "epoch": epoch,
        "seq": seq,
        "t": rfc3339(t_ns),
        "boot": boot,
        "event": str(event),
    }
    if instrument is not None:
        message["instrument"] = instrument
    if simulated:
        message["simulated"] = True
    message["details"] = {key: utf8(value) if isinstance(value, str) else value for key, value in details.items()}
    return printed(message)


def station_status_payload(
    status: Literal["online", "offline"],
    boot: str,
    since_ns: int | None,
    why: str | None = None,
    protocol: str | None = None,
) -> bytes:
    """Write whether the station is there.

    `since_ns` (UTC) is None in the will: nobody knows when it will be sent. `protocol` is the MQTT version spoken, 5 or
    3.1.1; with 3.1.1 the broker cannot say that it refused a message.
    """
    since = None if since_ns is None else rfc3339(since_ns)
    message = {"v": VERSION, "status": status, "boot": boot, "since": since, "why": why, "protocol": protocol}
    return printed(message)


def instrument_status_payload(
    status: Literal["ok", "degraded", "lost"], boot: str, since_ns: int, why: str | None = None, simulated: bool = False
) -> bytes:
    """Write whether an instrument answers: ok, degraded (some polls fail) or lost; `since_ns` UTC."""
    return printed(
        {
            "v": VERSION,
            "status": status,
            "boot": boot,
            "since": rfc3339(since_ns),
            "simulated": simulated,
            "why": None if why is None else utf8(why[:MAX_DETAIL]),
        }
    )

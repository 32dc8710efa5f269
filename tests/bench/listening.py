"""What was published, message by message, as the ear has kept it; and how late questions were asked.

The ear writes to a file while it is told to: nothing is decoded before the window is over, so that the watching takes
little of the machine that is watched.

    ear -> file -> Heard -> lateness
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tests.bench.benches import LATEST_S, daemon
from tests.bench.figures import percentile
from tests.bench.procs import Ear, Place, eventually

DONE, WISH, ENDED = 510, 511, 2
"""Where the ear is told to keep messages and says that it does; what it says when its broker is gone (c/ear.c)."""

HEAD = struct.Struct("QII")


@dataclass(frozen=True)
class Heard:
    """A message, and when it came (monotonic ns)."""

    arrived_ns: int
    topic: str
    payload: bytes

    @property
    def message(self) -> dict[str, Any]:
        """The observation, decoded each time: of hundreds of thousands that are kept, none is to stay decoded."""
        return orjson.loads(self.payload)

    @property
    def delay_ms(self) -> float:
        """From the instrument's answer, whose value is its own instant, to the subscriber."""
        return self.arrived_ns / 1e6 - self.message["readings"]["v"]["value"] * 1e3


def read_record(data: bytes | mmap.mmap) -> Iterator[Heard]:
    """Read what an ear has kept; a message that is not whole yet is left out."""
    at = 0
    while at + HEAD.size <= len(data):
        arrived_ns, topic, payload = HEAD.unpack_from(data, at)
        begin = at + HEAD.size
        at = begin + topic + payload
        if at <= len(data):
            yield Heard(arrived_ns, data[begin : begin + topic].decode(), data[begin + topic : at])


@contextlib.contextmanager
def kept(ear: Ear) -> Iterator[list[Heard]]:
    """Have the ear keep what it hears while entered; the list is filled when left."""
    found: list[Heard] = []
    begin = ear.record.stat().st_size
    keep(ear, True)
    try:
        yield found
    finally:
        keep(ear, False)
    found += read_record(_behind(ear.record, begin))


def keep(ear: Ear, wish: bool) -> None:
    """Have the ear keep what it hears, or no longer; what it has kept stands in its file then."""
    ear.count[WISH] = int(wish)
    eventually(lambda: ear.count[DONE] == int(wish), "the ear's consent")


def _behind(path: Path, begin: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read()


def is_observation(heard: Heard) -> bool:
    """Tell whether it is a live observation; others speak of status, of events, or come late."""
    return "/obs/" in heard.topic


def good(heard: Sequence[Heard]) -> list[Heard]:
    """Return the observations that are values."""
    return [one for one in heard if is_observation(one) and one.message["status"] == "ok"]


def missed(heard: Sequence[Heard]) -> int:
    """Count the slots that were told as not served."""
    told = [one.message for one in heard if is_observation(one) and b'"status":"ok"' not in one.payload]
    return sum(message.get("slots", {}).get("count", 1) for message in told if message["status"] != "ok")


def listened(here: Place, bench: dict, settle_s: float, seconds: float, state: Path | None = None) -> list[Heard]:
    """Run the daemon, and return what came within a window."""
    before = here.ear[2]
    with daemon(here, bench, state):
        here.values_beyond(before)
        time.sleep(settle_s)
        with kept(here.hears) as heard:
            time.sleep(seconds)
    return heard


def utc_us(text: str) -> int:
    """Read an instant of a message, in whole microseconds of UTC: a float would lose the last of them."""
    instant = datetime.fromisoformat(text)
    return round((instant.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000 + (
        instant.microsecond
    )


def late_us(heard: Heard) -> float:
    """Return from the slot to just before the question was written: `latest` begins its interval a period before."""
    message = heard.message
    asked_us = utc_us(message["t"]) - message["t_err"] * 1e6 + LATEST_S * 1e6
    return asked_us - utc_us(message["due"])


@dataclass(frozen=True)
class Lateness:
    """Start lateness of a window: a slot that was not served counts as later than any other.

    Args:
        late_us: of the slots that were served.
        missed: slots that were not.
    """

    late_us: Sequence[float]
    missed: int

    @classmethod
    def of(cls, heard: Sequence[Heard]) -> Lateness:
        """Look at what came."""
        return cls([late_us(one) for one in good(heard)], missed(heard))

    def percentile_us(self, percent: float) -> float:
        """Return a percentile over all slots; infinite where so many were missed."""
        return percentile([*self.late_us, *[float("inf")] * self.missed], percent)

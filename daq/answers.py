"""What people may ask a running station through its control socket, and the answers.

One method a verb; each gives plain data, and raises DaqError with words for the one who asked.

    control (verb, words) -> Answers -> station, journal, lines -> data
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import daq
from daq import build
from daq.core.errors import ConfigError, DaqError, nearest
from daq.core.health import InstrumentHealth, Verdict
from daq.core.message import rfc3339
from daq.core.observation import NS, Stamp, Status
from daq.core.wiring import Wiring
from daq.transports.aside import Aside

if TYPE_CHECKING:
    from daq.control import Verb
    from daq.parties import Counts
    from daq.station import Running, Station

log = logging.getLogger(__name__)

Words = dict[str, Any]

TAPPED = 1000
"""Chunks of bytes that wait for a slow reader of `daq tap`; what comes beyond is counted and left out."""

QUIET_S = 5.0
"""A tap with nothing to show says so this often, which is also how a reader that left is noticed."""

PAGE = 500
"""Records of the journal in one answer."""

KEEP_NS = 2 * NS
"""For the disk to take the marks; they are in force all the same."""


class Answers:
    """The table of verbs of one station."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._keeping: Aside[None] = Aside("marks", discard=lambda _: None)
        self.verbs: Mapping[str, Verb] = {
            "status": self.status,
            "mark": self.mark,
            "reload": self.reload,
            "tap": self.tap,
            "journal_info": self.journal_info,
            "journal_export": self.journal_export,
        }

    async def status(self, _: Words) -> Words:
        """How everything fares."""
        station = self._station
        named, clock = station.loaded.bench.station, station.discipline.state
        health = station.journal.health
        return {
            "station": {
                "site": named.site,
                "name": named.name,
                "version": daq.__version__,
                "boot": station.boot,
                "since": rfc3339(station.since_ns),
                "pid": os.getpid(),
                "bench": str(station.loaded.path.absolute()),
            },
            "clock": {"source": clock.source, "err": clock.err_s},
            "context": dict(station.marks.pairs),
            "instruments": self._instruments(),
            "journal": {
                **{key: value for key, value in asdict(health).items() if not key.endswith("_ns")},
                "oldest": None if health.oldest_t_ns is None else rfc3339(health.oldest_t_ns),
                "committed": None if health.committed_utc_ns is None else rfc3339(health.committed_utc_ns),
                "queue_bytes": station.journal.queue_bytes,
            },
            "sinks": {} if station.sink is None else {station.sink.name: asdict(station.sink.health())},
        }

    def _instruments(self) -> Words:
        """How each instrument of the bench file fares; those whose line is not begun yet were not asked yet."""
        station = self._station
        told = {
            name: _instrument(running, name)
            for running in station.lines.values()
            for name in running.wiring.instruments
        }
        if station.loaded.plans.keys() <= told.keys():
            return told
        coming = build.planned(station.loaded, station.phases).values()
        since_ns = station.since_ns
        to_come = {name: _to_come(each.wiring, since_ns) for each in coming for name in each.wiring.instruments}
        return to_come | told

    async def mark(self, words: Words) -> Words:
        """Change what every observation carries from now on."""
        changes, clear = words.get("changes", {}), words.get("clear", False)
        _need(isinstance(changes, dict) and _texts(changes.values()), "changes", "an object of texts")
        _need(isinstance(clear, bool), "clear", "true or false")
        self._station.marks.change(changes, clear=clear)
        try:
            await self._keeping.run(self._station.marks.keep, time.monotonic_ns() + KEEP_NS)
        except TimeoutError:
            log.warning("marks are in force; the disk has not taken them yet, and a restart now would lose them")
        return {"context": dict(self._station.marks.pairs)}

    async def reload(self, _: Words) -> Words:
        """Read the files again. Raises DaqError where they are wrong: what was read before stays in force."""
        try:
            return asdict(await self._station.reload())
        except ConfigError as error:
            raise DaqError(f"{error}\nNothing has changed: the station goes on with what it read before.") from None

    async def tap(self, words: Words) -> AsyncIterator[Words]:
        """Show the bytes of an instrument's wire until the one who asked leaves."""
        instrument: Any = words.get("instrument")
        _need(isinstance(instrument, str), "instrument", "a text")
        running = self._running(instrument)
        waiting: asyncio.Queue[Words] = asyncio.Queue(TAPPED)
        left_out = 0

        def passed(way: str, raw: bytes, at: Stamp) -> None:
            nonlocal left_out
            if waiting.full():
                left_out += 1
                return
            chunk = {"sent": way == "sent", "hex": raw.hex(), "utc_ns": at.utc_ns, "binary": binary}
            waiting.put_nowait({**chunk, "left_out": left_out} if left_out else chunk)
            left_out = 0

        binary = running.wiring.framing is not None
        end = running.line.tap(passed)
        try:
            while True:
                try:
                    async with asyncio.timeout(QUIET_S):
                        chunk = await waiting.get()
                except TimeoutError:
                    chunk = {"quiet": True}
                yield chunk
        finally:
            end()

    async def journal_info(self, _: Words) -> Words:
        """What the journal holds."""
        return {"journal": await self._station.journal.info()}

    async def journal_export(self, words: Words) -> AsyncIterator[Words]:
        """Give the journal's records page by page."""
        wanted: list[Any] = [words.get(key) for key in ("since_ns", "until_ns", "streams")]
        since_ns, until_ns, streams = wanted
        for key, ns in (("since_ns", since_ns), ("until_ns", until_ns)):
            _need(type(ns) is int and -(2**63) <= ns < 2**63, key, "a whole number of 64 bits")
        _need(streams is None or (isinstance(streams, list) and _texts(streams)), "streams", "a list of texts")
        after = None
        while True:
            page = await self._station.journal.export(since_ns, until_ns, streams, after, PAGE)
            for record in page.records:
                yield {**asdict(record), "payload": record.payload.decode()}
            if page.after is None:
                return
            after = page.after

    def _running(self, instrument: str) -> Running:
        for running in self._station.lines.values():
            if instrument in running.wiring.instruments:
                return running
        raise DaqError(f"no instrument {instrument!r}. {nearest(instrument, self._station.loaded.plans)}")


def _need(holds: bool, key: str, what: str) -> None:
    if not holds:
        raise DaqError(f"'{key}' must be {what}.")


def _texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _instrument(running: Running, name: str) -> Words:
    party = running.line.parties[name]
    polls = {item.plan.name: item.counts for item in running.line.items.values() if item.party is party}
    slots = sum((counts.slots for counts in polls.values()), Counter())
    good = slots[Status.OK]
    return {
        **_where(running.wiring, party.health.verdict),
        "asked": sum(counts.asked for counts in polls.values()),
        "good": good,
        "failed": slots.total() - good,
        "slots": dict(slots),
        "resyncs": party.resyncs,
        "polls": {poll: _poll(counts) for poll, counts in polls.items()},
    }


def _where(wiring: Wiring, verdict: Verdict) -> Words:
    return {
        "status": verdict.state.value,
        "why": verdict.why,
        "since": rfc3339(verdict.since_utc_ns),
        "wire": wiring.name,
        "address": wiring.wire.address,
        "interface": wiring.interface,
    }


def _to_come(wiring: Wiring, since_utc_ns: int) -> Words:
    """Tell of an instrument whose line is not begun: the station looks where it left off, or reads its files anew."""
    nothing = {"asked": 0, "good": 0, "failed": 0, "slots": {}, "resyncs": 0, "polls": {}}
    return {**_where(wiring, InstrumentHealth(since_utc_ns).verdict), **nothing}


def _poll(counts: Counts) -> Words:
    good = counts.last_good
    return {
        "asked": counts.asked,
        "slots": dict(counts.slots),
        "rtt_s": counts.rtt_s,
        "lateness_s": counts.lateness_s,
        "largest_lateness_s": counts.largest_lateness_s,
        "last_good": None if good is None or good.timing is None else rfc3339(good.timing.utc_ns),
    }

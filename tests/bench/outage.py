"""A broker that is away: what the daemon's memory does meanwhile, and whether everything arrives afterwards.

The broker is ended, not frozen, and comes back on the same port. The daemon stands still (SIGSTOP) for the moments in
which the broker ends and in which the ear subscribes again: the ear is to have all that the broker took.
"""

# ruff: noqa: T201  progress
from __future__ import annotations

import contextlib
import mmap
import re
import signal
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from daq.control import ask
from tests.bench.benches import daemon, scpi_bench
from tests.bench.figures import slope
from tests.bench.listening import DONE, ENDED, keep, read_record
from tests.bench.procs import PATIENCE_S, VALUES, Ear, Place, broker, ear, eventually, resident_mib, responder
from tests.bench.report import Options, Result

HOUR_S = 3600.0
WARM_S = 60.0
"""Into the outage: connection given up, pauses between attempts and SQLite's caches are as they will be."""

FEWEST = 20
"""Looks that make a slope."""

DRAIN_S = 300.0
DRAIN_TIMES = 4
"""How long the backlog may take: this and so many times the outage."""

TELL_S = 30.0

ID = re.compile(rb'"id":"([^"]+)\.([a-z0-9]+)\.(\d+)"')


def outage(here: Place, options: Options) -> Result:
    """100 SCPI sockets x 10 Hz while the broker is away."""
    result = Result(
        f"broker away for {options.outage_s / 60:.3g} min, 100 SCPI sockets x 10 Hz",
        "memory flat (< 1 %/h) through a broker outage; everything arrives afterwards",
    )
    folder = here.file("outage")
    folder.mkdir()
    state = here.file("station")
    with contextlib.ExitStack() as stack:
        stand = stack.enter_context(responder(here, "scpi_responder", 100, "0"))
        first, station = (stack.enter_context(contextlib.ExitStack()) for _ in range(2))
        port = first.enter_context(broker(folder))
        hears = stack.enter_context(ear(folder, port))
        keep(hears, True)  # the wish stays written: the next ear finds it
        own = replace(here, broker=port, hears=hears)
        process = station.enter_context(daemon(own, scpi_bench("100 ms", stand.ports), state))
        eventually(lambda: hears.count[VALUES] > 100, "values")
        time.sleep(options.settle_s + 3)
        before_mib = resident_mib(process.pid)
        with still(process):
            settled(hears)
            first.close()
        print(f"    broker away for {options.outage_s:.0f} s, {before_mib:.1f} MiB", flush=True)
        hours, mibs = _watched(process, options.outage_s)
        last = stack.enter_context(contextlib.ExitStack())
        with still(process):
            last.enter_context(broker(folder, port))
            stack.enter_context(ear(folder, port))
        took_s = _drained(state, DRAIN_S + DRAIN_TIMES * options.outage_s)
        station.close()
        settled(hears)
        last.close()
        eventually(lambda: hears.count[DONE] == ENDED, "the end of the ear")
    judged = _say_memory(result, hours, mibs, before_mib)
    _say_arrival(result, hears, state, took_s)
    if not judged and result.met:
        result.met = None
    return result


@contextlib.contextmanager
def still(process: subprocess.Popen[str]) -> Iterator[None]:
    """Hold a process still while entered."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def settled(hears: Ear) -> None:
    """Wait until the ear has what the broker took: what a broker acknowledged and loses at its end is its own."""
    count = -1
    while count != hears.count[0]:
        count = hears.count[0]
        time.sleep(0.3)


def _watched(process: subprocess.Popen[str], seconds: float) -> tuple[list[float], list[float]]:
    """Look at the memory twice a second; return hours since the beginning, and MiB."""
    hours, mibs, begun = [], [], time.monotonic()
    while (since_s := time.monotonic() - begun) < seconds:
        hours.append(since_s / HOUR_S)
        mibs.append(resident_mib(process.pid))
        time.sleep(0.5)
    return hours, mibs


def _drained(state: Path, within_s: float) -> float | None:
    """Wait until the daemon says that nothing is left to deliver; return how long, None where it takes too long."""
    begun = told = time.monotonic()
    while (now := time.monotonic()) - begun < within_s:
        left = owed(state)
        if left == 0:
            return now - begun
        if now - told > TELL_S:
            print(f"    the broker is back since {now - begun:.0f} s, {left} records are left", flush=True)
            told = now
        time.sleep(0.5)
    return None


def owed(state: Path) -> int | None:
    """Ask a station how many records of the outage it has not delivered yet; None while it is not connected."""
    [told] = ask(state / "control.sock", {"do": "status"}, PATIENCE_S)
    return told["sinks"]["mqtt"]["backlog"]


def _say_memory(result: Result, hours: list[float], mibs: list[float], before_mib: float) -> bool:
    """Judge the slope; False where the outage was too short for it."""
    result.shows(f"{before_mib:.1f} MiB before, {max(mibs):.1f} at most, {mibs[-1]:.1f} at the end")
    warm = [(hour, mib) for hour, mib in zip(hours, mibs, strict=True) if hour * HOUR_S > WARM_S]
    if len(warm) < FEWEST:
        result.says(f"too short to speak of a slope: it begins {WARM_S:.0f} s into the outage")
        return False
    found = slope(*zip(*warm, strict=True))
    per, doubt = (100 * one / found.level for one in (found.per, found.doubt))
    span_min = 60 * (warm[-1][0] - warm[0][0])
    result.shows(f"slope {per:+.1f} +- {doubt:.1f} %/h over {span_min:.3g} min from {WARM_S:.0f} s on")
    if per - doubt >= 1:
        result.judge(False)
    elif per + doubt < 1:
        result.judge(True)
    else:
        result.says("too short to tell 1 %/h from nothing: --outage-minutes 60 does")
        return False
    return True


def _say_arrival(result: Result, hears: Ear, state: Path, took_s: float | None) -> None:
    """Compare what has come with what the journal holds, id by id; what it has not called delivered it still owes."""
    with hears.record.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as record:
        found = arrived(record)
    count, never, lost = 0, 0, 0
    with contextlib.closing(sqlite3.connect(state / "journal.db")) as db:
        for name, epoch, seq, done in db.execute(WRITTEN):
            came = seq < len(found[name, epoch]) and found[name, epoch][seq]
            count, never, lost = count + 1, never + (not came), lost + (done and not came)
    unknown = "" if took_s is None else f"; the backlog took {took_s:.0f} s after the broker's return"
    result.shows(f"{count - never} of {count} observations arrived{unknown}")
    if never:
        result.shows(f"{never - lost} are owed to the next start; {lost} called delivered never came")
    result.judge(not lost and took_s is not None)


WRITTEN = """
SELECT name, stream.epoch, seq, EXISTS(SELECT 1 FROM done WHERE sink = 'mqtt' AND row BETWEEN first AND last)
FROM record JOIN stream ON stream.id = record.stream WHERE kind = 0
"""


def arrived(record: bytes | mmap.mmap) -> dict[tuple[str, str], bytearray]:
    """Return for each stream and epoch which numbers an ear has kept: 1 at the place of each."""
    found: dict[tuple[str, str], bytearray] = defaultdict(bytearray)
    for heard in read_record(record):
        if match := ID.search(heard.payload):
            stream, epoch, seq = "/".join(match[1].decode().split(".")[2:]), match[2].decode(), int(match[3])
            came = found[stream, epoch]
            came.extend(bytes(max(0, seq + 1 - len(came))))
            came[seq] = 1
    return found

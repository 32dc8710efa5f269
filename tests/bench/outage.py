"""A broker that is away: what the daemon's memory does meanwhile, and whether everything arrives afterwards.

The broker is ended, not frozen, and comes back on the same port. The daemon stands still (SIGSTOP) for the moments in
which the broker ends and in which the ear subscribes again: the ear is to have all that the broker took.
"""

# ruff: noqa: T201  progress
from __future__ import annotations

import contextlib
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
from tests.bench.listening import DONE, ENDED, keep
from tests.bench.procs import PATIENCE_S, VALUES, Ear, Place, broker, ear, eventually, resident_mib, responder
from tests.bench.report import Options, Result

HOUR_S = 3600.0
WARM_S = 10.0
"""Into the outage: time-outs, back-off and the first pages of what is not delivered are as they will be."""

DRAIN_S = 900.0
LITTLE = 100
"""Records on their way while all is well."""

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
        took_s = _drained(state)
        station.close()
        settled(hears)
        last.close()
        eventually(lambda: hears.count[DONE] == ENDED, "the end of the ear")
    _say_memory(result, hours, mibs, before_mib)
    _say_arrival(result, hears, state, took_s)
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
    """Look at the memory twice a second; return hours and MiB, without the beginning."""
    hours, mibs, begun = [], [], time.monotonic()
    warm_s = min(WARM_S, seconds / 4)
    while (since_s := time.monotonic() - begun) < seconds:
        if since_s > warm_s:
            hours.append(since_s / HOUR_S)
            mibs.append(resident_mib(process.pid))
        time.sleep(0.5)
    return hours, mibs


def _drained(state: Path) -> float | None:
    """Wait until the daemon says that little is left to deliver; return how long, None where it takes too long."""
    begun = time.monotonic()
    while time.monotonic() - begun < DRAIN_S:
        left = owed(state)
        if left is not None and left < LITTLE:
            return time.monotonic() - begun
        time.sleep(0.5)
    return None


def owed(state: Path) -> int | None:
    """Ask a station how many records of the outage it has not delivered yet; None while it is not connected."""
    [told] = ask(state / "control.sock", {"do": "status"}, PATIENCE_S)
    return told["sinks"]["mqtt"]["backlog"]


def _say_memory(result: Result, hours: list[float], mibs: list[float], before_mib: float) -> None:
    if len(hours) < 3:
        return
    found = slope(hours, mibs)
    per, doubt = (100 * one / found.level for one in (found.per, found.doubt))
    result.shows(
        f"{before_mib:.1f} MiB before, {mibs[0]:.1f} after {HOUR_S * hours[0]:.0f} s, {mibs[-1]:.1f} at the end, slope "
        f"{per:+.1f} +- {doubt:.1f} %/h over {HOUR_S * (hours[-1] - hours[0]) / 60:.3g} min"
    )
    if per - doubt >= 1:
        result.judge(False)
    elif per + doubt < 1:
        result.judge(True)
    else:
        result.says("too short to tell 1 %/h from nothing: --outage-minutes 60 does")


def _say_arrival(result: Result, hears: Ear, state: Path, took_s: float | None) -> None:
    """Compare what has come with what the journal holds, id by id."""
    with hears.record.open("rb") as file:
        found = ids(file.read())
    with contextlib.closing(sqlite3.connect(state / "journal.db")) as db:
        told = db.execute(
            "SELECT stream.name, epoch, seq FROM record JOIN stream ON stream.id = record.stream WHERE kind = 0"
        ).fetchall()
    written = {(name, epoch, seq) for name, epoch, seq in told}
    lost = written - found
    unknown = "" if took_s is None else f", within {took_s:.0f} s of its return"
    result.shows(f"{len(written) - len(lost)} of {len(written)} observations arrived{unknown}")
    result.judge(not lost)


def ids(record: bytes) -> set[tuple[str, str, int]]:
    """Return stream, epoch and number of every observation that an ear has kept."""
    found: dict[tuple[bytes, bytes], set[int]] = defaultdict(set)
    for stream, epoch, seq in ID.findall(record):
        found[stream, epoch].add(int(seq))
    return {
        ("/".join(stream.decode().split(".")[2:]), epoch.decode(), seq)
        for (stream, epoch), seqs in found.items()
        for seq in seqs
    }

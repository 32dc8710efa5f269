"""Slots: how late they are served beside what the kernel wakes a C program at, and whether the grid drifts.

due of each observation, instant before the question -> lateness -> percentiles, a slope
"""

# ruff: noqa: T201  progress
from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.bench.benches import daemon, modbus_bench
from tests.bench.figures import Slope, median, percentile, slope, spread
from tests.bench.listening import Heard, Lateness, good, kept, utc_us
from tests.bench.procs import Place, compiled, responder, running
from tests.bench.report import Options, Result

HOUR_S = 3600.0


@contextlib.contextmanager
def sleeper(here: Place, wakes_per_s: int, seconds: float) -> Iterator[list[float]]:
    """Run the C loop so long while entered; give median, 99th percentile and largest of its lateness, us."""
    found: list[float] = []
    every_us, whole_s = 1_000_000 // wakes_per_s, max(1, int(seconds))
    with running(compiled("sleeper", here.folder), str(every_us), str(whole_s), pipe=True) as process:
        yield found
        assert process.stdout is not None
        found += map(float, process.stdout.readline().split())


def judge_lateness(
    result: Result, here: Place, bench: dict, wakes_per_s: int, options: Options, *, at_most: float, soak_s: float = 0
) -> None:
    """Compare p99 of start lateness with the C loop's at as many wake-ups, alone and in the same seconds."""
    ours, served, alone, beside, lost = [], [], [], [], 0
    seconds = max(options.seconds, soak_s / options.rounds)
    for _ in range(options.rounds):
        with sleeper(here, wakes_per_s, options.seconds) as quiet:
            pass
        before = here.ear[2]
        with daemon(here, bench):
            here.values_beyond(before)
            time.sleep(options.settle_s)
            with sleeper(here, wakes_per_s, seconds) as busy, kept(here.hears) as heard:
                time.sleep(seconds)
        found = Lateness.of(heard)
        ours.append(found.percentile_us(99))
        served.append(percentile(found.late_us, 99) if found.late_us else float("inf"))
        alone.append(quiet[1])
        beside.append(busy[1])
        lost += found.missed
    ratio = median([mine / theirs for mine, theirs in zip(ours, alone, strict=True)])
    result.shows(
        f"p99 start lateness {spread(ours, 0)} us, C loop alone {spread(alone, 0)} us: {ratio:.1f} times, "
        f"wanted at most {at_most:g}"
    )
    result.says(f"of the slots that were served alone: p99 {spread(served, 0)} us")
    result.says(f"C loop beside the daemon, in the same seconds: p99 {spread(beside, 0)} us")
    watched_s = seconds * options.rounds
    result.shows(f"{lost} slots missed in {watched_s:.0f} s")
    result.judge(ratio <= at_most)
    if soak_s:
        result.judge(lost == 0)


def late(here: Place, options: Options) -> Result:
    """500 polls x 10 Hz: start lateness."""
    result = Result("500 polls x 10 Hz, phases spread", "p99 start lateness <= 3 x the C loop's")
    with responder(here, "modbus_responder", 500) as stand:
        judge_lateness(result, here, modbus_bench(1, "100 ms", stand.ports), 5000, options, at_most=3)
    return result


TELL = 15
"""Looks between two words about how it goes."""

MOST_LOST = 100
"""One slot in so many may be missed, and those that were served still speak for all."""

EVERY_US = 100_000
LOOK_S = 1.0


def off_grid(heard: Sequence[Heard]) -> int:
    """Count the slots that are not k * every + phase exactly, with one phase for each instrument, in microseconds."""
    phases: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for one in heard:
        phases[one.topic][utc_us(one.message["due"]) % EVERY_US] += 1
    return sum(sum(found.values()) - max(found.values()) for found in phases.values())


@dataclass
class Looks:
    """What was seen of the slots, a second at a time.

    Args:
        hours: when, since the first.
        typical, tail: median and 99th percentile of lateness, us.
        seen, off, lost: slots that were served, that lay off the grid, that were missed.
    """

    hours: list[float] = field(default_factory=list)
    typical: list[float] = field(default_factory=list)
    tail: list[float] = field(default_factory=list)
    seen: int = 0
    off: int = 0
    lost: int = 0

    def take(self, since_s: float, heard: Sequence[Heard]) -> None:
        """Look once more."""
        found = Lateness.of(heard)
        self.seen += len(found.late_us)
        self.off += off_grid(good(heard))
        self.lost += found.missed
        if found.late_us:
            self.hours.append(since_s / HOUR_S)
            self.typical.append(median(found.late_us))
            self.tail.append(percentile(found.late_us, 99))
            if len(self.hours) % TELL == 1:
                print(f"    {since_s / 60:.1f} min: median lateness {self.typical[-1]:.0f} us", flush=True)


def drift(here: Place, options: Options) -> Result:
    """500 polls x 10 Hz: lateness over time, looked at for a second now and then."""
    result = Result(
        "500 polls x 10 Hz, over time", "no drift over an hour: slope of lateness 0 within its doubt; grid exact"
    )
    looks = _looked(here, options)
    if len(looks.hours) < 3:
        result.shows("too little came to judge by")
        return result
    _say_slope(result, slope(looks.hours, looks.typical), options.drift_s)
    result.says(f"p99 of lateness, second by second: {spread(looks.tail, 0)} us")
    count = f"{looks.lost} told as missed in {len(looks.hours)} looks of a second"
    result.shows(f"{looks.off} of {looks.seen} slots off the grid; {count}")
    result.judge(looks.off == 0)
    if looks.lost * MOST_LOST > looks.seen and result.met:
        result.met = None
        result.says("too many slots were missed for what is left to speak of drift")
    return result


def _looked(here: Place, options: Options) -> Looks:
    looks, before, pause_s = Looks(), here.ear[2], max(1.0, options.drift_s / 60 - LOOK_S)
    with (
        responder(here, "modbus_responder", 500) as stand,
        daemon(here, modbus_bench(1, "100 ms", stand.ports)),
    ):
        here.values_beyond(before)
        time.sleep(options.settle_s + 3)
        begun = time.monotonic()
        while (since_s := time.monotonic() - begun) < options.drift_s:
            with kept(here.hears) as heard:
                time.sleep(LOOK_S)
            looks.take(since_s, heard)
            time.sleep(pause_s)
    return looks


def _say_slope(result: Result, found: Slope, seconds: float) -> None:
    shown = "cannot be told from 0" if found.is_nothing else "is not 0"
    result.shows(
        f"median lateness {found.level:.0f} us, slope {found.per:+.0f} +- {found.doubt:.0f} us/h over "
        f"{seconds / 60:.3g} min: {shown}"
    )
    result.judge(found.is_nothing)

"""Slots: how late they are served beside what the kernel wakes a C program at, and whether the grid drifts.

due of each observation, instant before the question -> lateness -> percentiles, a slope
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.bench.benches import daemon, modbus_bench
from tests.bench.figures import Slope, median, percentile, slope, spread
from tests.bench.listening import Heard, Lateness, good, kept, missed, utc_us
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


def drift(here: Place, options: Options) -> Result:
    """500 polls x 10 Hz: lateness over time, looked at for a second now and then."""
    result = Result(
        "500 polls x 10 Hz, over time", "no drift over an hour: slope of lateness 0 within its doubt; grid exact"
    )
    pause_s = max(1.0, options.drift_s / 60 - LOOK_S)
    hours, typical, tail, wrong, seen, lost = [], [], [], 0, 0, 0
    with responder(here, "modbus_responder", 500) as stand:
        before = here.ear[2]
        with daemon(here, modbus_bench(1, "100 ms", stand.ports)):
            here.values_beyond(before)
            time.sleep(options.settle_s + 3)
            begun = time.monotonic()
            while time.monotonic() - begun < options.drift_s:
                with kept(here.hears) as heard:
                    time.sleep(LOOK_S)
                found = Lateness.of(heard)
                if found.late_us:
                    hours.append((time.monotonic() - begun) / HOUR_S)
                    typical.append(median(found.late_us))
                    tail.append(percentile(found.late_us, 99))
                wrong += off_grid(good(heard))
                seen += len(found.late_us)
                lost += missed(heard)
                time.sleep(pause_s)
    if len(hours) < 3:
        result.shows("too little came to judge by")
        return result
    _say_slope(result, slope(hours, typical), options.drift_s)
    result.says(f"p99 of lateness, second by second: {spread(tail, 0)} us")
    result.shows(f"{wrong} of {seen} slots off the grid; {lost} told as missed in {len(hours)} looks of a second")
    result.judge(wrong == 0)
    if lost * MOST_LOST > seen and result.met:
        result.met = None
        result.says("too many slots were missed for what is left to speak of drift")
    return result


def _say_slope(result: Result, found: Slope, seconds: float) -> None:
    shown = "cannot be told from 0" if found.is_nothing else "is not 0"
    result.shows(
        f"median lateness {found.level:.0f} us, slope {found.per:+.0f} +- {found.doubt:.0f} us/h over "
        f"{seconds / 60:.3g} min: {shown}"
    )
    result.judge(found.is_nothing)

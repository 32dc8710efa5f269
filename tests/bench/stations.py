"""Past one core: several stations on one broker, and a group of readers that shares what they publish.

Each station is a daemon of its own with its own instruments, journal and connection, as the template unit of systemd
starts them. The readers subscribe to one shared subscription ($share); each record is to be read once by the group.
"""

# ruff: noqa: T201  progress
from __future__ import annotations

import contextlib
import time
from collections import Counter as Count

from tests.bench.benches import daemon, scpi_bench
from tests.bench.listening import Heard, good, is_observation, kept
from tests.bench.procs import OBSERVATIONS, VALUES, Place, cpu_s, ear, eventually, resident_mib, responder
from tests.bench.report import Options, Result

INSTRUMENTS = 10
"""Of each station, at 5 Hz: twenty stations make 1000 observations a second."""

EVERY, PER_S = "200 ms", 5
READERS = 3
BEHIND_S = 1.0
"""The group may have a record so much later than the ear that hears all."""

GROUP = "$share/readers/" + OBSERVATIONS


def stations(here: Place, options: Options) -> Result:
    """1, 5, 20 stations of ten instruments x 5 Hz, read by all and by a group of three."""
    result = Result(
        "several stations on one broker",
        "each record read once by a shared-subscription group of three; cost per observation as with one station",
    )
    rows = []
    for count in options.stations:
        print(f"    {count} stations", flush=True)
        rows.append(_measure(here, count, options, result))
    one, most = rows[0], rows[-1]
    result.shows(
        f"{most.us:.0f} us CPU an observation at {most.count} stations, {one.us:.0f} at {one.count}: "
        f"{most.us / one.us:.2f} times"
    )
    result.table = "\n".join(
        [
            "| stations | due/s | delivered/s | us CPU an observation | MiB a station | read by the group |",
            "|---|---|---|---|---|---|",
            *(row.line for row in rows),
        ]
    )
    return result


class Row:
    """What so many stations have shown; `us` is CPU an observation."""

    def __init__(
        self, count: int, us: float, delivered_per_s: float, mib: float, shares: list[int], wrong: int
    ) -> None:
        self.count, self.us = count, us
        read = " + ".join(map(str, shares))
        once = "each once" if not wrong else f"{wrong} not once"
        self.line = (
            f"| {count} | {count * INSTRUMENTS * PER_S} | {delivered_per_s:.0f} | {us:.0f} | {mib / count:.1f} | "
            f"{read}, {once} |"
        )


def _measure(here: Place, count: int, options: Options, result: Result) -> Row:
    with contextlib.ExitStack() as stack:
        stand = stack.enter_context(responder(here, "scpi_responder", count * INSTRUMENTS, "0"))
        readers = [
            stack.enter_context(ear(here.folder, here.broker, f"reader{count}-{n}", GROUP)) for n in range(READERS)
        ]
        before = here.ear[VALUES]
        pids = []
        for number in range(count):
            ports = stand.ports[number * INSTRUMENTS : (number + 1) * INSTRUMENTS]
            bench = scpi_bench(EVERY, ports, f"b{number + 1}")
            pids.append(stack.enter_context(daemon(here, bench)).pid)
        eventually(lambda: here.ear[VALUES] > before + 10 * count * INSTRUMENTS, "values of all stations")
        time.sleep(options.settle_s)
        with contextlib.ExitStack() as keeping:  # about the window: what is heard inside it they have kept
            shared = [keeping.enter_context(kept(reader)) for reader in readers]
            with kept(here.hears) as all_heard:
                begun, cpu = time.monotonic(), sum(map(cpu_s, pids))
                time.sleep(options.seconds)
                seconds, spent = time.monotonic() - begun, sum(map(cpu_s, pids)) - cpu
            time.sleep(BEHIND_S)
        mib = sum(map(resident_mib, pids))
    values = good(all_heard)
    talking = {one.topic.split("/")[3] for one in values}
    result.judge(len(talking) == count)
    shares, wrong = read_once(all_heard, shared)
    result.judge(wrong == 0)
    return Row(count, 1e6 * spent / max(1, len(values)), len(values) / seconds, mib, shares, wrong)


def read_once(heard: list[Heard], shared: list[list[Heard]]) -> tuple[list[int], int]:
    """Return how many each reader has had, and how many of the observations heard the group has not read just once."""
    counts = Count(one.payload for reader in shared for one in reader)
    return [len(reader) for reader in shared], sum(counts[one.payload] != 1 for one in heard if is_observation(one))

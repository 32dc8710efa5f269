"""Growth: what an observation costs with more instruments, more channels in a question, more rows in the journal.

Each point is a run of its own. What one expects is a straight line: CPU a second = what the idle station takes + what
an observation takes x observations; an observation's cost then falls towards the second with their number.
"""

# ruff: noqa: T201  progress
from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tests.bench.backlog import fill
from tests.bench.benches import WORDS, daemon, modbus_bench, scpi_bench
from tests.bench.chart import Line, chart
from tests.bench.figures import slope
from tests.bench.procs import VALUES, Place, cpu_s, resident_mib, responder
from tests.bench.report import Options, Result

INSTRUMENTS = (1, 10, 100, 300)
ROWS = (1_000, 100_000, 1_000_000, 10_000_000)
PER_S = 10
BY_INSTRUMENTS = "instruments x 10 Hz"


@dataclass(frozen=True)
class Point:
    """One run.

    Args:
        of: how many instruments, channels or rows.
        due_per_s, per_s: observations that were due, that came.
        us: CPU an observation.
        first_s: from the start to the first value.
    """

    of: int
    due_per_s: float
    per_s: float
    us: float
    mib: float
    first_s: float

    @property
    def row(self) -> str:
        """A row of a table."""
        rates = f"{self.due_per_s:.0f} | {self.per_s:.0f}"
        return f"{self.of:,} | {rates} | {self.us:.0f} | {self.mib:.0f} | {self.first_s:.1f}"


def growth(here: Place, options: Options) -> Result:
    """Instruments, channels, rows."""
    result = Result("growth", "cost per observation: straight lines, or explained")
    seconds = max(options.seconds, 2.0)
    by_instruments, by_channels, by_rows = [], [], []
    for count in INSTRUMENTS:
        with responder(here, "scpi_responder", count, "0") as stand:
            bench = scpi_bench("100 ms", stand.ports)
            by_instruments.append(_point(here, bench, count, count * PER_S, 1, seconds, options))
    for words in WORDS:
        with responder(here, "modbus_responder", 50) as stand:
            bench = modbus_bench(words, "100 ms", stand.ports)
            by_channels.append(_point(here, bench, words, 50 * PER_S, words, seconds, options))
    with responder(here, "scpi_responder", 100, "0") as stand:
        bench = scpi_bench("100 ms", stand.ports)
        for rows in ROWS:
            if rows <= options.rows:
                state = here.file("rows")
                fill(state, rows, delivered=True)
                by_rows.append(_point(here, bench, rows, 100 * PER_S, 1, seconds, options, state))
                shutil.rmtree(state)
    series = {BY_INSTRUMENTS: by_instruments, "channels x 50 devices x 10 Hz": by_channels}
    series |= {"rows in the journal, 100 instruments x 10 Hz": by_rows}
    _tell(result, series)
    if options.picture:
        _draw(options.picture, series)
        result.table += f"\n\n![CPU of an observation, by instruments, channels and rows]({options.picture.name})"
    return result


def _point(
    here: Place,
    bench: dict,
    of: int,
    due_per_s: float,
    values_each: int,
    seconds: float,
    options: Options,
    state: Path | None = None,
) -> Point:
    before, begun = here.ear[VALUES], time.monotonic()
    with daemon(here, bench, state) as process:
        here.values_beyond(before)
        first_s = time.monotonic() - begun
        time.sleep(options.settle_s)
        begun, cpu, values = time.monotonic(), cpu_s(process.pid), here.ear[VALUES]
        time.sleep(seconds)
        came = (here.ear[VALUES] - values) / values_each
        spent, lasted = cpu_s(process.pid) - cpu, time.monotonic() - begun
        point = Point(of, due_per_s, came / lasted, 1e6 * spent / max(came, 1), resident_mib(process.pid), first_s)
    print(f"    {of:,}: {point.us:.0f} us an observation, {point.per_s:.0f}/s of {due_per_s:.0f}", flush=True)
    return point


def _tell(result: Result, series: dict[str, Sequence[Point]]) -> None:
    head = [
        "| | | due/s | came/s | us CPU an observation | MiB | first value after, s |",
        "|---|---|---|---|---|---|---|",
    ]
    result.table = "\n".join(
        [*head, *(f"| {name} | {point.row} |" for name, points in series.items() for point in points)]
    )
    for name, points in series.items():
        first, last = points[0], points[-1]
        result.shows(f"{name}: {first.us:.0f} us at {first.of:,}, {last.us:.0f} at {last.of:,}")
    whole = [point for point in series[BY_INSTRUMENTS] if not _falls_short(point)]
    if len(whole) > 2:
        found = slope([point.per_s for point in whole], [point.us * point.per_s / 1e4 for point in whole])
        idle = found.level - found.per * fmean(point.per_s for point in whole)
        result.says(
            f"a straight line through instruments x 10 Hz: {idle:.1f} % of a core + {1e4 * found.per:.0f} "
            f"(+- {1e4 * found.doubt:.0f}) us an observation"
        )
    short = [f"{point.of:,} ({name})" for name, points in series.items() for point in points if _falls_short(point)]
    if short:
        result.says(f"less came than was due at {', '.join(short)}: one core was not enough, or others had it")


def _falls_short(point: Point) -> bool:
    return point.per_s < 0.97 * point.due_per_s - 1


def _draw(path: Path, series: dict[str, Sequence[Point]]) -> None:
    lines = [
        Line(name, [(point.of, point.us) for point in points], [point.of for point in points if _falls_short(point)])
        for name, points in series.items()
    ]
    chart(path, "CPU of an observation, in microseconds", "hollow: less came than was due", lines)

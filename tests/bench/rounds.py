"""One round after the other, daemon and counterparts in turn; what each cost, medians, spreads and ratios.

contender -> Sample (CPU, values, messages, missed, resident) -> Figures over the rounds
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.bench.procs import MISSED, VALUES, Counter, cpu_s, eventually, resident_mib

SETTLE_S = 3.0
"""From the first value to the window: connecting, first information, first commits are over."""


@dataclass(frozen=True)
class Sample:
    """One window.

    Args:
        cpu_s: user and system time of the contender's processes.
        values: that came at the broker, counted by the ear (or `answers` of the responder where there is no broker).
        first_s: from its start to its first value.
    """

    seconds: float
    cpu_s: float
    values: int
    messages: int
    missed: int
    first_s: float
    resident_mib: float

    @property
    def us_per_value(self) -> float:
        """CPU of one value, in microseconds."""
        return self.cpu_s * 1e6 / max(self.values, 1)

    @property
    def values_per_s(self) -> float:
        """Values a second."""
        return self.values / self.seconds


@dataclass(frozen=True)
class Contender:
    """Who takes part: how it is started (gives a process), and where its values are counted."""

    name: str
    start: Callable[[], AbstractContextManager]
    count: Counter
    place: int = VALUES
    messages: Counter | None = None


def sample(contender: Contender, seconds: float) -> Sample:
    """Start a contender, let it settle, watch it for a window, end it."""
    before, begun = contender.count[contender.place], time.monotonic()
    ear = contender.messages or contender.count
    with contender.start() as process:
        eventually(lambda: contender.count[contender.place] > before, f"a value of {contender.name}", 0.001)
        first_s = time.monotonic() - begun
        time.sleep(SETTLE_S)
        begun, cpu, values = time.monotonic(), cpu_s(process.pid), contender.count[contender.place]
        messages, missed = ear[0], ear[MISSED]
        time.sleep(seconds)
        return Sample(
            time.monotonic() - begun,
            cpu_s(process.pid) - cpu,
            contender.count[contender.place] - values,
            ear[0] - messages,
            ear[MISSED] - missed,
            first_s,
            resident_mib(process.pid),
        )


def rounds(contenders: Sequence[Contender], count: int, seconds: float) -> Mapping[str, list[Sample]]:
    """Let all take their turns, `count` times; the order changes from round to round."""
    found: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(count):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            found[contender.name].append(sample(contender, seconds))
    return found


def median(numbers: Sequence[float]) -> float:
    """Return the middle one."""
    return statistics.median(numbers)


def spread(numbers: Sequence[float], digits: int = 1) -> str:
    """Print median, lowest and highest."""
    return f"{median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """Return our CPU per value by theirs, round by round."""
    return [our.us_per_value / their.us_per_value for our, their in zip(ours, theirs, strict=True)]

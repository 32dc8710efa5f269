"""One round after the other, daemon and counterparts in turn; what each cost, medians, spreads and ratios.

contender -> Sample (CPU, values, messages, missed, resident) -> Figures over the rounds
"""

# ruff: noqa: T201  a report is printed as it grows
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.bench.figures import median, spread
from tests.bench.procs import MISSED, VALUES, Counter, cpu_s, eventually, resident_mib
from tests.bench.report import Options, Result


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
    """Who takes part.

    Args:
        start: runs it while entered; gives its process.
        count, place: where its values are counted.
        messages: where its messages are, if elsewhere.
        each: values for each that is counted.
    """

    name: str
    start: Callable[[], AbstractContextManager]
    count: Counter
    place: int = VALUES
    messages: Counter | None = None
    each: int = 1


def sample(contender: Contender, options: Options) -> Sample:
    """Start a contender, let it settle, watch it for a window, end it."""
    before, begun = contender.count[contender.place], time.monotonic()
    ear = contender.messages or contender.count
    with contender.start() as process:
        eventually(
            lambda: contender.count[contender.place] > before or process.poll() is not None,
            f"a value of {contender.name}",
            0.001,
        )
        assert process.poll() is None, f"{contender.name} ended at once, with {process.returncode}"
        first_s = time.monotonic() - begun
        time.sleep(options.settle_s)
        begun, cpu, values = time.monotonic(), cpu_s(process.pid), contender.count[contender.place]
        messages, missed = ear[0], ear[MISSED]
        time.sleep(options.seconds)
        return Sample(
            time.monotonic() - begun,
            cpu_s(process.pid) - cpu,
            contender.each * (contender.count[contender.place] - values),
            ear[0] - messages,
            ear[MISSED] - missed,
            first_s,
            resident_mib(process.pid),
        )


def rounds(contenders: Sequence[Contender], options: Options) -> Mapping[str, list[Sample]]:
    """Let all take their turns, again and again; the order changes from round to round."""
    found: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(options.rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            found[contender.name].append(sample(contender, options))
        took = ", ".join(f"{name} {samples[-1].us_per_value:.0f}" for name, samples in found.items())
        print(f"    round {number + 1} of {options.rounds}: us CPU a value: {took}", flush=True)
    return found


def ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """Return our CPU per value by theirs, round by round."""
    return [our.us_per_value / their.us_per_value for our, their in zip(ours, theirs, strict=True)]


def costs(result: Result, found: Mapping[str, Sequence[Sample]]) -> None:
    """Say what each contender cost, and what came of it."""
    for name, samples in found.items():
        result.says(
            f"{name}: {spread([one.us_per_value for one in samples])} us CPU a value, "
            f"{median([one.values_per_s for one in samples]):.0f} values/s, "
            f"{median([one.messages / one.seconds for one in samples]):.0f} messages/s, "
            f"{100 * median([one.cpu_s / one.seconds for one in samples]):.0f} % of a core, "
            f"{median([one.resident_mib for one in samples]):.0f} MiB"
        )


def compare(result: Result, found: Mapping[str, Sequence[Sample]], other: str, at_most: float) -> None:
    """Judge our cost by another's."""
    found_ratios = ratios(found["daemon"], found[other])
    ours, theirs = (median([one.us_per_value for one in found[name]]) for name in ("daemon", other))
    result.shows(
        f"{spread(found_ratios, 2)} times the CPU of {other} ({ours:.0f} us a value beside {theirs:.0f}), "
        f"wanted at most {at_most:g}"
    )
    result.judge(median(found_ratios) <= at_most)


def delivered(result: Result, samples: Sequence[Sample], due_per_s: float) -> None:
    """Judge whether every value that was due came: none told as missed, and as many as there were slots."""
    share = 100 * median([one.values_per_s for one in samples]) / due_per_s
    missed = sum(one.missed for one in samples)
    result.shows(f"{share:.1f} % of the values due came; {missed} messages told of missed slots")
    result.judge(missed == 0 and share > SHARE_OF_WINDOW)


SHARE_OF_WINDOW = 99.0
"""Per cent: a window begins and ends between two slots, and a commit lies between a slot and its message."""

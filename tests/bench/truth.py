"""Time, proven: published instants against those at which the simulated instruments say that they sampled.

The whole house runs - stand-ins of every kind, broker, daemon - and for each time model of the drivers is told: the
share of observations whose true instant lies within t +- t_err on the monotonic clock, t_err, and the mean of
(t - true).

    House -> messages, the stand-ins' log -> Audit (who answered what) -> Truth by model
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from daq.demo.audit import Audit, _source
from daq.load import load_bench
from tests.system.house import House

NS = 1_000_000_000


@dataclass
class Truth:
    """What was found of one time model; times in ms."""

    inside: int = 0
    errs_ms: list[float] = field(default_factory=list)
    off_ms: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        count = len(self.errs_ms)
        ordered = sorted(self.errs_ms)
        return (
            f"{100 * self.inside / count:.2f} % of {count} within t +- t_err; "
            f"t_err median {ordered[count // 2]:.2f} ms, p99 {ordered[min(count - 1, count * 99 // 100)]:.2f} ms; "
            f"mean of t - true {statistics.mean(self.off_ms):+.2f} ms"
        )


def truths(folder: Path, seconds: float) -> tuple[dict[str, Truth], int]:
    """Run the house so long; return what was found by time model, and how many values were wrong."""
    folder.mkdir()
    house = House.build(folder)
    house.world.folder.mkdir(exist_ok=True)
    try:
        house.start()
        time.sleep(seconds)
        house.daemon.stop()
        found, wrong = _judged(house)
    finally:
        house.stop()
        house.broker.stop()
    return found, wrong


def _judged(house: House) -> tuple[dict[str, Truth], int]:
    loaded = load_bench(house.daemon.bench)
    models = {
        f"{name}/{poll.name}": type(poll.time).__name__.lower()
        for name, plan in loaded.plans.items()
        for poll in plan.polls
    }
    audit = house.audit()
    found: dict[str, Truth] = defaultdict(Truth)
    for heard in house.ear.obs(status="ok"):
        message = heard.json
        instrument, poll = message["id"].split(".")[2:4]
        truth = found[models[f"{instrument}/{poll}"]]
        instants = set(_instants(audit, instrument, message))
        if instants:
            middle_ns, err_ns = message["mono"] * NS, message["t_err"] * NS
            truth.errs_ms.append(err_ns / 1e6)
            truth.inside += all(abs(middle_ns - instant) <= err_ns + ROUNDED_NS for instant in instants)
            truth.off_ms += [(middle_ns - instant) / 1e6 for instant in instants]
    return found, audit.wrong + audit.outside


ROUNDED_NS = 1_000
"""mono is printed in microseconds, and read here as a float."""


def _instants(audit: Audit, instrument: str, message: dict) -> Iterator[int]:
    """Yield when the values of this observation were sampled; what a change of mode discards is none of them."""
    exchanges = message["exchanges"]
    answers = [answer for exchange in exchanges for answer in audit._answer(instrument, message, exchange)]
    for channel, reading in message["readings"].items():
        source = _source(reading, audit.places[instrument].get(channel), answers)
        if source is not None:
            yield from source.sampled_ns

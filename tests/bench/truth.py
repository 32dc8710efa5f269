"""Time, proven: published instants against those at which the simulated instruments say that they sampled.

The whole house runs - stand-ins of every kind, broker, daemon - and for each time model of the drivers is told: the
share of observations whose true instants lie within t +- t_err on the monotonic clock, t_err, and the mean of
(t - true). An instrument that averages has many true instants, all those whose values the answer holds: each must lie
within. Then once more while the daemon's real-time clock is set again and again, forwards and back (c/clock_shift.c).

    House -> messages, the stand-ins' log -> Audit (who answered what) -> Truth by model
"""

from __future__ import annotations

import copy
import json
import re
import statistics
import struct
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daq.demo.audit import Audit, Witness, _source
from daq.demo.places import PLACES
from daq.load import load_bench
from tests.bench.figures import percentile
from tests.bench.listening import utc_us
from tests.bench.procs import Place, compiled
from tests.bench.report import Options, Result
from tests.system.house import BENCH, WORLD, House

NS = 1_000_000_000
STEPS_S = (3600.0, -3600.0, 5.0, -5.0, -86400.0, 86400.0)
"""An hour, five seconds, a day, so that the clock is right again in the end; none so small that t_err hides it."""

MODELS = ("triggered", "filtered", "latest", "arrival")


@dataclass
class Truth:
    """What was found of one time model; times in ms."""

    inside: int = 0
    errs_ms: list[float] = field(default_factory=list)
    off_ms: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many observations."""
        return len(self.errs_ms)

    @property
    def holds(self) -> bool:
        """Tell whether every observation's true instants lay within its bounds, and there were some."""
        return 0 < self.inside == self.count

    def take(self, message: Mapping[str, Any], instants: Collection[int]) -> None:
        """Look at one observation, whose values were sampled at these monotonic instants."""
        middle_ns, err_ns = message["mono"] * NS, message["t_err"] * NS
        self.errs_ms.append(err_ns / 1e6)
        self.inside += all(abs(middle_ns - instant) <= err_ns + ROUNDED_NS for instant in instants)
        self.off_ms.append((middle_ns - statistics.mean(instants)) / 1e6)

    @property
    def row(self) -> str:
        """A row of a table."""
        if not self.count:
            return "0 | | | |"
        return (
            f"{self.count} | {100 * self.inside / self.count:.2f} % | {statistics.median(self.errs_ms):.2f} | "
            f"{percentile(self.errs_ms, 99):.2f} | {statistics.mean(self.off_ms):+.2f}"
        )


@dataclass
class Run:
    """What a run of the house has shown.

    Args:
        models: by time model.
        wrong, told: values that were not the answer to their question, or outside their bounds, by the demo's audit; in
            words.
        announced: steps of the clock that the daemon told of.
        off_clock: observations whose true instants, read on the station's own clock as it went then, lay outside t +-
            t_err of UTC.
    """

    models: dict[str, Truth]
    wrong: int
    announced: int
    off_clock: int
    told: list[str] = field(default_factory=list)


HEAD = (
    "| clock | model | observations | within | t_err median, ms | p99, ms | mean of t - true, ms |\n"
    "|---|---|---|---|---|---|---|"
)


def time_proven(here: Place, options: Options) -> Result:
    """Published instants against true ones, with the clock left alone and with the clock set again and again."""
    result = Result("time", "every true instant within t +- t_err (monotonic), with clock steps injected as well")
    seconds = 6 * options.seconds
    shift = here.file("shift")
    shift.write_bytes(struct.pack("q", 0))
    shim = compiled("clock_shift", here.folder, "-shared", "-fPIC")
    rows = [HEAD]
    for word, sizes_s in (("left alone", ()), (f"set {len(STEPS_S)} times", STEPS_S)):
        environ = {"LD_PRELOAD": str(shim), "CLOCK_SHIFT": str(shift)} if sizes_s else {}
        run = truths(here.file("house"), seconds, environ, Steps(shift, sizes_s))
        rows += [f"| {word} | `{model}` | {run.models[model].row} |" for model in MODELS]
        count, inside = (sum(getattr(one, name) for one in run.models.values()) for name in ("count", "inside"))
        result.shows(f"clock {word}: {inside} of {count} within")
        result.says(f"clock {word}: {run.wrong} values wrong or outside by the demo's audit")
        for found in run.told:
            result.says(f"clock {word}: {found}")
        result.says(
            f"clock {word}: {run.announced} steps announced, {run.off_clock} outside by the clock as it stood then"
        )
        result.judge(run.wrong == 0 and all(run.models[model].holds for model in MODELS))
        result.judge(run.announced == len(sizes_s))
    result.table = "\n".join(rows)
    return result


@dataclass
class Steps:
    """The clock that a daemon sees, set again and again; `done` says when (monotonic ns), and to which offset."""

    shift: Path
    sizes_s: tuple[float, ...]
    done: list[tuple[int, int]] = field(default_factory=list)

    def take(self, seconds: float) -> None:
        """Set it, evenly over so many seconds."""
        offset_ns, begun = 0, time.monotonic()
        for number, size_s in enumerate(self.sizes_s):
            time.sleep(max(0.0, begun + seconds * (number + 1) / (len(self.sizes_s) + 1) - time.monotonic()))
            offset_ns += int(size_s * NS)
            with self.shift.open("r+b") as file:
                file.write(struct.pack("q", offset_ns))
            self.done.append((time.monotonic_ns(), offset_ns))
        time.sleep(max(0.0, begun + seconds - time.monotonic()))

    def offset_ns(self, mono_ns: int) -> int:
        """Return how far the clock was off at an instant."""
        return next((offset for since, offset in reversed(self.done) if since <= mono_ns), 0)


def truths(folder: Path, seconds: float, environ: Mapping[str, str], steps: Steps) -> Run:
    """Run the house so long, with these steps of its clock."""
    folder.mkdir()
    house = House.build(folder)
    house.daemon.environ = environ
    house.world.described = _world()
    try:
        _start(house)
        steps.take(seconds)
        house.daemon.stop()
        return _judged(house, steps)
    finally:
        house.stop()


def _world() -> dict[str, Any]:
    """Return the house's world with a multimeter that measures alternating voltage through its filter."""
    world = copy.deepcopy(WORLD)
    world["instruments"]["dmm2"] = {"model": "34465a", "at": {"tcp": 0}, "serial_number": "SIM-DMM-2"}
    return world


def _bench() -> dict[str, Any]:
    bench = copy.deepcopy(BENCH)
    bench["instruments"]["dmm2"] = {
        "driver": "keysight/34465a",
        "at": {"tcp": "127.0.0.1:4"},
        "serial_number": "SIM-DMM-2",
        "poll": {"mains": {"ask": "acv", "every": "250 ms", "settings": {"bandwidth": "200 Hz"}}},
    }
    return bench


def _start(house: House) -> None:
    house.world.start()
    house.broker.start()
    house.ear.start()
    house.ear.listening()
    here = house.write(_bench())
    house.daemon.start()
    for name in here["instruments"]:
        house.ear.next(name, 0, status="ok")


def _judged(house: House, steps: Steps) -> Run:
    loaded = load_bench(house.daemon.bench)
    models = {
        f"{name}/{poll.name}": type(poll.time).__name__.lower()
        for name, plan in loaded.plans.items()
        for poll in plan.polls
    }
    messages = house.ear.obs(status="ok")  # before the witness is read: it knows of an answer before anybody has it
    places = {name: PLACES[one["driver"]] for name, one in _bench()["instruments"].items()}
    audit = Audit(Witness(house.world.witness()), places)
    run = Run(defaultdict(Truth), 0, len(house.ear.events("clock_step")), 0)
    utc_less_mono_ns = time.time_ns() - time.monotonic_ns()
    for heard in messages:
        message, payload = by_the_monotonic_clock(heard.payload)
        audit.take(payload, heard.arrived_ns)
        instrument, poll = message["id"].split(".")[2:4]
        instants = set(_instants(audit, instrument, message))
        if instants:
            run.models[models[f"{instrument}/{poll}"]].take(message, instants)
            clocked = [one + utc_less_mono_ns + steps.offset_ns(one) for one in instants]
            utc_ns, err_ns = 1000 * utc_us(message["t"]), heard.json["t_err"] * NS
            run.off_clock += any(abs(utc_ns - one) > err_ns + CLOCKED_NS for one in clocked)
    run.wrong, run.told = audit.wrong + audit.outside, audit.told
    return run


T_ERR = re.compile(rb'"t_err":[0-9.eE+-]+')


def by_the_monotonic_clock(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a message whose t_err speaks of the monotonic clock alone.

    Where the clock was set while an answer was awaited, t_err holds half the step as well: what it says of UTC. It is
    taken off again, so that the narrower interval is judged. No time model of the house is as wide as half a step.
    """
    message = json.loads(payload)
    halves = [abs(size_s) / 2 for size_s in STEPS_S]
    half_s = max((half_s for half_s in halves if half_s <= message["t_err"]), default=0.0)
    if half_s:
        message["t_err"] -= half_s
        payload = T_ERR.sub(b'"t_err":%.6f' % message["t_err"], payload)
    return message, payload


CLOCKED_NS = 2_000_000
"""What the two clocks may have been steered apart during a run, and the microseconds in which instants are printed."""

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

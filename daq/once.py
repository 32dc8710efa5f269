"""Asks instruments once, without a schedule, a journal or a broker: for people at a terminal.

The same lines, sessions and transports as the daemon's; only what becomes of the observations differs.

    Loaded -> read_once -> Found (observations, what was learned, events) -> daq read, daq check --probe
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from daq import build, control, state
from daq.clock import Clock, Discipline, SystemClock
from daq.core.errors import DaqError
from daq.core.health import Verdict
from daq.core.observation import NS, Observation, Status
from daq.core.wiring import Wiring, wirings
from daq.line import Line
from daq.load import Loaded, load_bench, read_yaml
from daq.loop import new_event_loop
from daq.parties import Outlets
from daq.rights import Rights, rights
from daq.session import Met

LEAST_S = 20.0
"""For an instrument that is not there: connecting twice, with quiet between."""


@dataclass(slots=True)
class Found:
    """What asking once brought.

    Args:
        observations: one for each poll, in the order they came.
        met: instrument -> what it said of itself; missing where it did not answer.
        events: instrument and words of what was found wrong.
    """

    observations: list[Observation] = field(default_factory=list)
    met: dict[str, Met] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)

    @property
    def all_ok(self) -> bool:
        """Whether every poll was answered."""
        return all(obs.status is Status.OK for obs in self.observations)


def refuse_what_is_held(loaded: Loaded, only: str | None) -> None:
    """Keep off instruments that a running station measures: a second hand would change its settings unseen.

    Raises:
        DaqError: one of the addresses is held; says by whom.
    """
    wanted = {
        wiring.wire.address
        for wiring in wirings(loaded.bench, loaded.drivers)
        if only is None or only in wiring.instruments
    }
    for path in state.sockets():
        try:
            told = next(control.ask(path, {"do": "status"}))
        except DaqError:
            continue  # it has just ended, or is not ours to ask
        named = loaded.bench.station
        if only is None and (told["station"]["site"], told["station"]["name"]) == (named.site, named.name):
            raise DaqError(
                f"{named.site}/{named.name} is running, pid {told['station']['pid']}: look with daq watch or daq "
                "status, or stop it first."
            )
        for name, each in told["instruments"].items():
            if each["address"] in wanted:
                station = f"{told['station']['site']}/{told['station']['name']}, pid {told['station']['pid']}"
                raise DaqError(
                    f"{each['address']} is {name} of a running station ({station}): asking it from here could change "
                    f"what that station measures. Look with daq watch or daq status, or stop it first."
                )


async def read_once(loaded: Loaded, only: str | None, clock: Clock) -> Found:
    """Ask all instruments of a bench, or one and those on its wire, wires side by side.

    Args:
        loaded: the bench.
        only: name of the one instrument; its wire's others are left alone.
        clock: time.
    """
    found = Found()
    discipline = Discipline()
    await discipline.refresh()
    outlets = Outlets(
        emit=found.observations.append,
        announce=partial(_heard, found),
        describe=lambda instrument, met: _note(found, instrument, met),
        verdict=_nothing,
        context=tuple,
        clock_state=lambda: discipline.state,
    )
    lines = [
        build.line(loaded, _narrowed(wiring, only), {}, clock, outlets)
        for wiring in wirings(loaded.bench, loaded.drivers)
        if only is None or only in wiring.instruments
    ]
    await asyncio.gather(*(_bounded(line, loaded) for line in lines))
    return found


def probed(bench: Path) -> Rights:
    """Ask all instruments of a bench file, and its broker; return what is not as it should be. A driver file has none.

    Raises:
        ConfigError: the file is wrong.
    """
    if "bench" not in read_yaml(bench, str(bench)).data:
        return Rights()
    loaded = load_bench(bench)
    refuse_what_is_held(loaded, None)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(read_once(loaded, None, SystemClock()))
        allowed = (
            Rights() if loaded.bench.mqtt is None else runner.run(rights(loaded, loaded.bench.mqtt, SystemClock()))
        )
    failed = [obs for obs in found.observations if obs.status is not Status.OK]
    allowed.problems[:0] = [
        *(f"instruments.{obs.instrument}.poll.{obs.poll}: {obs.status}: {obs.detail}" for obs in failed),
        *(f"instruments.{instrument}: {words}" for instrument, words in found.events),
    ]
    return allowed


def _narrowed(wiring: Wiring, only: str | None) -> Wiring:
    if only is None:
        return wiring
    return Wiring(wiring.name, wiring.wire, wiring.framing, wiring.gap_ns, (only,))


async def _bounded(line: Line, loaded: Loaded) -> None:
    """Give up a wire that takes longer than all its questions may; its transport bounds each of them already."""
    plans = [loaded.plans[name] for name in line.parties]
    worst_ns = sum(plan.latency_ns * (10 + sum(len(poll.steps) + 10 for poll in plan.polls)) for plan in plans)
    quiet_ns = max((poll.quiet_ns for plan in plans for poll in plan.polls), default=0)
    async with asyncio.timeout(LEAST_S + (worst_ns + quiet_ns) / NS):
        await line.once()


def _note(found: Found, instrument: str, met: Met | None) -> str:
    if met is not None:
        found.met[instrument] = met
    return ""


def _heard(found: Found, event: str, details: Mapping[str, Any]) -> None:
    """Keep an event in words, but for what the observations say themselves."""
    if event == "wrong_instrument":
        return
    said = [str(value) if key == "why" else f"{key} {value}" for key, value in details.items() if key != "instrument"]
    found.events.append((str(details.get("instrument")), f"{event}: {', '.join(said)}"))


def _nothing(_: str, __: Verdict) -> None:
    """Nobody waits for a retained status."""

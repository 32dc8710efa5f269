"""Puts one driver on a bench of its own, so that it can be compiled and asked as any other.

A driver file alone says neither where the instrument is nor what is wanted of it; here both are made up: all its polls,
once a second. Pure.

    Driver, address -> [entry] -> InstrumentFile -> [compiled] -> InstrumentPlan
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from daq.core.bench import Address, Bench, InstrumentFile, PollEntry, StationName
from daq.core.compile import compile_instrument
from daq.core.driver import Driver, RegisterDriver, Scalar, TextDriver
from daq.core.errors import ConfigError, DaqError
from daq.core.plan import InstrumentPlan, PollPlan
from daq.core.wiring import Wiring, wirings

STATION = StationName(site="workshop", name="workshop")
NOWHERE = {
    "text": Address(tcp="localhost:1"),
    "registers": Address(modbus_tcp="localhost:502", unit=1),
}
"""Addresses for compiling what is never asked."""


def polls_of(driver: Driver) -> list[str]:
    """Return all polls, and behind them the streams."""
    return [*driver.polls, *streams_of(driver)]


def streams_of(driver: Driver) -> list[str]:
    """Return what comes unasked."""
    return [*driver.streams] if isinstance(driver, TextDriver) else []


def entry(
    driver: Driver,
    at: Address | None = None,
    *,
    polls: Collection[str] | None = None,
    settings: Mapping[str, Scalar] | None = None,
    named: str | None = None,
    **facts: Any,
) -> InstrumentFile:
    """Write the entry of a bench file that asks for polls of a driver by their own names.

    Args:
        driver: of the instrument.
        at: where it is; None where nothing will be asked.
        polls: which; None for all of them, streams too.
        settings: for each of the polls, which must know them all.
        named: what messages call the driver; its title where nothing is given.
        facts: other keys of the entry, such as configure.
    """
    names = polls_of(driver) if polls is None else list(polls)
    asked: dict[str, PollEntry | str] = {
        # not validated: a driver's poll may bear a name that a bench must not use, such as status
        name: PollEntry.model_construct(
            ask=name,
            every=None if name in streams_of(driver) else 10**9,
            phase=None,
            settings=dict(settings or {}),
        )
        for name in names
    }
    made = InstrumentFile(
        driver=named or driver.title,
        at=at or NOWHERE[driver.speaks],
        poll={"any": "1 s"},
        **facts,
    )
    return made.model_copy(update={"poll": asked})


def whole_entry(
    driver: Driver,
    at: Address | None = None,
    *,
    polls: Collection[str] | None = None,
    settings: Mapping[str, Scalar],
    named: str | None = None,
) -> InstrumentFile:
    """Write the entry of a bench file with settings for whatever knows them, as one types them beside all polls.

    What holds for the whole instrument stands there; what is right for some of the polls alone, as a range in volts is,
    stands with them.

    Raises:
        ConfigError: a setting that nothing knows, or that is right nowhere.
    """
    made = entry(driver, at, polls=polls, named=named)
    together = made.model_copy(update={"settings": dict(settings)})
    if not isinstance(compile_instrument(driver, "instrument", together, STATION), list):
        return together
    taken = {poll: settings_of(driver, poll, settings) for poll in made.poll}
    left = {name: value for name, value in settings.items() if not any(name in each for each in taken.values())}
    asked = {name: _with_settings(poll, taken[name]) for name, poll in made.poll.items()}
    parted = made.model_copy(update={"poll": asked, "settings": left})
    compiled(driver, parted)
    return parted


def _with_settings(poll: PollEntry | str, settings: Mapping[str, Scalar]) -> PollEntry:
    assert isinstance(poll, PollEntry), "entry writes them out"
    return poll.model_copy(update={"settings": dict(settings)})


def settings_of(driver: Driver, poll: str, settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the settings that a poll knows and that are right for it; they may depend on each other."""
    found = dict(settings)
    while found:
        plan = compile_instrument(driver, "instrument", entry(driver, polls=[poll], settings=found), STATION)
        if not isinstance(plan, list):
            break
        wrong = {str(problem.path[-1]) for problem in plan if problem.path[-2:-1] == ("settings",)} & found.keys()
        found = {name: value for name, value in found.items() if wrong and name not in wrong}
    return found


def compiled(driver: Driver, wanted: InstrumentFile, name: str = "instrument") -> InstrumentPlan:
    """Compile the entry. Raises ConfigError with all that is wrong."""
    plan = compile_instrument(driver, name, wanted, STATION)
    if isinstance(plan, list):
        raise ConfigError([f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in plan])
    return plan


def poll_plan(driver: Driver, poll: str, settings: Mapping[str, Scalar] | None = None) -> PollPlan:
    """Compile one poll among all the others. Raises ConfigError, DaqError where there is no such poll."""
    if poll not in polls_of(driver):
        raise DaqError(f"no poll {poll!r}. There are: {', '.join(polls_of(driver))}")
    every = entry(driver)
    one = entry(driver, polls=[poll], settings=settings)
    plan = compiled(driver, every.model_copy(update={"poll": every.poll | one.poll}))
    return next(each for each in plan.polls if each.source == poll)


def wiring_of(driver: Driver, wanted: InstrumentFile, name: str = "instrument") -> Wiring:
    """Return the wire that an entry stands on."""
    bench = Bench.model_construct(bench=1, station=STATION, wires={}, instruments={name: wanted})
    (wiring,) = wirings(bench, {wanted.driver: driver})
    return wiring


def is_registers(driver: Driver) -> bool:
    """Whether it speaks Modbus."""
    return isinstance(driver, RegisterDriver)

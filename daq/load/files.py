"""Loads a bench with the drivers it uses, or a driver alone, and gathers everything that is wrong with any of them.

path -> Source -> models, wiring, compile -> Loaded | ConfigError (problems by file and line)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from daq.core import explain
from daq.core.bench import Bench, StationName
from daq.core.budget import Cost, overfull
from daq.core.compile import compile_instrument
from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import ConfigError, quoted
from daq.core.examples import failed_examples, whole_plan
from daq.core.plan import InstrumentPlan, Problem
from daq.core.wiring import wiring_problems, wirings
from daq.core.written import Keys, Place, Source, dotted
from daq.load.shelf import Shelf
from daq.load.source import FileProblem, read_yaml


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bench and all that it needs, found right.

    Args:
        path: of the bench file.
        bench: its content.
        drivers: by the name that the bench file gives.
        source: the bench file as written.
        driver_sources: the driver files as written, by the same names.
        plans: what each instrument is to be asked, by its name in the bench file.
    """

    path: Path
    bench: Bench
    drivers: dict[str, Driver]
    source: Source
    driver_sources: dict[str, Source]
    plans: dict[str, InstrumentPlan]

    @property
    def bench_hash(self) -> str:
        """Of the bench file, 12 hexadecimal digits."""
        return self.source.hash

    @property
    def overfull(self) -> list[tuple[Cost, str]]:
        """Wires, and polls, that are to do more than they can, in words; and the poll that is to be looked at."""
        drivers = {name: self.drivers[entry.driver] for name, entry in self.bench.instruments.items()}
        return list(overfull(wirings(self.bench, self.drivers), self.plans, drivers))

    @property
    def driver_hashes(self) -> dict[str, str]:
        """Of each driver file, 12 hexadecimal digits."""
        return {name: source.hash for name, source in self.driver_sources.items()}


def load_bench(path: str | Path) -> Loaded:
    """Read a bench file and the drivers it uses.

    Raises:
        ConfigError: anything is wrong with any of them; holds every problem, by file and line.
    """
    path = Path(path)
    found = _Problems()
    source = found.read(path)
    if source is None:
        raise found.error()
    bench = found.bench(source)
    shelf = Shelf.beside(path)
    drivers: dict[str, Driver] = {}
    sources: dict[str, Source] = {}
    for name, first in _drivers_named(source.data).items():
        file = shelf.find(name)
        if file is None:
            found.add(source, first, f"no driver {quoted(name)}. {shelf.nearest(name)}")
            continue
        text = found.read(file)
        if text is None:
            continue
        sources[name] = text
        driver = found.driver(text)
        if driver is not None:
            drivers[name] = driver
    whole = bench if bench is not None else _sound_part(source.data, found.paths(source))
    plans: dict[str, InstrumentPlan] = {}
    if whole is not None:
        found.extend(source, wiring_problems(whole, drivers, _names(source.data, "wires")))
        plans = found.plans(source, whole, drivers, sources)
    if found.any() or bench is None:
        raise found.error()
    return Loaded(path, bench, drivers, source, sources, plans)


def named_station(path: str | Path) -> tuple[str, str]:
    """Return site and name of the station of a bench file, whatever else is wrong with it. Raises ConfigError."""
    found = _Problems()
    source = found.read(Path(path))
    written = source.data.get("station") if source is not None and isinstance(source.data, dict) else None
    try:
        named = StationName.model_validate(written)
    except ValidationError as error:
        if source is not None:
            wrong = explain.problems(error, StationName, "bench")
            found.extend(source, (replace(one, path=("station", *one.path)) for one in wrong))
        raise found.error() from None
    return named.site, named.name


def load_driver(path: str | Path) -> tuple[Driver, Source]:
    """Read one driver file and run its examples. Raises ConfigError."""
    driver, source, problems = judge_driver(path)
    if problems or driver is None or source is None:
        raise ConfigError(problems)
    return driver, source


def judge_driver(path: str | Path) -> tuple[Driver | None, Source | None, list[str]]:
    """Read one driver file and run its examples: what of it could be read, and every problem."""
    found = _Problems()
    source = found.read(Path(path))
    driver = found.driver(source) if source is not None else None
    if source is not None and driver is not None:
        whole = found.alone(source, driver)
        if whole is not None and not found.any():
            found.examples(source, driver, whole)
    return driver, source, found.error().problems


def check_file(path: str | Path) -> list[str]:
    """Read a bench or a driver file, whichever it is.

    Returns:
        What is right and yet a risk in a bench, one line each; of drivers the workshop knows more.

    Raises:
        ConfigError: anything is wrong; holds every problem, by file and line.
    """
    found = _Problems()
    source = found.read(Path(path))
    if source is None:
        raise found.error()
    if _is_driver(source):
        load_driver(path)
        return []
    keys = source.data if isinstance(source.data, dict) else {}
    if "bench" in keys or ("instruments" in keys and "world" not in keys):
        loaded = load_bench(path)
        warnings = [_placed(source, name, told) for name, plan in loaded.plans.items() for told in plan.warnings]
        return [*warnings, *_twice(loaded), *(_at(source, most, words) for most, words in loaded.overfull)]
    found.add(source, (), "neither a bench nor a driver. A bench begins with 'bench: 1', a driver with 'driver: 1'.")
    raise found.error()


def is_driver(path: str | Path) -> bool:
    """Whether a file says that it is a driver; not where it cannot be read."""
    source = _Problems().read(Path(path))
    return source is not None and _is_driver(source)


def _is_driver(source: Source) -> bool:
    return isinstance(source.data, dict) and ("driver" in source.data or "speaks" in source.data)


def _at(source: Source, poll: Cost, words: str) -> str:
    """Put the place of a poll before what is to be known of it."""
    path = ("instruments", poll.instrument, "poll", poll.poll)
    line, column = source.place(path)
    return f"{source.shown}:{line}:{column}: {dotted(path)}: {words}"


def _twice(loaded: Loaded) -> Iterator[str]:
    """Tell of polls that ask what another one of the same instrument asks with the same settings."""
    for name, instrument in loaded.bench.instruments.items():
        seen: dict[str, str] = {}
        for poll, asked in instrument.poll.items():
            what = poll if isinstance(asked, str) else f"{asked.ask} {sorted(map(str, asked.settings.items()))}"
            what = f"{what} []" if isinstance(asked, str) else what
            if what in seen:
                path = ("instruments", name, "poll", poll)
                line, column = loaded.source.place(path)
                said = f"asks what {seen[what]!r} asks, with the same settings. One of them is enough."
                yield f"{loaded.source.shown}:{line}:{column}: {dotted(path)}: {said}"
            seen.setdefault(what, poll)


def _placed(source: Source, instrument: str, warning: str) -> str:
    """Put the place of an instrument before what is to be known of it."""
    line, column = source.place(("instruments", instrument))
    return f"{source.shown}:{line}:{column}: instruments.{instrument}: {warning}."


def _drivers_named(data: Any) -> dict[str, Keys]:
    """Return every driver that a bench names, and where it does so first."""
    instruments = data.get("instruments") if isinstance(data, dict) else None
    named: dict[str, Keys] = {}
    for name, instrument in instruments.items() if isinstance(instruments, dict) else ():
        driver = instrument.get("driver") if isinstance(instrument, dict) else None
        if isinstance(driver, str):
            named.setdefault(driver, ("instruments", name, "driver"))
    return named


def _names(data: Any, key: str) -> frozenset[str]:
    part = data.get(key) if isinstance(data, dict) else None
    return frozenset(part) if isinstance(part, dict) else frozenset()


def _sound_part(data: Any, wrong: Iterable[Keys]) -> Bench | None:
    """Return the bench without its wrong instruments and wires, so that the sound ones are judged in the same run."""
    if not isinstance(data, dict):
        return None
    bad = {path[:2] for path in wrong}
    parts = {
        key: {name: part for name, part in data[key].items() if (key, name) not in bad}
        for key in ("wires", "instruments")
        if isinstance(data.get(key), dict)
    }
    try:
        return Bench.model_validate({"bench": 1, "station": {"site": "x", "name": "x"}, **parts})
    except ValidationError:
        return None


class _Problems:
    """Everything wrong in all files of one bench, to be said at once."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._found: set[tuple[int, Place, str]] = set()
        self._paths: dict[str, list[Keys]] = {}

    def read(self, file: Path) -> Source | None:
        """Read a file; None where it cannot be read, which is noted."""
        shown = _shown(file)
        self._files.append(shown)
        try:
            source = read_yaml(file, shown)
        except FileProblem as problem:
            self._note(shown, problem.place, problem.message)
            return None
        for path, place, text in source.faults:
            self._paths.setdefault(shown, []).append(path)
            self._note(shown, place, text)
        return source

    def bench(self, source: Source) -> Bench | None:
        """Read the bench; None where it is wrong, which is noted."""
        try:
            return Bench.model_validate(source.data)
        except ValidationError as error:
            self.extend(source, explain.problems(error, Bench, "bench"))
            return None

    def driver(self, source: Source) -> Driver | None:
        """Read a driver; None where it is wrong, which is noted."""
        model = _language(source.data)
        try:
            return model.model_validate(source.data)
        except ValidationError as error:
            self.extend(source, explain.problems(error, model, "driver"))
            return None

    def plans(
        self, source: Source, bench: Bench, drivers: Mapping[str, Driver], sources: Mapping[str, Source]
    ) -> dict[str, InstrumentPlan]:
        """Compile every instrument whose driver is right; what is wrong in bench or driver is noted."""
        plans = {}
        for name, entry in bench.instruments.items():
            if entry.driver not in drivers:
                continue
            wire = bench.wires.get(entry.at.wire) if entry.at.wire is not None else None
            made = compile_instrument(drivers[entry.driver], name, entry, bench.station, wire.gap if wire else 0)
            if isinstance(made, InstrumentPlan):
                plans[name] = made
            else:
                self._of_instrument(made, source, drivers[entry.driver], sources[entry.driver])
        return plans

    def _of_instrument(self, made: list[Problem], bench: Source, driver: Driver, driver_source: Source) -> None:
        """Note what is wrong in the bench; what that makes wrong elsewhere is left out."""
        in_bench = {problem.path: problem for problem in reversed(made) if problem.file == "bench"}
        if in_bench:
            self.extend(bench, in_bench.values())
            self.alone(driver_source, driver)
        else:
            self.extend(driver_source, made)

    def alone(self, source: Source, driver: Driver) -> InstrumentPlan | None:
        """Note what is wrong with a driver whatever a bench asks of it; return its plan where nothing is."""
        whole = whole_plan(driver)
        if isinstance(whole, InstrumentPlan):
            return whole
        self.extend(source, (problem for problem in whole if problem.file == "driver"))
        return None

    def examples(self, source: Source, driver: Driver, whole: InstrumentPlan) -> None:
        """Note the examples that do not come out as they say."""
        for failure in failed_examples(driver, whole):
            number, _, said = failure.removeprefix("examples.").partition(" ")
            if number.isdecimal():
                self.add(source, ("examples", int(number)), f"{said}. Put the example or the poll right.")

    def extend(self, source: Source, problems: Iterable[Problem]) -> None:
        for problem in problems:
            if not source.tells_all(problem.path):
                self.add(source, problem.path, problem.message, at_key=problem.at_key)

    def add(self, source: Source, path: Keys, message: str, *, at_key: bool = False) -> None:
        key = dotted(path)
        self._paths.setdefault(source.shown, []).append(path)
        self._note(source.shown, source.place(path, at_key=at_key), f"{key}: {message}" if key else message)

    def paths(self, source: Source) -> list[Keys]:
        """Return the keys of a file that are wrong so far."""
        return self._paths.get(source.shown, [])

    def any(self) -> bool:
        return bool(self._found)

    def error(self) -> ConfigError:
        return ConfigError(
            [f"{self._files[file]}:{line}:{col}: {text}" for file, (line, col), text in sorted(self._found)]
        )

    def _note(self, shown: str, place: Place, text: str) -> None:
        self._found.add((self._files.index(shown), place, text))


def _language(data: Any) -> type[TextDriver | RegisterDriver]:
    """Return the model that a driver file is meant for, even where `speaks` is missing or mistyped."""
    keys = data if isinstance(data, dict) else {}
    speaks = str(keys.get("speaks")).lower()
    if speaks in ("text", "registers"):
        return TextDriver if speaks == "text" else RegisterDriver
    if "addressing" in keys or "registers" in str(keys.get("examples")):
        return RegisterDriver
    asks = "'ask':" in str(keys.get("polls")) or "'ask':" in str(keys.get("identify")) or "streams" in keys
    named = any(word in speaks for word in ("modbus", "rtu", "regist"))
    return RegisterDriver if named and not asks else TextDriver


def _shown(file: Path) -> str:
    """Return the name that the user knows a file by: as given, or as seen from the folder he stands in."""
    if not file.is_absolute() and ".." not in file.parts:
        return str(file)
    here, there = Path.cwd(), file.resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) else str(there)

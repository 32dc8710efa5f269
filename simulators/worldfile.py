"""Reads a world file: which stand-ins stand where, and the seed of their world.

Refuses a wrong file with all its errors, each with file, line, column, key and the nearest right word. The only file
here that knows YAML.

text -> ruamel.yaml (1.2, duplicate keys refused) -> _Reading (checks) -> Plan

    world: 1                                  # version of this format
    seed: 7                                   # the same seed gives the same world
    line_frequency: 50                        # Hz
    nominal: {resistance: 1000}               # other nominal values than world.NOMINAL's
    wires:
      rs485a: {serial: pty, link: /tmp/bus}   # a link is a name that stays when the adapter is plugged in again
    instruments:
      dmm1: {model: 34465a, at: {tcp: 0}, serial_number: SIM-1, sees: {error_ppm: 2, noise_ppm: 0.1, lag: 0}}
      t1: {model: 1502a, at: {serial: pty}, period: 1}            # how often it measures by itself, in s
      m1: {model: sdm630, at: {wire: rs485a, unit: 1}, serial_number: 4290000001}
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from simulators.instruments import Spec
from simulators.instruments.eastron_sdm630 import RESERVED_SERIALS
from simulators.models import MODELS
from simulators.world import NOMINAL, uniform

Interface = Literal["tcp", "visa", "serial", "modbus_tcp", "wire"]
SEES = ("error_ppm", "noise_ppm", "lag")


class WorldFileError(Exception):
    """The world file is wrong: `args` are the errors, one line each."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instrument stands.

    Attributes:
        port: for tcp, visa and modbus_tcp; 0 is one that the system gives.
        wire: the wire's name; None elsewhere.
        unit: the Modbus address; None where text is spoken.
        link: a symbolic link to make to the pseudo-terminal; None for none.
    """

    interface: Interface
    port: int = 0
    wire: str | None = None
    unit: int | None = None
    link: Path | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """One instrument: its model, what it is built from, and where it stands."""

    model: str
    spec: Spec
    place: Place


@dataclass(frozen=True, slots=True)
class Plan:
    """What a world file says. `wires` are the RTU wires by name, each with the link to make, or None."""

    seed: int
    nominal: dict[str, float]
    posts: tuple[Post, ...]
    wires: dict[str, Path | None]


class _Reading:
    """Collects errors while a file is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[str] = []

    def wrong(self, where: CommentedMap, key: str, dotted: str, message: str) -> None:
        """Note an error at a key, or at its mapping where the key is missing."""
        line, column = where.lc.key(key) if key in where else (where.lc.line, where.lc.col)
        self.errors.append(f"{self.path}:{line + 1}:{column + 1}: {dotted}: {message}")

    def keys(self, where: CommentedMap, dotted: str, allowed: Iterable[str], needed: Iterable[str] = ()) -> None:
        """Refuse keys that are not allowed and miss those that are needed."""
        known = list(allowed)
        for key in where:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f" Nearest: {near[0]!r}." if near else ""
                self.wrong(where, key, f"{dotted}{key}", f"no such key.{hint} Allowed: {', '.join(known)}.")
        for key in needed:
            if key not in where:
                self.wrong(where, key, f"{dotted}{key}", "is missing; add it.")

    def mapping(self, where: CommentedMap, key: str, dotted: str) -> CommentedMap:
        """Give the mapping under a key; an empty one where it is absent or wrong."""
        value = where.get(key)
        if isinstance(value, CommentedMap):
            return value
        if key in where:
            self.wrong(where, key, f"{dotted}{key}", f"must be a mapping, is {value!r}.")
        empty = CommentedMap()
        empty.lc.line, empty.lc.col = where.lc.line, where.lc.col
        return empty

    def number(
        self,
        where: CommentedMap,
        key: str,
        dotted: str,
        *,
        usual: float,
        low: float = -math.inf,
        high: float = math.inf,
    ) -> float:
        """Give the number under a key, or the usual one."""
        value = where.get(key, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.wrong(where, key, f"{dotted}{key}", f"must be a number from {low:g} to {high:g}, is {value!r}.")
            return usual
        return float(value)

    def link(self, where: CommentedMap, dotted: str) -> Path | None:
        """Give the path under `link`."""
        value = where.get("link")
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(where, "link", f"{dotted}link", f"must be a path, is {value!r}.")
            return None
        return Path(value)


def load(path: Path) -> Plan:
    """Read a world file.

    Raises:
        WorldFileError: it cannot be read, is no YAML, or says something that cannot be.
    """
    try:
        document: Any = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise WorldFileError(f"{path}:{at}: no YAML: {error.problem}. Mend the file there.") from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise WorldFileError(f"{path}: cannot be read: {error}. Give the path of a world file.") from error
    if not isinstance(document, CommentedMap):
        raise WorldFileError(f"{path}:1:1: must be a mapping that begins with 'world: 1'.")
    reading = _Reading(path)
    plan = _plan(reading, document)
    if reading.errors:
        raise WorldFileError(*reading.errors)
    return plan


def _plan(reading: _Reading, document: CommentedMap) -> Plan:
    reading.keys(
        document, "", ("world", "seed", "line_frequency", "nominal", "wires", "instruments"), ("world", "instruments")
    )
    if document.get("world", 1) != 1:
        reading.wrong(document, "world", "world", f"this program reads version 1, not {document['world']!r}.")
    seed = int(reading.number(document, "seed", "", usual=1, low=0, high=2**53))
    frequency = reading.number(document, "line_frequency", "", usual=50.0, low=45.0, high=65.0)
    nominal = reading.mapping(document, "nominal", "")
    reading.keys(nominal, "nominal.", NOMINAL)
    wires: dict[str, Path | None] = {}
    stated = reading.mapping(document, "wires", "")
    for name in stated:
        wire = reading.mapping(stated, name, "wires.")
        reading.keys(wire, f"wires.{name}.", ("serial", "link"), ("serial",))
        _must_be_pty(reading, wire, f"wires.{name}.")
        wires[str(name)] = reading.link(wire, f"wires.{name}.")
    instruments = reading.mapping(document, "instruments", "")
    posts = [
        _post(reading, instruments, str(name), seed=seed, frequency=frequency, wires=wires) for name in instruments
    ]
    _refuse_shared_units(reading, instruments, posts)
    return Plan(
        seed=seed,
        nominal={key: reading.number(nominal, key, "nominal.", usual=0.0) for key in nominal if key in NOMINAL},
        posts=tuple(post for post in posts if post is not None),
        wires=wires,
    )


def _must_be_pty(reading: _Reading, where: CommentedMap, dotted: str) -> None:
    if where.get("serial", "pty") != "pty":
        reading.wrong(where, "serial", f"{dotted}serial", "a stand-in makes its own pseudo-terminal; write 'pty'.")


def _post(
    reading: _Reading,
    instruments: CommentedMap,
    name: str,
    *,
    seed: int,
    frequency: float,
    wires: dict[str, Path | None],
) -> Post | None:
    dotted = f"instruments.{name}."
    entry = reading.mapping(instruments, name, "instruments.")
    reading.keys(entry, dotted, ("model", "at", "serial_number", "period", "sees"), ("model", "at"))
    model = MODELS.get(entry.get("model"))
    if model is None:
        near = difflib.get_close_matches(str(entry.get("model")), MODELS, n=1)
        hint = f" Nearest: {near[0]!r}." if near else ""
        reading.wrong(
            entry, "model", f"{dotted}model", f"no model {entry.get('model')!r}.{hint} There are: {', '.join(MODELS)}."
        )
        return None
    place = _place(reading, entry, dotted, model.habits.interfaces, wires)
    sees = reading.mapping(entry, "sees", dotted)
    reading.keys(sees, f"{dotted}sees.", SEES)
    own_error = (2 * uniform(seed, name, "error") - 1) * model.habits.spread_ppm
    serial = str(entry.get("serial_number", model.serial_number))
    _check_serial(reading, entry, dotted, serial, place.interface)
    return Post(
        model=entry["model"],
        spec=Spec(
            name=name,
            serial_number=serial,
            line_frequency=frequency,
            error_ppm=reading.number(sees, "error_ppm", f"{dotted}sees.", usual=own_error),
            noise_ppm=reading.number(sees, "noise_ppm", f"{dotted}sees.", usual=model.habits.noise_ppm, low=0.0),
            lag_s=reading.number(sees, "lag", f"{dotted}sees.", usual=model.habits.lag_s, low=0.0, high=3600.0),
            period_s=reading.number(entry, "period", dotted, usual=model.habits.period_s, low=0.01, high=3600.0),
        ),
        place=place,
    )


def _check_serial(reading: _Reading, entry: CommentedMap, dotted: str, serial: str, interface: Interface) -> None:
    if interface in ("modbus_tcp", "wire"):
        if not serial.isdecimal() or int(serial) not in RESERVED_SERIALS:
            low, high = RESERVED_SERIALS[0], RESERVED_SERIALS[-1]
            reading.wrong(
                entry, "serial_number", f"{dotted}serial_number", f"must be {low} to {high}, reserved for stand-ins."
            )
    elif not serial.startswith("SIM-"):
        reading.wrong(entry, "serial_number", f"{dotted}serial_number", f"must begin with 'SIM-', is {serial!r}.")


def _place(
    reading: _Reading, entry: CommentedMap, dotted: str, interfaces: tuple[str, ...], wires: dict[str, Path | None]
) -> Place:
    at = reading.mapping(entry, "at", dotted)
    here = f"{dotted}at."
    reading.keys(at, here, (*interfaces, "unit", "link"))
    chosen = [key for key in at if key in interfaces]
    if len(chosen) != 1:
        reading.wrong(entry, "at", f"{dotted}at", f"needs exactly one of {', '.join(interfaces)}.")
        return Place("tcp")
    interface: Interface = chosen[0]
    unit = (
        int(reading.number(at, "unit", here, usual=1, low=1, high=247)) if interface in ("modbus_tcp", "wire") else None
    )
    if interface == "wire":
        if at["wire"] not in wires:
            reading.wrong(
                at, "wire", f"{here}wire", f"no wire {at['wire']!r} under 'wires'. There are: {', '.join(wires)}."
            )
        return Place("wire", wire=str(at["wire"]), unit=unit)
    if interface == "serial":
        _must_be_pty(reading, at, here)
        return Place("serial", link=reading.link(at, here))
    return Place(interface, port=int(reading.number(at, interface, here, usual=0, low=0, high=65535)), unit=unit)


def _refuse_shared_units(reading: _Reading, instruments: CommentedMap, posts: list[Post | None]) -> None:
    taken: dict[tuple[str, int], str] = {}
    for post in posts:
        if post is None or post.place.wire is None or post.place.unit is None:
            continue
        key = (post.place.wire, post.place.unit)
        if key in taken:
            other = f"wire {key[0]}, unit {key[1]} is {taken[key]}'s already; give another unit."
            reading.wrong(instruments, post.spec.name, f"instruments.{post.spec.name}.at.unit", other)
        taken[key] = post.spec.name

"""What is being compiled: one instrument of the bench with its driver, and everything found wrong with either.

Nothing is raised on the way: each finding is noted with its file and keys, so that all of them are told at once. Holds
what text and registers share: which polls are wanted, settings, times, what stands behind a channel. Pure.

    compile -> [Assembly] -> compile_text | compile_registers -> InstrumentPlan or Problems
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Literal, TypeVar

from pydantic import ValidationError

from daq.core import driver as files
from daq.core import timing
from daq.core.bench import SIMULATED, InstrumentFile, PollEntry, StationName
from daq.core.driver import Channel, Driver, Scalar, Setting, TextDriver
from daq.core.errors import choices, nearest, quoted
from daq.core.formula import names, span_ns
from daq.core.plan import ChannelPlan, Problem
from daq.core.quantity import duration_ns, in_unit
from daq.core.settings import as_number, setting_text
from daq.core.units import QUANTITIES, UnitError, check_fits, check_unit, quantity_advice, symbol

Path = tuple[str | int, ...]

AnyChannel = TypeVar("AnyChannel", bound=Channel)

UNKNOWN = "unknown"
"""Aperture of an instrument whose integration time nobody knows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One poll of the bench file.

    Args:
        name: the bench's name; source: the driver's.
        every_ns, phase_ns: None where the bench file gives none.
        settings: as given for this poll alone.
        path: its keys below the instrument.
    """

    name: str
    source: str
    every_ns: int | None
    phase_ns: int | None
    settings: Mapping[str, Scalar]
    path: Path


@dataclass(slots=True)
class Assembly:
    """The work in hand.

    Args:
        problems: what was found wrong so far, in the order of finding.
        warnings: what is right but should be known.
    """

    driver: Driver
    name: str
    entry: InstrumentFile
    station: StationName
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def wrong_bench(self, path: Path, message: str) -> None:
        """Note a finding in the bench file; path is below the instrument."""
        self.problems.append(Problem("bench", ("instruments", self.name, *path), message))

    def wrong_driver(self, path: Path, message: str) -> None:
        """Note a finding in the driver file."""
        self.problems.append(Problem("driver", path, message))

    # Polls ------------------------------------------------------------------------------------------------------------

    def wanted(self) -> list[Wanted]:
        """Return the polls of the bench file that the driver has and whose interval is right."""
        return [found for name, written in self.entry.poll.items() if (found := self._wanted(name, written))]

    def _wanted(self, name: str, written: PollEntry | str) -> Wanted | None:
        if isinstance(written, str):
            every = None if written == "unasked" else duration_ns(written)
            found = Wanted(name, name, every, None, {}, ("poll", name))
        else:
            found = Wanted(name, written.ask, written.every, written.phase, written.settings, ("poll", name))
        streams: Iterable[str] = self.driver.streams if isinstance(self.driver, TextDriver) else ()
        if found.source not in self.driver.polls and found.source not in streams:
            where = found.path if isinstance(written, str) else (*found.path, "ask")
            known = [*self.driver.polls, *streams]
            self.wrong_bench(
                where, f"driver {self.entry.driver!r} has no poll {found.source!r}. {choices(found.source, known)}"
            )
            return None
        return found if self._interval_is_right(found, stream=found.source in streams) else None

    def _interval_is_right(self, wanted: Wanted, *, stream: bool) -> bool:
        if stream and wanted.every_ns is not None:
            message = f"{wanted.source!r} comes unasked and has no interval. Write '{wanted.name}: unasked'."
        elif not stream and wanted.every_ns is None:
            message = f"{wanted.source!r} must be asked for, and no interval is given. Write every: 1 s."
        elif wanted.phase_ns is not None and wanted.phase_ns >= (wanted.every_ns or 0):
            message = "phase must be shorter than the interval."
        else:
            return True
        self.wrong_bench(wanted.path, message)
        return False

    # Settings ---------------------------------------------------------------------------------------------------------

    def check_given(self, known: Mapping[str, Setting]) -> None:
        """Refuse settings of the whole instrument that the driver has nowhere."""
        for key in self.entry.settings:
            if key not in known:
                self.wrong_bench(
                    ("settings", key), f"driver {self.entry.driver!r} has no setting {key!r}. {choices(key, known)}"
                )

    def values(self, known: Mapping[str, Setting], wanted: Wanted | None, driver_path: Path) -> dict[str, str]:
        """Return what each setting is to be, as the instrument wants it; settings without a value are left out.

        Args:
            known: the driver's settings that hold here.
            wanted: the poll; None for what holds for the whole instrument.
            driver_path: keys of the settings in the driver file, for findings there.
        """
        values: dict[str, str] = {}
        for key, setting in known.items():
            if wanted is not None and key in wanted.settings:
                self._value(values, key, setting, wanted.settings[key], (*wanted.path, "settings", key))
            elif key in self.entry.settings:
                self._value(values, key, setting, self.entry.settings[key], ("settings", key))
            elif setting.default is not None:
                try:
                    values[key] = setting_text(setting, setting.default, from_driver=True)
                except ValueError as error:
                    self.wrong_driver((*driver_path, key, "default"), str(error))
        for key in wanted.settings if wanted is not None else ():
            if key not in known and wanted is not None:
                self.wrong_bench(
                    (*wanted.path, "settings", key), f"{wanted.source!r} has no setting {key!r}. {choices(key, known)}"
                )
        return values

    def _value(self, values: dict[str, str], key: str, setting: Setting, given: Scalar, path: Path) -> None:
        try:
            values[key] = setting_text(setting, given)
        except ValueError as error:
            values[key] = "1"  # so that what needs it is not found wrong as well
            self.wrong_bench(path, str(error))

    # Times ------------------------------------------------------------------------------------------------------------

    def time_model(
        self,
        model: files.TimeModel,
        values: Mapping[str, str],
        known: Mapping[str, Setting],
        wanted: Wanted,
        path: Path,
    ) -> timing.TimeModel:
        """Return the time model with the settings in force worked in; a wrong formula is noted and counts as 0."""

        def span(key: str) -> int:
            return self._span(str(getattr(model, key)), values, known, wanted, (*path, "time", key))

        match model:
            case files.Triggered():
                aperture_ns = None if model.aperture == UNKNOWN else span("aperture")
                return timing.Triggered(aperture_ns, _autozero(model.autozero), model.delay)
            case files.Filtered():
                return timing.Filtered(span("window"))
            case files.Latest():
                return timing.Latest(span("period"))
            case files.Arrival():
                return timing.Arrival(span("latency"))

    def _span(
        self, formula: str, values: Mapping[str, str], known: Mapping[str, Setting], wanted: Wanted, path: Path
    ) -> int:
        units = {key: _counts_as(known[key], value) for key, value in values.items() if key in known}
        try:
            return span_ns(formula, units, int(self.station.line_frequency.split()[0]))
        except ValueError as error:
            given = [key for key in wanted.settings if re.search(rf"\b{re.escape(key)}\b", formula)]
            if given:
                self.wrong_bench((*wanted.path, "settings", given[0]), str(error))
            else:
                self.wrong_driver(path, str(error))
            return 0

    def names_in_time(self, model: files.TimeModel) -> set[str]:
        """Return the settings that a time model depends on."""
        formula = next(getattr(model, key) for key in _SPANS if hasattr(model, key))
        try:
            return names(formula) - {UNKNOWN}
        except ValueError:
            return set()

    # Channels ---------------------------------------------------------------------------------------------------------

    def decided(self, channel: AnyChannel, values: Mapping[str, str], wanted: Wanted, path: Path) -> AnyChannel:
        """Return a channel with the values of settings put in where `set_by` says so; as written if one is wrong.

        Where a setting says what is measured, units that are none of it are not read, whatever the instrument prints.
        """
        for key, setting in channel.set_by.items():
            if setting not in values or key not in type(channel).model_fields:
                message = f"{key}: {setting} wants a key of channels, and a setting that has a value."
                self.wrong_driver((*path, "set_by"), message)
                return channel
            if self._is_told(self._given_at(setting, wanted)):
                continue
            wrong = _not_for(key, values[setting])
            if wrong is None:
                try:
                    put_in = channel.model_dump(exclude_unset=True) | {key: values[setting]}
                    channel = type(channel).model_validate(put_in)
                except ValidationError as error:
                    wrong = f"{values[setting]!r}: {error.errors()[0]['msg']}"
            if wrong is not None:
                self.wrong_bench(self._given_at(setting, wanted), wrong)
        printed: Mapping[str, str] = getattr(channel, "units", {})
        if printed and "quantity" in channel.set_by:
            fitting = {word: code for word, code in printed.items() if _fits(channel.quantity, code)}
            channel = channel.model_copy(update={"units": fitting})
        return channel

    def _given_at(self, setting: str, wanted: Wanted) -> Path:
        """Return the keys at which a bench gives a setting; of the poll where it gives none."""
        if setting in wanted.settings:
            return (*wanted.path, "settings", setting)
        return ("settings", setting) if setting in self.entry.settings else wanted.path

    def _is_told(self, path: Path) -> bool:
        """Whether the value of a setting was found wrong already."""
        return any(problem.path == ("instruments", self.name, *path) for problem in self.problems)

    def channel_plan(self, name: str, channel: Channel, wanted: Wanted, path: Path) -> ChannelPlan:
        """Describe a channel as info publishes it, and note a wrong unit or quantity."""
        self.check_unit(channel.unit, (*path, "unit"))
        if channel.quantity not in QUANTITIES:
            message = f"no quantity {channel.quantity!r}. {quantity_advice(channel.quantity)}"
            self.wrong_driver((*path, "quantity"), message)
        elif channel.kind == "number":
            self._check_fits(channel, wanted, path)
        if channel.kind == "enum" and not channel.enum:
            self.wrong_driver(path, "kind enum needs the meaning of each code: enum: {'0': off, '1': on}.")
        override = self.entry.channels.get(name)
        return ChannelPlan(
            name=name,
            quantity=channel.quantity,
            unit=channel.unit,
            symbol=symbol(channel.unit),
            kind=channel.kind,
            role=(override.role if override else None) or self.entry.role,
            asset=override.asset if override else None,
            label=(override.label if override else None) or channel.label,
        )

    def _check_fits(self, channel: Channel, wanted: Wanted, path: Path) -> None:
        """Note a unit that is none of the quantity; where settings decide, the bench file has it wrong."""
        printed: Mapping[str, str] = getattr(channel, "units", {})
        if any(self._is_told(self._given_at(setting, wanted)) for setting in channel.set_by.values()):
            return
        decides = channel.set_by.get("unit") or channel.set_by.get("quantity")
        for unit, key in ((channel.unit, "unit"), *((each, "units") for each in printed.values())):
            try:
                check_unit(unit)
            except UnitError:
                continue  # told before
            try:
                check_fits(channel.quantity, unit)
            except UnitError as error:
                if decides and key == "unit":
                    given = self._given_at(decides, wanted)
                    remedy = "" if given != wanted.path else f" Give one: settings: {{{decides}: ...}}."
                    self.wrong_bench(given, f"{error}{remedy}")
                else:
                    self.wrong_driver((*path, key), str(error))

    def check_unit(self, unit: str, path: Path) -> None:
        """Note a unit that is no UCUM code."""
        try:
            check_unit(unit)
        except UnitError as error:
            self.wrong_driver(path, str(error))

    def check_overrides(self, channels: Iterable[str]) -> None:
        """Refuse channels of the bench file that none of its polls reads."""
        known = set(channels)
        for key in self.entry.channels:
            if key not in known:
                self.wrong_bench(
                    ("channels", key), f"no poll of {self.name!r} reads a channel {key!r}. {choices(key, known)}"
                )

    def plausible(self, channel: Channel, path: Path) -> tuple[Decimal, Decimal] | None:
        """Return the range outside of which a reading is flagged, in the channel's unit."""
        if channel.plausible is None:
            return None
        ends = [self._bound(end, channel.unit, (*path, "plausible")) for end in channel.plausible]
        if ends[0] > ends[1]:
            self.wrong_driver((*path, "plausible"), "the low end comes first: [low, high].")
        return ends[0], ends[1]

    def _bound(self, end: Scalar, unit: str, path: Path) -> Decimal:
        number = as_number(end)
        if number is not None:
            return number
        try:
            return in_unit(str(end), unit)
        except (ValueError, InvalidOperation) as error:
            self.wrong_driver(path, str(error))
            return Decimal(0)

    def scale(self, channel: Channel, path: Path) -> Decimal | None:
        """Return the factor of a channel, None where there is none."""
        number = None if channel.scale is None else as_number(channel.scale)
        if channel.scale is not None and (number is None or number == 0):
            self.wrong_driver((*path, "scale"), f"{channel.scale!r} is not a decimal factor such as '0.1'.")
        return number

    # Who answers ------------------------------------------------------------------------------------------------------

    def check_expectations(self, expect: Mapping[str, str], fields: Iterable[str], path: Path) -> None:
        """Note regular expressions that are none or whose field nobody reads, and a serial number nobody can read."""
        known = set(fields)
        for key, pattern in expect.items():
            if key not in known:
                self.wrong_driver((*path, "expect", key), f"the answer has no field {key!r}. {nearest(key, known)}")
            try:
                re.compile(pattern)
            except re.error as error:
                self.wrong_driver((*path, "expect", key), f"{pattern!r} is no regular expression: {error}")

    def check_serial_number(self, fields: Iterable[str]) -> None:
        """Refuse a serial number in the bench file that nobody will ever compare."""
        wanted = self.entry.serial_number
        if wanted not in {None, "any"} and "serial" not in set(fields):
            message = (
                f"driver {self.entry.driver!r} cannot read a serial number: this one is never compared. Take it away."
            )
            self.wrong_bench(("serial_number",), message)


_SPANS = ("aperture", "window", "period", "latency")


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """Whether the right instrument answers; the callable of an IdentifyPlan.

    Args:
        expect: field -> regular expression that must match it whole.
        serial_number: from the bench file; None where any will do.
        simulated: what the bench file says.
    """

    driver: str
    expect: Mapping[str, re.Pattern[str]]
    serial_number: str | None
    simulated: bool

    def __call__(self, fields: dict[str, str]) -> str | None:
        """Return None, or why this is the wrong instrument."""
        for key, pattern in self.expect.items():
            if not pattern.fullmatch(fields.get(key, "")):
                return (
                    f"{key} is {quoted(fields.get(key, ''))}; driver {self.driver} expects {pattern.pattern!r}. "
                    "No readings until the address or the driver is put right."
                )
        serial = fields.get("serial")
        if serial is None:
            return None
        if self.serial_number is not None and serial.strip() != self.serial_number:
            return (
                f"serial number is {quoted(serial)}; the bench file names {self.serial_number!r}. "
                "No readings until the instrument or serial_number is put right."
            )
        if self.simulated and not serial.strip().startswith(SIMULATED):
            return (
                f"serial number is {quoted(serial)}, a real one; the bench file says simulated: true. "
                "No readings until the instrument or the bench file is put right."
            )
        return None


def identity_check(entry: InstrumentFile, expect: Mapping[str, str]) -> IdentityCheck:
    """Make the check of who answers. Expressions that are none were noted before and are left out."""
    patterns = {}
    for key, pattern in expect.items():
        try:
            patterns[key] = re.compile(pattern)
        except re.error:
            continue
    serial = None if entry.serial_number in {None, "any"} else entry.serial_number
    return IdentityCheck(entry.driver, patterns, serial, entry.simulated)


def _fits(quantity: str, unit: str) -> bool:
    """Whether a unit is one of a quantity; one that is neither is told of elsewhere."""
    try:
        check_fits(quantity, unit)
    except (UnitError, KeyError):
        return False
    return True


def _not_for(key: str, value: str) -> str | None:
    """Return why a setting's value is no unit or quantity; None where it is, or is for another key."""
    if key == "quantity" and value not in QUANTITIES:
        return f"no quantity {value!r}. {quantity_advice(value)}"
    if key == "scale" and not as_number(value):
        return f"{value!r} is not a decimal factor such as '0.1'."
    try:
        check_unit(value if key == "unit" else "1")
    except UnitError as error:
        return str(error)
    return None


def _counts_as(setting: Setting, value: str) -> tuple[str, str | None]:
    """Return the number, and its unit, that a setting's value stands for in a time model."""
    number, _, unit = setting.counts_as.get(value, value).partition(" ")
    return (number, unit or None) if value in setting.counts_as else (value, setting.unit)


def _autozero(written: bool | Literal["before", "after"]) -> timing.Autozero:
    if isinstance(written, bool):
        return "unknown" if written else "none"
    return written


def expansions(for_each: Mapping[str, list[Scalar]]) -> list[dict[str, str]]:
    """Return the values of for_each's names, one dict for each repetition; one empty dict where there are none."""
    return [
        dict(zip(for_each, (str(value) for value in values), strict=True)) for values in product(*for_each.values())
    ]

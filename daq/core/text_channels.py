"""Compiles the channels of a text poll: where each stands, and that every field is somebody's.

Asked (exchanges), TextChannel -> [channel_readers] -> Readings -> session
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from daq.core.assembly import Assembly, Path
from daq.core.driver import TextChannel, TextDriver
from daq.core.errors import nearest
from daq.core.observation import Flag, Kind, Reading, ReadingStatus
from daq.core.plan import Answer, Straight
from daq.core.settings import as_number, is_word
from daq.core.straight import straight_reply
from daq.core.template import BITS, HEX, NUMBERS
from daq.core.text_exchanges import Asked, types_in
from daq.core.text_readings import FlagBits, FlagWords, StatusCode, TextChannelReader, plain_code
from daq.core.units import symbol

_NO_NUMBER = frozenset({"text", "word", "quoted", "unit", "enum", "easyid"})


@dataclass(frozen=True, slots=True)
class Readings:
    """Answers of a poll's steps -> channel -> Reading."""

    readers: tuple[TextChannelReader, ...]

    def __call__(self, answers: Sequence[Answer]) -> dict[str, Reading]:
        """Return the readings. Raises ReplyError: one that cannot be read spoils the observation."""
        return {reader.name: reader.read(answers) for reader in self.readers}


def _nothing(_: Sequence[Answer]) -> dict[str, Reading]:
    return {}


def channel_readers(
    work: Assembly,
    driver: TextDriver,
    channels: Mapping[str, tuple[str, TextChannel]],
    asked: Sequence[Asked],
    path: Path,
) -> Callable[[Sequence[Answer]], dict[str, Reading]]:
    """Return what turns the answers of a poll into its readings.

    Args:
        work: where findings are noted.
        driver: for its list of special numbers.
        channels: name -> its key in the file, the channel.
        asked: the poll's exchanges; those without a reply bring no answer.
        path: the poll's keys in the driver file.
    """
    if any(one.whole is None and one.step.tell is None for one in asked):
        return _nothing  # what is wrong with its replies is noted already
    answered = [one for one in asked if one.whole is not None]
    return ChannelCompiler(work, driver, answered).readings(channels, path)


def straight(asked: Sequence[Asked], readings: Callable[[Sequence[Answer]], dict[str, Reading]]) -> Straight | None:
    """Return what reads the reply of a poll that is one question in one step; None where it takes more."""
    whole = asked[0].whole if len(asked) == 1 else None
    return None if whole is None or not isinstance(readings, Readings) else straight_reply(whole, readings.readers)


@dataclass(slots=True)
class ChannelCompiler:
    """Compiles the channels of one poll.

    Args:
        asked: its exchanges that have a reply, in order.
        owned: (exchange, field) that some channel, unit or status reads.
    """

    work: Assembly
    driver: TextDriver
    asked: Sequence[Asked]
    owned: set[tuple[int, str]] = field(default_factory=set)

    def readings(self, channels: Mapping[str, tuple[str, TextChannel]], path: Path) -> Readings:
        """Compile them all; what is wrong is noted."""
        found = [
            reader
            for name, (key, channel) in channels.items()
            if (reader := self._channel(name, channel, (*path, "channels", key))) is not None
        ]
        codes, doubts = self._codes(channels), self._doubts(channels)
        self._check_owned()
        self._check_heard({reader.step for reader in found})
        return Readings(
            tuple(
                replace(reader, codes=tuple(codes.get(reader.name, ())), doubts=tuple(doubts.get(reader.name, ())))
                for reader in found
            )
        )

    def _channel(self, name: str, channel: TextChannel, path: Path) -> TextChannelReader | None:
        wanted = channel.field or name
        step = self._place(wanted, path)
        if step is None:
            return None
        kinds = types_in(self.asked[step])[wanted]
        self._check_shapes(wanted, self.asked[step])
        self._check_kind(wanted, channel, kinds, path)
        unit_step = self._unit_step(channel, step, path)
        self._check_units(wanted, channel, step, unit_step)
        override = self.work.entry.channels.get(name)
        return TextChannelReader(
            name=name,
            step=step,
            field=wanted,
            base=16 if kinds & HEX else 10,
            signed="hexs" in kinds,
            comma=self.driver.link.decimal == ",",
            quantity=channel.quantity,
            unit=channel.unit,
            kind=Kind(channel.kind),
            role=(override.role if override else None) or self.work.entry.role,
            unit_field=channel.unit_in,
            unit_step=unit_step,
            units={channel.unit: channel.unit, symbol(channel.unit): channel.unit, **channel.units},
            specials=self._specials(channel, path),
            words={
                text: status for text, status in {**self.driver.special, **channel.special}.items() if is_word(text)
            },
            enum=channel.enum or {},
            scale=self.work.scale(channel, path),
            plausible=self.work.plausible(channel, path),
        )

    def _place(self, wanted: str, path: Path) -> int | None:
        """Return the exchange whose reply holds a field; None where none does, or several do, which is noted."""
        places = [number for number, one in enumerate(self.asked) if wanted in types_in(one)]
        if len(places) == 1:
            self.owned.add((places[0], wanted))
            return places[0]
        if places:
            self.work.wrong_driver(
                path, f"several replies have a field {wanted!r}. Name them differently, and give field."
            )
        else:
            fields = {each for one in self.asked for each in types_in(one)}
            self.work.wrong_driver(path, f"no reply has a field {wanted!r}. {nearest(wanted, fields)}")
        return None

    def _unit_step(self, channel: TextChannel, step: int, path: Path) -> int:
        """Return the exchange whose reply prints the unit: the channel's own, or the one that has such a field."""
        for code in channel.units.values():
            self.work.check_unit(code, (*path, "units"))
        if channel.unit_in is None:
            return step
        places = [number for number, one in enumerate(self.asked) if channel.unit_in in types_in(one)]
        place = step if step in places or len(places) != 1 else places[0]
        self.owned.add((place, channel.unit_in))
        if place not in places:
            advice = nearest(channel.unit_in, types_in(self.asked[step]))
            self.work.wrong_driver((*path, "unit_in"), f"the reply has no field {channel.unit_in!r}. {advice}")
        return place

    def _check_shapes(self, wanted: str, one: Asked) -> None:
        """Every shape holds the channel, or says its status."""
        for number, shape in enumerate(one.whole.shapes if one.whole else ()):
            if wanted not in shape.template.types and shape.status is None and shape.outcome is None:
                where = (*one.path, "replies", number) if one.step.replies else (*one.path, "reply")
                self.work.wrong_driver(where, f"this shape has no field {wanted!r}: give it a status or an outcome.")

    def _check_units(self, wanted: str, channel: TextChannel, step: int, unit_step: int) -> None:
        """See that every shape prints the unit of the channel too, or says that the declared one is to be assumed."""
        one, name = self.asked[unit_step], channel.unit_in
        if name is None or name not in types_in(one):
            return
        for number, shape in enumerate(one.whole.shapes if one.whole else ()):
            types, concerned = shape.template.types, unit_step != step and shape.outcome is None
            if (concerned or wanted in types) and name not in types and not shape.assumes_unit:
                message = (
                    f"this shape does not print {name!r}, the unit of {wanted!r}: whatever the instrument is set to, "
                    f"it would be read as {channel.unit}. Put {{{name}:unit}} in; or throw the number away with "
                    "{:nr} and give a status; or, where it can be in no other unit, write assume_unit: true."
                )
                self.work.wrong_driver((*one.path, "replies", number), message)

    def _check_kind(self, wanted: str, channel: TextChannel, kinds: set[str], path: Path) -> None:
        if channel.kind == "number" and kinds & _NO_NUMBER:
            kind = min(kinds & _NO_NUMBER)
            types = ", ".join(sorted(NUMBERS))
            message = f"field {wanted!r} is of type {kind}, which is no number. Use one of {types}, or give kind."
            self.work.wrong_driver(path, message)
        if channel.kind == "bits" and not kinds <= BITS:
            self.work.wrong_driver(
                path, f"kind bits needs a field of type bits or hex, not {', '.join(sorted(kinds))}."
            )
        if kinds & HEX and len(kinds) > 1:
            self.work.wrong_driver(path, f"field {wanted!r} is hex in one shape and otherwise in another.")

    def _specials(self, channel: TextChannel, path: Path) -> dict[Decimal, ReadingStatus]:
        found: dict[Decimal, ReadingStatus] = {}
        for where, specials in ((("special",), self.driver.special), ((*path, "special"), channel.special)):
            for text, status in specials.items():
                number = as_number(text)
                if is_word(text):
                    continue
                if number is None:
                    self.work.wrong_driver((*where, text), f"{text!r} is no number, such as 9.9E37.")
                else:
                    found[number] = status
        return found

    def _codes(self, channels: Mapping[str, object]) -> dict[str, list[StatusCode]]:
        """Return channel -> the fields that say how it is to be read."""
        codes: dict[str, list[StatusCode]] = {}
        for number, one in enumerate(self.asked):
            free = self._free(number)
            for name, table in one.step.status.items():
                self._check_channel(name, channels, (*one.path, "status", name))
                code = self._code_field(one, name, "status", free)
                if code is not None:
                    self.owned.add((number, code))
                    codes.setdefault(name, []).append(self._code(number, code, table, one))
        return codes

    def _free(self, number: int) -> list[str]:
        """Return the fields of a reply that are nobody's yet."""
        one = self.asked[number]
        named = {*one.step.status_in.values(), *one.step.flags_in.values()}
        return [each for each in types_in(one) if (number, each) not in self.owned and each not in named]

    def _check_channel(self, name: str, channels: Mapping[str, object], where: Path) -> None:
        if name not in channels:
            self.work.wrong_driver(where, f"no channel {name!r}. {nearest(name, channels)}")

    def _code_field(self, one: Asked, name: str, key: str, candidates: Sequence[str]) -> str | None:
        """Return the field that status or flags of a channel look at; None where it cannot be told, which is noted."""
        named: str | None = getattr(one.step, f"{key}_in").get(name)
        if named is not None:
            if named in types_in(one):
                return named
            where = (*one.path, f"{key}_in", name)
            self.work.wrong_driver(where, f"the reply has no field {named!r}. {nearest(named, types_in(one))}")
            return None
        if len(candidates) == 1:
            return candidates[0]
        many = f"{len(candidates)} fields ({', '.join(candidates)})" if candidates else "no field"
        message = f"this reply has {many} that could hold the code. Name it: {key}_in: {{{name}: field}}."
        self.work.wrong_driver((*one.path, key), message)
        return None

    def _code(self, number: int, name: str, table: Mapping[str, ReadingStatus], one: Asked) -> StatusCode:
        kinds = types_in(one)[name]
        base = 16 if "hex" in kinds else 10
        if not kinds & BITS:
            return StatusCode(number, name, base, codes={plain_code(code): status for code, status in table.items()})
        masks = [(self._mask(text, (*one.path, "status")), status) for text, status in table.items()]
        return StatusCode(number, name, base, masks=tuple(mask for mask in masks if mask[0]))

    def _doubts(self, channels: Mapping[str, object]) -> dict[str, list[FlagBits | FlagWords]]:
        """Return channel -> the fields that cast doubts on it; a channel may be such a field itself."""
        doubts: dict[str, list[FlagBits | FlagWords]] = {}
        for number, one in enumerate(self.asked):
            where, types = (*one.path, "flags"), types_in(one)
            bits = [name for name, kinds in types.items() if kinds <= BITS and len(kinds) == 1]
            candidates = bits or self._free(number)
            for name, table in one.step.flags.items():
                self._check_channel(name, channels, (*where, name))
                found = self._code_field(one, name, "flags", candidates)
                if found is not None:
                    self.owned.add((number, found))
                    doubts.setdefault(name, []).append(self._doubt(number, found, table, one))
        return doubts

    def _doubt(self, number: int, name: str, table: Mapping[str, Flag], one: Asked) -> FlagBits | FlagWords:
        kinds, where = types_in(one)[name], (*one.path, "flags")
        if kinds <= BITS and len(kinds) == 1:
            marks = tuple(self._mark(text, flag, where) for text, flag in table.items())
            return FlagBits(number, name, 16 if "hex" in kinds else 10, marks)
        if kinds & (NUMBERS | HEX):
            message = (
                f"field {name!r} is a number: are these bits, or codes? Write {{{name}:bits}}, or {{{name}:word}}; "
                f"of one sent as bytes {{{name}:bits8}} or {{{name}:bits16}}."
            )
            self.work.wrong_driver(where, message)
        return FlagWords(
            number,
            name,
            tuple((plain_code(text.removeprefix("!")), text.startswith("!"), flag) for text, flag in table.items()),
        )

    def _mark(self, text: str, flag: Flag, where: Path) -> tuple[int, bool, Flag]:
        return self._mask(text.removeprefix("!"), where), text.startswith("!"), flag

    def _mask(self, text: str, where: Path) -> int:
        """Return a mask; 0, which counts for nothing, where it is none, which is noted."""
        try:
            return int(text, 0)
        except ValueError:
            self.work.wrong_driver(where, f"{text!r} is no mask. Write bits as 32 or 0x20.")
            return 0

    def _check_heard(self, heard: set[int]) -> None:
        """Refuse a status or flags of a reply that holds no channel: they would change nothing, in silence."""
        for step, one in enumerate(self.asked):
            if step in heard or one.whole is None:
                continue
            for number, shape in enumerate(one.whole.shapes):
                if shape.status is not None or shape.flags:
                    message = (
                        "no channel stands in the replies of this step, so this status or flag would change nothing. "
                        "Put a field into the reply and write status: {channel: {code: ...}} beside it."
                    )
                    self.work.wrong_driver((*one.path, "replies", number), message)

    def _check_owned(self) -> None:
        """Refuse named fields that nobody reads: most often a mistyped name."""
        for number, one in enumerate(self.asked):
            lost = {name: kinds for name, kinds in types_in(one).items() if (number, name) not in self.owned}
            if lost:
                shown = ", ".join(map(repr, [*lost][:6])) + (f" and {len(lost) - 6} more" if len(lost) > 6 else "")
                are = f"fields {shown} of the reply are" if len(lost) > 1 else f"field {shown} of the reply is"
                which, kind = "one" if len(lost) > 1 else "it", min(next(iter(lost.values())))
                message = f"{are} no channel, unit or status. To check {which} and throw it away, write {{:{kind}}}."
                self.work.wrong_driver(one.path, message)

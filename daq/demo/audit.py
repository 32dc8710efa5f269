"""Compares what arrived at the broker with what the simulated instruments logged that they had answered. Pure.

The log is written by the simulators, which share no code with the daemon. A value is right only if its digits are those
of this channel in the answer to this very question: one that was asked when the daemon says it asked, that no other
observation cites, and that was sampled within the published bounds of time.

    messages, the simulators' log -> Audit -> wrong, lost, duplicates, slots, latencies
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from daq.demo.places import Place

NS = 1_000_000_000

MOST_TOLD = 20
"""Findings that are kept in words; the rest is only counted."""

ROUNDED_NS = 10_000
"""Instants in messages are written in microseconds, and several of them are added here."""

APART_NS = 50_000_000
"""The two clocks of a stamp are read one behind the other, and a busy computer may stop in between: bounds widen by
half of that."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One line of the simulators' log.

    Args:
        asked_ns, answered_ns: monotonic: when the question was complete, just before the last byte left.
        sampled_ns: monotonic instants at which the answer's values were true.
        values: the exact characters (text) or the shortest decimal (registers) of each value sent, by its name there.
        text: the answer as it left.
    """

    asked_ns: int
    answered_ns: int
    sampled_ns: tuple[int, ...]
    values: Mapping[str, str]
    text: str

    def sent(self, place: Place) -> Sequence[str]:
        """Return what a channel at this place may publish of it."""
        if place.value is None:
            return re.split(r"[,; ]", self.text)
        code = self.values.get(place.value, "")
        return [place.words.get(code, code)]


class Witness:
    """The simulators' log, by who was asked what and answered what."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._answers: dict[tuple[str, str, str], list[Answer]] = defaultdict(list)
        for line in lines:
            told = json.loads(line)
            answer = Answer(
                told["asked_mono_ns"],
                told["answered_mono_ns"],
                tuple(told["sampled_mono_ns"] or ()),
                told["values"],
                told["answer"],
            )
            self._answers[told["instrument"], told["ask"], told["answer"]].append(answer)

    def answers(self, instrument: str, exchange: Mapping[str, Any]) -> list[Answer]:
        """Return the times this instrument was asked just this and answered just that."""
        if exchange.get("hex"):
            return self._answers[instrument, exchange["ask"], exchange["got"]]
        return self._answers[instrument, readable(exchange["ask"]), readable(exchange["got"])]


def readable(text: str) -> str:
    """Write a line as the log does: without its ending, control characters as backslash escapes."""
    line = text.rstrip("\r\n")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


@dataclass(slots=True)
class Audit:
    """What the comparison found.

    Args:
        places: instrument -> channel -> where its text comes from; a channel without a place is wrong.
        wrong: observations with a value that is not the answer to their question.
        outside: observations whose true instant lay outside the published bounds.
        lost: observations that were published or numbered, and never came.
        unaccounted: due slots that no observation speaks for, or two.
        latencies_ns: from the instrument's answer to the arrival of the message.
    """

    witness: Witness
    places: Mapping[str, Mapping[str, Place]]
    received: int = 0
    readings: int = 0
    duplicates: int = 0
    lost: int = 0
    wrong: int = 0
    outside: int = 0
    unaccounted: int = 0
    simulated: bool = True
    told: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    instruments: set[str] = field(default_factory=set)
    latencies_ns: list[int] = field(default_factory=list)
    _streams: dict[str, dict[int, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    _payloads: dict[str, bytes] = field(default_factory=dict)
    _cited: dict[Answer, str] = field(default_factory=dict)

    def take(self, payload: bytes, arrived_ns: int) -> None:
        """Look at one observation; `arrived_ns` is the monotonic instant it came to the subscriber."""
        message = json.loads(payload, parse_float=Decimal)  # every digit as it was sent
        self.received += 1
        name = message["id"]
        if name in self._payloads:
            self.duplicates += 1
            if self._payloads[name] != payload:
                self._find("wrong", message, "came twice, and not with the same content")
            return
        self._payloads[name] = payload
        instrument, poll = name.split(".")[2:4]
        self._streams[f"{instrument}/{poll}/{message['epoch']}"][message["seq"]] = message
        self.instruments.add(instrument)
        self.simulated = self.simulated and message["simulated"] is True
        self.statuses[message["status"]] += message.get("slots", {}).get("count", 1)
        if message["status"] == "ok":
            self._compare(instrument, message, arrived_ns)
        elif any(reading["value"] is not None for reading in message["readings"].values()):
            self._find("wrong", message, f"status {message['status']} and yet a value")

    def _compare(self, instrument: str, message: Mapping[str, Any], arrived_ns: int) -> None:
        places = self.places.get(instrument, {})
        answers = [
            answer for exchange in message["exchanges"] for answer in self._answer(instrument, message, exchange)
        ]
        used: list[Answer] = []
        for channel, reading in message["readings"].items():
            self.readings += 1
            if reading["status"] != "ok" and reading["value"] is None:
                continue
            source = _source(reading, places.get(channel), answers)
            if source is None or not _has_its_value(reading):
                self._find("wrong", message, f"{channel} {reading['value']} ({reading['text']!r}) was not the answer")
                return
            used.append(source)
        if any(self._cited.setdefault(answer, message["id"]) != message["id"] for answer in used):
            self._find("wrong", message, f"cites the answer that {self._cited[used[0]]} has published")
            return
        by_ns = max((_beyond_ns(message, answer) for answer in used), default=0)
        if by_ns > 0:
            self._find("outside", message, f"its true instant lies {by_ns / NS:.6f} s outside t +- t_err")
        if used:
            self.latencies_ns.append(arrived_ns - max(answer.answered_ns for answer in used))

    def _answer(self, instrument: str, message: Mapping[str, Any], exchange: Mapping[str, Any]) -> Iterator[Answer]:
        """Yield the logged answer to this very question: the same was asked and answered many times.

        The last byte of an observation came after the end of its bounds, so that its questions were asked no earlier
        than is reckoned back from there: the first such question is its own, for a wire asks one at a time; of an
        answer that dripped, the first that no other observation cites. Where that one's instant is not within the
        bounds, they may have widened: then a question asked a moment before counts too. What came unasked was sent
        before it was seen, and is the last such.
        """
        if exchange["rtt"] is None:
            return
        ends = [other["at"] + other["rtt"] for other in message["exchanges"] if other["rtt"] is not None]
        ended_ns = _bounds(message)[1] - (max(ends) - exchange["at"] - exchange["rtt"]) * NS
        asked_ns = ended_ns - exchange["rtt"] * NS - ROUNDED_NS
        given = self.witness.answers(instrument, exchange)
        if exchange["ask"]:
            found = [answer for answer in given if answer.asked_ns >= asked_ns - APART_NS]
            free = [answer for answer in found if self._cited.get(answer, message["id"]) == message["id"]]
            yield from sorted(
                free or [answer for answer in found if answer.asked_ns >= asked_ns],
                key=lambda each: (_beyond_ns(message, each) > 0, each.asked_ns < asked_ns, each.asked_ns),
            )[:1]
        else:
            found = [answer for answer in given if answer.answered_ns <= ended_ns + ROUNDED_NS]
            yield from sorted(found, key=lambda answer: answer.answered_ns)[-1:]

    def settle(self, every_s: Mapping[str, float | None], published: set[str], until_utc_ns: int | None = None) -> None:
        """Look at the whole: numbers that are missing, slots that nobody speaks for.

        Args:
            every_s: interval by `instrument/poll`, None for those that send unasked.
            published: ids that the journal holds.
            until_utc_ns: slots due until then were due; None asks for no more than came. Given, all polls must also
                have begun together.
        """
        missing = (published | set(self._numbered())) - set(self._payloads)
        self.lost += len(missing)
        self.told += [f"{name}: published, and never received" for name in sorted(missing)[:MOST_TOLD]]
        spoken_for = {
            name.rpartition("/")[0]: [
                slot for seq in sorted(stream) for slot in self._slots(name, stream[seq], every_s)
            ]
            for name, stream in self._streams.items()
        }
        begun_ns = min((slots[0] for slots in spoken_for.values() if slots), default=0)
        for poll, interval_s in every_s.items():
            if interval_s is not None:
                span = None if until_utc_ns is None else (begun_ns, until_utc_ns)
                self._count_slots(poll, spoken_for.get(poll, []), round(interval_s * NS), span)

    def _numbered(self) -> Iterator[str]:
        """Yield the ids that must have been, for a later one of the same stream came."""
        for stream in self._streams.values():
            name = next(iter(stream.values()))["id"].rpartition(".")[0]
            yield from (f"{name}.{seq}" for seq in range(min(stream), max(stream)))

    @staticmethod
    def _slots(name: str, message: Mapping[str, Any], every_s: Mapping[str, float | None]) -> list[int]:
        interval_s = every_s.get(name.rpartition("/")[0])
        if interval_s is None:
            return []
        every_ns = round(interval_s * NS)
        first = _utc_ns(message.get("slots", {}).get("first", message["due"]))
        count = message.get("slots", {}).get("count", 1)
        last = _utc_ns(message.get("slots", {}).get("last", message["due"]))
        slots = list(range(first, last + every_ns // 2, every_ns))
        return slots if len(slots) == count else slots + slots[:1]  # a wrong count is a slot spoken for twice

    def _count_slots(self, poll: str, spoken_for: Sequence[int], every_ns: int, span: tuple[int, int] | None) -> None:
        if not spoken_for:
            certain = 1 if span is None else (span[1] - span[0]) // every_ns  # a short look may fall between two slots
            if certain:
                self.unaccounted += certain
                self.told.append(f"{poll}: nobody speaks for any of its slots")
            return
        first_ns = min(spoken_for)
        slots = Counter((due - first_ns + every_ns // 2) // every_ns for due in spoken_for)
        wanting = max(slots) + 1 - len(slots)
        if span is not None:
            wanting += max(0, (first_ns - span[0] - 1) // every_ns)
            wanting += max(0, (span[1] - max(spoken_for)) // every_ns)
        twice = slots.total() - len(slots)
        if wanting or twice:
            self.unaccounted += wanting + twice
            self.told.append(f"{poll}: {wanting} slots unaccounted for, {twice} spoken for twice")

    def _find(self, what: str, message: Mapping[str, Any], why: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.told) < MOST_TOLD:
            self.told.append(f"{message['id']}: {what}: {why}")

    def percentile_ms(self, percent: int) -> float | None:
        """Return a percentile of the latencies in ms; None while there are none."""
        ordered = sorted(self.latencies_ns)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] / 1e6 if ordered else None


def _source(reading: Mapping[str, Any], place: Place | None, answers: Sequence[Answer]) -> Answer | None:
    """Return the last of the answers that has this channel, where the reading is what it says; None where it is not."""
    if place is None:
        return None
    if place.value is None:
        sources = [answer for answer in answers if reading["text"] in answer.sent(place)]
    else:
        sources = [answer for answer in answers if place.value in answer.values]
    return sources[-1] if sources and reading["text"] in sources[-1].sent(place) else None


def _has_its_value(reading: Mapping[str, Any]) -> bool:
    """Say whether the value is the very number in its text, digit for digit, or none where it may have none."""
    if reading["status"] != "ok" or "kind" in reading:
        return reading["value"] is None
    if reading["value"] is None:
        return False
    return Decimal(reading["value"]).as_tuple() == Decimal(reading["text"].replace(" ", "")).as_tuple()


def _bounds(message: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    return (message["mono"] - message["t_err"]) * NS, (message["mono"] + message["t_err"]) * NS


def _beyond_ns(message: Mapping[str, Any], answer: Answer) -> Decimal | int:
    """Return by how much an instant of this answer lies outside the published bounds; 0 or less where none does."""
    low_ns, high_ns = _bounds(message)
    return max((max(low_ns - at, at - high_ns) for at in answer.sampled_ns), default=0)


def _utc_ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000

"""Compares what arrived at the broker with what the simulated instruments logged that they had answered. Pure.

The log is written by the simulators, which share no code with the daemon: a value is right only if its digits stand in
the very answer to the very question, and that answer was sampled within the published bounds of time.

    messages, the simulators' log -> Audit -> wrong, lost, duplicates, slots, latencies
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

NS = 1_000_000_000

_BETWEEN = re.compile(r"[,; ]+")

MOST_TOLD = 20
"""Findings of one kind that are kept in words; the rest is only counted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the simulators' log.

    Args:
        sampled_ns: monotonic instants at which the answer's values were true.
        values: the exact characters (text) or the shortest decimal (registers) of each value sent.
        text: the whole answer.
    """

    answered_ns: int
    sampled_ns: tuple[int, ...]
    values: frozenset[str]
    text: str

    def holds(self, told: str) -> bool:
        """Say whether these characters were sent, as a value or as a part of the answer that stands for itself."""
        return told in self.values or told in _BETWEEN.split(self.text)


class Witness:
    """The simulators' log, by who was asked what and answered what."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._answers: dict[tuple[str, str, str], list[Answer]] = defaultdict(list)
        for line in lines:
            told = json.loads(line)
            key = (told["instrument"], told["ask"], told["answer"])
            sampled = tuple(told["sampled_mono_ns"] or ())
            values = frozenset(told["values"].values())
            self._answers[key].append(Answer(told["answered_mono_ns"], sampled, values, told["answer"]))

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
        codes: `instrument/poll/channel` -> word -> the code that the instrument sends for it.
        outside: readings whose true instant lay outside the published bounds.
        unaccounted: due slots that no observation speaks for.
        latencies_ns: from the instrument's answer to the arrival of the message.
    """

    witness: Witness
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
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

    def take(self, payload: bytes, arrived_ns: int) -> None:
        """Look at one observation; `arrived_ns` is the monotonic instant it came to the subscriber."""
        message = json.loads(payload, parse_float=Decimal)  # every digit as it was sent
        self.received += 1
        instrument, poll = message["id"].split(".")[2:4]
        stream = self._streams[f"{instrument}/{poll}/{message['epoch']}"]
        if message["seq"] in stream:
            self.duplicates += 1
            return
        stream[message["seq"]] = message
        self.instruments.add(instrument)
        self.simulated = self.simulated and message["simulated"] is True
        self.statuses[message["status"]] += message.get("slots", {}).get("count", 1)
        if message["status"] == "ok":
            self._compare(instrument, message, arrived_ns)
        elif any(reading["value"] is not None for reading in message["readings"].values()):
            self._find("wrong", message, f"status {message['status']} and yet a value")

    def _compare(self, instrument: str, message: Mapping[str, Any], arrived_ns: int) -> None:
        low_ns, high_ns = _bounds(message)

        def likelihood(answer: Answer) -> tuple[bool, int]:
            """The same digits may have been sent more than once: within the bounds, and last before it arrived."""
            return any(low_ns <= instant <= high_ns for instant in _instants(answer)), answer.answered_ns

        answers = [
            max((each for each in given if each.answered_ns <= arrived_ns), key=likelihood, default=None)
            for given in (self.witness.answers(instrument, exchange) for exchange in message["exchanges"])
        ]
        found = [answer for answer in answers if answer is not None]
        sampled = [answer for answer in found if answer.sampled_ns]
        if not sampled:
            self._find("wrong", message, "no answer in the simulators' log is the one it cites")
            return
        for name, reading in message["readings"].items():
            self.readings += 1
            sent = self._sent(f"{instrument}/{message['id'].split('.')[3]}/{name}", reading)
            telling = [answer for answer in found if answer.holds(sent)]
            if not telling or not _is_that_number(reading, sent):
                self._find("wrong", message, f"{name} {reading['value']} ({reading['text']!r}) was never sent")
            elif not any(low_ns <= instant <= high_ns for answer in telling for instant in _instants(answer)):
                self._find("outside", message, f"{name}: its true instant lies outside t +- t_err")
        self.latencies_ns.append(arrived_ns - max(answer.answered_ns for answer in sampled))

    def _sent(self, channel: str, reading: Mapping[str, Any]) -> str:
        """Return what the instrument must have sent: the code behind a word of an enum, else the text itself."""
        codes: Mapping[str, str] = self.codes.get(channel, {})
        return codes.get(reading["text"], reading["text"])

    def settle(self, every_s: Mapping[str, float | None], published: set[str]) -> None:
        """Look at the whole: numbers that are missing, slots that nobody speaks for.

        Args:
            every_s: interval by `instrument/poll`, None for those that send unasked.
            published: ids that the journal holds.
        """
        came = {message["id"] for stream in self._streams.values() for message in stream.values()}
        missing = published - came
        self.lost += len(missing)
        self.told += [f"{name}: in the journal, and never received" for name in sorted(missing)[:MOST_TOLD]]
        for name, stream in self._streams.items():
            poll = name.rpartition("/")[0]
            interval_s = every_s.get(poll)
            if interval_s is not None:
                self._count_slots(poll, [stream[seq] for seq in sorted(stream)], round(interval_s * NS))

    def _count_slots(self, poll: str, messages: Sequence[Mapping[str, Any]], every_ns: int) -> None:
        spoken_for: list[int] = []
        for message in messages:
            first = message.get("slots", {}).get("first", message["due"])
            last = message.get("slots", {}).get("last", message["due"])
            spoken_for += range(_utc_ns(first), _utc_ns(last) + every_ns // 2, every_ns)
        slots = [(due - spoken_for[0] + every_ns // 2) // every_ns for due in spoken_for]
        wanting = set(range(slots[-1] + 1)) ^ set(slots)
        twice = len(slots) - len(set(slots))
        if wanting or twice:
            self.unaccounted += len(wanting) + twice
            self.told.append(f"{poll}: {len(wanting)} slots unaccounted for, {twice} spoken for twice")

    def _find(self, what: str, message: Mapping[str, Any], why: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.told) < MOST_TOLD:
            self.told.append(f"{message['id']}: {what}: {why}")

    def percentile_ms(self, percent: int) -> float | None:
        """Return a percentile of the latencies in ms; None while there are none."""
        ordered = sorted(self.latencies_ns)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] / 1e6 if ordered else None


def _is_that_number(reading: Mapping[str, Any], sent: str) -> bool:
    """Say whether value and text are the same number; a reading that is not ok has none."""
    if reading["status"] != "ok" or "kind" in reading:
        return reading["value"] is None
    return Decimal(reading["value"]) == Decimal(sent.replace(" ", ""))


def _instants(answer: Answer) -> tuple[int, ...]:
    """When its values were true; an answer that holds no measurement was true when it was given."""
    return answer.sampled_ns or (answer.answered_ns,)


def _bounds(message: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    return (message["mono"] - message["t_err"]) * NS, (message["mono"] + message["t_err"]) * NS


def _utc_ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000

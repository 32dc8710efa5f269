"""What a run comes to: journal, subscriber and gap events held against each other, number by number. Pure.

records of the journal in their order, payloads heard -> Account -> lost, reused, unaccounted, duplicates, words
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from daq.core.record import Record

MOST_TOLD = 12

Number = tuple[str, str, int]
"""Epoch, stream, seq."""


def utc_ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000


@dataclass
class Account:
    """What was found wrong, counted and in words.

    Args:
        lost: numbers that are neither in the journal nor told of in a gap, or were kept and never heard.
        reused: numbers under which two contents are known.
        unaccounted: slots that nobody speaks for, or two do.
        duplicates: messages that came more than once, with the same content.
        told: what was found, in words.
    """

    lost: int = 0
    reused: int = 0
    unaccounted: int = 0
    duplicates: int = 0
    told: list[str] = field(default_factory=list)

    def find(self, what: str, count: int, words: str) -> None:
        setattr(self, what, getattr(self, what) + count)
        if len(self.told) < MOST_TOLD:
            self.told.append(f"{what}: {words}")

    @property
    def clean(self) -> bool:
        return not (self.lost or self.reused or self.unaccounted)


def gaps(kept: Iterable[Record]) -> set[Number]:
    """The numbers that gap events say are gone."""
    found: set[Number] = set()
    for record in kept:
        told = json.loads(record.payload) if record.kind == "event" else {}
        if told.get("event") == "gap":
            found |= numbers_in(told["details"])
    return found


def numbers_in(details: Mapping[str, Any]) -> set[Number]:
    """The numbers that one gap event says are gone."""
    return {
        (span["epoch"], span["stream"], seq)
        for span in details["streams"]
        if span["first_seq"] is not None
        for seq in range(span["first_seq"], span["last_seq"] + 1)
    }


def number_of(payload: bytes) -> Number:
    """The number of an observation as it was published."""
    told = json.loads(payload)
    return told["epoch"], "/".join(told["id"].split(".")[2:4]), told["seq"]


def compare(
    kept: Sequence[Record],
    heard: Sequence[bytes],
    every_s: Mapping[str, float | None],
    *,
    all_heard: bool = True,
    aside: Iterable[str] = (),
    trimmed: bool = False,
    parted: Iterable[str] = (),
    told_gone: Iterable[Number] = (),
) -> Account:
    """Hold journal and subscriber against each other.

    Args:
        kept: the journal's records in the order of their rows.
        heard: payloads of the observations that came, each as often as it came.
        every_s: interval of each poll, None for what has no slots.
        all_heard: everything kept must have come.
        aside: epochs of journals that stand aside or are gone: what they kept is not looked for.
        trimmed: the journal had to let go of what it had delivered.
        parted: polls that the bench file did not name for a while: nothing was due then.
        told_gone: numbers that the gap events that came say are gone: the events themselves may have gone since.
    """
    account = Account()
    known = {(record.epoch, record.stream, record.seq): record.payload for record in kept if record.kind == "obs"}
    came = Counter(heard)
    gone = gaps(kept) | set(told_gone)
    by_number: dict[Number, set[bytes]] = defaultdict(set)
    for payload in came:
        by_number[number_of(payload)].add(payload)
    _look_at_contents(account, known, by_number)
    for number in by_number.keys() - known.keys() - gone:
        if number[0] not in aside and not trimmed:
            account.find("lost", 1, f"{number} was heard and is not in the journal")
    if all_heard:
        for number in known.keys() - by_number.keys():
            account.find("lost", 1, f"{number} was kept and never heard")
    _look_at_numbers(account, known.keys() | by_number.keys(), gone)
    account.duplicates = came.total() - len(came)
    told = [(record.stream, json.loads(record.payload)) for record in kept if record.kind != "info"]
    if trimmed:
        told += [(number[1], json.loads(payload)) for payload in came if (number := number_of(payload)) not in known]
        told = sorted(told, key=lambda one: utc_ns(one[1].get("due") or one[1]["t"]))
    _look_at_slots(account, told, every_s, {*parted, *(stream for _, stream, _ in gone)})
    return account


def _look_at_contents(account: Account, known: Mapping[Number, bytes], by_number: Mapping[Number, set[bytes]]) -> None:
    for number, payloads in by_number.items():
        contents = payloads | ({known[number]} if number in known else set())
        if len(contents) > 1:
            account.find("reused", 1, f"{number} has {len(contents)} contents")


def _look_at_numbers(account: Account, numbers: Iterable[Number], gone: set[Number]) -> None:
    streams: dict[tuple[str, str], set[int]] = defaultdict(set)
    for epoch, stream, seq in numbers:
        streams[epoch, stream].add(seq)
    for (epoch, stream), seqs in streams.items():
        missing = {seq for seq in set(range(1, max(seqs))) - seqs if (epoch, stream, seq) not in gone}
        if missing:
            account.find("lost", len(missing), f"{stream} of {epoch}: {sorted(missing)[:5]} of {max(seqs)}")


def _look_at_slots(
    account: Account,
    messages: Iterable[tuple[str, Mapping[str, Any]]],
    every_s: Mapping[str, float | None],
    parted: Collection[str],
) -> None:
    """Each slot follows the one before it by one period; only a step of the clock may part them, once a stream.

    Args:
        account: takes what is found.
        messages: stream and content of observations and events, in their order.
        every_s: interval of each poll.
        parted: streams of which a gap says that something is gone: it has no slots any more.
    """
    steps, seen, jumped = 0, dict[str, int](), Counter[str]()
    for stream, told in messages:
        steps += told.get("event") == "clock_step"
        interval_s = every_s.get(stream)
        if interval_s is None or stream in parted:
            continue
        every_ns = round(interval_s * 10**9)
        first, last, count = _span(told)
        before = seen.get(stream)
        if round((last - first) / every_ns) != count - 1:
            account.find("unaccounted", 1, f"{told['id']}: {count} slots from {first} to {last}")
        between = 0 if before is None else round((first - before) / every_ns) - 1
        if between and jumped[stream] < steps:  # slots owed by the old clock are told behind the event
            jumped[stream] += 1
        elif between:
            account.find("unaccounted", abs(between), f"{told['id']}: {between} slots before it")
        seen[stream] = last


def _span(told: Mapping[str, Any]) -> tuple[int, int, int]:
    slots = told.get("slots") or {"first": told["due"], "last": told["due"], "count": 1}
    return utc_ns(slots["first"]), utc_ns(slots["last"]), slots["count"]

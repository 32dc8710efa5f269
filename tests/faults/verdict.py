"""What a campaign found: every observation against the witness, every slot, every number, each laid at a fault's
door. Pure.

The stand-ins' log is the truth (daq.demo.audit); the proxies cannot touch it. A value that is not the witness's answer
to its question is wrong. It counts apart only if the bytes it was read from are, byte for byte, what a proxy forged on
this very wire meanwhile, and the poll's declared integrity says that nothing shows such a thing.

    messages, journal, witness, strikes, samples -> Verdict -> rows (one a fault), broken promises
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from daq.demo.audit import NS, Audit, Witness, _utc_ns
from daq.demo.places import PLACES
from tests.faults.health import WITHIN_S, Differed
from tests.faults.wires import Strike

NO_FAULT = "no fault"

DELAY_S = 0.25
"""What an instrument on another wire may be late by, beside what the computer itself was late by meanwhile."""

TOLD_S = 0.1
"""Beyond what was waited for a processor: worth a line."""

PANEL = "function changed at the front panel"
"""What a question shows only where it asks for the function as well; the driver says whether it does."""

MANY = 1000
"""Strikes below which a growth per thousand says nothing."""

LONGEST_PERIOD_NS = NS
"""Every stand-in of the campaign measures twice a second or more, and answers with that."""

VOLTS = 1000
"""No voltage of the campaign's world is higher; its resistances are."""


@dataclass(frozen=True)
class Sample:
    """What the daemon and its children held at an instant; what they and the stand-ins had waited for a processor.

    Args:
        ran_ns: how long the daemon itself had had one.
    """

    at_ns: int
    descriptors: int
    threads: int
    rss_kib: int
    waited_ns: int
    ran_ns: int = 0


@dataclass
class Row:
    """One fault, over the whole campaign."""

    fault: str
    times: int = 0
    wrong: int = 0
    hidden: int = 0
    lost: int = 0
    unaccounted: int = 0
    others_s: float = 0.0
    beyond_s: float = 0.0
    """The same, less what daemon and stand-ins waited for a processor meanwhile."""
    same_wire_s: float | None = None
    """What a neighbour on the struck wire was late by, at most; None where none stands there."""
    recovery_s: float | None = None
    unhealed: int = 0
    before: Sample | None = None
    after: Sample | None = None
    kept_apart: int = 0
    """Records that the broker took and lost, or refused and an event says so."""

    def as_json(self) -> dict[str, Any]:
        held = {}
        for name, sample in (("before", self.before), ("after", self.after)):
            if sample is not None:
                held[name] = {
                    "descriptors": sample.descriptors,
                    "threads": sample.threads,
                    "rss_mib": round(sample.rss_kib / 1024, 1),
                }
        return {
            "fault": self.fault,
            "times": self.times,
            "wrong": self.wrong,
            "hidden": self.hidden,
            "lost": self.lost,
            "kept_apart": self.kept_apart,
            "unaccounted": self.unaccounted,
            "others_delay_s": round(self.others_s, 3),
            "others_beyond_s": round(self.beyond_s, 3),
            "same_wire_delay_s": None if self.same_wire_s is None else round(self.same_wire_s, 3),
            "recovery_s": None if self.recovery_s is None else round(self.recovery_s, 2),
            "unhealed": self.unhealed,
            **held,
        }


@dataclass
class Evidence:
    """All that a campaign has gathered.

    Args:
        heard: (payload, arrival mono ns) of every observation at the broker.
        kept: id -> payload of every observation in the journal.
        drivers: instrument -> driver.
        integrity: instrument/poll -> as its info declares.
        every_s: instrument/poll -> interval, None for talkers.
        calm: instruments that nobody struck.
        neighbours: instrument -> who shares its wire.
        acknowledged: ids that the broker acknowledged to the daemon.
        refused: ids that the broker refused, or that were too large for it.
        well_ns: since when everything ran.
    """

    heard: Sequence[tuple[bytes, int]]
    kept: Mapping[str, bytes]
    witness: Sequence[str]
    drivers: Mapping[str, str]
    integrity: Mapping[str, str]
    every_s: Mapping[str, float | None]
    strikes: Sequence[Strike]
    calm: frozenset[str]
    acknowledged: frozenset[str]
    refused: frozenset[str]
    samples: Sequence[Sample]
    well_ns: int = 0
    neighbours: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Verdict:
    rows: dict[str, Row] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    observations: int = 0
    readings: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    starved_s: float = 0.0
    growth: dict[str, float] = field(default_factory=dict)
    held_mib: list[int] = field(default_factory=list)
    came: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    """Instrument -> when its good slots were due, or its lines came, and when those that brought nothing, mono ns."""
    status_s: float = 0.0
    """For how long the status of an instrument, or of the broker, differed from what came, at most."""
    copies_s: float = 0.0
    """For how long the retained status differed from the station's own, the broker being well."""

    def row(self, fault: str) -> Row:
        return self.rows.setdefault(fault, Row(fault))


class Judge:
    """Goes through the evidence once."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        places = {name: PLACES[driver] for name, driver in evidence.drivers.items()}
        self.audit = Audit(Witness(evidence.witness), places)
        self.verdict = Verdict()
        self._by_instrument: dict[str, list[Strike]] = defaultdict(list)
        for strike in evidence.strikes:
            self._by_instrument[strike.instrument].append(strike)
        self._utc_offset_ns = 0
        self._sampled_ns = [sample.at_ns for sample in evidence.samples]

    def judge(self) -> Verdict:
        for strike in self.evidence.strikes:
            self.verdict.row(strike.fault).times += 1
        for payload, arrived_ns in self.evidence.heard:
            self._look_at(payload, arrived_ns)
        self._look_at_numbers()
        self._look_at_slots()
        self._look_at_others()
        self._look_at_recovery()
        self._look_at_samples()
        verdict = self.verdict
        verdict.observations, verdict.readings = self.audit.received, self.audit.readings
        verdict.statuses, verdict.duplicates = dict(self.audit.statuses), self.audit.duplicates
        self._sum_up()
        return verdict

    # ------------------------------------------------------------ who is to blame

    def blamed(self, instrument: str, at_ns: int) -> str:
        """The fault that was on this instrument's wire last."""
        begun = [strike for strike in self._by_instrument[instrument] if strike.begun_ns <= at_ns]
        return begun[-1].fault if begun else NO_FAULT

    # ------------------------------------------------------------ values

    def _look_at(self, payload: bytes, arrived_ns: int) -> None:
        audit = self.audit
        wrong, outside, told = audit.wrong, audit.outside, len(audit.told)
        audit.take(payload, arrived_ns)
        message = json.loads(payload, parse_float=Decimal)
        if message["status"] == "ok":
            self._utc_offset_ns = _utc_ns(message["t"]) - round(message["mono"] * NS)
        instrument = message["id"].split(".")[2]
        is_wrong = audit.wrong + audit.outside > wrong + outside or self._in_ohms(instrument, message)
        if not is_wrong:
            return
        if audit.wrong == wrong and self._stand_in_was_late(message["id"]):
            self.verdict.told.append(f"{message['id']}: the stand-in itself was held up before it spoke: not counted")
            del audit.told[told:]
            return
        why = audit.told[told:] or [f"{message['id']}: volts that are ohms"]
        forger = self._forger(instrument, message, arrived_ns)
        if forger is not None:
            self.verdict.row(forger.fault).hidden += 1
        else:
            self.verdict.row(self.blamed(instrument, arrived_ns)).wrong += 1
            self.verdict.told += [*why[:1], json.dumps(message["exchanges"], default=str)[:600]]
        del audit.told[told:]  # it keeps few words, and they are told here

    def _stand_in_was_late(self, name: str) -> bool:
        """Whether the witness says that a value lay in the stand-in for longer than any of them measures anew."""
        mine = [answer for answer, cited in self.audit._cited.items() if cited == name]
        return any(
            answer.answered_ns - min(answer.sampled_ns) > LONGEST_PERIOD_NS for answer in mine if answer.sampled_ns
        )

    def _in_ohms(self, instrument: str, message: Mapping[str, Any]) -> bool:
        value = message["readings"].get("dcv", {}).get("value")
        return value is not None and abs(value) > VOLTS

    def _forger(self, instrument: str, message: Mapping[str, Any], arrived_ns: int) -> Strike | None:
        """The strike whose forged bytes it was read from, where such a forgery is declared to be unseen."""
        got = {
            bytes.fromhex(each["got"]) if each.get("hex") else each["got"].encode("latin-1").rstrip(b"\r\n")
            for each in message["exchanges"]
        }
        for strike in reversed(self._by_instrument[instrument]):
            forged = {each for one in strike.forged for each in (one, one.rstrip(b"\r\n"))}
            if strike.hidden and strike.begun_ns <= arrived_ns and forged & got:
                return strike
        if not self._in_ohms(instrument, message):
            return None
        return next((s for s in reversed(self._by_instrument[instrument]) if s.hidden and s.fault == PANEL), None)

    # ------------------------------------------------------------ numbers

    def _look_at_numbers(self) -> None:
        evidence, audit = self.evidence, self.audit
        for name, payload in evidence.kept.items():
            if audit._payloads.get(name, payload) != payload:
                self.verdict.row(NO_FAULT).wrong += 1
                self.verdict.told.append(f"{name}: published otherwise than kept")
        missing = (set(evidence.kept) | set(audit._numbered())) - set(audit._payloads)
        for name in sorted(missing):
            row = self._lost_at(name)
            if name in evidence.acknowledged or name in evidence.refused:
                row.kept_apart += 1
            else:
                row.lost += 1
                self.verdict.told.append(f"{name}: kept or numbered, and never received")

    def _lost_at(self, name: str) -> Row:
        payload = self.evidence.kept.get(name)
        if payload is None:
            return self.verdict.row(NO_FAULT)
        mono_ns = _utc_ns(json.loads(payload)["t"]) - self._utc_offset_ns
        return self.verdict.row(self.blamed("broker", mono_ns))

    # ------------------------------------------------------------ slots

    def _look_at_slots(self) -> None:
        """Each slot from the first of a poll to its last is spoken for once."""
        spoken_for: dict[str, list[int]] = defaultdict(list)
        streams: dict[tuple[str, str], dict[int, Any]] = defaultdict(dict)
        every_payload = {**self.evidence.kept, **self.audit._payloads}
        for name, payload in every_payload.items():
            instrument, poll, epoch, seq = name.split(".")[2:6]
            streams[f"{instrument}/{poll}", epoch][int(seq)] = payload
        for (poll, epoch), stream in streams.items():
            for seq in sorted(stream):
                message = json.loads(stream[seq])
                slots = self.audit._slots(f"{poll}/{epoch}", message, self.evidence.every_s)
                spoken_for[poll] += slots
                self._note_what_came(poll, message, slots)
        for poll, interval_s in self.evidence.every_s.items():
            if interval_s is not None:
                self._count(poll, spoken_for[poll], round(interval_s * NS))

        for good_ns, bad_ns in self.verdict.came.values():
            good_ns.sort()
            bad_ns.sort()

    def _note_what_came(self, poll: str, message: Mapping[str, Any], slots: Sequence[int]) -> None:
        came = self.verdict.came.setdefault(poll.partition("/")[0], ([], []))
        utc_ns = slots or [_utc_ns(message.get("slots", {}).get("last") or message["t"])]
        came[message["status"] != "ok"].extend(due_ns - self._utc_offset_ns for due_ns in utc_ns)

    def _count(self, poll: str, slots: list[int], every_ns: int) -> None:
        instrument = poll.partition("/")[0]
        if not slots:
            self.verdict.row(NO_FAULT).unaccounted += 1
            self.verdict.told.append(f"{poll}: nobody speaks for any of its slots")
            return
        first_ns = min(slots)
        found: dict[int, int] = defaultdict(int)
        for due_ns in slots:
            found[(due_ns - first_ns + every_ns // 2) // every_ns] += 1
        for number in range(max(found) + 1):
            if found[number] == 1:
                continue
            due_ns = first_ns + number * every_ns
            fault = self.blamed(instrument, due_ns - self._utc_offset_ns)
            self.verdict.row(fault).unaccounted += 1
            self.verdict.told.append(f"{poll}: slot {number} of {max(found)} is spoken for {found[number]} times")

    # ------------------------------------------------------------ delays

    def _look_at_others(self) -> None:
        """How late others were asked while each fault was on: on wires that nobody struck, and on the struck wire."""
        delays: list[tuple[int, float]] = []
        nearby: dict[str, list[tuple[int, float]]] = defaultdict(list)
        asked = self._asked()
        beyond: list[tuple[int, float]] = []
        for name, payload in self.audit._payloads.items():
            instrument, poll = name.split(".")[2:4]
            every_s = self.evidence.every_s[f"{instrument}/{poll}"]
            if every_s is None:
                continue
            found = [*self._delay(json.loads(payload), asked.get(name), every_s)]
            if instrument in self.evidence.calm:
                delays += found
                beyond += [(due_ns, self._beyond(due_ns, late_s)) for due_ns, late_s in found]
                self._hold_to_account(name, found)
            elif instrument in self.evidence.neighbours:
                nearby[instrument] += found
        for each in (delays, beyond, *nearby.values()):
            each.sort()
        for strike in self.evidence.strikes:
            row = self.verdict.row(strike.fault)
            row.others_s = max([row.others_s, *_meanwhile(strike, delays)])
            row.beyond_s = max([row.beyond_s, *_meanwhile(strike, beyond)])
            neighbour = self.evidence.neighbours.get(strike.instrument)
            if neighbour is not None:
                row.same_wire_s = max([row.same_wire_s or 0.0, *_meanwhile(strike, nearby[neighbour])])

    def _asked(self) -> dict[str, int]:
        """Return when each observation's first question reached the stand-in."""
        asked: dict[str, int] = {}
        for answer, name in self.audit._cited.items():
            asked[name] = min(asked.get(name, answer.asked_ns), answer.asked_ns)
        return asked

    def _hold_to_account(self, name: str, found: Iterable[tuple[int, float]]) -> None:
        """Nobody struck it: it may be late by what all waited for a processor, and by little else."""
        for due_ns, late_s in found:
            starved_s = self._starved_s(due_ns - NS, due_ns + round(late_s * NS) + NS)
            if math.isfinite(starved_s):  # where a sample is wanting nothing is known
                self.verdict.starved_s = max(self.verdict.starved_s, starved_s)
            if self._beyond(due_ns, late_s) > TOLD_S:
                ran_s = self._passed_s("ran_ns", due_ns - NS // 10, due_ns + round(late_s * NS) + NS // 10)
                self.verdict.told.append(
                    f"{name}: {late_s:.3f} s late; meanwhile all waited {starved_s:.3f} s for a processor, and the"
                    f" daemon had one for {ran_s:.3f} s"
                )
            if late_s > DELAY_S + starved_s:
                self.verdict.broken.append(
                    f"{name}: nobody struck it, and it was {late_s:.3f} s late, while all waited {starved_s:.3f} s for"
                    " a processor"
                )

    def _delay(self, message: Mapping[str, Any], asked_ns: int | None, every_s: float) -> Iterable[tuple[int, float]]:
        """Yield when a slot was due and how late its question was; what failed was later than all its slots."""
        due_ns = _utc_ns(message["due"]) - self._utc_offset_ns
        if due_ns < self.evidence.well_ns or (asked_ns is None and message["status"] == "ok"):
            return  # an overload's reading is right and cites no answer
        if asked_ns is not None:
            late_s = max(0, asked_ns - due_ns) / NS
        else:
            late_s = every_s * message.get("slots", {}).get("count", 1)
        yield due_ns, late_s

    def _beyond(self, due_ns: int, late_s: float) -> float:
        """Return what somebody was late by, less what was waited for a processor just then."""
        return max(0.0, late_s - self._starved_s(due_ns - NS // 10, due_ns + round(late_s * NS) + NS // 10))

    def _starved_s(self, from_ns: int, until_ns: int) -> float:
        """How long daemon and stand-ins waited for a processor between two instants, together."""
        return self._passed_s("waited_ns", from_ns, until_ns)

    def _passed_s(self, what: str, from_ns: int, until_ns: int) -> float:
        before, after = self._sample_before(from_ns), self._sample_after(until_ns)
        if before is None or after is None:
            return float("inf")
        return max(0, int(getattr(after, what)) - int(getattr(before, what))) / NS

    def _sample_before(self, at_ns: int) -> Sample | None:
        found = bisect_right(self._sampled_ns, at_ns)
        return self.evidence.samples[found - 1] if found else None

    def _sample_after(self, at_ns: int) -> Sample | None:
        found = bisect_left(self._sampled_ns, at_ns)
        return self.evidence.samples[found] if found < len(self._sampled_ns) else None

    def _look_at_recovery(self) -> None:
        for strike in self.evidence.strikes:
            row = self.verdict.row(strike.fault)
            if not strike.healed_ns:
                row.unhealed += 1
                self.verdict.told.append(f"{strike.fault}: {strike.instrument} gave no value any more")
                continue
            took_s = max(0, strike.healed_ns - strike.ended_ns) / NS
            row.recovery_s = max(row.recovery_s or 0.0, took_s)

    def take_health(self, status: Differed, copies: Differed) -> None:
        """Take what differed for longest: a status from what came, the broker's copy from the status."""
        self.verdict.status_s, self.verdict.copies_s = status.seconds, copies.seconds
        for each, what in ((status, "the status was not what came"), (copies, "the retained status was another one")):
            said = f"{what} for {each.seconds:.1f} s from {each.from_ns} on: {each.words}"
            self.verdict.told.append(said)
            starved_s = self._starved_s(each.from_ns, each.from_ns + round(each.seconds * NS))
            if each.seconds > WITHIN_S + (starved_s if math.isfinite(starved_s) else 0):
                self.verdict.broken.append(said)

    def _look_at_samples(self) -> None:
        for strike in self.evidence.strikes:
            row = self.verdict.row(strike.fault)
            row.before = row.before or self._sample_before(strike.begun_ns)
            row.after = (self._sample_after(strike.healed_ns) if strike.healed_ns else None) or row.after

    def _sum_up(self) -> None:
        for row in self.verdict.rows.values():
            for what in ("wrong", "lost", "unaccounted", "unhealed"):
                if getattr(row, what):
                    self.verdict.broken.append(f"{row.fault}: {what} {getattr(row, what)}")


def _meanwhile(strike: Strike, delays: Sequence[tuple[int, float]]) -> Iterable[float]:
    """Return the delays, in order of time, that fell into a strike and the time it took to heal."""
    until_ns = (strike.healed_ns or strike.ended_ns) + NS // 2
    begin, end = (bisect_left(delays, at_ns, key=lambda each: each[0]) for at_ns in (strike.begun_ns, until_ns))
    return (late_s for _, late_s in delays[begin:end])


def growth(samples: Sequence[Sample], strikes: Sequence[Strike]) -> dict[str, float]:
    """Return what the daemon holds more of at the end than in the middle, per thousand faults.

    Compared is the most it held in a tenth of the time: while it reconnects it holds less.
    """
    if len(strikes) < MANY:
        return {}
    begun_ns, lasted_ns = samples[0].at_ns, samples[-1].at_ns - samples[0].at_ns
    middle_ns, end_ns = begun_ns + lasted_ns // 2, begun_ns + lasted_ns * 9 // 10
    middle = [one for one in samples if middle_ns - lasted_ns // 10 <= one.at_ns <= middle_ns]
    end = [one for one in samples if one.at_ns >= end_ns]
    thousands = max(1, sum(middle_ns <= strike.begun_ns < end_ns for strike in strikes)) / 1000

    def more(what: str) -> float:
        most_before, most_after = (max(int(getattr(one, what)) for one in each) for each in (middle, end))
        return round((most_after - most_before) / thousands, 1)

    return {"descriptors": more("descriptors"), "threads": more("threads"), "rss_kib": more("rss_kib")}


def by_tenth(samples: Sequence[Sample]) -> list[int]:
    """Return the most memory that the daemon held in each tenth of the time, MiB."""
    begun_ns, lasted_ns = samples[0].at_ns, samples[-1].at_ns - samples[0].at_ns + 1
    held = [0] * 10
    for one in samples:
        tenth = 10 * (one.at_ns - begun_ns) // lasted_ns
        held[tenth] = max(held[tenth], one.rss_kib // 1024)
    return held


def leaked(first: Sample, last: Sample, most_kib: int) -> Iterable[str]:
    """Say what the daemon holds more of, all instruments being well, than it did in the beginning."""
    if last.descriptors > first.descriptors:
        yield f"descriptors: {first.descriptors} before, {last.descriptors} after"
    if last.threads > first.threads + 1:
        yield f"threads: {first.threads} before, {last.threads} after"
    if last.rss_kib > first.rss_kib + most_kib:
        yield f"memory: {first.rss_kib / 1024:.1f} MiB before, {last.rss_kib / 1024:.1f} MiB after"

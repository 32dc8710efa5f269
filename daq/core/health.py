"""Says how units and wires fare: whom to try when, what to report of failures, how much of a wire the dead may take.

Five small state machines. They never wait, never ask and read no clock: events and instants come in, what to do
comes out.

    outcome of a poll -> Runs (fewest observations)      -> journal
                      -> Breaker (up, suspect, down)     -> line: ask it, or leave it alone until retry_ns
                      -> Share (token bucket of a wire)  -> line: may a suspect unit be asked now
    line of a talker  -> Attention (lines a second)      -> line: listen on, or leave out what comes until then
                      -> InstrumentHealth                -> retained status of the instrument
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zlib import crc32

from daq.core.observation import NS, OK, Slots, Stamp, Status
from daq.core.unchanging import unchanging

# ---------------------------------------------------------------- whom to try when

PATIENCE = 3
"""Failures in a row before a unit is left alone: one is noise on the wire, two a busy instrument."""

FIRST_RETRY_NS = 4 * NS // 3
LONGEST_RETRY_NS = 60 * NS


class Contact(StrEnum):
    """Whether a unit, or the far end of a wire, is there."""

    UP = "up"  # its last question was answered
    SUSPECT = "suspect"  # connected and yet to answer, or failing
    DOWN = "down"  # left alone until retry_ns


@dataclass(frozen=True, slots=True)
class Breaker:
    """Who is asked and who is left alone; each event returns the state that follows.

    New ones are down with a retry due at once. Only an answer brings a unit up and forgets its failures: one that
    accepts connections and never answers, or hangs up each time, is left alone for longer and longer like one that
    is not there.

    Args:
        name: seeds the jitter, so that a room that lost its power does not come back in step; the same name waits the
            same times in every run.
        failures: questions without an answer in a row, while it was not down.
        tries: how often it was taken down since the last answer.
        retry_ns: monotonic; from then on it may be tried, where `contact` is down.
    """

    name: str
    contact: Contact = Contact.DOWN
    failures: int = 0
    tries: int = 0
    retry_ns: int = 0

    def may_try(self, now_mono_ns: int) -> bool:
        """Say whether it may be asked, or connected to, now."""
        return self.contact is not Contact.DOWN or now_mono_ns >= self.retry_ns

    def connected(self) -> Breaker:
        """Take note that the connection stands; whether anybody answers is yet to be seen."""
        return replace(self, contact=Contact.SUSPECT) if self.contact is Contact.DOWN else self

    def answered(self) -> Breaker:
        """Take note of an answer, be it a refusal: somebody is there."""
        if self.contact is Contact.UP:
            return self
        return Breaker(self.name, Contact.UP)

    def failed(self, now_mono_ns: int) -> Breaker:
        """Take note of no answer. The PATIENCE-th in a row takes it down; having been down, the first one does."""
        if self.tries or self.failures + 1 >= PATIENCE:
            return self.lost(now_mono_ns)
        return replace(self, contact=Contact.SUSPECT, failures=self.failures + 1)

    def lost(self, now_mono_ns: int) -> Breaker:
        """Take note that the connection broke or could not be made: there is nobody to be patient with."""
        retry_ns = now_mono_ns + back_off_ns(self.name, self.tries)
        return Breaker(self.name, Contact.DOWN, tries=self.tries + 1, retry_ns=retry_ns)


def back_off_ns(name: str, tries: int) -> int:
    """Return how long to wait after `tries` (0, 1, ...) attempts in vain: 1 s doubling to 60 s.

    The jitter takes up to a quarter away, and is the same for the same name and number.
    """
    longest_ns = min(LONGEST_RETRY_NS, FIRST_RETRY_NS << min(tries, 16))
    return longest_ns - (longest_ns // 4 * crc32(f"{name}:{tries}".encode()) >> 32)


# ---------------------------------------------------------------- what to report of failures

REMIND_NS = 60 * NS
"""A run of failures is reported at most once in this time while it lasts (and at its onset and its end)."""


@unchanging
class Emission:
    """Slots that failed alike, to be published as one observation.

    Args:
        detail: of the first of these slots.
        slots: which due slots it speaks for; each failed slot is in exactly one emission. Where `slots.last_ns` is
            the slot just reported, its exchanges may be published with it.
    """

    poll: str
    status: Status
    detail: str | None
    slots: Slots


@dataclass(slots=True)
class _Run:
    status: Status
    kind: str | None  # the detail without its numbers: what makes two failures alike
    told_ns: int
    pending: Emission | None = None


class Runs:
    """Tells failures in the fewest observations such that every due slot is in exactly one of them or answered.

    A run is a series of slots of one poll that failed with the same status and the same detail, numbers in it
    aside. It is told at its onset, then what has gathered at most once a minute (`tick` at least as often as that
    matters), and what is left when another outcome or the stop ends it. Emissions of a poll come in the order of
    their slots. A step of the clock ends all runs (`flush`), so that none spans it.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self.lasting: Mapping[str, object] = self._runs
        """By poll, those that have not ended; only to be looked at."""

    def failed(self, poll: str, status: Status, detail: str | None, slots: Slots, now_mono_ns: int) -> list[Emission]:
        """Take one failed slot, or several that failed together; return what is to be published now."""
        kind = None if detail is None else _kind(detail)
        run = self._runs.get(poll)
        if run is not None and (run.status, run.kind) == (status, kind):
            run.pending = _joined(run.pending, Emission(poll, status, detail, slots))
            return self._remind(run, now_mono_ns)
        ended = self.succeeded(poll)
        self._runs[poll] = _Run(status, kind, now_mono_ns)
        return [*ended, Emission(poll, status, detail, slots)]

    def succeeded(self, poll: str) -> list[Emission]:
        """End the poll's run, if it had one; return what was left to tell of it, to be published before the success."""
        run = self._runs.pop(poll, None)
        return [run.pending] if run is not None and run.pending is not None else []

    def tick(self, now_mono_ns: int) -> list[Emission]:
        """Return what has gathered in runs that were last told a minute ago or more."""
        return [emission for run in self._runs.values() for emission in self._remind(run, now_mono_ns)]

    def flush(self) -> list[Emission]:
        """End all runs; return what was left to tell."""
        return [emission for poll in list(self._runs) for emission in self.succeeded(poll)]

    def _remind(self, run: _Run, now_mono_ns: int) -> list[Emission]:
        if run.pending is None or now_mono_ns - run.told_ns < REMIND_NS:
            return []
        told, run.pending, run.told_ns = run.pending, None, now_mono_ns
        return [told]


@lru_cache(maxsize=256)
def _kind(detail: str) -> str:
    """Take the numbers out of a detail: what is left makes two failures alike."""
    return re.sub(r"\d+", "#", detail)


def one_slot(due_ns: int) -> Slots:
    """Return the run that is a single slot."""
    return Slots(due_ns, due_ns, 1)


def _joined(earlier: Emission | None, later: Emission) -> Emission:
    if earlier is None:
        return later
    slots = Slots(earlier.slots.first_ns, later.slots.last_ns, earlier.slots.count + later.slots.count)
    return replace(earlier, slots=slots)


# ---------------------------------------------------------------- how much of a wire the dead may take

BURST_NS = 6 * NS
REFILL_PERCENT = 10


class Share:
    """What all suspect and dead units of one wire together may take of it: at most 20 % of any minute.

    A token bucket in nanoseconds of wire: it holds BURST_NS (6 s) and gains REFILL_PERCENT (10 %) of the time that
    passes, so in any 60 s it gives at most 6 s + 6 s = 12 s. Ask `may_spend` before the question with all it may
    cost: connecting, time-out, and the quiet that must follow; pay what it did cost with `spent`.

    The longest single hold is BURST_NS: 6 s. A question that may cost more is let through only by a full bucket,
    and pays back before the next one: such a unit can heal, keeps to 10 % in the long run, but breaks the bound of
    the minute in which it is asked. Give units on shared wires a time-out and quiet within 6 s together.
    """

    def __init__(self, now_mono_ns: int) -> None:
        self._tokens_ns = BURST_NS
        self._at_ns = now_mono_ns

    def may_spend(self, now_mono_ns: int, cost_ns: int) -> bool:
        """Say whether a question that may hold the wire for cost_ns may be asked now."""
        return self._tokens(now_mono_ns) >= min(cost_ns, BURST_NS)

    def spent(self, now_mono_ns: int, took_ns: int) -> None:
        """Pay for a hold of the wire that ends now and took took_ns."""
        self._tokens_ns = self._tokens(now_mono_ns) - took_ns
        self._at_ns = now_mono_ns

    def free_ns(self, now_mono_ns: int, cost_ns: int) -> int:
        """Return the monotonic instant from which cost_ns may be spent, if nothing else is spent before."""
        short_ns = min(cost_ns, BURST_NS) - self._tokens(now_mono_ns)
        return now_mono_ns + max(0, -(-short_ns * 100 // REFILL_PERCENT))

    def _tokens(self, now_mono_ns: int) -> int:
        return min(BURST_NS, self._tokens_ns + (now_mono_ns - self._at_ns) * REFILL_PERCENT // 100)


# ---------------------------------------------------------------- how much a talker may say

LINES_A_SECOND = 1000
"""Of one talker, a quarter of what the loop and the journal can take in; at 115200 baud it is a line of 10 bytes."""


class Attention:
    """How many lines of a talker are listened to: so many in a second, what it says in the rest of that is left out.

    One that talks without pause would else fill the queue in front of the journal, and what its neighbours answered
    would be dropped from there.
    """

    def __init__(self) -> None:
        self._begun_ns: int | None = None
        self._lines = 0

    def heard(self, now_mono_ns: int) -> int | None:
        """Take one line; return the monotonic instant before which no other is to be taken, None where one may be."""
        if self._begun_ns is None or now_mono_ns - self._begun_ns >= NS:
            self._begun_ns, self._lines = now_mono_ns, 0
        self._lines += 1
        return self._begun_ns + NS if self._lines >= LINES_A_SECOND else None


# ---------------------------------------------------------------- the instrument as a whole

CALM_COUNT = 3
CALM_NS = 10 * NS
"""`ok` comes back after so many good polls in a row, or so long without a bad one: a loose plug must not flicker."""

ANSWERS_AGAIN = "answers again"
"""Why an instrument is degraded of which nothing is known to fail: it has to prove itself."""

_AWAY = {Status.DISCONNECTED, Status.WRONG_INSTRUMENT}
_SILENT = {Status.TIMEOUT, Status.DESYNC}
_ANSWERED = set(Status) - _AWAY - _SILENT - {Status.MISSED, Status.SKIPPED, Status.INTERNAL}


class State(StrEnum):
    """The word of an instrument's retained status."""

    OK = "ok"
    DEGRADED = "degraded"
    LOST = "lost"


FINE: Final = State.OK
"""Found once, as observation.OK."""


@unchanging
class Verdict:
    """How an instrument fares.

    Args:
        why: poll, status and detail of the failure that decides; None where it is ok.
        since_utc_ns: when this state began; a new `why` in the same state does not change it.
    """

    state: State
    why: str | None
    since_utc_ns: int


class InstrumentHealth:
    """Puts the outcomes of an instrument's polls into one word.

    lost: not reachable, another instrument, or PATIENCE polls in a row without an answer. degraded: it answers, and
    the last outcome of some poll was a failure. ok: the last outcome of every poll was good, and has been for a
    little while; until then a missed slot stays the reason. Slots that were skipped on purpose say nothing about the
    instrument.
    """

    def __init__(self, utc_ns: int) -> None:
        self.verdict = Verdict(State.LOST, "not asked yet", utc_ns)
        self._failing: dict[str, tuple[Status, str]] = {}  # poll -> its last outcome, where that was bad; oldest first
        self._lost = False
        self._silent = 0  # polls in a row without an answer
        self._good = CALM_COUNT  # good polls in a row; the first answer of all needs no calm before it
        self._bad_mono_ns = 0
        self._calming = ANSWERS_AGAIN  # why it is degraded while nothing fails

    def stays_good(self, status: Status) -> bool:
        """Take an outcome that changes nothing, if it is one: a good poll of an instrument that is ok."""
        if status is not OK or self.verdict.state is not FINE:
            return False
        self._silent = 0
        self._good += 1
        return True

    def outcome(self, poll: str, status: Status, detail: str | None, now: Stamp) -> Verdict | None:
        """Take the outcome of one poll; return the new verdict where it changed."""
        if status is Status.SKIPPED:
            return None
        if status is OK:
            self._failing.pop(poll, None)
            self._good += 1
        else:
            self._note_failure(poll, status, detail)
            self._good, self._bad_mono_ns = 0, now.mono_ns
            # A wire that is asked too much misses every other slot: one why all the time, not two in turn.
            self._calming = self._failing[poll][1] if status is Status.MISSED else ANSWERS_AGAIN
        self._note_presence(status)
        return self._change(now)

    def forget(self, poll: str, now: Stamp) -> Verdict | None:
        """Drop a poll that is no longer asked; return the new verdict where that changed it."""
        self._failing.pop(poll, None)
        return self._change(now)

    def _note_failure(self, poll: str, status: Status, detail: str | None) -> None:
        if poll not in self._failing or self._failing[poll][0] is not status:
            self._failing[poll] = (status, f"{poll}: {status}" if detail is None else f"{poll}: {status}: {detail}")

    def _note_presence(self, status: Status) -> None:
        if status in _ANSWERED:
            self._silent, self._lost = 0, False
        elif status in _SILENT:
            self._silent += 1
        self._lost = self._lost or status in _AWAY or self._silent >= PATIENCE

    def _change(self, now: Stamp) -> Verdict | None:
        state, why = self._judged(now.mono_ns)
        if (state, why) == (self.verdict.state, self.verdict.why):
            return None
        since_utc_ns = self.verdict.since_utc_ns if state is self.verdict.state else now.utc_ns
        self.verdict = Verdict(state, why, since_utc_ns)
        return self.verdict

    def _judged(self, mono_ns: int) -> tuple[State, str | None]:
        if self._lost:
            telling = sorted(self._failing.values(), key=_tells_little)
            return State.LOST, telling[0][1] if telling else self.verdict.why
        if self._failing:
            return State.DEGRADED, next(iter(self._failing.values()))[1]
        if self._good >= CALM_COUNT or mono_ns - self._bad_mono_ns >= CALM_NS:
            return FINE, None
        return State.DEGRADED, self._calming


def _tells_little(failure: tuple[Status, str]) -> int:
    """Order failures of a lost instrument: first those that alone mean it is away, then silence, then the rest."""
    status = failure[0]
    return 0 if status in _AWAY else 1 if status in _SILENT else 2

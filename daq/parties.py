"""Who is on a wire, what each is asked, and where a line's results go.

A Party is an instrument as the line sees it, an Item a poll of one; both are changed by the line and its ledger alone.

    line -> Party, Item -> steady, listening, ledger -> Outlets -> station
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from daq.core.health import LINES_A_SECOND, Breaker, InstrumentHealth, Verdict, one_slot
from daq.core.observation import NS, ClockState, Exchange, Identity, Observation, Slots, Stamp, Status
from daq.core.plan import PollPlan
from daq.core.unchanging import unchanging
from daq.openwire import SHORT_QUIET_NS
from daq.session import Met, Outcome, Session

STOPPED = Outcome(Status.SKIPPED, "the station stopped")
MISSED = Outcome(Status.MISSED, "the wire was busy until the next slot had come")
NOT_YET = Outcome(Status.DISCONNECTED, "not connected yet")
LEFT_OUT = Outcome(Status.SKIPPED, f"more than {LINES_A_SECOND} lines a second: what comes beyond is left out")
AWAY = Outcome(Status.SKIPPED, "nobody kept an answer: the station was not running, or ended in the middle")


def nothing_holds() -> str | None:
    """Ask on."""
    return None


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a line's results go. None of these may block or raise.

    Args:
        emit: takes every observation.
        announce: takes an event's word and its details: desync, identity_changed, wrong_instrument, wrong_state.
        describe: instrument, what it answered (None before it has) -> the hash of its info, to be cited from now on.
        verdict: instrument, its new state, for the retained status.
        context: what `daq mark` set last.
        clock_state: what is known of the clock.
        held: why nothing is to be asked now, None where all is well; slots meanwhile are skipped ones.
    """

    emit: Callable[[Observation], None]
    announce: Callable[[str, Mapping[str, Any]], None]
    describe: Callable[[str, Met | None], str]
    verdict: Callable[[str, Verdict], None]
    context: Callable[[], tuple[tuple[str, str], ...]]
    clock_state: Callable[[], ClockState]
    held: Callable[[], str | None] = nothing_holds


@dataclass(slots=True)
class Counts:
    """What was counted of one poll since the line was made.

    Args:
        asked: how often it was asked.
        slots: slots by status, runs counted in full.
        lateness_s: start of the last behind its slot; largest_lateness_s: the worst so far.
        last_good: the last good observation.
    """

    asked: int = 0
    slots: Counter[str] = field(default_factory=Counter)
    lateness_s: float = 0.0
    largest_lateness_s: float = 0.0
    last_good: Observation | None = None

    def note_asked(self, late_ns: int) -> None:
        """Count a question, so long behind its slot; a clock that was set may make that less than nothing."""
        self.asked += 1
        self.lateness_s = late_s = late_ns / NS if late_ns > 0 else 0.0
        self.largest_lateness_s = max(self.largest_lateness_s, late_s)

    @property
    def rtt_s(self) -> float | None:
        """From first question to last answer, when it last was good; None where that cannot be said."""
        exchanges = self.last_good.exchanges if self.last_good is not None else ()
        return max((each.at_s + each.rtt_s for each in exchanges if each.rtt_s is not None), default=None)


@dataclass(slots=True)
class Party:
    """An instrument on the wire.

    Args:
        breaker: whether to try to connect.
        name: in the bench file.
        cause: why it is not ready, the status of its slots meanwhile; `cause_exchanges` show it.
        gap_ns: shortest pause between the last byte on the wire and a question to it.
        connected: identified and set up since the wire was opened and since it last failed.
        suspect: must pass its barrier before anything it says is believed.
        info: hash of the info that describes it now, made from `described`.
        known: who it was when it was last connected; None before.
        logged: its state as the log has it; None while it never was logged.
        logged_ns: when that was.
        announced_ns: when it was last announced as having lost track; None if never.
        resyncs: how often the wire had to be cleaned for its sake.
        scene: what held when it was asked last, with what had been learned of it then.
    """

    session: Session
    breaker: Breaker
    health: InstrumentHealth
    name: str = field(init=False)
    cause: Outcome = NOT_YET
    cause_exchanges: tuple[Exchange, ...] = ()
    gap_ns: int = 0
    connected: bool = False
    suspect: bool = True
    info: str = ""
    described: Met | None = None
    known: Identity | None = None
    logged: Verdict | None = None
    logged_ns: int = 0
    announced_ns: int | None = None
    resyncs: int = 0
    scene: Scene | None = None
    scene_met: Met | None = None

    def __post_init__(self) -> None:
        self.name = self.session.plan.name

    @property
    def ready(self) -> bool:
        """Whether what it answers may be believed."""
        return self.connected and not self.suspect

    @property
    def identity(self) -> Identity:
        """Who it is as far as is known."""
        met = self.session.met
        return Identity(self.session.plan.asset) if met is None else met.identity

    @property
    def cost_ns(self) -> int:
        """What one vain question to it may hold the wire for: its time-out, and the quiet behind it."""
        return 2 * self.session.plan.latency_ns + SHORT_QUIET_NS

    @property
    def simulated(self) -> bool:
        """Whether it is a stand-in, by its serial number or by the bench file."""
        met = self.session.met
        return self.session.plan.simulated if met is None else met.simulated


@dataclass(slots=True)
class Item:
    """A poll of a party.

    Args:
        key: instrument/poll.
        breaker: a poll that makes the line lose track again and again is left alone, its neighbours are not.
        cause: how it failed last; None after a good one.
        cost_ns: for how long it held the wire then.
        doubted_ns: when it was last announced that it was answered too fast; None if never.
    """

    key: str
    party: Party
    plan: PollPlan
    breaker: Breaker
    cause: Outcome | None = None
    cost_ns: int = 0
    doubted_ns: int | None = None
    counts: Counts = field(default_factory=Counts)


@unchanging
class Scene:
    """What held when a question was asked: who was asked, described by which info, under which marks."""

    identity: Identity
    info: str
    context: tuple[tuple[str, str], ...]
    simulated: bool


def party(session: Session, now: Stamp, silence_ns: int) -> Party:
    """Make the party of a session: not connected, to be tried at once; `silence_ns`: see Line."""
    gap_ns = max(session.plan.gap_ns, silence_ns)
    return Party(session, Breaker(session.plan.name), InstrumentHealth(now.utc_ns), gap_ns=gap_ns)


def joined(missed: Slots | None, due_ns: int) -> Slots:
    """Return the slots of a turn as one run."""
    return one_slot(due_ns) if missed is None else Slots(missed.first_ns, due_ns, missed.count + 1)


def heard(outcome: Outcome, begun: Stamp, now: Stamp) -> Slots:
    """Return the interval in which a talker failed: when its line can have come, else how long it was listened to."""
    if outcome.timing is None:
        return Slots(begun.utc_ns, now.utc_ns, 1)
    return Slots(outcome.timing.utc_ns - outcome.timing.err_ns, outcome.timing.utc_ns + outcome.timing.err_ns, 1)


def because_of(culprit: Party, outcome: Outcome) -> Outcome:
    """Say to the other instruments of a wire why they are not asked."""
    if outcome.status is Status.DISCONNECTED:
        return outcome
    return Outcome(Status.DESYNC, f"the wire lost track at {culprit.name}: whose answer is whose must be proved anew")


def inside(error: BaseException) -> Outcome:
    """Judge what stopped the line itself in the middle of a slot."""
    if isinstance(error, Exception):
        return Outcome(Status.INTERNAL, f"{type(error).__name__}: {error}")
    return STOPPED

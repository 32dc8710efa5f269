"""Scheduler and health under any order of events, with injected time: a week of them in a second.

- Every slot of a poll's grid leaves the queue exactly once: asked, missed, given up, or jumped over by the clock.
- Nothing is handed out before its instant; what is due longest goes first, so that none starves.
- A unit that is left alone is tried again within a minute; one that answers is never left alone.
- Every failed slot is told in exactly one observation, a run at most once a minute; the verdict is what was seen last.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daq.core.health import (
    LONGEST_RETRY_NS,
    PATIENCE,
    REMIND_NS,
    Breaker,
    Contact,
    Emission,
    InstrumentHealth,
    Runs,
    State,
    one_slot,
)
from daq.core.observation import NS, Slots, Stamp, Status
from daq.core.schedule import ClockWatch, Grid, Queue

NOON_NS = 1_795_348_800 * NS  # 2026-11-22T12:00:00Z
WEEK_NS = 7 * 86400 * NS
PAUSES = st.one_of(
    st.integers(1, NS // 100), st.integers(NS // 10, 10 * NS), st.integers(60 * NS, 7200 * NS), st.just(WEEK_NS)
)
"""From less than a slot to a week, ns."""

QUICK = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))


class QueueMachine(RuleBasedStateMachine):
    """A wire's queue beside a model that knows the grids alone."""

    def __init__(self) -> None:
        super().__init__()
        self.mono_ns, self.utc_ns = 500 * NS, NOON_NS
        self.watch = ClockWatch(self.now)
        self.queue = Queue(self.watch.anchor)
        self.grids: dict[str, Grid] = {}
        self.next_ns: dict[str, int] = {}  # poll -> the slot that must leave next

    @property
    def now(self) -> Stamp:
        return Stamp(self.mono_ns, self.utc_ns)

    @initialize()
    def one(self) -> None:
        self.take_in("first", NS, 0)

    def take_in(self, name: str, every_ns: int, phase_ns: int) -> None:
        self.grids[name] = Grid(every_ns, phase_ns)
        self.queue.add(name, self.grids[name], self.mono_ns)
        self.next_ns[name] = self.utc_ns + (phase_ns - self.utc_ns) % every_ns

    def leaves(self, poll: str, first_ns: int, last_ns: int, count: int) -> None:
        """So many slots leave the queue, in one go: they must be just those that are next."""
        every_ns = self.grids[poll].every_ns
        assert first_ns == self.next_ns[poll], "a slot left twice, or never"
        assert last_ns == first_ns + (count - 1) * every_ns
        assert (last_ns - self.grids[poll].phase_ns) % every_ns == 0
        self.next_ns[poll] = last_ns + every_ns

    def left(self, poll: str, slots: Slots | None) -> None:
        if slots is not None:
            self.leaves(poll, slots.first_ns, slots.last_ns, slots.count)

    @precondition(lambda self: len(self.grids) < 5)
    @rule(every=st.sampled_from([NS // 100, NS // 10, NS, 7 * NS, 3600 * NS]), phase=st.integers(0, 3600 * NS))
    def add(self, every: int, phase: int) -> None:
        self.take_in(f"poll{self.mono_ns}", every, phase)

    @precondition(lambda self: len(self.grids) > 1)
    @rule(which=st.integers(0, 9))
    def remove(self, which: int) -> None:
        name = sorted(self.grids)[which % len(self.grids)]
        self.left(name, self.queue.remove(name, self.mono_ns))
        assert self.next_ns[name] > self.utc_ns
        del self.grids[name], self.next_ns[name]

    @rule(ns=PAUSES)
    def pass_time(self, ns: int) -> None:
        """Both clocks run alike; they are compared each second, and so at its end."""
        self.mono_ns += ns
        self.utc_ns += ns
        assert self.watch.saw(self.now) is None
        self.queue.follow(self.watch.anchor)

    @rule()
    def wake(self) -> None:
        """Go to where the queue wants to be woken: something is due there, and nothing was before."""
        wake_ns = self.queue.wake_ns()
        assert wake_ns is not None
        assert min(self.next_ns.values()) - self.utc_ns == wake_ns - self.mono_ns
        if wake_ns > self.mono_ns:
            assert self.queue.take(wake_ns - 1) is None
            self.pass_time(wake_ns - self.mono_ns)
        self.ask()

    @rule()
    def ask(self) -> None:
        due = {name: at for name, at in self.next_ns.items() if at <= self.utc_ns}
        turn = self.queue.take(self.mono_ns)
        assert (turn is None) == (not due)
        if turn is None:
            return
        deadlines = {name: at + self.grids[name].every_ns for name, at in due.items()}
        assert deadlines[turn.poll] == min(deadlines.values()), "another has waited longer"
        self.left(turn.poll, turn.missed)
        self.leaves(turn.poll, turn.due_ns, turn.due_ns, 1)
        assert self.utc_ns - self.grids[turn.poll].every_ns < turn.due_ns <= self.utc_ns

    @rule(which=st.integers(0, 9))
    def give_up(self, which: int) -> None:
        name = sorted(self.grids)[which % len(self.grids)]
        self.left(name, self.queue.pass_over(name, self.mono_ns))
        assert self.next_ns[name] > self.utc_ns

    @rule(ppm=st.integers(-400, 400))
    def steer(self, ppm: int) -> None:
        """A second in which the clock is made to run faster or slower: no slot is lost for it."""
        self.mono_ns += NS
        self.utc_ns += NS + ppm * 1000
        assert self.watch.saw(self.now) is None
        self.queue.follow(self.watch.anchor)

    @rule(
        by_ms=st.one_of(st.sampled_from([-3_600_000, -500, 500, 3_600_000, 8 * 86_400_000]), st.integers(-5000, 5000))
    )
    def set_clock(self, by_ms: int) -> None:
        before_ns = self.utc_ns
        self.utc_ns += by_ms * NS // 1000
        step = self.watch.saw(self.now)
        if step is None:
            self.queue.follow(self.watch.anchor)
            assert abs(by_ms) <= 1
            return
        assert step.size_ns == by_ms * NS // 1000
        owed = self.queue.step(step)
        for name, grid in self.grids.items():
            self.left(name, owed.get(name))
            assert self.next_ns[name] > before_ns or name in owed
            fresh_ns = grid.next_slot(self.utc_ns)
            again = self.next_ns[name] - fresh_ns
            self.next_ns[name] = self.next_ns[name] if 0 <= again <= grid.every_ns else fresh_ns

    @invariant()
    def it_wakes_for_the_first(self) -> None:
        if self.next_ns:
            assert self.watch.anchor.utc_of(self.queue.wake_ns()) == min(self.next_ns.values())


QueueMachine.TestCase.settings = QUICK
TestAnyOrderOfSlots = QueueMachine.TestCase

FAILURES = [Status.TIMEOUT, Status.DESYNC, Status.PROTOCOL, Status.BUSY, Status.INSTRUMENT_ERROR, Status.MISMATCH]


class UnitMachine(RuleBasedStateMachine):
    """A unit with two polls: its breaker, the runs of its failures, and the word of its status."""

    def __init__(self) -> None:
        super().__init__()
        self.mono_ns = 0
        self.unit = Breaker("box")
        self.runs = Runs()
        self.health = InstrumentHealth(NOON_NS)
        self.failed: dict[str, list[int]] = {"a": [], "b": []}
        self.told: dict[str, list[int]] = {"a": [], "b": []}
        self.said_ns: dict[str, tuple[object, int]] = {}
        self.last: dict[str, Status] = {}
        self.silent = 0

    @property
    def now(self) -> Stamp:
        return Stamp(self.mono_ns, NOON_NS + self.mono_ns)

    def hear(self, emissions: list[Emission]) -> None:
        for emission in emissions:
            told = self.told[emission.poll]
            slots = [
                slot for slot in self.failed[emission.poll] if emission.slots.first_ns <= slot <= emission.slots.last_ns
            ]
            assert len(slots) == emission.slots.count
            assert not told or told[-1] < slots[0], "told twice, or out of order"
            told += slots

    @rule(ns=PAUSES)
    def pass_time(self, ns: int) -> None:
        self.mono_ns += ns

    @rule(poll=st.sampled_from("ab"))
    def answer(self, poll: str) -> None:
        self.mono_ns += 1
        self.unit = self.unit.answered()
        self.hear(self.runs.succeeded(poll))
        self.note(poll, Status.OK)
        assert self.unit.contact is Contact.UP
        assert self.unit.may_try(self.mono_ns)
        assert self.failed[poll] == self.told[poll], "a failure before this answer was not told before it"

    @rule(poll=st.sampled_from("ab"), status=st.sampled_from(FAILURES), number=st.integers(0, 3))
    def fail(self, poll: str, status: Status, number: int) -> None:
        self.mono_ns += 1
        before = self.unit
        if status in (Status.TIMEOUT, Status.DESYNC):
            self.unit = self.unit.failed(self.mono_ns)
        slot_ns = NOON_NS + self.mono_ns
        self.failed[poll].append(slot_ns)
        emissions = self.runs.failed(poll, status, f"seen {number}", one_slot(slot_ns), self.mono_ns)
        self.hear(emissions)
        key = (status, "seen #")
        known = self.said_ns.get(poll)
        if emissions and known is not None and known[0] == key and len(emissions) == 1:
            assert self.mono_ns - known[1] >= REMIND_NS or emissions[0].slots.count == 1
        if emissions:
            self.said_ns[poll] = (key, self.mono_ns)
        self.note(poll, status)
        if self.unit.contact is Contact.DOWN:
            assert 0 < self.unit.retry_ns - self.mono_ns <= LONGEST_RETRY_NS or self.unit == before

    def note(self, poll: str, status: Status) -> None:
        self.health.outcome(poll, status, "words", self.now)
        self.last[poll] = status
        silent = status in (Status.TIMEOUT, Status.DESYNC)
        self.silent = self.silent + 1 if silent else 0

    @rule()
    def remind(self) -> None:
        emissions = self.runs.tick(self.mono_ns)
        self.hear(emissions)

    @precondition(lambda self: self.unit.contact is Contact.DOWN)
    @rule()
    def wait_until_it_is_tried(self) -> None:
        assert not self.unit.may_try(self.unit.retry_ns - 1)
        self.mono_ns = max(self.mono_ns, self.unit.retry_ns)
        assert self.unit.may_try(self.mono_ns)

    @invariant()
    def the_verdict_is_what_was_seen(self) -> None:
        state = self.health.verdict.state
        if not self.last or self.silent >= PATIENCE:
            assert state is State.LOST
        elif any(status is not Status.OK for status in self.last.values()):
            assert state is not State.OK
        elif self.silent == 0:
            assert state is not State.LOST

    def teardown(self) -> None:
        self.hear(self.runs.flush())
        assert self.told == self.failed, "a failed slot is in no observation"


UnitMachine.TestCase.settings = QUICK
TestAnyOrderOfOutcomes = UnitMachine.TestCase

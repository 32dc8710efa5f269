"""Whom to leave alone, what to say of failures, how much the dead may take."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.health import (
    BURST_NS,
    CALM_NS,
    PATIENCE,
    REMIND_NS,
    Breaker,
    Contact,
    Emission,
    InstrumentHealth,
    Runs,
    Share,
    State,
    back_off_ns,
    one_slot,
)
from daq.core.observation import NS, Slots, Stamp, Status
from daq.core.schedule import Anchor, Grid, Queue, Step

MINUTE = 60 * NS


# ---------------------------------------------------------------- whom to try


def test_a_new_unit_is_tried_at_once():
    assert Breaker("dmm1").may_try(0)


def test_an_answer_brings_it_up():
    unit = Breaker("dmm1").connected()
    assert unit.contact is Contact.SUSPECT
    assert unit.answered() == Breaker("dmm1", Contact.UP)
    assert unit.answered().answered() is not None


def test_single_failures_are_borne_and_the_third_in_a_row_is_not():
    unit = Breaker("dmm1").connected().answered().failed(5)
    assert unit.contact is Contact.SUSPECT
    assert unit.answered().failed(6).failed(7).contact is Contact.SUSPECT
    down = unit.failed(6).failed(7)
    assert PATIENCE == 3
    assert down.contact is Contact.DOWN
    assert not down.may_try(7)
    assert down.may_try(down.retry_ns)


def test_a_lost_connection_takes_it_down_at_once():
    unit = Breaker("dmm1").connected().answered().lost(10 * NS)
    assert unit.contact is Contact.DOWN
    assert 11 * NS <= unit.retry_ns <= 12 * NS


def test_one_that_accepts_and_never_answers_waits_as_long_as_one_that_is_not_there():
    accepting, absent = Breaker("dmm1"), Breaker("dmm1")
    for second in range(20):
        now = second * MINUTE * 2
        accepting, absent = accepting.connected().failed(now), absent.lost(now)
        if second >= PATIENCE:
            assert accepting.contact is Contact.DOWN
    assert accepting.retry_ns - now > 40 * NS
    assert absent.retry_ns - now > 40 * NS


def test_an_answer_forgets_the_back_off():
    unit = Breaker("dmm1")
    for _ in range(10):
        unit = unit.lost(0)
    healed = unit.connected().answered()
    assert healed.lost(0).retry_ns < 2 * NS
    assert healed.failed(0).contact is Contact.SUSPECT


@given(name=st.text(), tries=st.integers(0, 10_000))
def test_the_back_off_is_between_one_and_sixty_seconds_and_always_the_same(name, tries):
    assert NS <= back_off_ns(name, tries) <= 60 * NS
    assert back_off_ns(name, tries) == back_off_ns(name, tries)


def test_the_back_off_doubles_and_differs_from_unit_to_unit():
    waits = [back_off_ns("dmm1", tries) for tries in range(8)]
    assert all(earlier < later for earlier, later in pairwise(waits[:6]))
    assert min(waits[6:]) >= 45 * NS
    assert len({back_off_ns(f"unit{n}", 9) for n in range(30)}) == 30


# ---------------------------------------------------------------- runs


def failed(runs: Runs, second: int, status: Status = Status.TIMEOUT, detail: str | None = "silent") -> list[Emission]:
    return runs.failed("vref", status, detail, one_slot(second * NS), second * NS)


def test_the_first_failure_is_told_at_once():
    assert failed(Runs(), 1) == [Emission("vref", Status.TIMEOUT, "silent", Slots(NS, NS, 1))]


def test_the_same_failure_again_is_told_after_a_minute_with_all_that_gathered():
    runs = Runs()
    failed(runs, 0)
    assert [failed(runs, second) for second in range(1, 60)] == [[]] * 59
    assert failed(runs, 60) == [Emission("vref", Status.TIMEOUT, "silent", Slots(NS, 60 * NS, 60))]
    assert failed(runs, 61) == []


def test_a_minute_is_told_even_where_the_poll_is_slower():
    runs = Runs()
    failed(runs, 0)
    failed(runs, 59)
    assert runs.tick(MINUTE - 1) == []
    assert runs.tick(MINUTE) == [Emission("vref", Status.TIMEOUT, "silent", one_slot(59 * NS))]
    assert runs.tick(5 * MINUTE) == []


def test_success_tells_what_was_left_and_ends_the_run():
    runs = Runs()
    failed(runs, 0)
    failed(runs, 1)
    failed(runs, 2)
    assert runs.succeeded("vref") == [Emission("vref", Status.TIMEOUT, "silent", Slots(NS, 2 * NS, 2))]
    assert runs.succeeded("vref") == []
    assert failed(runs, 4) == [Emission("vref", Status.TIMEOUT, "silent", one_slot(4 * NS))]


def test_another_failure_ends_the_run_before_it():
    runs = Runs()
    failed(runs, 0)
    failed(runs, 1)
    told = failed(runs, 2, Status.DISCONNECTED, "reset by peer")
    assert [(e.status, e.slots) for e in told] == [
        (Status.TIMEOUT, one_slot(NS)),
        (Status.DISCONNECTED, one_slot(2 * NS)),
    ]


def test_details_that_differ_in_numbers_only_are_the_same_failure():
    runs = Runs()
    failed(runs, 0, Status.PROTOCOL, "got '+9.998'")
    assert failed(runs, 1, Status.PROTOCOL, "got '+9.71'") == []
    assert len(failed(runs, 2, Status.PROTOCOL, "got 'ERR'")) == 2
    assert len(failed(runs, 3, Status.PROTOCOL, None)) == 1


def test_slots_that_failed_together_are_one_step_of_a_run():
    runs = Runs()
    assert runs.failed("vref", Status.MISSED, None, Slots(0, 9 * NS, 10), 0)[0].slots.count == 10
    runs.failed("vref", Status.MISSED, None, Slots(10 * NS, 19 * NS, 10), 1)
    assert runs.flush() == [Emission("vref", Status.MISSED, None, Slots(10 * NS, 19 * NS, 10))]
    assert runs.flush() == []


def test_polls_do_not_end_each_others_runs():
    runs = Runs()
    for second in range(3):
        failed(runs, second)
        runs.failed("rref", Status.BUSY, None, one_slot(second * NS), second * NS)
    assert runs.succeeded("rref") == [Emission("rref", Status.BUSY, None, Slots(NS, 2 * NS, 2))]
    assert [e.poll for e in runs.flush()] == ["vref"]


class Wire:
    """A line in miniature: polls from a Queue, outcomes from a script, failures through Runs, nothing else."""

    def __init__(self, grids: dict[str, Grid]) -> None:
        self.mono = 1_000 * NS
        self.anchor = Anchor(self.mono, 1_795_348_800 * NS)
        self.grids, self.queue, self.runs = grids, Queue(self.anchor), Runs()
        self.told: dict[str, list[Slots]] = {name: [] for name in grids}
        self.shown_from = self.anchor.utc_ns
        self.shown: list[tuple[int, int]] = []  # what the real-time clock has shown, from step to step
        for name, grid in grids.items():
            self.queue.add(name, grid, self.mono)

    def publish(self, emissions: list[Emission]) -> None:
        for emission in emissions:
            self.told[emission.poll].append(emission.slots)

    def fail(self, poll: str, status: Status, slots: Slots | None) -> None:
        if slots is not None:
            self.publish(self.runs.failed(poll, status, None, slots, self.mono))

    def exchange(self, took_ns: int, status: Status) -> None:
        turn = self.queue.take(self.mono)
        if turn is None:
            self.mono = max(self.mono, self.queue.wake_ns() or 0)
            turn = self.queue.take(self.mono)
        assert turn is not None
        self.fail(turn.poll, Status.MISSED, turn.missed)
        self.mono += took_ns
        if status is Status.OK:
            self.publish(self.runs.succeeded(turn.poll))
            self.told[turn.poll].append(one_slot(turn.due_ns))
        else:
            self.fail(turn.poll, status, one_slot(turn.due_ns))
        self.publish(self.runs.tick(self.mono))

    def set_clock(self, size_ns: int) -> None:
        before, utc = self.anchor, self.anchor.utc_of(self.mono)
        self.anchor = Anchor(self.mono, utc + size_ns)
        self.shown.append((self.shown_from, utc))
        self.shown_from = self.anchor.utc_ns + 1
        for poll, owed in self.queue.step(Step(before, self.anchor, size_ns)).items():
            self.fail(poll, Status.MISSED, owed)
        self.publish(self.runs.flush())

    def stop(self) -> None:
        for poll in self.grids:
            self.fail(poll, Status.SKIPPED, self.queue.remove(poll, self.mono))
        self.publish(self.runs.flush())
        self.shown.append((self.shown_from, self.anchor.utc_of(self.mono)))


def every_slot(runs: list[Slots], every_ns: int) -> list[int]:
    slots: list[int] = []
    for run in runs:
        due = range(run.first_ns, run.last_ns + 1, every_ns)
        assert len(due) == run.count
        slots += due
    return slots


@given(
    periods=st.lists(st.integers(50, 3000), min_size=1, max_size=4),
    script=st.lists(
        st.tuples(st.integers(0, 2500), st.sampled_from([Status.OK, Status.TIMEOUT, Status.BUSY])),
        min_size=1,
        max_size=20,
    ),
    again=st.integers(1, 20),
    steps=st.dictionaries(st.integers(0, 60), st.integers(10, 7200) | st.integers(-7200, -10), max_size=2),
)
@settings(max_examples=200, deadline=None)
def test_every_due_slot_is_in_exactly_one_observation(periods, script, again, steps):
    """Queue and Runs together, on a wire that is slow and fails as it likes, by a clock that is set now and then."""
    ms = NS // 1000
    wire = Wire({f"p{n}": Grid(every * ms, 13 * n * ms) for n, every in enumerate(periods)})
    for number, (took_ms, status) in enumerate(script * again):
        if number in steps:
            wire.set_clock(steps[number] * NS)
        wire.exchange(took_ms * ms, status)
    wire.stop()
    for name, grid in wire.grids.items():
        there = [grid.slots_between(begin, end) for begin, end in wire.shown]
        due = every_slot([slots for slots in there if slots is not None], grid.every_ns)
        assert every_slot(wire.told[name], grid.every_ns) == due  # each once, and in order


def test_a_dead_week_at_ten_hertz_is_told_once_a_minute():
    runs, told, count = Runs(), 0, 0
    week = 7 * 24 * 3600
    for second in range(week):  # ten slots at a time, as for a unit that is down
        slots = Slots(second * NS, second * NS + 9 * NS // 10, 10)
        emissions = [*runs.failed("vref", Status.DISCONNECTED, "refused", slots, second * NS), *runs.tick(second * NS)]
        told += len(emissions)
        count += sum(emission.slots.count for emission in emissions)
    last = runs.flush()
    assert count + sum(emission.slots.count for emission in last) == 10 * week
    assert told == week // 60  # at 0 s, 60 s, 120 s, ...


# ---------------------------------------------------------------- share


def test_a_full_bucket_bears_the_longest_hold_and_then_no_more():
    share = Share(0)
    assert share.may_spend(0, BURST_NS)
    share.spent(BURST_NS, BURST_NS)
    assert not share.may_spend(BURST_NS, BURST_NS)
    assert share.may_spend(share.free_ns(BURST_NS, NS), NS)
    assert not share.may_spend(share.free_ns(BURST_NS, NS) - 10, NS)


def test_a_question_dearer_than_the_bucket_is_asked_once_it_is_full_and_paid_back():
    share = Share(0)
    assert share.may_spend(0, 20 * NS)
    share.spent(20 * NS, 20 * NS)
    assert not share.may_spend(60 * NS, NS)
    free = share.free_ns(20 * NS, 20 * NS)
    assert free == 220 * NS  # 6 s were there, 20 s are paid: 20 s below full, at 10 %
    assert share.may_spend(free, 20 * NS)


@given(
    holds=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 6_000)), min_size=1, max_size=20),
    again=st.integers(1, 10),
)
@settings(deadline=None)
def test_in_no_minute_do_the_dead_take_more_than_a_fifth_of_the_wire(holds, again):
    """Units that ask to hold the wire as often and as long as they like, up to the longest single hold."""
    ms, now = NS // 1000, 0
    share, held = Share(0), []
    for pause_ms, cost_ms in holds * again:
        now += pause_ms * ms
        if not share.may_spend(now, cost_ms * ms):
            now = share.free_ns(now, cost_ms * ms)
        assert share.may_spend(now, cost_ms * ms)
        held.append((now, now + cost_ms * ms))
        now += cost_ms * ms
        share.spent(now, cost_ms * ms)
    for window in {edge for begin, end in held for edge in (begin, end - MINUTE)}:
        taken = sum(max(0, min(end, window + MINUTE) - max(begin, window)) for begin, end in held)
        assert taken <= MINUTE // 5


def test_what_was_earned_in_between_is_not_forgotten_by_paying():
    share = Share(0)
    share.spent(6 * NS, 6 * NS)  # empty
    share.spent(31 * NS, NS)  # 2.5 s earned, 1 s paid
    assert share.may_spend(31 * NS, 3 * NS // 2)
    assert not share.may_spend(31 * NS, 3 * NS // 2 + 1)


def test_a_unit_that_failed_quicker_than_feared_pays_only_what_it_took():
    share = Share(0)
    for n in range(1, 50):
        assert share.may_spend(n * NS, 2 * NS)
        share.spent(n * NS + NS // 20, NS // 20)


# ---------------------------------------------------------------- the instrument


def second(n: float) -> Stamp:
    return Stamp(round(n * NS), round((1_795_348_800 + n) * NS))


def test_the_first_good_answer_makes_it_ok():
    health = InstrumentHealth(second(0).utc_ns)
    assert health.verdict.state is State.LOST
    verdict = health.outcome("vref", Status.OK, None, second(1))
    assert verdict is not None
    assert (verdict.state, verdict.why, verdict.since_utc_ns) == (State.OK, None, second(1).utc_ns)
    assert health.outcome("vref", Status.OK, None, second(2)) is None


def ok_instrument() -> InstrumentHealth:
    health = InstrumentHealth(0)
    health.outcome("vref", Status.OK, None, second(0))
    health.outcome("rref", Status.OK, None, second(0))
    return health


def test_one_failing_poll_degrades_it_and_is_named():
    verdict = ok_instrument().outcome("rref", Status.PROTOCOL, "got 'x'", second(5))
    assert verdict is not None
    assert (verdict.state, verdict.why) == (State.DEGRADED, "rref: protocol: got 'x'")
    assert verdict.since_utc_ns == second(5).utc_ns


def test_the_same_failure_is_not_said_again():
    health = ok_instrument()
    health.outcome("rref", Status.PROTOCOL, "got '1'", second(5))
    assert health.outcome("rref", Status.PROTOCOL, "got '2'", second(6)) is None
    assert health.outcome("vref", Status.OK, None, second(6)) is None
    assert health.outcome("vref", Status.BUSY, None, second(7)) is None


def test_it_is_ok_again_after_three_good_polls_or_ten_seconds():
    health = ok_instrument()
    health.outcome("rref", Status.BUSY, None, second(1))
    verdict = health.outcome("rref", Status.OK, None, second(2))
    assert verdict is not None
    assert (verdict.state, verdict.why, verdict.since_utc_ns) == (
        State.DEGRADED,
        "answers again",
        second(1).utc_ns,
    )
    assert health.outcome("rref", Status.OK, None, second(3)) is None
    verdict = health.outcome("rref", Status.OK, None, second(4))
    assert verdict is not None
    assert verdict.state is State.OK
    health.outcome("rref", Status.BUSY, None, second(5))
    verdict = health.outcome("rref", Status.OK, None, second(5 + CALM_NS / NS))
    assert verdict is not None
    assert verdict.state is State.OK


def test_it_does_not_flicker_when_every_other_poll_fails():
    health = ok_instrument()
    said = [
        health.outcome("vref", Status.OK if n % 2 else Status.TIMEOUT, None, second(1 + n / 10)) for n in range(1000)
    ]
    assert {verdict.state for verdict in said if verdict is not None} == {State.DEGRADED}


def test_a_wire_that_misses_every_other_slot_is_told_of_once():
    health = ok_instrument()
    said = [
        health.outcome("vref", Status.OK if n % 2 else Status.MISSED, "busy", second(1 + n / 10)) for n in range(1000)
    ]
    told = [(verdict.state, verdict.why) for verdict in said if verdict is not None]
    assert told == [(State.DEGRADED, "vref: missed: busy")]


@pytest.mark.parametrize("status", [Status.DISCONNECTED, Status.WRONG_INSTRUMENT])
def test_what_cannot_be_reached_is_lost_at_once(status):
    health = ok_instrument()
    verdict = health.outcome("vref", status, "reset", second(1))
    assert verdict is not None
    assert (verdict.state, verdict.why) == (State.LOST, f"vref: {status}: reset")
    assert health.outcome("rref", Status.DISCONNECTED, "reset", second(1)) is None


def test_silence_is_degraded_first_and_lost_after_three():
    health = ok_instrument()
    states = []
    for n in range(1, 5):
        health.outcome("vref", Status.TIMEOUT, None, second(n))
        states.append(health.verdict.state)
    assert states == [State.DEGRADED, State.DEGRADED, State.LOST, State.LOST]


def test_garbage_is_an_answer():
    health = ok_instrument()
    for n in range(100):
        health.outcome("vref", Status.TIMEOUT if n % 3 else Status.PROTOCOL, None, second(n))
    assert health.verdict.state is State.DEGRADED


def test_slots_skipped_or_missed_by_the_station_do_not_make_it_lost():
    health = ok_instrument()
    assert health.outcome("vref", Status.SKIPPED, "stop", second(1)) is None
    for n in range(2, 20):
        health.outcome("vref", Status.MISSED, None, second(n))
    assert health.verdict.state is State.DEGRADED


def test_a_lost_instrument_that_answers_one_poll_is_degraded_until_all_are_good():
    health = ok_instrument()
    health.outcome("vref", Status.DISCONNECTED, "reset", second(1))
    health.outcome("rref", Status.DISCONNECTED, "reset", second(1))
    states = []
    for n in range(2, 6):
        health.outcome("vref", Status.OK, None, second(n))
        states.append(health.verdict.state)
    assert states == [State.DEGRADED] * 4
    verdict = health.outcome("rref", Status.OK, None, second(7))
    assert verdict is not None
    assert verdict.state is State.OK


def test_a_poll_that_is_no_longer_asked_no_longer_degrades():
    health = ok_instrument()
    health.outcome("rref", Status.BUSY, None, second(1))
    verdict = health.forget("rref", second(1 + CALM_NS / NS))
    assert verdict is not None
    assert verdict.state is State.OK


def test_reminders_are_a_minute_apart():
    assert REMIND_NS == MINUTE

"""Polls on a grid of UTC: never drifting, never twice, every slot accounted for."""

from __future__ import annotations

from itertools import pairwise
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.observation import NS, Slots, Stamp
from daq.core.schedule import Anchor, ClockWatch, Grid, Queue, Step, spread

MS = NS // 1000
NOON = 1_795_348_800 * NS  # 2026-11-22T12:00:00Z
BOOTED = 500 * NS  # monotonic time at NOON
ANCHOR = Anchor(BOOTED, NOON)


def queue_of(**polls: Grid) -> Queue:
    queue = Queue(ANCHOR)
    for name, grid in polls.items():
        queue.add(name, grid, BOOTED)
    return queue


def at(seconds: float) -> int:
    """Monotonic instant so long after noon."""
    return BOOTED + round(seconds * NS)


def noon(seconds: float) -> int:
    """UTC instant so long after noon."""
    return NOON + round(seconds * NS)


def stepped(at_s: float, by_s: float) -> Step:
    """A clock set by by_s, seen at_s after noon by the old clock."""
    before = ANCHOR
    return Step(before, Anchor(at(at_s), noon(at_s + by_s)), round(by_s * NS))


# ---------------------------------------------------------------- grid


def test_slots_are_whole_multiples_of_the_period_since_1970_plus_the_phase():
    grid = Grid(NS, 200 * MS)
    assert grid.next_slot(NOON) == noon(0.2)
    assert grid.next_slot(noon(0.2)) == noon(1.2)
    assert grid.next_slot(noon(0.2) - 1) == noon(0.2)
    assert grid.last_slot(noon(0.2)) == noon(0.2)
    assert grid.last_slot(noon(0.2) - 1) == noon(-0.8)


def test_a_period_that_does_not_divide_a_second_does_not_drift_in_a_year():
    third = Grid(NS // 3)  # 333333333 ns
    slot = third.next_slot(NOON)
    for _ in range(1000):
        slot = third.next_slot(slot)
    year = 365 * 86400 * NS
    assert third.last_slot(NOON + year) % 333_333_333 == 0
    assert slot % 333_333_333 == 0


def test_slots_between_counts_both_ends():
    grid = Grid(NS)
    assert grid.slots_between(NOON, noon(3)) == Slots(NOON, noon(3), 4)
    assert grid.slots_between(NOON + 1, noon(3) - 1) == Slots(noon(1), noon(2), 2)
    assert grid.slots_between(NOON + 1, noon(1) - 1) is None


@given(every=st.integers(1, 10**13), phase=st.integers(-(10**13), 10**13), utc=st.integers(0, 2 * 10**18))
def test_last_and_next_slot_enclose_every_instant(every, phase, utc):
    grid = Grid(every, phase)
    last, following = grid.last_slot(utc), grid.next_slot(utc)
    assert last <= utc < following
    assert following - last == every
    assert (last - phase) % every == 0


def test_anchor_translates():
    assert ANCHOR.utc_of(at(7.5)) == noon(7.5)
    assert Anchor.of(Stamp(3, 5)) == Anchor(3, 5)


# ---------------------------------------------------------------- queue


def test_an_empty_queue_never_wakes_anybody():
    queue = Queue(ANCHOR)
    assert queue.wake_ns() is None
    assert queue.take(at(1)) is None


def test_nothing_is_due_before_its_instant_and_something_is_at_it():
    queue = queue_of(a=Grid(NS, 300 * MS))
    assert queue.wake_ns() == at(0.3)
    assert queue.take(at(0.3) - 1) is None
    turn = queue.take(at(0.3))
    assert turn is not None
    assert (turn.poll, turn.due_ns, turn.missed) == ("a", noon(0.3), None)
    assert queue.take(at(0.3)) is None
    assert queue.wake_ns() == at(1.3)


def test_the_slot_at_the_instant_of_adding_counts():
    queue = queue_of(a=Grid(NS))
    turn = queue.take(BOOTED)
    assert turn is not None
    assert turn.due_ns == NOON


def test_the_earliest_deadline_goes_first_not_the_earliest_start():
    queue = queue_of(slow=Grid(10 * NS), fast=Grid(NS, 500 * MS))
    turns = [queue.take(at(0.6)), queue.take(at(0.6)), queue.take(at(0.6))]
    assert [turn and turn.poll for turn in turns] == ["fast", "slow", None]


def test_a_poll_that_is_not_due_does_not_hold_up_one_that_is():
    queue = queue_of(slow=Grid(10 * NS), fast=Grid(NS, 500 * MS))
    turn = queue.take(at(0.1))
    assert turn is not None
    assert turn.poll == "slow"


def test_slots_that_passed_are_missed_and_only_the_newest_is_asked():
    queue = queue_of(a=Grid(NS))
    turn = queue.take(at(3.7))
    assert turn is not None
    assert turn.due_ns == noon(3)
    assert turn.missed == Slots(NOON, noon(2), 3)
    assert queue.take(at(3.7)) is None
    assert queue.wake_ns() == at(4)


def test_on_an_overloaded_wire_nobody_starves():
    queue = queue_of(fast=Grid(100 * MS), other=Grid(100 * MS, 7 * MS), slow=Grid(5 * NS))
    asked = {"fast": 0, "other": 0, "slow": 0}
    now = BOOTED
    while now < at(60):  # each exchange takes 0.25 s: the two fast ones alone want five times the wire
        turn = queue.take(now)
        if turn is not None:
            asked[turn.poll] += 1
        now += 250 * MS
    assert asked["slow"] >= 6  # of 12 slots: it is asked as soon as its deadline is the oldest
    assert min(asked["fast"], asked["other"]) > 100


def test_passing_over_accounts_for_all_that_is_due_and_goes_on_after_it():
    queue = queue_of(a=Grid(NS))
    assert queue.pass_over("a", at(3600.5)) == Slots(NOON, noon(3600), 3601)
    assert queue.pass_over("a", at(3600.5)) is None
    assert queue.wake_ns() == at(3601)


def test_removing_returns_what_was_due():
    queue = queue_of(a=Grid(NS), b=Grid(NS))
    assert queue.remove("a", at(1.5)) == Slots(NOON, noon(1), 2)
    assert queue.pass_over("b", at(0)) == Slots(NOON, NOON, 1)
    with pytest.raises(KeyError):
        queue.remove("a", at(1.5))


def times(slots: Slots | None, every: int) -> list[int]:
    if slots is None:
        return []
    due = list(range(slots.first_ns, slots.last_ns + 1, every))
    assert len(due) == slots.count
    return due


@given(
    polls=st.lists(st.tuples(st.integers(20, 5000), st.integers(0, 5000)), min_size=1, max_size=6),
    takes=st.lists(st.integers(0, 700), max_size=20),
    again=st.integers(1, 20),
    drift_ppm=st.integers(-400, 400),
)
@settings(max_examples=200, deadline=None)
def test_every_slot_is_handed_out_exactly_once_whatever_the_wire_does(polls, takes, again, drift_ppm):
    grids = {f"p{i}": Grid(every * MS, phase * MS) for i, (every, phase) in enumerate(polls)}
    queue = queue_of(**grids)
    seen: dict[str, list[int]] = {name: [] for name in grids}
    now = BOOTED
    for took_ms in takes * again:
        queue.follow(Anchor(now, NOON + (now - BOOTED) * (1_000_000 + drift_ppm) // 1_000_000))
        turn = queue.take(now)
        if turn is None:
            now = max(now, min(queue.wake_ns() or now, now + NS))
        else:
            every = grids[turn.poll].every_ns
            seen[turn.poll] += [*times(turn.missed, every), turn.due_ns]
        now += took_ms * MS
    utc = NOON + (now - BOOTED) * (1_000_000 + drift_ppm) // 1_000_000
    queue.follow(Anchor(now, utc))
    for name, grid in grids.items():
        seen[name] += times(queue.remove(name, now), grid.every_ns)
        assert seen[name] == times(grid.slots_between(NOON, utc), grid.every_ns)


# ---------------------------------------------------------------- the clock is set


def test_a_clock_that_keeps_time_is_no_step():
    watch = ClockWatch(Stamp(BOOTED, NOON))
    for second in range(1, 100):
        assert watch.saw(Stamp(at(second), noon(second) + second * 500_000)) is None  # steered by 500 ppm
    assert watch.anchor == Anchor(at(99), noon(99) + 99 * 500_000)


def test_noise_below_a_millisecond_is_no_step():
    watch = ClockWatch(Stamp(BOOTED, NOON))
    assert watch.saw(Stamp(at(1), noon(1) + 900_000)) is None
    assert watch.saw(Stamp(at(2), noon(2))) is None


@pytest.mark.parametrize("size_s", [0.002, -0.002, 3600.0, -3600.0, 37.0])
def test_a_clock_that_is_set_is_one_step_of_its_size(size_s):
    watch = ClockWatch(Stamp(BOOTED, NOON))
    step = watch.saw(Stamp(at(1), noon(1 + size_s)))
    assert step == Step(Anchor(BOOTED, NOON), Anchor(at(1), noon(1 + size_s)), round(size_s * NS))
    assert watch.saw(Stamp(at(2), noon(2 + size_s))) is None


def test_steering_moves_the_grid_with_utc_without_losing_or_repeating_a_slot():
    queue = queue_of(a=Grid(NS, 500 * MS))
    assert queue.take(at(0.5)) is not None
    queue.follow(Anchor(at(0.6), noon(0.6) - 200_000_000))  # UTC now reads 0.4 s: the slot of 0.5 s is ahead again
    assert queue.wake_ns() == at(1.7)
    assert queue.take(at(0.9)) is None
    turn = queue.take(at(1.7))
    assert turn is not None
    assert (turn.due_ns, turn.missed) == (noon(1.5), None)


def test_slots_jumped_over_by_a_step_forwards_are_not_missed():
    queue = queue_of(a=Grid(NS))
    queue.take(at(0))
    assert queue.step(stepped(0.5, by_s=3600)) == {}
    assert queue.wake_ns() == at(1)
    turn = queue.take(at(1))
    assert turn is not None
    assert (turn.due_ns, turn.missed) == (noon(3601), None)


def test_what_the_old_clock_owed_at_a_step_is_accounted_for():
    queue = queue_of(a=Grid(NS))
    assert queue.step(stepped(2.5, by_s=3600)) == {"a": Slots(NOON, noon(2), 3)}
    turn = queue.take(at(3))
    assert turn is not None
    assert (turn.due_ns, turn.missed) == (noon(3603), None)


def test_a_small_step_back_asks_no_slot_twice():
    queue = queue_of(a=Grid(NS))
    queue.take(at(0))
    assert queue.step(stepped(0.1, by_s=-0.3)) == {}
    assert queue.take(at(0.3)) is None  # noon for the second time
    turn = queue.take(at(1.3))
    assert turn is not None
    assert (turn.due_ns, turn.missed) == (noon(1), None)


def test_a_great_step_back_does_not_silence_the_poll_until_utc_has_caught_up():
    queue = queue_of(a=Grid(NS))
    queue.take(at(0))
    assert queue.step(stepped(0.1, by_s=-3600)) == {}
    assert queue.wake_ns() == at(1)
    turn = queue.take(at(1))
    assert turn is not None
    assert (turn.due_ns, turn.missed) == (noon(-3599), None)


@given(
    every=st.integers(20, 3000),
    before_s=st.floats(0, 20),
    by_s=st.floats(-10, 10),
    after_s=st.floats(0, 20),
)
@settings(deadline=None)
def test_no_wait_after_a_step_is_longer_than_two_periods_and_small_steps_repeat_nothing(every, before_s, by_s, after_s):
    grid = Grid(every * MS)
    queue = queue_of(a=grid)
    seen = times(queue.pass_over("a", at(before_s)), grid.every_ns)
    assert queue.step(stepped(before_s, by_s)) == {}
    wake = queue.wake_ns()
    assert wake is not None
    assert 0 <= wake - at(before_s) <= 2 * grid.every_ns
    seen += times(queue.pass_over("a", at(before_s) + round(after_s * NS)), grid.every_ns)
    if by_s * NS > -grid.every_ns:
        assert seen == sorted(set(seen))


# ---------------------------------------------------------------- phases


def test_phases_lie_within_the_period_and_follow_from_the_names_alone():
    periods = {"dmm1/vref": NS, "bath/both": 2 * NS, "scale/weight": 500 * MS, "room/air": 60 * NS}
    phases = spread(periods)
    assert phases == spread(dict(reversed(periods.items())))
    assert all(0 <= phases[poll] < periods[poll] for poll in periods)
    assert spread({}) == {}


def test_a_hundred_polls_at_ten_hertz_keep_clear_of_each_other():
    phases = sorted(spread({f"i{n}/p": 100 * MS for n in range(100)}).values())
    gaps = [later - earlier for earlier, later in zip(phases, [*phases[1:], phases[0] + 100 * MS], strict=True)]
    assert min(gaps) >= 100 * MS // 300
    assert max(gaps) <= 3 * MS


@given(st.dictionaries(st.text(min_size=1), st.sampled_from([100, 200, 300, 1000, 2000, 7000, 60_000]), min_size=2))
@settings(deadline=None, max_examples=50)
def test_polls_of_different_periods_never_meet_on_a_wire(periods_ms):
    periods = {poll: every * MS for poll, every in periods_ms.items()}
    phases = spread(periods)
    common = gcd(*periods.values())  # modulo the common divisor each poll has one place for ever
    places = sorted(phases[poll] % common for poll in periods)
    clearance = min(later - earlier for earlier, later in pairwise([*places, places[0] + common]))
    assert clearance >= common // (3 * len(periods))


def test_slow_polls_are_spread_over_their_minute():
    phases = spread({"fast": 100 * MS} | {f"slow{n}": 60 * NS for n in range(60)})
    quarters = [sum(1 for n in range(60) if phases[f"slow{n}"] // (15 * NS) == quarter) for quarter in range(4)]
    assert min(quarters) >= 12

"""The pace of the backlog, burst by burst."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daq.sinks.pace import BURST_NS, LATE_NS, LEAST_PER_S, Pace

BURSTS_A_SECOND = 50


def burst(pace, late_ns=0):
    """Take all that may go in one burst."""
    pace.begin_burst()
    count = 0
    while pace.lets_go():
        count += 1
    pace.end_burst(late_ns)
    return count


def test_bursts_are_a_fiftieth_of_a_second():
    assert BURST_NS * BURSTS_A_SECOND == 10**9


def test_what_may_go_in_a_second_goes_in_its_bursts():
    pace = Pace(5000)
    assert [burst(pace) for _ in range(3)] == [100, 100, 100]


def test_slow_ones_go_as_well():
    pace = Pace(1)
    assert sum(burst(pace) for _ in range(10 * BURSTS_A_SECOND)) == 10


def test_what_was_not_sent_is_not_made_up_for():
    pace = Pace(5000)
    for _ in range(20):
        pace.begin_burst()
        pace.end_burst(0)
    assert burst(pace) == 200


def test_a_loop_that_comes_late_slows_it_down_and_one_in_time_lets_it_go_again():
    pace = Pace(5000)
    for _ in range(40):
        burst(pace, LATE_NS + 1)
    assert pace.per_s == LEAST_PER_S
    for _ in range(40):
        burst(pace)
    assert pace.per_s == 5000


def test_a_loop_that_comes_late_now_and_then_does_not():
    pace = Pace(5000)
    paces = []
    for number in range(300):
        burst(pace, LATE_NS + 1 if number % 4 == 0 else 0)
        paces.append(pace.per_s)
    assert min(paces) >= 0.6 * 5000


@given(st.floats(0.5, 1e5), st.lists(st.integers(0, 10**9), max_size=60))
def test_it_never_goes_faster_than_told(most, lates):
    pace = Pace(most)
    went = sum(burst(pace, late) for late in lates)
    assert went <= most * ((len(lates) + 1) / BURSTS_A_SECOND + sum(lates) / 10**9) + 1


def test_however_late_the_loop_comes_a_backlog_ends():
    """Half a second late to each burst: two bursts a second, and a hundred in each of them all the same."""
    pace = Pace(5000)
    for _ in range(100):
        burst(pace, 500_000_000)
    assert [burst(pace, 500_000_000) for _ in range(3)] == [100 + LEAST_PER_S * BURST_NS // 10**9] * 3

"""The interval must hold the true instant, whatever the scheduler did to the stamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.observation import NS, Stamp, Timing
from daq.core.timing import Arrival, Bounded, Filtered, Latest, Seen, TimeModel, Triggered, bound, bounder

MS = NS // 1000
AHEAD = 1_795_348_800 * NS  # UTC minus monotonic


def stamp(mono_ns: int, ahead_ns: int = AHEAD) -> Stamp:
    return Stamp(mono_ns, mono_ns + ahead_ns)


def seen(asked_ms: float, first_ms: float, not_before_ms: float | None = None, wire_ns: int = 0) -> Seen:
    silent = asked_ms if not_before_ms is None else not_before_ms
    return Seen(stamp(round(asked_ms * MS)), stamp(round(silent * MS)), stamp(round(first_ms * MS)), wire_ns)


def ends_ms(bounded: Bounded) -> tuple[float, float]:
    timing = bounded.timing
    return (timing.mono_ns - timing.err_ns) / MS, (timing.mono_ns + timing.err_ns) / MS


# Worked by hand: asked at 1000 ms, first byte at 1420 ms; aperture 200 ms (10 cycles of 50 Hz).
BY_HAND = [
    (Triggered(200 * MS), 1100, 1320, 200 * MS),
    (Triggered(200 * MS, "unknown"), 1100, 1320, 400 * MS),
    (Triggered(200 * MS, "after"), 1100, 1120, 400 * MS),
    (Triggered(200 * MS, "before"), 1300, 1320, 400 * MS),
    (Triggered(200 * MS, delay_ns=50 * MS), 1150, 1320, 200 * MS),
    (Triggered(None, "unknown", 50 * MS), 1050, 1420, None),
    (Filtered(3000 * MS), -2000, 1420, 3000 * MS),
    (Latest(500 * MS), 500, 1420, None),
]


@pytest.mark.parametrize(("model", "early_ms", "late_ms", "aperture_ns"), BY_HAND)
def test_the_bound_worked_by_hand(model: TimeModel, early_ms, late_ms, aperture_ns):
    bounded = bound(model, [seen(1000, 1420)])
    assert ends_ms(bounded) == (early_ms, late_ms)
    assert bounded.claim_held
    assert bounded.timing.aperture_ns == aperture_ns
    assert bounded.timing.utc_ns == bounded.timing.mono_ns + AHEAD


def test_what_comes_unasked_is_dated_from_the_last_silence():
    # wire last silent at 990 ms, first byte seen at 1010 ms; 30 bytes at 9600 baud 8n1 take 31.25 ms; latency 50 ms
    bounded = bound(Arrival(50 * MS), [seen(990, 1010, 990, wire_ns=31_250_000)])
    assert ends_ms(bounded) == (908.75, 1010)
    assert bounded.timing.aperture_ns is None


def test_several_exchanges_are_bounded_by_the_hull_of_each():
    first, last = seen(1000, 1420), seen(1500, 1950)
    model = Triggered(200 * MS)
    both = ends_ms(bound(model, [first, last]))
    assert both == (ends_ms(bound(model, [first]))[0], ends_ms(bound(model, [last]))[1])


@pytest.mark.parametrize("autozero", ["none", "unknown", "after", "before"])
def test_an_answer_faster_than_the_aperture_refutes_the_driver_and_the_bound_still_holds(autozero):
    bounded = bound(Triggered(200 * MS, autozero), [seen(1000, 1150)])
    assert not bounded.claim_held
    assert ends_ms(bounded) == (1000, 1150)
    assert bounded.timing.aperture_ns is None


def test_where_a_zero_is_measured_too_the_answer_takes_twice_the_aperture():
    assert not bound(Triggered(200 * MS, "unknown"), [seen(1000, 1399)]).claim_held
    assert bound(Triggered(200 * MS, "unknown"), [seen(1000, 1400)]).claim_held


def test_an_answer_exactly_as_fast_as_the_aperture_allows_is_believed():
    bounded = bound(Triggered(200 * MS), [seen(1000, 1200)])
    assert bounded == Bounded(Timing(1100 * MS, 1100 * MS + AHEAD, 0, 200 * MS))


def test_odd_nanoseconds_are_rounded_outwards():
    bounded = bound(Triggered(3), [Seen(stamp(10), stamp(10), stamp(16))])
    # [10 + 1.5, 16 - 1.5] = [11.5, 14.5] is held by 13 +- 2
    assert (bounded.timing.mono_ns, bounded.timing.err_ns) == (13, 2)
    bounded = bound(Latest(0), [Seen(stamp(10), stamp(10), stamp(13))])
    assert (bounded.timing.mono_ns, bounded.timing.err_ns) == (11, 2)


def test_a_clock_set_between_question_and_answer_widens_the_bound_to_hold_both_times():
    asked, first = stamp(1000 * MS), stamp(1400 * MS, AHEAD - 2 * NS)  # set back by two seconds meanwhile
    timing = bound(Latest(0), [Seen(asked, asked, first)]).timing
    assert timing.utc_ns - timing.err_ns == asked.mono_ns + AHEAD - 2 * NS
    assert timing.utc_ns + timing.err_ns == first.mono_ns + AHEAD
    assert timing.err_ns == 1200 * MS
    assert timing.mono_ns == 1200 * MS


late = st.integers(0, 5 * NS)
apertures = st.integers(0, 2 * NS)


@given(
    aperture=apertures,
    order=st.sampled_from(["none", "after", "before"]),
    told=st.booleans(),
    delay=st.integers(0, NS),
    idle=late,
    lateness=st.tuples(late, late, late),
    step=st.integers(-10 * NS, 10 * NS) | st.just(0),
)
def test_the_true_middle_of_the_integration_lies_within_the_bound(aperture, order, told, delay, idle, lateness, step):
    """An instrument is played in nanoseconds, late by any amount at every point where a computer may be late."""
    asked = 1_000_000_000
    started = asked + lateness[0] + delay + (aperture if order == "before" else 0)
    ended = started + aperture
    answered = ended + (aperture if order == "after" else 0) + idle + lateness[1]
    first = answered + lateness[2]
    known = order if told or order == "none" else "unknown"
    bounded = bound(Triggered(aperture, known, delay), [Seen(stamp(asked), stamp(asked), stamp(first, AHEAD + step))])
    timing, doubled = bounded.timing, started + ended
    assert bounded.claim_held
    assert abs(doubled - 2 * timing.mono_ns) <= 2 * timing.err_ns
    for ahead in (AHEAD, AHEAD + step):  # whichever the clock read at that instant
        assert abs(doubled + 2 * ahead - 2 * timing.utc_ns) <= 2 * timing.err_ns


@given(
    model=st.builds(Filtered, st.integers(0, 10 * NS)) | st.builds(Latest, st.integers(0, 10 * NS)),
    age=st.floats(0, 1),
    took=late,
    share=st.floats(0, 1),
)
def test_a_running_instrument_is_bounded_by_its_window_or_period(model, age, took, share):
    asked = 1_000_000_000
    back = model.window_ns if isinstance(model, Filtered) else model.period_ns
    true = asked + int(took * share) - int(back * age)
    timing = bound(model, [Seen(stamp(asked), stamp(asked), stamp(asked + took))]).timing
    assert abs(true - timing.mono_ns) <= timing.err_ns


@given(latency=late, within=st.floats(0, 1), wire=st.integers(0, NS), unseen=st.floats(0, 1), lateness=late)
def test_a_talker_is_bounded_by_its_latency(latency, within, wire, unseen, lateness):
    """Its first byte left at any time after the wire was seen silent, or was on the wire already then."""
    silent = 10_000_000_000
    sent = silent - int(wire * unseen)
    sampled = sent - int(latency * within)
    first = max(sent, silent) + lateness
    timing = bound(Arrival(latency), [Seen(stamp(silent), stamp(silent), stamp(first), wire)]).timing
    assert abs(sampled - timing.mono_ns) <= timing.err_ns


clocks = st.builds(Stamp, st.integers(0, 20), st.integers(0, 20)) | st.builds(
    Stamp, st.integers(0, 20 * NS), st.integers(0, 20 * NS)
)
lengths = st.integers(0, 8) | st.integers(0, 8 * NS)
models = (
    st.builds(Triggered, lengths | st.none(), st.sampled_from(["none", "unknown", "after", "before"]), lengths)
    | st.builds(Filtered, lengths)
    | st.builds(Latest, lengths)
    | st.builds(Arrival, lengths)
)


@given(model=models, asked=clocks, not_before=clocks, first=clocks, wire=lengths)
def test_what_is_made_once_for_a_model_bounds_as_in_general(model, asked, not_before, first, wire):
    """In whatever order the stamps came, and however the clock was set; nothing where the claim does not hold."""
    in_general = bound(model, [Seen(asked, not_before, first, wire)])
    assert bounder(model)(asked, not_before, first, wire) == (in_general.timing if in_general.claim_held else None)

"""Says when the readings of a poll were true: an interval that must hold the instant, its middle and half its width.

Each driver names a model of how its instrument makes a reading. From the stamps around the exchanges the model
gives the earliest and the latest instant the reading can stand for; a busy scheduler makes stamps late and so the
interval wider, never wrong. Pure: whole nanoseconds, the early end rounded down, the late end and the error rounded
up.

`asked` is read before the question is written; `first` when the first byte of the answer is seen. A is the
aperture, D the trigger delay, W the window, P the period, L the latency, B how long the reply's bytes take on the
wire. The middle of the integration lies in

    triggered, autozero none        [asked + D + A/2,  first - A/2]
    triggered, autozero after       [asked + D + A/2,  first - 3A/2]    signal, then a zero as long again
    triggered, autozero before      [asked + D + 3A/2, first - A/2]     zero, then the signal
    triggered, autozero unknown     [asked + D + A/2,  first - A/2]     holds both orders
    triggered, aperture unknown     [asked + D, first]
    filtered                        [asked - W, first]                  a running filter: any instant of its window
    latest                          [asked - P, first]                  renewed each P, whatever we ask
    arrival                         [not_before - L - B, first]         sent unasked; not_before: wire last seen silent

Several exchanges of one poll: `asked` and `not_before` of the first, `first` of the last; that is the hull of the
intervals of each. Where an interval comes out inverted, or the answer came sooner than signal and zero together take,
the instrument answered faster than its driver says it can: the claim is wrong, or the answer is not to this question.
The bound falls back to [asked, first], which needs no claim, with `claim_held` False and no aperture.

    stamps (line) -> model (driver) -> Bounded(Timing) -> observation
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from daq.core.observation import Stamp, Timing
from daq.core.unchanging import unchanging

Autozero = Literal["none", "unknown", "after", "before"]
"""Whether a zero as long as the signal is measured with each reading, and in which order."""


@unchanging
class Seen:
    """What the clocks said around one exchange that brought readings.

    Args:
        asked: just before the question was written; for a talker, which nobody asks, the same as not_before.
        not_before: the last instant at which the wire was seen silent.
        first: when the first byte of the reply was seen.
        wire_ns: how long all bytes of the reply take on a serial line; 0 on a socket.
    """

    asked: Stamp
    not_before: Stamp
    first: Stamp
    wire_ns: int = 0


@dataclass(frozen=True, slots=True)
class Triggered:
    """The question starts a measurement, the answer brings its result.

    Args:
        aperture_ns: how long the signal is integrated (NPLC / line frequency), 0 or more; None where nobody knows.
        autozero: order of signal and zero; `none` where no zero is measured with each reading.
        delay_ns: least time from the trigger to the start of the integration.
    """

    aperture_ns: int | None
    autozero: Autozero = "none"
    delay_ns: int = 0


@dataclass(frozen=True, slots=True)
class Filtered:
    """The instrument measures all the time and answers with a running mean over the last window_ns."""

    window_ns: int


@dataclass(frozen=True, slots=True)
class Latest:
    """The instrument measures every period_ns and answers with the newest result, however old."""

    period_ns: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """The instrument sends unasked; latency_ns is the most between the measurement and its first byte."""

    latency_ns: int


TimeModel = Triggered | Filtered | Latest | Arrival


@unchanging
class Bounded:
    """The answer to: when was it true?

    Args:
        timing: middle, error and extent.
        claim_held: False where the stamps refute the driver's time model; the driver wants mending, the bound still
            holds.
    """

    timing: Timing
    claim_held: bool = True


def bound(model: TimeModel, seen: Sequence[Seen]) -> Bounded:
    """Return when the readings of a poll were true.

    The true instant t holds |t - mono_ns| <= err_ns on the monotonic clock and |t - utc_ns| <= err_ns on the station's
    real-time clock. Where that clock was set between the two ends, nobody knows which reading of it counted at t: the
    interval in UTC then spans both, and err_ns grows by half the step.

    Args:
        model: how this instrument makes its readings, with the settings in force worked in.
        seen: the exchanges that brought readings, in their order, at least one.
    """
    begin, end = seen[0], seen[-1].first
    early_ns, late_ns, aperture_ns, start = _interval(model, begin, end)
    claim_held = early_ns <= late_ns
    if claim_held and isinstance(model, Triggered):
        claim_held = end.mono_ns - begin.asked.mono_ns >= _least_ns(model)
    if not claim_held:
        early_ns, late_ns, aperture_ns, start = begin.asked.mono_ns, end.mono_ns, None, begin.asked
    least_ns, most_ns = start.utc_ns - start.mono_ns, end.utc_ns - end.mono_ns
    if least_ns > most_ns:  # the clock was set back meanwhile
        least_ns, most_ns = most_ns, least_ns
    early_utc_ns, late_utc_ns = early_ns + least_ns, late_ns + most_ns
    mono_ns, utc_ns = (early_ns + late_ns) // 2, (early_utc_ns + late_utc_ns) // 2
    return Bounded(Timing(mono_ns, utc_ns, (late_utc_ns - early_utc_ns + 1) // 2, aperture_ns), claim_held)


def bounder(model: TimeModel) -> Callable[[Stamp, Stamp, Stamp, int], Timing | None]:
    """Make what bounds polls of one exchange: (asked, not_before, first, wire_ns), as of Seen -> the Timing of `bound`.

    It is None where the stamps refute the model; `bound` says what is left to be said then.
    """
    zero = Stamp(0, 0)
    early_ns, late_ns, extent_ns, _ = _interval(model, Seen(zero, zero, zero), zero)
    least_ns = max(0, _least_ns(model) - early_ns + late_ns) if isinstance(model, Triggered) else 0
    unasked = isinstance(model, Arrival)

    def timing(asked: Stamp, not_before: Stamp, first: Stamp, wire_ns: int) -> Timing | None:
        start, begin_ns = (not_before, early_ns - wire_ns) if unasked else (asked, early_ns)
        start_ns, first_ns = start.mono_ns, first.mono_ns
        begin_ns, end_ns = begin_ns + start_ns, late_ns + first_ns
        if end_ns - begin_ns < least_ns:
            return None
        low_ns, high_ns = start.utc_ns - start_ns, first.utc_ns - first_ns
        if low_ns > high_ns:  # the clock was set back meanwhile
            low_ns, high_ns = high_ns, low_ns
        low_ns, high_ns = begin_ns + low_ns, end_ns + high_ns
        return Timing((begin_ns + end_ns) // 2, (low_ns + high_ns) // 2, (high_ns - low_ns + 1) // 2, extent_ns)

    return timing


def _least_ns(model: Triggered) -> int:
    """Return the shortest time from a question to its answer that the model allows."""
    if model.aperture_ns is None:
        return 0
    return model.delay_ns + (1 if model.autozero == "none" else 2) * model.aperture_ns


def _interval(model: TimeModel, begin: Seen, end: Stamp) -> tuple[int, int, int | None, Stamp]:
    """Return the earliest and latest monotonic instant, the extent, and the stamp the earliest was reckoned from."""
    asked_ns, first_ns = begin.asked.mono_ns, end.mono_ns
    if isinstance(model, Latest):
        return asked_ns - model.period_ns, first_ns, None, begin.asked
    if isinstance(model, Triggered):
        if model.aperture_ns is None:
            return asked_ns + model.delay_ns, first_ns, None, begin.asked
        half_ns, zero_ns = model.aperture_ns // 2, 3 * model.aperture_ns // 2
        early_ns = asked_ns + model.delay_ns + (zero_ns if model.autozero == "before" else half_ns)
        late_ns = first_ns - (zero_ns if model.autozero == "after" else half_ns)
        extent_ns = model.aperture_ns if model.autozero == "none" else 2 * model.aperture_ns
        return early_ns, late_ns, extent_ns, begin.asked
    if isinstance(model, Filtered):
        return asked_ns - model.window_ns, first_ns, model.window_ns, begin.asked
    early_ns = begin.not_before.mono_ns - model.latency_ns - begin.wire_ns
    return early_ns, first_ns, None, begin.not_before

"""Says which poll of a wire is due, and which slots nobody could serve.

A poll's slots lie at k * every + phase of UTC: whole numbers, so that nothing drifts. The wire's Queue hands out
the slot with the earliest deadline, which is the next slot of the same poll. Slots that passed before their turn
came are handed out beside it as missed: accounted for, never caught up in a burst. Pure: the monotonic time comes
in as an argument, UTC is what the Anchor makes of it, and a ClockWatch tells a step of the clock from its steering.

    stamps each second -> ClockWatch -> Anchor, Step -> Queue -> Turn (ask this now, these were missed) -> line
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from daq.core.observation import Slots, Stamp
from daq.core.unchanging import unchanging

STEERING_PPM = 500
"""The fastest a kernel steers a clock (adjtimex(2), MAXFREQ). On Linux both clocks are steered alike and it never
shows."""

NOISE_NS = 1_000_000
"""1 ms. Anchors are read within microseconds (`Clock.anchor`); the millisecond keeps a hypervisor's hiccup from
ringing."""

GOLDEN = 0x9E3779B97F4A7C15
"""2**64 / golden ratio: multiples of it, modulo 2**64, lie as far from each other as a growing set of points can."""


@unchanging
class Anchor:
    """How the two clocks stood to each other at one instant; between anchors they are taken to run alike."""

    mono_ns: int
    utc_ns: int

    @classmethod
    def of(cls, stamp: Stamp) -> Anchor:
        """Make the anchor of one tight pair of readings."""
        return cls(stamp.mono_ns, stamp.utc_ns)

    def utc_of(self, mono_ns: int) -> int:
        """Return the UTC ns of a monotonic instant."""
        return self.utc_ns + mono_ns - self.mono_ns


@dataclass(frozen=True, slots=True)
class Step:
    """The real-time clock was set: between these two anchors it jumped.

    Args:
        before: the relation of the clocks until now; slots up to here are counted by it.
        after: the relation from now on.
        size_ns: how far UTC jumped, forwards positive.
    """

    before: Anchor
    after: Anchor
    size_ns: int


class ClockWatch:
    """Follows the real-time clock, quietly while it is steered, with a Step when it is set.

    A computer that slept shows as a step forwards: the monotonic clock of Linux stands still meanwhile.
    """

    def __init__(self, now: Stamp) -> None:
        self.anchor = Anchor.of(now)

    def saw(self, now: Stamp) -> Step | None:
        """Take the pair of this second; return the step, if it was one. `anchor` is new either way."""
        before, self.anchor = self.anchor, Anchor.of(now)
        size_ns = now.utc_ns - before.utc_of(now.mono_ns)
        allowed_ns = NOISE_NS + (now.mono_ns - before.mono_ns) * STEERING_PPM // 1_000_000
        return Step(before, self.anchor, size_ns) if abs(size_ns) > allowed_ns else None


@dataclass(frozen=True, slots=True)
class Grid:
    """The slots of one poll: k * every_ns + phase_ns of UTC, for every whole k.

    Args:
        every_ns: period, above 0.
        phase_ns: any whole number; phases a period apart are the same grid.
    """

    every_ns: int
    phase_ns: int = 0

    def last_slot(self, utc_ns: int) -> int:
        """Return the latest slot at or before the instant."""
        return utc_ns - (utc_ns - self.phase_ns) % self.every_ns

    def next_slot(self, after_utc_ns: int) -> int:
        """Return the first slot after the instant, never the instant itself."""
        return self.last_slot(after_utc_ns) + self.every_ns

    def slots_between(self, first_utc_ns: int, last_utc_ns: int) -> Slots | None:
        """Return the slots from first to last, both included; None where there is none."""
        first, last = self.next_slot(first_utc_ns - 1), self.last_slot(last_utc_ns)
        return Slots(first, last, (last - first) // self.every_ns + 1) if first <= last else None


@unchanging
class Turn:
    """What the wire is to do now.

    Args:
        poll: the name it was added under.
        due_ns: the slot to ask for, UTC ns.
        missed: slots of the same poll that passed before the wire came to it, None where it came in time.
    """

    poll: str
    due_ns: int
    missed: Slots | None


@dataclass(slots=True)
class _Waiting:
    grid: Grid
    due_ns: int  # the oldest slot not handed out, UTC


class Queue:
    """The polls of one wire, earliest deadline first.

    The deadline that counts is that of the oldest slot not handed out. So a poll that is behind comes before all
    others: on an overloaded wire every poll has its turn, each misses some, none starves. Every slot from `add` to
    `remove` leaves in exactly one Turn, as its due or among its missed ones, or by `pass_over`, `step` or `remove`.

    A wire has a few dozen polls: looking at all of them (0.1 us each) is cheaper than the two heaps, by start and by
    deadline, that this rule would need.
    """

    def __init__(self, anchor: Anchor) -> None:
        self._ahead_ns = anchor.utc_ns - anchor.mono_ns  # UTC, of the monotonic clock
        self._waiting: dict[str, _Waiting] = {}
        self._earliest_ns: int | None = None  # nothing is due before, UTC; None: to be looked for

    def add(self, poll: str, grid: Grid, now_mono_ns: int) -> None:
        """Take in a poll; its first slot is the first one from now on."""
        self._waiting[poll] = _Waiting(grid, grid.next_slot(now_mono_ns + self._ahead_ns - 1))
        self._earliest_ns = None

    def remove(self, poll: str, now_mono_ns: int) -> Slots | None:
        """Drop a poll; return the slots that were due and will not be asked. Raises KeyError for an unknown name."""
        owed = self.pass_over(poll, now_mono_ns)
        del self._waiting[poll]
        return owed

    def wake_ns(self) -> int | None:
        """Return the monotonic instant of the earliest slot not handed out; None while there are no polls."""
        if not self._waiting:
            return None
        if self._earliest_ns is None:
            self._earliest_ns = min([waiting.due_ns for waiting in self._waiting.values()])
        return self._earliest_ns - self._ahead_ns

    def take(self, now_mono_ns: int) -> Turn | None:
        """Hand out the due slot with the earliest deadline, None while nothing is due."""
        now_ns = now_mono_ns + self._ahead_ns
        if self._earliest_ns is not None and now_ns < self._earliest_ns:
            return None
        poll, deadline_ns = None, 0
        for name, waiting in self._waiting.items():
            its_deadline_ns = waiting.due_ns + waiting.grid.every_ns
            if waiting.due_ns <= now_ns and (poll is None or its_deadline_ns < deadline_ns):
                poll, deadline_ns = name, its_deadline_ns
        return None if poll is None else self._turn(poll, now_ns)

    def _turn(self, poll: str, now_ns: int) -> Turn:
        waiting = self._waiting[poll]
        grid, oldest_ns = waiting.grid, waiting.due_ns
        next_ns = oldest_ns + grid.every_ns
        due_ns = oldest_ns if now_ns < next_ns else grid.last_slot(now_ns)
        waiting.due_ns = due_ns + grid.every_ns
        self._earliest_ns = None
        return Turn(poll, due_ns, None if due_ns == oldest_ns else grid.slots_between(oldest_ns, due_ns - 1))

    def pass_over(self, poll: str, now_mono_ns: int) -> Slots | None:
        """Give up all slots of a poll that are due by now; return them (None where there are none).

        For instruments known to be away, and for the stop: one call accounts for any number of slots.
        """
        self._earliest_ns = None
        return _give_up(self._waiting[poll], now_mono_ns + self._ahead_ns)

    def follow(self, anchor: Anchor) -> None:
        """Take the anchor of this second, where it was no step: slots keep to UTC, none is lost or asked twice."""
        self._ahead_ns = anchor.utc_ns - anchor.mono_ns

    def step(self, step: Step) -> dict[str, Slots]:
        """Go on by the clock as it is now; return what was still owed by the old one, as missed, by poll.

        Forwards: the slots jumped over never came on this station's clock; they are not missed ones, the event that
        announces the step tells of them. Backwards by less than a period: no slot is handed out twice, the first
        one is the one after the last. Backwards by more: waiting for the clock to come back to where it was could
        be hours, so the grid begins anew; these are new instants whose due times have been named before (seq and
        mono tell them apart).
        """
        until_ns, self._earliest_ns = step.after.mono_ns + self._ahead_ns, None
        self.follow(step.after)
        given_up = {}
        for poll, waiting in self._waiting.items():
            owed = _give_up(waiting, until_ns)
            if owed is not None:
                given_up[poll] = owed
            next_ns = waiting.grid.next_slot(step.after.utc_ns)
            if not 0 <= waiting.due_ns - next_ns <= waiting.grid.every_ns:
                waiting.due_ns = next_ns
        return given_up


def _give_up(waiting: _Waiting, until_utc_ns: int) -> Slots | None:
    owed = waiting.grid.slots_between(waiting.due_ns, until_utc_ns)
    if owed is not None:
        waiting.due_ns = owed.last_ns + waiting.grid.every_ns
    return owed


def spread(every_ns: Mapping[str, int]) -> dict[str, int]:
    """Return a phase for each poll of a station, so that they neither wake together nor meet on a wire.

    Every instant of every poll, taken modulo G, the greatest common divisor of the periods, lies at a place of its
    own in [0, G), at least G / (3 n) from all others; and polls of longer periods are spread over the
    multiples of G within them. The places follow from the names' order alone.

    Args:
        every_ns: period by poll, of all polls of the station that give no phase themselves.
    Returns:
        phase by poll, ns, 0 <= phase < every.
    """
    if not every_ns:
        return {}
    common_ns = gcd(*every_ns.values())
    return {poll: _phase(place, every_ns[poll], common_ns) for place, poll in enumerate(sorted(every_ns), start=1)}


def _phase(place: int, every_ns: int, common_ns: int) -> int:
    fraction = place * GOLDEN % 2**64
    coarse = (fraction * (every_ns // common_ns)) >> 64
    fine_ns = (fraction * common_ns) >> 64
    return coarse * common_ns + fine_ns

"""How fast the backlog goes: as fast as acknowledgements come, while nobody is held up by it.

What is held up shows in the event loop first: where it comes late to the next burst it has too much to do, and live
records and polls come as late. Pure: who counts bursts and lateness is the delivery.

lateness of the last burst -> [Pace] -> records that may go in the next
"""

from __future__ import annotations

from daq.core.observation import NS

BURST_NS = NS // 50
"""From one allowance to the next: timers are dear."""

LATE_NS = NS // 100
"""A loop that comes later than this to the next burst has too much to do."""

SLOWER, FASTER = 0.7, 1.2
"""What the pace is multiplied by after a burst to whose end the loop came late, and after any other.

A third of the bursts may come late, as on a machine that others use, before the pace goes down for good.
"""

LEAST_PER_S = 200.0
"""However late the loop comes: less than a hundredth of a core, and a backlog has to end.

Of time, not of bursts: a loop that comes a tenth of a second late to each makes few of them.
"""

LATEST_NS = NS
"""What a loop that came later than this did not let go is not made up for."""


class Pace:
    """Counts what may go.

    Args:
        most_per_s: records a second, at most.
    """

    def __init__(self, most_per_s: float) -> None:
        self.per_s = self._most_per_s = most_per_s
        self._due = 0.0
        self._owed = 0.0  # for the time by which the loop came late

    def begin_burst(self) -> None:
        """Let another burst go; of what the one before left, no more than as much again."""
        burst = self.per_s * BURST_NS / NS
        self._due = min(self._due + burst, max(2 * burst, 1.0)) + self._owed
        self._owed = 0.0

    def lets_go(self) -> bool:
        """Count one record that goes now; False where none may."""
        if self._due < 1:
            return False
        self._due -= 1
        return True

    def end_burst(self, late_ns: int) -> None:
        """Go slower or faster; `late_ns` is how much later than asked the loop came back."""
        wish = self.per_s * (SLOWER if late_ns > LATE_NS else FASTER)
        self.per_s = min(max(wish, LEAST_PER_S), self._most_per_s)
        self._owed = min(LEAST_PER_S, self._most_per_s) * min(max(late_ns, 0), LATEST_NS) / NS

"""Keeps account of questions that were asked and not answered: their answers may still come, and look like others'.

Every reply pays for the oldest question that it could answer. So a reply answers the question just asked only where no
older one is owed an answer that looks the same. What is owed for long is taken for lost. Pure.

    question, reply, instant -> Owed -> how many such answers are still to come
"""

from __future__ import annotations

from collections import deque

from daq.core.dialogue import Ask
from daq.core.observation import NS
from daq.core.unchanging import unchanging

FORGIVEN_TIMES = 10
FORGIVEN_NS = 5 * NS
"""An answer is taken for lost when it has not come within ten times the time its question allows, and 5 s."""

MOST = 64
"""Questions remembered; an instrument that is asked again and again without an answer is left alone long before."""


LOOKED_AT = 16 << 10
"""Bytes that are looked through for answers when they are thrown away: a line that floods must not cost the others."""


@unchanging
class _Debt:
    who: str
    question: Ask
    forgiven_ns: int

    def fits(self, reply: bytes) -> bool:
        return self.question.fits is not None and self.question.fits(reply)


class Owed:
    """The questions of one wire whose answers did not come yet, oldest first."""

    def __init__(self) -> None:
        self._debts: deque[_Debt] = deque(maxlen=MOST)

    def asked(self, who: str, question: Ask, at_ns: int) -> None:
        """Take note that an instrument was asked, at a monotonic instant."""
        forgiven_ns = at_ns + max(FORGIVEN_NS, FORGIVEN_TIMES * question.within_ns)
        self._debts.append(_Debt(who, question, forgiven_ns))

    def came(self, who: str | None, reply: bytes, now_ns: int) -> int:
        """Let a reply pay for the oldest question it could answer; return for how many more it could stand.

        `who` is the instrument that was asked last, None for whichever. A neighbour on a text wire is not looked at:
        one that is dead owes for ever, and would keep the others from ever proving themselves.
        """
        if not self._debts:
            return 0
        self._forgive(now_ns)
        fitting = [debt for debt in self._debts if who in {None, debt.who} and debt.fits(reply)]
        if not fitting:
            return 0
        self._debts.remove(fitting[0])
        return len(fitting) - 1

    def thrown_away(self, data: bytes, now_ns: int) -> None:
        """Let the whole replies among bytes that nobody reads pay; of a flood, those at its begin."""
        data = data[:LOOKED_AT]
        for _ in range(MOST):
            if not data or not self._debts:
                return
            length = self._debts[0].question.cut(data)
            if not 0 < length <= len(data):
                return
            self.came(None, data[:length], now_ns)
            data = data[length:]

    def owes(self, request: bytes, now_ns: int) -> bool:
        """Say whether an answer to this very question is owed."""
        self._forgive(now_ns)
        return any(debt.question.request == request for debt in self._debts)

    def until_ns(self, who: str, now_ns: int) -> int:
        """Return the monotonic instant from which an instrument owes nothing that it owes now."""
        return max((debt.forgiven_ns for debt in self._debts if debt.who == who), default=now_ns)

    def settled(self, who: str) -> None:
        """Take note that whatever this instrument still owed is lost: it has answered what was asked later."""
        self._debts = deque((debt for debt in self._debts if debt.who != who), maxlen=MOST)

    def clear(self) -> None:
        """Take note that no answer can come any more: the connection was closed, or the instruments cleared."""
        self._debts.clear()

    def _forgive(self, now_ns: int) -> None:
        while self._debts and min(debt.forgiven_ns for debt in self._debts) <= now_ns:
            self._debts = deque((debt for debt in self._debts if debt.forgiven_ns > now_ns), maxlen=MOST)

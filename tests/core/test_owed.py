"""What a wire still owes, and what it costs to find out."""

from __future__ import annotations

from daq.core.cut import exactly
from daq.core.dialogue import Ask
from daq.core.owed import LOOKED_AT, MOST, Owed


def test_an_answer_thrown_away_is_owed_no_longer():
    owed = Owed()
    owed.asked("box", Ask(b"?", exactly(3), 10**9, fits=lambda reply: reply == b"yes"), 0)
    owed.thrown_away(b"no!yes", 1)
    assert not owed.owes(b"?", 2)


def test_of_a_flood_little_is_looked_at():
    looked = []

    def fits(reply):
        looked.append(len(reply))
        return False

    owed = Owed()
    for _ in range(3):
        owed.asked("box", Ask(b"?", exactly(5), 10**9, fits=fits), 0)
    owed.thrown_away(bytes(8 << 20), 1)
    assert 0 < len(looked) <= 3 * MOST
    assert sum(looked) <= 3 * LOOKED_AT
    assert owed.owes(b"?", 2)

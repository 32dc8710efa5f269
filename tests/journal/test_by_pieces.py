"""A long batch leaves the interpreter to the event loop now and then, and is given out as it is."""

import math

import pytest

from daq.journal import memory
from daq.journal.memory import BREAK_S, PIECE, PIECES, by_pieces

MANY = 100 * PIECE


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, PIECE * PIECES, MANY, MANY + 1])
def test_all_is_given_in_order_with_few_breaks(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = 0
    breaks: list[tuple[float, int]] = []
    monkeypatch.setattr(memory.time, "sleep", lambda seconds: breaks.append((seconds, given)))
    for item in by_pieces(range(count)):
        assert item == given
        given += 1
    assert given == count
    size = max(PIECE, math.ceil(count / PIECES))
    assert breaks == [(BREAK_S, behind) for behind in range(size, count, size)]
    assert len(breaks) < PIECES

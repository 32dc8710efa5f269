"""A long batch leaves the interpreter to the event loop now and then, and is given out as it is."""

import pytest

from daq.journal import memory
from daq.journal.memory import BREAK_S, PIECE, by_pieces


@pytest.mark.parametrize("count", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 10 * PIECE + 3])
def test_all_is_given_in_order_with_a_break_behind_each_whole_piece(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    breaks: list[tuple[float, int]] = []
    monkeypatch.setattr(memory.time, "sleep", lambda seconds: breaks.append((seconds, len(given))))
    for item in by_pieces(iter(range(count))):
        given.append(item)  # noqa: PERF402  each is seen where it is given
    assert given == list(range(count))
    assert breaks == [(BREAK_S, behind) for behind in range(PIECE, count + 1, PIECE)]

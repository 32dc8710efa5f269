"""A dialogue played from a list: each pair is what is asked and what comes back, and all of it must be used up."""

from __future__ import annotations

from typing import TypeVar

from daq.core.dialogue import Again, Ask, Dialogue, Pause, Quiet, Replied, Tell
from daq.core.errors import LinkError
from daq.core.observation import Stamp

T = TypeVar("T")
Line = tuple[bytes | str, bytes | LinkError | None]
"""(bytes asked or told, bytes replied); ("again", bytes), ("pause", None), ("quiet", None) for the other actions."""

MS = 1_000_000


class Script:
    """Plays the wire's part; each question takes 10 ms to its first byte and 1 ms more to its last."""

    def __init__(self, *lines: Line) -> None:
        self._left = list(lines)
        self._now_ns = 0
        self.waited_ns = 0

    def play(self, dialogue: Dialogue[T]) -> T:
        """Play to the end and return the result. Raises what the dialogue raises."""
        answer: Replied | Stamp | LinkError | None = None
        try:
            while True:
                wish = dialogue.throw(answer) if isinstance(answer, LinkError) else dialogue.send(answer)
                answer = self._answer(wish)
        except StopIteration as done:
            assert self._left == [], "not all of the script was played"
            return done.value

    def _answer(self, wish: object) -> Replied | Stamp | LinkError | None:
        assert self._left, f"the script is at its end, and this came: {wish}"
        said, reply = self._left.pop(0)
        if isinstance(wish, Pause | Quiet):
            assert said == type(wish).__name__.lower(), wish
            self.waited_ns += wish.for_ns
            self._now_ns += wish.for_ns
            return None
        if isinstance(wish, Again):
            assert said == "again", wish
        else:
            assert isinstance(wish, Ask | Tell)
            assert said == wish.request
        if isinstance(reply, LinkError):
            return reply
        asked = self._stamp(0)
        if isinstance(wish, Tell):
            assert reply is None, "commands are not answered"
            return asked
        assert isinstance(reply, bytes)
        assert wish.cut(reply) == len(reply), "a script's replies are whole"
        return Replied(reply, asked, asked, self._stamp(10), self._stamp(1))

    def _stamp(self, after_ms: int) -> Stamp:
        self._now_ns += after_ms * MS
        return Stamp(self._now_ns, self._now_ns)

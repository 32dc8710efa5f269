"""Where one reply ends: pure rules that find the first whole reply in the bytes received so far.

A Cut is called with all bytes received since the question and returns the length of the first whole reply, or 0 while
it is not complete. It never judges content. text: `ends_with`; registers: core.modbus.

    transport (bytes so far) -> cut -> length of the reply
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Cut = Callable[[bytes | bytearray], int]
"""bytes so far -> length of the first whole reply, ending included; 0 while it is not complete."""


@dataclass(frozen=True)
class EndsWith:
    """Cuts after the first `eol`, one or more bytes, and as many bytes behind it as always follow there."""

    eol: bytes
    behind: int = 0

    def __call__(self, got: bytes | bytearray) -> int:
        """Look through all of it."""
        found = got.find(self.eol)
        end = found + len(self.eol) + self.behind
        return end if found >= 0 and end <= len(got) else 0

    def beyond(self, got: bytes | bytearray, looked: int) -> int:
        """Look where nobody has: the first `looked` bytes hold no whole reply.

        A line without an end that comes in small pieces would else be searched from its beginning for each of them: a
        megabyte of it took the whole station's time for seconds.
        """
        found = got.find(self.eol, max(0, looked - len(self.eol) - self.behind + 1))
        end = found + len(self.eol) + self.behind
        return end if found >= 0 and end <= len(got) else 0


def ends_with(eol: bytes, behind: int = 0) -> Cut:
    """Cut after the first `eol`, one or more bytes, and `behind` bytes more, such as a block check behind ETX."""
    return EndsWith(eol, behind)


def exactly(length: int) -> Cut:
    """Cut after `length` bytes, for replies of fixed length without an ending."""

    def cut(got: bytes | bytearray) -> int:
        return length if len(got) >= length else 0

    return cut

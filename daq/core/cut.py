"""Where one reply ends: pure rules that find the first whole reply in the bytes received so far.

A Cut is called with all bytes received since the question and returns the length of the first whole reply, or 0 while
it is not complete. It never judges content. text: `ends_with`; registers: core.modbus.

    transport (bytes so far) -> cut -> length of the reply
"""

from __future__ import annotations

from collections.abc import Callable

Cut = Callable[[bytes | bytearray], int]
"""bytes so far -> length of the first whole reply, ending included; 0 while it is not complete."""


def ends_with(eol: bytes) -> Cut:
    """Cut after the first `eol`, one or more bytes."""

    def cut(got: bytes | bytearray) -> int:
        found = got.find(eol)
        return found + len(eol) if found >= 0 else 0

    return cut


def exactly(length: int) -> Cut:
    """Cut after `length` bytes, for replies of fixed length without an ending."""

    def cut(got: bytes | bytearray) -> int:
        return length if len(got) >= length else 0

    return cut

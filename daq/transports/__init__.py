"""Transports move bytes, stamp them, translate the operating system's errors, and do nothing else.

They know no templates, no frames of their own and no retries. What is a whole reply, a Cut tells them; how long it may
take, a deadline on the monotonic clock; how much it may be, MAX_REPLY. Text and registers run over the same transports.

    session (Ask) -> line -> transport -> wire          a new transport: a class of this Protocol and a row in OPENERS
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from daq.core.cut import Cut
from daq.core.observation import Stamp

MAX_REPLY = 1 << 20
"""Bytes: no reply of a bench instrument is longer; a longer one is a fault (LinkFlooded)."""


@dataclass(frozen=True, slots=True)
class Received:
    """One whole reply.

    Args:
        data: the bytes, its ending included.
        not_before: the last instant at which the wire was seen silent; the first byte came after it.
        first: when the first byte was seen, at the earliest chance the program had.
        last: when the last byte was seen.
    """

    data: bytes
    not_before: Stamp
    first: Stamp
    last: Stamp


class Transport(Protocol):
    """An address that can be opened, written to and read from, again and again. Never used by two tasks at once."""

    reopen_heals: bool
    """True where closing and opening drops every outstanding reply (a socket to the instrument itself)."""

    can_clear: bool
    """True where `clear` is a device clear that drops every outstanding reply (VISA)."""

    async def open(self, deadline_ns: int) -> None:
        """Open the address exclusively. Raises LinkClosed (refused, absent, in use) or LinkTimeout."""
        ...

    async def close(self) -> None:
        """Close; never raises, may be called at any time and twice."""
        ...

    async def write(self, data: bytes, deadline_ns: int) -> Stamp:
        """Send all of `data`; return the stamp read immediately before the first byte went. Raises LinkError."""
        ...

    async def read(self, cut: Cut, deadline_ns: int) -> Received:
        """Return the first whole reply that `cut` finds; bytes behind it stay for `unread`.

        Raises:
            LinkTimeout: the deadline passed; `partial` holds what came, and it is gone from the buffer.
            LinkClosed: end of file or reset; bytes received before it are lost with it.
            LinkFlooded: MAX_REPLY bytes and no end.
        """
        ...

    def unread(self) -> bytes:
        """Take out and return whatever has arrived and was not read. Never waits."""
        ...

    async def clear(self, deadline_ns: int) -> None:
        """Device clear, where `can_clear`. Raises LinkError."""
        ...

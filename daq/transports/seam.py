"""What every transport promises, and what it hands over. Described in the package; here are the shapes.

line -> Transport.write, Transport.read -> Received
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from daq.core.cut import Cut
from daq.core.observation import Stamp
from daq.core.unchanging import unchanging

MAX_REPLY = 1 << 20
"""Bytes: no reply of a bench instrument is longer; a longer one is a fault (LinkFlooded)."""

KEPT_PARTIAL = 4096
"""Bytes of a reply without an end that are kept for the record."""


class Now(Protocol):
    """The one thing a transport needs of the station's clock."""

    def now(self) -> Stamp:
        """Read both clocks, as close together as can be."""
        ...


@runtime_checkable
class Wakes(Protocol):
    """An event loop that says when it last woke and lets few on at a time (the station's does; any other will do)."""

    @property
    def woke(self) -> Stamp:
        """What a reader callback of this turn was called for had come by then."""
        ...

    def admit(self, go_on: Callable[[], None]) -> None:
        """Call it now, or a little later where many want to go on."""
        ...

    def watch(self, fileno: int, readable: Callable[[], None]) -> None:
        """Call it whenever there is something to be read, before anything else of that turn."""
        ...

    def unwatch(self, fileno: int) -> None:
        """Watch it no longer."""
        ...


@unchanging
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


class Direct(Protocol):
    """An open link that can be used without a task that waits; by one user at a time, as all of a transport."""

    def is_silent(self) -> bool:
        """Say whether the link stands, nothing is kept, and nothing lies on the wire at this moment."""
        ...

    def say(self, data: bytes) -> int:
        """Send what fits at once; return how much that was. Raises LinkClosed."""
        ...

    async def say_rest(self, data: bytes, sent: int, deadline_ns: int) -> None:
        """Send what `say` did not. Raises LinkTimeout, LinkClosed."""
        ...

    def whole(self, cut: Cut) -> Received | None:
        """Return the reply where it came at once, all of it, and nothing lies behind it; it stays until `accept`."""
        ...

    def accept(self) -> None:
        """Take out what `whole` returned."""
        ...

    def hear(self, came: Callable[[], None] | None) -> None:
        """Have it called whenever something came, or the link was lost, in the turn in which that was seen.

        None: what comes waits for `Transport.read`, as ever.
        """
        ...


class Transport(Protocol):
    """An address that can be opened, written to and read from, again and again. Never used by two tasks at once."""

    reopen_heals: bool
    """True where closing and opening drops every outstanding reply (a socket to the instrument itself)."""

    can_clear: bool
    """True where `clear` is a device clear that drops every outstanding reply (VISA)."""

    @property
    def direct(self) -> Direct | None:
        """The open link, where it can be used without waiting for it; None while closed, and where it cannot."""
        ...

    async def open(self, deadline_ns: int) -> None:
        """Open the address exclusively. Raises LinkClosed (refused, absent, in use) or LinkTimeout."""
        ...

    async def close(self) -> None:
        """Close; never raises, may be called at any time and twice."""
        ...

    async def write(self, data: bytes, deadline_ns: int) -> Stamp:
        """Send all of `data`; return the stamp read immediately before the first byte went.

        Raises:
            LinkTimeout: the peer did not take all of it in time. Half a question is out: the link is closed.
            LinkClosed: the connection is gone, or was never opened.
            LinkDesync: where `unread` cannot see what came unasked, and something has; nothing was sent.
        """
        ...

    async def read(self, cut: Cut, deadline_ns: int) -> Received:
        """Return the first whole reply that `cut` finds; bytes behind it stay for `unread`.

        Cancelled, it leaves the link usable and what came in the buffer; what still comes is found by `unread`.

        Raises:
            LinkTimeout: the deadline passed; `partial` holds what came, and it is gone from the buffer.
            LinkClosed: end of file or reset; a reply without its end is lost with it.
            LinkFlooded: MAX_REPLY bytes and no end; they are gone from the buffer.
            LinkDamaged: the port has counted damage since it was last looked at; all that came is gone with the reply.
        """
        ...

    def unread(self) -> bytes:
        """Take out and return whatever has arrived and was not read. Never waits."""
        ...

    async def clear(self, deadline_ns: int) -> None:
        """Device clear, where `can_clear`. Raises LinkError."""
        ...

"""What the journal keeps and the sinks take: numbered payloads, opaque to both.

    station (Entry) -> journal (Record, committed) -> Feed -> sink

An Entry becomes a Record when the journal has given it its epoch and number and committed it. A sink sees only Records,
through a Feed, and says which it is done with. Pure: no I/O here, only the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from daq.core.unchanging import unchanging

RecordKind = Literal["obs", "event", "info"]

Encode = Callable[[str, int, bool], bytes]
"""(epoch, seq, durable) -> payload. Called once for each record, in the journal's thread."""


@unchanging
class Entry:
    """Something to be kept.

    Args:
        kind: obs (one poll), event (what happened to the station), info (what the observations mean).
        stream: numbered on its own: `instrument/poll` for obs, `event`, `instrument` for info.
        t_ns: UTC ns it stands for, for export by time and trimming by age.
        encode: makes the payload.
        size: bytes to expect, for the bound of the queue.
    """

    kind: RecordKind
    stream: str
    t_ns: int
    encode: Encode
    size: int = 1024


@unchanging
class Record:
    """Something that is kept.

    Args:
        row: position in the journal, growing, never reused; negative where the disk could not take it (not durable).
        seq: number within the stream and epoch.
    """

    row: int
    kind: RecordKind
    stream: str
    epoch: str
    seq: int
    t_ns: int
    payload: bytes


class Feed(Protocol):
    """What one sink sees of the journal. Rows are handed out in order of commit and stay until `done`."""

    async def live(self, limit: int) -> list[Record]:
        """Wait for records committed since the feed was opened; at least one, at most `limit`, oldest first."""
        ...

    async def backlog(self, after_row: int, limit: int, infos: bool = False) -> list[Record]:
        """Return records from before the feed was opened that are not done, above `after_row`; [] when none is left.

        `infos` asks for information alone.
        """
        ...

    async def backlog_size(self) -> int:
        """Return how many records from before the feed was opened are not done yet."""
        ...

    async def done(self, rows: Sequence[int]) -> None:
        """Remember that these rows need not be delivered again. Rows may come in any order."""
        ...

    def close(self) -> None:
        """Take no more from it: nothing is kept at hand for it, what comes is backlog of the next."""
        ...


class Opener(Protocol):
    """Opens a feed for a sink by name: `live` starts at the newest committed row, all before it is backlog.

    A sink opens a new feed each time it has connected: what was committed while it was away is backlog.
    """

    async def __call__(self, sink: str) -> Feed:
        """Open a feed; a later one for the same sink replaces it."""
        ...

"""What the broker refused for good: told of at most once a minute for each topic, and all of it in the end.

A record that was refused is done with only when it has been told of: one that was not, when the process is killed, is
offered again at the next start.

    delivery (what was refused) -> Refusals -> Told -> event, rows that are done with -> delivery
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from daq.core.observation import NS
from daq.core.record import Record
from daq.sinks.publisher import REASONS

ONCE_A_MINUTE_NS = 60 * NS


class Announce(Protocol):
    """Tells the station's readers that something happened; returns at once."""

    def __call__(self, event: str, **details: object) -> None:
        """Make an event of it."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """One event about refused messages: its details, and the rows that need not be delivered any more."""

    details: dict[str, object]
    rows: list[int]


@dataclass(slots=True)
class _Gathered:
    """Refused messages of one topic for one reason; `told_ns`: when they were last told of, None if never."""

    told_ns: int | None = None
    count: int = 0
    first_seq: int | None = None
    details: dict[str, object] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)

    def is_due(self, now_ns: int) -> bool:
        return bool(self.count) and (self.told_ns is None or now_ns - self.told_ns >= ONCE_A_MINUTE_NS)


class Refusals:
    """Refused messages that were not told of yet."""

    def __init__(self) -> None:
        self._gathered: dict[tuple[str, int | None, str | None], _Gathered] = {}

    def add(self, topic: str, code: int | None, record: Record | None, limit: int | None) -> None:
        """Take in a message.

        Args:
            topic: it was published on.
            code: the broker's reason; None where it closed the connection on it each time.
            record: None for retained state.
            limit: bytes that a packet may have for this broker, where that was the reason.
        """
        epoch = None if record is None else record.epoch
        gathered = self._gathered.setdefault((topic, code, epoch), _Gathered())
        gathered.count += 1
        why = "the broker closes the connection on it" if code is None else REASONS.get(code, "refused")
        gathered.details = {"topic": topic, "code": code, "why": why}
        if limit is not None:
            gathered.details["limit"] = limit
        if record is None:
            return
        gathered.rows.append(record.row)
        if gathered.first_seq is None:
            gathered.first_seq = record.seq
        if record.kind != "event":
            gathered.details["instrument"] = record.stream.partition("/")[0]
        gathered.details |= {"stream": record.stream, "epoch": record.epoch}
        gathered.details |= {"first_seq": gathered.first_seq, "seq": record.seq, "bytes": len(record.payload)}

    def due(self, now_ns: int) -> list[Told]:
        """Take out what may be told now: what is new, and what was told of a minute ago (monotonic ns)."""
        return [self._tell(gathered, now_ns) for gathered in self._gathered.values() if gathered.is_due(now_ns)]

    def rest(self, now_ns: int) -> list[Told]:
        """Take out all of it: the connection is at its end."""
        return [self._tell(gathered, now_ns) for gathered in self._gathered.values() if gathered.count]

    def _tell(self, gathered: _Gathered, now_ns: int) -> Told:
        told = Told({**gathered.details, "count": gathered.count}, gathered.rows)
        gathered.told_ns, gathered.count, gathered.first_seq, gathered.rows = now_ns, 0, None, []
        return told

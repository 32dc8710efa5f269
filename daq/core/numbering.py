"""What the journal counts: epochs, sequence numbers, rows somebody is done with, and what was lost.

A number that was once published must never mean something else, so numbers come from counters that only grow, in an
epoch that is new with every file. Pure: time and chance come in as arguments.

    entries -> Numbers (epoch, row, seq) -> records         drops -> Gap -> one event         done -> RowSet
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from daq.core.message import rfc3339, utc_ns
from daq.core.observation import NS
from daq.core.record import Entry, Record

Announce = Callable[[str, dict[str, object]], Entry]
"""(event, details) -> the entry that tells it. Called in the journal's thread; details hold only JSON's own types."""

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to be misread
_EPOCH_BITS = 50  # ten digits


def epoch_name(utc_ns: int, luck: int) -> str:
    """Return ten letters and digits: 30 bits of the second, so that names sort for 34 years, and 20 of chance.

    Args:
        utc_ns: when the file was begun.
        luck: a random number; its low 20 bits are taken, for clocks that start at the same wrong time each day.
    """
    number = ((utc_ns // NS) << 20 | luck & 0xFFFFF) % (1 << _EPOCH_BITS)
    return "".join(_DIGITS[number >> shift & 31] for shift in range(_EPOCH_BITS - 5, -1, -5))


UNKNOWN = "", ""
"""Epoch and name of a stream that nobody can name any more."""

STREAMS_TOLD = 200
"""Streams that one event of a gap names, so that it never is too large to be kept."""


@dataclass(slots=True)
class Span:
    """How many were lost of one stream, and the first and last UTC ns they stood for."""

    first_t_ns: int
    last_t_ns: int
    count: int = 1

    def add(self, t_ns: int) -> None:
        """Count one more."""
        self.first_t_ns = min(self.first_t_ns, t_ns)
        self.last_t_ns = max(self.last_t_ns, t_ns)
        self.count += 1


@dataclass(slots=True)
class _NumberedSpan:
    first_seq: int
    last_seq: int
    times: Span


class Gap:
    """What was lost for one reason.

    Args:
        why: the reason, in the words the events carry.
        most: streams that are named, at most; of those beyond it only the count is told. None: all of them.
    """

    def __init__(self, why: str, most: int | None = None) -> None:
        self.why = why
        self._most = most
        self.count = 0
        self._spans: dict[tuple[str, str], _NumberedSpan] = {}

    def add(self, epoch: str, stream: str, seq: int, t_ns: int) -> None:
        """Count one lost record."""
        self.add_span(epoch, stream, seq, Span(t_ns, t_ns))

    def add_span(self, epoch: str, stream: str, first_seq: int, times: Span) -> None:
        """Count `times.count` lost records with consecutive numbers from `first_seq`."""
        self.count += times.count
        self._take_in((epoch, stream), _NumberedSpan(first_seq, first_seq + times.count - 1, times))

    def _take_in(self, key: tuple[str, str], more: _NumberedSpan) -> None:
        if self._most is not None and key not in self._spans and len(self._spans) >= self._most:
            key = UNKNOWN
        known = self._spans.get(key)
        if known is None:
            self._spans[key] = more
            return
        known.first_seq = min(known.first_seq, more.first_seq)
        known.last_seq = max(known.last_seq, more.last_seq)
        known.times = Span(
            min(known.times.first_t_ns, more.times.first_t_ns),
            max(known.times.last_t_ns, more.times.last_t_ns),
            known.times.count + more.times.count,
        )

    def retell(self, event: bytes) -> None:
        """Tell what an event told of, where it was about a gap: it is lost itself, and nobody has heard it."""
        for stream, epoch, first_seq, last_seq, times in _told_by(event):
            self._take_in((epoch, stream), _NumberedSpan(first_seq, last_seq, times))

    def details(self) -> list[dict[str, object]]:
        """Return what the events say, one for so many streams: why, how many, and which numbers and times of each."""
        told = [
            {
                "stream": stream,
                "epoch": epoch,
                "first_seq": span.first_seq,
                "last_seq": span.last_seq,
                "first_t": rfc3339(span.times.first_t_ns),
                "last_t": rfc3339(span.times.last_t_ns),
                "count": span.times.count,
            }
            for (epoch, stream), span in self._spans.items()
        ]
        counts = [span.times.count for span in self._spans.values()]
        parts = [slice(first, first + STREAMS_TOLD) for first in range(0, len(told), STREAMS_TOLD)]
        return [{"why": self.why, "count": sum(counts[part]), "streams": told[part]} for part in parts]


def _told_by(event: bytes) -> list[tuple[str, str, int, int, Span]]:
    """Return stream, epoch, first and last number and times of each span in the event of a gap; [] for another event.

    What the disk has damaged tells nothing.
    """
    try:
        message = orjson.loads(event)
        return [_read_back(stream) for stream in message["details"]["streams"]] if message["event"] == "gap" else []
    except (LookupError, TypeError, ValueError):
        return []


def _read_back(said: Mapping[str, Any]) -> tuple[str, str, int, int, Span]:
    times = Span(utc_ns(said["first_t"]), utc_ns(said["last_t"]), int(said["count"]))
    return str(said["stream"]), str(said["epoch"]), int(said["first_seq"]), int(said["last_seq"]), times


@dataclass(slots=True)
class Numbers:
    """The counters of one epoch.

    Args:
        epoch: name of the epoch.
        durable: whether its records are on disk before anybody sees them.
        next_row: position the next record gets.
        next_seq: number the next record of a stream gets; 1 for a stream not in it.
        used_up: streams of which numbers were used up, since these counters were made, for records that will never be.
    """

    epoch: str
    durable: bool
    next_row: int
    next_seq: dict[str, int] = field(default_factory=dict)
    used_up: set[str] = field(default_factory=set)

    def copy(self) -> Numbers:
        """Return counters that may run ahead until a commit has returned, or be thrown away."""
        return Numbers(self.epoch, self.durable, self.next_row, dict(self.next_seq))

    def skip(self, stream: str, count: int) -> int:
        """Use up `count` numbers of a stream for records that will never be; return the first."""
        first = self.next_seq.get(stream, 1)
        self.next_seq[stream] = first + count
        self.used_up.add(stream)
        return first

    def records(self, entries: Iterable[Entry], largest: int) -> tuple[list[Record], list[UnkeptEntryError]]:
        """Number and encode entries; one whose payload cannot be kept has used up its number all the same.

        A loop for the whole batch: it runs for each observation, and its names stay where they are found fastest.

        Args:
            entries: in order.
            largest: bytes a payload may have.
        """
        records: list[Record] = []
        unkept: list[UnkeptEntryError] = []
        epoch, durable, row, next_seq = self.epoch, self.durable, self.next_row, self.next_seq
        for entry in entries:
            stream = entry.stream
            seq = next_seq.get(stream, 1)
            next_seq[stream] = seq + 1
            try:
                payload = entry.encode(epoch, seq, durable)
            except Exception as error:  # noqa: BLE001  whatever it is, a gap tells of it
                unkept.append(UnkeptEntryError(entry, seq, f"not encodable: {error!r:.200}"))
                continue
            if len(payload) > largest:
                unkept.append(UnkeptEntryError(entry, seq, f"larger than {largest} bytes"))
                continue
            records.append(Record(row, entry.kind, stream, epoch, seq, entry.t_ns, payload))
            row += 1
        self.next_row = row
        self.used_up.update(each.entry.stream for each in unkept)
        return records, unkept

    def told(self, events: Iterable[Entry], largest: int) -> list[Record]:
        """Number and encode events of the journal's own.

        Raises:
            UnkeptEntryError: one cannot be kept; they are made small enough.
        """
        records, unkept = self.records(events, largest)
        if unkept:
            raise unkept[0]
        return records


class UnkeptEntryError(Exception):
    """One entry has used its number and will not be kept; never leaves the journal."""

    def __init__(self, entry: Entry, seq: int, why: str) -> None:
        super().__init__(why)
        self.entry = entry
        self.seq = seq
        self.why = why


def numbered(
    numbers: Numbers,
    entries: Iterable[Entry],
    overflow: Mapping[str, Span],
    *,
    announce: Announce,
    largest: int,
) -> list[Record]:
    """Number a batch; what the queue had to drop before it takes the numbers before it, and is told first.

    Args:
        numbers: advanced in place.
        entries: in order.
        overflow: stream -> what was dropped; these came before all of `entries`.
        announce: makes the gap events.
        largest: bytes a payload may have.
    """
    first: list[Record] = []
    if overflow:
        gap = Gap("queue full")
        for stream, times in overflow.items():
            gap.add_span(numbers.epoch, stream, numbers.skip(stream, times.count), times)
        first = numbers.told([announce("gap", details) for details in gap.details()], largest)
    records, unkept = numbers.records(entries, largest)
    gaps: dict[str, Gap] = {}
    for each in unkept:
        gaps.setdefault(each.why, Gap(each.why)).add(numbers.epoch, each.entry.stream, each.seq, each.entry.t_ns)
    told = [announce("gap", details) for gap in gaps.values() for details in gap.details()]
    return first + records + numbers.told(told, largest)


class RowSet:
    """Rows somebody is done with, as few ranges as can be; acknowledgements in any order melt into one.

    Args:
        ranges: (first, last), both included.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.changed: dict[int, int | None] = {}
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Put a range in; `changed` notes which ranges (by their first row) are new, longer, or gone (None)."""
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            if self._firsts[begin] <= first and last <= self._lasts[begin]:
                return
            first = min(first, self._firsts[begin])
            last = max(last, self._lasts[end - 1])
        for gone in self._firsts[begin:end]:
            self.changed[gone] = None
        self.changed[first] = last
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]

    def with_all(self, rows: Iterable[int]) -> RowSet:
        """Return a set that holds these rows too; this one stays as it is."""
        more = RowSet()
        more._firsts, more._lasts, more.changed = list(self._firsts), list(self._lasts), dict(self.changed)
        for row in rows:
            more.add(row, row)
        return more

    def ranges(self) -> list[tuple[int, int]]:
        """Return the ranges in order."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def holes(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges between `first` and `last` that are not in the set, in order."""
        index = bisect_left(self._lasts, first)
        while first <= last:
            if index == len(self._firsts) or self._firsts[index] > last:
                yield first, last
                return
            if self._firsts[index] > first:
                yield first, self._firsts[index] - 1
            first = self._lasts[index] + 1
            index += 1

    def missing(self, first: int, last: int) -> int:
        """Return how many rows between `first` and `last` are not in the set."""
        return sum(end - begin + 1 for begin, end in self.holes(first, last))

    def __contains__(self, row: int) -> bool:
        index = bisect_left(self._lasts, row)
        return index < len(self._firsts) and self._firsts[index] <= row


def runs(rows: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Return the first and the last of each run of rows that follow one another as they come; order does not matter."""
    if rows and rows[-1] - rows[0] == len(rows) - 1 and list(rows) == list(range(rows[0], rows[-1] + 1)):
        return [(rows[0], rows[-1])]  # what a broker acknowledges in order, as nearly all do
    return _runs(rows)


def _runs(rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for row in rows:
        if last is not None and row == last + 1:
            last = row
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = row
    if first is not None and last is not None:
        yield first, last


def in_all(sets: Iterable[RowSet], last: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges from 0 to `last` that every set holds; all of it where there is no set."""
    wanted = RowSet()
    for rows in sets:
        for hole in rows.holes(0, last):
            wanted.add(*hole)
    yield from wanted.holes(0, last)

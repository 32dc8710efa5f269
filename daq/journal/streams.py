"""The streams of a file, and the rows of its tables: what is the same in each record of a stream is worked out once.

A stream goes on for millions of records, and each takes a checksum over its kind, epoch and name too: these come first
in it, so that it can be begun once for all. `schema.checksum` and `schema.tally` say what comes out.

    records -> Streams.rows -> rows of `record`, rows of `stream`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from daq.core.numbering import Numbers
from daq.core.record import Record, RecordKind
from daq.journal.schema import NUMBER_OF

Key = tuple[str, str]
"""Epoch and name of a stream."""

Values = tuple[object, ...]
"""Of one row, in the order of the table."""


@dataclass(slots=True, eq=False)
class Stream:
    """A stream that records were written of.

    Args:
        number: in the file.
        kinds: kind of a record -> its number, and the checksum of its records up to where their own number stands.
        tallied: the checksum of its counters up to where the next number stands.
    """

    number: int
    epoch: str
    name: str
    kinds: Mapping[RecordKind, tuple[int, int]]
    tallied: int


def _stream(number: int, epoch: str, name: str) -> Stream:
    kinds = {kind: (of, crc32(f"{of} {epoch} {name} ".encode())) for kind, of in NUMBER_OF.items()}
    return Stream(number, epoch, name, kinds, crc32(f"({number!r}, {epoch!r}, {name!r}, ".encode()))


class Streams:
    """The streams of a file by epoch and name.

    Args:
        numbers: what each is called in the rows of its records.
    """

    def __init__(self, numbers: Mapping[Key, int]) -> None:
        self._numbers = dict(numbers)
        self._written: dict[Key, Stream] = {}

    def copy(self) -> Streams:
        """Return streams that may run ahead until a commit has returned, or be thrown away."""
        more = Streams(self._numbers)
        more._written = dict(self._written)
        return more

    def names(self) -> dict[int, Key]:
        """Return number -> epoch and name."""
        return {number: key for key, number in self._numbers.items()}

    def rows(self, records: Iterable[Record], numbers: Numbers) -> tuple[Sequence[Values], Sequence[Values]]:
        """Return the rows of records, and those of the streams they are of; a stream that is new gets its number.

        Args:
            records: in order.
            numbers: as they stand after these.
        """
        written, rows = self._written, []
        newest: dict[Stream, int] = {}
        for record in records:
            key = record.epoch, record.stream
            stream = written.get(key) or self._begin(key)
            seq, t_ns, payload = record.seq, record.t_ns, record.payload
            kind, begun = stream.kinds[record.kind]
            said = crc32(payload, crc32(f"{seq} {t_ns}".encode(), begun))
            rows.append((record.row, kind, stream.number, seq, t_ns, payload, said))
            newest[stream] = seq
        counters = []
        own_epoch, next_seq = numbers.epoch, numbers.next_seq
        for name in numbers.used_up:  # a gap has told of these numbers: no record may bear one of them
            newest.setdefault(written.get((own_epoch, name)) or self._begin((own_epoch, name)), 0)
        for stream, seq in newest.items():
            number, epoch, name = stream.number, stream.epoch, stream.name
            following = next_seq[name] if epoch == own_epoch else seq + 1
            counters.append((number, epoch, name, following, crc32(b"%d)" % following, stream.tallied)))
        return rows, counters

    def _begin(self, key: Key) -> Stream:
        number = self._numbers.setdefault(key, len(self._numbers) + 1)
        stream = self._written[key] = _stream(number, *key)
        return stream

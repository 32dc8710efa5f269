"""The bytes that came and were not taken yet, each with the interval in which it came.

Bytes come in chunks: what one receive brought came after the wire was last seen silent and before it was seen. A reply
taken from the front carries the stamps of the chunks its first and last byte came in; replies may share a chunk.

    descriptor (chunk, silent, seen) -> Inbox -> Received
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from daq.core.cut import Cut, EndsWith
from daq.core.errors import LinkFlooded
from daq.core.observation import Stamp
from daq.transports.seam import KEPT_PARTIAL, MAX_REPLY, Received

_MOST_CHUNKS = 4096  # a drip of single bytes must not cost a hundred times its size in stamps


@dataclass(slots=True)
class _Chunk:
    size: int
    silent: Stamp
    first: Stamp
    seen: Stamp


class Inbox:
    """A queue of bytes with stamps. It holds what it is given: its owner stops receiving while it is `full`."""

    def __init__(self) -> None:
        self.bytes: bytes | bytearray = b""
        """What it holds; only to be looked at."""
        self.whole: Received | None = None
        """What one receive brought, while it is all there is: nearly always; only to be looked at."""
        self._chunks: deque[_Chunk] = deque()
        self._looked = 0  # bytes in which _looked_for found nothing
        self._looked_for: Cut | None = None

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def full(self) -> bool:
        """Whether it holds as much as a reply may be long."""
        return len(self.bytes) >= MAX_REPLY

    def put(self, data: bytes, silent: Stamp, first: Stamp, seen: Stamp) -> None:
        """Append what one receive brought.

        Args:
            data: at least one byte.
            silent: the wire was silent then; every byte came after it.
            first: the first byte had come by then.
            seen: every byte had come by then.
        """
        if not self.bytes:
            self.bytes, self.whole = data, Received(data, silent, first, seen)
            return
        self._held().extend(data)
        if len(self._chunks) < _MOST_CHUNKS:
            self._chunks.append(_Chunk(len(data), silent, first, seen))
        else:  # the newest chunk grows instead: its interval widens and stays true
            newest = self._chunks[-1]
            newest.size += len(data)
            newest.seen = seen

    def _held(self) -> bytearray:
        """Return what is held, to be lengthened or shortened, in chunks."""
        if self.whole is not None:
            whole, self.whole = self.whole, None
            self._chunks.append(_Chunk(len(whole.data), whole.not_before, whole.first, whole.last))
        if not isinstance(self.bytes, bytearray):
            self.bytes = bytearray(self.bytes)
        return self.bytes

    def take(self, cut: Cut) -> Received | None:
        """Take out the first whole reply; None while `cut` finds none.

        Raises:
            LinkFlooded: the inbox is full and holds no end; it is empty afterwards.
        """
        whole = self.whole
        if whole is not None and cut(whole.data) == len(whole.data) <= MAX_REPLY:
            self.bytes, self.whole, self._looked = b"", None, 0
            return whole
        length = self._cut(cut) if self.bytes else 0
        if 0 < length <= MAX_REPLY:
            return self._take(length)
        if self.full:
            held = len(self.bytes)
            raise LinkFlooded(
                f"{held} bytes and no end of the reply; no reply is longer than {MAX_REPLY}",
                self.empty()[:KEPT_PARTIAL],
            )
        return None

    def empty(self) -> bytes:
        """Take out everything."""
        data = bytes(self.bytes)
        self.bytes, self.whole, self._looked = b"", None, 0
        if self._chunks:
            self._chunks.clear()
        return data

    def _cut(self, cut: Cut) -> int:
        if not isinstance(cut, EndsWith):
            return cut(self.bytes)
        length = cut.beyond(self.bytes, self._looked if cut is self._looked_for else 0)
        self._looked, self._looked_for = len(self.bytes), cut
        return length

    def _take(self, length: int) -> Received:
        self._looked = 0
        held = self._held()
        data = bytes(held[:length])
        del held[:length]
        head = self._chunks[0]
        silent, first = head.silent, head.first
        left = length
        while left > self._chunks[0].size:
            left -= self._chunks.popleft().size
        tail = self._chunks[0]
        last = tail.seen
        tail.size -= left
        tail.first = last  # what is left of it begins with another byte, of which less is known
        if tail.size == 0:
            self._chunks.popleft()
        return Received(data, not_before=silent, first=first, last=last)

"""Packs values into the fewest block reads, and takes a block apart again when a device refuses it.

A block never holds more than the device gives at once, never reaches into a forbidden range, never splits a value.
Pure.

    Span (one value) -> [packed] -> Block -> RegisterStep; refused -> [divided] -> parts -> [joined] -> bytes
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daq.core.modbus import COILS, payload_length
from daq.core.plan import RegisterStep


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where one value stands: function code, first register or coil (0-based), how many."""

    function: int
    address: int
    count: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.count

    def touches(self, first: int, last: int) -> bool:
        """Whether it holds an address from first to last."""
        return self.address <= last and first < self.end


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be read at once.

    Args:
        max_words: registers; sixteen times as many coils, at most 2000.
        max_gap: unused registers or coils between two values that may be read along.
        forbidden: (function or None for all, first, last), never to be read.
    """

    max_words: int
    max_gap: int
    forbidden: tuple[tuple[int | None, int, int], ...] = ()

    def allow(self, span: Span) -> bool:
        """Whether this may be read in one request."""
        most = min(2000, 16 * self.max_words) if span.function in COILS else self.max_words
        return span.count <= most and not self.forbid(span)

    def forbid(self, span: Span) -> bool:
        """Whether this reaches into a forbidden range."""
        return any(
            function in {None, span.function} and span.touches(first, last) for function, first, last in self.forbidden
        )


@dataclass(frozen=True, slots=True)
class Block:
    """One request and the values in it, in the order of their addresses."""

    span: Span
    values: tuple[Span, ...]


def packed(values: Iterable[Span], limits: Limits) -> tuple[Block, ...]:
    """Pack values into the fewest blocks: each takes as many as it may, from the lowest address on."""
    blocks: list[Block] = []
    for value in sorted(set(values)):
        last = blocks[-1] if blocks else None
        grown = None if last is None else _grown(last, value, limits)
        if grown is None:
            blocks.append(Block(value, (value,)))
        else:
            blocks[-1] = grown
    return tuple(blocks)


def _grown(block: Block, value: Span, limits: Limits) -> Block | None:
    """Return the block with one more value; None where it may not be."""
    span = block.span
    if value.function != span.function or value.address - span.end > limits.max_gap:
        return None
    wider = Span(span.function, span.address, max(span.end, value.end) - span.address)
    return Block(wider, (*block.values, value)) if limits.allow(wider) else None


def bracketed(blocks: Sequence[Block], pairs: Sequence[tuple[Span, Span]]) -> tuple[tuple[Block, ...], int]:
    """Put first the blocks that scale what stands in others, and say how many they are: they are read again behind.

    Args:
        blocks: of a poll.
        pairs: (a value, what it is scaled by).
    """
    scaling = [
        block
        for block in blocks
        if any(factor in block.values and value not in block.values for value, factor in pairs)
    ]
    return (*scaling, *(block for block in blocks if block not in scaling)), len(scaling)


def divided(block: Block) -> tuple[Span, ...]:
    """Return the requests to try instead of a block that the device refused; () where it is one value.

    Where unused addresses were read along, these are left out; else the block is halved between two values.
    """
    runs = _runs(block.values)
    if len(runs) > 1:
        return tuple(_hull(run) for run in runs)
    cuts = [at for at in range(1, len(block.values)) if _apart(block.values, at)]
    if not cuts:
        return ()
    middle = block.span.address + block.span.count / 2
    cut = min(cuts, key=lambda at: abs(block.values[at].address - middle))
    return _hull(block.values[:cut]), _hull(block.values[cut:])


def _runs(values: Sequence[Span]) -> list[list[Span]]:
    """Split values where addresses between them are unused."""
    runs: list[list[Span]] = []
    end = -1
    for value in values:
        if value.address > end or not runs:
            runs.append([])
        runs[-1].append(value)
        end = max(end, value.end)
    return runs


def _apart(values: Sequence[Span], at: int) -> bool:
    """Whether no value before `at` reaches into those from `at` on."""
    return max(value.end for value in values[:at]) <= values[at].address


def _hull(values: Sequence[Span]) -> Span:
    first = values[0]
    return Span(first.function, first.address, max(value.end for value in values) - first.address)


def joined(block: RegisterStep, parts: Sequence[tuple[RegisterStep, bytes]]) -> bytes:
    """Put the answers to the parts of a block together, as if the block had been answered; what is unused is zero."""
    length = payload_length(block.function, block.count)
    whole = 0
    for part, content in parts:
        offset = part.address - block.address
        if block.function in COILS:
            whole |= (int.from_bytes(content, "little") & (1 << part.count) - 1) << offset
        else:
            whole |= int.from_bytes(content, "big") << 8 * (length - 2 * offset - len(content))
    return whole.to_bytes(length, "little" if block.function in COILS else "big")


def barrier(blocks: Sequence[Block], others: Iterable[Span]) -> Span | None:
    """Choose a read whose answer is as long as that to no other question of its function code; None where none is.

    It begins and ends with values that are read anyway, without unused addresses, so that no device refuses it: the
    shortest such. Failing that, the first register of a longer value, which most devices give.

    Args:
        blocks: of all polls.
        others: all other reads that may be outstanding: identity, verification, parts of blocks.
    """
    used = {_reply(block.span) for block in blocks} | {_reply(span) for span in others}
    for block in blocks:
        used |= {_reply(span) for span in divided(block)}
    runs = [run for block in blocks for run in _runs(block.values)]
    whole = [
        _hull(run[start:end]) for run in runs for start in range(len(run)) for end in range(start + 1, len(run) + 1)
    ]
    first = [Span(value.function, value.address, 1) for block in blocks for value in block.values]
    for candidates in (whole, first):
        free = [span for span in candidates if _reply(span) not in used]
        if free:
            return min(free, key=lambda span: (span.count, span.function, span.address))
    return None


def _reply(span: Span) -> tuple[int, int]:
    """Return what tells a reply in RTU framing: its function code and its length."""
    return span.function, payload_length(span.function, span.count)

"""One exchange in registers: the question framed and numbered, its answer found among the frames that come.

Pure: dialogues (core.dialogue) for a session to go through.

    step -> Frames.block, Frames.device -> Ask, Again -> open wire -> Replied -> [modbus] -> bytes of the registers
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from daq.core import modbus
from daq.core.cut import Cut
from daq.core.dialogue import (
    MOST_DISCARDED,
    Again,
    Ask,
    Dialogue,
    Replied,
    answered,
    could_answer,
    still_owed,
    too_late,
)
from daq.core.errors import ForeignReply, LinkTimeout, UnreadableReply
from daq.core.modbus import Framing, RefusedBlock
from daq.core.plan import DeviceStep, RegisterStep

T = TypeVar("T")


class Frames:
    """The questions to one unit, each with a number of its own.

    Args:
        framing: as its wire has it.
        unit: 0 to 255.
    """

    def __init__(self, framing: Framing, unit: int) -> None:
        self._framing: Framing = framing
        self.numbered = framing == "tcp"
        """Whether an answer names its question."""
        self._unit = unit
        self._what = f"unit {unit}"
        self._transaction = 0
        self._blocks: dict[tuple[int, int, int], modbus.Block] = {}  # by function, address and count

    def block(self, step: RegisterStep, *, tolerant: bool = False) -> Dialogue[tuple[bytes, Replied]]:
        """One exchange in registers."""
        block = self.ready(step)
        request = block.request(self.next_number())
        return self._frame(step, request, block.cut, partial(block.registers, request), tolerant=tolerant)

    def ready(self, step: RegisterStep) -> modbus.Block:
        """Return the block that a step asks for, made ready once."""
        which = step.function, step.address, step.count
        block = self._blocks.get(which)
        if block is None:
            block = self._blocks[which] = modbus.Block(self._framing, self._unit, *which)
        return block

    def next(self, step: RegisterStep) -> tuple[bytes, bytes]:
        """Return the next question for a block on Modbus TCP, and what its answer begins with: see modbus.content."""
        block = self.ready(step)
        begins = self.next_number().to_bytes(2, "big")
        return begins + block.rest, begins + block.head

    def device(self, step: DeviceStep, *, tolerant: bool = False) -> Dialogue[tuple[bytes, Replied]]:
        """Have the device say who it is; the rest is asked for until there is none, or no more than there can be."""
        told, first = b"", 0
        for _ in range(modbus.MOST_PARTS):
            request = modbus.identification_request(self._framing, self._unit, self.next_number(), step.category, first)
            judge = partial(modbus.identification, self._framing, request)
            cut = modbus.identification_cut(self._framing)
            found, replied = yield from self._frame(step, request, cut, judge, tolerant=tolerant)
            told += b"".join(bytes((number, len(its))) + its for number, its in found.objects.items())
            if found.more is None:
                break
            first = found.more
        return told, replied

    def next_number(self) -> int:
        """Return the number of the next question."""
        self._transaction = (self._transaction + 1) % 0x10000
        return self._transaction

    def take_back(self) -> None:
        """Give the last number once more: the question that bears it was sent, and is to be heard by another way."""
        self._transaction = (self._transaction - 1) % 0x10000

    def _frame(
        self, step: RegisterStep | DeviceStep, request: bytes, cut: Cut, judge: Callable[[bytes], T], *, tolerant: bool
    ) -> Dialogue[tuple[T, Replied]]:
        """One exchange of frames; `tolerant` throws away what is not its answer, until the deadline.

        On Modbus TCP an answer to an earlier question bears that question's number and is thrown away in any case.
        """
        try:  # as `answered`
            replied = yield Ask(request, cut, step.within_ns, True, partial(could_answer, judge))
        except LinkTimeout as late:
            raise too_late(late, self._what, step.within_ns, request=request) from None
        assert isinstance(replied, Replied), "the wire answers questions with replies"
        came = b""  # and was no answer
        for _ in range(MOST_DISCARDED):
            try:
                content = judge(replied.data)
            except RefusedBlock:
                if not (tolerant and replied.owed):
                    raise
            except (ForeignReply, UnreadableReply) as error:
                earlier = self._framing == "tcp" and isinstance(error, ForeignReply) and replied.data[:2] != request[:2]
                if not (tolerant or earlier):
                    raise
                came += replied.data
                replied = yield from answered(Again(cut), self._what, step.within_ns, request=request, came=came)
                continue
            else:
                if not (tolerant and replied.owed):
                    return content, replied
            replied = yield from still_owed(Again(cut), self._what, step.within_ns, replied.owed)
        return judge(replied.data), replied

"""Modbus TCP served from the loop's own calls leaves the same record as the dialogues would, on real sockets."""

from __future__ import annotations

import re
import struct
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.plan import RegisterStep
from tests.line.far_ends import (
    FarEnd,
    answers_and_hangs_up,
    byte_by_byte,
    frame,
    half_and_hangs_up,
    half_and_silence,
    hangs_up,
    in_pieces,
    line_at,
    on_station_loop,
    resets,
    silence,
    slowly,
    twice,
    whole,
    with_half_more,
    with_more,
)
from tests.line.units import meter, register_poll
from tests.line.wires import MS

WITHIN_NS = 300 * MS
EVERY_NS = 5 * MS


class Numbers:
    """The right answers of a unit: each number once."""

    def __init__(self):
        self.numbers = count(1)

    def __call__(self, question):
        _, _, _, unit, function, _, words = struct.unpack(">HHHBBHH", question)
        body = bytes((unit, function, 2 * words)) + struct.pack(">H", next(self.numbers)) * words
        return question[:4] + struct.pack(">H", len(body)) + body


def stale(right, by=1):
    number = (int.from_bytes(right[:2], "big") - by) % 65536
    return number.to_bytes(2, "big") + right[2:]


def exception(code):
    def refuses(far, question, right):
        far.send(right[:4] + b"\0\3" + bytes((question[6], question[7] | 0x80, code)))

    refuses.__name__ = f"exception_{code}"
    return refuses


def only_stale(far, _, right):
    far.send(stale(right))


def stale_before(far, _, right):
    far.send(stale(right) + right)


def stale_then_later(far, _, right):
    far.send(stale(right))
    far.later(right)


def stale_behind(far, _, right):
    far.send(right + stale(right))


def another_unit(far, _, right):
    far.send(right[:6] + b"\x63" + right[7:])


def another_function(far, _, right):
    far.send(right[:7] + b"\3" + right[8:])


def another_count(far, _, right):
    far.send(right[:8] + b"\x02" + right[9:])


def too_short(far, _, right):
    far.send(right[:4] + struct.pack(">H", len(right) - 8) + right[6:8] + bytes((right[8] - 2,)) + right[9:-2])


def no_frame(far, _, right):
    far.send(right[:2] + b"\7\7" + right[4:])


HARMLESS = [whole, in_pieces, byte_by_byte, slowly, stale_before, stale_then_later]
SPOILING = [
    *[exception(code) for code in (1, 2, 3, 4, 6, 11, 77)],
    stale_behind,
    another_unit,
    another_function,
    another_count,
    too_short,
    no_frame,
    with_more,
    with_half_more,
    twice,
    hangs_up,
    resets,
    answers_and_hangs_up,
    half_and_hangs_up,
]
SILENT = [silence, only_stale, half_and_silence]


def said(entry):
    exchanges = [(each.ask, each.got, each.rtt_s is None, each.binary) for each in entry.exchanges]
    detail = entry.detail and re.sub(r"\d+", "#", entry.detail)
    return entry.key, entry.status, detail, entry.readings, exchanges


async def record(acts, plan, *, steadily, first=0, count=None, speak=Numbers):
    far = FarEnd(acts, speak(), frame)
    count = count or len(acts) + 1
    async with line_at(far, plan, framing="tcp", steadily=steadily) as watched:
        watched.session._frames._transaction = first
        await watched.until(lambda: len(watched.entries) >= count)
        dialogues = [*watched.dialogues]  # the stop may leave them one more
        await watched.stop()
    watched.dialogues = dialogues
    watched.assert_every_slot_once()
    return watched, [said(entry) for entry in watched.entries[:count]]


def twins(acts, plan=None, **more):
    plan = plan or meter(1, register_poll(every_ns=EVERY_NS, within_ns=WITHIN_NS))
    _, old = on_station_loop(record(acts, plan, steadily=False, **more))
    watched, new = on_station_loop(record(acts, plan, steadily=True, **more))
    assert new == old
    return watched, new


def test_plain_blocks_are_taken_without_a_dialogue_and_their_numbers_wrap():
    watched, new = twins([whole] * 20, first=65530)
    assert [status for _, status, *_ in new] == ["ok"] * 21
    assert watched.dialogues == []
    asked = [int.from_bytes(question[:2], "big") for question in watched.far.asked]
    assert asked[:8] == [65531, 65532, 65533, 65534, 65535, 0, 1, 2]


@pytest.mark.parametrize("act", [*HARMLESS, *SPOILING, *SILENT], ids=lambda act: act.__name__)
def test_one_answer_is_recorded_alike(act):
    twins([whole, act, whole, whole], first=65534)


@settings(max_examples=12)
@given(st.lists(st.sampled_from(HARMLESS + SPOILING), min_size=2, max_size=8), st.sampled_from([0, 65530]))
def test_any_script_is_recorded_alike(spoiling, first):
    acts = [act for each in spoiling for act in (each, whole)]
    twins(acts, first=first)


class RefusesAll(Numbers):
    """Knows single registers, and no block of them."""

    def __call__(self, question):
        right = super().__call__(question)
        if question[11] == 1:
            return right
        return right[:4] + b"\0\3" + bytes((question[6], question[7] | 0x80, 2))


def halves(step):
    return (RegisterStep(step.function, 0, 1, step.within_ns), RegisterStep(step.function, 1, 1, step.within_ns))


def test_a_block_that_is_refused_as_a_whole_is_recorded_alike():
    plan = meter(1, register_poll(every_ns=EVERY_NS, within_ns=WITHIN_NS, subdivide=halves))
    twins([], plan, count=6, speak=RefusesAll)


@pytest.mark.parametrize("steadily", [False, True])
def test_two_polls_of_one_block_that_is_refused_as_a_whole_are_both_answered_in_parts(steadily):
    polls = [register_poll(each, EVERY_NS, within_ns=WITHIN_NS, subdivide=halves) for each in ("a", "b")]
    script = record([], meter(1, *polls), steadily=steadily, count=12, speak=RefusesAll)
    watched, _ = on_station_loop(script)
    assert {(entry.key, entry.status) for entry in watched.entries} == {("meter1/a", "ok"), ("meter1/b", "ok")}

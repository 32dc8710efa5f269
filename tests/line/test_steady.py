"""What is served from the loop's own calls leaves the same record as the dialogues would, on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.observation import NS
from daq.transports import tcp
from tests.line.far_ends import (
    Counts,
    FarEnd,
    answers_and_hangs_up,
    byte_by_byte,
    garbage,
    half_and_hangs_up,
    half_and_silence,
    hangs_up,
    in_pieces,
    line_at,
    line_of_text,
    on_station_loop,
    resets,
    silence,
    slowly,
    twice,
    whole,
    with_half_more,
    with_more,
    with_more_in_a_segment,
)
from tests.line.wires import MS, instrument, poll

WITHIN_NS = 300 * MS
EVERY_NS = 5 * MS

SPOILING = [  # what an answer is spoilt by, with the wire
    with_more,
    with_half_more,
    with_more_in_a_segment,
    twice,
    garbage,
    hangs_up,
    resets,
    answers_and_hangs_up,
    half_and_hangs_up,
]
HARMLESS = [whole, in_pieces, byte_by_byte, slowly]


def said(entry):
    """What is to be the same in both records: times, and numbers in words, aside."""
    exchanges = [(each.ask, each.got, each.rtt_s is None, each.binary) for each in entry.exchanges]
    detail = entry.detail and re.sub(r"\d+", "#", entry.detail)
    return entry.key, entry.status, detail, entry.readings, exchanges


async def record(acts, *, steadily, unasked=(), count=None):
    """Play a script; return the record of as many questions, and of the line itself."""
    far = FarEnd(acts, Counts(), line_of_text)
    plan = instrument(poll(every_ns=EVERY_NS, within_ns=WITHIN_NS), latency_ns=20 * MS)
    count = count or len(acts) + 1
    async with line_at(far, plan, steadily=steadily) as watched:

        def between(entry):
            if len(watched.entries) - 1 in unasked and entry.status == "ok":
                far.send(b"3.3\n")

        watched.notes.append(between)
        await watched.until(lambda: len(watched.entries) >= count)
        await watched.stop()
    watched.assert_every_slot_once()
    return watched, [said(entry) for entry in watched.entries[:count]]


def twins(acts, **more):
    """Play a script the old way and the new; return the line of the new."""
    _, old = on_station_loop(record(acts, steadily=False, **more))
    watched, new = on_station_loop(record(acts, steadily=True, **more))
    assert new == old
    return watched, new


def test_plain_answers_are_taken_without_a_dialogue():
    watched, new = twins([whole] * 20)
    assert [status for _, status, *_ in new] == ["ok"] * 21
    assert watched.dialogues == []


@pytest.mark.parametrize("act", [*HARMLESS, *SPOILING, silence, half_and_silence], ids=lambda act: act.__name__)
def test_one_answer_is_recorded_alike(act):
    watched, _ = twins([whole, act, whole, whole])
    assert len(watched.dialogues) <= 4


def test_bytes_that_nobody_asked_for_are_recorded_alike():
    _, new = twins([whole] * 6, unasked={1, 4})
    assert [status for _, status, *_ in new].count("desync") == 2


@settings(max_examples=12)
@given(st.lists(st.sampled_from(HARMLESS + SPOILING), min_size=2, max_size=8), st.sets(st.integers(0, 12), max_size=2))
def test_any_script_is_recorded_alike(spoiling, unasked):
    acts = [act for each in spoiling for act in (each, whole)]
    twins(acts, unasked=unasked)


LONG = b"N" * 300_000 + b"?\n"


async def asked_at_length(*, deaf, steadily):
    far = FarEnd([], Counts(), line_of_text)
    far.deaf = deaf
    plan = instrument(poll(every_ns=EVERY_NS, within_ns=WITHIN_NS if deaf else 20 * NS, ask=LONG), latency_ns=20 * MS)
    async with line_at(far, plan, steadily=steadily) as watched:
        await watched.until(lambda: len(watched.entries) >= 2)
        await watched.stop()
    watched.assert_every_slot_once()
    return [said(entry) for entry in watched.entries[:2]]


@pytest.mark.parametrize("deaf", [False, True])
def test_a_question_that_does_not_fit_at_once_is_recorded_alike(deaf, monkeypatch):
    monkeypatch.setattr(tcp, "_OPTIONS", (*tcp._OPTIONS, (socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)))
    old, new = (on_station_loop(asked_at_length(deaf=deaf, steadily=steadily)) for steadily in (False, True))
    assert new == old
    assert new[0][1] == ("timeout" if deaf else "ok")


async def cancelled(where):
    """A line that is cancelled as it leaves the steady way; `where` has it leave."""
    far = FarEnd([whole, in_pieces], Counts(), line_of_text)
    plan = instrument(poll(every_ns=EVERY_NS, within_ns=NS), latency_ns=20 * MS)
    async with line_at(far, plan) as watched:
        leave = watched.line._steady._leave

        def leave_and_cancel(left):
            leave(left)
            watched.task.cancel()

        await watched.until(lambda: watched.entries)
        watched.line._steady._leave = leave_and_cancel
        where(watched)
        with pytest.raises(asyncio.CancelledError):
            await watched.task
    watched.assert_every_slot_once()
    return watched


def test_a_line_cancelled_as_it_leaves_a_question_accounts_for_its_slot():
    watched = on_station_loop(cancelled(lambda _: None))
    assert watched.observations[-1].status == "skipped"
    assert watched.line.items["dmm/n"].counts.asked == 2


def test_a_line_cancelled_as_it_leaves_a_slot_accounts_for_it():
    def hold(watched):
        watched.held = "disk full"

    watched = on_station_loop(cancelled(hold))
    assert watched.observations[-1].status == "skipped"

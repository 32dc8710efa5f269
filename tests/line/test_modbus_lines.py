"""Modbus units that share a wire: none is given another's value, and a dead one costs the others little."""

from __future__ import annotations

import re
from itertools import count

import pytest

from daq.core.observation import NS, Status
from daq.core.plan import RegisterStep
from tests.line.units import Units, meter, register_poll
from tests.line.wires import MS, FakeTransport, Room, room, running
from tests.manual_clock import ManualClock


def units(*, mbap: bool = False, **delays: list[int | None]) -> tuple[ManualClock, Units, FakeTransport]:
    clock = ManualClock()
    far = Units(clock, {int(name[1:]): iter(each) for name, each in delays.items()}, mbap)
    return clock, far, FakeTransport(clock, far, reopen_heals=mbap)


def assert_answers_are_their_own(bench: Room, far: Units) -> None:
    for seen in bench.observations:
        if seen.readings:
            asked_ns = seen.timing.mono_ns - seen.timing.err_ns
            unit = int(seen.instrument[-1])
            answers = {far.log.get((unit, when)) for when in (asked_ns, asked_ns + 1)} - {None}
            assert {int(seen.readings["n"].value)} == answers, seen


async def test_three_units_on_one_wire_answer_for_themselves():
    clock, far, transport = units()
    bench = room(transport, clock, meter(1), meter(2), meter(3), byte_ns=1_145_833, silence_ns=4_010_417)
    async with running(bench):
        await clock.advance(10)
    assert set(bench.statuses()) == {"ok"}
    assert all(bench.slots(f"meter{unit}") == 10 for unit in (1, 2, 3))
    assert_answers_are_their_own(bench, far)


# 1.2
async def test_a_late_answer_of_one_unit_is_never_another_units_value():
    clock, far, transport = units(u1=[10 * MS, 10 * MS, 10 * MS, 400 * MS, 450 * MS, 700 * MS])
    bench = room(transport, clock, meter(1), meter(2), meter(3))
    async with running(bench):
        await clock.advance(20)
    assert "timeout" in bench.statuses()
    assert bench.statuses()[-3:] == ["ok"] * 3
    assert_answers_are_their_own(bench, far)


async def test_a_timeout_names_the_unit_that_was_silent_and_how_long_it_was_waited_for():
    clock, _, transport = units(u1=[10 * MS, 10 * MS, None])
    bench = room(transport, clock, meter(1), meter(2))
    async with running(bench):
        await clock.advance(5)
    (late,) = [seen for seen in bench.observations if seen.status is Status.TIMEOUT]
    assert re.fullmatch(r"unit 1 at wire: nothing came in time \([0-9.]+ s\)", late.detail)


async def test_only_the_unit_that_failed_must_prove_itself():
    clock, far, transport = units(u1=[10 * MS, 10 * MS, 400 * MS])
    bench = room(transport, clock, meter(1), meter(2))
    async with running(bench):
        await clock.advance(10)
    barriers = [data for data in transport.written if data[4:6] == b"\x00\x01"]
    assert [data[0] for data in barriers].count(2) == 1
    assert [data[0] for data in barriers].count(1) == 2
    assert_answers_are_their_own(bench, far)


async def test_a_dead_unit_takes_at_most_a_fifth_of_the_wire_over_any_minute():
    clock, far, transport = units(u1=[None] * 10_000)
    bench = room(transport, clock, meter(1), meter(2, register_poll(every_ns=NS // 5)), meter(3))
    async with running(bench):
        await clock.advance(600)
    assert bench.slots("meter1") == 600
    assert bench.slots("meter2") == 3001
    assert {seen.status for seen in bench.observations if seen.instrument == "meter1"} == {Status.TIMEOUT}
    missed = [seen for seen in bench.observations if seen.instrument != "meter1" and seen.status is not Status.OK]
    assert sum(seen.slots.count if seen.slots else 1 for seen in missed) < 0.05 * 3600
    asked = [when for when, data in zip(transport.written_ns, transport.written, strict=True) if data[0] == 1]
    hold_ns = 500 * MS  # time-out and quiet
    assert max(sum(start <= when < start + 60 * NS for when in asked) for start in asked) * hold_ns <= 12 * NS
    assert_answers_are_their_own(bench, far)


async def test_five_dead_units_together_take_no_more_than_one():
    clock, far, transport = units(**{f"u{unit}": [None] * 10_000 for unit in range(2, 7)})
    bench = room(transport, clock, *(meter(unit, register_poll(phase_ns=unit * 100 * MS)) for unit in range(1, 7)))
    async with running(bench):
        await clock.advance(300)
    asked = [when for when, data in zip(transport.written_ns, transport.written, strict=True) if data[0] != 1]
    hold_ns = 500 * MS  # time-out and quiet
    assert max(sum(start <= when < start + 60 * NS for when in asked) for start in asked) * hold_ns <= 12 * NS
    good = [seen for seen in bench.observations if (seen.instrument, seen.status) == ("meter1", Status.OK)]
    assert len(good) > 0.85 * 300
    assert_answers_are_their_own(bench, far)


@pytest.mark.parametrize("wake_after_s", [5, 100])
async def test_a_unit_that_wakes_up_is_found(wake_after_s):
    clock, far, transport = units()
    asleep = {1}
    answer = transport._answer
    transport._answer = lambda data, now_ns: [] if data[0] in asleep else answer(data, now_ns)
    bench = room(transport, clock, meter(1), meter(2))
    async with running(bench):
        await clock.advance(wake_after_s)
        asleep.clear()
        await clock.advance(70)
    assert [seen.status for seen in bench.observations if seen.instrument == "meter1"][-1] is Status.OK
    assert_answers_are_their_own(bench, far)


async def test_damaged_frames_are_not_believed():
    clock, far, transport = units()
    answer, damaged = transport._answer, set(range(5, 60, 7))

    def noisy(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        return [
            (
                after,
                bytes((piece[0], piece[1], piece[2], piece[3] ^ 4, *piece[4:]))
                if now_ns // NS % 60 in damaged
                else piece,
            )
            for after, piece in answer(data, now_ns)
        ]

    transport._answer = noisy
    bench = room(transport, clock, meter(1), meter(2))
    async with running(bench):
        await clock.advance(60)
    assert "protocol" in bench.statuses()
    assert bench.statuses().count("ok") > 60
    assert_answers_are_their_own(bench, far)


# Modbus TCP -----------------------------------------------------------------------------------------------------------


async def test_an_earlier_transactions_answer_is_thrown_away_and_the_right_one_awaited():
    clock, _, transport = units(mbap=True)
    answer = transport._answer
    transport._answer = lambda data, now: (
        [(1, b"\0\0" + piece[2:]) for _, piece in answer(data, now)] + answer(data, now)
    )
    bench = room(transport, clock, meter(1), meter(2), numbered=True)
    async with running(bench):
        await clock.advance(5)
    assert set(bench.statuses()) == {"ok"}
    assert [each.ask == b"" for each in bench.observations[0].exchanges] == [True, False]
    assert transport.opened == 1


async def test_units_behind_a_gateway_do_not_lose_their_connection_to_a_dead_neighbour():
    clock, far, transport = units(mbap=True, u1=[None] * 1000)
    bench = room(transport, clock, meter(1), meter(2), numbered=True)
    async with running(bench):
        await clock.advance(120)
    assert transport.opened == 1
    assert bench.slots("meter1") == 120
    good = [seen for seen in bench.observations if (seen.instrument, seen.status) == ("meter2", Status.OK)]
    assert len(good) > 110
    assert_answers_are_their_own(bench, far)


async def test_late_answers_behind_a_gateway_are_known_by_their_number():
    clock, far, transport = units(mbap=True, u1=[10 * MS, 10 * MS, *[300 * MS, 10 * MS] * 10])
    bench = room(transport, clock, meter(1), meter(2), numbered=True)
    async with running(bench):
        await clock.advance(30)
    assert "timeout" in bench.statuses()
    assert transport.opened == 1
    assert_answers_are_their_own(bench, far)


# Blocks ---------------------------------------------------------------------------------------------------------------


async def test_a_frame_that_lacks_bytes_and_takes_those_of_the_next_is_no_answer():
    clock = ManualClock()
    far = Units(clock, mbap=True)
    asked = count(1)

    def answer(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        if next(asked) != 3:
            return far(data, now_ns)
        earlier = data[:1] + bytes((data[1] - 1,)) + b"\0\0\0\x07\x02\x04\x04\x11\x11\x11\x11"
        return [(10 * MS, far(data, now_ns)[0][1][:9] + earlier)]

    bench = room(FakeTransport(clock, answer), clock, meter(1), meter(2), numbered=True)
    async with running(bench):
        await clock.advance(5)
    assert bench.statuses().count("desync") == 1
    assert_answers_are_their_own(bench, far)


async def test_a_refused_block_is_asked_in_parts_from_then_on():
    clock, far, transport = units()
    far.refuses = {(0, 6)}
    whole = RegisterStep(4, 0, 6, NS // 4)
    parts = (RegisterStep(4, 0, 2, NS // 4), RegisterStep(4, 4, 2, NS // 4))
    poll = register_poll(words=6, subdivide=lambda step: parts if step == whole else ())
    bench = room(transport, clock, meter(1, poll))
    async with running(bench):
        await clock.advance(3.5)
    assert bench.statuses() == ["ok"] * 4
    asked = [(data[3], data[5]) for data in transport.written[1:]]
    assert asked == [(0, 6), (0, 2), (4, 2), (0, 2), (4, 2), (0, 2), (4, 2), (0, 2), (4, 2)]


async def test_a_block_that_is_refused_in_parts_too_is_an_instrument_error_and_no_more():
    clock, far, transport = units()
    far.refuses = {(0, 6), (4, 2)}
    parts = (RegisterStep(4, 0, 2, NS // 4), RegisterStep(4, 4, 2, NS // 4))
    bench = room(transport, clock, meter(1, register_poll(words=6, subdivide=lambda _step: parts)))
    async with running(bench):
        await clock.advance(2.5)
    assert set(bench.statuses()) == {"instrument_error"}
    assert "illegal data address" in bench.observations[0].detail
    assert bench.events == []


# Who refuses slowly ---------------------------------------------------------------------------------------------------


def gateway(code: int, *, unit: int = 1, after_ns: int = 200 * MS) -> tuple[ManualClock, Units, FakeTransport]:
    """Serve units of which one is refused by its gateway, as late as its own time-out allows, one after the other."""
    clock, far, transport = units(mbap=True)
    answer = transport._answer

    def answers(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        if data[6] != unit:
            return answer(data, now_ns)
        return [(after_ns, data[:4] + b"\0\3" + bytes((unit, data[7] | 0x80, code)))]

    transport._answer = answers
    return clock, far, transport


@pytest.mark.parametrize("code", [4, 6, 10, 11])
async def test_a_unit_that_is_refused_slowly_takes_at_most_a_fifth_of_the_wire(code):
    clock, far, transport = gateway(code)
    plans = [meter(unit, register_poll(every_ns=NS // 5, phase_ns=unit * 10 * MS)) for unit in (1, 2, 3)]
    bench = room(transport, clock, *plans, numbered=True)
    async with running(bench):
        await clock.advance(60)
    asked = [when for when, data in zip(transport.written_ns, transport.written, strict=True) if data[6] == 1]
    assert len(asked) * 200 * MS <= 12 * NS
    for neighbour in ("meter2", "meter3"):
        good = [seen for seen in bench.observations if (seen.instrument, seen.status) == (neighbour, Status.OK)]
        assert len(good) >= 0.8 * 300
    assert bench.slots("meter1") == 300
    assert transport.opened == 1
    assert_answers_are_their_own(bench, far)


async def test_a_unit_that_the_gateway_does_not_reach_is_left_alone_like_a_silent_one():
    clock, _, transport = gateway(11)
    bench = room(transport, clock, meter(1), meter(2), numbered=True)
    async with running(bench):
        await clock.advance(300)
    asked = [data for data in transport.written if data[6] == 1]
    assert len(asked) < 20
    assert bench.events == []
    assert "exception 11" in next(seen.detail for seen in bench.observations if seen.instrument == "meter1")


async def test_a_refusal_that_costs_the_wire_little_is_asked_for_every_time():
    clock, _, transport = gateway(4, after_ns=5 * MS)
    bench = room(transport, clock, meter(1), meter(2), numbered=True)
    async with running(bench):
        await clock.advance(60)
    assert len([data for data in transport.written if data[6] == 1]) >= 60


@pytest.mark.parametrize("address", [0, 0x0300, 0x0A00, 0x9C40])
@pytest.mark.parametrize("behind", [b"", b"\x01\x04\x02\x00\x07\xf9\x32"])
async def test_our_own_question_that_comes_back_is_told_as_what_it_is(address, behind):
    """The adapter hears what it sends. However the head of the question reads as that of an answer."""
    clock = ManualClock()
    transport = FakeTransport(clock, lambda data, _now: [(5 * MS, data + behind)], reopen_heals=False)
    bench = room(transport, clock, meter(1, barrier=RegisterStep(4, address, 1, NS // 4)))
    async with running(bench):
        await clock.advance(5)
    told = {seen.detail for seen in bench.observations}
    words = "ahead of what it answered" if behind else "and no answer. The local echo"
    assert any(f"unit 1: our own question came back, {words}" in detail for detail in told if detail), told
    assert not any("nothing came" in detail for detail in told if detail)


async def test_echo_switched_on_in_the_midst_is_told():
    clock, far, transport = units()
    echo = False
    answer = transport._answer
    transport._answer = lambda data, now_ns: [(0, data)] * echo + answer(data, now_ns)
    bench = room(transport, clock, meter(1))
    async with running(bench):
        await clock.advance(3.5)
        echo = True
        await clock.advance(3)
    first = next(seen for seen in bench.observations if seen.status is not Status.OK)
    assert first.status is Status.MISMATCH
    assert "our own question came back" in first.detail
    assert_answers_are_their_own(bench, far)

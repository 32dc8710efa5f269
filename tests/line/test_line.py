"""A line asks what is due, and publishes nothing that was not the answer to that very question."""

from __future__ import annotations

import asyncio
import re

import pytest

from daq.core.cut import Cut
from daq.core.health import LINES_A_SECOND, State
from daq.core.message import rfc3339
from daq.core.observation import NS, Flag, Stamp, Status
from daq.core.plan import Match, ModePlan, ReadBack, TextStep
from daq.core.schedule import ClockWatch
from daq.core.timing import Triggered
from daq.transports import Received
from tests.line.wires import (
    MS,
    CountingInstrument,
    FakeTransport,
    Room,
    addressed,
    assert_answers_are_their_own,
    command,
    instrument,
    number_form,
    poll,
    room,
    running,
)
from tests.manual_clock import START, ManualClock


def counting(*delays: int | None, **more: object) -> tuple[ManualClock, CountingInstrument, FakeTransport]:
    clock = ManualClock()
    counter = CountingInstrument(clock, iter(delays))
    return clock, counter, FakeTransport(clock, counter, **more)


async def test_every_slot_brings_the_answer_to_its_own_question():
    clock, counter, transport = counting()
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(10.5)
    assert bench.statuses() == ["ok"] * 11
    assert bench.values() == [f"{n}.0" for n in range(1, 12)]
    assert_answers_are_their_own(bench, counter)


async def test_an_observation_says_who_answered_when_and_to_what():
    clock, _, transport = counting()
    bench = room(transport, clock, instrument(asset="A-1"))
    async with running(bench):
        await clock.advance(1)
    seen = bench.observations[0]
    assert (seen.identity.asset, seen.identity.serial, seen.info) == ("A-1", "S1", "dmm:S1")
    assert [(each.ask, each.got, each.rtt_s) for each in seen.exchanges] == [(b"N?\n", b"1.0\n", 0.01)]
    assert seen.timing.err_ns == 5 * MS


# 1.1, 1.3: late answers -----------------------------------------------------------------------------------------------


async def test_on_a_socket_a_late_answer_dies_with_the_connection():
    clock, counter, transport = counting(10 * MS, 1500 * MS)
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(5.5)
    assert transport.opened == 2
    assert bench.statuses() == ["ok", "timeout", "ok", "ok", "ok", "ok"]
    assert_answers_are_their_own(bench, counter)


async def test_behind_a_serial_server_closing_is_not_trusted():
    clock, counter, transport = counting(10 * MS, 1500 * MS, reopen_heals=False)
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(6.5)
    assert transport.opened == 1
    assert bench.statuses()[:2] == ["ok", "timeout"]
    assert bench.statuses()[-3:] == ["ok"] * 3
    assert bench.slots() == 7
    assert_answers_are_their_own(bench, counter)


async def test_an_answer_later_than_the_quiet_is_stopped_by_the_barrier():
    clock, counter, transport = counting(10 * MS, 3500 * MS, reopen_heals=False)
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(12.5)
    assert bench.statuses()[-1] == "ok"
    assert_answers_are_their_own(bench, counter)


async def test_device_clear_is_followed_by_a_barrier():
    clock, counter, transport = counting(10 * MS, 1500 * MS, reopen_heals=False, can_clear=True)
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(5.5)
    assert transport.cleared >= 2
    assert transport.written.count(b"IDN?\n") >= 3
    assert_answers_are_their_own(bench, counter)


async def test_without_a_barrier_the_wire_is_quiet_for_the_longest_latency():
    clock, counter, transport = counting(10 * MS, 1900 * MS, reopen_heals=False)
    bench = room(transport, clock, instrument(identify=None, barrier=None))
    async with running(bench):
        await clock.advance(9.5)
    assert bench.statuses()[-1] == "ok"
    assert_answers_are_their_own(bench, counter)


@pytest.mark.parametrize("asks_who", [True, False])
async def test_a_socket_that_was_closed_in_idle_is_opened_again_and_is_clean(asks_who):
    clock, counter, transport = counting()
    bench = room(transport, clock, instrument() if asks_who else instrument(identify=None, barrier=None))
    async with running(bench):
        await clock.advance(1.5)
        transport.hang_up()
        await clock.advance(4)
    assert bench.statuses()[:4] == ["ok", "ok", "disconnected", "ok"]
    assert transport.opened == 2
    assert_answers_are_their_own(bench, counter)


async def test_bytes_that_come_in_idle_make_the_wire_dirty():
    clock, counter, transport = counting()
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(1.5)
        transport.say(b"77.0\n")
        await clock.advance(2)
    assert bench.statuses() == ["ok", "ok", "desync", "ok"]
    assert bench.observations[2].exchanges[0].got == b"77.0\n"
    assert [event for event, _ in bench.events] == ["desync"]
    assert_answers_are_their_own(bench, counter)


# 1.5, 1.16 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reopen_heals", [True, False])
async def test_a_cancelled_read_is_a_timed_out_read(reopen_heals):
    clock, counter, transport = counting(10 * MS, 900 * MS, reopen_heals=reopen_heals)
    bench = room(transport, clock)
    task = asyncio.create_task(bench.line.run())
    await clock.advance(1.5)  # the second question is out
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with running(bench):
        await clock.advance(6)
    assert bench.statuses()[-1] == "ok"
    assert bench.slots() == 8
    assert_answers_are_their_own(bench, counter)


async def test_an_answer_that_comes_twice_at_once_is_not_believed():
    clock = ManualClock()
    counter = CountingInstrument(clock)

    def answer(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        pieces = counter(data, now_ns)
        return [(after, piece * 2) for after, piece in pieces] if counter.number == 2 else pieces

    bench = room(FakeTransport(clock, answer), clock)
    async with running(bench):
        await clock.advance(3.5)
    assert bench.statuses() == ["ok", "desync", "ok", "ok"]
    assert bench.observations[1].readings == {}
    assert [each.got for each in bench.observations[1].exchanges] == [b"2.0\n", b"2.0\n"]


async def test_an_answer_that_comes_twice_one_behind_the_other_spoils_the_next_slot_only():
    clock = ManualClock()
    counter = CountingInstrument(clock)

    def answer(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        pieces = counter(data, now_ns)
        return [*pieces, (600 * MS, b"2.0\n")] if data == b"N?\n" and counter.number == 2 else pieces

    bench = room(FakeTransport(clock, answer), clock)
    async with running(bench):
        await clock.advance(4.5)
    assert bench.statuses() == ["ok", "ok", "desync", "ok", "ok"]
    assert_answers_are_their_own(bench, counter)


# 1.7, 1.15: who answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("banner", "after_ms"), [(True, 300), (False, 0), (False, 5)])
async def test_a_greeting_is_no_answer(banner, after_ms):
    clock, counter, transport = counting()
    opens = transport.open

    async def greeting(deadline_ns: int) -> None:
        await opens(deadline_ns)
        transport.say(b"WELCOME\n", after_ms * MS)

    transport.open = greeting
    bench = room(transport, clock, instrument(banner=banner))
    async with running(bench):
        await clock.advance(4.5)
    assert bench.statuses()[-3:] == ["ok"] * 3
    assert_answers_are_their_own(bench, counter)


async def test_another_serial_number_is_refused_after_the_second_look():
    clock, counter, transport = counting()
    counter.serial = "S2"
    bench = room(transport, clock, instrument(serial="S1"))
    async with running(bench):
        await clock.advance(5)
    assert set(bench.statuses()) == {"wrong_instrument"}
    assert transport.written[:2] == [b"IDN?\n", b"IDN?\n"]
    assert b"N?\n" not in transport.written
    assert [event for event, _ in bench.events] == ["wrong_instrument"]
    assert bench.observations[-1].slots is not None


async def test_a_late_identity_is_no_wrong_instrument():
    clock, _, transport = counting(reopen_heals=False)
    transport.say(b"COUNTER,S9\n", 150 * MS)  # somebody else's, on its way when the line opens
    bench = room(transport, clock, instrument(serial="S1"))
    async with running(bench):
        await clock.advance(6)
    assert bench.statuses()[-1] == "ok"
    assert not [event for event, _ in bench.events if event == "wrong_instrument"]


async def test_a_swapped_instrument_is_announced_where_any_will_do():
    clock, counter, transport = counting()
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(1.5)
        counter.serial = "S2"
        transport.hang_up()
        await clock.advance(3)
    event, details = bench.events[-1]
    assert event == "identity_changed"
    assert (details["was"]["serial"], details["now"]["serial"]) == ("S1", "S2")
    assert {seen.info for seen in bench.observations if seen.status == "ok"} == {"dmm:S1", "dmm:S2"}


async def test_a_stand_in_says_so_in_every_observation():
    clock, counter, transport = counting()
    counter.serial = "SIM-1"
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(2)
    assert {seen.simulated for seen in bench.observations} == {True}


async def test_what_was_told_of_the_line_before_is_taken_back_as_a_line_begins():
    """A poll that is due in an hour would leave it standing for as long."""
    clock, _, transport = counting()
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(1)
    name, told = bench.verdicts[0]
    assert (name, str(told.state), told.why) == ("dmm", "lost", "not asked yet")


# Absent, silent, slow -------------------------------------------------------------------------------------------------


async def test_an_absent_instrument_is_accounted_for_and_found_again():
    clock, _, transport = counting()
    transport.absent = "connection refused"
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(200.5)
        assert len(bench.observations) <= 6
        transport.absent = None
        await clock.advance(70)
    statuses = bench.statuses()
    assert statuses[0] == "disconnected"
    assert statuses[-1] == "ok"
    assert bench.slots() == 271
    assert transport.opened == 1
    assert [str(verdict.state) for _, verdict in bench.verdicts][-1] == "ok"


async def test_a_silent_instrument_is_asked_less_and_less():
    clock = ManualClock()
    transport = FakeTransport(clock, lambda _data, _now: [])
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(300)
    assert set(bench.statuses()) <= {"timeout", "disconnected"}
    assert transport.written.count(b"IDN?\n") < 20
    assert bench.slots() == 301


async def test_slots_that_the_line_cannot_reach_are_missed_and_never_caught_up():
    clock, counter, transport = counting(*[700 * MS] * 100)
    bench = room(transport, clock, instrument(poll(every_ns=NS // 2)))
    async with running(bench):
        await clock.advance(20.2)
    assert set(bench.statuses()[:-1]) == {"ok", "missed"}
    assert bench.statuses()[-1] == "skipped"  # due while the last exchange ended, after the stop
    assert bench.slots() == 41
    asked = [seen for seen in bench.observations if seen.status is Status.OK]
    assert len(asked) < 30
    assert_answers_are_their_own(bench, counter)


async def test_slots_while_the_station_holds_are_skipped_ones_and_nothing_is_asked():
    clock, counter, transport = counting()
    why = ["the journal is full"]
    bench = room(transport, clock, held=lambda: why[0])
    async with running(bench):
        await clock.advance(5.5)
        asked = len(counter.log)
        why[0] = None
        await clock.advance(3)
    assert asked == 0
    assert bench.statuses() == ["skipped", "skipped", "ok", "ok", "ok"]
    assert bench.observations[0].detail == "the journal is full"
    assert bench.slots() == 9


async def test_an_instrument_faster_than_its_driver_says_is_suspect_and_announced_once_a_minute():
    clock, _, transport = counting()
    bench = room(transport, clock, instrument(poll(time=Triggered(aperture_ns=100 * MS))))
    async with running(bench):
        await clock.advance(59.5)
        assert [(event, details["poll"]) for event, details in bench.events] == [("time_claim", "n")]
        await clock.advance(60)
    assert [event for event, _ in bench.events] == ["time_claim"] * 2
    assert {seen.timing.aperture_ns for seen in bench.observations} == {None}
    assert {seen.readings["n"].flags for seen in bench.observations} == {(Flag.SUSPECT,)}


async def test_a_mode_that_somebody_changes_is_found_within_ten_seconds_told_and_entered_anew():
    clock, panel = ManualClock(), {"range": b"10"}

    def answer(data: bytes, _now: int) -> list[tuple[int, bytes]]:
        if data.startswith(b"RANGE "):
            panel["range"] = data.removeprefix(b"RANGE ").strip()
            return []
        said = {b"IDN?\n": b"COUNTER,S1", b"N?\n": b"1.0", b"RANGE?\n": panel["range"]}[data]
        return [(10 * MS, said + b"\n")]

    step = TextStep(b"RANGE?\n", number_form(), NS)
    readback = ReadBack("range", step, "10", lambda match: match.fields["n"] == "10", lambda match: match.fields["n"])
    mode = ModePlan("dcv", (command(b"RANGE 10\n"),), (readback,), 0, 0)
    bench = room(FakeTransport(clock, answer), clock, instrument(poll(mode=mode)))
    async with running(bench):
        await clock.advance(30.5)
        panel["range"] = b"100"
        turned_ns = clock.now().utc_ns
        await clock.advance(11)
        event, details = bench.events[-1]
        await clock.advance(20)
    assert bench.statuses().count("wrong_state") == 1
    changed = next(seen for seen in bench.observations if seen.status == "wrong_state")
    assert "somebody changed it" in changed.detail
    assert rfc3339(turned_ns - 11 * NS) <= details.pop("suspect_since") <= rfc3339(turned_ns)
    said = {"instrument": "dmm", "poll": "n", "setting": "range", "wanted": "10", "found": "100"}
    assert (event, details) == ("wrong_state", said)
    assert panel["range"] == b"10"
    assert bench.statuses()[-1] == "ok"


async def test_one_bad_poll_does_not_take_its_neighbours_along():
    clock, _, transport = counting()
    bad = poll("bad", NS, ask=b"MUTE\n", within_ns=200 * MS)
    bench = room(transport, clock, instrument(bad, poll("n", NS, phase_ns=500 * MS)))
    async with running(bench):
        await clock.advance(120.4)
    assert bench.slots(poll_name="bad") == 121
    good = [seen.status for seen in bench.observations if seen.poll == "n"]
    assert good.count(Status.OK) > 110
    assert transport.written.count(b"MUTE\n") < 20


async def test_a_fault_of_ours_stays_with_its_poll():
    def readings(_answers: object) -> dict:
        raise KeyError("of ours")

    clock, _, transport = counting()
    bench = room(transport, clock, instrument(poll("bad", readings=readings), poll("n", phase_ns=500 * MS)))
    async with running(bench):
        await clock.advance(3.4)
    assert next(str(seen.status) for seen in bench.observations if seen.poll == "bad") == "internal"
    assert [str(seen.status) for seen in bench.observations if seen.poll == "n"] == ["ok"] * 3


# Several on one wire --------------------------------------------------------------------------------------------------


async def test_instruments_of_one_text_wire_each_answer_for_themselves():
    clock = ManualClock()
    one, two = CountingInstrument(clock), CountingInstrument(clock, number=1000, free_ns=0)
    alive = {"one": True}

    def answer(data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        who, question = data[:1], data[1:]
        return (one(question, now_ns) if alive["one"] else []) if who == b"1" else two(question, now_ns)

    plans = [addressed(instrument(name="one"), b"1"), addressed(instrument(poll(phase_ns=500 * MS), name="two"), b"2")]
    transport = FakeTransport(clock, answer, reopen_heals=False)
    bench = room(transport, clock, *plans)
    async with running(bench):
        await clock.advance(10)
        alive["one"], before = False, len(transport.written)
        await clock.advance(110)
    assert (bench.slots("one"), bench.slots("two")) == (121, 120)
    good = [seen for seen in bench.observations if seen.instrument == "two" and seen.status is Status.OK]
    assert len(good) >= 0.8 * 120
    behind = transport.written[transport.written.index(b"1N?\n", before) :]  # the first question in vain
    assert behind.index(b"2IDN?\n") < behind.index(b"2N?\n")
    assert_answers_are_their_own(bench, one, two)


@pytest.mark.parametrize("step_s", [3600, -3600, 0.4, -0.4])
async def test_a_step_of_the_clock_neither_bursts_nor_stalls(step_s):
    clock, counter, transport = counting()
    bench = room(transport, clock)
    watch = ClockWatch(clock.now())
    async with running(bench):
        await clock.advance(5.5)
        clock.step(step_s)
        step = watch.saw(clock.now())
        assert step is not None
        bench.line.clock_stepped(step)
        await clock.advance(5.2)
    assert 9 <= len(bench.observations) <= 12
    assert set(bench.statuses()) == {"ok"}
    assert_answers_are_their_own(bench, counter)


# The end --------------------------------------------------------------------------------------------------------------


async def test_the_stop_ends_the_exchange_in_flight_and_leaves_the_instrument_in_peace():
    clock, _, transport = counting(500 * MS)
    bench = room(transport, clock, instrument(teardown=(command(b"LOCAL\n"),)))
    task = asyncio.create_task(bench.line.run())
    await clock.advance(0.2)
    bench.line.stop()
    await clock.advance_until(task.done, 5)
    await task
    assert bench.statuses() == ["ok"]
    assert transport.written[-1] == b"LOCAL\n"
    assert transport.closed == 1


@pytest.mark.parametrize("after_s", [0.2, 5.3, 6.4, 12.7])
async def test_a_line_that_is_cancelled_has_told_every_slot_once(after_s):
    # the first answer hangs beyond 5 s; then the quiet behind it, the barriers, and the slots of a run go on
    clock, _, transport = counting(None, 10 * MS, None, reopen_heals=False)
    slow = instrument(poll(within_ns=5 * NS), poll("m", phase_ns=500 * MS), latency_ns=5 * NS)
    bench = room(transport, clock, slow)
    task = asyncio.create_task(bench.line.run())
    await clock.advance(after_s)
    bench.line.stop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.slots() == int(after_s) + 1
    assert bench.slots(poll_name="m") == int(after_s + 0.5)
    assert bench.line.accounted_mono_ns == clock.mono_ns


async def test_configure_never_tells_nothing():
    clock, _, transport = counting()
    plan = instrument(setup=(command(b"RST\n"),), teardown=(command(b"LOCAL\n"),), configure=False)
    bench = room(transport, clock, plan)
    async with running(bench):
        await clock.advance(2)
    assert set(transport.written) == {b"IDN?\n", b"N?\n"}


async def test_once_asks_each_poll_once_and_leaves():
    clock, _, transport = counting()
    bench = room(transport, clock, instrument(poll("a"), poll("b")))
    task = asyncio.create_task(bench.line.once())
    await clock.advance_until(task.done, 5)
    await task
    assert [(seen.poll, str(seen.status)) for seen in bench.observations] == [("a", "ok"), ("b", "ok")]
    assert transport.closed == 1


async def test_the_log_says_once_that_an_instrument_is_absent_from_the_start_and_once_that_it_came(caplog):
    caplog.set_level("INFO", "daq.ledger")
    clock, _, transport = counting()
    transport.absent = "connection refused"
    async with running(room(transport, clock)):
        await clock.advance(100)
        assert [record.message for record in caplog.records] == [
            "dmm: lost (connect: disconnected: connection refused)"
        ]
        transport.absent = None
        await clock.advance(100)
    assert len(caplog.records) == 2
    assert caplog.records[1].message.startswith("dmm: ok, after ")


async def test_the_log_says_that_a_lost_instrument_answers_again_and_in_the_end_that_it_is_ok(caplog):
    caplog.set_level("INFO", "daq.ledger")
    clock, _, transport = counting()
    async with running(room(transport, clock)):
        await clock.advance(2.5)
        transport.absent = "connection refused"
        transport.hang_up()
        await clock.advance(18)
        transport.absent = None
        await clock.advance(40)
    said = [re.sub(r"\d+ s", "N s", record.message) for record in caplog.records]
    assert said == [
        "dmm: ok",
        "dmm: lost (n: disconnected: nobody is there)",
        "dmm: answers again, after N s lost (n: disconnected: nobody is there)",
        "dmm: ok",
    ]


async def test_the_logs_last_word_is_what_is_so_however_often_it_changed_before(caplog):
    caplog.set_level("INFO", "daq.ledger")
    clock, counter, transport = counting()
    bench = room(transport, clock, instrument(poll("n", NS), poll("x", 7 * NS, ask=b"X?\n")))
    async with running(bench):
        for spoilt in (True, False, True, False, True):
            counter.spoilt = b"X?\n" if spoilt else b""
            await clock.advance(21)
        await clock.advance(60)
        assert caplog.records[-1].message.startswith("dmm: degraded (x: protocol")
        counter.spoilt = b""
        await clock.advance(30)
        assert caplog.records[-1].message.startswith("dmm: ok, after ")
    assert len(caplog.records) <= 7


async def test_the_log_says_once_what_the_wrong_instrument_is(caplog):
    caplog.set_level("INFO", "daq.ledger")
    clock, counter, transport = counting()
    counter.serial = "S2"
    bench = room(transport, clock, instrument(serial="S1"))
    async with running(bench):
        await clock.advance(5)
    assert bench.events == [("wrong_instrument", {"instrument": "dmm", "why": "serial number S2"})]
    assert bench.observations[0].detail == "serial number S2"
    assert [record.message for record in caplog.records] == ["dmm: lost (wrong_instrument)"]


async def test_once_says_what_is_wrong_with_an_absent_instrument():
    clock, _, transport = counting()
    transport.absent = "connection refused"
    bench = room(transport, clock)
    await bench.line.once()
    assert bench.statuses() == ["disconnected"]
    assert bench.observations[0].detail == "connection refused"


async def test_a_tap_sees_all_bytes_both_ways_until_it_is_closed():
    clock, _, transport = counting()
    bench = room(transport, clock)
    seen: list[tuple[str, bytes]] = []
    close = bench.line.tap(lambda way, data, _stamp: seen.append((way, data)))
    async with running(bench):
        await clock.advance(0.5)
        close()
        await clock.advance(2)
    assert seen == [("sent", b"IDN?\n"), ("came", b"COUNTER,S1\n"), ("sent", b"N?\n"), ("came", b"1.0\n")]


async def test_progress_never_falls_behind_while_the_line_waits_and_stands_still_when_it_is_stuck():
    clock, _, transport = counting()
    bench = room(transport, clock, instrument(poll(every_ns=3600 * NS)))
    async with running(bench):
        for _ in range(50):
            await clock.advance(7)
            assert clock.mono_ns - bench.line.progress_mono_ns < 15 * NS
        stuck, write = asyncio.Event(), transport.write

        async def stall(data: bytes, deadline_ns: int) -> object:
            await stuck.wait()
            return await write(data, deadline_ns)

        transport.write = stall
        await clock.advance(3600)
        assert clock.mono_ns - bench.line.progress_mono_ns > 200 * NS
        stuck.set()


# Talkers --------------------------------------------------------------------------------------------------------------


def talker(**more: object) -> tuple[ManualClock, FakeTransport, Room]:
    clock = ManualClock()
    transport = FakeTransport(clock, lambda _data, _now: [], **more)
    form = poll().steps[0].reply
    stream = poll("n", None, steps=(TextStep(b"", form, NS),), quiet_ns=5 * NS)
    return clock, transport, room(transport, clock, instrument(stream, identify=None, barrier=None))


async def test_a_talkers_first_line_is_thrown_away_and_each_of_the_others_is_an_observation():
    clock, transport, bench = talker(reopen_heals=False)
    for n in range(5):
        transport.say(f"{n}2.5\n".encode()[0 if n else 1 :], (n + 1) * NS)
    async with running(bench):
        await clock.advance(5.5)
    assert bench.values() == ["12.5", "22.5", "32.5", "42.5"]
    assert {seen.due_ns for seen in bench.observations} == {None}


@pytest.mark.parametrize("after_ms", [0, 5, 80, 490])
async def test_lines_that_were_kept_for_us_while_nobody_was_connected_are_of_any_age(after_ms):
    """Serial-device servers hand over what they have buffered when somebody connects, a moment later."""
    clock, transport, bench = talker(reopen_heals=False)
    transport.say(b"-9.0\n-8.0\n-7.0\n", after_ms * MS)
    for n in range(3):
        transport.say(b"%d.0\n" % n, (n + 1) * NS)
    async with running(bench):
        await clock.advance(3.5)
    assert bench.values() == ["1.0", "2.0"]


async def test_lines_that_come_together_are_all_kept():
    clock, transport, bench = talker(reopen_heals=False)
    transport.say(b"0.0\n1.0\n2.0\n3.0\n", NS)
    async with running(bench):
        await clock.advance(2)
    assert bench.values() == ["1.0", "2.0", "3.0"]


async def test_of_a_talker_that_floods_so_many_lines_a_second_are_kept_and_the_others_counted():
    clock, transport, bench = talker(reopen_heals=False)
    said = 0
    for after_ms in range(600, 2600, 100):  # ever in the middle of a line
        transport.say(b"".join(b"%d.0\n" % n for n in range(400))[1:] + b"7", after_ms * MS)
        said += 400
    transport.say(b".0\n9.0\n", 3 * NS)
    said += 2
    async with running(bench):
        await clock.advance(4)
    kept = len(bench.values())
    left_out = [seen for seen in bench.observations if seen.status is Status.SKIPPED]
    assert LINES_A_SECOND < kept <= 3 * LINES_A_SECOND
    assert kept + sum(seen.slots.count for seen in left_out) == said - 1  # the first line nobody saw begin
    assert len(left_out) <= 3
    assert all("1000 lines a second" in seen.detail for seen in left_out)
    assert transport.opened == 1
    assert bench.verdicts[-1][1].state is State.OK


async def test_a_talker_that_says_all_it_may_at_once_and_then_pauses_loses_nothing():
    clock, transport, bench = talker(reopen_heals=False)
    transport.say(b"1.0\n" * (LINES_A_SECOND + 1), 600 * MS)
    transport.say(b"2.0\n", 1700 * MS)
    async with running(bench):
        await clock.advance(2)
    assert bench.values() == ["1.0"] * LINES_A_SECOND + ["2.0"]
    assert set(bench.statuses()) == {"ok"}


async def test_a_talker_gone_quiet_is_a_timeout_and_a_joined_line_begins_anew():
    clock, transport, bench = talker(reopen_heals=False)
    transport.say(b"1.0\n", 600 * MS)
    transport.say(b"2.0\n", 700 * MS)
    transport.say(b"4", 4 * NS)  # the line's rest never comes
    transport.say(b"2.0\n5.0\n6.0\n", 8 * NS)
    async with running(bench):
        await clock.advance(9)
    assert bench.statuses() == ["ok", "timeout", "ok", "ok"]
    assert bench.values() == ["2.0", "5.0", "6.0"]


async def test_an_unreadable_line_costs_nothing_but_itself():
    clock, transport, bench = talker(reopen_heals=False)
    for n, line in enumerate((b"1.0\n", b"2.0\n", b"?!\n", b"3.0\n")):
        transport.say(line, (n + 6) * 100 * MS)
    async with running(bench):
        await clock.advance(1)
    assert bench.statuses() == ["ok", "protocol", "ok"]
    assert transport.opened == 1


@pytest.mark.parametrize("line", [b"?!\n", b"7.0\n"])
async def test_a_line_that_lay_in_wait_while_nobody_looked_is_dated_by_when_it_can_have_come(line):
    clock, transport, bench = talker(reopen_heals=False)
    transport.say(b"1.0\n2.0\n", 600 * MS)
    transport.say(line, 8 * NS // 2)
    read = transport.read

    async def paused(cut: Cut, deadline_ns: int) -> Received:
        """It came at some instant of 6 s in which the program stood still, and was taken 1 ms ago."""
        received = await read(cut, deadline_ns)
        if received.data != line:
            return received
        seen = Stamp(received.last.mono_ns - MS, received.last.utc_ns - MS)
        long_ago = Stamp(seen.mono_ns - 6 * NS, seen.utc_ns - 6 * NS)
        return Received(line, long_ago, seen, seen)

    transport.read = paused
    async with running(bench):
        await clock.advance(5)
    seen = next(each for each in bench.observations if each.exchanges and each.exchanges[-1].got == line)
    assert seen.timing.err_ns >= 3 * NS
    assert seen.timing.utc_ns + seen.timing.err_ns >= START.utc_ns + 4 * NS - MS
    assert seen.exchanges[-1].at_s >= 0
    assert seen.exchanges[-1].rtt_s >= 0


async def test_a_line_that_was_taken_before_it_was_listened_for_has_no_negative_duration():
    clock, transport, bench = talker(reopen_heals=False)
    transport.say(b"1.0\n2.0\n3.0\n", 600 * MS)
    read = transport.read

    async def taken_before(cut: Cut, deadline_ns: int) -> Received:
        received = await read(cut, deadline_ns)
        first = Stamp(received.first.mono_ns - MS, received.first.utc_ns - MS)
        return Received(received.data, first, first, first)

    transport.read = taken_before
    async with running(bench):
        await clock.advance(1)
    assert [seen.exchanges[-1].rtt_s for seen in bench.observations] == [0, 0]


async def test_an_answer_that_was_there_before_its_question_is_not_believed():
    clock, _, transport = counting()
    read = transport.read

    async def lain_in_wait(cut: Cut, deadline_ns: int) -> Received:
        received = await read(cut, deadline_ns)
        if received.data != b"2.0\n":
            return received
        before = Stamp(received.first.mono_ns - NS, received.first.utc_ns - NS)
        return Received(received.data, before, before, before)

    transport.read = lain_in_wait
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(3.5)
    assert bench.statuses() == ["ok", "desync", "ok", "ok"]


async def test_the_stop_does_not_wait_for_a_talker():
    clock, _, bench = talker()
    task = asyncio.create_task(bench.line.run())
    await clock.advance(1)
    before_ns = clock.mono_ns
    bench.line.stop()
    await clock.settle()
    await task
    assert clock.mono_ns == before_ns


def test_a_match_is_what_the_form_found():
    assert poll().steps[0].reply.match(b"4.5\n") == Match({"n": "4.5"})

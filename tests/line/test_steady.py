"""What is served from the loop's own calls leaves the same record as the dialogues would, on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.clock import SystemClock
from daq.core.address import Wire
from daq.core.observation import NS
from daq.core.plan import ModePlan, ReadBack, TextStep
from daq.core.schedule import Anchor, Step
from daq.core.timing import Triggered
from daq.line import Line, Outlets
from daq.loop import AT_ONCE
from daq.session import Session
from daq.transports import OPENERS, tcp
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
from tests.line.wires import MS, command, instrument, number_form, poll

WITHIN_NS = 300 * MS
EVERY_NS = 5 * MS
HOUR_NS = 3600 * NS

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


async def record(acts, *, steadily, unasked=(), count=None, **more):
    """Play a script; return the record of as many questions, and of the line itself."""
    far = FarEnd(acts, Counts(), line_of_text)
    plan = instrument(poll(every_ns=EVERY_NS, within_ns=WITHIN_NS, **more), latency_ns=20 * MS)
    count = count or len(acts) + 1
    async with line_at(far, plan, steadily=steadily) as watched:

        def between(entry):
            if len(watched.entries) - 1 in unasked and entry.status == "ok":
                far.send(b"3.3\n")

        watched.notes.append(between)
        await watched.until(lambda: len(watched.entries) >= count)
        dialogues = [*watched.dialogues]  # the stop may leave them one more
        await watched.stop()
    watched.dialogues = dialogues
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


def refuse(_):
    raise ZeroDivisionError


def test_what_fails_inside_in_one_step_is_read_in_general():
    _, new = twins([whole] * 3, straight=refuse)
    assert [status for _, status, *_ in new] == ["ok"] * 4


def test_what_fails_inside_in_general_too_is_recorded_alike():
    _, new = twins([whole] * 3, straight=refuse, readings=refuse)
    assert {status for _, status, *_ in new} == {"internal"}


def test_answers_sooner_than_can_be_measured_are_recorded_alike():
    watched, _ = twins([whole] * 5, time=Triggered(200 * MS))
    assert {each.flags for seen in watched.observations for each in seen.readings.values()} == {("suspect",)}


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


async def cancelled(acts, *, hold):
    """A line that is cancelled in the very turn in which it leaves the steady way."""
    far = FarEnd(acts, Counts(), line_of_text)
    plan = instrument(poll(every_ns=EVERY_NS, within_ns=20 * NS), latency_ns=20 * MS)
    async with line_at(far, plan) as watched:
        leave = watched.line._steady._leave

        def leave_and_cancel(left):
            leave(left)
            watched.task.cancel()

        watched.line._steady._leave = leave_and_cancel
        await watched.until(lambda: watched.entries)
        if hold:
            watched.held = "disk full"
        with pytest.raises(asyncio.CancelledError):
            await watched.task
    watched.assert_every_slot_once()
    return watched


def test_a_line_cancelled_as_it_leaves_a_question_accounts_for_its_slot():
    watched = on_station_loop(cancelled([whole, in_pieces], hold=False))
    assert watched.entries[1].status == "skipped"
    assert watched.line.items["dmm/n"].counts.asked == 2


def test_a_line_cancelled_as_it_leaves_a_slot_accounts_for_it():
    watched = on_station_loop(cancelled([], hold=True))
    assert watched.observations[-1].status == "skipped"


# One thing each -------------------------------------------------------------------------------------------------------


def serving(main, acts=(), *polls, **more):
    """Run `main` beside a line that is served steadily; then account for every slot."""

    async def serve():
        far = FarEnd(acts, Counts(), line_of_text)
        plan = instrument(*(polls or (poll(every_ns=EVERY_NS, within_ns=20 * NS),)), latency_ns=20 * MS, **more)
        async with line_at(far, plan) as watched:
            await watched.until(lambda: watched.entries)
            await main(watched)
            if not watched.task.done():
                await watched.stop()
        watched.assert_every_slot_once()
        return watched

    return on_station_loop(serve())


def in_flight(watched, number):
    """Whether so many questions were sent, and the last has no answer yet."""
    return lambda: len(watched.far.asked) == number and len(watched.entries) == number - 1


def test_the_stop_lets_a_question_in_flight_have_its_answer():
    async def main(watched):
        await watched.until(in_flight(watched, 3))
        watched.line.stop()
        watched.far.send(b"77.0\n")
        await watched.task

    watched = serving(main, [whole, whole, silence])
    assert [entry.readings["n"].value for entry in watched.entries] == ["1.0", "2.0", "77.0"]


def test_the_stop_between_two_questions_ends_the_line_at_once():
    async def main(watched):
        watched.line.stop()
        await watched.task

    in_a_second_ns = (time.time_ns() + NS) % HOUR_NS
    watched = serving(main, [], poll(every_ns=HOUR_NS, phase_ns=in_a_second_ns, within_ns=20 * NS))
    assert [entry.status for entry in watched.entries] == ["ok"]
    assert watched.dialogues == []


def test_a_line_cancelled_in_the_middle_of_a_question_accounts_for_its_slot():
    async def main(watched):
        await watched.until(in_flight(watched, 2))
        watched.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watched.task

    watched = serving(main, [whole, silence])
    assert [entry.status for entry in watched.entries] == ["ok", "skipped"]
    assert not watched.line._wire.is_open


def test_a_tap_that_comes_in_the_middle_of_a_question_is_shown_its_answer_and_the_next():
    shown = []

    async def main(watched):
        await watched.until(in_flight(watched, 2))
        untap = watched.line.tap(lambda way, data, _: shown.append((way, data)))
        watched.far.send(b"77.0\n")
        await watched.until(lambda: len(watched.entries) >= 4)
        untap()
        dialogues = len(watched.dialogues)
        await watched.until(lambda: len(watched.entries) >= 8)
        assert len(watched.dialogues) <= dialogues + 1

    serving(main, [whole, silence])
    asked, answers = ("sent", b"N?\n"), [("came", answer) for answer in (b"77.0\n", b"3.0\n", b"4.0\n")]
    assert shown[:6] == [asked, answers[0], asked, answers[1], asked, answers[2]]


def test_slots_are_skipped_while_nothing_may_be_asked():
    async def main(watched):
        watched.held = "the disk is full"
        asked = len(watched.far.asked)
        await watched.until(lambda: watched.line.items["dmm/n"].counts.slots["skipped"] >= 5)
        assert len(watched.far.asked) <= asked + 1
        watched.held = None
        good = len(watched.entries)
        await watched.until(lambda: len(watched.entries) >= good + 3)

    watched = serving(main)
    assert {str(seen.status) for seen in watched.observations} == {"ok", "skipped"}


def test_slots_that_pass_while_an_answer_is_waited_for_are_missed():
    async def main(watched):
        await watched.until(in_flight(watched, 2))
        begun_ns = watched.slots("dmm/n")[-1]
        await watched.until(lambda: time.time_ns() > begun_ns + 10 * EVERY_NS)
        watched.far.send(b"77.0\n")
        await watched.until(lambda: len(watched.entries) >= 4)

    watched = serving(main, [whole, silence])
    missed = [seen for seen in watched.observations if seen.status == "missed"]
    assert missed[0].slots.count >= 8


@pytest.mark.parametrize("size_s", [-3600, 3600])
@pytest.mark.parametrize("acts", [[], [whole, silence]], ids=["between questions", "in the middle of one"])
def test_a_clock_that_is_set_loses_no_slot_and_doubles_none(size_s, acts):
    async def main():
        far = FarEnd(acts, Counts(), line_of_text)
        plan = instrument(poll(every_ns=EVERY_NS, within_ns=20 * NS), latency_ns=20 * MS)
        async with line_at(far, plan) as watched:
            await watched.until(in_flight(watched, 2) if acts else lambda: watched.entries)
            before = Anchor.of(watched.line._clock.anchor())
            after = Anchor(before.mono_ns, before.utc_ns + size_s * NS)
            watched.line.clock_stepped(Step(before, after, size_s * NS))
            far.send(b"77.0\n" if acts else b"")
            good = len(watched.entries)
            await watched.until(lambda: len(watched.entries) >= good + 4)
            await watched.stop()
        return watched, before.utc_ns

    watched, set_ns = on_station_loop(main())
    slots = sorted(watched.slots("dmm/n"))
    by_the_old = [slot for slot in slots if abs(slot - set_ns) < 1800 * NS]
    by_the_new = [slot for slot in slots if slot not in by_the_old]
    assert len(by_the_new) >= 3  # a question may have been in flight
    for each in (by_the_old, by_the_new):
        assert each == list(range(each[0], each[-1] + 1, EVERY_NS))
    assert {entry.status for entry in watched.entries} == {"ok"}


@pytest.mark.parametrize("error", [OSError("full"), StopIteration()], ids=["OSError", "StopIteration"])
def test_an_outlet_that_fails_ends_the_line_and_does_not_leave_it_hanging(error):
    async def main(watched):
        def fail(_):
            watched.emitted.clear()
            raise error

        watched.emitted.append(fail)
        with pytest.raises(type(error) if isinstance(error, OSError) else RuntimeError):
            await watched.task
        watched.task = asyncio.create_task(watched.line.run())
        good = len(watched.entries)
        await watched.until(lambda: len(watched.entries) >= good + 3)

    serving(main)


def test_polls_of_different_periods_and_timeouts_each_have_their_own():
    async def main(watched):
        await watched.until(lambda: any(entry.status == "timeout" for entry in watched.entries))
        await watched.until(lambda: watched.entries[-1].status == "ok")

    polls = [
        poll("slow", 7 * MS, ask=b"SLOW?\n", within_ns=20 * NS),
        poll("n", 3 * MS, ask=b"N?\n", within_ns=WITHIN_NS),
    ]

    def silent_once(far, question, right):
        if question == b"N?\n":
            return
        far.acts.insert(0, silent_once)
        far.send(right)

    watched = serving(main, [whole] * 10 + [silent_once], *polls)
    assert [entry.key for entry in watched.entries if entry.status == "timeout"] == ["dmm/n"]


def test_the_watchdog_is_told_of_the_end_of_each_wait():
    async def main(watched):
        line = watched.line
        await watched.until(in_flight(watched, 2))
        assert line.progress_mono_ns > time.monotonic_ns()
        watched.far.send(b"77.0\n")
        await watched.until(lambda: len(watched.entries) >= 2)
        told_ns = set()
        await watched.until(lambda: told_ns.add(line.progress_mono_ns) or len(told_ns) == 3)
        assert watched.dialogues == []

    serving(main, [whole, silence], poll(every_ns=400 * MS, within_ns=20 * NS))


def test_many_lines_that_are_let_on_a_few_at_a_time_are_each_served():
    async def main():
        async with AsyncExitStack() as stack:
            plan = instrument(poll(every_ns=50 * MS, within_ns=20 * NS), latency_ns=20 * MS)
            lines = []
            for _ in range(3 * AT_ONCE):
                far = FarEnd([whole] * 5 + [in_pieces, with_more, whole, hangs_up], Counts(), line_of_text)
                lines.append(await stack.enter_async_context(line_at(far, plan)))
            for each in lines:
                await each.until(lambda each=each: len(each.entries) >= 15)
            for each in lines:
                each.line.stop()
            await asyncio.gather(*[each.task for each in lines])
        return lines

    for watched in on_station_loop(main()):
        watched.assert_every_slot_once()
        assert [entry.status for entry in watched.entries[:9]] == [*["ok"] * 6, "desync", "ok", "disconnected"]
        assert len(watched.dialogues) < len(watched.entries) // 2


# Modes ----------------------------------------------------------------------------------------------------------------


class Panel:
    """Measures by the function it is in, and says which that is by its number."""

    def __init__(self):
        self.function = b"0"

    def __call__(self, question):
        if question.startswith(b"FUNC "):
            self.function = question[5:-1]
            return b""
        return {b"IDN?\n": b"COUNTER,S1\n", b"FUNC?\n": self.function + b"\n"}.get(question, self.function + b".0\n")


def in_function(number):
    def agrees(match):
        return match.fields["n"] == number

    asks = TextStep(b"FUNC?\n", number_form(), 20 * NS)
    readback = ReadBack("function", asks, number, agrees, lambda match: match.fields["n"])
    return ModePlan(f"function {number}", (command(b"FUNC " + number.encode() + b"\n"),), (readback,), 0, 0)


async def on_panel(main, *polls):
    panel = Panel()
    far = FarEnd([], panel, line_of_text)
    async with line_at(far, instrument(*polls, latency_ns=20 * MS)) as watched:
        await main(watched, panel)
        await watched.stop()
    watched.assert_every_slot_once()
    return watched


def test_each_poll_is_asked_in_its_own_mode():
    async def main(watched, _):
        await watched.until(lambda: len(watched.entries) >= 30)
        assert "any" not in watched.dialogues

    polls = [poll(number, 7 * MS, within_ns=20 * NS, mode=in_function(number)) for number in ("1", "2")]
    polls.append(poll("any", 2 * MS, within_ns=20 * NS))
    watched = on_station_loop(on_panel(main, *polls))
    assert {entry.status for entry in watched.entries} == {"ok"}
    for number in ("1", "2"):
        own = [entry.readings["n"].value for entry in watched.entries if entry.key == f"dmm/{number}"]
        assert set(own) == {f"{number}.0"}


def test_a_mode_is_read_back_now_and_then_and_entered_anew_where_somebody_changed_it(monkeypatch):
    monkeypatch.setattr("daq.session.RECHECK_NS", 50 * MS)

    async def main(watched, panel):
        await watched.until(lambda: len(watched.entries) > len(watched.dialogues) >= 3)  # read back, and found right
        panel.function = b"2"
        await watched.until(lambda: any(entry.status == "wrong_state" for entry in watched.entries))
        good = len(watched.entries)
        await watched.until(lambda: len(watched.entries) >= good + 3)

    watched = on_station_loop(on_panel(main, poll(every_ns=EVERY_NS, within_ns=20 * NS, mode=in_function("1"))))
    assert [entry.status for entry in watched.entries].count("wrong_state") == 1
    assert watched.entries[-1].readings["n"].value == "1.0"


def test_an_instrument_that_also_talks_unasked_is_left_to_the_dialogues():
    stream = poll("talk", None, steps=(TextStep(b"", number_form(), NS),), quiet_ns=NS)
    clock = SystemClock()
    outlets = Outlets(*[lambda *_: None] * 6)
    transport = OPENERS["tcp"](Wire("tcp", "127.0.0.1:9"), clock)
    assert Line("far", transport, [Session(instrument(poll(), stream))], clock, outlets)._steady is None
    assert Line("far", transport, [Session(instrument(poll()))], clock, outlets)._steady is not None

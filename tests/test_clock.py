"""The clocks of this machine, what is known of them, and the clock that tests move by hand."""

from __future__ import annotations

import asyncio
import ctypes
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from daq import clock as clock_room
from daq.clock import (
    UNKNOWN,
    Bell,
    Clock,
    Discipline,
    SystemClock,
    boot_id,
    boot_uuid,
    chrony_state,
    judge_timex,
    kernel_state,
    parse_tracking,
)
from daq.core.observation import NS, ClockState
from daq.core.schedule import Anchor, Grid, Queue
from tests.manual_clock import ManualClock

# Printed by chronyc 4.3 of a chronyd that follows another one over loopback, and of one that follows nobody.
FOLLOWING = (
    "7F000001,127.0.0.1,9,1795412765.517575448,-0.000001437,-0.000000147,0.000000152,0.015,0.000,0.029,"
    "0.000006128,0.000001649,1.0,Normal\n"
)
FOLLOWING_NOBODY = (
    "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,"
    "Not synchronised\n"
)


@pytest.fixture(params=[SystemClock, ManualClock])
def any_clock(request) -> Clock:
    return request.param()


async def passing(clock: Clock, seconds: float) -> None:
    """Let time go on, if it does not by itself."""
    if isinstance(clock, ManualClock):
        await clock.advance(seconds)


# ---------------------------------------------------------------- both clocks


async def test_waiting_ends_at_the_instant_and_never_before(any_clock):
    until = any_clock.now().mono_ns + NS // 50
    waiting = asyncio.create_task(any_clock.wait(until))
    await passing(any_clock, 1)
    assert await waiting is False
    assert any_clock.now().mono_ns >= until


async def test_waiting_ends_with_the_bell(any_clock):
    bell = Bell()
    waiting = asyncio.create_task(any_clock.wait(any_clock.now().mono_ns + 3600 * NS, bell))
    await passing(any_clock, 1)
    bell.set()
    assert await waiting is True


async def test_a_bell_that_does_not_ring_does_not_hold_up(any_clock):
    bell = Bell()
    waiting = asyncio.create_task(any_clock.wait(any_clock.now().mono_ns + NS // 50, bell))
    await passing(any_clock, 1)
    assert await waiting is False


async def test_an_instant_that_has_passed_is_not_waited_for(any_clock):
    bell = Bell()
    past = any_clock.now().mono_ns - 1
    assert await any_clock.wait(past) is False
    assert await any_clock.wait(past, bell) is False
    bell.set()
    assert await any_clock.wait(past, bell) is True
    assert await any_clock.wait(any_clock.now().mono_ns + 3600 * NS, bell) is True


async def test_a_wait_can_be_cancelled(any_clock):
    waiting = asyncio.create_task(any_clock.wait(any_clock.now().mono_ns + 3600 * NS, Bell()))
    await passing(any_clock, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# ---------------------------------------------------------------- the system's


def test_a_stamp_lies_between_readings_of_the_same_clocks_around_it():
    clock = SystemClock()
    for read in (clock.now, clock.anchor):
        mono, utc = time.monotonic_ns(), time.time_ns()
        stamp = read()
        assert mono <= stamp.mono_ns <= time.monotonic_ns()
        assert utc <= stamp.utc_ns <= time.time_ns()


def scheduled(readings: list[tuple[int, int, int]]):
    """Clocks that show these triples: monotonic, real, monotonic."""
    mono = iter([value for first, _, last in readings for value in (first, last)])
    real = iter([value for _, value, _ in readings])
    return (lambda: next(mono)), (lambda: next(real))


def test_a_stamp_torn_by_the_scheduler_is_read_again(monkeypatch):
    mono, real = scheduled([(1_000, 9_001_500, 9_002_000), (9_003_000, 9_003_100, 9_003_200)])
    monkeypatch.setattr(time, "monotonic_ns", mono)
    monkeypatch.setattr(time, "time_ns", real)
    stamp = SystemClock().now()
    monkeypatch.undo()
    assert (stamp.mono_ns, stamp.utc_ns) == (9_003_000, 9_003_100)


def test_a_stamp_is_given_even_where_every_try_is_torn(monkeypatch):
    torn = [(n * 100_000, n * 100_000 + 50_000, n * 100_000 + 90_000) for n in range(clock_room.PAIR_TRIES)]
    mono, real = scheduled(torn)
    monkeypatch.setattr(time, "monotonic_ns", mono)
    monkeypatch.setattr(time, "time_ns", real)
    stamp = SystemClock().now()
    monkeypatch.undo()
    assert (stamp.mono_ns, stamp.utc_ns) == torn[-1][:2]


def test_an_anchor_is_the_middle_of_the_tightest_bracket(monkeypatch):
    mono, real = scheduled([(0, 1, 900), (1000, 5, 1100), (2000, 6, 2900), (3000, 7, 3900), (4000, 8, 4900)])
    monkeypatch.setattr(time, "monotonic_ns", mono)
    monkeypatch.setattr(time, "time_ns", real)
    stamp = SystemClock().anchor()
    monkeypatch.undo()
    assert (stamp.mono_ns, stamp.utc_ns) == (1050, 5)


def test_a_service_manager_may_say_which_boot_it_is(monkeypatch):
    monkeypatch.setenv("BENCH_DAQ_BOOT", "0123456789abcdef0123456789abcdef")  # systemd's %b; the kernel's has hyphens
    assert boot_uuid() == "01234567-89ab-cdef-0123-456789abcdef"


def test_the_boot_id_is_six_hex_digits_and_stays():
    assert re.fullmatch(r"[0-9a-f]{6}", boot_id())
    assert boot_id() == boot_id()


# ---------------------------------------------------------------- what is known: the kernel


def test_the_kernel_answers_without_privilege():
    assert kernel_state().source in {"kernel", "none"}


def test_the_structure_is_as_large_as_the_kernels():
    expected = {8: 208, 4: 128}[ctypes.sizeof(ctypes.c_long)]  # <linux/timex.h> on 64 and 32 bits
    assert ctypes.sizeof(clock_room._Timex) == expected


def test_a_synchronised_kernel_gives_its_bound_in_seconds():
    assert judge_timex(0, 0x2001, 24_500) == ClockState("kernel", 0.0245)


@pytest.mark.parametrize(
    ("returned", "status"),
    [(-1, 0), (5, 0x40), (5, 0), (0, 0x40)],
    ids=["refused: all zeros", "unsynchronised", "in error", "flag alone"],
)
def test_a_clock_that_nobody_disciplines_has_no_bound(returned, status):
    assert judge_timex(returned, status, 0) == ClockState("none", None)
    assert judge_timex(returned, status, 16_000_000) == ClockState("none", None)


def test_a_bound_of_zero_is_unknown_not_perfect():
    assert judge_timex(0, 0x2001, 0) == ClockState("kernel", None)


# ---------------------------------------------------------------- what is known: chrony


def test_chronys_bound_is_offset_plus_half_the_delay_plus_dispersion():
    state = parse_tracking(FOLLOWING)
    assert state is not None
    assert state.source == "chrony"
    assert state.err_s == pytest.approx(0.000006150, rel=1e-9)  # 1.437 + 6.128 / 2 + 1.649 us


def test_a_chronyd_without_a_source_has_no_bound():
    assert parse_tracking(FOLLOWING_NOBODY) == ClockState("chrony", None)


@pytest.mark.parametrize(
    "line", ["", "506 Cannot talk to daemon\n", FOLLOWING[:60], FOLLOWING.replace("0.000006128", "x")]
)
def test_what_is_no_tracking_report_is_not_believed(line):
    assert parse_tracking(line) is None


@pytest.fixture
def chronyc(tmp_path: Path, monkeypatch):
    """Put a chronyc of the test's making on an otherwise unchanged PATH."""

    def write(script: str) -> None:
        tool = tmp_path / "chronyc"
        tool.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return write


def runs(pid_file: Path) -> bool:
    """Whether the process that wrote the file is there; one killed before it could write is not."""
    return pid_file.exists() and Path(f"/proc/{pid_file.read_text().strip()}").exists()


async def test_chronyc_is_asked_for_its_tracking_report(chronyc):
    chronyc(f'[ "$*" = "-n -c tracking" ] && echo "{FOLLOWING.strip()}"')
    assert await chrony_state() == parse_tracking(FOLLOWING)


async def test_a_chronyd_that_is_not_there_is_nothing_known(chronyc):
    chronyc("echo '506 Cannot talk to daemon'; exit 1")
    assert await chrony_state() is None


async def test_a_failing_chronyc_is_not_believed_whatever_it_printed(chronyc):
    chronyc(f"echo '{FOLLOWING.strip()}'; exit 1")
    assert await chrony_state() is None


async def test_a_machine_without_chrony_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await chrony_state() is None
    discipline = Discipline()
    await discipline.refresh()
    assert discipline.state == kernel_state()


async def test_a_chronyc_that_hangs_is_killed(chronyc, monkeypatch, tmp_path):
    monkeypatch.setattr(clock_room, "TRACKING_TIMEOUT_S", 0.3)
    pid_file = tmp_path / "pid"
    chronyc(f"echo $$ > {pid_file}; exec sleep 600")
    assert await chrony_state() is None
    assert not runs(pid_file)


async def test_a_cancelled_question_leaves_no_process(chronyc, tmp_path):
    pid_file = tmp_path / "pid"
    chronyc(f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 600")
    asking = asyncio.create_task(chrony_state())
    await _until(pid_file.exists)
    assert runs(pid_file)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not runs(pid_file)


async def test_what_is_known_is_kept_fresh(chronyc):
    chronyc(f"echo '{FOLLOWING.strip()}'")
    discipline, clock = Discipline(), ManualClock()
    assert discipline.state in {UNKNOWN, kernel_state()}
    following = asyncio.create_task(discipline.follow(clock))
    try:
        await _until(lambda: discipline.state == parse_tracking(FOLLOWING))
        chronyc(f"echo '{FOLLOWING_NOBODY.strip()}'")
        await _until(lambda: bool(clock._waiting))
        await clock.advance(16)
        await _until(lambda: discipline.state == ClockState("chrony", None))
    finally:
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following


async def _until(holds) -> None:
    """Wait for a process of the system's own time."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  another process's doing rings no event here
            await asyncio.sleep(0.01)


# ---------------------------------------------------------------- the one tests move


async def test_tasks_wake_in_the_order_of_their_instants_each_at_its_own():
    clock, log = ManualClock(), []
    start = clock.mono_ns

    async def tick(name: str, every_s: float) -> None:
        due = start
        while True:
            due += round(every_s * NS)
            await clock.wait(due)
            log.append((round((clock.now().mono_ns - start) / NS, 3), name))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tick("fast", 1)), group.create_task(tick("slow", 2.5))]
        await clock.advance(5)
        assert log == [(1, "fast"), (2, "fast"), (2.5, "slow"), (3, "fast"), (4, "fast"), (5, "slow"), (5, "fast")]
        assert clock.now().mono_ns == start + 5 * NS
        for task in tasks:
            task.cancel()


async def test_a_chain_of_tasks_settles_before_time_goes_on():
    clock, seen = ManualClock(), []
    queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(20)]

    async def pass_on(n: int) -> None:
        while True:
            value = await queues[n].get()
            if n + 1 < len(queues):
                await queues[n + 1].put(value)
            else:
                seen.append((value, clock.mono_ns))

    async def feed() -> None:
        for value in range(3):
            await clock.wait(clock.mono_ns + NS)
            queues[0].put_nowait(value)

    start = clock.mono_ns
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pass_on(n)) for n in range(20)]
        group.create_task(feed())
        await clock.advance(10)
        assert seen == [(0, start + NS), (1, start + 2 * NS), (2, start + 3 * NS)]
        for task in tasks:
            task.cancel()


async def test_time_stops_where_the_test_wanted():
    clock = ManualClock()
    start, ticks = clock.mono_ns, []

    async def tick() -> None:
        for _ in range(100):
            await clock.wait(clock.mono_ns + NS)
            ticks.append(clock.mono_ns)

    task = asyncio.create_task(tick())
    await clock.advance_until(lambda: len(ticks) == 7)
    assert clock.mono_ns == start + 7 * NS
    with pytest.raises(AssertionError, match="not within"):
        await clock.advance_until(lambda: False, within_s=3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_setting_the_clock_moves_utc_and_not_the_waits():
    clock = ManualClock()
    before = clock.now()
    waiting = asyncio.create_task(clock.wait(before.mono_ns + NS))
    clock.step(-3600)
    await clock.advance(1)
    assert await waiting is False
    after = clock.now()
    assert after.mono_ns - before.mono_ns == NS
    assert after.utc_ns - before.utc_ns == NS - 3600 * NS


async def test_a_bell_rung_by_a_woken_task_wakes_the_other_at_the_same_instant():
    clock, bell = ManualClock(), Bell()
    start = clock.mono_ns

    async def ring() -> None:
        await clock.wait(start + 5 * NS)
        bell.set()

    async def listen() -> int:
        assert await clock.wait(start + 60 * NS, bell)
        return clock.mono_ns

    async with asyncio.TaskGroup() as group:
        group.create_task(ring())
        heard = group.create_task(listen())
        await clock.advance(30)
        assert heard.done()
    assert heard.result() == start + 5 * NS
    assert clock._waiting == []


async def test_a_task_that_spins_is_found_out(monkeypatch):
    monkeypatch.setattr("tests.manual_clock.BUSY_ROUNDS", 1000)

    async def spin() -> None:
        while True:  # noqa: ASYNC110  what it is here to do
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    with pytest.raises(AssertionError, match="spins"):
        await ManualClock().advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_bounded_wait_on_sockets_settles_too():
    clock = ManualClock()
    heard = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

    async def ask() -> None:
        for n in range(3):
            await clock.wait(clock.mono_ns + NS)
            writer.write(b"%d\n" % n)
            heard.append(await reader.readline())

    task = asyncio.create_task(ask())
    async with asyncio.timeout(30):
        while not task.done():
            await clock.advance(1)
    assert heard == [b"0\n", b"1\n", b"2\n"]
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def test_a_week_of_polls_passes_in_seconds_without_drift_or_loss():
    clock = ManualClock()
    queue = Queue(Anchor.of(clock.anchor()))
    queue.add("slow", Grid(60 * NS, 7 * NS), clock.mono_ns)
    queue.add("slower", Grid(3600 * NS, 11 * NS), clock.mono_ns)
    asked: dict[str, list[int]] = {"slow": [], "slower": []}

    async def line() -> None:
        while True:
            await clock.wait(queue.wake_ns() or 0)
            turn = queue.take(clock.mono_ns)
            assert turn is not None
            assert turn.missed is None
            assert turn.due_ns == clock.now().utc_ns
            asked[turn.poll].append(turn.due_ns)

    task = asyncio.create_task(line())
    await clock.advance(7 * 24 * 3600)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [len(slots) for slots in asked.values()] == [7 * 24 * 60, 7 * 24]
    assert all(later - earlier == 60 * NS for earlier, later in pairwise(asked["slow"]))

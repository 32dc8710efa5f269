"""What only VISA does: child processes that are shared, hang, die, and never stay behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import termios
import time
from pathlib import Path

import pytest

from daq.clock import SystemClock
from daq.core.address import Wire
from daq.core.cut import ends_with
from daq.core.errors import LinkClosed, LinkTimeout
from daq.transports import OPENERS
from daq.transports.visa import Visa
from daq.transports.visa_owner import board
from tests.transports.conftest import VisaSerialFar

LINE = ends_with(b"\n")
LONG_S = 20.0
SHORT_S = 0.3
SIM = f"{Path(__file__).parent / 'sim.yaml'}@sim"
FAR_SIDES = ("visa_hislip",)


def within(seconds):
    return time.monotonic_ns() + int(seconds * 1e9)


def sim(resource):
    return Visa(resource, SystemClock(), backend=SIM)


async def ask(near, question):
    await near.write(question, within(LONG_S))
    return (await near.read(LINE, within(LONG_S))).data


def child(near):
    return near._owner._process.pid


async def gone(pid):
    """Wait until a process has ended and was reaped."""
    async with asyncio.timeout(LONG_S):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110, ASYNC240  # /proc tells nobody and never blocks
            await asyncio.sleep(0.01)


@pytest.fixture
async def board_of_two():
    standard, unit = sim("GPIB0::22::INSTR"), sim("GPIB0::23::INSTR")
    await standard.open(within(LONG_S))
    await unit.open(within(LONG_S))
    yield standard, unit
    await standard.close()
    await unit.close()


async def test_instruments_of_one_board_share_one_process(board_of_two):
    standard, unit = board_of_two
    assert child(standard) == child(unit)
    assert await ask(standard, b"*IDN?\n") == b"SIMULATION,REFERENCE,SIM-1,1.0\n"
    assert await ask(unit, b"*IDN?\n") == b"SIMULATION,UNIT,SIM-2,1.0\n"
    assert await ask(standard, b"READ?\n") == b"+9.99998713E+00\n"


async def test_library_without_device_clear_says_so(board_of_two):
    assert not board_of_two[0].can_clear
    with pytest.raises(LinkClosed, match="no device clear"):
        await board_of_two[0].clear(within(LONG_S))


async def test_last_to_close_ends_the_process(board_of_two):
    standard, unit = board_of_two
    pid = child(standard)
    await standard.close()
    assert await ask(unit, b"*IDN?\n") == b"SIMULATION,UNIT,SIM-2,1.0\n"
    await unit.close()
    await gone(pid)


async def test_another_board_is_another_process(board_of_two):
    other = sim("USB0::0x0957::0x1A07::SIM3::0::INSTR")
    await other.open(within(LONG_S))
    assert child(other) != child(board_of_two[0])
    assert await ask(other, b"READ?\n") == b"+9.99998713E+00\n"
    await other.close()


async def test_a_busy_board_is_a_timeout_for_the_neighbour_and_ends_nothing(board_of_two):
    standard, unit = board_of_two
    pid = child(standard)
    await standard.write(b"QUIET\n", within(LONG_S))
    waiting = asyncio.create_task(standard.read(LINE, within(1.0)))
    await asyncio.sleep(0)
    with pytest.raises(LinkTimeout):
        await unit.write(b"*IDN?\n", within(0.1))
    with pytest.raises(LinkTimeout):
        await waiting
    assert await ask(unit, b"*IDN?\n") == b"SIMULATION,UNIT,SIM-2,1.0\n"
    assert child(unit) == pid


async def test_call_that_never_returns_costs_only_its_own_process(board_of_two):
    neighbour = board_of_two[0]
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hung = Visa(f"TCPIP0::127.0.0.1::{deaf.getsockname()[1]}::SOCKET", SystemClock())
        await hung.open(within(LONG_S))
        pid = child(hung)
        writing = asyncio.create_task(hung.write(b"x" * (16 << 20), within(2.0)))
        answers = 0
        while not writing.done():
            assert await ask(neighbour, b"READ?\n") == b"+9.99998713E+00\n"
            answers += 1
        assert answers > 3
        with pytest.raises(LinkTimeout, match="did not return in time"):
            await writing
        await gone(pid)
        with pytest.raises(LinkClosed):
            await hung.write(b"A?\n", within(LONG_S))
        await hung.open(within(LONG_S))
        assert child(hung) != pid
        await hung.close()


async def test_library_that_stretches_its_timeout_does_not_stretch_ours(far, opened):
    writer = far._sync
    writer.write(far.header.pack(b"HS", 7, 0, far._message, 1000))

    async def drip():
        while True:
            writer.write(b".")
            await asyncio.sleep(0.05)

    await opened.write(b"A?\n", within(LONG_S))
    dripping = asyncio.create_task(drip())
    try:
        with pytest.raises(LinkTimeout):
            await asyncio.wait_for(opened.read(LINE, within(SHORT_S)), LONG_S)
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_killed_process_is_noticed_and_replaced(board_of_two):
    standard, unit = board_of_two
    await standard.write(b"QUIET\n", within(LONG_S))
    reading = asyncio.create_task(standard.read(LINE, within(LONG_S * 3)))
    await asyncio.sleep(0)
    os.kill(child(standard), signal.SIGKILL)
    with pytest.raises(LinkClosed, match="ended"):
        await reading
    with pytest.raises(LinkClosed, match="ended"):
        await unit.write(b"*IDN?\n", within(LONG_S))
    await standard.open(within(LONG_S))
    assert await ask(standard, b"READ?\n") == b"+9.99998713E+00\n"
    await unit.open(within(LONG_S))
    assert child(unit) == child(standard)


async def test_what_a_dead_process_leaves_unanswered_is_no_error_of_asyncio(board_of_two):
    standard, unit = board_of_two
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    for _ in range(2):
        pid = child(standard)
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        with pytest.raises(LinkClosed, match="ended"):
            await ask(standard, b"READ?\n")
        await standard.open(within(LONG_S))  # closes what is dead, and asks it to say goodbye
    await unit.open(within(LONG_S))
    gc.collect()
    assert complaints == []


async def test_ctrl_c_and_stop_leave_the_process_to_say_goodbye(board_of_two):
    standard, _ = board_of_two
    os.kill(child(standard), signal.SIGINT)
    os.kill(child(standard), signal.SIGTERM)
    assert await ask(standard, b"READ?\n") == b"+9.99998713E+00\n"


async def test_no_process_outlives_a_killed_station():
    script = """
import asyncio, sys, time
from daq.clock import SystemClock
from daq.transports.visa import Visa

async def main():
    near = Visa("GPIB0::22::INSTR", SystemClock(), backend=sys.argv[1])
    await near.open(time.monotonic_ns() + 20_000_000_000)
    await near.write(b"QUIET\\n", time.monotonic_ns() + 20_000_000_000)
    reading = asyncio.create_task(near.read(lambda got: 0, time.monotonic_ns() + 600_000_000_000))
    await asyncio.sleep(0.1)
    print(near._owner._process.pid, flush=True)
    await reading

asyncio.run(main())
"""
    station = await asyncio.create_subprocess_exec(sys.executable, "-c", script, SIM, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(LONG_S):
        pid = int(await station.stdout.readline())
        assert Path(f"/proc/{pid}").exists()  # noqa: ASYNC240  # never blocks
        os.kill(station.pid, signal.SIGKILL)
        await station.wait()
    async with asyncio.timeout(LONG_S):
        while _running(pid):  # noqa: ASYNC110  # whoever inherits it may reap it late
            await asyncio.sleep(0.01)


def _running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_what_a_library_prints_does_not_disturb(far, monkeypatch):
    def react(writer, kind, parameter, payload):
        if kind == 0:  # InitializeResponse that prefers overlap, about which pyvisa-py prints a line
            writer.write(far.header.pack(b"HS", 1, 1, (0x0100 << 16) | 7, 0))
            far._sessions.put_nowait(writer)
        else:
            type(far)._react(far, writer, kind, parameter, payload)

    monkeypatch.setattr(far, "_react", react)
    near = far.transport()
    await near.open(within(LONG_S))
    await far.accept()
    await near.write(b"A?\n", within(LONG_S))
    assert await far.hear(3) == b"A?\n"
    await far.say(b"a\n")
    assert (await near.read(LINE, within(LONG_S))).data == b"a\n"
    await near.close()


async def test_reply_after_a_device_clear_is_not_taken_for_the_next(far, opened):
    await opened.write(b"A?\n", within(LONG_S))
    assert await far.hear(3) == b"A?\n"
    first = far._message
    with pytest.raises(LinkTimeout):
        await opened.read(LINE, within(SHORT_S))
    await opened.clear(within(LONG_S))
    await opened.write(b"B?\n", within(LONG_S))
    assert await far.hear(3) == b"B?\n"
    await opened.write(b"C?\n", within(LONG_S))
    assert await far.hear(3) == b"C?\n"
    await far.say(b"late\n", message=first)
    await far.say(b"fresh\n")
    got = await opened.read(LINE, within(LONG_S))
    assert got.data == b"fresh\n"


async def test_not_before_of_a_numbered_reply_is_its_question(far, opened):
    asked = await opened.write(b"A?\n", within(LONG_S))
    assert await far.hear(3) == b"A?\n"
    await far.say(b"a\n")
    assert (await opened.read(LINE, within(LONG_S))).not_before == asked


@pytest.mark.parametrize(
    ("resource", "backend"),
    [
        ("GPIB0::9::INSTR", SIM),  # nobody there
        ("TCPIP0::127.0.0.1::INSTR", SIM),  # the same
        ("NONSENSE", "@py"),
        ("GPIB0::22::INSTR", "@nosuchbackend"),
        ("GPIB0::22::INSTR", "/nowhere/libvisa.so@ivi"),
    ],
)
async def test_what_cannot_be_opened_is_closed_and_leaves_no_process(resource, backend):
    near = Visa(resource, SystemClock(), backend=backend)
    with pytest.raises(LinkClosed):
        await near.open(within(LONG_S))
    assert near._owner is None
    with pytest.raises(LinkClosed, match="not open"):
        await near.write(b"A?\n", within(LONG_S))


async def test_cancelled_open_leaves_no_process():
    near = sim("GPIB0::22::INSTR")
    opening = asyncio.create_task(near.open(within(LONG_S)))
    await asyncio.sleep(0.01)
    owner = near._owner
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert near._owner is None
    assert owner._task.done()
    if owner._process is not None:
        await gone(owner._process.pid)


async def test_a_library_that_loads_slowly_is_there_at_a_later_attempt(tmp_path, monkeypatch):
    loads = tmp_path / "loads"
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import pathlib, sys, time
while "daq.transports.visa_child" in sys.orig_argv and not pathlib.Path({str(loads)!r}).exists():
    time.sleep(0.01)
"""
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    near = sim("GPIB0::22::INSTR")
    with pytest.raises(LinkTimeout, match="still being loaded"):
        await near.open(within(SHORT_S))
    await near.close()
    loads.touch()
    await near.open(within(LONG_S))
    pid = child(near)
    await near.close()
    await gone(pid)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("GPIB0::1::INSTR", "GPIB0::2::3::INSTR", True),
        ("GPIB::1::INSTR", "GPIB0::2::INSTR", True),
        ("GPIB0::1::INSTR", "GPIB1::1::INSTR", False),
        ("TCPIP0::dmm.lab::inst0::INSTR", "tcpip::DMM.LAB::hislip0::INSTR", True),
        ("TCPIP0::10.0.0.5::INSTR", "TCPIP0::10.0.0.6::INSTR", False),
        ("USB0::1::2::A::INSTR", "USB0::1::2::B::INSTR", False),
        ("ASRL1::INSTR", "ASRL2::INSTR", False),
    ],
)
def test_who_shares_a_process(one, other, shared):
    assert (board(one) == board(other)) is shared


@pytest.mark.parametrize(
    ("resource", "clears", "heals"),
    [
        ("GPIB0::22::INSTR", True, False),
        ("USB0::0x0957::0x1A07::SIM3::0::INSTR", True, False),
        ("TCPIP0::10.0.0.5::inst0::INSTR", True, True),
        ("TCPIP0::10.0.0.5::hislip0::INSTR", True, True),
        ("TCPIP0::10.0.0.5::5025::SOCKET", False, True),
        ("ASRL/dev/ttyUSB0::INSTR", False, False),
    ],
)
def test_what_heals_which_resource(resource, clears, heals):
    near = OPENERS["visa"](Wire("visa", resource), SystemClock())
    assert (near.can_clear, near.reopen_heals) == (clears, heals)


async def test_nothing_that_another_program_left_set_on_a_serial_port_leaves_bytes_out():
    far = VisaSerialFar()
    await far.start()
    attributes = termios.tcgetattr(far._slave)
    attributes[0] |= termios.IGNPAR | termios.BRKINT | termios.IMAXBEL | termios.PARMRK
    termios.tcsetattr(far._slave, termios.TCSANOW, attributes)
    near = far.transport()
    try:
        await near.open(within(LONG_S))
        for number in b"12":
            await near.write(b"A?\n", within(LONG_S))
            assert await far.hear(3) == b"A?\n"
            await far.say(b"\xff%c\n" % number)
            assert (await near.read(LINE, within(LONG_S))).data == b"\xff%c\n" % number
        assert termios.tcgetattr(far._slave)[0] == 0
    finally:
        await near.close()
        await far.stop()

"""What only a serial port does: exclusive, unplugged, plugged in elsewhere, hung in its driver."""

from __future__ import annotations

import asyncio
import os
import termios
import threading
import time
import tty

import pytest

from daq.clock import SystemClock
from daq.core.cut import ends_with
from daq.core.errors import LinkClosed, LinkTimeout
from daq.core.line_settings import line_settings
from daq.transports import serial as room
from daq.transports.serial import Serial

LINE = ends_with(b"\n")
LONG_S = 20.0
SHORT_S = 0.3
FAR_SIDES = ("serial",)


def within(seconds):
    return time.monotonic_ns() + int(seconds * 1e9)


async def test_one_program_alone(far, opened):
    second = far.transport()
    with pytest.raises(LinkClosed, match="in use by another program"):
        await second.open(within(LONG_S))
    await opened.close()
    await second.open(within(LONG_S))
    await second.close()


async def test_plugged_in_again_under_another_number(far, opened):
    was = far.link.readlink()
    keep = os.openpty()  # takes the number that became free
    await far.hang_up()
    with pytest.raises(LinkClosed, match=r"lost|closed by the other side"):
        await opened.read(LINE, within(LONG_S))
    more = os.openpty()
    await far.come_back()
    try:
        assert far.link.readlink() != was
        await opened.open(within(LONG_S))
        await far.say(b"back\n")
        assert (await opened.read(LINE, within(LONG_S))).data == b"back\n"
    finally:
        for fileno in (*keep, *more):
            os.close(fileno)


@pytest.mark.parametrize("settings", ["4800/7e1", "9600/8o2", "1200/5n1"])
async def test_a_pseudo_terminal_opens_again_and_again_whatever_frame_its_instrument_has(far, settings):
    line = Serial(str(far.link), line_settings(settings), SystemClock())
    for word in (b"once\n", b"twice\n", b"again\n"):
        await line.open(within(LONG_S))
        await far.say(word)
        assert (await line.read(LINE, within(LONG_S))).data == word
        await line.close()


async def test_unplugged_while_writing(far, opened):
    await far.hang_up()
    with pytest.raises(LinkClosed):
        await opened.write(b"A?\n", within(LONG_S))


async def test_settings_reach_the_port(far):
    near = far.transport("2400/8n2/xonxoff=1/rts=0/dtr=1")
    await near.open(within(LONG_S))
    flags = termios.tcgetattr(far._slave)
    assert flags[4] == flags[5] == termios.B2400
    assert flags[0] & termios.IXON
    assert flags[2] & termios.CSTOPB
    await near.close()


@pytest.mark.parametrize("path", ["/dev/null", "/etc/hostname", "/nowhere/ttyUSB0", "/"])
async def test_what_is_no_serial_port_is_closed_not_a_crash(path):
    near = Serial(path, line_settings("9600/8n1"), SystemClock())
    with pytest.raises(LinkClosed, match=path):
        await near.open(within(LONG_S))
    await near.close()


async def test_missing_adapter_says_what_to_look_at():
    near = Serial("/dev/serial/by-id/none", line_settings("9600/8n1"), SystemClock())
    with pytest.raises(LinkClosed, match="plugged in"):
        await near.open(within(LONG_S))


async def test_driver_that_hangs_costs_a_thread_not_the_loop(far, monkeypatch):
    hang = threading.Event()
    real, tried = room._open, []

    def slow(device, settings):
        tried.append(device)
        hang.wait(LONG_S * 3)
        return real(device, settings)

    monkeypatch.setattr(room, "_open", slow)
    near = far.transport()
    for _ in range(3):
        with pytest.raises(LinkTimeout, match="driver of the port hangs"):
            await near.open(within(SHORT_S))
    assert len(tried) == 1
    hang.set()
    await near.open(within(LONG_S))  # the port that nobody waited for any more was given back
    assert len(tried) == 2
    await near.close()


async def test_lines_that_the_kernel_held_back_came_as_early_as_those_before_them():
    """A terminal shows 4095 bytes; what waits behind them comes a moment after these were taken, and is no younger."""
    far, near = os.openpty()
    tty.setraw(near)
    line = Serial(os.ttyname(near), line_settings("9600/8n1"), SystemClock())
    await line.open(within(LONG_S))
    try:
        line.unread()  # it is silent now
        said = b"".join(b"%09d\n" % number for number in range(900))
        os.set_blocking(far, False)
        whole = os.write(far, said) // len(b"%09d\n" % 0)  # at once: nobody reads meanwhile
        assert whole > 500
        spoke = time.monotonic_ns()
        came = [await line.read(LINE, within(LONG_S)) for _ in range(whole)]
        assert b"".join(one.data for one in came) == said[: 10 * whole]
        assert all(one.not_before.mono_ns <= spoke for one in came)
        while line._link._silent.mono_ns < spoke:  # silence is believed again
            await asyncio.sleep(0)
            line.unread()
    finally:
        await line.close()
        os.close(near)
        os.close(far)

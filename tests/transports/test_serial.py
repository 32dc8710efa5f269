"""What only a serial port does: exclusive, unplugged, plugged in elsewhere, hung in its driver."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import termios
import threading
import time
import tty

import pytest

from daq.clock import SystemClock
from daq.core.cut import ends_with
from daq.core.errors import LinkClosed, LinkDamaged, LinkTimeout
from daq.core.line_settings import line_settings
from daq.transports import port_counters
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


FOUND = {
    "brkint, a break throws away what came before it": (0, termios.BRKINT),
    "ignpar, a damaged byte is left out": (0, termios.IGNPAR),
    "ignbrk": (0, termios.IGNBRK),
    "parmrk, a byte 255 comes twice": (0, termios.PARMRK),
    "istrip, the eighth bit is gone": (0, termios.ISTRIP),
    "icrnl": (0, termios.ICRNL),
    "inlcr": (0, termios.INLCR),
    "igncr": (0, termios.IGNCR),
    "ixon, two bytes are swallowed": (0, termios.IXON | termios.IXANY),
    "imaxbel, a full buffer rings at the instrument": (0, termios.IMAXBEL),
    "opost": (1, termios.OPOST | termios.ONLCR),
    "lines and echo": (3, termios.ICANON | termios.ECHO | termios.ECHOE | termios.ISIG | termios.IEXTEN),
}


@pytest.mark.parametrize("left", FOUND.values(), ids=FOUND)
async def test_nothing_that_another_program_left_set_reaches_the_bytes(far, left):
    where, bits = left
    attributes = termios.tcgetattr(far._slave)
    attributes[where] |= bits
    termios.tcsetattr(far._slave, termios.TCSANOW, attributes)
    line = far.transport()
    await line.open(within(LONG_S))
    every = bytes(byte for byte in range(256) if byte != ord("\n")) + b"\n"
    try:
        await far.say(every)
        assert (await line.read(LINE, within(LONG_S))).data == every
        await line.write(every, within(LONG_S))
        assert await far.hear(256) == every
        attributes = termios.tcgetattr(far._slave)
        assert attributes[0] == termios.INPCK
        assert attributes[where] & bits == 0
    finally:
        await line.close()


class Counting:
    """The driver of a port that counts, in place of that of a pseudo-terminal, which refuses (ENOTTY)."""

    order = ("frame", "overrun", "parity", "brk", "buf_overrun")

    def __init__(self, monkeypatch):
        self.counts = dict.fromkeys(self.order, 0)
        self.asked = 0
        self.gone = False
        monkeypatch.setattr(port_counters.fcntl, "ioctl", self.ioctl)

    def ioctl(self, fileno, request, argument=0, mutate=True):
        if request != 0x545D:
            return REAL_IOCTL(fileno, request, argument, mutate)
        self.asked += 1
        if self.gone:
            raise OSError(errno.EIO, "gone")
        struct.pack_into("=5I", argument, 6 * 4, *(self.counts[name] for name in self.order))
        return 0


REAL_IOCTL = port_counters.fcntl.ioctl


@pytest.fixture
def counting(monkeypatch):
    return Counting(monkeypatch)


@pytest.mark.parametrize(
    ("counter", "words"),
    [
        ("frame", "1 framing error (is the baud rate right, and the frame?)"),
        ("overrun", "1 overrun"),
        ("parity", "1 parity error (is the parity right"),
        ("brk", "1 break"),
        ("buf_overrun", "1 overflow of the port's buffer (this computer was held up"),
    ],
)
async def test_a_reply_while_which_the_port_counted_damage_is_none(counting, far, opened, counter, words):
    await opened.write(b"A?\n", within(LONG_S))
    counting.counts[counter] += 1
    await far.say(b"1.5\n2.5\n")
    await far_has_said(far, opened)
    with pytest.raises(LinkDamaged) as caught:
        await opened.read(LINE, within(LONG_S))
    assert words in str(caught.value)
    assert caught.value.partial == b"1.5\n2.5\n"  # which of the two it was, nobody knows
    assert caught.value.not_before.mono_ns < caught.value.first.mono_ns
    assert opened.unread() == b""
    await far.say(b"3.5\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"3.5\n"


async def far_has_said(far, opened):
    """Wait until all that was said is in the inbox."""
    async with asyncio.timeout(LONG_S):
        while len(opened._link._inbox) < 8:  # noqa: ASYNC110  # the inbox tells nobody
            await asyncio.sleep(0.001)


async def test_damage_in_what_is_thrown_away_is_thrown_away_with_it(counting, far, opened):
    counting.counts["frame"] += 3
    await far.say(b"\0")
    while not opened.unread():  # noqa: ASYNC110  # nobody tells when bytes have come but looking
        await asyncio.sleep(0.001)
    await far.say(b"1.5\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"1.5\n"


async def test_damage_that_a_port_tells_of_late_counts_against_the_next_reply(counting, far, opened):
    await far.say(b"1.5\n")
    await opened.read(LINE, within(LONG_S))
    counting.counts["parity"] += 2
    assert opened.unread() == b""
    await far.say(b"2.5\n")
    with pytest.raises(LinkDamaged, match="2 parity errors"):
        await opened.read(LINE, within(LONG_S))


async def test_a_reply_that_does_not_come_is_explained_by_what_the_port_counted(counting, far, opened):
    await opened.write(b"A?\n", within(LONG_S))
    counting.counts["frame"] += 12
    await far.say(b"\0\xf8")
    with pytest.raises(
        LinkTimeout, match=r"only .* came in time, and the port counted 12 framing errors \(is the baud"
    ):
        await opened.read(LINE, within(SHORT_S))


async def test_a_reply_with_a_checksum_proves_itself(counting, far):
    line = Serial(str(far.link), line_settings("9600/8n1"), SystemClock(), proven=True)
    await line.open(within(LONG_S))
    try:
        counting.counts["overrun"] += 1
        await far.say(b"1.5\n")
        assert (await line.read(LINE, within(LONG_S))).data == b"1.5\n"
        with pytest.raises(LinkTimeout, match="nothing came in time, and the port counted 1 overrun"):
            await line.read(LINE, within(SHORT_S))
    finally:
        await line.close()


async def test_counters_cost_one_call_a_reply_and_wrap_around(counting, far, opened):
    counting.counts["parity"] = (1 << 32) - 1
    await far.say(b"0.5\n")
    with pytest.raises(LinkDamaged, match="4294967295 parity errors"):
        await opened.read(LINE, within(LONG_S))
    before = counting.asked
    for _ in range(5):
        await far.say(b"1.5\n")
        await opened.read(LINE, within(LONG_S))
    assert counting.asked == before + 5
    counting.counts["parity"] = 1
    await far.say(b"2.5\n")
    with pytest.raises(LinkDamaged, match="2 parity errors"):
        await opened.read(LINE, within(LONG_S))


async def test_a_port_that_goes_while_it_is_asked_is_found_lost_by_the_next_read(counting, far, opened):
    await far.say(b"1.5\n")
    counting.gone = True
    assert (await opened.read(LINE, within(LONG_S))).data == b"1.5\n"
    await far.hang_up()
    with pytest.raises(LinkClosed):
        await opened.read(LINE, within(LONG_S))


async def test_a_port_that_does_not_count_is_asked_once(monkeypatch, far, near):
    asked = []

    def ioctl(fileno, request, argument=0, mutate=True):
        asked.append(request)
        return REAL_IOCTL(fileno, request, argument, mutate)

    monkeypatch.setattr(port_counters.fcntl, "ioctl", ioctl)
    await near.open(within(LONG_S))
    assert asked.count(0x545D) == 1
    await far.say(b"1.5\n")
    await near.read(LINE, within(LONG_S))
    assert asked.count(0x545D) == 1


CHANGES = {
    "whole lines, held back until they end": ("sane", b"1.5"),
    "another ending": ("inlcr", b"1.5\n"),
    "another rate": ("1200", b"\xf8\x00"),
}


@pytest.mark.parametrize(("words", "came"), CHANGES.values(), ids=CHANGES)
async def test_a_port_whose_settings_another_program_changed_is_told_and_set_right_by_opening_it(
    far, opened, words, came
):
    process = await asyncio.create_subprocess_exec("stty", "-F", os.ttyname(far._slave), words)
    assert await process.wait() == 0
    await far.say(came)
    with pytest.raises(LinkClosed, match="another program has changed the settings"):
        await opened.read(LINE, within(SHORT_S))
    with pytest.raises(LinkClosed, match="another program"):
        await opened.write(b"A?\n", within(LONG_S))
    await opened.open(within(LONG_S))
    await far.say(b"1.5\r\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"1.5\r\n"
    with pytest.raises(LinkTimeout, match="nothing came"):
        await opened.read(LINE, within(SHORT_S))


async def test_damage_on_a_port_whose_settings_were_changed_is_laid_to_that(counting, far, opened):
    attributes = termios.tcgetattr(far._slave)
    attributes[4] = attributes[5] = termios.B1200
    termios.tcsetattr(far._slave, termios.TCSANOW, attributes)
    counting.counts["frame"] += 1
    await far.say(b"\0\n")
    with pytest.raises(LinkClosed, match="another program has changed the settings"):
        await opened.read(LINE, within(LONG_S))


async def test_an_xoff_that_nobody_takes_back_holds_the_line_until_it_is_opened_anew(far):
    line = far.transport("9600/8n1/xonxoff=1")
    await line.open(within(LONG_S))
    try:
        await far.say(b"\x13A\n")
        assert (await line.read(LINE, within(LONG_S))).data == b"A\n"  # the XOFF is the port's
        with pytest.raises(LinkTimeout, match="took only"):
            await line.write(b"A?\n", within(SHORT_S))
        await line.open(within(LONG_S))
        await line.write(b"A?\n", within(LONG_S))
        assert await far.hear(3) == b"A?\n"
        await far.say(b"\x13B\x11\n")
        assert (await line.read(LINE, within(LONG_S))).data == b"B\n"
        await line.write(b"B?\n", within(LONG_S))
    finally:
        await line.close()


SAID = b"".join(b"%09d\n" % number for number in range(600))


def full(far):
    """Wait until the terminal holds as much for its reader as it can."""
    until = within(LONG_S)
    while struct.unpack("=i", REAL_IOCTL(far._slave, termios.FIONREAD, bytes(4)))[0] < 4095:
        assert time.monotonic_ns() < until


@pytest.mark.parametrize("spoilt", [False, True])
async def test_a_usb_adapter_that_was_full_gives_what_came_whole_and_is_opened_anew(
    counting, monkeypatch, far, near, spoilt
):
    """Such an adapter is asked for no more then, and its own buffer runs over: line 409 may end as another began."""
    monkeypatch.setattr(room, "_is_usb", lambda _: True)
    await near.open(within(LONG_S))
    far.say_now(SAID)  # at once: nobody reads meanwhile
    full(far)
    counting.counts["overrun"] += spoilt
    for number in range(0 if spoilt else 409):  # a terminal shows 4095 bytes: the last five are half a line
        assert (await near.read(LINE, within(LONG_S))).data == b"%09d\n" % number
    with pytest.raises(LinkClosed, match="stood still until the port was full"):
        await near.read(LINE, within(LONG_S))
    await near.open(within(LONG_S))
    assert near.unread() == b""
    await far.say(b"next\n")
    assert (await near.read(LINE, within(LONG_S))).data == b"next\n"


@pytest.mark.parametrize("usb", ["flow control", "no adapter"])
async def test_a_sender_that_is_held_back_loses_nothing(monkeypatch, far, usb):
    monkeypatch.setattr(room, "_is_usb", lambda _: usb == "flow control")
    line = far.transport("9600/8n1/xonxoff=1" if usb == "flow control" else "9600/8n1")
    await line.open(within(LONG_S))
    try:
        far.say_now(SAID)
        full(far)
        for number in range(600):
            assert (await line.read(LINE, within(LONG_S))).data == b"%09d\n" % number
    finally:
        await line.close()

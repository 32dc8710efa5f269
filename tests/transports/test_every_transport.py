"""What the line relies on, whatever the wire: one suite over every transport."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from daq.core.cut import ends_with, exactly
from daq.core.errors import LinkClosed, LinkDesync, LinkFlooded, LinkTimeout
from daq.transports import MAX_REPLY

LINE = ends_with(b"\n")
LONG_S = 20.0
SHORT_S = 0.2


def within(seconds):
    return time.monotonic_ns() + int(seconds * 1e9)


async def arrived(transport, size):
    """Wait until so many bytes are there unread; return them."""
    got = b""
    async with asyncio.timeout(LONG_S):
        while len(got) < size:
            got += transport.unread()
            await asyncio.sleep(0.001)
    return got


async def test_question_and_answer(far, opened):
    before = time.monotonic_ns()
    asked = await opened.write(b"READ?\n", within(LONG_S))
    assert await far.hear(6) == b"READ?\n"
    spoke = time.monotonic_ns()
    await far.say(b"+1.25E+00\n")
    got = await opened.read(LINE, within(LONG_S))
    assert got.data == b"+1.25E+00\n"
    assert before <= asked.mono_ns <= spoke
    assert got.not_before.mono_ns <= got.first.mono_ns
    assert spoke < got.first.mono_ns <= got.last.mono_ns <= time.monotonic_ns()


async def test_again_and_again(far, opened):
    for n in range(20):
        question, answer = b"Q%02d?\n" % n, b"A%02d\n" % n
        await opened.write(question, within(LONG_S))
        assert await far.hear(len(question)) == question
        await far.say(answer)
        assert (await opened.read(LINE, within(LONG_S))).data == answer
    assert opened.unread() == b""


async def test_before_open_everything_says_not_open(near):
    with pytest.raises(LinkClosed, match="not open"):
        await near.write(b"X\n", within(LONG_S))
    with pytest.raises(LinkClosed, match="not open"):
        await near.read(LINE, within(LONG_S))
    assert near.unread() == b""


async def test_absent_address_is_refused(far, near):
    await far.go()
    with pytest.raises(LinkClosed):
        await near.open(within(LONG_S))
    await far.come_back()
    await near.open(within(LONG_S))


async def test_closing_twice_and_before_opening(far, near):
    await near.close()
    await near.open(within(LONG_S))
    await far.accept()
    await near.close()
    await near.close()
    with pytest.raises(LinkClosed, match="not open"):
        await near.write(b"X\n", within(LONG_S))


async def test_opened_twice_in_a_row(far, near):
    for answer in (b"one\n", b"two\n"):
        await near.open(within(LONG_S))
        await far.accept()
        await near.write(b"N?\n", within(LONG_S))
        assert await far.hear(3) == b"N?\n"
        await far.say(answer)
        assert (await near.read(LINE, within(LONG_S))).data == answer
        await near.close()


async def test_loss_while_reading_is_told_at_once(far, opened):
    reading = asyncio.create_task(opened.read(LINE, within(LONG_S * 10)))
    await far.say(b"half")
    await far.hang_up()
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(reading, LONG_S)


async def test_after_loss_it_stays_lost_until_opened_again(far, opened):
    await far.hang_up()
    with pytest.raises(LinkClosed):
        await opened.read(LINE, within(LONG_S))
    with pytest.raises(LinkClosed):
        await opened.write(b"X\n", within(LONG_S))
    with pytest.raises(LinkClosed):
        await opened.read(LINE, within(LONG_S))
    await far.go()
    await far.come_back()
    await opened.open(within(LONG_S))
    await far.accept()
    await opened.write(b"Y?\n", within(LONG_S))
    assert await far.hear(3) == b"Y?\n"
    await far.say(b"y\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"y\n"


async def test_silence_is_a_timeout_and_no_loss(far, opened):
    deadline = within(SHORT_S)
    with pytest.raises(LinkTimeout) as caught:
        await opened.read(LINE, deadline)
    assert time.monotonic_ns() >= deadline
    assert caught.value.partial == b""
    await opened.write(b"A?\n", within(LONG_S))
    assert await far.hear(3) == b"A?\n"
    await far.say(b"a\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"a\n"


async def test_late_answer_never_passes_as_the_next(far, opened):
    await opened.write(b"A?\n", within(LONG_S))
    assert await far.hear(3) == b"A?\n"
    with pytest.raises(LinkTimeout):
        await opened.read(LINE, within(SHORT_S))
    await far.say(b"late\n")
    await getattr(sys.modules[__name__], f"_{far.late.replace(' ', '_')}")(far, opened)
    await opened.write(b"B?\n", within(LONG_S))
    assert await far.hear(3) == b"B?\n"
    await far.say(b"fresh\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"fresh\n"
    assert opened.unread() == b""


async def _unread(far, opened):
    assert await arrived(opened, len(b"late\n")) == b"late\n"


async def _told_by_the_next_write(far, opened):
    told = b""
    async with asyncio.timeout(LONG_S):
        while told != b"late\n":
            try:
                await opened.write(b"", within(LONG_S))
            except LinkDesync as error:
                told += error.partial


async def _cleared(far, opened):
    try:
        await opened.clear(within(LONG_S))
    except LinkClosed:
        await opened.open(within(LONG_S))
        await far.accept()


async def test_cancelled_read_leaves_the_link_usable(far, opened):
    await opened.write(b"A?\n", within(LONG_S))
    assert await far.hear(3) == b"A?\n"
    reading = asyncio.create_task(opened.read(LINE, within(LONG_S)))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await far.say(b"9\n")
    assert (await arrived(opened, 1)) in {b"9\n", b"9"}
    if far.late == "told by the next write":  # a stream beyond the library tells the rest so
        await asyncio.gather(opened.write(b"", within(LONG_S)), return_exceptions=True)
        opened.unread()
    await opened.write(b"B?\n", within(LONG_S))
    assert await far.hear(3) == b"B?\n"
    await far.say(b"b\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"b\n"


async def test_bytes_behind_the_cut_stay(far, opened):
    await opened.write(b"A?\n", within(LONG_S))
    await far.hear(3)
    await far.say(b"12345\n")
    assert (await opened.read(exactly(4), within(LONG_S))).data == b"1234"
    assert await arrived(opened, 2) == b"5\n"


async def test_endless_answer_is_a_flood_and_bounded(far, opened, monkeypatch):
    if far.late == "told by the next write" and hasattr(far, "link"):
        # pyvisa-py fetches serial bytes one by one, 25 µs each: the same limit, sooner.
        monkeypatch.setattr("daq.transports.inbox.MAX_REPLY", 1 << 16)
    await opened.write(b"A?\n", within(LONG_S))
    await far.hear(3)

    async def pour():
        while True:
            await far.say(b"9" * 4096)

    pouring = asyncio.create_task(pour())
    try:
        with pytest.raises(LinkFlooded) as caught:
            await opened.read(LINE, within(LONG_S * 3))
        assert 0 < len(caught.value.partial) < MAX_REPLY / 16
        assert set(caught.value.partial) == set(b"9")
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)


async def test_a_past_deadline_still_gives_what_is_there(far, opened):
    await opened.write(b"A?\n", within(LONG_S))
    await far.hear(3)
    await far.say(b"one\ntwo\n")
    assert (await opened.read(LINE, within(LONG_S))).data == b"one\n"
    assert (await opened.read(LINE, within(LONG_S))).data == b"two\n"


async def test_closing_ends_a_read(opened):
    reading = asyncio.create_task(opened.read(LINE, within(LONG_S * 10)))
    await asyncio.sleep(0.01)
    await opened.close()
    with pytest.raises(LinkClosed):
        await asyncio.wait_for(reading, LONG_S)


async def test_clear_only_where_promised(opened):
    if not opened.can_clear:
        with pytest.raises(LinkClosed, match="device clear"):
            await opened.clear(within(LONG_S))

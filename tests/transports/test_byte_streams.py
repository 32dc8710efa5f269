"""What holds beyond the shared suite where bytes come one by one: sockets and serial lines."""

from __future__ import annotations

import asyncio
import time

import pytest

from daq.core.cut import ends_with
from daq.core.errors import LinkClosed, LinkFlooded, LinkTimeout
from daq.transports import MAX_REPLY

LINE = ends_with(b"\n")
LONG_S = 20.0
SHORT_S = 0.3
FAR_SIDES = ("tcp", "serial")


def within(seconds):
    return time.monotonic_ns() + int(seconds * 1e9)


async def test_slow_drip_does_not_stretch_the_deadline(far, opened):
    async def drip():
        while True:
            await far.say(b".")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    try:
        with pytest.raises(LinkTimeout) as caught:
            await asyncio.wait_for(opened.read(LINE, within(SHORT_S)), LONG_S)
        assert set(caught.value.partial) == set(b".")
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_slow_drip_in_time_is_one_answer(far, opened):
    await opened.write(b"A?\n", within(LONG_S))
    await far.hear(3)
    spoke = time.monotonic_ns()
    await far.say(b"+")
    reading = asyncio.create_task(opened.read(LINE, within(LONG_S)))
    ended = spoke
    for byte in b"1.5\n":
        await asyncio.sleep(0.01)
        ended = time.monotonic_ns()
        await far.say(bytes([byte]))
    got = await reading
    assert got.data == b"+1.5\n"
    assert got.not_before.mono_ns <= spoke + 1_000_000_000
    assert spoke < got.first.mono_ns < ended < got.last.mono_ns


async def test_partial_answer_is_kept_for_the_record_and_gone(far, opened):
    await far.say(b"half")
    with pytest.raises(LinkTimeout) as caught:
        await opened.read(LINE, within(SHORT_S))
    assert caught.value.partial == b"half"
    assert opened.unread() == b""


async def test_unread_sees_what_the_loop_has_not_fetched_yet(far, opened):
    await far.say(b"late\n")
    got, until = b"", within(LONG_S)
    while not got and time.monotonic_ns() < until:  # no await: the loop has no chance to read
        got = opened.unread()
    assert got == b"late\n"


async def test_nobody_reading_is_bounded(far, opened):
    poured = 0

    async def pour():
        nonlocal poured
        while True:
            await far.say(b"9" * 4096)
            poured += 4096

    pouring = asyncio.create_task(pour())
    link = opened._link
    try:
        async with asyncio.timeout(LONG_S * 3):
            while len(link._inbox) < MAX_REPLY:  # noqa: ASYNC110  # the inbox tells nobody
                await asyncio.sleep(0.001)  # the inbox tells nobody
        await asyncio.sleep(0.05)
        assert len(link._inbox) <= MAX_REPLY + (1 << 16)
        with pytest.raises(LinkFlooded):
            await opened.read(LINE, within(LONG_S))
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)


async def test_write_to_a_stalled_peer_ends_at_its_deadline(opened):
    with pytest.raises(LinkTimeout, match="took only"):
        await opened.write(b"x" * (64 << 20), within(SHORT_S))
    with pytest.raises(LinkClosed):
        await opened.write(b"A?\n", within(LONG_S))


async def test_who_speaks_unasked_is_caught_in_a_narrow_true_interval(far, opened):
    widths = []
    for n in range(20):
        reading = asyncio.create_task(opened.read(LINE, within(LONG_S)))
        await asyncio.sleep(0.03)
        before = time.monotonic_ns()
        await far.say(b"T=%d\n" % n)
        got = await reading
        assert got.data == b"T=%d\n" % n
        assert got.not_before.mono_ns <= got.first.mono_ns
        assert before < got.first.mono_ns
        widths.append((got.first.mono_ns - got.not_before.mono_ns) / 1e9)
    assert min(widths) < 0.025, "nobody looked at the wire while it was silent"


async def test_not_before_holds_for_bytes_that_came_before_the_read(far, opened):
    assert opened.unread() == b""
    before = time.monotonic_ns()
    await far.say(b"one\ntwo\n")
    after = time.monotonic_ns()
    for _ in range(5):
        await asyncio.sleep(0.01)
    one = await opened.read(LINE, within(LONG_S))
    two = await opened.read(LINE, within(LONG_S))
    for got in (one, two):
        assert got.not_before.mono_ns <= after
        assert before < got.first.mono_ns


async def test_a_held_up_loop_never_moves_not_before_past_the_arrival(far, opened):
    for _ in range(10):
        reading = asyncio.create_task(opened.read(LINE, within(LONG_S)))
        await asyncio.sleep(0.015)
        asked_of_the_wire = time.monotonic_ns()
        far.say_now(b"x\n")
        spoken = time.monotonic_ns()
        while time.monotonic_ns() < spoken + 30_000_000:
            pass  # the loop stands still with the bytes in the kernel
        got = await reading
        assert got.not_before.mono_ns <= spoken
        assert got.first.mono_ns > asked_of_the_wire

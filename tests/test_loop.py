"""The loop's wake-up stamp, and what transports make of it."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from functools import partial

from daq.clock import SystemClock
from daq.core.cut import ends_with
from daq.loop import AT_ONCE, DOZE_S, new_event_loop
from daq.transports.tcp import Tcp

LINE = ends_with(b"\n")
HELD_NS = 30_000_000


def within(seconds):
    return time.monotonic_ns() + int(seconds * 1e9)


def hold_up():
    until = time.monotonic_ns() + HELD_NS
    while time.monotonic_ns() < until:
        pass


async def connected():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = Tcp("127.0.0.1", listener.getsockname()[1], SystemClock())
        await near.open(within(20))
        far, _ = listener.accept()
    return near, far


def run(main):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


def test_neighbours_callbacks_do_not_delay_the_first_stamp():
    async def main():
        links = [await connected() for _ in range(2)]
        for near, _ in links:  # whichever callback runs first holds up the other
            near._link._wake_up = _after(near._link._wake_up, hold_up)
        reads = [asyncio.create_task(near.read(LINE, within(20))) for near, _ in links]
        for near, _ in links:
            await near.write(b"?", within(20))
        await asyncio.sleep(0)
        spoke = time.monotonic_ns()
        for _, far in links:
            far.sendall(b"x\n")
        got = await asyncio.gather(*reads)
        assert all(spoke < one.first.mono_ns <= one.last.mono_ns for one in got)
        firsts, lasts = sorted(one.first.mono_ns for one in got), sorted(one.last.mono_ns for one in got)
        assert lasts[1] - lasts[0] >= HELD_NS
        assert firsts[0] == firsts[1] < lasts[0]
        for near, far in links:
            await near.close()
            far.close()

    run(main)


def _after(call, then):
    def both():
        call()
        then()

    return both


def test_bytes_that_came_after_the_wake_up_are_not_stamped_with_it():
    async def main():
        near, far = await connected()
        link = near._link
        far.sendall(b"early")
        reported = SystemClock().now()
        hold_up()
        taken = near.unread()  # another callback of the same turn fetches what was reported
        assert taken == b"early"
        spoke = time.monotonic_ns()
        far.sendall(b"x\n")
        hold_up()
        link._receive(reported)  # the reader callback of that turn, with the old report
        got = await near.read(LINE, within(20))
        assert got.data == b"x\n"
        assert got.first.mono_ns > spoke
        await near.close()
        far.close()

    run(main)


def test_a_crowd_goes_on_a_few_a_turn_in_the_order_of_asking():
    async def main():
        loop, went = asyncio.get_running_loop(), []
        for number in range(3 * AT_ONCE):
            loop.admit(lambda number=number: went.append(number))
        seen = [0, len(went)]
        for _ in range(4):  # a turn each: the kernel is asked between
            await asyncio.sleep(0)
            seen.append(len(went))
        assert went == list(range(3 * AT_ONCE))
        assert all(after - before <= AT_ONCE for before, after in itertools.pairwise(seen))

    run(main)


def test_a_crowd_goes_on_where_nothing_else_happens():
    async def main():
        loop, last = asyncio.get_running_loop(), asyncio.Event()
        for _ in range(5 * AT_ONCE):
            loop.admit(lambda: None)
        loop.admit(last.set)
        async with asyncio.timeout(20):
            await last.wait()

    run(main)


def test_an_answer_is_taken_in_the_turn_in_which_it_came():
    async def main():
        loop = asyncio.get_running_loop()
        near, far = await connected()
        asked, select, receive = [], loop._selector.select, near._link._receive
        came = []

        def counted(timeout=None):
            asked.append(timeout)
            return select(timeout)

        def received(*of):
            came.append(len(asked))
            return receive(*of)

        async def taken():
            await near.write(b"?", within(20))
            await near.read(LINE, within(20))
            return len(asked)

        near._link._receive, loop._selector.select = received, counted
        taking = asyncio.create_task(taken())
        await asyncio.sleep(0)  # it waits
        far.sendall(b"x\n")
        assert await taking == came[-1]
        await near.close()
        far.close()

    run(main)


def test_alarms_ring_in_their_order_and_never_early():
    async def main():
        loop, rang, over = asyncio.get_running_loop(), [], asyncio.Event()
        now = time.monotonic_ns()
        instants = [now + 1_000_000 * number for number in (7, 3, 5, 3)] + [now]
        for instant in instants:
            loop.ring_at(instant, lambda instant=instant: rang.append((instant, time.monotonic_ns())))
        loop.ring_at(max(instants), over.set)
        async with asyncio.timeout(20):
            await over.wait()
        assert [instant for instant, _ in rang] == sorted(instants)
        assert all(instant <= rung for instant, rung in rang)

    run(main)


def test_an_alarm_does_not_wait_for_asyncios_own_timers_nor_they_for_it():
    async def main():
        loop, first = asyncio.get_running_loop(), asyncio.Event()
        loop.ring_at(within(3600), lambda: None)
        loop.call_later(0.01, first.set)
        async with asyncio.timeout(20):
            await first.wait()
            second = asyncio.Event()
            later = loop.call_later(3600, lambda: None)
            loop.ring_at(within(0.01), second.set)
            await second.wait()
            later.cancel()

    run(main)


def test_what_one_wake_up_raises_is_complained_of_and_keeps_nobody_from_theirs():
    async def main():
        loop, complaints, rung, read = asyncio.get_running_loop(), [], asyncio.Event(), asyncio.Event()
        loop.set_exception_handler(lambda _, context: complaints.append(context["exception"]))
        pairs = [socket.socketpair() for _ in range(2)]
        for (near, far), then in zip(pairs, (_failing, read.set), strict=True):
            loop.watch(near.fileno(), _after(partial(near.recv, 1), then))
            far.send(b"x")
        loop.ring_at(time.monotonic_ns(), _failing)
        loop.ring_at(time.monotonic_ns(), rung.set)
        async with asyncio.timeout(20):
            await rung.wait()
            await read.wait()
        for near, far in pairs:
            loop.unwatch(near.fileno())
            near.close()
            far.close()
        assert [type(error) for error in complaints] == [ZeroDivisionError] * 2

    run(main)


def _failing():
    raise ZeroDivisionError


def test_a_descriptor_that_is_watched_no_longer_calls_nobody():
    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        with near, far:
            called, first, over = [], asyncio.Event(), asyncio.Event()
            loop.watch(near.fileno(), _after(partial(called.append, 1), first.set))
            far.send(b"x")
            async with asyncio.timeout(20):
                await first.wait()
                loop.unwatch(near.fileno())
                count = len(called)
                loop.ring_at(within(0.02), over.set)
                await over.wait()
            assert len(called) == count

    run(main)


def test_a_long_wait_is_ended_by_the_alarm_it_was_for():
    async def main():
        loop, rang = asyncio.get_running_loop(), asyncio.Event()
        until = within(0.05)  # longer than what is waited in one go
        loop.ring_at(until, rang.set)
        async with asyncio.timeout(20):
            await rang.wait()
        assert time.monotonic_ns() >= until

    run(main)


def test_an_alarm_that_is_due_goes_before_the_next_that_is_to_be_read():
    async def main():
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(3)]
        order, over = [], asyncio.Event()

        def read(near):
            order.append("read")
            near.recv(1)
            loop.ring_at(time.monotonic_ns(), ring)

        def ring():
            order.append("alarm")
            if order.count("alarm") == len(pairs):
                over.set()

        for near, far in pairs:
            loop.watch(near.fileno(), partial(read, near))
            far.sendall(b"x")
        await asyncio.wait_for(over.wait(), 20)
        for near, far in pairs:
            loop.unwatch(near.fileno())
            near.close()
            far.close()
        return order

    assert run(main) == ["read", "alarm"] * 3


def test_before_a_near_alarm_nothing_is_read_and_behind_it_all_that_came():
    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        order, over = [], asyncio.Event()

        def read():
            order.append(("read", near.recv(9), loop.woke.mono_ns))
            over.set()

        def near_alarm():
            due_ns = time.monotonic_ns() + int(DOZE_S * 1e9) // 2
            loop.ring_at(due_ns, lambda: order.append(("alarm", due_ns)))
            far.sendall(b"x")

        loop.watch(near.fileno(), read)
        loop.ring_at(time.monotonic_ns(), near_alarm)
        await asyncio.wait_for(over.wait(), 20)
        loop.unwatch(near.fileno())
        near.close()
        far.close()
        return order

    for _ in range(20):
        (first, due_ns), (then, data, woke_ns) = run(main)
        assert (first, then, data) == ("alarm", "read", b"x")
        assert woke_ns >= due_ns, "the stamp says when it was looked, not when it came"

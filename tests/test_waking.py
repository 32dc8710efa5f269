"""What the kernel is asked for, as the kernel says it was taken."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import threading
from functools import partial

import pytest

from daq import waking
from daq.loop import new_event_loop

PR_GET_TIMERSLACK = 30  # <linux/prctl.h>
SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
LIBC = ctypes.CDLL(None, use_errno=True)


def in_a_thread(ask):
    """Call it in a thread that nobody has asked anything for yet, and give what it returned."""
    found = []
    thread = threading.Thread(target=lambda: found.append(ask()))
    thread.start()
    thread.join()
    return found[0]


def attributes():
    """Give the calling thread's struct sched_attr."""
    room = ctypes.create_string_buffer(waking.SCHED_ATTR.size)
    refused = LIBC.syscall(SCHED_GETATTR[os.uname().machine], 0, room, len(room), 0)
    assert not refused, os.strerror(ctypes.get_errno())
    return waking.SCHED_ATTR.unpack(room.raw)


def in_a_loop(ask):
    """Run a loop as the station does, and call it in there."""

    async def look():
        return ask()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(look())


def slack_ns():
    """Give how far the kernel may hold the calling thread's timers back."""
    return LIBC.prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)


def policy():
    """Give what the calling thread runs as."""
    return os.sched_getscheduler(0)


def first():
    """Go first, and give what this thread runs as, and one that it begins."""
    waking.go_first()
    return policy(), in_a_thread(policy)


def may_go_first():
    """Say whether this computer has two cores for us, and lets us."""

    def tried():
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        return policy() == os.SCHED_RR

    return len(os.sched_getaffinity(0)) > 1 and in_a_thread(tried)


def test_no_timer_of_the_loops_thread_is_held_back():
    assert in_a_thread(partial(in_a_loop, slack_ns)) == 1


@pytest.mark.skipif(os.uname().machine not in SCHED_GETATTR, reason="the number of sched_getattr is not known here")
def test_the_loops_thread_runs_in_short_turns_and_stays_as_nice_as_it_was():
    *_, before_ns, _, _ = in_a_thread(attributes)
    if not before_ns:
        pytest.skip("this kernel lets nobody say how long his turns are (before 6.12)")
    _, policy, _, nice, _, slice_ns, _, _ = in_a_thread(partial(in_a_loop, attributes))
    assert (policy, nice, slice_ns) == (os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0), waking.SLICE_NS)


def test_a_thread_that_was_made_nice_stays_so():
    def niced():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 7)
        return in_a_loop(partial(os.getpriority, os.PRIO_PROCESS, 0))

    assert in_a_thread(niced) == 7


def test_a_thread_of_another_policy_keeps_it():
    def batch():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return in_a_loop(policy)

    assert in_a_thread(batch) == os.SCHED_BATCH


def test_what_the_kernel_does_not_grant_is_gone_without(monkeypatch):
    monkeypatch.setattr(waking, "SCHED_SETATTR", dict.fromkeys(waking.SCHED_SETATTR, 1 << 20))  # no such call
    assert in_a_thread(partial(in_a_loop, slack_ns)) == 1


@pytest.mark.skipif(not may_go_first(), reason="nobody may go first here")
def test_one_thread_goes_first_and_those_that_it_begins_are_ordinary():
    ours, begun = in_a_thread(first)
    assert (ours, begun) == (os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.SCHED_OTHER)


def test_nobody_goes_first_where_there_is_one_core(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert in_a_thread(first) == (os.SCHED_OTHER, os.SCHED_OTHER)


def test_who_was_given_another_policy_does_not_change_it_to_go_first():
    def batch():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return first()

    assert in_a_thread(batch) == (os.SCHED_BATCH, os.SCHED_BATCH)


def test_who_may_not_go_first_goes_on(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    assert in_a_thread(first) == (os.SCHED_OTHER, os.SCHED_OTHER)

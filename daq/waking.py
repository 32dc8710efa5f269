"""Has the kernel wake the loop's thread when it was told to, whatever else the computer is doing.

What cannot be had - another system, an older kernel, a sandbox that forbids it - is gone without: slots begin later.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys

PR_SET_TIMERSLACK = 29
"""<linux/prctl.h>: how far the kernel may hold the timers of a thread back, 50 us unless told; threads inherit it."""

SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call, by machine: Python has no name for it."""

SCHED_ATTR = struct.Struct("=IIQiIQQQ")
"""<linux/sched/types.h>: size, policy, flags, nice, priority, runtime, deadline, period."""

SLICE_NS = 100_000
"""The least that Linux grants."""


def wake_sharply() -> None:
    """Have the kernel wake this thread at its instant, and soon where others are running; anybody may ask for that.

    Linux 6.12 and later let a thread say how long it wants to run at a time (runtime, documented in
    Documentation/scheduler/sched-eevdf.rst); one that asks for little waits less for a core that others have. Nine
    slots in ten begin within 160 us then instead of 260, with a broker and a disk busy on the same two cores.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
        number = SCHED_SETATTR.get(os.uname().machine) if sys.maxsize > 1 << 32 else None  # as this program is built
        if number is not None and os.sched_getscheduler(0) == os.SCHED_OTHER:  # who was given another keeps it
            nice = os.getpriority(os.PRIO_PROCESS, 0)
            wanted = SCHED_ATTR.pack(SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
            libc.syscall(number, 0, wanted, 0)


def go_first() -> None:
    """Have this thread run before ordinary programs, if we may, and if that leaves them another core.

    The lowest of the real-time priorities (sched(7)): behind the kernel's own threads, before whatever people run on
    the same computer. The threads and programs that it begins are ordinary again. Root may, and who was given
    RLIMIT_RTPRIO, as the unit is. The kernel leaves the others a twentieth even of this core.
    """
    with contextlib.suppress(AttributeError, OSError):
        if len(os.sched_getaffinity(0)) > 1 and os.sched_getscheduler(0) == os.SCHED_OTHER:
            lowest = os.sched_param(os.sched_get_priority_min(os.SCHED_RR))
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, lowest)

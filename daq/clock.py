"""The two clocks of the station, what is known of them, and the only place where anybody waits for time.

Monotonic time schedules and measures; real time names instants. Both are read back to back into a Stamp. Tests hand a
ManualClock (tests/manual_clock.py) to the same code. What is known of the clock is found out beside the hot path, by
Discipline, and kept; reading it costs nothing and never waits.

    clock.wait(until, bell) -> line, station       clock.now() -> transports, line
    clock.anchor() -> core.schedule.ClockWatch     discipline.state -> every observation
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol, TypeGuard

from daq.core.observation import NS, ClockState, Stamp

PAIR_NS = 5_000
"""Two clocks read further apart than this were parted by the scheduler, and are read again (undisturbed: ~0.2 us)."""

PAIR_TRIES = 5

TRACKING_EVERY_NS = 16 * NS
TRACKING_TIMEOUT_S = 2.0

UNKNOWN = ClockState("none", None)


class Clock(Protocol):
    """What the station needs of time."""

    def now(self) -> Stamp:
        """Read both clocks, as close together as can be."""
        ...

    def monotonic_ns(self) -> int:
        """Read the monotonic clock alone, where nothing is stamped."""
        ...

    def anchor(self) -> Stamp:
        """Read both clocks in the tightest of several brackets, for the relation between them."""
        ...

    async def wait(self, until_mono_ns: int, bell: Bell | None = None) -> bool:
        """Wait until the monotonic instant or the bell, whichever is first; True when it was the bell."""
        ...


class Rings(Protocol):
    """An event loop with alarms of its own, that nobody cancels (the station's; any other loop will do)."""

    def ring_at(self, mono_ns: int, callback: Callable[[], None]) -> None:
        """Call it at the monotonic instant, never earlier."""
        ...


class Bell(asyncio.Event):
    """An event that also ends waits for an instant."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers: set[asyncio.Future[None]] = set()
        self.rung = False
        """As `is_set` says it; looked at on the way to every slot."""

    def set(self) -> None:
        """Ring: whoever waits goes on, and nobody waits from now on."""
        self.rung = True
        super().set()
        for sleeper in self.sleepers:
            _wake(sleeper)


class SystemClock:
    """CLOCK_MONOTONIC and CLOCK_REALTIME of this machine."""

    def now(self) -> Stamp:
        """Read monotonic, real, monotonic; again, a few times at most, where the three are not close together.

        The stamp is the last triple's first two. An earlier try that was disturbed only makes it later, which a stamp
        may be: bounds widen and still hold.
        """
        mono_ns, utc_ns = time.monotonic_ns(), time.time_ns()
        return Stamp(mono_ns, utc_ns) if time.monotonic_ns() - mono_ns < PAIR_NS else self._again()

    def _again(self) -> Stamp:
        for _ in range(PAIR_TRIES - 2):
            mono_ns, utc_ns = time.monotonic_ns(), time.time_ns()
            if time.monotonic_ns() - mono_ns < PAIR_NS:
                return Stamp(mono_ns, utc_ns)
        return Stamp(time.monotonic_ns(), time.time_ns())

    monotonic_ns = staticmethod(time.monotonic_ns)

    def anchor(self) -> Stamp:
        """Return the middle of the tightest of PAIR_TRIES brackets; it is some hundred nanoseconds wide."""
        brackets = ((time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(PAIR_TRIES))
        mono_ns, utc_ns, again_ns = min(brackets, key=lambda bracket: bracket[2] - bracket[0])
        return Stamp((mono_ns + again_ns) // 2, utc_ns)

    async def wait(self, until_mono_ns: int, bell: Bell | None = None) -> bool:
        """Wait on the loop's own timer; a loop may fire a hair early, so the remainder is waited again.

        Beneath it lie one future and one timer. asyncio.timeout would cancel the task and raise, for every slot.
        """
        loop = asyncio.get_running_loop()
        while bell is None or not bell.rung:
            if time.monotonic_ns() >= until_mono_ns:
                return False
            sleeper: asyncio.Future[None] = asyncio.Future(loop=loop)
            timer = _alarm(loop, until_mono_ns, sleeper)
            if bell is not None:
                bell.sleepers.add(sleeper)
            try:
                await sleeper
            finally:
                if timer is not None:
                    timer.cancel()
                if bell is not None:
                    bell.sleepers.discard(sleeper)
        return True


def _alarm(loop: asyncio.AbstractEventLoop, at_ns: int, sleeper: asyncio.Future[None]) -> asyncio.TimerHandle | None:
    """Have somebody woken at a monotonic instant; return what is to be cancelled should it not sleep so long."""
    if not rings(loop):
        return loop.call_at(at_ns / NS, _wake, sleeper)
    loop.ring_at(at_ns, partial(_wake, sleeper))
    return None


def rings(loop: object) -> TypeGuard[Rings]:
    """Say whether a loop has alarms; isinstance would look through the whole Protocol, at every slot."""
    return hasattr(loop, "ring_at")


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


# ---------------------------------------------------------------- what is known of the clock


class Discipline:
    """What is known of the station's clock: from chronyd where one answers, else from the kernel.

    `state` may be read at any time and is at most about 16 s old; chrony's own bound grows by its skew meanwhile, some
    microseconds. Run `follow` in a task of its own.
    """

    def __init__(self) -> None:
        self.state = kernel_state()

    async def follow(self, clock: Clock) -> None:
        """Keep `state` fresh, for ever."""
        while True:
            await self.refresh()
            await clock.wait(clock.now().mono_ns + TRACKING_EVERY_NS)

    async def refresh(self) -> None:
        """Find out once, now; after a step of the clock, for one."""
        self.state = await chrony_state() or kernel_state()


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2); eleven ints behind `tai` are the kernel's reserve."""

    _fields_: ClassVar = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("counters", ctypes.c_long * 4),
        ("tai", ctypes.c_int),
        ("reserve", ctypes.c_int * 11),
    ]


STA_UNSYNC = 0x40  # <linux/timex.h>: nobody disciplines the clock
TIME_ERROR = 5  # return value of adjtimex(2): clock not synchronised


def kernel_state() -> ClockState:
    """Ask the kernel how good its clock is; never waits, needs no privilege.

    Where the call is forbidden (systemd's ProtectClock=yes) or missing, nothing is known.
    """
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return UNKNOWN
    timex = _Timex()
    returned = adjtimex(ctypes.byref(timex))
    return judge_timex(returned, timex.status, timex.maxerror)


def judge_timex(returned: int, status: int, maxerror_us: int) -> ClockState:
    """Judge what adjtimex gave.

    Args:
        returned: its return value; -1 where it was refused, and then the structure is all zeros, which reads as a
            perfect clock.
        status: flags STA_*.
        maxerror_us: the kernel's bound. Zero under systemd-timesyncd and phc2sys, which do not maintain it: unknown.
    """
    if returned < 0 or returned == TIME_ERROR or status & STA_UNSYNC:
        return UNKNOWN
    return ClockState("kernel", maxerror_us / 1_000_000 if maxerror_us > 0 else None)


async def chrony_state() -> ClockState | None:
    """Ask chronyd through its own tool, which knows the protocol; None where there is none that answers in 2 s."""
    try:
        chronyc = await asyncio.create_subprocess_exec(
            *("chronyc", "-n", "-c", "tracking"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(TRACKING_TIMEOUT_S):
            printed, _ = await chronyc.communicate()
    except TimeoutError:
        return None
    finally:
        if chronyc.returncode is None:
            with suppress(ProcessLookupError):  # it may end by itself just now
                chronyc.kill()
            await chronyc.wait()
    return parse_tracking(printed.decode("ascii", "replace")) if chronyc.returncode == 0 else None


def parse_tracking(line: str) -> ClockState | None:
    """Read one line of `chronyc -c tracking`; None where it is not one.

    The bound is |system time offset| + root delay / 2 + root dispersion, as chrony's documentation gives it; unknown
    while chronyd is not synchronised. Source: chronyc(1), "tracking"; fields in the order the report prints them.
    """
    fields = line.strip().split(",")
    if len(fields) != 14:
        return None
    try:
        offset_s, delay_s, dispersion_s = float(fields[4]), float(fields[10]), float(fields[11])
    except ValueError:
        return None
    err_s = None if fields[13] == "Not synchronised" else abs(offset_s) + delay_s / 2 + dispersion_s
    return ClockState("chrony", err_s)


def boot_id() -> str:
    """Return the first six hex digits of this boot's id; monotonic times of one boot id may be compared."""
    return boot_uuid()[:6]


def boot_uuid() -> str:
    """Return what names this boot of the machine.

    A service manager that hides the kernel's own word (systemd's ProcSubset=pid) hands it over in BENCH_DAQ_BOOT.
    """
    told = os.environ.get("BENCH_DAQ_BOOT")
    return str(uuid.UUID(told or Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()))

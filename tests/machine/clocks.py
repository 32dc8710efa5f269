"""The wall clock is set, steered, or has gone on while the computer slept: one event each, and each time is true."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from itertools import pairwise

from tests.machine.account import utc_ns
from tests.machine.scene import Scene
from tests.machine.shim import NS, Shim
from tests.system.house import Heard

NEAR_NS = 2 * NS
"""Within this of a step slots may lie by the clock before it: it is looked for once a second."""

LATE_NS = 60 * NS
"""Far more than a busy machine is late by, far less than the large steps."""

TRUE_NS = 3_000_000
"""What two readings of the clocks, in two processes, may differ by."""


class Timeline:
    """What the daemon's clock should have said at each monotonic instant."""

    def __init__(self, shim: Shim) -> None:
        self.shim = shim
        self.base_ns = time.time_ns() - time.monotonic_ns()
        self.steps: list[tuple[int, int]] = [(0, 0)]

    def step(self, seconds: float) -> None:
        self.shim.step(seconds)
        self.steps.append((time.monotonic_ns(), self.shim.offset_ns))

    def near(self, mono_ns: int) -> bool:
        return any(abs(mono_ns - at_ns) < NEAR_NS for at_ns, _ in self.steps)

    def utc_ns(self, mono_ns: int) -> int:
        offset_ns = [offset_ns for at_ns, offset_ns in self.steps if at_ns <= mono_ns][-1]
        return mono_ns + self.base_ns + offset_ns


def _times_are_true(timeline: Timeline, heard: list[Heard]) -> None:
    """Each `t` is the clock's at its `mono`, and its slot is no further away than a poll may be late."""
    for one in heard:
        told = one.json
        mono_ns = round(told["mono"] * NS)
        if timeline.near(mono_ns):
            continue
        off_ns = utc_ns(told["t"]) - timeline.utc_ns(mono_ns)
        assert abs(off_ns) <= TRUE_NS, f"{told['id']}: t is {off_ns} ns beside the clock"
        ended_ns = utc_ns(told["t"]) + round(told["t_err"] * NS)  # its last byte came then, or a little before
        late_ns = ended_ns - utc_ns(told["due"])
        assert -TRUE_NS <= late_ns < LATE_NS, f"{told['id']}: asked {late_ns} ns behind its slot"


def stepped(*sizes_s: float) -> Callable[[Scene], None]:
    """Make the scenario of these steps, one behind the other."""

    def clock_set(scene: Scene) -> None:
        scene.times = len(sizes_s)
        ear = scene.house.ear
        timeline = Timeline(Shim(scene.house.folder))
        begin = ear.mark()
        for size_s in sizes_s:
            mark = ear.mark()
            timeline.step(size_s)
            with scene.timed():
                (event,) = ear.until(lambda mark=mark: ear.events("clock_step", mark), "the event of the step")
            assert abs(event["seconds"] - size_s) < 0.01
            mark = ear.mark()
            for name in scene.names():
                ear.next(name, mark, count=12, status="ok")
            assert not ear.events("clock_step", mark)
            assert not any(heard.is_late for heard in ear.obs(since=mark)), "live observations called late"
        _times_are_true(timeline, ear.obs(since=begin, status="ok"))
        for name in scene.names():
            seqs = [heard.json["seq"] for heard in ear.obs(name)]
            assert all(later == earlier + 1 for earlier, later in pairwise(seqs)), f"{name}: {seqs}"

    return clock_set


def clock_slewed(scene: Scene) -> None:
    """Three hundred millionths, either way: no step, no event, no slot lost."""
    shim, ear = Shim(scene.house.folder), scene.house.ear
    scene.times = 2
    for ppm in (300, -300):
        mark = ear.mark()
        shim.slew(ppm)
        for name in scene.names():
            ear.next(name, mark, count=12, status="ok")
        assert not ear.events("clock_step", mark)
    shim.slew(0)


def computer_slept(scene: Scene) -> None:
    """Nothing runs for a moment of the monotonic clock; behind it an hour has passed on the wall."""
    ear, daemon = scene.house.ear, scene.house.daemon
    shim = Shim(scene.house.folder)
    mark = ear.mark()
    daemon.send(signal.SIGSTOP)
    shim.step(3600)
    daemon.send(signal.SIGCONT)
    with scene.timed():
        ear.until(lambda: ear.events("clock_step", mark), "the event of the step")
        mark = ear.mark()
        for name in scene.names():
            ear.next(name, mark, count=3, status="ok")
    assert not ear.events("clock_step", mark)

"""The short form of what happens to a running process; `make faults ARGS=--machine` has all of it."""

from __future__ import annotations

import sys

import pytest

from tests.machine import clocks, disks, stops
from tests.machine.scene import play
from tests.machine.shim import COMPILER

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.timeout(400),  # many starts of processes: seconds on an idle machine, minutes on a crowded one
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@pytest.mark.skipif(COMPILER is None, reason="no C compiler to build another clock and a slow disk with")
def test_a_clock_that_is_set_and_a_disk_that_hangs_cost_nothing():
    row = play(clocks.stepped(3600, -0.5), disks.disk_stalled(2), stops.stopped_while_the_disk_hangs, seed=1, shim=True)
    assert row.kept, row

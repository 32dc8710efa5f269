"""The short form of what runs out; `make faults ARGS=--machine` has all of it."""

from __future__ import annotations

import sys

import pytest

from tests.machine import limits, places
from tests.machine.scene import play

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.timeout(400),  # many starts of processes: seconds on an idle machine, minutes on a crowded one
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def test_what_runs_out_comes_back_and_a_second_daemon_is_sent_away():
    row = play(limits.descriptors_exhausted, places.folder_in_use)
    assert row.kept, row

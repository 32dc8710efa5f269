"""The short form of the kills; `make faults ARGS=--machine` kills two hundred times."""

from __future__ import annotations

import sys

import pytest

from tests.machine.campaign import MANY
from tests.machine.kills import kills
from tests.machine.scene import play

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.timeout(400),  # many starts of processes: seconds on an idle machine, minutes on a crowded one
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def test_a_kill_at_any_instant_loses_nothing_that_was_committed_and_every_slot_is_spoken_for():
    row = play(kills(5), only=MANY)
    assert row.kept, row

"""The short form of the kills; `make faults ARGS=--machine` kills two hundred times."""

from __future__ import annotations

import pytest

from tests.machine.kills import kills
from tests.machine.scene import play

pytestmark = pytest.mark.mosquitto


def test_a_kill_at_any_instant_loses_nothing_that_was_committed_and_every_slot_is_spoken_for():
    row = play(kills(8), seed=1, only=("dmm1", "cal1", "balance1", "pressure1", "meter1", "meter3"))
    assert row.kept, row

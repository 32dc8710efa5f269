"""A clock that is set is one event; nothing is lost by it, and no time is wrong."""

from __future__ import annotations

import pytest

from tests.machine import clocks
from tests.machine.scene import play

pytestmark = pytest.mark.mosquitto


@pytest.mark.parametrize(
    "scenario", [clocks.stepped(3600, -3600, 0.5, -0.5), clocks.clock_slewed, clocks.computer_slept]
)
def test_the_clock_is_followed_and_told(scenario):
    row = play(scenario, shim=True)
    assert row.kept, row

"""It ends in time, and nothing is lost by it."""

from __future__ import annotations

import pytest

from tests.machine import stops
from tests.machine.scene import play

pytestmark = pytest.mark.mosquitto


@pytest.mark.parametrize(
    "scenario",
    [
        stops.stopped_while_the_broker_is_away,
        stops.stopped_while_the_broker_is_frozen,
        stops.stopped_while_an_instrument_hangs,
    ],
)
def test_it_ends_within_its_limit(scenario):
    row = play(scenario)
    assert row.kept, row


def test_it_ends_within_its_limit_under_load():
    row = play(stops.stopped_under_load, change=stops.under_load)
    assert row.kept, row


def test_it_ends_within_its_limit_though_the_disk_hangs():
    row = play(stops.stopped_while_the_disk_hangs, shim=True)
    assert row.kept, row

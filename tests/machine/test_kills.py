"""The short form of the kills; `make faults ARGS=--machine` kills two hundred times."""

from __future__ import annotations

import sys

import pytest

from tests.machine import interrupted, stops
from tests.machine.campaign import MANY
from tests.machine.kills import kills
from tests.machine.scene import play

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.timeout(400),  # many starts of processes: seconds on an idle machine, minutes on a crowded one
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def test_a_kill_in_an_outage_in_a_backlog_and_in_a_reload_loses_nothing():
    row = play(
        interrupted.killed_while_the_broker_is_away(1, persistent=True),
        interrupted.killed_while_a_backlog_is_delivered(1),
        interrupted.killed_in_a_reload(2),
        change=stops.under_load,
    )
    assert row.kept, row


def test_a_kill_while_the_journal_is_trimmed_leaves_no_gap_untold():
    row = play(interrupted.killed_while_it_is_trimmed(1), change=interrupted.small_journal_under_load)
    assert row.kept, row


def test_a_kill_at_any_instant_loses_nothing_that_was_committed_and_every_slot_is_spoken_for():
    row = play(kills(5), only=MANY)
    assert row.kept, row

"""The short form of what the disk does; `make faults ARGS=--machine` has all of it."""

from __future__ import annotations

import sys

import pytest

from tests.machine import disks
from tests.machine.scene import play

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.timeout(400),  # many starts of processes: seconds on an idle machine, minutes on a crowded one
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@pytest.mark.skipif(not disks.HAS_NAMESPACES, reason="this user may not mount a file system of its own")
def test_a_full_disk_holds_nobody_up_and_loses_nothing_in_silence():
    row = play(disks.disk_full_and_back, place=disks.small_disk)
    assert row.kept, row


def test_a_damaged_journal_begins_anew_and_says_so():
    row = play(disks.journal_damaged("in the middle", "at the tail"))
    assert row.kept, row

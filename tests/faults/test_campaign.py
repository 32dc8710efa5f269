"""The short form of the campaign: real daemon, stand-ins and broker; `make faults` is the long one."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from tests.faults.__main__ import show
from tests.faults.campaign import SECRET, Plan, run

SEED = 4
SECONDS = 18.0


@pytest.mark.mosquitto
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_wrong_nothing_lost_nobody_stalled_under_the_most_dangerous_faults():
    with tempfile.TemporaryDirectory(prefix="daq-") as folder:
        verdict = asyncio.run(run(Path(folder), Plan(SECONDS, danger=1, seed=SEED, hold_s=2.0)))
        said = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "mqtt-password"]
        told = [path.name for path in said if SECRET.encode() in path.read_bytes()]
    show(verdict, Console(width=190))  # shown where it fails
    assert not verdict.broken
    assert sum(row.times for row in verdict.rows.values()) >= 30
    assert verdict.readings > 500
    assert not told

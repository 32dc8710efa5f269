"""The process is killed at any instant: what a sink saw is still there, and no number is used twice."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from daq.journal import open_idle

KILLS = 6
CHILD = Path(__file__).with_name("crashing.py")


def run_until_killed(folder: Path, lines: int) -> list[tuple[str, str, int, int]]:
    """Kill the child after it has told so many lines; return all that it told whole."""
    with subprocess.Popen([sys.executable, str(CHILD), str(folder)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        told += child.stdout.readlines()
        child.wait(30)
    whole = [line.split() for line in told if line.endswith("\n")]
    return [(epoch, stream, int(seq), int(row)) for epoch, stream, seq, row in whole]


def test_what_a_sink_saw_survives_a_kill_and_no_number_comes_twice(tmp_path):
    seen: list[tuple[str, str, int, int]] = []
    for _ in range(KILLS):
        seen += run_until_killed(tmp_path, random.randint(1, 400))
        with open_idle(tmp_path / "journal.db") as idle:
            kept = idle.export(limit=10**6).records
            info = idle.info()
        assert {(r.epoch, r.stream, r.seq, r.row) for r in kept} >= set(seen)
        assert info["rows"] == len(kept)
    assert len({(epoch, stream, seq) for epoch, stream, seq, _ in seen}) == len(seen)
    assert len({epoch for epoch, *_ in seen}) == 1
    for stream in ("dmm0/v", "dmm1/v", "dmm2/v"):
        numbers = [record.seq for record in kept if record.stream == stream]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))

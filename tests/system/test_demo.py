"""`daq demo` as a newcomer runs it: everything up, everything right, everything gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.system.house import PATIENCE_S, ROOT, eventually, family, living

INTERFACES = ["tcp", "visa", "serial", "modbus_tcp", "modbus_rtu"]


@pytest.fixture
def demo():
    """Start demos in a temporary folder of their own, which must be empty when they have ended."""
    with tempfile.TemporaryDirectory(prefix="daq-") as folder:
        processes = []

        def start(*words):
            process = subprocess.Popen(
                [sys.executable, "-m", "daq", "demo", *words],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(process)
            return process

        start.folder = Path(folder)
        yield start
        for process in processes:
            process.kill()
            process.communicate()


def test_it_shows_every_interface_and_nothing_wrong_and_leaves_nothing_behind(demo):
    process = demo("--seconds", "4", "--json")
    eventually(lambda: len(family(process.pid)) >= 4, "simulators, broker and daemon")
    started = set(family(process.pid))
    told, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told + complaint
    report = json.loads(told)
    assert (report["instruments"], report["interfaces"]) == (9, INTERFACES)
    assert report["published"] == report["received"] - report["duplicates"] > 40
    assert (report["wrong"], report["lost"], report["outside_bounds"], report["slots_unaccounted"]) == (0, 0, 0, 0)
    assert report["statuses"]["ok"] > 40
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert report["simulated"] is True
    assert not living(started)
    assert list(demo.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_everything_and_still_reports(demo, number):
    process = demo("--json")
    eventually(lambda: list(demo.folder.glob("bench-daq-demo-*/bench-daq/*/control.sock")), "the daemon")
    started = set(family(process.pid))
    assert len(started) >= 4
    process.send_signal(number)
    told, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in {0, 1}, complaint  # 1: so early that not every instrument had answered
    assert json.loads(told)["wrong"] == 0
    assert not living(started)
    assert list(demo.folder.iterdir()) == []


def test_killed_it_takes_its_processes_along(demo):
    process = demo("--json")
    eventually(lambda: list(demo.folder.glob("bench-daq-demo-*/bench-daq/*/control.sock")), "the daemon")
    started = set(family(process.pid))
    process.kill()
    process.wait(PATIENCE_S)
    eventually(lambda: not living(started), "the end of all of them")

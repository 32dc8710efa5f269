"""What is told of an instrument before it was ever met."""

from __future__ import annotations

import json

import pytest

from daq.core.health import State, Verdict
from daq.load import load_bench
from daq.recorder import Recorder
from tests.manual_clock import ManualClock

BENCH = """bench: 1
station: {site: lab, name: b1}
instruments:
  m:
    driver: eastron/sdm630
    at: {modbus_tcp: "h:502", unit: 1}
    %s
    poll: {power: 1 s}
"""


@pytest.mark.parametrize(
    ("said", "simulated"),
    [("serial_number: SIM-1", True), ("simulated: true", True), ("serial_number: '4290000001'", False), ("", False)],
)
def test_the_bench_file_says_who_is_simulated_until_the_instrument_does(tmp_path, said, simulated):
    path = tmp_path / "bench.yaml"
    path.write_text(BENCH % said)
    loaded = load_bench(path)
    assert loaded.plans["m"].simulated is simulated
    retained, entries = {}, []
    recorder = Recorder(loaded, "b", ManualClock(), entries.append, retained.__setitem__, retained.pop)
    recorder.fares("m", Verdict(State.LOST, "not asked yet", 0))
    recorder.announced("desync", instrument="m")
    (status,) = map(json.loads, retained.values())
    assert status["simulated"] is simulated
    assert json.loads(entries[0].encode("e", 1, True)).get("simulated", False) is simulated

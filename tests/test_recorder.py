"""What is told of an instrument before it was ever met, and of an observation that cannot be printed."""

from __future__ import annotations

import json

import pytest

from daq.core.health import State, Verdict
from daq.core.message import StationName
from daq.core.observation import ClockState, Identity, Observation, Reading, Status, Timing
from daq.core.observation_message import observation_payload
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


def recorder_of(loaded, entries, retained):
    return Recorder(loaded, "b", ManualClock(), entries.append, retained.__setitem__, retained.pop)


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
    recorder = recorder_of(loaded, entries, retained)
    recorder.fares("m", Verdict(State.LOST, "not asked yet", 0))
    recorder.announced("desync", instrument="m")
    (status,) = map(json.loads, retained.values())
    assert status["simulated"] is simulated
    assert json.loads(entries[0].encode("e", 1, True)).get("simulated", False) is simulated


def observation(value):
    return Observation(
        instrument="m",
        poll="power",
        status=Status.OK,
        due_ns=10**18,
        clock=ClockState("none", None),
        identity=Identity(),
        info="7f3a",
        timing=Timing(5 * 10**9, 10**18, 1000),
        readings={"p": Reading(value, value, "W", "power.active")},
    )


@pytest.fixture
def loaded(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text(BENCH % "")
    return load_bench(path)


def test_an_observation_is_printed_as_it_was_and_numbered_by_the_journal(loaded):
    entries = []
    recorder_of(loaded, entries, {}).observed(observation("1.50"))
    (entry,) = entries
    for epoch, seq, durable in (("t3k9f27qd4", 1042, True), ("v", 1, False)):
        said = {"boot": "b", "epoch": epoch, "seq": seq, "durable": durable}
        expected = observation_payload(observation("1.50"), StationName("lab", "b1"), **said)
        assert entry.encode(epoch, seq, durable) == expected
    assert entry.size >= len(expected) - len('{"v":1,"id":"lab.b1.m.power.v.1","epoch":"v","seq":1,"durable":false,')
    assert (entry.kind, entry.stream, entry.t_ns) == ("obs", "m/power", 10**18)


def test_an_observation_that_cannot_be_printed_harms_no_poll_and_fails_in_the_journal(loaded):
    entries = []
    recorder = recorder_of(loaded, entries, {})
    recorder.observed(observation("nan"))
    recorder.observed(observation("2"))
    with pytest.raises(ValueError, match="not a JSON number"):
        entries[0].encode("e", 1, True)
    assert entries[0].size > 0
    assert b'"value":2,' in entries[1].encode("e", 2, True)

"""Beginning and end: ready when all listen, gone without a trace."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pyvisa

WORLD = """world: 1
instruments:
  dmm1: {model: 34465a, at: {visa: 0}}
  balance1: {model: mt_sics, at: {tcp: 0}}
  thermometer1: {model: 1502a, at: {serial: pty}}
"""


def run(world, **environment):
    """Run it where it should end by itself."""
    command = [sys.executable, "-m", "simulators", str(world)]
    environment = os.environ | environment
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20, env=environment)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_nothing_behind(launch, tcp_client, pty_client, how):
    running = launch(WORLD)
    client = tcp_client(running.at("balance1")["tcp"])
    port = pty_client(running.serial("thermometer1"))
    running.open += [client, port]
    running.fault("balance1", "late", seconds=60)
    client.write("I4")  # an answer is still owed when the end comes
    assert running.stop(how) == 0
    assert not Path(running.ready["control"]).parent.exists()
    with pytest.raises(ConnectionRefusedError):
        tcp_client(running.at("balance1")["tcp"])


def test_it_ends_by_itself_after_the_seconds_it_was_given(launch):
    running = launch(WORLD, "--seconds", "0.1")
    assert running.process.wait(20) == 0


def test_with_parent_it_ends_when_its_parent_lets_go(launch):
    running = launch(WORLD, "--with-parent", stdin=subprocess.PIPE)
    running.control(where=True)
    running.process.stdin.close()
    assert running.process.wait(20) == 0


def test_without_a_parent_it_does_not_begin_to_wait(launch):
    running = launch(WORLD, "--with-parent")  # standard input is empty from the start
    assert running.process.wait(20) == 0


def test_the_same_model_speaks_over_another_interface(launch):
    running = launch(WORLD)
    with contextlib.closing(pyvisa.ResourceManager("@py")) as manager:
        resource = manager.open_resource(running.at("dmm1")["visa"], open_timeout=5000)
        with contextlib.closing(resource):
            resource.timeout = 10_000
            resource.write("CONF:VOLT:DC 10;:VOLT:DC:NPLC 0.02")
            assert float(resource.query("READ?")) == pytest.approx(10.0, abs=1e-3)
            resource.write("TRIG:SOUR BUS;:INIT")
            resource.visalib.sessions[resource.session].interface.trigger()  # pyvisa-py has no assert_trigger here
            assert float(resource.query("FETC?")) == pytest.approx(10.0, abs=1e-3)


def test_a_wrong_world_file_does_not_start(tmp_path):
    path = tmp_path / "world.yaml"
    path.write_text("world: 1\ninstruments:\n  a: {model: 34465, at: {tcp: 0}}\n")
    done = run(path)
    assert done.returncode == 1
    assert "world.yaml:3:7: instruments.a.model: no model 34465. Nearest: '34465a'" in done.stderr
    assert done.stdout == ""


def test_a_taken_port_is_told_and_nothing_is_left(launch, tmp_path):
    running = launch(WORLD)
    port = running.at("balance1")["tcp"].split(":")[1]
    path = tmp_path / "second.yaml"
    path.write_text(f"world: 1\ninstruments:\n  a: {{model: 34465a, at: {{tcp: {port}}}}}\n")
    (tmp_path / "tmp").mkdir()
    done = run(path, TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == 1
    assert "cannot serve" in done.stderr
    assert not list((tmp_path / "tmp").iterdir())

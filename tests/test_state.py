"""systemd's folders come first, then XDG's; a socket's path is short enough or says so."""

from pathlib import Path

import pytest

from daq.core.errors import ConfigError
from daq.state import socket_path, sockets, state_folder


def test_systemd_names_the_folder():
    assert state_folder("lab", "bench1", {"STATE_DIRECTORY": "/var/lib/bench-daq/bench1"}) == Path(
        "/var/lib/bench-daq/bench1"
    )


def test_xdg_names_it_elsewhere():
    assert state_folder("lab", "bench1", {"XDG_STATE_HOME": "/s"}) == Path("/s/bench-daq/lab.bench1")
    assert state_folder("lab", "bench1", {"HOME": "/home/me"}) == Path("/home/me/.local/state/bench-daq/lab.bench1")


def test_the_socket_stands_in_the_runtime_folder_where_there_is_one():
    assert socket_path(Path("/s"), {"RUNTIME_DIRECTORY": "/run/bench-daq/bench1"}) == Path(
        "/run/bench-daq/bench1/control.sock"
    )
    assert socket_path(Path("/s"), {}) == Path("/s/control.sock")


def test_a_path_too_long_for_a_socket_is_told_before_it_is_tried():
    with pytest.raises(ConfigError, match="shorter XDG_STATE_HOME"):
        socket_path(Path("/" + "s" * 120), {})


def test_sockets_of_all_own_stations_are_found(tmp_path):
    for name in ("lab.bench1", "lab.bench2"):
        (tmp_path / "bench-daq" / name).mkdir(parents=True)
        (tmp_path / "bench-daq" / name / "control.sock").touch()
    found = [path for path in sockets({"XDG_STATE_HOME": str(tmp_path)}) if tmp_path in path.parents]
    assert [path.parent.name for path in found] == ["lab.bench1", "lab.bench2"]

"""A station that begins slowly, since its disk is slow: what people ask of it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from daq.answers import Answers
from daq.clock import SystemClock
from daq.core.errors import ConfigError
from daq.load import load_bench
from daq.station import Station
from daq.systemd import from_environment

PATIENCE_S = 60.0

BENCH = """\
bench: 1
station: {{site: lab, name: b1}}
instruments:
  dmm1: {{driver: keysight/34465a, at: {{tcp: "127.0.0.1:{port}"}}, poll: {{dcv: 1 s}}}}
"""

BROKER = 'mqtt: {{url: "mqtt://127.0.0.1:{port}", password: {{file: {secret}}}}}\n'


@pytest.fixture
def station(tmp_path):
    """One of a bench with an instrument that is not there."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        bench = tmp_path / "bench.yaml"
        bench.write_text(BENCH.format(port=nobody.getsockname()[1]))
        (tmp_path / "state").mkdir()
        yield Station(load_bench(bench), tmp_path / "state", SystemClock(), from_environment())


@contextlib.asynccontextmanager
async def held_in(station, monkeypatch, what):
    """Start it; give what lets the journal go on, which is held in `what`."""
    reached, go_on, real = asyncio.Event(), asyncio.Event(), getattr(station.journal, what)

    async def held(*words):
        reached.set()
        await go_on.wait()
        return await real(*words)

    monkeypatch.setattr(station.journal, what, held)
    running = asyncio.create_task(station.run())
    async with asyncio.timeout(PATIENCE_S):
        await reached.wait()
        try:
            yield go_on
        finally:
            go_on.set()
            station.stop()
            await running


@pytest.mark.parametrize("what", ["open", "last_slots"])
async def test_a_reload_waits_until_the_station_has_begun(station, monkeypatch, what):
    """Done before, it would be lost, or each wire would be served twice."""
    async with held_in(station, monkeypatch, what) as go_on:
        reload = asyncio.create_task(station.reload())
        done, _ = await asyncio.wait([reload], timeout=1)  # time enough, nearly always, to go wrong
        assert not done
        go_on.set()
        changed = await reload
        assert (changed.added, changed.removed, changed.restarted, changed.kept) == ([], [], [], 1)
        assert len(station.lines) == 1


async def test_a_station_told_to_stop_does_not_wait_for_a_disk_that_hangs_as_it_begins(station, monkeypatch):
    held, said = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr("daq.supervise.SLOW_S", 0.0)
    monkeypatch.setattr("daq.supervise.log.error", lambda *_: said.set())
    monkeypatch.setattr(station.journal, "open", held.wait)
    running = asyncio.create_task(station.run())
    async with asyncio.timeout(PATIENCE_S):
        await said.wait()
        station.stop()
        await running
    assert station.lines == {}


async def test_status_names_instruments_whose_line_is_not_begun(station, monkeypatch):
    """`daq status` would say with its exit code that all are ok."""
    async with held_in(station, monkeypatch, "last_slots"):
        (told,) = (await Answers(station).verbs["status"]({}))["instruments"].items()
        assert (told[0], told[1]["status"], told[1]["why"]) == ("dmm1", "lost", "not asked yet")
        meanwhile = told[1].keys()
    assert meanwhile == (await Answers(station).verbs["status"]({}))["instruments"]["dmm1"].keys()


async def test_a_reload_whose_new_secret_cannot_be_read_changes_nothing(station, monkeypatch, tmp_path):
    """Neither the line whose poll is another one now, nor what is known of the bench."""
    path = station.loaded.path
    secret = tmp_path / "secret"
    secret.write_text("word")
    path.write_text(path.read_text() + BROKER.format(port=9, secret=secret))
    station = Station(load_bench(path), tmp_path / "state", SystemClock(), from_environment())
    async with held_in(station, monkeypatch, "open") as go_on:
        go_on.set()
        await station.reload()
        before, loaded = dict(station.lines), station.loaded
        path.write_text(path.read_text().replace("dcv: 1 s", "dcv: 2 s").replace(str(secret), str(tmp_path / "none")))
        with pytest.raises(ConfigError, match="cannot be read"):
            await station.reload()
        assert (station.lines, station.loaded) == (before, loaded)

"""What the service manager hears: ready, alive while there is progress, stopping; and silence where a line hangs."""

from __future__ import annotations

import contextlib
import socket
import sys
import textwrap

import pytest

from tests.system.house import PATIENCE_S

WEDGED = """
# The daemon with one fault planted: the read of one instrument's transport never returns, whatever its deadline.
import asyncio, sys
from pathlib import Path
from daq.transports.descriptor import Descriptor

read, wedge = Descriptor.read, Path(sys.argv.pop(1))

async def wedged(self, cut, deadline_ns):
    if wedge.exists():
        await asyncio.Event().wait()
    return await read(self, cut, deadline_ns)

Descriptor.read = wedged
# Twenty seconds of patience are long for a test; that they are kept to is tried with a clock by hand.
import daq.station
daq.station.STUCK_NS = daq.station.LINES_STOP_NS = 10**9
from daq.cli import main
main()
"""


class Manager:
    """The socket a service manager listens on."""

    def __init__(self, path):
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(str(path))
        self.ear.settimeout(PATIENCE_S)
        self.path = path

    def hear(self):
        return self.ear.recv(4096).decode().splitlines()

    def until(self, word):
        """Take datagrams until one holds the word; give it, and all before it."""
        before = []
        while word not in (told := self.hear()):
            before += told
        return told, before


@pytest.fixture
def manager(empty):
    hearing = Manager(empty.folder / "notify")
    empty.daemon.environ = {"NOTIFY_SOCKET": str(hearing.path), "WATCHDOG_USEC": "30000000"}
    yield hearing
    hearing.ear.close()


def test_ready_alive_reloading_stopping(empty, manager):
    empty.world.start()
    empty.write(only=("dmm1", "meter3"))
    empty.daemon.start()
    told, before = manager.until("READY=1")
    assert "STATUS=2 instruments on 2 wires" in told
    assert not before
    manager.until("WATCHDOG=1")
    empty.daemon.verb("reload", "--bench", str(empty.daemon.bench))
    told, _ = manager.until("RELOADING=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in told)
    manager.until("READY=1")
    empty.daemon.send(15)
    manager.until("STOPPING=1")
    assert empty.daemon.ended() == 0


def test_absent_instruments_and_broker_do_not_stop_the_watchdog_being_fed(empty, manager):
    empty.write()  # nobody stands at these addresses
    empty.daemon.start()
    manager.until("READY=1")
    for name in ("dmm1", "balance1", "meter1"):
        empty.daemon.said(f" {name}: lost")
    for _ in range(3):
        manager.until("WATCHDOG=1")


def test_a_line_that_hangs_is_not_called_alive(empty, manager):
    empty.world.start()
    empty.write(only=("dmm1", "pressure1"))
    script = empty.folder / "wedged.py"
    script.write_text(textwrap.dedent(WEDGED))
    wedge = empty.folder / "wedge"
    empty.daemon.command = (sys.executable, str(script), str(wedge))
    empty.daemon.start()
    manager.until("READY=1")
    manager.until("WATCHDOG=1")
    empty.daemon.said(" dmm1: ok")
    wedge.touch()
    empty.daemon.said("no progress: 127.0.0.1:")
    manager.ear.setblocking(False)
    with contextlib.suppress(BlockingIOError):  # what had been said until then
        while True:
            manager.hear()
    # It lives otherwise, and still does not say so: it answers, and serves a reload.
    manager.ear.settimeout(PATIENCE_S)
    status = empty.daemon.ask(do="status")
    assert status
    empty.daemon.send(1)
    told, before = manager.until("RELOADING=1")
    assert "WATCHDOG=1" not in before
    told, before = manager.until("READY=1")
    assert "WATCHDOG=1" not in before + told
    assert empty.daemon.stop() == 0  # left hard, within its deadline


def test_before_the_start_everything_is_tried_and_while_it_runs_it_is_left_alone(empty):
    empty.world.start()
    empty.write(only=("meter3",))
    empty.broker.start()
    before = empty.daemon.verb("check", "--probe", str(empty.daemon.bench))
    assert (before.returncode, before.stdout) == (0, f"{empty.daemon.bench}: fine\n")
    assert "it lets this user speak in another station's name" in before.stderr
    empty.daemon.start()
    empty.daemon.said(" meter3: ok")
    running = empty.daemon.verb("check", "--probe", str(empty.daemon.bench))
    assert running.returncode != 0
    assert "lab/b1 is running" in running.stderr
    assert empty.daemon.stop() == 0
    empty.broker.stop()
    broken = empty.daemon.verb("check", "--probe", str(empty.daemon.bench))
    assert broken.returncode == 1
    assert f"mqtt: 127.0.0.1:{empty.broker.port}: " in broken.stdout

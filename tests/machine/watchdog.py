"""The watchdog hears of progress alone: a journal that its disk holds stops it, and nothing else does."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator

from tests.machine.scene import Scene
from tests.machine.shim import Shim
from tests.system.house import PATIENCE_S, House

IMPATIENT = "import daq.station; daq.station.STUCK_NS = 5 * 10**9; from daq.cli import main; main()"
"""The station's twenty seconds are long for a test."""


@contextlib.contextmanager
def watched(house: House) -> Iterator[socket.socket]:
    """Listen where a service manager would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(house.folder / "notify"))
        ear.settimeout(PATIENCE_S)
        house.daemon.environ = {**house.daemon.environ, "NOTIFY_SOCKET": str(house.folder / "notify")}
        house.daemon.command = (sys.executable, "-c", IMPATIENT)
        yield ear


def _until_alive(ear: socket.socket) -> None:
    while ear.recv(4096) != b"WATCHDOG=1":
        pass


def _heard(ear: socket.socket) -> list[bytes]:
    """What had been said until now."""
    found = []
    ear.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(ear.recv(4096))
    ear.settimeout(PATIENCE_S)
    return found


def watchdog_while_the_disk_hangs(scene: Scene) -> None:
    """Polls go on, which is no reason to say that all is well; when the disk lets go, it is said again."""
    ear: socket.socket = scene.placed
    _until_alive(ear)
    with Shim(scene.house.folder).disk_held():
        scene.house.daemon.said("no progress: journal; the watchdog is not fed")
        _heard(ear)
        scene.goes_on(count=12)
        assert b"WATCHDOG=1" not in _heard(ear)
    with scene.timed():
        _until_alive(ear)
    scene.house.world.fault("pressure1", "silence", times=1000)
    scene.truth(lambda told: told["instruments"]["pressure1"]["status"] == "lost", "that pressure1 is lost")
    _heard(ear)
    _until_alive(ear)
    scene.house.world.clear("pressure1")
    scene.goes_on(["pressure1"])

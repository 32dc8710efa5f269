"""What the machine gives runs out: descriptors, memory. What is there goes on; what is not is told, and comes back."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.machine.scene import Scene
from tests.system.house import eventually

SPARE_KIB = 160 << 10
"""Address space beyond what a station at work has: threads and the journal's pages want some, an endless reply all."""


def descriptors_exhausted(scene: Scene) -> None:
    """No descriptor is to be had: who is connected goes on, who must connect anew waits; then all is well again."""
    daemon, world = scene.house.daemon, scene.house.world
    assert daemon.process is not None
    pid = daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_highest(pid) + 1, before[1]))
    with _taken(scene):
        world.fault("pressure1", "reset")
        daemon.said("pressure1: ")
        mark = scene.house.ear.mark()
        for name in ("dmm1", "meter3"):
            scene.house.ear.next(name, mark, count=8, status="ok")
        scene.house.ear.next("pressure1", mark, status="disconnected")
        told = scene.house.ear.obs("pressure1", mark, status="disconnected")
        assert any("Too many open files" in heard.json["detail"] for heard in told), told[-1].payload
        world.clear("pressure1")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    mark = scene.house.ear.mark()
    with scene.timed():
        scene.house.ear.next("pressure1", mark, status="ok")
    scene.truth(lambda told: told["instruments"]["pressure1"]["status"] == "ok", "ok")
    log = daemon.log()
    assert "Traceback" not in log
    assert log.count("out of system resource") == 1


def _highest(pid: int) -> int:
    return max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())


@contextlib.contextmanager
def _taken(scene: Scene) -> Iterator[None]:
    """Take what is left, by talking to it: each conversation costs it a descriptor."""
    talks = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    try:
        for talk in talks:
            talk.settimeout(10)
            with contextlib.suppress(OSError):
                talk.connect(str(scene.house.daemon.state / "control.sock"))
        yield
    finally:
        for talk in talks:
            talk.close()


class Flood:
    """An instrument that, asked anything, never ends its answer."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.sent = 0
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                talk, _ = self._server.accept()
                with talk, contextlib.suppress(OSError):
                    talk.settimeout(1)
                    talk.recv(100)
                    while True:
                        self.sent += talk.send(b"1" * 65536)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(10)


def address_space_bounded(scene: Scene) -> None:
    """A reply without end and a broker that takes nothing, in an address space that would not hold them."""
    house = scene.house
    assert house.daemon.process is not None
    pid = house.daemon.process.pid
    resource.prlimit(pid, resource.RLIMIT_AS, ((_virtual_kib(pid) + SPARE_KIB) << 10, resource.RLIM_INFINITY))
    flood = Flood()
    here = json.loads(house.daemon.bench.read_text())
    before = json.dumps(here)
    here["instruments"]["pressure1"]["at"] = {"tcp": flood.address}
    house.broker.freeze()
    try:
        house.daemon.bench.write_text(json.dumps(here))
        house.daemon.verb("reload", "--bench", str(house.daemon.bench))
        eventually(lambda: flood.sent > 2 << 20, "2 MiB of replies")
        scene.goes_on(["dmm1", "meter3"], count=30)
        scene.truth(lambda told: told["instruments"]["pressure1"]["status"] != "ok", "that pressure1 is not ok")
    finally:
        house.daemon.bench.write_text(before)
        flood.close()
        house.broker.thaw()
    assert house.daemon.verb("reload", "--bench", str(house.daemon.bench)).returncode == 0
    mark = house.ear.mark()
    with scene.timed():
        house.ear.next("pressure1", mark, status="ok")
    assert "MemoryError" not in house.daemon.log()


def _virtual_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmSize:"))

"""SIGTERM, whatever else goes on: the station ends by itself, before the service manager would kill it."""

from __future__ import annotations

from typing import Any

from tests.machine.scene import SERVICE_LIMIT_S, Scene
from tests.machine.shim import Shim


def _stop(scene: Scene) -> None:
    """End it; it says that all went well, and is in time."""
    before = scene.longest_s
    scene.longest_s = 0.0
    with scene.timed():
        assert scene.house.daemon.stop() == 0
    assert scene.longest_s < SERVICE_LIMIT_S, f"it took {scene.longest_s:.1f} s"
    scene.longest_s = max(before, scene.longest_s)
    assert "Traceback" not in scene.house.daemon.log()


def _go_on(scene: Scene) -> None:
    """Start it again, so that what is left is delivered and counted."""
    mark = scene.house.ear.mark()
    scene.house.daemon.start()
    for name in scene.names():
        scene.house.ear.next(name, mark, status="ok")


def under_load(bench: dict[str, Any]) -> None:
    """Have the two that answer fast asked twenty-five times a second."""
    for name in ("meter3", "pressure1"):
        polls = bench["instruments"][name]["poll"]
        bench["instruments"][name]["poll"] = dict.fromkeys(polls, "40 ms")


def stopped_under_load(scene: Scene) -> None:
    scene.times = 3
    for _ in range(scene.times):
        scene.goes_on(["meter3", "pressure1"], count=50)
        _stop(scene)
        _go_on(scene)


def stopped_while_the_broker_is_away(scene: Scene) -> None:
    scene.house.kill_broker()
    scene.goes_on()
    _stop(scene)
    scene.house.broker.start()
    scene.house.ear.listening()
    _go_on(scene)


def stopped_while_the_broker_is_frozen(scene: Scene) -> None:
    broker = scene.house.broker
    broker.freeze()
    scene.goes_on()
    _stop(scene)
    broker.thaw()
    _go_on(scene)


def stopped_while_an_instrument_hangs(scene: Scene) -> None:
    world = scene.house.world
    for name in ("pressure1", "dmm1"):
        world.fault(name, "silence", times=1000)
    scene.goes_on(["meter3"])
    scene.truth(lambda told: told["instruments"]["pressure1"]["status"] != "ok", "that pressure1 is not ok")
    _stop(scene)
    for name in ("pressure1", "dmm1"):
        world.clear(name)
    _go_on(scene)


def stopped_while_the_disk_hangs(scene: Scene) -> None:
    """What only memory held is lost with it; which slots these were is told at the next start."""
    shim = Shim(scene.house.folder)
    with shim.disk_held():
        scene.goes_on()
        _stop(scene)
        assert "the disk did not take the last commit" in scene.house.daemon.log()
    _go_on(scene)

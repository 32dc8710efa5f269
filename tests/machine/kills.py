"""The daemon is killed, again and again, at instants that dice give: in its start, in its work, in its stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping

from daq.core.record import Record
from tests.machine.account import Number, number_of
from tests.machine.scene import Scene
from tests.system.house import eventually, living

LATEST_S = 1.5
"""After it was started, or after it said that it runs."""

IN_ITS_START, IN_ITS_STOP = 0.2, 0.15
"""The shares of kills that find it beginning and ending; the others find it at work, however slow the machine is."""


def kills(count: int) -> Callable[[Scene], None]:
    """Make the scenario of so many kills."""

    def killed_at_any_instant(scene: Scene) -> None:
        scene.times = count
        before: Mapping[Number, bytes] = {}
        for _ in range(count):
            _live_a_while(scene)
            before = still_there(scene, before)
            scene.house.daemon.start()
        mark = scene.house.ear.mark()
        with scene.timed():
            for name in scene.names():
                scene.house.ear.next(name, mark, status="ok")

    return killed_at_any_instant


def _live_a_while(scene: Scene) -> None:
    """Let it run for as long as the dice say, then kill it; its children end with it."""
    daemon, rng = scene.house.daemon, scene.rng
    when = rng.random()
    if when > IN_ITS_START:
        daemon.said(" wires")
    time.sleep(rng.uniform(0, LATEST_S))
    if when > 1 - IN_ITS_STOP:
        daemon.send(signal.SIGTERM)
        time.sleep(rng.uniform(0, 0.3))
    kill(scene)


def kill(scene: Scene) -> None:
    """Kill it; its children end with it."""
    daemon = scene.house.daemon
    family = daemon.family()
    daemon.kill()
    eventually(lambda: not living(family), "the end of its children")


def still_there(scene: Scene, before: Mapping[Number, bytes]) -> Mapping[Number, bytes]:
    """What was in the journal after the kill before, and what was heard since, is in it now, byte for byte."""
    kept: list[Record] = scene.kept()
    now = {(record.epoch, record.stream, record.seq): record.payload for record in kept}
    gone = [number for number, payload in before.items() if now.get(number) != payload]
    assert not gone, f"committed and gone: {gone[:5]}"
    heard = {number_of(heard.payload): heard.payload for heard in scene.house.ear.obs()}
    gone = [number for number, payload in heard.items() if now.get(number) != payload]
    assert not gone, f"heard and gone: {gone[:5]}"
    return now

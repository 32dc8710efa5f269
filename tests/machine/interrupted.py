"""The daemon is killed while something else is under way: an outage of the broker, a backlog, trimming, a reload.

What was in the journal behind one kill is in it behind the next, byte for byte, or was let go of in the open: delivered
before, or named in a gap.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.machine.account import Number, gaps, number_of
from tests.machine.kills import kill, still_there
from tests.machine.scene import Scene
from tests.machine.stops import under_load
from tests.system.house import eventually

PERSISTENT = ("persistence true", "autosave_interval 1")

BACKLOG = 600
"""Records that wait when the broker comes back: enough for a kill in the middle of them."""

SMALL_JOURNAL = "1 MB"
FULL_TIMES = 40
"""So often something is dropped while the broker is away: more than it takes for gap events to go, too."""


def _broker_back(scene: Scene) -> None:
    """Start the broker, and let the ear be there before the daemon: what is acknowledged then was heard."""
    daemon, broker = scene.house.daemon, scene.house.broker
    if daemon.process is None:
        broker.start()
        scene.house.ear.listening()
        return
    with daemon.frozen():
        broker.start()
        scene.house.ear.listening()


def _values_again(scene: Scene) -> None:
    mark = scene.house.ear.mark()
    with scene.timed():
        for name in scene.names():
            scene.house.ear.next(name, mark, status="ok")


def _start(scene: Scene) -> None:
    scene.house.daemon.start()
    scene.house.daemon.said(" wires")


def killed_while_the_broker_is_away(times: int, *, persistent: bool) -> Callable[[Scene], None]:
    """Make the scenario: killed twice in each outage; what both runs observed comes when the broker is back."""

    def killed_in_an_outage(scene: Scene) -> None:
        scene.times = 2 * times
        if persistent:
            folder = scene.house.broker.folder
            scene.house.broker.config = [*scene.house.broker.config, *PERSISTENT, f"persistence_location {folder}/"]
        before: Mapping[Number, bytes] = {}
        for _ in range(times):
            scene.house.kill_broker()
            for _ in range(2):
                scene.goes_on()
                time.sleep(scene.rng.uniform(0, 0.3))
                kill(scene)
                before = still_there(scene, before)
                _start(scene)
            _broker_back(scene)
            _values_again(scene)

    return killed_in_an_outage


def killed_while_a_backlog_is_delivered(times: int) -> Callable[[Scene], None]:
    """Make the scenario: the broker stands still in the middle of the backlog, and the daemon is killed there."""

    def killed_in_the_middle_of_a_backlog(scene: Scene) -> None:
        scene.times = times
        ear, broker = scene.house.ear, scene.house.broker
        broker.config = [*broker.config, "max_inflight_messages 1"]  # one after the other: slow enough to be stopped
        before: Mapping[Number, bytes] = {}
        for _ in range(times):
            scene.house.kill_broker()
            eventually(lambda: scene.status()["journal"]["backlog"]["mqtt"] >= BACKLOG, "a backlog")
            mark = ear.mark()
            _broker_back(scene)
            ear.until(lambda mark=mark: any(heard.is_late for heard in ear.heard[mark:]), "the first of the backlog")
            broker.freeze()
            kill(scene)
            broker.thaw()
            before = still_there(scene, before)
            assert _waiting(scene), "not in the middle: all of it had come"
            _start(scene)  # what the broker still had of the killed one is no sign of the new one
            _values_again(scene)
            scene.drained()

    return killed_in_the_middle_of_a_backlog


def _waiting(scene: Scene) -> int:
    """How many observations of those that were kept nobody has heard yet."""
    heard = {heard.payload for heard in scene.house.ear.obs()}
    return sum(record.payload not in heard for record in scene.kept() if record.kind == "obs")


def small_journal_under_load(bench: dict[str, Any]) -> None:
    """Have it full within seconds."""
    under_load(bench)
    bench["journal"] = {"max": SMALL_JOURNAL}


def killed_while_it_is_trimmed(times: int) -> Callable[[Scene], None]:
    """Make the scenario: what does not fit any more goes while the broker is away, and there the daemon is killed."""

    def killed_while_the_journal_is_trimmed(scene: Scene) -> None:
        scene.times, scene.trimmed, scene.all_heard = times, True, False
        before: dict[Number, bytes] = {}
        for _ in range(times):
            scene.house.kill_broker()
            lost = 0
            while lost < FULL_TIMES:
                lost += _trimmed_once_more(scene)
            time.sleep(scene.rng.uniform(0, 0.3))
            kill(scene)
            before = _there_or_told(scene, before)
            _start(scene)
            _broker_back(scene)
            _values_again(scene)
            scene.drained()
        assert scene.told_gone(), "nothing was let go of that somebody waited for"

    return killed_while_the_journal_is_trimmed


def _trimmed_once_more(scene: Scene) -> int:
    def lost() -> int:
        return int(scene.status()["journal"]["lost"].get("journal full", 0))

    before = lost()
    eventually(lambda: lost() > before, "something to be dropped for what is new")
    return 1


def _there_or_told(scene: Scene, before: Mapping[Number, bytes]) -> dict[Number, bytes]:
    kept = scene.kept()
    now = {(record.epoch, record.stream, record.seq): record.payload for record in kept if record.kind == "obs"}
    other = [number for number, payload in before.items() if number in now and now[number] != payload]
    assert not other, f"another content under {other[:5]}"
    heard = {number_of(heard.payload) for heard in scene.house.ear.obs()}
    told = gaps(kept) | scene.told_gone()
    gone = [number for number in before if number not in now.keys() | heard | told]
    assert not gone, f"committed and gone without a word: {gone[:5]}"
    return now


def killed_in_a_reload(times: int) -> Callable[[Scene], None]:
    """Make the scenario: a file that changes one line is read again, and the daemon killed while it does so."""

    def killed_in_the_middle_of_a_reload(scene: Scene) -> None:
        scene.times = times
        daemon = scene.house.daemon
        right = json.loads(daemon.bench.read_text())
        before: Mapping[Number, bytes] = {}
        for number in range(times):
            scene.goes_on()
            changed = json.loads(json.dumps(right))
            changed["instruments"]["dmm1"]["poll"]["vref"]["settings"]["nplc"] = 0.2 if number % 2 else 1
            changed["instruments"]["pressure1"]["label"] = f"{number}"
            daemon.bench.write_text(json.dumps(changed))
            daemon.send(signal.SIGHUP)
            time.sleep(scene.rng.uniform(0, 0.4))
            kill(scene)
            before = still_there(scene, before)
            _start(scene)
        _values_again(scene)

    return killed_in_the_middle_of_a_reload

"""Where it runs: odd languages and time zones, folders that may not be written, a folder that somebody else uses."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.machine.disks import read_only, refused
from tests.machine.scene import Scene
from tests.system.house import living, retained

LABEL = "Phòng đo lường điện 24 °C ± 0,5"

LANGUAGES: dict[str, dict[str, str]] = {
    "comma decimals (de_DE)": {"LC_ALL": "de_DE.UTF-8"},
    "Vietnamese (vi_VN)": {"LC_ALL": "vi_VN.UTF-8"},
    "Turkish (tr_TR)": {"LC_ALL": "tr_TR.UTF-8"},
    "C, no UTF-8 anywhere": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Asia/Kathmandu"},
    "half an hour of summer time": {"LC_ALL": "C.UTF-8", "TZ": "Australia/Lord_Howe"},
    "a time zone that is none": {"TZ": ":no/such/zone"},
}
"""Name -> environment. Locales that the machine has not are compiled where its sources are, see `with_locales`."""


def labelled(bench: dict[str, Any]) -> None:
    bench["station"]["label"] = LABEL
    bench["instruments"]["dmm1"]["label"] = "Đồng hồ vạn năng số 1"


def with_locales(folder: Path) -> dict[str, str]:
    """Compile what `LANGUAGES` names into a folder; the C library looks there first."""
    for name in ("de_DE", "vi_VN", "tr_TR"):
        if shutil.which("localedef") is not None:
            made = ["localedef", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")]
            subprocess.run(made, check=False, capture_output=True)
    return {"LOCPATH": str(folder)}


def odd_languages(*names: str) -> Callable[[Scene], None]:
    """Make the scenario of a station that is run in each of these, one after the other."""

    def odd_language_or_time_zone(scene: Scene) -> None:
        scene.times = len(names)
        daemon, ear = scene.house.daemon, scene.house.ear
        environ = {**daemon.environ, **with_locales(scene.house.folder)}
        for name in names:
            assert daemon.stop() == 0
            daemon.environ = {**environ, **LANGUAGES[name]}
            mark = ear.mark()
            daemon.start()
            for each in scene.names():
                ear.next(each, mark, count=3, status="ok")
            info = retained(scene.house.broker.port, "bench/v1/lab/b1/info")
            assert [each["label"] for each in info.values()] == [LABEL]
            for words in (("check",), ("status", "--json", "--bench"), ("status", "--bench"), ("journal", "info")):
                run = daemon.verb(*words, str(daemon.bench))
                assert run.returncode == 0, (name, words, run.stdout, run.stderr)
                assert "Traceback" not in run.stderr
            assert "Traceback" not in daemon.log()

    return odd_language_or_time_zone


# ---------------------------------------------------------------- folders


def folders_read_only(scene: Scene) -> None:
    """Neither the bench file's folder nor the home may be written: it runs and reloads; without a place it says so."""
    daemon, ear = scene.house.daemon, scene.house.ear
    etc, home = scene.house.folder / "etc", scene.house.folder / "home"
    for folder in (etc, home):
        folder.mkdir()
    shutil.copytree(scene.house.folder / "drivers", etc / "drivers")
    shutil.copy(daemon.bench, etc / "bench.yaml")
    assert daemon.stop() == 0
    bench, command, environ = daemon.bench, daemon.command, daemon.environ
    daemon.bench, daemon.command = etc / "bench.yaml", (*read_only(etc, home), *command)
    daemon.environ = {**environ, "HOME": str(home)}
    mark = ear.mark()
    daemon.start()
    for name in scene.names():
        ear.next(name, mark, status="ok")
    daemon.send(signal.SIGHUP)
    ear.until(lambda: ear.events("reload", mark, outcome="done"), "the reload")
    assert daemon.stop() == 0
    daemon.environ = {**environ, "HOME": str(home), "XDG_STATE_HOME": ""}
    words = refused(scene)
    assert "Read-only file system" in words, words
    assert str(home) in words
    daemon.bench, daemon.command, daemon.environ = bench, command, environ
    mark = ear.mark()
    daemon.start()
    for name in scene.names():
        ear.next(name, mark, status="ok")


def folder_in_use(scene: Scene) -> None:
    """A second daemon is told who was first, and leaves everything alone; what a dead one left is taken over."""
    daemon, ear = scene.house.daemon, scene.house.ear
    scene.times = 2
    assert daemon.process is not None
    words = refused(scene)
    assert f"already running, pid {daemon.process.pid}" in words, words
    scene.goes_on()
    family = daemon.family()
    daemon.kill()
    assert not living(family)
    assert (daemon.state / "control.sock").exists()  # what a dead one leaves
    (daemon.state / "lock").write_text("1\n")  # and a number that somebody else has by now
    mark = ear.mark()
    with scene.timed():
        daemon.start()
        for name in scene.names():
            ear.next(name, mark, status="ok")
    assert scene.status()["station"]["pid"] == daemon.process.pid


# ---------------------------------------------------------------- reload


def reloaded_in_the_middle_of_a_fault(scene: Scene) -> None:
    """The broker is away and an instrument silent; files come broken, then with one gone, one new and one changed."""
    house = scene.house
    daemon, ear = house.daemon, house.ear
    scene.times = 3
    scene.parted |= {"meter3/power", "meter9/power"}
    right = json.loads(daemon.bench.read_text())
    house.kill_broker()
    house.world.fault("pressure1", "silence", times=1000)
    scene.truth(lambda told: told["instruments"]["pressure1"]["status"] != "ok", "that pressure1 is not ok")
    daemon.bench.write_text(json.dumps(right)[:-20])
    daemon.send(signal.SIGHUP)
    daemon.said("reload: outcome=refused")
    scene.goes_on(["meter3"])
    changed = json.loads(json.dumps(right))
    gone = changed["instruments"].pop("meter3")
    changed["instruments"]["dmm1"]["poll"]["vref"]["settings"]["nplc"] = 0.2
    changed["instruments"]["meter9"] = gone
    daemon.bench.write_text(json.dumps(changed))
    run = daemon.verb("reload", "--bench", str(daemon.bench))
    assert run.returncode == 0, run.stderr
    assert scene.status()["instruments"].keys() == {"dmm1", "pressure1", "meter9"}
    scene.goes_on(["dmm1", "meter9"])
    daemon.bench.write_text(json.dumps(right))
    daemon.send(signal.SIGHUP)
    scene.truth(lambda told: "meter9" not in told["instruments"], "that meter9 is gone")
    scene.goes_on(["dmm1", "meter3"])
    house.world.clear("pressure1")
    house.broker.start()
    ear.listening()
    mark = ear.mark()
    with scene.timed():
        for name in scene.names():
            ear.next(name, mark, status="ok")
            ear.until(lambda name=name: ear.status(name) == "ok", f"{name} ok")
    ear.until(lambda: [e["outcome"] for e in ear.events("reload")] == ["refused", "done", "done"], "three reloads")
    kept = retained(house.broker.port, "bench/v1/#")
    assert not any("/meter9/" in topic for topic in kept)

"""The disk: full and back, holding a commit for half a minute; a journal that comes back damaged, newer or not ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.machine.scene import Scene
from tests.machine.shim import Shim
from tests.system.house import House, eventually

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
HAS_NAMESPACES = (
    shutil.which("unshare") is not None
    and subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
)
SMALL_MIB = 24


@contextlib.contextmanager
def small_disk(house: House) -> Iterator[Path]:
    """Give the daemon a state folder on a file system of so many MiB, which only it and we see.

    A process that does nothing holds the mount; the daemon enters its namespace, we look through /proc.
    """
    place = house.folder / "small"
    place.mkdir()
    script = f'mount -t tmpfs -o size={SMALL_MIB}m none "$0" && echo ready && exec sleep 1d'
    holder = subprocess.Popen([*NAMESPACE, "sh", "-c", script, str(place)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        seen = Path(f"/proc/{holder.pid}/root") / place.relative_to("/")
        (house.folder / "bench-daq").symlink_to(seen / "bench-daq")
        enter = ("nsenter", f"--target={holder.pid}", "--user", "--mount", "--preserve-credentials")
        house.daemon.command = (*enter, f"--wd={house.folder}", sys.executable, "-m", "daq")
        house.daemon.environ = {**house.daemon.environ, "XDG_STATE_HOME": str(place)}
        yield seen
    finally:
        if house.daemon.process is not None:
            house.daemon.kill()
        holder.kill()
        holder.communicate()


def _fill(folder: Path) -> None:
    """Take what room there is."""
    with contextlib.suppress(OSError), (folder / "other").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def disk_full_and_back(scene: Scene) -> None:
    """Somebody takes the last byte, again and again, and gives all of it back."""
    folder = (scene.house.folder / "bench-daq").readlink().parent
    ear, scene.trimmed = scene.house.ear, True

    def full() -> bool:
        _fill(folder)
        return bool(scene.status()["journal"]["state"] == "failing")

    eventually(full, "a journal that cannot be written")
    mark = ear.mark()
    for name in scene.names():
        ear.next(name, mark, count=4, durable=False, status="ok")
    ear.until(lambda: ear.events("journal", state="failing"), "the event of the failing disk")
    (folder / "other").unlink()
    mark = ear.mark()
    with scene.timed():
        ear.until(lambda: ear.events("journal", mark, state="restored"), "the event of the disk's recovery")
        for name in scene.names():
            ear.next(name, mark, durable=True, status="ok")
    assert scene.status()["journal"]["state"] == "ok"


def disk_stalled(seconds: float) -> Callable[[Scene], None]:
    """Make the scenario of a disk that finishes no commit for so long."""

    def disk_holds_a_commit(scene: Scene) -> None:
        shim, ear = Shim(scene.house.folder), scene.house.ear
        with shim.disk_held():
            told = scene.truth(lambda told: told["journal"]["state"] == "stalled" and told["journal"], "stalled")
            assert "disk" in told["reason"]
            _subscribers_know(scene, "stalled")
            scene.goes_on(count=max(6, round(4 * seconds)))  # four a second of each
        mark = ear.mark()
        scene.truth(lambda told: told["journal"]["state"] == "ok", "that the journal is well")
        ear.until(lambda: ear.events("journal", state="stalled"), "the event of the stalled disk")
        _subscribers_know(scene, "ok")
        for name in scene.names():
            ear.next(name, mark, count=3, status="ok")
        polled = {heard.json["status"] for heard in ear.obs()}
        assert polled <= {"ok", "missed"}, polled
        assert all(heard.json["durable"] for heard in ear.obs()), "it was on disk before it was published, all of it"

    return disk_holds_a_commit


def _subscribers_know(scene: Scene, state: str) -> None:
    """An event waits for the disk; what is retained does not."""
    ear = scene.house.ear

    def told() -> bool:
        infos = [heard.json for heard in ear.heard if heard.levels[4:] == ["info"]]
        return bool(infos[-1]["journal"] == state)

    ear.until(told, f"the retained word that the journal is {state}")


# ---------------------------------------------------------------- what comes back


def _database(scene: Scene) -> Path:
    return scene.house.daemon.state / "journal.db"


def _spoil_middle(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 3)
        file.write(os.urandom(size // 2))


def _cut_tail(path: Path) -> None:
    """Leave of the log no more than half of its first page: what was committed last is in it."""
    os.truncate(path.with_name(f"{path.name}-wal"), 2048)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)


def _empty(path: Path) -> None:
    os.truncate(path, 0)
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)


DAMAGES: dict[str, tuple[Callable[[Path], None], bool]] = {
    "in the middle": (_spoil_middle, False),
    "at the tail": (_cut_tail, True),
    "truncated": (_truncate, False),
    "empty": (_empty, False),
}
"""Name -> what is done to the file, and whether the daemon was killed before, so that its log is still there."""


def journal_damaged(*kinds: str) -> Callable[[Scene], None]:
    """Make the scenario of these damages, one behind the other: each begins an epoch and is told."""

    def journal_comes_back_damaged(scene: Scene) -> None:
        ear, daemon = scene.house.ear, scene.house.daemon
        scene.times = len(kinds)
        for kind in kinds:
            damage, killed = DAMAGES[kind]
            scene.goes_on()
            scene.drained()
            epoch = scene.status()["journal"]["epoch"]
            scene.aside.add(epoch)
            _ = daemon.kill() if killed else daemon.stop()
            damage(_database(scene))
            mark = ear.mark()
            daemon.start()
            with scene.timed():
                for name in scene.names():
                    ear.next(name, mark, status="ok")
            (event,) = ear.until(lambda mark=mark: ear.events("journal", mark), f"the event: {kind}")
            assert event["state"] in ("begun_anew", "epoch"), event
            assert scene.status()["journal"]["epoch"] != epoch
            fresh = {heard.json["epoch"] for heard in ear.obs(since=mark) if not heard.is_late}
            assert epoch not in fresh, f"{kind}: epoch {epoch} goes on"
            assert "Traceback" not in daemon.log()

    return journal_comes_back_damaged


def journal_refused(scene: Scene) -> None:
    """One of a newer version, or a folder that may not be written, is said in words; nothing is touched or lost."""
    daemon = scene.house.daemon
    scene.times = 2
    scene.drained()
    assert daemon.stop() == 0
    path = _database(scene)
    _set_version(path, 1)
    before = path.read_bytes()
    assert "written by a newer version" in refused(scene)
    assert path.read_bytes() == before
    _set_version(path, -1)
    command, daemon.command = daemon.command, (*read_only(daemon.state), *daemon.command)
    words = refused(scene)
    assert "Read-only file system" in words, words
    daemon.command = command
    mark = scene.house.ear.mark()
    daemon.start()
    for name in scene.names():
        scene.house.ear.next(name, mark, status="ok")


def _set_version(path: Path, more: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute(f"PRAGMA user_version = {version + more}")


def read_only(*folders: Path) -> tuple[str, ...]:
    """Words before a command, to which these folders are then read-only."""
    one = 'mount --bind "{0}" "{0}" && mount -o remount,ro,bind "{0}"'
    return (*NAMESPACE, "sh", "-c", " && ".join([*(one.format(each) for each in folders), 'exec "$0" "$@"']))


def refused(scene: Scene) -> str:
    """Try to run it; it ends by itself, with words and no trace."""
    run: Any = scene.house.daemon.verb("run", str(scene.house.daemon.bench))
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    return str(run.stderr)

"""What every test of the house stands on: a broker to talk to, and the rule that nothing is left behind.

Tests marked `mosquitto` are not collected where there is none; REQUIRE_MOSQUITTO=1 (CI) makes that an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

# Debian keeps the broker where only root's PATH looks.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")

GRACE_S = 5.0
"""Threads and processes that are on their way out get this long."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if MOSQUITTO is not None:
        return
    if os.environ.get("REQUIRE_MOSQUITTO") == "1":
        raise pytest.UsageError("REQUIRE_MOSQUITTO=1, and there is no mosquitto on PATH")
    need = [item for item in items if item.get_closest_marker("mosquitto")]
    items[:] = [item for item in items if item not in need]
    if need:
        config.hook.pytest_deselected(items=need)


# Nothing is left behind --------------------------------------------------------------------------------------------


def descriptors() -> dict[int, str]:
    """Open descriptors of this process and what they are; Linux only."""
    found = {}
    for path in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").exists() else ():
        with contextlib.suppress(OSError):
            found[int(path.name)] = str(path.readlink())
    tracker = getattr(resource_tracker._resource_tracker, "_fd", None)
    return {fd: what for fd, what in found.items() if fd != tracker and not what.startswith("/dev/urandom")}


def children() -> dict[int, str]:
    """Child processes, dead ones nobody waited for included; Python's own resource tracker is not a test's."""
    found = {}
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in path.read_text().split():
                found[int(pid)] = _command(pid)
    return {pid: command for pid, command in found.items() if "multiprocessing.resource_tracker" not in command}


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip() or "(ended, not waited for)"
    except OSError:
        return "(gone)"


def _until_gone(left: Callable[[], dict[int, str]]) -> dict[int, str]:
    """What is still left after the grace; unreachable objects are collected first, for they may hold it."""
    if found := left():
        gc.collect()
    deadline = time.monotonic() + GRACE_S
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test that leaves a task, a thread, a descriptor or a child process behind."""
    tasks: list[str] = []
    cancel_all = asyncio.runners._cancel_all_tasks

    def note_tasks(loop: asyncio.AbstractEventLoop) -> None:
        tasks.extend(repr(task) for task in asyncio.all_tasks(loop))
        cancel_all(loop)

    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", note_tasks)
    threads, open_before, children_before = set(threading.enumerate()), descriptors(), children()
    yield
    left_threads = _until_gone(
        lambda: {thread.ident or 0: thread.name for thread in threading.enumerate() if thread not in threads}
    )
    left_children = _until_gone(lambda: {p: c for p, c in children().items() if p not in children_before})
    left_open = _until_gone(lambda: {fd: what for fd, what in descriptors().items() if open_before.get(fd) != what})
    left = {"tasks": tasks, "threads": left_threads, "processes": left_children, "descriptors": left_open}
    assert not any(left.values()), f"left behind: { {what: found for what, found in left.items() if found} }"


# A broker ----------------------------------------------------------------------------------------------------------


def _free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Mosquitto:
    """A mosquitto of the test's own, on 127.0.0.1.

    Args:
        folder: for its configuration and log.
        config: lines beside the listener's.
    """

    folder: Path
    config: Sequence[str] = ()
    anonymous: bool = True
    port: int = field(default_factory=_free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        path = self.folder / "mosquitto.conf"
        allow = "true" if self.anonymous else "false"
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {allow}", "persistence false", *self.config]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes a user who may not read the test's files
        path.write_text("\n".join(lines) + "\n")
        with (self.folder / "mosquitto.log").open("ab") as told:
            self.process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(path)], stdout=told, stderr=told)
        deadline = time.monotonic() + 20
        while not self._listens():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, by its own process id; may be called twice."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Find ports of 127.0.0.1 that are free, for programs that cannot be told to take any."""
    return _free_port


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Start brokers with configurations of their own; they end with the test."""
    brokers: list[Mosquitto] = []

    def make(*config: str, anonymous: bool = True) -> Mosquitto:
        folder = tmp_path / f"broker{len(brokers)}"
        folder.mkdir()
        broker = Mosquitto(folder, config, anonymous)
        brokers.append(broker)
        broker.start()
        return broker

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Mosquitto]) -> Mosquitto:
    """A mosquitto that speaks MQTT 3.1.1 and 5; its test carries the marker `mosquitto`."""
    return make_broker()

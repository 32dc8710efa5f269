"""What every test of the house stands on: a broker to talk to, and the rule that nothing is left behind.

Tests marked `mosquitto` are not collected where there is none; REQUIRE_MOSQUITTO=1 (CI) makes that an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import hypothesis
import pytest

from tests import brokers
from tests.brokers import MOSQUITTO, Mosquitto

hypothesis.settings.register_profile("house", deadline=None)  # a busy machine is no fault: nothing here asserts a time
hypothesis.settings.load_profile("house")

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


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Find ports of 127.0.0.1 that are free, for programs that cannot be told to take any."""
    return brokers.free_port


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Start brokers with configurations of their own; they end with the test."""
    made: list[Mosquitto] = []

    def make(*config: str, anonymous: bool = True) -> Mosquitto:
        folder = tmp_path / f"broker{len(made)}"
        folder.mkdir()
        broker = Mosquitto(folder, config, anonymous)
        made.append(broker)
        broker.start()
        return broker

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Mosquitto]) -> Mosquitto:
    """A mosquitto that speaks MQTT 3.1.1 and 5; its test carries the marker `mosquitto`."""
    return make_broker()

"""The rules of tests/conftest.py themselves: what is left behind is found, what needs mosquitto is left out."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent

UNTIDY = """
import asyncio, os, subprocess, sys, threading, time

kept = []

async def test_task():
    kept.append(asyncio.get_running_loop().create_task(asyncio.sleep(1000)))

def test_thread():
    threading.Thread(target=time.sleep, args=(20,), daemon=True).start()

def test_process():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_descriptor():
    kept.append(os.open("/dev/null", os.O_RDONLY))

async def test_tidy():
    await asyncio.create_task(asyncio.sleep(0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors and children are seen through /proc")
def test_what_is_left_behind_fails_its_test(tmp_path):
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text().replace("GRACE_S = 5.0", "GRACE_S = 0.2"))
    (tmp_path / "test_untidy.py").write_text(UNTIDY)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert "5 passed, 4 errors" in done.stdout, done.stdout
    for what in ("task", "thread", "process", "descriptor"):
        assert f"ERROR test_untidy.py::test_{what} - AssertionError: left behind" in done.stdout, done.stdout


def rule(request):
    """The conftest's own module."""
    found = [p for p in request.config.pluginmanager.get_plugins() if hasattr(p, "MOSQUITTO")]
    assert len(found) == 1
    return found[0]


def items():
    def item(name, *marks):
        return SimpleNamespace(name=name, get_closest_marker=lambda mark: mark in marks or None)

    return [item("plain"), item("needs", "mosquitto")]


def config(deselected):
    hook = SimpleNamespace(pytest_deselected=lambda items: deselected.extend(item.name for item in items))
    return SimpleNamespace(hook=hook)


def test_without_mosquitto_its_tests_are_not_collected(request, monkeypatch):
    monkeypatch.setattr(rule(request), "MOSQUITTO", None)
    monkeypatch.delenv("REQUIRE_MOSQUITTO", raising=False)
    collected, deselected = items(), []
    rule(request).pytest_collection_modifyitems(config(deselected), collected)
    assert ([item.name for item in collected], deselected) == (["plain"], ["needs"])


def test_where_mosquitto_is_required_its_absence_is_an_error(request, monkeypatch):
    monkeypatch.setattr(rule(request), "MOSQUITTO", None)
    monkeypatch.setitem(os.environ, "REQUIRE_MOSQUITTO", "1")
    with pytest.raises(pytest.UsageError, match="no mosquitto"):
        rule(request).pytest_collection_modifyitems(config([]), items())


def test_with_mosquitto_everything_is_collected(request, monkeypatch):
    monkeypatch.setattr(rule(request), "MOSQUITTO", "/usr/sbin/mosquitto")
    collected = items()
    rule(request).pytest_collection_modifyitems(config([]), collected)
    assert len(collected) == 2

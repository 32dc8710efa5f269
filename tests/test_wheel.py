"""The wheel carries all that it needs: built, put elsewhere, and tried far from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """The wheel in a folder of its own, which comes before the checkout; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel]
    subprocess.run(list(map(str, command)), check=True, timeout=100)
    return {**os.environ, "PYTHONPATH": str(folder), "HOME": str(folder), "WHERE": str(folder)}


def _run(elsewhere, *words, timeout=100):
    return subprocess.run(
        [sys.executable, *words],
        cwd=elsewhere["WHERE"],
        env=elsewhere,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def test_the_wheel_carries_drivers_benches_schemas_units_and_simulators(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in ("drivers", "configs", "schemas", "systemd"):
        here = {f"daq/data/{file.relative_to(ROOT)}" for file in (ROOT / path).rglob("*") if file.is_file()}
        assert here <= names, f"{path}: {sorted(here - names)} are missing"
    assert {"simulators/__main__.py", "daq/__main__.py", "daq/py.typed"} <= names


def test_what_is_run_is_the_wheel(elsewhere):
    where = _run(elsewhere, "-c", "import daq, simulators; print(daq.__file__, simulators.__file__)").stdout.split()
    assert all(path.startswith(elsewhere["WHERE"]) for path in where)


def test_the_demo_runs_far_from_the_checkout(elsewhere):
    shown = _run(elsewhere, "-m", "daq", "demo", "--seconds", "3", "--json")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    report = json.loads(shown.stdout)
    assert (report["instruments"], report["wrong"], report["lost"]) == (9, 0, 0)


def test_drivers_are_found_far_from_the_checkout(elsewhere):
    assert "keysight/34465a" in _run(elsewhere, "-m", "daq", "drivers").stdout

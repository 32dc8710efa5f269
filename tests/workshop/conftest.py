"""A folder to make drivers in, the command line called in it, and programs that run beside the test."""

from __future__ import annotations

import contextlib
import json
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from daq.cli import main
from daq.core.driver import Driver
from daq.workshop.places import all_drivers

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0

DMM = """\
driver: 1
title: Acme multimeter, invented
source: invented for the tests
verified: manual
speaks: text
link: {eol: "\\n", max_latency: 2 s}
identify: {ask: "*IDN?", reply: "{maker:text},{model:text},{serial:text},{firmware:text}", expect: {model: "DMM"}}
special: {"9.9E37": overrange}
polls:
  dcv: # measured on the question
    ask: READ?
    reply: "{dcv:nr3:15}"
    channels: {dcv: {quantity: voltage.dc, unit: V}}
    time: {model: latest, period: 200 ms}
examples:
  - {poll: dcv, got: ["+9.99998713E+00"], gives: {dcv: "9.99998713"}} # from page 7
"""
"""A driver that is as it should be."""


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def daq(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Call `daq` in a folder of the test's own."""

    def call(*words: str) -> Said:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def dmm(folder: Path) -> Callable[..., Path]:
    """Write the driver, changed in places."""

    def write(*changes: tuple[str, str]) -> Path:
        text = DMM
        for right, wrong in changes:
            assert right in text
            text = text.replace(right, wrong)
        file = folder / "dmm.yaml"
        file.write_text(text)
        return file

    return write


@contextlib.contextmanager
def beside(words: Sequence[str], cwd: Path = ROOT) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program until the end of the block; give it and the first line it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(LIMIT_S), f"{words} did not say that it is ready"
        yield process, process.stdout.readline()
    finally:
        process.stdin.close()
        process.terminate()
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """The demo's simulated instruments: name -> its address keys; wires too."""
    log = tmp_path_factory.mktemp("stands") / "log.jsonl"
    with beside(["simulators", "configs/demo-world.yaml", "--log", str(log)]) as (_, ready):
        told = json.loads(ready)
        yield {**told["instruments"], **told["wires"]}


class Shelved(dict[str, Driver]):
    """Drivers by name; a failing test need not print them all."""

    def __repr__(self) -> str:
        return f"<{len(self)} drivers>"


@pytest.fixture(scope="session")
def shipped() -> Shelved:
    """Every driver that is shipped, read once."""
    return Shelved(all_drivers())

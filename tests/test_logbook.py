"""The log of a daemon whose stderr somebody reads late, or never."""

from __future__ import annotations

import logging
import os
import re
import threading

import pytest

from daq.logbook import Logbook


@pytest.fixture
def pipe():
    """What is written into the second can be read from the first."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def diary(pipe):
    """A logger that writes into the pipe, and that nobody else sees: pytest sends what it logs between its processes,
    which not every text survives.
    """
    made = logging.Logger("diary", logging.INFO)  # noqa: LOG001  one that getLogger gives is seen by pytest
    logbook = Logbook(pipe[1])
    logbook.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    made.addHandler(logbook)
    yield made
    logbook.close()


def read(pipe, enough):
    """Read until what was read is enough."""
    got = b""
    while not enough(got):
        got += os.read(pipe[0], 65_536)
    return got.decode().splitlines()


def test_lines_are_written_as_they_come_with_what_went_wrong(diary, pipe):
    diary.info("%s: %d", "Bể điều nhiệt", 7)
    try:
        int("nothing")
    except ValueError:
        diary.exception("a sum failed\ud800")
    lines = read(pipe, lambda got: b"'nothing'\n" in got)
    assert lines[0] == "INFO Bể điều nhiệt: 7"
    assert lines[1] == "ERROR a sum failed\\ud800"
    assert lines[-1].startswith("ValueError: ")


def left_out(got):
    """How many lines it says are not there."""
    return sum(map(int, re.findall(rb"^(\d+) lines of the log are left out", got, re.MULTILINE)))


def test_a_reader_that_reads_nothing_holds_nobody_up_and_learns_what_he_missed(diary, pipe):
    for number in range(30_000):  # of which none would come behind the first few hundred
        diary.info("%d%s", number, "." * 100)
    lines = read(pipe, lambda got: got.endswith(b"\n") and got.count(b"INFO") + left_out(got) == 30_000)
    told = [int(line.strip(".").removeprefix("INFO ")) for line in lines if line.startswith("INFO")]
    assert told == sorted(set(told))
    assert 10_000 <= len(told) < 30_000


def test_the_end_waits_for_no_reader(pipe, monkeypatch):
    monkeypatch.setattr("daq.logbook.LAST_S", 0.05)
    logbook = Logbook(pipe[1])
    logbook.handle(logging.makeLogRecord({"msg": "x" * 1_000_000}))
    logbook.close()
    assert any(thread.name == "log" for thread in threading.enumerate())
    read(pipe, lambda got: got.endswith(b"x\n"))

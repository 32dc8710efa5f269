"""What a station answers to questions that make no sense: words for the one who asked, nothing in its own log."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from types import SimpleNamespace

import pytest

from daq.answers import Answers
from daq.control import Control, ask
from daq.core.errors import DaqError
from daq.core.record import Entry
from daq.journal import Journal
from daq.marks import Marks

NOW_NS = 1_795_348_800 * 10**9
ALL = {"do": "journal_export", "since_ns": 0, "until_ns": 2**63 - 1}


def announce(event, details):
    return Entry("event", "event", NOW_NS, lambda *_: b"{}")


@pytest.fixture
async def put_to(tmp_path):
    """Ask the verbs of a station with a journal, marks and no line, over its socket."""
    journal = Journal(
        tmp_path / "state" / "journal.db",
        max_bytes=1 << 26,
        keep_ns=10**18,
        announce=announce,
        now_utc_ns=lambda: NOW_NS,
    )
    await journal.open()
    journal.append(Entry("obs", "dmm1/v", NOW_NS, lambda *_: b"{}"))
    await journal.flush()
    loaded = SimpleNamespace(plans={"dmm1": None})
    station = SimpleNamespace(marks=Marks(tmp_path / "marks.json"), journal=journal, lines={}, loaded=loaded)
    async with Control(tmp_path / "control", Answers(station).verbs) as control:
        yield lambda words: asyncio.to_thread(lambda: list(ask(control.path, words)))
    assert await journal.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"do": "mark", "changes": [1]}, "'changes' must be an object of texts"),
        ({"do": "mark", "changes": {"job": {"a": [1]}}}, "'changes' must be an object of texts"),
        ({"do": "mark", "changes": {"job": 1}}, "'changes' must be an object of texts"),
        ({"do": "mark", "clear": "yes"}, "'clear' must be true or false"),
        ({"do": "tap"}, "'instrument' must be a text"),
        ({"do": "tap", "instrument": ["dmm1"]}, "'instrument' must be a text"),
        ({"do": "journal_export"}, "'since_ns' must be a whole number of 64 bits"),
        ({**ALL, "since_ns": "x"}, "'since_ns' must be a whole number of 64 bits"),
        ({**ALL, "since_ns": True}, "'since_ns' must be a whole number of 64 bits"),
        ({**ALL, "until_ns": 1e30}, "'until_ns' must be a whole number of 64 bits"),
        ({**ALL, "until_ns": 2**63}, "'until_ns' must be a whole number of 64 bits"),
        ({**ALL, "streams": "dmm1"}, "'streams' must be a list of texts"),
        ({**ALL, "streams": [1]}, "'streams' must be a list of texts"),
    ],
)
async def test_words_of_a_wrong_kind_are_refused_in_words(put_to, caplog, words, said):
    with pytest.raises(DaqError, match=said):
        await put_to(words)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_right_words_are_answered(put_to):
    (marked,) = await put_to({"do": "mark", "changes": {"job": "J-88"}, "clear": False})
    assert marked["context"] == {"job": "J-88"}
    assert [each["stream"] for each in await put_to(ALL)] == ["dmm1/v"]
    assert await put_to({**ALL, "streams": ["dmm2"]}) == []


async def test_a_disk_that_hangs_keeps_nobody_from_his_answer_and_gets_the_marks_when_it_lets_go(
    put_to, tmp_path, monkeypatch, caplog
):
    """A pipe that nobody reads: whoever opens it waits."""
    monkeypatch.setattr("daq.answers.KEEP_NS", 10_000_000)
    os.mkfifo(tmp_path / "marks.new")
    for job in ("J-88", "J-89"):
        (marked,) = await put_to({"do": "mark", "changes": {"job": job}, "clear": False})
        assert marked["context"] == {"job": job}
        assert "has not taken them yet" in caplog.text
    (held,) = [thread for thread in threading.enumerate() if thread.name == "marks"]
    with (tmp_path / "marks.new").open("rb") as pipe:
        assert await asyncio.to_thread(pipe.read) == b'{"job":"J-88"}'
    await asyncio.to_thread(held.join, 60)
    assert (tmp_path / "marks.json").read_bytes() == b'{"job":"J-89"}'

"""The control socket answers one JSON object a line and never takes the station along."""

import asyncio
import stat

import pytest

from daq.control import Control, ask
from daq.core.errors import DaqError


async def _status(_words):
    return {"state": "running"}


async def _refuse(_words):
    raise DaqError("no instrument 'dmm9'. Nearest: 'dmm1'.")


async def _break(_words):
    raise ZeroDivisionError("division by zero")


async def _count(words):
    for number in range(words["to"]):
        yield {"number": number}


VERBS = {"status": _status, "refuse": _refuse, "break": _break, "count": _count}


async def _asked(path, **words):
    return await asyncio.to_thread(lambda: list(ask(path, words)))


async def test_one_answer(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        assert await _asked(control.path, do="status") == [{"ok": True, "state": "running"}]


async def test_many_answers_end_by_themselves(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        assert await _asked(control.path, do="count", to=3) == [{"number": 0}, {"number": 1}, {"number": 2}]


async def test_a_refusal_is_told_in_its_own_words(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        with pytest.raises(DaqError, match="Nearest: 'dmm1'"):
            await _asked(control.path, do="refuse")


async def test_a_broken_verb_answers_and_the_next_question_is_served(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        with pytest.raises(DaqError, match="ZeroDivisionError"):
            await _asked(control.path, do="break")
        assert await _asked(control.path, do="status")


async def test_unknown_verbs_are_told_the_known_ones(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        with pytest.raises(DaqError, match="break, count, refuse, status"):
            await _asked(control.path, do="dance")


async def test_only_the_owner_may_ask(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        assert stat.S_IMODE(control.path.stat().st_mode) == 0o600


async def test_an_endless_question_ends_the_conversation(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        reader, writer = await asyncio.open_unix_connection(control.path)
        writer.write(b"x" * 200_000)
        assert await reader.read() == b""
        writer.close()
        assert await _asked(control.path, do="status")


async def test_a_listener_that_leaves_hurts_nobody(tmp_path):
    async with Control(tmp_path / "control", VERBS) as control:
        _, writer = await asyncio.open_unix_connection(control.path)
        writer.write(b'{"do": "count", "to": 100000}\n')
        writer.close()
        assert await _asked(control.path, do="status")


async def test_a_socket_left_behind_is_replaced(tmp_path):
    (tmp_path / "control").touch()
    async with Control(tmp_path / "control", VERBS) as control:
        assert await _asked(control.path, do="status")
    assert not (tmp_path / "control").exists()


def test_no_station_is_told_plainly(tmp_path):
    with pytest.raises(DaqError, match=r"No station answers at .* Is 'daq run' running"):
        list(ask(tmp_path / "control", {"do": "status"}))

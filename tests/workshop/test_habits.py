"""The page's drivers with uncommon habits against their stand-ins, on a real socket: acknowledged, commaed, started."""

import asyncio
import re
from pathlib import Path

import pytest

from daq.clock import SystemClock
from daq.core.bench import Address
from daq.core.observation import Status
from daq.load import load_driver
from daq.workshop.attempt import attempt
from daq.workshop.serve import on_socket
from daq.workshop.simulate import stand_in_for
from daq.workshop.stand_in import TextStandIn
from tests.workshop.conftest import LIMIT_S, ROOT

PAGE = (ROOT / "docs" / "add-an-instrument.md").read_text("utf-8")


def written(name: str, folder: Path):
    block = re.search(rf"```yaml\n# drivers/mine/{name}.yaml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    file = folder / f"{name}.yaml"
    file.write_text(block[1])
    return load_driver(file)[0]


async def tried(driver, where: str, *, configure: bool, **settings: str):
    async with asyncio.timeout(LIMIT_S):
        return await attempt(
            driver, Address(tcp=where), SystemClock(), name="mine/it", configure=configure, settings=settings
        )


@pytest.mark.parametrize(("name", "value"), [("bath", "24.985"), ("stage", "-50.0")])
async def test_it_is_set_up_polled_and_left(tmp_path, name, value):
    driver = written(name, tmp_path)
    stand_in = stand_in_for(f"mine/{name}", driver, serial=False)
    assert stand_in.left_out == []
    async with on_socket(stand_in, 0) as where:
        found = await tried(driver, where, configure=True)
    (one,) = found.tried
    assert found.refused is None
    assert one.status is Status.OK, one.detail
    assert [reading.value for reading in one.readings.values()] == [value]


async def test_each_command_is_answered_once_and_none_is_said_unasked(tmp_path):
    driver = written("bath", tmp_path)
    async with on_socket(stand_in_for("mine/bath", driver, serial=False), 0) as where:
        found, asked = [await tried(driver, where, configure=told, setpoint="25 Cel") for told in (True, False)]
    assert [(each.ask, each.got) for each in found.exchanges] == [
        (b"VER?\r\n", b"BATH B SIM-BATH x\r\n"),
        (b"REMOTE\r\n", b"OK\r\n"),
        (b"SP 25\r\n", b"\r\n"),
        (b"SP?\r\n", b"SP 25,0\r\n"),
    ]
    assert [each.ask for each in asked.exchanges] == [b"VER?\r\n", b"SP?\r\n"]


async def test_an_unexpected_acknowledgement_is_no_answer_to_the_next_question(tmp_path, monkeypatch):
    """The bath answers HOLD with a temperature of its own, once; nothing of it is ever a reading."""
    driver = written("bath", tmp_path)
    stand_in = stand_in_for("mine/bath", driver, serial=False)
    honest, lies = TextStandIn.answer, ["T  99,999"]
    monkeypatch.setattr(
        TextStandIn, "answer", lambda it, line: lies.pop() if line == "HOLD" and lies else honest(it, line)
    )
    async with on_socket(stand_in, 0) as where:
        fooled, healed = [await tried(driver, where, configure=True) for _ in range(2)]
    assert (fooled.tried[0].status, dict(fooled.tried[0].readings)) == (Status.MISMATCH, {})
    assert healed.tried[0].readings["temperature"].value == "24.985"


async def test_a_talker_is_started_and_heard(tmp_path):
    driver = written("scale", tmp_path)
    async with on_socket(stand_in_for("mine/scale", driver, serial=False), 0) as where:
        found = await tried(driver, where, configure=True)
    assert b"SIR\r\n" in [each.ask for each in found.exchanges]
    assert found.tried[0].status is Status.OK, found.tried[0].detail

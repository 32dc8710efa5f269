"""`daq simulate --driver`: a bench can be tried on the examples of its drivers, and everything says it is simulated."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
from itertools import pairwise

import pytest

from daq.clock import SystemClock
from daq.core.driver import RegisterDriver
from daq.core.observation import Status
from daq.load import load_bench
from daq.once import read_once
from daq.workshop import place
from daq.workshop.attempt import attempt
from daq.workshop.made_up import encoded, specimen
from daq.workshop.serve import on_pty, on_socket
from daq.workshop.simulate import address, attempts, lines_for, stand_in_for
from tests.workshop.conftest import LIMIT_S, beside

ON_SOCKETS = ["keysight/34465a", "fluke/5730a", "druck/pace5000", "eastron/sdm630", "generic/line-talker"]
POLLS = 2
"""Of each driver so many are asked: a multimeter with twelve takes its time."""
ON_LINES = ["eastron/sdm630", "fluke/1502a", "mettler-toledo/mt-sics", "vaisala/ptu300"]
HEAD = "bench: 1\nstation: {site: lab, name: bench1}\n"


async def asked_once(name, driver, folder, *, serial):
    """Serve a driver's stand-in, ask it by a bench made of the lines that were printed, return what came."""
    instrument = stand_in_for(name, driver, serial=serial)
    assert instrument.left_out == []
    async with on_pty(instrument) if serial else on_socket(instrument, 0) as where:
        lines = lines_for(instrument, name, address(instrument, where, serial=serial))
        head, _, polls = lines.partition("    poll:\n")
        lines = f"{head}    poll:\n{''.join(polls.splitlines(keepends=True)[:POLLS])}"
        file = folder / f"{name.replace('/', '-')}.yaml"
        file.write_text(HEAD + lines)
        loaded = load_bench(file)
        found = await read_once(loaded, None, SystemClock())
    return loaded, found


async def asked_all(names, shipped, folder, *, serial):
    async with asyncio.timeout(3 * LIMIT_S), asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(asked_once(name, shipped[name], folder, serial=serial)) for name in names}
    return {name: task.result() for name, task in tasks.items()}


@pytest.mark.parametrize(("names", "serial"), [(ON_SOCKETS, False), (ON_LINES, True)], ids=["socket", "pty"])
async def test_every_poll_that_the_bench_lines_name_is_answered(tmp_path, shipped, names, serial):
    found = await asked_all(names, shipped, tmp_path, serial=serial)
    for name, (loaded, one) in found.items():
        (plan,) = loaded.plans.values()
        assert plan.polls, name
        assert one.events == [], name
        assert {obs.poll for obs in one.observations} == {poll.name for poll in plan.polls}
        for obs in one.observations:
            assert obs.status is Status.OK, f"{name}/{obs.poll}: {obs.detail}"
            assert obs.simulated, name
            given = {value for each in shipped[name].examples for value in each.gives.values()}
            numbers = {its.value for its in obs.readings.values() if its.value is not None}
            assert numbers <= given or isinstance(shipped[name], RegisterDriver), f"{name}/{obs.poll}"


def test_every_driver_has_a_stand_in_that_answers_its_polls(shipped):
    for number, (name, driver) in enumerate(shipped.items()):
        instrument = stand_in_for(name, driver, serial=number % 2 == 0)
        assert instrument.left_out == [], name
        assert instrument.polls(), name


async def test_each_driver_can_be_tried_against_its_stand_in(shipped):
    """With the commands that `daq simulate --driver` prints."""
    few = asyncio.Semaphore(6)

    async def not_ok(name, driver):
        instrument = stand_in_for(name, driver, serial=False)
        async with few, on_socket(instrument, 0) as where:
            commands = attempts(instrument, name, address(instrument, where, serial=False))
            return [command for command in commands if not (await tried(name, driver, command)).all_ok]

    async with asyncio.timeout(3 * LIMIT_S), asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(not_ok(name, driver)) for name, driver in shipped.items()}
    assert {name: task.result() for name, task in tasks.items() if task.result()} == {}


async def tried(name, driver, command):
    begin, *words = shlex.split(command.removeprefix(f"daq driver try {name} "))
    given = {option: [] for option in ("--at", "--unit", "--poll", "--setting", "--configure")}
    for option, value in pairwise([begin, *words]):
        if option in given:
            given[option].append(value)
    unit = next((int(each) for each in given["--unit"]), None)
    return await attempt(
        driver,
        place.address(given["--at"][0], unit=unit),
        SystemClock(),
        name=name,
        configure="--configure" in words,
        polls=given["--poll"] or None,
        settings=place.settings(given["--setting"]),
    )


def test_the_commands_to_try_it_are_printed_behind_the_bench_lines(daq):
    said = daq("simulate", "--driver", "advantech/adam-4000", "--seconds", "0.1")
    where = json.loads(said.out.splitlines()[0])["instruments"]["adam-4000"]["tcp"]
    begin = f"# daq driver try advantech/adam-4000 --at tcp={where}"
    assert said.out.splitlines()[-4:] == [
        f"{begin} --poll inputs --setting address=21",
        f"{begin} --poll input --setting address=05",
        f"{begin} --poll input0",
        f"{begin} --poll configuration --setting address=45",
    ]


async def test_replies_come_in_turn(shipped):
    driver = shipped["mettler-toledo/mt-sics"]
    instrument = stand_in_for("mettler-toledo/mt-sics", driver, serial=False)
    printed = [one.got[0] for one in driver.examples if one.poll == "weight" and one.outcome is None]
    said = [instrument.answer("SI") for _ in range(2 * len(printed))]
    assert printed[:3] == ["S S     100.00 g", "S D     129.07 g", "S S   -0.12345 kg"]
    assert said == printed + printed
    assert instrument.answer("I4") == 'I4 A "SIM-MT-SICS"'
    assert instrument.answer("no such question") is None


def test_a_setting_reads_back_as_it_was_set(shipped):
    instrument = stand_in_for("keysight/34465a", shipped["keysight/34465a"], serial=False)
    for command in ("CONF:FRES 10000", "FRES:NPLC 100"):
        assert instrument.answer(command) is None
    assert instrument.answer("FRES:NPLC?") == "100"
    assert instrument.answer("FUNC?") == '"FRES"'
    assert instrument.answer("READ?") == "+9.99987000E+03"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("3446[015]A|34470A", ["Keysight", "34461A"]),
        ("3446[015]A|34470A", []),
        (r"(?i)PACE[15]000.*", []),
        (r"\d{3,5}[^A-Z0]\S+x?", []),
        (r"(SDM|EM)-?[0-9]{3}\w*", []),
    ],
)
def test_what_is_made_up_fits_the_expression(expression, words):
    made = specimen(expression, words)
    assert re.fullmatch(expression, made)
    if words:
        assert made == "34461A"


def test_the_program_says_where_it_stands_and_ends_when_told():
    with beside(["daq", "simulate", "--driver", "eastron/sdm630"]) as (process, ready):
        place = json.loads(ready)["instruments"]["sdm630"]
        assert place["unit"] == 1
        assert process.stdout.readline() == "instruments:\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0


def test_a_port_of_the_users_choice_and_an_end_of_its_own(free_port):
    port = free_port()
    with beside(["daq", "simulate", "--driver", "fluke/5730a", "--tcp", str(port), "--seconds", "0.2"]) as (
        process,
        ready,
    ):
        assert json.loads(ready)["instruments"]["5730a"] == {"tcp": f"127.0.0.1:{port}"}
        assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize(
    "words", [["--tcp", "0"], ["--pty"], ["--driver", "x/y", "--tcp", "0", "--pty"], ["w.yaml", "--driver", "x/y"]]
)
def test_used_wrongly(daq, words):
    assert daq("simulate", *words).code == 2


def test_a_driver_that_nobody_has(daq):
    said = daq("simulate", "--driver", "keysight/34465")
    assert said.code == 1
    assert "Nearest: 'keysight/34465a'." in said.err


def test_registers_are_written_as_they_are_read(shipped):
    driver = shipped["eastron/sdm630"]
    register = driver.polls["power"].channels["f"]
    # 49.99 in IEEE 754 single precision is 0x4247F5C3 (the driver's own example).
    assert encoded("49.99", register) == bytes.fromhex("4247F5C3")
    assert encoded("49.99", register.model_copy(update={"order": "CDAB"})) == bytes.fromhex("F5C34247")
    assert encoded("-2", register.model_copy(update={"type": "int16"})) == b"\xff\xfe"
    name = register.model_copy(update={"type": "string", "length": 3})
    assert encoded("SIM-1", name) == b"SIM-1\0"

"""`daq scan`: who answers at the places one names, asked with identity questions alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import tty

import pytest

from daq.clock import SystemClock
from daq.core.bench import Address
from daq.core.plan import TextStep
from daq.load import load_bench
from daq.transports.port_counters import PortCounters
from daq.workshop.entry import compiled, entry
from daq.workshop.places import serial_ports
from daq.workshop.scan import scan_text
from daq.workshop.serve import on_socket
from daq.workshop.simulate import stand_in_for
from tests.workshop.conftest import LIMIT_S, ROOT

HEAD = "bench: 1\nstation: {site: lab, name: bench1}\n"


@pytest.fixture(autouse=True)
def _read_once(shipped, monkeypatch):
    """Reading all drivers takes longer than most scans."""
    monkeypatch.setattr("daq.cli.scan.all_drivers", lambda: shipped)


def scanned(daq, *words, code=0):
    said = daq("scan", *words, "--json")
    assert said.code == code, said.err
    return json.loads(said.out)


@contextlib.contextmanager
def listening(answer):
    """Serve a function of one line on a socket; give its address and what was asked."""
    asked, ready, end = [], threading.Event(), threading.Event()
    place = []

    async def converse(reader, writer):
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                asked.append(line)
                writer.write(answer(line))
        writer.close()

    async def serve():
        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        place.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        ready.set()
        async with server:
            while not end.is_set():  # noqa: ASYNC110  told from another thread
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="listening")
    thread.start()
    try:
        assert ready.wait(LIMIT_S)
        yield place[0], asked
    finally:
        end.set()
        thread.join(LIMIT_S)


def test_nothing_is_scanned_unasked(daq):
    said = daq("scan")
    assert said.code == 2
    assert "nothing is scanned unasked" in said.err


def test_sockets(daq, stands, folder):
    words = [word for name in ("dmm1", "pressure1") for word in ("--tcp", stands[name]["tcp"])]
    found = scanned(daq, *words)
    assert [one["drivers"][0]["name"] for one in found["answered"]] == ["keysight/34465a", "druck/pace5000"]
    assert all(one["simulated"] and one["drivers"][0]["sure"] for one in found["answered"])
    (folder / "bench.yaml").write_text(HEAD + found["bench"])
    loaded = load_bench(folder / "bench.yaml")
    assert {one.serial_number for one in loaded.bench.instruments.values()} == {"SIM-34465A-0001", "SIM-PACE5000-0001"}
    assert {one.configure for one in loaded.bench.instruments.values()} == {"never"}


def test_a_balance_a_talker_and_a_transmitter_on_serial_lines(daq, stands, folder):
    names = ("balance1", "thermometer1", "ambient1")
    found = scanned(daq, *[w for name in names for w in ("--port", stands[name]["serial"])], "--wait", "0.3")
    drivers = [[each["name"] for each in one["drivers"]] for one in found["answered"]]
    assert drivers[0] == ["mettler-toledo/mt-sics"]
    assert drivers[1] == ["fluke/1502a"]
    assert "vaisala/ptu300" in drivers[2]
    (folder / "bench.yaml").write_text(HEAD + found["bench"])
    plans = load_bench(folder / "bench.yaml").plans
    assert len(plans) == 3
    assert [poll.every_ns for poll in plans["1502a"].polls] == [None]


@pytest.mark.parametrize(
    ("place", "words", "serials"),
    [
        ("meter3", [], {"4290000003"}),
        ("rs485a", ["--units", "1-2,9", "--wait", "0.3"], {"4290000001", "4290000002"}),
    ],
)
def test_meters(daq, stands, folder, place, words, serials):
    where = stands[place].get("modbus_tcp") or stands[place]["serial"]
    found = scanned(daq, "--modbus", where, *words)
    assert {one["drivers"][0]["name"] for one in found["answered"]} == {"eastron/sdm630"}
    assert {one["drivers"][0]["identity"]["serial"] for one in found["answered"]} == serials
    (folder / "bench.yaml").write_text(HEAD + found["bench"])
    assert {one.serial_number for one in load_bench(folder / "bench.yaml").bench.instruments.values()} == serials


def test_what_the_visa_library_lists(daq):
    found = scanned(daq, "--visa", "--backend", f"{ROOT / 'tests' / 'transports' / 'sim.yaml'}@sim")
    assert [one["at"]["visa"] for one in found["answered"]] == [
        "GPIB0::22::INSTR",
        "GPIB0::23::INSTR",
        "USB0::0x0957::0x1A07::SIM3::0::INSTR",
    ]
    assert not any(fit["sure"] for one in found["answered"] for fit in one["drivers"])


def test_people_see_who_it_is_and_lines_to_paste(daq, stands, folder):
    said = daq("scan", "--tcp", stands["dmm1"]["tcp"])
    first, *lines = said.out.splitlines(keepends=True)
    assert "Keysight Technologies 34465A, serial SIM-34465A-0001, simulated: driver keysight/34465a\n" in first
    (folder / "bench.yaml").write_text(HEAD + "".join(lines))
    assert load_bench(folder / "bench.yaml").plans


def test_one_that_no_driver_knows_is_asked_once_when_it_understood(daq):
    with listening(lambda _: b"NOBODY,KNOWS,ME,1\r\n") as (place, asked):
        found = scanned(daq, "--tcp", place)
    assert len(asked) == 1
    (one,) = found["answered"]
    assert not any(fit["sure"] for fit in one["drivers"])


def test_one_that_says_the_same_to_everything_is_nobody(daq):
    with listening(lambda _: b"ES\r\n") as (place, asked):
        found = scanned(daq, "--tcp", place, "--wait", "0.1")
    assert len(asked) > 3
    (one,) = found["answered"]
    assert (one["drivers"], one["said"], found["bench"]) == ([], "ES\r\n", "")


def test_a_prompt_behind_a_complaint_is_nobodys_serial_number(daq):
    # the greeting makes the first answer another one than all that follow
    greeting = [b"HUMITECH HT-3 / 3.05\r\n0>"]
    with listening(lambda _: (greeting.pop() if greeting else b"") + b"Unknown\r\n0>") as (place, asked):
        found = scanned(daq, "--tcp", place, "--wait", "0.3")
    assert [one["drivers"] for one in found["answered"]] == [[]]
    assert len(asked) > 2


def test_only_identity_is_asked(daq, shipped):
    """Whatever is sent is some driver's identity question."""
    known = set()
    for driver in shipped.values():
        identify = compiled(driver, entry(driver)).identify
        known |= {step.ask for step in identify.steps if isinstance(step, TextStep)} if identify else set()
    with listening(lambda _: b"") as (place, asked):
        found = scanned(daq, "--tcp", place, "--wait", "0.05", code=1)
    assert found["silent"] == [place]
    sent = b"".join(asked)
    for ask in sorted(known, key=len, reverse=True):
        sent = sent.replace(ask, b"")
    assert sent == b""


async def test_every_driver_finds_its_own_stand_in(shipped):
    """The stand-in of each text driver on a socket is found to be one of those that speak like it."""
    for name in ("keysight/34465a", "druck/pace5000", "fluke/5730a"):
        async with on_socket(stand_in_for(name, shipped[name], serial=False), 0) as where:
            found = await scan_text(Address(tcp=where), shipped, SystemClock(), wait_ns=10**9, told=lambda _: None)
        assert found is not None
        assert name in [fit.name for fit in found.fits]


def test_nobody_there(daq):
    said = daq("scan", "--tcp", "127.0.0.1:1", "--port", "/dev/nowhere", "--modbus", "127.0.0.1:1")
    assert (said.code, said.out) == (1, "")
    assert said.err.count("Connection refused") == 2
    assert "no such device" in said.err


def test_serial_ports_are_named_by_their_adapters(tmp_path):
    (tmp_path / "usb-FTDI_B-if00").touch()
    (tmp_path / "usb-FTDI_A-if00").touch()
    assert serial_ports(tmp_path) == [str(tmp_path / "usb-FTDI_A-if00"), str(tmp_path / "usb-FTDI_B-if00")]
    assert serial_ports(tmp_path / "none") == []


@pytest.mark.parametrize("port", ["/{}/ttyX", "dev/ttyX"])
def test_a_path_is_a_line_and_no_host(daq, folder, port):
    said = daq("scan", "--modbus", port.format(folder.name))
    assert said.code == 1
    assert "ttyX: no such device" in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tcp", "10.0.0.5"], "Write the port behind a colon"),
        (["--modbus", "10.0.0.5"], "Write the port behind a colon"),
        (["--modbus", "/dev/ttyS9", "--units", "9-3"], "no range of Modbus units"),
        (["--serial", "--line", "9600"], "names no frame"),
    ],
)
def test_used_wrongly(daq, words, told):
    said = daq("scan", *words)
    assert said.code == 2
    assert told in " ".join(said.err.split())


STRICT = ["sartorius/sbi", "mettler-toledo/mt-sics", "keysight/34465a", "dhi/rpm4"]
"""CR LF, CR LF, LF, and CR with another question than *IDN?."""


@pytest.mark.parametrize("name", STRICT)
async def test_whoever_waits_for_one_ending_alone_is_found_all_the_same(shipped, name):
    """A stand-in keeps what does not end as it waits for, and takes it for the beginning of the next question."""
    async with on_socket(stand_in_for(name, shipped[name], serial=False), 0) as where:
        found = await scan_text(Address(tcp=where), shipped, SystemClock(), wait_ns=3 * 10**8, told=lambda _: None)
    assert found is not None
    assert [fit.name for fit in found.fits][:1] == [name]


def test_what_ends_with_cr_alone_is_asked_last(daq):
    with listening(lambda _: b"") as (place, asked):
        scanned(daq, "--tcp", place, "--wait", "0.05", code=1)
    *lines, rest = asked  # cut at LF: the rest is all that came behind the last one
    endings = [line.endswith(b"\r\n") for line in lines]
    assert lines[0] == b"*IDN?\r\n"
    assert endings == sorted(endings, reverse=True)
    assert not any(b"\r" in line.removesuffix(b"\r\n") for line in lines)
    assert rest.count(b"\r") > 5


def test_one_that_is_set_to_another_baud_rate_is_tried_with_every_driver(daq, stands, folder):
    """The transmitter leaves its maker with 4800/7e1."""
    found = scanned(daq, "--port", stands["ambient1"]["serial"], "--line", "19200/8n1", "--wait", "0.3")
    (one,) = found["answered"]
    assert one["at"]["line"] == "19200/8n1"
    assert "vaisala/ptu300" in [each["name"] for each in one["drivers"]]
    assert 'line: "19200/8n1"' in found["bench"]


def test_a_meter_that_is_set_to_another_baud_rate_is_tried_with_every_driver(daq, stands):
    found = scanned(daq, "--modbus", stands["rs485a"]["serial"], "--line", "19200/8e1", "--units", "1")
    (one,) = found["answered"]
    assert (one["at"]["line"], one["drivers"][0]["name"]) == ("19200/8e1", "eastron/sdm630")


def silent_pty():
    near, far = os.openpty()
    tty.setraw(far)
    return near, far, os.ttyname(far)


def test_where_nobody_answers_it_is_told_what_was_tried_and_what_else_may_be(daq):
    near, far, name = silent_pty()
    try:
        text = daq("scan", "--port", name, "--line", "9600/8n1", "--wait", "0.05")
        modbus = daq("scan", "--modbus", name, "--units", "1-3", "--wait", "0.05")
    finally:
        os.close(near)
        os.close(far)
    assert (text.code, modbus.code) == (1, 1)
    assert f"{name}: nobody understood at 9600/8n1." in text.err
    assert f"--port {name} --line 19200/8n1" in text.err
    assert "CR LF, LF and CR" in text.err
    assert f"{name}: asked for units 1-3 at 9600/8n1, " in modbus.err
    assert "--units 1-247" in modbus.err


def test_a_silent_socket_is_told_of_its_port_and_of_the_server_before_it(daq):
    with listening(lambda _: b"") as (place, _):
        said = daq("scan", "--tcp", place, "--wait", "0.05")
    assert f"{place}: questions ended with CR LF, LF and CR. Is it the instrument's port for commands" in said.err
    assert "serial-device server" in said.err


def test_a_port_that_counts_damage_is_tried_with_other_settings(daq, stands, monkeypatch):
    """At a wrong baud rate each reply is damaged, and some have the ending of a line in them all the same."""

    class Damaged:
        def __init__(self, _fileno):
            pass

        def risen(self):
            return "3 framing errors (is the baud rate right, and the frame?)"

    monkeypatch.setattr(PortCounters, "of", Damaged)
    found = scanned(daq, "--port", stands["ambient1"]["serial"], "--wait", "0.3")
    assert not found["troubles"]
    assert "vaisala/ptu300" in [each["name"] for each in found["answered"][0]["drivers"]]

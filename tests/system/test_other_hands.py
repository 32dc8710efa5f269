"""Instruments by other hands: pyvisa-sim on a GPIB board that is none, and the Modbus server of pymodbus."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def bench(instruments, wires=None):
    here = {"bench": 1, "station": {"site": "lab", "name": "b1"}, "mqtt": {}, "instruments": instruments}
    return here | ({"wires": wires} if wires else {})


@contextlib.contextmanager
def served(house):
    """Broker, ear and daemon on the bench file as it stands."""
    house.broker.start()
    house.ear.start()
    house.ear.listening()
    house.daemon.start()
    yield house.ear
    assert house.daemon.stop() == 0


def texts(heard):
    return {channel: reading["text"] for channel, reading in heard.json["readings"].items()}


def test_two_instruments_of_one_board_through_pyvisa_sim(empty):
    backend = f"{HERE / 'foreign_bench.yaml'}@sim"
    settings = {"range": "10 V", "nplc": 1}
    empty.write(
        bench(
            {
                "dmm": {
                    "driver": "keysight/34465a",
                    "at": {"visa": "GPIB0::22::INSTR", "backend": backend},
                    "serial_number": "SIM-34465A-7",
                    "poll": {"vref": {"ask": "dcv", "every": "200 ms", "settings": settings}},
                },
                "cal": {
                    "driver": "fluke/5730a",
                    "at": {"visa": "GPIB0::4::INSTR", "backend": backend},
                    "configure": "never",
                    "poll": {"voltage": "200 ms"},
                },
            }
        )
    )
    with served(empty) as ear:
        for heard in ear.next("dmm", 0, count=5, status="ok"):
            assert heard.json["readings"]["dcv"]["value"] == pytest.approx(9.99998713, abs=0)
            assert texts(heard) == {"dcv": "+9.99998713E+00"}
            assert heard.json["simulated"] is True
        for heard in ear.next("cal", 0, count=5, status="ok"):
            assert texts(heard) == {"voltage": "-1.000000E+00", "frequency": "0.00E+00", "state": "4097"}
        assert {heard.json["status"] for heard in ear.obs()} <= {"ok", "missed", "disconnected"}  # not connected yet


EXPECTED = {"u1": "230.5", "u2": "231.25", "u3": "229.75", "i1": "5", "i2": "8.5", "i3": "1.125", "p1": "1152.5"}
EXPECTED |= {"p2": "-1000", "p3": "0", "f": "0"}
"""What foreign_meters.py puts into the registers; all of it is exact in a single."""


@pytest.fixture
def meters():
    process = subprocess.Popen(
        [sys.executable, str(HERE / "foreign_meters.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    yield json.loads(process.stdout.readline())
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()


def test_meters_on_tcp_and_on_a_shared_serial_line_served_by_pymodbus(empty, meters):
    def meter(serial, at):
        shared = {"driver": "eastron/sdm630", "simulated": True, "poll": {"power": "250 ms"}}
        return {**shared, "at": at, "serial_number": str(serial)}

    empty.write(
        bench(
            {
                "m1": meter(4290000001, {"wire": "line1", "unit": 1}),
                "m2": meter(4290000002, {"wire": "line1", "unit": 2}),
                "m3": meter(4290000003, {"modbus_tcp": meters["tcp"], "unit": 1}),
            },
            {"line1": {"serial": meters["serial"], "line": "9600/8n1"}},
        )
    )
    with served(empty) as ear:
        for name in ("m1", "m2", "m3"):
            for heard in ear.next(name, 0, count=5, status="ok"):
                told = texts(heard)
                assert {channel: told[channel] for channel in EXPECTED} == EXPECTED
                assert heard.json["instrument"]["serial"] == f"429000000{name[1]}"
        assert {heard.json["status"] for heard in ear.obs()} <= {"ok", "missed", "disconnected"}  # not connected yet
        assert {each["interface"] for each in empty.daemon.ask(do="status")[0]["instruments"].values()} == {
            "modbus_rtu",
            "modbus_tcp",
        }

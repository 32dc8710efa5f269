"""Devices that say themselves who they are (function 43/14), asked on real sockets.

A simulated one, one by other hands, and the stand-in that a driver's own examples make.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer as OtherHands
from pymodbus.simulator import DataType, SimData, SimDevice
from ruamel.yaml import YAML

from daq.clock import SystemClock
from daq.core.bench import Address
from daq.core.driver import RegisterDriver
from daq.core.observation import NS
from daq.workshop.attempt import attempt
from daq.workshop.places import Found, Wanted, lines_for, scanned
from daq.workshop.scan import scan_registers
from daq.workshop.serve import on_socket
from daq.workshop.simulate import stand_in_for
from simulators.faults import Faults
from simulators.log import Log
from simulators.modbus import Register, Snapshot
from simulators.modbus_server import ModbusTcpServer, RtuBus, Unit
from simulators.text_server import Listener, SocketCarrier

LONG = b"a name so long that it does not go into one frame with the others " * 3


def driver(expect="DEV-1", **device):
    return RegisterDriver.model_validate({
        "driver": 1, "title": "Acme DEV-1", "source": "s", "verified": "manual", "speaks": "registers",
        "addressing": "pdu", "link": {"max_latency": "10 s"},
        "identify": {
            "device": {"maker": "vendor", "model": "product_code", "firmware": "revision", **device},
            "expect": {"model": expect},
        },
        "polls": {"p": {
            "channels": {"x": {"at": 0, "table": "input", "type": "uint16", "quantity": "voltage.dc", "unit": "V"}},
            "time": {"model": "latest", "period": "1 s"},
        }},
        "examples": [{"poll": "p", "registers": {"input 0": "0007"}, "gives": {"x": "7"}}],
    })  # fmt: skip


class Device:
    """One register, and a device that says who it is in two frames."""

    max_words = 125

    def holds(self, table, start, count):
        return table == 4 and start + count <= 1

    def read(self, table):
        return Snapshot({0: Register(b"\0\7", "7")})

    def who(self):
        return {0: b"Acme", 1: b"DEV-1", 2: b"1.3", 4: LONG[:190], 0x80: LONG[:180], 0x81: b"SN 4711"}


class RtuSocket(Listener):
    """A serial-device server: what comes on a socket goes to the units of a line."""

    def __init__(self, bus):
        super().__init__(0)
        self._bus = bus

    async def converse(self, reader, writer):
        while data := await reader.read(4096):
            self._bus.heard(data, SocketCarrier(writer))


@contextlib.asynccontextmanager
async def simulated(way, *more):
    units = {number: Unit("dev", number, Device(), Faults(), Log(None)) for number in (3, *more)}
    bus = RtuBus(units)
    server = ModbusTcpServer(units[3], 0) if way == "modbus_tcp" else RtuSocket(bus)
    await server.open()
    try:
        yield Address.model_validate({way: f"127.0.0.1:{server.port}", "unit": 3})
    finally:
        await server.close()
        await bus.close()


async def met(its, at):
    found = await attempt(its, at, SystemClock(), name="acme/dev")
    assert found.met is not None, found.refused
    assert found.tried[0].readings["x"].value == "7"
    return found


@pytest.mark.parametrize("way", ["modbus_tcp", "modbus_rtu_over_tcp"])
async def test_a_device_is_asked_until_it_has_said_all(way):
    async with simulated(way) as at:
        found = await met(driver(serial=0x81), at)
    assert found.met.identity.model == "DEV-1"
    assert found.met.identity.serial == "SN 4711"
    assert (found.met.maker, found.met.firmware) == ("Acme", "1.3")
    assert len(found.exchanges) == 2, "it does not go into one frame"


@pytest.mark.parametrize("way", ["modbus_tcp", "modbus_rtu_over_tcp"])
async def test_another_model_is_refused(way):
    async with simulated(way) as at:
        found = await attempt(driver("DEV-2"), at, SystemClock(), name="acme/dev")
    assert "model is 'DEV-1'" in found.refused


async def test_one_by_other_hands_is_read():
    block = [SimData(0, values=[7], datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    identity = ModbusDeviceIdentification(info_name={
        "VendorName": "Acme", "ProductCode": "DEV-1", "MajorMinorRevision": "1.3", "ModelName": "by other hands",
    })  # fmt: skip
    server = OtherHands(SimDevice(1, simdata=(bits, bits, block, block)), address=("127.0.0.1", 0), identity=identity)
    await server.serve_forever(background=True)
    try:
        port = server.transport.sockets[0].getsockname()[1]
        found = await met(driver(serial="model_name"), Address(modbus_tcp=f"127.0.0.1:{port}", unit=1))
    finally:
        await server.shutdown()
    assert found.met.identity.serial == "by other hands"


async def test_its_own_stand_in_says_that_it_is_simulated():
    its = driver(serial=0x81)
    async with on_socket(stand_in_for("acme/dev", its, serial=False), 0) as where:
        found = await met(its, Address(modbus_tcp=where, unit=1))
    assert found.met.simulated
    assert found.met.identity.serial == "SIM-DEV"


@pytest.mark.parametrize("way", ["modbus_tcp", "modbus_rtu_over_tcp"])
async def test_a_scan_finds_its_driver_and_lets_the_others_say_who_they_are(way):
    async with simulated(way) as at, asyncio.timeout(60):
        (known,) = await scan_registers(
            at, [3], {"acme/dev": driver(), "acme/other": driver("X")}, SystemClock(), wait_ns=10 * NS, told=print
        )
        (unknown,) = await scan_registers(
            at, [3], {"acme/other": driver("X")}, SystemClock(), wait_ns=10 * NS, told=print
        )
    assert [fit.name for fit in known.fits] == ["acme/dev"]
    assert (unknown.fits, unknown.said) == ((), b"Acme, DEV-1, 1.3")


async def test_units_behind_a_serial_device_server_stand_on_a_wire_of_its_name(tmp_path):
    known, wanted = {"acme/dev": driver(serial=0x81)}, Wanted(units=[2, 3, 4], wait_ns=NS)
    async with simulated("modbus_rtu_over_tcp", 4) as at, asyncio.timeout(60):
        place = at.modbus_rtu_over_tcp
        found = await scanned(replace(wanted, rtu_over_tcp=[place]), known, SystemClock(), print)
    assert [(one.at.unit, one.fits[0].fields["serial"]) for one in found.answered] == [(3, "SN 4711"), (4, "SN 4711")]
    bench = YAML(typ="safe").load(lines_for(found))
    assert bench["wires"] == {"line1": {"modbus_rtu_over_tcp": place}}
    assert [one["at"] for one in bench["instruments"].values()] == [
        {"wire": "line1", "unit": 3},
        {"wire": "line1", "unit": 4},
    ]


def test_the_option_for_serial_device_servers(daq, monkeypatch):
    asked = []

    async def scanned(wanted, *_):
        asked.append(wanted)
        return Found(silent=["nobody"])

    monkeypatch.setattr("daq.cli.scan.scanned", scanned)
    monkeypatch.setattr("daq.cli.scan.all_drivers", dict)
    assert daq("scan", "--rtu-over-tcp", "10.0.0.7:4001", "--units", "1-2").code == 1
    assert (asked[0].rtu_over_tcp, asked[0].units) == (["10.0.0.7:4001"], [1, 2])

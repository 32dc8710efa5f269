"""The campaign's bench: one instrument for each way to be reached, behind a proxy, and some that nobody strikes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daq.load import data_path
from tests.faults.frames import Framing
from tests.faults.identity import BROKER, DOMAIN, Names
from tests.faults.wires import PtyWire, SerialServer, TcpWire, Wire
from tests.system.house import World

EVERY_S = 0.4
LATENCY_S = 0.4
"""The drivers' own latencies, of seconds, would make a campaign of time-outs long: copies beside the bench say this."""

LIBRARY_S = 1.0
"""Through a VISA library an answer passes a process more, which on a busy computer waits its turn too."""

NOISY = {"noise_ppm": 3000}
"""So that hardly two answers are alike: an answer to an earlier question is told by its digits."""

LOUD = {"noise_ppm": 30000}


def _meter(serial: int, **at: Any) -> dict[str, Any]:
    return {"model": "sdm630", "at": at, "serial_number": serial, "sees": NOISY, "period": 0.2}


WORLD: dict[str, Any] = {
    "world": 1,
    "seed": 17,
    "wires": {"rs485a": {"serial": "pty"}, "rs485b": {"serial": "pty"}},
    "instruments": {
        "dmm1": {"model": "34465a", "at": {"tcp": 0}, "serial_number": "SIM-DMM-1", "sees": NOISY},
        "dmm2": {"model": "34465a", "at": {"serial": "pty"}, "serial_number": "SIM-DMM-2", "sees": NOISY},
        "dmm3": {"model": "34465a", "at": {"tcp": 0}, "serial_number": "SIM-DMM-3", "sees": NOISY},
        "cal1": {"model": "5730a", "at": {"visa": 0}, "serial_number": "SIM-CAL-1"},
        "balance1": {"model": "mt_sics", "at": {"serial": "pty"}, "serial_number": "SIM-BAL-1", "sees": NOISY},
        "balance2": {"model": "mt_sics", "at": {"serial": "pty"}, "serial_number": "SIM-BAL-2", "sees": NOISY},
        "thermometer1": {
            "model": "1502a",
            "at": {"serial": "pty"},
            "serial_number": "SIM-THERM-1",
            "period": 0.5,
            "sees": NOISY,
        },
        "ambient1": {
            "model": "ptu300",
            "at": {"serial": "pty"},
            "serial_number": "SIM-PTU-1",
            "sees": LOUD,
            "period": 0.2,
        },
        "pressure1": {"model": "pace5000", "at": {"tcp": 0}, "serial_number": "SIM-PACE-1", "sees": NOISY},
        "meter1": _meter(4290000001, wire="rs485a", unit=1),
        "meter2": _meter(4290000002, wire="rs485a", unit=2),
        "meter3": _meter(4290000003, modbus_tcp=0, unit=1),
        "meter4": _meter(4290000004, wire="rs485b", unit=1),
        "meter5": _meter(4290000005, modbus_tcp=0, unit=1),
    },
}

NEIGHBOURS = {"meter1": "meter2", "meter2": "meter1"}
"""Who stands on a shared wire with whom."""

CALM = frozenset({"dmm3", "balance2", "meter5"})
"""On wires of their own, without a proxy: what they are late by is what others' faults cost."""

DRIVERS = {
    "dmm": "keysight/34465a",
    "cal": "fluke/5730a",
    "balance": "mettler-toledo/mt-sics",
    "thermometer": "fluke/1502a",
    "ambient": "vaisala/ptu300",
    "pressure": "druck/pace5000",
    "meter": "eastron/sdm630",
}

POLLS = {
    "dmm": {"vref": {"ask": "dcv", "every": "400 ms", "settings": {"range": "100 V", "nplc": 1}}},
    "cal": {"voltage": "1 s"},
    "balance": {"weight": "400 ms"},
    "thermometer": {"measured": "unasked"},
    "ambient": {"ambient": "400 ms"},
    "pressure": {"absolute": "400 ms"},
    "meter": {"power": "400 ms"},
}


def kind(instrument: str) -> str:
    return instrument.rstrip("0123456789")


def latency_s(instrument: str) -> float:
    """Return the longest that an answer may take, as this bench's driver files have it."""
    return LIBRARY_S if kind(instrument) == "cal" else LATENCY_S


@dataclass(frozen=True)
class Place:
    """One proxied wire: how it is framed, who stands on it, and which rows of the table of faults fit each."""

    wire: str
    framing: Framing
    fits: dict[str, str]


PLACES = (
    Place("dmm1", "text", {"dmm1": "text socket banner huge panel swap overload"}),
    Place("dmm2", "text", {"dmm2": "text socket server overload shared"}),
    Place("cal1", "raw", {"cal1": "raw"}),
    Place("balance1", "text", {"balance1": "text tty swap overload shared"}),
    Place("thermometer1", "text", {"thermometer1": "talker tty"}),
    Place("ambient1", "text", {"ambient1": "text tty shared"}),
    Place("pressure1", "text", {"pressure1": "text socket banner swap named"}),
    Place("rs485a", "rtu", {"meter1": "rtu tty shared", "meter2": "rtu shared"}),
    Place("meter3", "mbap", {"meter3": "mbap socket huge swap overload"}),
    Place("rs485b", "rtu", {"meter4": "rtu socket server shared"}),
)


NAMED = {"pressure1": "pressure1" + DOMAIN}
"""Instruments that the bench file calls by name."""


def make_wires(folder: Path, ready: dict[str, Any], names: Names) -> dict[str, Wire]:
    """Build the proxies in front of the stand-ins, not yet open."""
    wires: dict[str, Wire] = {}
    for place in PLACES:
        name = place.wire
        where = ready["instruments"].get(name, {})
        if name in ("dmm2", "rs485b"):
            wires[name] = SerialServer(name, place.framing, str(folder / name))
        elif "tcp" in where or "modbus_tcp" in where or "visa" in where:
            wires[name] = TcpWire(name, place.framing, _port(where))
        else:
            wires[name] = PtyWire(name, place.framing, str(folder / name), folder / f"proxied-{name}")
        wires[name].names, wires[name].known_as = names, NAMED.get(name, "")
    return wires


def _port(where: dict[str, Any]) -> int:
    address = next(str(where[key]) for key in ("tcp", "modbus_tcp", "visa") if key in where)
    return int(re.findall(r"\d+", address.removesuffix("::INSTR"))[-1])


def write_bench(folder: Path, world: World, wires: dict[str, Wire], broker_port: int, secret: str) -> Path:
    """Write the bench file (JSON is YAML), with the drivers' impatient copies and the password beside it."""
    instruments = {name: _instrument(name, world, wires) for name in WORLD["instruments"]}
    bench = {
        "bench": 1,
        "station": {"site": "lab", "name": "b1"},
        "mqtt": {
            "url": f"mqtts://{BROKER}:{broker_port}",
            "tls": {"ca": "authority.pem"},
            "username": "bench",
            "password": {"file": "mqtt-password"},
        },
        "wires": {"rs485a": {"serial": _device(wires["rs485a"]), "line": "38400/8n1", "gap": "5 ms"}},
        "instruments": instruments,
    }
    for driver in set(DRIVERS.values()):
        file = folder / "drivers" / f"{driver}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        said = (data_path("drivers") / f"{driver}.yaml").read_text()
        latency_s = LIBRARY_S if driver == DRIVERS["cal"] else LATENCY_S
        hasty = re.sub(r"max_latency: \d+ m?s", f"max_latency: {round(1000 * latency_s)} ms", said)
        assert hasty != said
        file.write_text(hasty)
    password = folder / "mqtt-password"
    password.write_text(secret)
    password.chmod(0o600)
    path = folder / "bench.yaml"
    path.write_text(json.dumps(bench, indent=1))
    return path


def _instrument(name: str, world: World, wires: dict[str, Wire]) -> dict[str, Any]:
    described = WORLD["instruments"][name]
    entry: dict[str, Any] = {
        "driver": DRIVERS[kind(name)],
        "at": _address(name, world, wires),
        "serial_number": str(described["serial_number"]),
        "poll": POLLS[kind(name)],
    }
    if kind(name) == "meter":
        entry["simulated"] = True
    if kind(name) == "cal":
        entry["configure"] = "never"
    if name == "dmm2":
        entry["behind"] = "serial_server"
    return entry


def _address(name: str, world: World, wires: dict[str, Wire]) -> dict[str, Any]:
    described = WORLD["instruments"][name]["at"]
    if name in ("meter1", "meter2"):
        return {"wire": "rs485a", "unit": described["unit"]}
    if name == "meter4":
        return {"modbus_rtu_over_tcp": _device(wires["rs485b"]), "unit": 1}
    if name == "dmm2":
        return {"tcp": _device(wires[name])}
    key = next(iter(described))
    unit = {"unit": described["unit"]} if "unit" in described else {}
    if name in wires:
        return {key: _device(wires[name], visa=key == "visa"), **unit}
    where = world.ready["instruments"][name][key]
    return {"serial": where, "line": "38400/8n1"} if key == "serial" else {key: where, **unit}


def _device(wire: Wire, *, visa: bool = False) -> str:
    if isinstance(wire, PtyWire):
        return str(wire.link)
    assert isinstance(wire, TcpWire)
    return f"TCPIP0::127.0.0.1::hislip0,{wire.port}::INSTR" if visa else f"{wire.known_as or '127.0.0.1'}:{wire.port}"

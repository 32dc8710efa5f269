"""The bench files and drivers of the shapes, and the daemon that runs them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.procs import Place, running

LATEST_S = 0.001
"""What the stand-ins' drivers say of their readings: at most so old."""

SCPI_DRIVER = """
driver: 1
title: A stand-in whose reading is the instant at which it answered
source: tests/bench/c/scpi_responder.c
verified: manual
speaks: text
link: {eol: "\\n", max_latency: 2 s}
identify: {ask: "*IDN?", reply: "{maker:text},{model:text},{serial:text},{firmware:text}"}
polls:
  read:
    ask: "READ?"
    reply: "{v:nr2}"
    channels: {v: {quantity: voltage.dc, unit: V}}
    time: {model: latest, period: 1 ms}
examples:
  - {poll: read, got: ["9.5"], gives: {v: "9.5"}}
"""


def registers_driver(count: int) -> str:
    """Write the driver of a device with so many registers, a channel each."""
    channels = "\n".join(
        f"      c{at}: {{at: {at}, table: holding, type: uint16, quantity: voltage.dc, unit: V}}" for at in range(count)
    )
    words = " ".join(f"{at + 1:04X}" for at in range(count))
    gives = ", ".join(f'c{at}: "{at + 1}"' for at in range(count))
    return f"""
driver: 1
title: A stand-in with counting registers
source: tests/bench/c/modbus_responder.c
verified: manual
speaks: registers
addressing: pdu
link: {{max_latency: 2 s}}
polls:
  read:
    channels:
{channels}
    time: {{model: latest, period: 1 ms}}
examples:
  - {{poll: read, registers: {{holding 0: "{words}"}}, gives: {{{gives}}}}}
"""


WORDS = (1, 10, 100)
"""Registers of the stand-ins; 125 go into one question."""


def write_drivers(folder: Path) -> None:
    """Write the stand-ins' drivers beside the bench."""
    drivers = folder / "drivers" / "bench"
    drivers.mkdir(parents=True, exist_ok=True)
    (drivers / "scpi.yaml").write_text(SCPI_DRIVER)
    for words in WORDS:
        (drivers / f"registers{words}.yaml").write_text(registers_driver(words))


def bench(instruments: dict[str, Any], station: str = "b1", **more: Any) -> dict[str, Any]:
    """Make a bench file of these."""
    return {
        "bench": 1,
        "station": {"site": "bench", "name": station},
        "journal": {"keep": "1 d", "max": "20 GB"},
        "instruments": instruments,
        **more,
    }


def scpi_bench(every: str, ports: Sequence[int], station: str = "b1") -> dict[str, Any]:
    """Make a bench of SCPI sockets, all polled alike."""
    one = {"driver": "bench/scpi", "serial_number": "any", "role": "uut", "poll": {"read": every}}
    ats = [{"tcp": f"127.0.0.1:{port}"} for port in ports]
    return bench({f"i{number}": {**one, "at": at} for number, at in enumerate(ats)}, station)


def registers(words: int, every: str) -> dict[str, Any]:
    """Make an instrument of registers, without its address."""
    one = {"driver": f"bench/registers{words}", "serial_number": "any", "role": "uut", "simulated": True}
    return {**one, "poll": {"read": every}}


def modbus_bench(words: int, every: str, ports: Sequence[int]) -> dict[str, Any]:
    """Make a bench of Modbus TCP devices, each on a connection of its own."""
    ats = [{"modbus_tcp": f"127.0.0.1:{port}", "unit": 1} for port in ports]
    return bench({f"m{number}": {**registers(words, every), "at": at} for number, at in enumerate(ats)})


def rtu_bench(words: int, every: str, device: str, line: str) -> dict[str, Any]:
    """Make a bench of one RTU device on a serial line."""
    at = {"wire": "rs485", "unit": 1}
    return bench({"r1": {**registers(words, every), "at": at}}, wires={"rs485": {"serial": device, "line": line}})


@contextlib.contextmanager
def daemon(
    here: Place, bench: dict[str, Any], state: Path | None = None, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """Run `daq run` on a bench with a fresh state folder (or the one given)."""
    folder = state or here.file("station")
    folder.mkdir(exist_ok=True)
    write_drivers(folder)
    file = folder / "bench.yaml"
    file.write_text(json.dumps({**bench, "mqtt": {"url": f"mqtt://127.0.0.1:{here.broker}"}}))
    private = {"STATE_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": "", "NOTIFY_SOCKET": "", **environ}
    with running(sys.executable, "-m", "daq", "run", file, log=folder / "daemon.log", **private) as process:
        yield process


daemon_on = partial(partial, daemon)
"""(here, bench) -> what starts the daemon: the contenders are started again and again."""

"""Processes of a round: the daemon, its counterparts, responders, broker and ear; what they cost, and what was counted.

Each is ended by its own process id when its block is left. A Counter is a file of 64-bit numbers that a C program
counts in and this one looks at whenever it likes: nobody's CPU but the counted one's is in the figures.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.brokers import MOSQUITTO, free_port

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 60.0


class Missing(Exception):
    """Something a shape needs is not on this machine; says how to get it."""


@lru_cache
def compiled(name: str, folder: Path) -> Path:
    """Compile c/<name>.c; return the program. Raises Missing."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    if gcc is None:
        raise Missing("no C compiler: apt install gcc")
    program = folder / name
    subprocess.run([gcc, "-O2", "-o", program, Path(__file__).parent / "c" / f"{name}.c"], check=True)
    return program


class Counter:
    """Numbers that another process counts in a file."""

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(4096)
            self._map = mmap.mmap(file.fileno(), 4096)

    def __getitem__(self, place: int) -> int:
        return int(struct.unpack_from("Q", self._map, 8 * place)[0])


def cpu_s(pid: int) -> float:
    """Return the user and system time of a process and all below it, in seconds."""
    total = 0.0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process and all below it, MiB; shared pages of each count."""
    total = 0.0
    for one in family(pid):
        for line in Path(f"/proc/{one}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) / 1024
    return total


@contextlib.contextmanager
def running(
    *command: str | Path, log: Path | None = None, pipe: bool = False, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a command while entered; end it in peace, or after a while without."""
    with (log or Path(os.devnull)).open("ab") as said:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe else said,
            stderr=said,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def said_first(*command: str | Path, log: Path | None = None) -> Iterator[str]:
    """Run a command while entered; give the first line it prints."""
    with running(*command, log=log, pipe=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line, f"{command[0]} said nothing and ended with {process.poll()}"
        yield line


def eventually(question: Any, what: str, pause_s: float = 0.01) -> Any:
    """Return the answer once it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(pause_s)
    return answer


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Run a mosquitto on loopback; give its port. Raises Missing."""
    if MOSQUITTO is None:
        raise Missing("no mosquitto: apt install mosquitto")
    port = free_port()
    config = folder / "mosquitto.conf"
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "max_queued_messages 0"]
    lines += ["set_tcp_nodelay true"]  # else its acknowledgements wait for each other, for everybody alike
    config.write_text("\n".join([*lines, *(["user root"] if os.geteuid() == 0 else [])]) + "\n")
    with running(MOSQUITTO, "-c", config, log=folder / "mosquitto.log"):
        eventually(lambda: _listens(port), "the broker")
        yield port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


NEEDLES = ('"value":', '"status":"missed"')
VALUES, MISSED = 2, 3


@dataclass(frozen=True)
class Place:
    """A folder, a broker, and an ear that counts messages [0], bytes [1], and from [2] on the needles."""

    folder: Path
    broker: int
    ear: Counter
    serial: Iterator[int]

    def file(self, name: str) -> Path:
        """Return a new path."""
        return self.folder / f"{next(self.serial)}-{name}"

    def values_beyond(self, count: int) -> None:
        """Wait until the ear has heard more values than that."""
        eventually(lambda: self.ear[VALUES] > count, "a value", 0.001)


@contextlib.contextmanager
def place(folder: Path, needles: Sequence[str] = NEEDLES) -> Iterator[Place]:
    """Run broker and ear in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with broker(folder) as port:
        counter = folder / "heard"
        with said_first(compiled("ear", folder), str(port), counter, *needles):
            yield Place(folder, port, Counter(counter), itertools.count(1))


@dataclass(frozen=True)
class Responder:
    """Instruments in C: where they stand, and how many questions they have answered.

    Each of `ports` is an instrument to the daemon, for whom one address is one wire; any takes many connections.
    """

    ports: tuple[int, ...]
    answers: Counter


@contextlib.contextmanager
def responder(here: Place, name: str, ports: int, *words: str) -> Iterator[Responder]:
    """Run the C program of this name."""
    counter = here.file(name)
    with said_first(compiled(name, here.folder), counter, str(ports), *words) as said:
        yield Responder(tuple(map(int, said.split(","))), Counter(counter))


@contextlib.contextmanager
def daemon(here: Place, bench: dict[str, Any], state: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run `daq run` on a bench with a fresh state folder (or the one given)."""
    folder = state or here.file("station")
    folder.mkdir(exist_ok=True)
    write_drivers(folder)
    file = folder / "bench.yaml"
    file.write_text(json.dumps({**bench, "mqtt": {"url": f"mqtt://127.0.0.1:{here.broker}"}}))
    with running(
        *(sys.executable, "-m", "daq", "run", file),
        log=folder / "daemon.log",
        STATE_DIRECTORY=str(folder),
        RUNTIME_DIRECTORY="",
        NOTIFY_SOCKET="",
    ) as process:
        yield process


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


def _registers(count: int) -> str:
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


def write_drivers(folder: Path) -> None:
    """Write the stand-ins' drivers beside the bench."""
    drivers = folder / "drivers" / "bench"
    drivers.mkdir(parents=True, exist_ok=True)
    (drivers / "scpi.yaml").write_text(SCPI_DRIVER)
    (drivers / "registers10.yaml").write_text(_registers(10))
    (drivers / "registers1.yaml").write_text(_registers(1))


def bench(instruments: dict[str, Any]) -> dict[str, Any]:
    """Make a bench file of these."""
    return {
        "bench": 1,
        "station": {"site": "bench", "name": "b1"},
        "journal": {"keep": "1 d", "max": "2 GB"},
        "instruments": instruments,
    }


def scpi_bench(every: str, ports: Sequence[int]) -> dict[str, Any]:
    """Make a bench of SCPI sockets, all polled alike."""
    one = {"driver": "bench/scpi", "serial_number": "any", "role": "uut", "poll": {"read": every}}
    return bench({f"i{number}": {**one, "at": {"tcp": f"127.0.0.1:{port}"}} for number, port in enumerate(ports)})


def modbus_bench(words: int, every: str, ports: Sequence[int]) -> dict[str, Any]:
    """Make a bench of Modbus TCP devices, each on a connection of its own."""
    one = {"driver": f"bench/registers{words}", "serial_number": "any", "role": "uut", "simulated": True}
    one |= {"poll": {"read": every}}
    return bench(
        {
            f"m{number}": {**one, "at": {"modbus_tcp": f"127.0.0.1:{port}", "unit": 1}}
            for number, port in enumerate(ports)
        }
    )

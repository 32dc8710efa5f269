"""Processes of a round: the daemon, its counterparts, responders, broker and ear; what they cost, and what was counted.

Each is ended by its own process id when its block is left, and by the kernel where this program is killed.
A Counter is a file of 64-bit numbers that a C program counts in and this one looks at whenever it likes: nobody's CPU
but the counted one's is in the figures.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.brokers import MOSQUITTO, free_port

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 120.0


COLLECTD, COLLECTD_PLUGINS = Path("/usr/sbin/collectd"), Path("/usr/lib/collectd")


def has_collectd() -> bool:
    """Tell whether collectd is here with the plugins that are compared with."""
    return COLLECTD.exists() and all((COLLECTD_PLUGINS / f"{name}.so").exists() for name in ("modbus", "mqtt"))


def compiler() -> str | None:
    """Find a C compiler."""
    return shutil.which("gcc") or shutil.which("cc")


def wanting() -> dict[str, bool]:
    """Return what is not on this machine, in words that help, and whether nothing can be measured without it."""
    found = {
        "no C compiler here: apt install gcc libc6-dev": (compiler() is None, True),
        "no mosquitto here: apt install mosquitto": (MOSQUITTO is None, True),
        "no collectd here: apt install collectd-core libmodbus5 libmosquitto1": (not has_collectd(), False),
    }
    return {words: needed for words, (absent, needed) in found.items() if absent}


@lru_cache
def compiled(name: str, folder: Path, *flags: str) -> Path:
    """Compile c/<name>.c; return the program."""
    program = folder / name
    subprocess.run(
        [compiler() or "gcc", "-O2", *flags, "-o", program, Path(__file__).parent / "c" / f"{name}.c"], check=True
    )
    return program


class Counter:
    """Numbers that another process counts in a file, and wishes that it looks for there."""

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(4096)
            self._map = mmap.mmap(file.fileno(), 4096)

    def __getitem__(self, place: int) -> int:
        return int(struct.unpack_from("Q", self._map, 8 * place)[0])

    def __setitem__(self, place: int, number: int) -> None:
        struct.pack_into("q", self._map, 8 * place, number)


def cpu_s(pid: int) -> float:
    """Return the user and system time of a process and all below it, in seconds, those that have ended included."""
    total = 0.0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / TICKS
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
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) / 1024
    return total


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _with_parent() -> None:
    """Have the kernel end this process when its parent dies (prctl(2)); runs between fork and exec."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
            process_group=0,  # an interrupt at the terminal is ours alone: we end the others, in order
            preexec_fn=_with_parent,  # noqa: PLW1509  one call into the C library, no lock taken
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
def broker(folder: Path, port: int | None = None) -> Iterator[int]:
    """Run a mosquitto on loopback; give its port."""
    assert MOSQUITTO is not None
    port = port or free_port()
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


OBSERVATIONS = "bench/v1/+/+/+/obs/#"


@dataclass(frozen=True)
class Ear:
    """A C program that counts messages [0], bytes [1], and from [2] on the needles; it can also keep them in a file."""

    count: Counter
    record: Path


@contextlib.contextmanager
def ear(
    folder: Path, port: int, name: str = "ear", hears: str = "#", needles: Sequence[str] = NEEDLES
) -> Iterator[Ear]:
    """Run an ear at a broker; one of the same name in the same folder counts on."""
    counter, record = folder / f"{name}.count", folder / f"{name}.record"
    with said_first(compiled("ear", folder), str(port), counter, name, hears, record, *needles):
        yield Ear(Counter(counter), record)


@dataclass(frozen=True)
class Place:
    """A folder, a broker, and an ear that hears everything there; `ear` is what it counts."""

    folder: Path
    broker: int
    hears: Ear
    serial: Iterator[int]

    @property
    def ear(self) -> Counter:
        """What has been heard."""
        return self.hears.count

    def file(self, name: str) -> Path:
        """Return a new path."""
        return self.folder / f"{next(self.serial)}-{name}"

    def values_beyond(self, count: int) -> None:
        """Wait until the ear has heard more values than that."""
        eventually(lambda: self.ear[VALUES] > count, "a value", 0.001)


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Place]:
    """Run broker and ear in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with broker(folder) as port, ear(folder, port) as hears:
        yield Place(folder, port, hears, itertools.count(1))


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

"""Starts and ends the processes of the demonstration, each in a session of its own, none of which outlives it.

Ctrl-C reaches this process alone; it then ends the others in order. Should it be killed, the kernel ends them.

    stand -> Simulators, Broker, Daemon (each: start, ended with the stack)
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from daq.core.errors import DaqError

READY_S = 30.0
"""For a process to say that it listens, on a busy machine."""

END_S = 12.0
"""For a process to end by itself after SIGTERM; the daemon allows itself 9 s."""

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_libc = ctypes.CDLL(None, use_errno=True)


def _ends_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.asynccontextmanager
async def process(
    *command: str | Path, log: Path | None, read: bool = False, environ: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command while entered; what it says goes to `log`, and to us on its stdout where `read`."""
    output = log.open("ab") if log is not None else None
    try:
        child = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if read else output or asyncio.subprocess.DEVNULL,
            stderr=output or asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_ends_with_parent,
            env={**os.environ, **(environ or {})},
        )
    finally:
        if output is not None:
            output.close()
    try:
        yield child
    finally:
        await end(child)


async def end(child: asyncio.subprocess.Process) -> int:
    """End a process in peace, or past END_S without; return its exit code."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(END_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
    assert child.returncode is not None
    return child.returncode


@dataclass(frozen=True, slots=True)
class Stands:
    """Where the simulated instruments stand: name -> the keys of an address, by instrument and by wire."""

    instruments: Mapping[str, Mapping[str, Any]]
    wires: Mapping[str, Mapping[str, Any]]


@contextlib.asynccontextmanager
async def simulators(world: Path, log: Path, said: Path) -> AsyncIterator[Stands]:
    """Run the simulated instruments; `log` is the witness they write, `said` what they complain of."""
    command = (sys.executable, "-m", "simulators", world, "--log", log)
    async with process(*command, log=said, read=True) as child:
        assert child.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = await child.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            raise DaqError(f"The simulated instruments did not start:\n{_said(said)}")
        ready = orjson.loads(line)
        yield Stands(ready["instruments"], ready["wires"])


def free_port() -> int:
    """Ask the system for a port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[int]:
    """Run a broker on loopback and give its port: mosquitto where it is on PATH, else the one in a wheel."""
    port = free_port()
    async with process(*_broker_command(folder, port), log=folder / "broker.log") as child:
        await _listens(child, port, folder / "broker.log")
        yield port


def broker_name() -> str:
    """Say which broker it will be."""
    return "mosquitto" if shutil.which("mosquitto", path=_PATH) else "iotcore"


_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])  # Debian keeps mosquitto there


def _broker_command(folder: Path, port: int) -> tuple[str | Path, ...]:
    mosquitto = shutil.which("mosquitto", path=_PATH)
    if mosquitto is None:
        return sys.executable, "-m", "daq.demo.broker", str(port)
    config = folder / "mosquitto.conf"
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", "max_queued_messages 0"]
    if os.geteuid() == 0:
        lines.append("user root")  # changing its user, it would forget to end with us (PR_SET_PDEATHSIG, prctl(2))
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return mosquitto, "-c", config


async def _listens(child: asyncio.subprocess.Process, port: int, said: Path) -> None:
    """Wait until something accepts connections on the port."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while child.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)  # a broker tells nobody that it listens
                    continue
                writer.close()
                await writer.wait_closed()
                return
    raise DaqError(f"The broker did not start:\n{_said(said)}")


def _said(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else "(nothing was said)"

"""Runs the demonstration: everything up, a live table or silence, everything down, the audit.

simulators, broker, daq run (processes) -> messages -> Board (table), arrivals -> Audit -> report
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from daq.archive import records
from daq.core.errors import DaqError
from daq.core.record import Record
from daq.core.wiring import wirings
from daq.demo.audit import Audit, Witness
from daq.demo.bench import placed
from daq.demo.places import PLACES, Place
from daq.demo.processes import broker, broker_name, end, process, simulators
from daq.load import Loaded, data_path, load_bench, read_yaml
from daq.sinks.publisher import MqttSettings
from daq.sinks.subscriber import messages
from daq.state import state_folder
from daq.watch.board import Board
from daq.watch.live import draw
from daq.watch.picture import save_picture

STARTS_S = 30.0
"""For the first observation, on a busy machine."""

EXPECTED = {"ok", "missed", "skipped", "busy", "disconnected"}
"""Statuses that a healthy bench may show: slots before the first connection, after the stop, on a busy computer."""

INTERFACES = ("tcp", "visa", "serial", "modbus_tcp", "modbus_rtu")
"""The order in which the report names them."""


@dataclass(slots=True)
class Shown:
    """What came from the broker: the board for the eye, and every observation for the audit.

    Args:
        until_utc_ns: slots due until then had to be served; None while all goes on.
        port: of the broker.
        picture: where the board is to be saved as it was at last, None for nowhere.
    """

    board: Board = field(default_factory=Board)
    arrived: list[tuple[bytes, int]] = field(default_factory=list)
    first: asyncio.Event = field(default_factory=asyncio.Event)
    offline: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    picture: Path | None = None
    until_utc_ns: int | None = None

    async def listen(self, port: int, listening: asyncio.Event) -> None:
        """Take messages until cancelled."""
        self.port = port
        async for message in messages(MqttSettings("127.0.0.1", port), "bench/v1/#", listening):
            self.board.take(message.topic, message.payload)
            if message.topic.split("/")[-2] in {"obs", "late"}:
                self.arrived.append((message.payload, message.arrived_ns))
                self.first.set()
            elif self.board.online == "offline":
                self.offline.set()


async def demonstrate(seconds: float | None, watch: bool, console: Console, picture: Path | None) -> dict[str, Any]:
    """Run the demonstration and return its report.

    Args:
        seconds: how long to observe after the first observation; None until SIGINT or SIGTERM.
        watch: draw the live table.
        console: where to.
        picture: file for the last table as SVG, None for none.

    Raises:
        DaqError: something did not start; says what it complained of.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="bench-daq-demo-") as name:
        folder = Path(name)
        shown = Shown(picture=picture)
        loaded = await _observe(folder, shown, stop, seconds, _live(shown, console, folder) if watch else _nothing)
        named = loaded.bench.station
        kept = records(state_folder(named.site, named.name, _environ(folder)))
        return _report(folder / "witness.jsonl", loaded, shown, kept)


async def _observe(
    folder: Path, shown: Shown, stop: asyncio.Event, seconds: float | None, show: Callable[[asyncio.Event], Any]
) -> Loaded:
    """Bring everything up, observe, and bring everything down again, the daemon first."""
    async with AsyncExitStack() as stack:
        world = data_path("configs") / "demo-world.yaml"
        stands = await stack.enter_async_context(simulators(world, folder / "witness.jsonl", folder / "simulators.log"))
        port = await stack.enter_async_context(broker(folder))
        loaded = _bench_file(folder, stands.instruments, stands.wires, port)
        listening = asyncio.Event()
        hearing = asyncio.create_task(shown.listen(port, listening), name="demo[listen]")
        stack.push_async_callback(_cancelled, hearing)
        await _first_of(listening.wait(), hearing)
        daemon = await stack.enter_async_context(
            process(
                sys.executable, "-m", "daq", "run", loaded.path, log=folder / "daemon.log", environ=_environ(folder)
            )
        )
        await _until_over(daemon, folder, shown, stop, seconds, show)
        shown.until_utc_ns = time.time_ns()
        if shown.picture is not None:
            save_picture(shown.board, shown.picture)
        code = await end(daemon)
        if code != 0:
            raise DaqError(f"The daemon left with exit code {code}:\n{(folder / 'daemon.log').read_text()}")
        with contextlib.suppress(TimeoutError):  # the audit tells what did not come
            async with asyncio.timeout(5 if shown.board.online == "online" else 0):  # else it was stopped before
                await shown.offline.wait()
        return loaded


def _environ(folder: Path) -> dict[str, str]:
    """Give the daemon a state folder that goes with the demonstration."""
    return {"XDG_STATE_HOME": str(folder), "STATE_DIRECTORY": "", "RUNTIME_DIRECTORY": ""}


async def _until_over(
    daemon: asyncio.subprocess.Process,
    folder: Path,
    shown: Shown,
    stop: asyncio.Event,
    seconds: float | None,
    show: Callable[[asyncio.Event], Any],
) -> None:
    over = asyncio.Event()
    showing = asyncio.create_task(show(over), name="demo[show]")
    try:
        async with asyncio.timeout(STARTS_S):
            await _first_of(shown.first.wait(), daemon.wait(), stop.wait())
        if daemon.returncode is None and not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await _first_of(stop.wait(), daemon.wait())
    except TimeoutError:
        raise DaqError(f"No observation came in {STARTS_S:g} s:\n{(folder / 'daemon.log').read_text()}") from None
    finally:
        over.set()
        await showing


async def _first_of(*waits: Any) -> None:
    """Wait for the first; cancel the others that are ours; raise what it raised."""
    tasks = [wait if isinstance(wait, asyncio.Task) else asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task, wait in zip(tasks, waits, strict=True):
            if task is not wait and not task.done():
                task.cancel()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _nothing(over: asyncio.Event) -> None:
    await over.wait()


def _live(shown: Shown, console: Console, folder: Path) -> Callable[[asyncio.Event], Any]:
    """Make what redraws the table until it is over."""
    daq = Path(sys.prefix) / "bin" / "daq"

    def footer() -> str:
        heard = f"mosquitto_sub -V 5 -p {shown.port} -t 'bench/v1/+/+/+/obs/#' -v"
        if shutil.which("mosquitto_sub") is None:
            heard = f"{daq} watch {folder / 'demo.yaml'} --json"
        return (
            f"All simulated, on this machine alone; broker: {broker_name()}. Ctrl-C ends it. In another terminal:\n"
            f"{heard}\nexport XDG_STATE_HOME={folder}; {daq} status; {daq} tap dmm1"
        )

    return lambda over: draw(shown.board, footer, over, console)


def _bench_file(folder: Path, instruments: Any, wires: Any, port: int) -> Loaded:
    """Write the bench of this run (JSON is YAML) and load it, as the daemon will."""
    source = data_path("configs") / "demo.yaml"
    here = placed(read_yaml(source, str(source)).data, instruments, wires, port)
    path = folder / "demo.yaml"
    path.write_text(json.dumps(here, indent=2), encoding="utf-8")
    return load_bench(path)


def _report(witness: Path, loaded: Loaded, shown: Shown, kept: Iterable[Record]) -> dict[str, Any]:
    """Audit what came against the witness and the journal."""
    audit = Audit(Witness(witness.read_text(encoding="utf-8").splitlines()), _places(loaded))
    for payload, arrived_ns in shown.arrived:
        audit.take(payload, arrived_ns)
    published = {orjson.loads(record.payload)["id"] for record in kept if record.kind == "obs"}
    every = {
        f"{name}/{poll.name}": None if poll.every_ns is None else poll.every_ns / 1e9
        for name, plan in loaded.plans.items()
        for poll in plan.polls
    }
    audit.settle(every, published, shown.until_utc_ns)
    used = {wiring.interface for wiring in wirings(loaded.bench, loaded.drivers)}
    return {
        "instruments": len(audit.instruments),
        "interfaces": [interface for interface in INTERFACES if interface in used],
        "published": len(published),
        "received": audit.received,
        "readings": audit.readings,
        "wrong": audit.wrong,
        "lost": audit.lost,
        "duplicates": audit.duplicates,
        "outside_bounds": audit.outside,
        "slots_unaccounted": audit.unaccounted,
        "statuses": dict(audit.statuses),
        "latency_ms": {"p50": audit.percentile_ms(50), "p99": audit.percentile_ms(99)},
        "simulated": audit.simulated,
        "broker": broker_name(),
        "told": audit.told,
    }


def _places(loaded: Loaded) -> dict[str, Mapping[str, Place]]:
    """Return where the channels of each instrument stand in its answers."""
    return {name: PLACES.get(plan.driver, {}) for name, plan in loaded.plans.items()}


def all_is_well(report: dict[str, Any]) -> bool:
    """Say whether the demonstration showed what it promises."""
    faults = ("wrong", "lost", "outside_bounds", "slots_unaccounted")
    silent = report["received"] == 0 or set(report["interfaces"]) != set(INTERFACES)
    bad = set(report["statuses"]) - EXPECTED
    return not silent and not bad and report["simulated"] and not any(report[fault] for fault in faults)

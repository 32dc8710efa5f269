"""The campaign: everything runs, every wire is struck again and again, the broker too; then it is judged.

Each wire has a task of its own that strikes, waits until the daemon has values again, and strikes anew, in an order
that the seed gives. One task strikes the broker. Everything else only watches: the ear at the broker, the daemon's
control socket, /proc.

    Plan -> House -> strikes, evidence -> verdict.Judge -> Verdict
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from daq.load import load_bench
from tests.brokers import Mosquitto
from tests.faults.bench import (
    CALM,
    DRIVERS,
    EVERY_S,
    NEIGHBOURS,
    PLACES,
    WORLD,
    Place,
    kind,
    latency_s,
    make_wires,
    write_bench,
)
from tests.faults.broker import BrokerWire
from tests.faults.health import NS, OK, Differed, Said, from_each_other, from_what_came, longest, note
from tests.faults.identity import Names, certificates
from tests.faults.outages import SMALL, SMALL_ONLY, Outages, passwords
from tests.faults.process import running, sample
from tests.faults.strikes import FAULTS, Fault
from tests.faults.verdict import Evidence, Judge, Sample, Verdict, by_tenth, growth, leaked
from tests.faults.wires import Strike, Wire
from tests.system.house import ROOT, Daemon, Ear, World, living

PATIENCE_S = 90.0
"""An instrument that gives no value for so long after a fault has not recovered."""

SHARED_S = 6.0
"""Between two strikes at a shared wire: what its failing units may take of it is bounded; they wait for their turn."""

BROKER = "broker"
SILENT_S = 2.0
"""A broker that has owed an answer for so long is not well, connected or not."""

SECRET = "s3cr3t-of-the-campaign"
GROWTH_KIB = 48 * 1024
"""Journal pages, allocator and caches may grow by so much from the first good minute to the last."""


@dataclass(frozen=True)
class Plan:
    """What to do.

    Args:
        seconds: how long to strike.
        danger: 1 for the most dangerous faults alone, 2 for all.
        seed: gives the order of the strikes and all damage.
        hold_s: how long an outage of the broker lasts.
        only: wires to strike, "broker" among them; all where it is empty.
    """

    seconds: float
    danger: int
    seed: int
    hold_s: float = 5.0
    only: frozenset[str] = frozenset()

    def strikes(self, wire: str) -> bool:
        """Say whether this wire is struck."""
        return not self.only or wire in self.only


@dataclass
class Campaign:
    """One run, from nothing to the verdict."""

    folder: Path
    plan: Plan
    strikes: list[Strike] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    good: dict[str, int] = field(default_factory=dict)
    secret: str = SECRET
    missed: list[str] = field(default_factory=list)
    said: dict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    """Instrument, or BROKER -> the changes of its status."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Verdict:
        self.world = World(self.folder, WORLD)
        (self.folder / "broker").mkdir()
        self.names = Names(self.folder / "names")
        self.shown = certificates(self.folder)
        self.broker = Mosquitto(self.folder / "broker")
        self.ear = Ear(self.broker.port)
        self.wires: dict[str, Wire] = {}
        self.broker_wire = BrokerWire(self.broker.port)
        self.broker_wire.shows = self.shown["good"]
        passwords(self.folder, self.secret)
        self.broker.config = self.broker_config()
        command = (sys.executable, "-m", "tests.faults.identity", str(self.names.file))
        self.daemon = Daemon(self.folder / "bench.yaml", self.folder, {"PYTHONPATH": str(ROOT)}, command)
        watching: asyncio.Task[None] | None = None
        try:
            await self._start()
            watching = asyncio.create_task(self._watch(), name="watch")
            ill = await self._ill()
            assert not ill, ill
            self.well_ns = time.monotonic_ns()
            first = await self._calm_sample()
            await self._strike_all()
            ill = await self._ill()
            last = await self._calm_sample()
            await self._delivered()
            kept = await asyncio.to_thread(self._journal)
            verdict = await self._judged(kept)
            verdict.growth, verdict.held_mib = growth(self.samples, self.strikes), by_tenth(self.samples)
            verdict.broken += leaked(first, last, GROWTH_KIB)
            verdict.told += self.missed
            verdict.broken += [*self._unannounced(), *ill]
            return verdict
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await self._end()

    # ------------------------------------------------------------ begin and end

    async def _start(self) -> None:
        """Start the daemon before there is a broker; each instrument gives a value all the same."""
        await asyncio.to_thread(self.world.start)
        self.wires = make_wires(self.folder, self.world.ready, self.names)
        for wire in self.wires.values():
            await wire.open()
        await self.broker_wire.open()
        await self.broker_wire.shut()
        write_bench(self.folder, self.world, self.wires, self.broker_wire.port, SECRET)
        await asyncio.to_thread(self.daemon.start)
        await asyncio.to_thread(self.daemon.said, "dmm1: ok")
        outages = Outages(self)
        absent = outages.begin("broker absent at the start")
        await asyncio.to_thread(self.broker.start)
        self.ear.start()
        await asyncio.to_thread(self.ear.listening)
        await outages.over(absent)

    async def _end(self) -> None:
        await asyncio.to_thread(self.ear.stop)
        if self.daemon.process is not None:
            await asyncio.to_thread(self.daemon.kill)
        for wire in self.wires.values():
            await wire.close()
        await self.broker_wire.close()
        await asyncio.to_thread(self.world.stop)
        await asyncio.to_thread(self.broker.stop)

    # ------------------------------------------------------------ watching

    async def _watch(self) -> None:
        while True:
            told = (await asyncio.to_thread(self.daemon.ask, do="status"))[0]
            self.good = {name: each["good"] for name, each in told["instruments"].items()}
            self.told = told
            now_ns = time.monotonic_ns()
            for name, each in told["instruments"].items():
                note(self.said[name], now_ns, each["status"])
            sink = told["sinks"]["mqtt"]
            well = sink["connected"] and sink["unanswered_s"] < SILENT_S and sink["why"] is None
            note(self.said[BROKER], now_ns, OK if well else "ill")
            self.samples.append(sample(self.daemon.family(), [self.world.ready["pid"]]))
            await asyncio.sleep(0.1)

    async def _calm_sample(self) -> Sample:
        """The least it held in a second: whoever asks it how it fares costs a descriptor for a moment."""
        seen = len(self.samples)
        await self.until(lambda: len(self.samples) >= seen + 8)
        return min(self.samples[seen:], key=lambda one: (one.descriptors, one.threads))

    async def until(self, question: Callable[[], Any], within_s: float = PATIENCE_S) -> bool:
        deadline = time.monotonic() + within_s
        while not question():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _ill(self) -> list[str]:
        """Wait until each instrument has given values and said ok, if not all at one moment; say who never did."""
        await self.until(lambda: self.good)
        before, ill = dict(self.good), set(self.good)

        def well() -> bool:
            nonlocal ill
            ill = {name for name in ill if self.good[name] <= before[name] + 2 or self._status(name)[0] != "ok"}
            return not ill

        await self.until(well)
        return [f"{name}: never well: {self._status(name)}" for name in sorted(ill)]

    def _status(self, name: str) -> tuple[str, str | None]:
        told = self.told["instruments"][name]
        return told["status"], told["why"]

    async def _delivered(self) -> None:
        """Wait until the backlog is delivered: for as long as it becomes smaller."""

        def backlog() -> float:
            held = self.told["sinks"]["mqtt"]["backlog"]
            return float("inf") if held is None else float(held)

        while (least := backlog()) and await self.until(lambda least=least: backlog() < least):
            pass
        assert not backlog(), self.told["sinks"]

    # ------------------------------------------------------------ strikes

    async def _strike_all(self) -> None:
        loaded = await asyncio.to_thread(load_bench, self.folder / "bench.yaml")
        self.integrity = {
            f"{name}/{poll.name}": str(poll.integrity.value)
            for name, plan in loaded.plans.items()
            for poll in plan.polls
        }
        self.every_s = {
            f"{name}/{poll.name}": None if poll.every_ns is None else poll.every_ns / 1e9
            for name, plan in loaded.plans.items()
            for poll in plan.polls
        }
        async with asyncio.TaskGroup() as group:
            for place in PLACES:
                if self.plan.strikes(place.wire):
                    group.create_task(self._strike_wire(place), name=f"strikes[{place.wire}]")
            if self.plan.strikes("broker"):
                group.create_task(Outages(self).run(), name="strikes[broker]")
            await asyncio.sleep(self.plan.seconds)
            self.stopping.set()

    async def _strike_wire(self, place: Place) -> None:
        rng = random.Random(f"{self.plan.seed}/{place.wire}")
        fitting = [
            (instrument, fault)
            for instrument, fits in place.fits.items()
            for fault in FAULTS
            if fault.where & set(fits.split()) and fault.danger <= self.plan.danger
        ]
        while fitting:
            for instrument, fault in rng.sample(fitting, len(fitting)):
                if self.stopping.is_set():
                    return
                await asyncio.sleep(rng.uniform(0, EVERY_S) + (SHARED_S if len(place.fits) > 1 else 0))
                await self._strike(place, instrument, fault, rng)

    async def _strike(self, place: Place, instrument: str, fault: Fault, rng: random.Random) -> None:
        integrity = next(what for poll, what in self.integrity.items() if poll.startswith(f"{instrument}/"))
        unit = WORLD["instruments"][instrument]["at"].get("unit") if place.framing == "rtu" else None
        strike = Strike(
            fault=fault.name,
            instrument=instrument,
            rng=random.Random(rng.random()),
            latency_s=latency_s(instrument),
            act=fault.act,
            unit=unit,
            times=rng.randint(1, fault.most) if len(place.fits) == 1 else 1,
            hidden=integrity in fault.hidden_by,
        )
        strike.begun_ns = time.monotonic_ns()
        self.strikes.append(strike)
        wire = self.wires[place.wire]
        if fault.act is not None:
            if not await wire.strike(strike, PATIENCE_S):  # left alone after the strike before, and asked too late
                self.strikes.remove(strike)
                self.missed.append(f"{fault.name} found nothing to strike at {instrument}")
                return
        elif fault.on_wire is not None:
            await fault.on_wire(wire, strike)
        else:
            await self._strike_instrument(strike, fault, wire)
        strike.ended_ns = time.monotonic_ns()
        before = self.good[instrument]
        if await self.until(lambda: self.good[instrument] > before):
            strike.healed_ns = time.monotonic_ns()
            await self.until(lambda: self.good[instrument] > before + 1)

    async def _strike_instrument(self, strike: Strike, fault: Fault, wire: Wire) -> None:
        assert fault.in_instrument is not None
        if fault.in_instrument == "panel":
            await asyncio.to_thread(self._turn_the_knob, strike.instrument)
            return
        if fault.in_instrument == "hung call":
            await self._hang_the_library()
            return
        if fault.in_instrument == "overload":
            await asyncio.to_thread(self.world.fault, strike.instrument, "overload", times=strike.times)
            await asyncio.sleep((strike.times + 1) * EVERY_S)
        else:
            await asyncio.to_thread(self.world.fault, strike.instrument, "other_serial")
            await wire.shut()
            await wire.open()
            await asyncio.sleep(strike.rng.uniform(1, 2))
        await asyncio.to_thread(self.world.clear, strike.instrument)

    async def _hang_the_library(self) -> None:
        """Have the call in the VISA process never return: it stands still, until the daemon ends it."""
        found = running(self.daemon.family(), "visa_child")
        assert len(found) == 1, found
        os.kill(found[0], signal.SIGSTOP)
        assert await self.until(lambda: not living(found)), "the process whose call hangs was never ended"

    def _turn_the_knob(self, instrument: str) -> None:
        """Somebody chooses ohms, through a second connection: what the instrument answers from now on are no volts."""
        host, _, port = self.world.ready["instruments"][instrument]["tcp"].partition(":")
        with socket.create_connection((host, int(port)), 10) as panel:
            panel.sendall(b"CONF:RES 10000\nRES:NPLC 0.2\n*IDN?\n")
            panel.recv(100)

    # ------------------------------------------------------------ the broker

    def broker_config(self) -> list[str]:
        """Return the lines of the broker's configuration that no outage changes."""
        file = self.folder / "broker" / "passwords"
        return ["max_queued_messages 100000", f"acl_file {self.acl(())}", f"password_file {file}"]

    def acl(self, denied: tuple[str, ...]) -> Path:
        """Write who may do what at the broker: everybody everything, but for some instruments."""
        path = self.folder / "broker" / "acl"
        lines = [*(f"topic deny bench/v1/lab/b1/{name}/#" for name in denied), "topic readwrite #"]
        path.write_text("\n".join([*lines, "user bench", *lines]) + "\n")
        path.chmod(0o600)
        return path

    # ------------------------------------------------------------ judging

    def _journal(self) -> dict[str, bytes]:
        parts = self.daemon.ask(do="journal_export", since_ns=0, until_ns=2**63 - 1)
        payloads = [part["payload"].encode() for part in parts if part["kind"] == "obs"]
        assert payloads, "the journal holds nothing"
        return {json.loads(payload)["id"]: payload for payload in payloads}

    async def _judged(self, kept: dict[str, bytes]) -> Verdict:
        self._note_large(kept)
        await self.until(lambda: not self._missing(kept), 10)
        evidence = Evidence(
            heard=[(heard.payload, heard.arrived_ns) for heard in self.ear.obs()],
            kept=kept,
            witness=self.world.witness(),
            drivers={name: DRIVERS[kind(name)] for name in WORLD["instruments"]},
            integrity=self.integrity,
            every_s=self.every_s,
            strikes=self.strikes,
            calm=CALM,
            neighbours=NEIGHBOURS,
            acknowledged=frozenset(self.broker_wire.acknowledged),
            refused=frozenset(self.broker_wire.refused),
            samples=list(self.samples),  # what is seen while it is judged has no part in it
            well_ns=self.well_ns,
        )
        judge = Judge(evidence)
        verdict = await asyncio.to_thread(judge.judge)
        end_ns = evidence.samples[-1].at_ns
        judge.take_health(*await asyncio.to_thread(self._health, verdict, end_ns))
        return verdict

    def _health(self, verdict: Verdict, end_ns: int) -> tuple[Differed, Differed]:
        """Say for how long, until then, the status differed from what came, and the broker's copy from it."""
        told: dict[str, list[Said]] = defaultdict(list)
        for heard in (each for each in self.ear.heard if each.arrived_ns < end_ns):
            if heard.levels[-1] == "status" and heard.instrument is not None and heard.payload:
                told[heard.instrument].append(Said(heard.arrived_ns, heard.json["status"]))
        shut = [(each.begun_ns, each.healed_ns or end_ns) for each in self.strikes if each.instrument == BROKER]
        arrived = [heard.arrived_ns for heard in self.ear.obs()]
        struck = sorted(at_ns for begun_ns, until_ns in shut for at_ns in range(begun_ns, until_ns, NS))
        said = {name: [each for each in its if each.at_ns < end_ns] for name, its in self.said.items()}
        found = [from_what_came(BROKER, said.pop(BROKER), arrived, struck, end_ns)]
        found += [from_what_came(name, its, *verdict.came[name], end_ns) for name, its in said.items()]
        copies = [from_each_other(name, its, told[name], shut, end_ns) for name, its in said.items()]
        return longest(found), longest(copies)

    def _unannounced(self) -> list[str]:
        """Say of which streams the broker refused observations while no event says so."""
        events = self.ear.events("refused")  # of what is told again as retained state there is a topic, and no stream
        announced = {event.get("stream") or "/".join(event["topic"].split("/")[4:]) for event in events}
        refused = {"/".join(name.split(".")[2:4]) for name in self.broker_wire.refused}
        return [f"{stream}: refused, and no event says so" for stream in sorted(refused - announced)]

    def _note_large(self, kept: dict[str, bytes]) -> None:
        """What was too large for the broker while it took small packets only, and announced: refused before it went."""
        announced = {event["topic"].split("/")[4] for event in self.ear.events("refused", code=149)}
        offset_ns = time.time_ns() - time.monotonic_ns()
        for strike in self.strikes:
            if strike.fault != SMALL_ONLY:
                continue
            for name, payload in kept.items():
                at_ns = datetime.fromisoformat(json.loads(payload)["t"]).timestamp() * 1e9 - offset_ns
                large = len(payload) > SMALL - 200 and name.split(".")[2] in announced
                if large and strike.begun_ns - 1e9 <= at_ns <= (strike.healed_ns or strike.ended_ns) + 1e9:
                    self.broker_wire.refused.add(name)

    def _missing(self, kept: dict[str, bytes]) -> set[str]:
        here = {heard.json["id"] for heard in self.ear.obs()}
        return set(kept) - here - self.broker_wire.acknowledged - self.broker_wire.refused


async def run(folder: Path, plan: Plan) -> Verdict:
    """Run a campaign in an empty folder with a short name."""
    return await Campaign(folder, plan).run()

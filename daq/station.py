"""The daemon: owns, supervises, starts, stops and reloads every line and sink, and feeds the sinks from the journal.

It judges no reply and moves no byte. What a line observes goes into the journal first; what the journal has committed
goes to the sinks; what people ask goes through the control socket.

    Loaded -> Station -> lines -> journal -> sinks          control -> Answers -> Station

Start:  journal (takes the lock), control socket, sinks, lines, READY.
Stop:   no new slots, exchanges in flight end, teardown, last commit, bounded drain of the sinks, `offline`, close.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from daq import build, state
from daq.answers import Answers
from daq.archive import JOURNAL
from daq.clock import Clock, Discipline, SystemClock, boot_id
from daq.control import Control
from daq.core.errors import ConfigError
from daq.core.observation import NS, Identity
from daq.core.record import Entry
from daq.core.schedule import ClockWatch
from daq.core.wiring import Wiring
from daq.journal import Journal
from daq.line import Line, Outlets
from daq.load import Loaded, load_bench
from daq.loop import new_event_loop
from daq.marks import Marks
from daq.recorder import Recorder
from daq.session import Met
from daq.sinks.mqtt import MqttSink
from daq.sinks.publisher import MqttSettings
from daq.supervise import done_before, supervise
from daq.systemd import Notifier, from_environment
from daq.transports.aside import Aside

log = logging.getLogger(__name__)

STOP_NS = 9 * NS
"""From the signal to the last close; the service manager kills at 15 s."""

LOOK_BACK_NS = 2 * NS
"""For finding where each poll left off when the station ended."""

LINES_STOP_NS = 3 * NS
"""For the exchange in flight and the teardown; a line that takes longer is cancelled."""

JOURNAL_STOP_NS = 2 * NS
"""Kept back for the last commit."""

TICK_NS = NS
"""How often the clocks are compared and everybody's progress is looked at."""

LOAD_NS = 30 * NS
"""For reading the files again: they may stand on a share that hangs."""

SWITCH_S = 0.001
"""How long loop and journal keep the interpreter from each other. Python's 5 ms make late polls while the journal
prints records, and a slow journal while the loop is busy."""

COLLECT_AT = 10_000
"""So many more objects before the youngest are looked through for circles. At Python's 700 that is ten times a second
at 1000 observations a second, for records that only wait for the broker; it took 2 % of the loop's time."""

HELD = "The disk does not let the journal be opened, nor say why not. Nothing is asked before that."

FULL = "the journal is full of what was not delivered, and the bench file says when_full: stop_polling"

Fresh = tuple[Loaded, MqttSettings | None]
"""What a reload has read: the files, and what the broker needs where that is another than before."""

STUCK_NS = 20 * NS
"""A line or a journal that is so long past its own next deadline is stuck; the watchdog is not fed then."""


@dataclass(slots=True)
class Running:
    """A line that is served.

    Args:
        digest: of all it was made from.
    """

    line: Line
    wiring: Wiring
    digest: str
    task: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload changed: instruments by what became of them, and how many wires it did not touch."""

    added: list[str]
    removed: list[str]
    restarted: list[str]
    kept: int


class Station:
    """One bench, served from `run` until it is told to stop.

    Args:
        loaded: its files, found right.
        folder: where its journal, lock and marks stand.
        clock: time.
        notifier: the service manager, or nobody.
    """

    def __init__(self, loaded: Loaded, folder: Path, clock: Clock, notifier: Notifier) -> None:
        self.loaded = loaded
        self.clock = clock
        self.since_ns = clock.now().utc_ns
        self.boot = boot_id()
        self.discipline = Discipline()
        self.marks = Marks(folder / "marks.json")
        self.lines: dict[str, Running] = {}
        self.sink: MqttSink | None = None
        self.phases: dict[tuple[str, str], int] = {}
        self._watch = ClockWatch(clock.anchor())  # before any line takes its own anchor: no step may fall between
        self._folder = folder
        self._notifier = notifier
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._loading: Aside[Fresh] = Aside("load[bench]", discard=lambda _: None)
        self._sink_task: asyncio.Task[None] | None = None
        self._retained: dict[str, bytes] = {}
        self.stuck: list[str] = []
        """Lines, and the journal, far past their own deadline; the watchdog is not fed meanwhile."""
        self._tasks: asyncio.TaskGroup
        self._background: set[asyncio.Task[None]] = set()
        limits = loaded.bench.journal
        self.journal = Journal(
            folder / JOURNAL,
            max_bytes=limits.max,
            keep_ns=limits.keep,
            when_full=limits.when_full,
            announce=self._event_entry,
            now_utc_ns=lambda: clock.now().utc_ns,
            sinks=["mqtt"] if loaded.bench.mqtt else [],
        )
        self.recorder = Recorder(
            loaded, self.boot, clock, self.journal.append, retain=self._retain, forget=self._forget
        )

    # ------------------------------------------------------------ life

    def stop(self) -> None:
        """Ask it to end, within STOP_NS."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve the bench until `stop`.

        Raises:
            ConfigError: the state folder is in use or not ours, or a secret cannot be read; nothing was started.
        """
        mqtt = self.loaded.bench.mqtt
        sink = self._sink(None if mqtt is None else build.mqtt_settings(mqtt))
        await self._reloading.acquire()  # who asks for it while the station starts waits until all of it stands
        async with AsyncExitStack() as stack:
            if not await done_before(self._stopping, self.journal.open(), HELD):
                log.warning("%s stops, and has not begun. %s", self.name, HELD)
                return
            stack.push_async_callback(self._close_journal)
            await stack.enter_async_context(Control(state.socket_path(self._folder), Answers(self).verbs))
            async with asyncio.TaskGroup() as self._tasks:
                self._spawn("clock[discipline]", self.discipline.follow(self.clock))
                self._expose(stack)
                self._start_sink(sink)
                for _, words in self.loaded.overfull:
                    log.warning("%s", words)
                self.phases = build.phases_of(self.loaded)
                since = await self._left_off()
                for planned in build.planned(self.loaded, self.phases).values():
                    self._start_line(self.loaded, self.phases, planned, since)
                self._spawn("station[tick]", self._tick())
                self._notifier.ready(f"{len(self.loaded.plans)} instruments on {len(self.lines)} wires")
                log.info("%s runs: %d instruments on %d wires", self.name, len(self.loaded.plans), len(self.lines))
                self._reloading.release()
                await self._stopping.wait()
                await self._wind_down()
                for task in self._background:
                    task.cancel()

    @property
    def name(self) -> str:
        """`site/name`."""
        named = self.loaded.bench.station
        return f"{named.site}/{named.name}"

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start something that goes on until the station ends."""
        task = self._tasks.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _expose(self, stack: AsyncExitStack) -> None:
        """Let Prometheus read, where the bench file says so."""
        if self.loaded.bench.metrics is not None:
            from daq.metrics import Exposition, Figures  # noqa: PLC0415  a tenth of a second that most benches save

            exposition = Exposition(self.loaded.bench.metrics, Figures(self))
            exposition.start()
            stack.callback(exposition.stop)

    async def _wind_down(self) -> None:
        """End lines, then sinks, each within its share of STOP_NS; past it they are left hard."""
        self._notifier.stopping()
        deadline_ns = self.clock.now().mono_ns + STOP_NS
        log.info("%s stops", self.name)
        await self._stop_lines(self.lines.values())
        await self._stop_sink(deadline_ns - JOURNAL_STOP_NS)

    async def _close_journal(self) -> None:
        if not await self.journal.close(JOURNAL_STOP_NS / NS):
            log.error("the disk did not take the last commit within %d s", JOURNAL_STOP_NS // NS)

    # ------------------------------------------------------------ lines

    async def _left_off(self) -> build.Phases:
        """Return until when the slots of each poll are accounted for (mono ns), as the journal knows it."""
        names, last_ns = [f"{name}/{poll}" for name, poll in self.phases], dict[str, int]()
        with contextlib.suppress(TimeoutError):  # no disk may keep a line from its start
            async with asyncio.timeout(2 * LOOK_BACK_NS / NS):
                last_ns = await self.journal.last_slots(names, LOOK_BACK_NS)
        return build.left_off(self.loaded, last_ns, self.clock.now())

    def _start_line(self, loaded: Loaded, phases: build.Phases, planned: build.Planned, since: build.Phases) -> None:
        """Make a line and let it run; `since`: until when the slots of its polls are accounted for already."""
        name = planned.wiring.name
        line = build.line(loaded, planned.wiring, phases, self.clock, self._outlets(loaded, phases), since)
        run = supervise(f"line[{name}]", line.run, self.clock, partial(self._failed_inside, planned.wiring.instruments))
        self.lines[name] = Running(line, planned.wiring, planned.digest, self._spawn(f"line[{name}]", run))

    def _outlets(self, loaded: Loaded, phases: build.Phases) -> Outlets:
        """Say where a line's results go; what it is described by are the files that it was made from."""
        return Outlets(
            emit=self.recorder.observed,
            announce=lambda event, details: self.recorder.announced(event, **details),
            describe=partial(self._described, loaded, phases),
            verdict=self.recorder.fares,
            context=partial(getattr, self.marks, "pairs"),
            clock_state=partial(getattr, self.discipline, "state"),
            held=lambda: FULL if self.journal.full else None,
        )

    async def _stop_lines(self, lines: Collection[Running]) -> None:
        """End lines together; one that hangs is left hard after LINES_STOP_NS, and accounts for its slots even so."""
        for running in lines:
            running.line.stop()
        await asyncio.gather(*(self._ended(running) for running in lines))

    async def _ended(self, running: Running) -> None:
        _, late = await asyncio.wait([running.task], timeout=LINES_STOP_NS / NS)
        if late:
            log.warning("line[%s] did not end in %d s and is left hard", running.wiring.name, LINES_STOP_NS // NS)
            running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)

    def _failed_inside(self, instruments: Sequence[str], why: str) -> None:
        """A line or a sink raised what nobody foresaw; its instruments are not read until it has started again."""
        for instrument in instruments or (None,):
            self.recorder.announced("internal", instrument=instrument, why=why)

    def _event_entry(self, event: str, details: Mapping[str, Any]) -> Entry:
        """Make the journal's own events; it has none before there is a recorder."""
        return self.recorder.event_entry(event, details)

    def _described(self, loaded: Loaded, phases: build.Phases, instrument: str, met: Met | None) -> str:
        plan = loaded.plans[instrument]
        own = {poll: phase_ns for (name, poll), phase_ns in phases.items() if name == instrument}
        known = met or Met(Identity(plan.asset), simulated=plan.simulated)
        return self.recorder.met(loaded, plan, own, known)

    # ------------------------------------------------------------ the sink

    def _sink(self, mqtt: MqttSettings | None) -> MqttSink | None:
        """Make the sink the bench file asks for."""
        if mqtt is None:
            return None
        return MqttSink(
            mqtt,
            topics=self.recorder.topics,
            boot=self.boot,
            open_feed=self.journal.feed,
            announce=self.recorder.announced,
            clock=self.clock,
        )

    def _start_sink(self, sink: MqttSink | None) -> None:
        self.sink = sink
        if sink is None:
            log.warning("%s has no mqtt: in its bench file: observations stay in the journal", self.name)
            return
        name = f"sink[{sink.name}]"
        failed = partial(self._failed_inside, ())
        self._sink_task = self._spawn(name, supervise(name, sink.run, self.clock, failed))
        for topic, payload in self._retained.items():
            sink.retain(topic, payload)

    async def _stop_sink(self, deadline_ns: int) -> None:
        """Let the sink deliver what is committed, and say good-bye; a disk that hangs is not waited for any longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JOURNAL_STOP_NS / NS):
                await self.journal.flush()
        if self.sink is None or self._sink_task is None:
            return
        if not await self.sink.stop(deadline_ns):
            log.warning("%s did not take everything in time; the journal keeps the rest", self.sink.name)
        self._sink_task.cancel()
        await asyncio.gather(self._sink_task, return_exceptions=True)

    def _retain(self, topic: str, payload: bytes) -> None:
        if self._retained.get(topic) == payload:
            return
        self._retained[topic] = payload
        if self.sink is not None:
            self.sink.retain(topic, payload)

    def _forget(self, topic: str) -> None:
        self._retained.pop(topic, None)
        if self.sink is not None:
            self.sink.forget(topic)

    # ------------------------------------------------------------ reload

    async def reload(self) -> Reloaded:
        """Read the files again and restart the lines that they change; all others go on untouched.

        Raises:
            ConfigError: the new files are wrong, or change what only a restart can; the old stay in force.
        """
        async with self._reloading:
            self._notifier.reloading()
            try:
                changed = await self._reload()
            except ConfigError as error:
                self.recorder.announced("reload", outcome="refused", problems=error.problems)
                raise
            finally:
                self._notifier.ready(f"{len(self.loaded.plans)} instruments on {len(self.lines)} wires")
            self.recorder.announced("reload", outcome="done", **asdict(changed))
            return changed

    async def _reload(self) -> Reloaded:
        deadline_ns = self.clock.now().mono_ns + LOAD_NS
        try:
            fresh, mqtt = await self._loading.run(self._read_anew, deadline_ns)
        except TimeoutError:
            raise ConfigError(
                [f"{self.loaded.path}: cannot be read within {LOAD_NS // NS} s. Is its share there?"]
            ) from None
        build.refuse_what_needs_a_restart(self.loaded, fresh)
        old, phases = self.loaded, build.phases_of(fresh, self.phases)
        wanted = build.planned(fresh, phases)
        kept = {name for name, line in self.lines.items() if name in wanted and wanted[name].digest == line.digest}
        ended = [running for name, running in self.lines.items() if name not in kept]
        for running in ended:  # they stay in the table until others take their place: status goes on telling of them
            running.line.stop()
        ends = [(running, asyncio.create_task(self._ended(running))) for running in ended]
        self.loaded, self.phases = fresh, phases
        self.recorder.adopt(fresh)
        begun = [planned for name, planned in wanted.items() if name not in kept]
        await asyncio.gather(*(self._replace(planned, ends) for planned in begun), *(end for _, end in ends))
        for running in ended:
            if self.lines.get(running.wiring.name) is running:
                del self.lines[running.wiring.name]
        for instrument in old.plans.keys() - fresh.plans.keys():
            self.recorder.gone(instrument)
        if fresh.bench.mqtt != old.bench.mqtt:
            sink = self._sink(mqtt)
            await self._stop_sink(self.clock.now().mono_ns + LINES_STOP_NS)
            self._start_sink(sink)
        self._tell_station()
        anew = {name for planned in begun for name in planned.wiring.instruments}
        return Reloaded(
            added=sorted(anew - old.plans.keys()),
            removed=sorted(old.plans.keys() - fresh.plans.keys()),
            restarted=sorted(anew & old.plans.keys()),
            kept=len(kept),
        )

    def _read_anew(self) -> Fresh:
        """Read files and secret, which may stand on a share that hangs. Raises ConfigError where one is wrong."""
        fresh = load_bench(self.loaded.path)
        mqtt = fresh.bench.mqtt
        return fresh, None if mqtt is None or mqtt == self.loaded.bench.mqtt else build.mqtt_settings(mqtt)

    async def _replace(self, planned: build.Planned, ends: Sequence[tuple[Running, asyncio.Task[None]]]) -> None:
        """Start a line as soon as those have ended that had its wire or its instruments; nobody waits for the others.

        It goes on where they left off: the slots between are its to account for.
        """
        own = [(running, end) for running, end in ends if _overlap(running.wiring, planned.wiring)]
        await asyncio.gather(*(end for _, end in own))
        since = {
            (name, poll.name): running.line.accounted_mono_ns
            for running, _ in own
            for name in running.wiring.instruments
            for poll in running.line.parties[name].session.polls
        }
        self._start_line(self.loaded, self.phases, planned, since)

    # ------------------------------------------------------------ once a second

    async def _tick(self) -> None:
        """Compare the clocks, look at everybody's progress, feed the watchdog where there is some."""
        while True:
            self._look_at_clock()
            self.journal.look_for_a_stall()
            self._tell_station()
            stuck = self._stuck()
            if stuck != self.stuck:
                self.stuck = stuck
                if stuck:
                    log.error("no progress: %s; the watchdog is not fed", ", ".join(stuck))
            if not stuck:
                self._notifier.alive()
            await self.clock.wait(self.clock.now().mono_ns + TICK_NS)

    def _look_at_clock(self) -> None:
        step = self._watch.saw(self.clock.anchor())
        if step is None:
            for running in self.lines.values():
                running.line.follow(self._watch.anchor)
            return
        self.recorder.announced("clock_step", seconds=step.size_ns / NS)
        for running in self.lines.values():
            if not running.task.done():  # who has ended has accounted for his slots
                running.line.clock_stepped(step)

    def _stuck(self) -> list[str]:
        """Return who is far past his own next deadline; a wait for an absent instrument has one too."""
        now_ns = self.clock.now().mono_ns
        late = [name for name, running in self.lines.items() if now_ns - running.line.progress_mono_ns > STUCK_NS]
        if now_ns - self.journal.progress_mono_ns > STUCK_NS:
            late.append("journal")
        return late

    def _tell_station(self) -> None:
        """Keep the station's own info at the broker; told again only where it changed."""
        limits = {"journal_bytes": self.loaded.bench.journal.max, "journal_keep_s": self.loaded.bench.journal.keep / NS}
        health = self.journal.health
        self.recorder.station_info(health.epoch or "", health.state, self.discipline.state, limits)


def _overlap(one: Wiring, other: Wiring) -> bool:
    """Say whether two wires may not be served at once: the same address, or the same instrument."""
    return one.wire.address == other.wire.address or not set(one.instruments).isdisjoint(other.instruments)


def run_station(bench: Path) -> None:
    """Run the station of a bench file until SIGTERM or SIGINT; SIGHUP reloads.

    Raises:
        ConfigError: the files, the state folder or a secret are not right.
    """
    loaded = load_bench(bench)
    named = loaded.bench.station
    station = Station(loaded, state.state_folder(named.site, named.name), SystemClock(), from_environment())
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_with_signals(station))


async def _with_signals(station: Station) -> None:
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        with contextlib.suppress(ConfigError):  # announced, and in the log
            await station.reload()

    def hup() -> None:
        task = loop.create_task(reload(), name="station[reload]")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, station.stop)
    loop.add_signal_handler(signal.SIGINT, station.stop)
    loop.add_signal_handler(signal.SIGHUP, hup)
    gc.freeze()  # what is loaded now stays: looking through it again is what makes late polls
    gc.set_threshold(COLLECT_AT)
    sys.setswitchinterval(SWITCH_S)
    await station.run()

"""Turns what lines say into what is kept and what is told: journal entries, and the state that stays at the broker.

It never waits and never talks to the broker or the disk itself: entries go into the journal's queue, retained state to
the sinks, which tell it whenever they have connected.

    line -> observed, announced, met, fares -> Recorder -> journal (Entry), sinks (retain, forget)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import daq
from daq.clock import Clock
from daq.core.health import Verdict
from daq.core.info import (
    ChannelInfo,
    InstrumentInfo,
    JournalState,
    PollInfo,
    StationInfo,
    info_hash,
    instrument_info_payload,
    station_info_payload,
)
from daq.core.message import (
    StationName,
    Topics,
    event_payload,
    instrument_status_payload,
)
from daq.core.observation import NS, ClockState, Kind, Observation
from daq.core.observation_message import Printer
from daq.core.plan import ChannelPlan, InstrumentPlan, PollPlan
from daq.core.record import Entry
from daq.load import Loaded
from daq.session import Met

log = logging.getLogger(__name__)

UNPRINTED_SIZE = 1024
"""Bytes to reckon with for an observation that cannot be printed, of which the error alone is kept."""


class Recorder:
    """What is said of one station.

    Args:
        loaded: bench and drivers now in force; replaced by `adopt` on reload.
        boot: names this boot of the machine.
        append: takes entries into the journal; never blocks.
        retain, forget: tell the sinks what is to stay at the broker.
    """

    def __init__(
        self,
        loaded: Loaded,
        boot: str,
        clock: Clock,
        append: Callable[[Entry], None],
        retain: Callable[[str, bytes], None],
        forget: Callable[[str], None],
    ) -> None:
        self._boot = boot
        self._clock = clock
        self._append = append
        self._retain = retain
        self._forget = forget
        self._hashes: dict[str, str] = {}  # instrument -> info that was journalled last
        self._simulated: dict[str, bool] = {}
        self.adopt(loaded)

    def adopt(self, loaded: Loaded) -> None:
        """Go on by other files; infos are told anew, since they cite the files."""
        named = loaded.bench.station
        self._loaded = loaded
        self._station = StationName(named.site, named.name)
        self._printer = Printer(self._station, self._boot)
        self.topics = Topics(self._station, loaded.bench.mqtt.prefix) if loaded.bench.mqtt else Topics(self._station)
        self._hashes.clear()

    def observed(self, obs: Observation) -> None:
        """Keep one observation; what cannot be printed fails in the journal, which tells.

        Printed here, not in the journal's thread: that would keep the interpreter from the loop for a whole batch.
        """
        try:
            entry = self._printer.entry(obs)
        except Exception as error:  # noqa: BLE001  no poll fails for what it observed; a gap event says what it was
            entry = _unprintable(obs, error)
        self._append(entry)

    def announced(self, event: str, **details: Any) -> None:
        """Keep an event, and say it in the log; the detail `instrument` names the one it concerns."""
        instrument = details.pop("instrument", None)
        where = f"{instrument}: " if instrument else ""
        said = (str(value) if key == "why" else f"{key}={value}" for key, value in details.items())
        log.warning("%s%s: %s", where, event, ", ".join(said))
        self._append(self.event_entry(event, details, instrument))

    def event_entry(self, event: str, details: Mapping[str, Any], instrument: str | None = None) -> Entry:
        """Make the entry of an event; the journal asks for those of its own here too."""
        t_ns = self._clock.now().utc_ns
        simulated = instrument is not None and self._is_simulated(instrument)
        encode = partial(_event, self._station, event, dict(details), self._boot, t_ns, instrument, simulated)
        return Entry("event", "event", t_ns, encode)

    def met(self, loaded: Loaded, plan: InstrumentPlan, phases: Mapping[str, int], met: Met) -> str:
        """Keep what an instrument is and is set to, where that is news; return the name of that info."""
        info = _instrument_info(loaded, plan, phases, met)
        name = info_hash(info)
        self._simulated[plan.name] = met.simulated
        if self._hashes.get(plan.name) != name:
            self._hashes[plan.name] = name
            t_ns = self._clock.now().utc_ns
            self._append(Entry("info", plan.name, t_ns, partial(_info, info, self._station, t_ns), 4096))
        return name

    def fares(self, instrument: str, verdict: Verdict) -> None:
        """Tell how an instrument fares; it stays at the broker until the next word."""
        simulated = self._is_simulated(instrument)
        payload = instrument_status_payload(
            verdict.state.value, self._boot, verdict.since_utc_ns, verdict.why, simulated=simulated
        )
        self._retain(self.topics.instrument_status(instrument), payload)

    def _is_simulated(self, instrument: str) -> bool:
        """Say what was found when it was met; before that, what the bench file says."""
        plan = self._loaded.plans.get(instrument)
        return self._simulated.get(instrument, plan is not None and plan.simulated)

    def gone(self, instrument: str) -> None:
        """Clear what was told of an instrument that the bench file no longer names."""
        self._hashes.pop(instrument, None)
        self._simulated.pop(instrument, None)
        self._forget(self.topics.instrument_status(instrument))
        self._forget(self.topics.instrument_info(instrument))

    def station_info(
        self, epoch: str, journal: JournalState, clock: ClockState, limits: Mapping[str, int | float]
    ) -> None:
        """Tell what the station is, and whether its disk takes records: an event of that waits for the disk itself."""
        bench = self._loaded.bench
        info = StationInfo(
            version=daq.__version__,
            boot=self._boot,
            epoch=epoch,
            journal=journal,
            label=bench.station.label,
            bench_hash=self._loaded.bench_hash,
            driver_hashes=self._loaded.driver_hashes,
            clock=clock,
            instruments=list(bench.instruments),
            line_frequency_hz=float(bench.station.line_frequency.split()[0]),
            limits=limits,
            simulated=any(map(self._is_simulated, self._loaded.plans)),
        )
        self._retain(self.topics.info(), station_info_payload(info))


def _unprintable(obs: Observation, error: Exception) -> Entry:
    t_ns = obs.timing.utc_ns if obs.timing is not None else obs.due_ns
    assert t_ns is not None, "an observation has a slot or a time"
    encode = partial(_raise, error.with_traceback(None))
    return Entry("obs", f"{obs.instrument}/{obs.poll}", t_ns, encode, UNPRINTED_SIZE)


def _raise(error: Exception, *_: object) -> bytes:
    raise error


def _event(
    station: StationName,
    event: str,
    details: Mapping[str, Any],
    boot: str,
    t_ns: int,
    instrument: str | None,
    simulated: bool,
    epoch: str,
    seq: int,
    _: bool,
) -> bytes:
    return event_payload(
        station,
        event,
        details,
        boot=boot,
        epoch=epoch,
        seq=seq,
        t_ns=t_ns,
        instrument=instrument,
        simulated=simulated,
    )


def _info(info: InstrumentInfo, station: StationName, t_ns: int, epoch: str, seq: int, _: bool) -> bytes:
    return instrument_info_payload(info, station, epoch, seq, t_ns)


def _instrument_info(loaded: Loaded, plan: InstrumentPlan, phases: Mapping[str, int], met: Met) -> InstrumentInfo:
    entry = loaded.bench.instruments[plan.name]
    return InstrumentInfo(
        instrument=plan.name,
        identity=met.identity,
        driver=plan.driver,
        driver_hash=loaded.driver_hashes[plan.driver],
        bench_hash=loaded.bench_hash,
        address=_address(entry.at.model_dump(exclude_none=True)),
        polls={poll.name: _poll_info(poll, phases.get(poll.name), met) for poll in plan.polls},
        maker=met.maker,
        firmware=met.firmware,
        verified=loaded.drivers[plan.driver].verified,
        label=entry.label,
        role=entry.role,
        configure=entry.configure,
        simulated=met.simulated,
    )


def _address(at: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in at.items())


def _poll_info(poll: PollPlan, phase_ns: int | None, met: Met) -> PollInfo:
    return PollInfo(
        ask=poll.source,
        every_s=None if poll.every_ns is None else poll.every_ns / NS,
        phase_s=None if phase_ns is None else phase_ns / NS,
        integrity=poll.integrity,
        time_model=type(poll.time).__name__.lower(),
        channels={channel.name: _channel_info(channel) for channel in poll.channels},
        settings={**met.settings, **met.poll_settings.get(poll.name, {})},
    )


def _channel_info(channel: ChannelPlan) -> ChannelInfo:
    return ChannelInfo(
        unit=channel.unit,
        symbol=channel.symbol,
        quantity=channel.quantity,
        role=channel.role,
        kind=Kind(channel.kind),
        label=channel.label,
        asset=channel.asset,
    )

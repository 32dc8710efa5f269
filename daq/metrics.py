"""How the station fares, in the form that Prometheus reads, at http://{metrics}/metrics.

It serves from one thread of its own, which only reads: each figure is one attribute or one copy of a dict of the living
station, so that no poll ever waits for a reader, however many instruments there are. One reader at a time is answered;
one that says nothing is hung up on. A port that cannot be had is logged, and tried again: the station runs without.

    Prometheus -> GET -> Exposition (thread) -> Figures.collect -> station, lines, journal, sink
"""

from __future__ import annotations

import logging
import math
import socket
import socketserver
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import daq
from daq.core.address import host_and_port
from daq.core.health import State
from daq.core.observation import NS, Status

if TYPE_CHECKING:
    from daq.parties import Counts, Item, Party
    from daq.station import Station

log = logging.getLogger(__name__)

SILENT_S = 5.0
"""A reader that says nothing for so long is hung up on; others wait meanwhile."""

LOOK_S = 1.0
"""How soon the thread sees that it is to end."""

AGAIN_S = 30.0
"""Between two attempts to have the port."""


class Figures(Collector):
    """What `daq status` tells, and more by poll, as numbers. Reads only; asked in the thread of the exposition."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def collect(self) -> Iterator[Metric]:
        """Give each family of figures with the samples of this moment."""
        station = self._station
        now_ns = station.clock.now().mono_ns
        items = [item for running in list(station.lines.values()) for item in list(running.line.items.values())]
        parties = {item.party.name: item.party for item in items}
        yield _family("daq_build_info", "Version of the daemon.", {(daq.__version__,): 1}, ("version",))
        yield _family("daq_clock_error_seconds", "Bound of the clock to UTC; NaN where unknown.", _clock_error(station))
        yield _family("daq_stuck", "Lines, and the journal, that are far past their own deadline.", len(station.stuck))
        yield from _instruments(parties)
        yield from _polls(items, now_ns)
        yield from self._journal()
        yield from self._sink()

    def _journal(self) -> Iterator[Metric]:
        health, queue_bytes = self._station.journal.health, self._station.journal.queue_bytes
        now_ns = self._station.clock.now().utc_ns
        age_s = math.nan if health.oldest_t_ns is None else (now_ns - health.oldest_t_ns) / NS
        took_s = math.nan if health.commit_s is None else health.commit_s
        yield _family("daq_journal_ok", "1 while the disk takes records.", int(health.state == "ok"))
        yield _family("daq_journal_rows", "Records on disk.", health.rows)
        yield _family("daq_journal_bytes", "Size of the file.", health.used_bytes)
        yield _family("daq_journal_oldest_age_seconds", "Age of the oldest record; NaN without records.", age_s)
        yield _family("daq_journal_commit_seconds", "How long the last commit took.", took_s)
        yield _family("daq_journal_queue_bytes", "What waits to be written.", queue_bytes)
        backlog = {(sink,): rows for sink, rows in dict(health.backlog).items()}
        yield _family("daq_journal_backlog_records", "Records a sink has not done.", backlog, ("sink",))
        lost = {(why,): rows for why, rows in dict(health.lost).items()}
        yield _family(
            "daq_journal_lost_records", "Records dropped undelivered, by reason.", lost, ("why",), counts=True
        )

    def _sink(self) -> Iterator[Metric]:
        if (sink := self._station.sink) is None:
            return
        figures, key, labels = sink.health(), (sink.name,), ("sink",)
        for name, words in (
            ("connected", "1 while the broker is there."),
            ("window", "Messages that may be in flight."),
        ):
            yield _family(f"daq_sink_{name}", words, {key: int(getattr(figures, name))}, labels)
        yield _family("daq_sink_in_flight", "Messages not acknowledged yet.", {key: figures.in_flight}, labels)
        silent = "For how long none of them has been acknowledged."
        yield _family("daq_sink_unanswered_seconds", silent, {key: figures.unanswered_s}, labels)
        for name, words in (
            ("published", "Messages sent."),
            ("acknowledged", "Messages the broker took."),
            ("refused", "Messages the broker refused for good."),
            ("retries", "Messages sent again."),
        ):
            yield _family(f"daq_sink_{name}", words, {key: getattr(figures, name)}, labels, counts=True)


def _clock_error(station: Station) -> float:
    err_s = station.discipline.state.err_s
    return math.nan if err_s is None else err_s


def _instruments(parties: dict[str, Party]) -> Iterator[Metric]:
    states = {
        (name, state.value): int(party.health.verdict.state is state)
        for name, party in parties.items()
        for state in State
    }
    yield _family("daq_instrument_state", "1 at the state it is in.", states, ("instrument", "state"))
    resyncs = {(name,): party.resyncs for name, party in parties.items()}
    yield _family(
        "daq_resyncs", "How often its wire had to be cleaned for its sake.", resyncs, ("instrument",), counts=True
    )


def _polls(items: Iterable[Item], now_ns: int) -> Iterator[Metric]:
    by_poll: dict[tuple[str, ...], Counts] = {(item.party.name, item.plan.name): item.counts for item in items}
    labels = ("instrument", "poll")
    slots = {
        (*key, status): count
        for key, counts in by_poll.items()
        for status, count in ({Status.OK.value: 0, Status.MISSED.value: 0} | dict(counts.slots)).items()
    }
    yield _family("daq_slots", "Slots by what became of them.", slots, (*labels, "status"), counts=True)
    asked = {key: counts.asked for key, counts in by_poll.items()}
    yield _family("daq_asked", "How often a poll was asked.", asked, labels, counts=True)
    ages = {key: _age_s(counts, now_ns) for key, counts in by_poll.items()}
    yield _family("daq_last_good_age_seconds", "Since the last good observation; +Inf before one.", ages, labels)
    rtts = {key: counts.rtt_s for key, counts in by_poll.items() if counts.rtt_s is not None}
    yield _family("daq_rtt_seconds", "First question to last answer, when it last was good.", rtts, labels)
    late = {key: counts.lateness_s for key, counts in by_poll.items()}
    yield _family("daq_lateness_seconds", "Start of the last one behind its slot.", late, labels)
    latest = {key: counts.largest_lateness_s for key, counts in by_poll.items()}
    yield _family("daq_largest_lateness_seconds", "The worst of them since the line was made.", latest, labels)


def _age_s(counts: Counts, now_ns: int) -> float:
    good = counts.last_good
    return math.inf if good is None or good.timing is None else (now_ns - good.timing.mono_ns) / NS


def _family(
    name: str,
    words: str,
    samples: float | Mapping[Any, float],
    labels: tuple[str, ...] = (),
    *,
    counts: bool = False,
) -> Metric:
    """Make a family: one number, or a number for each tuple of labels; `counts` for what only grows."""
    family = (CounterMetricFamily if counts else GaugeMetricFamily)(name, words, labels=labels)
    for key, value in samples.items() if isinstance(samples, Mapping) else [((), samples)]:
        family.add_metric(key, value)
    return family


class _Quiet(WSGIRequestHandler):
    timeout = SILENT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the parent names it so
        """Say nothing: a reader every few seconds is no news."""


class _Server(WSGIServer):
    def server_bind(self) -> None:
        """Bind as the parent does, but for its question to the DNS after our own name, which can hang."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class Exposition:
    """Answers readers between `start` and `stop`.

    Args:
        listen: host:port.
        figures: what is told.
    """

    def __init__(self, listen: str, figures: Collector) -> None:
        self._host, self._port = host_and_port(listen)
        self._ended = threading.Event()
        registry = CollectorRegistry()
        registry.register(figures)
        self._app = make_wsgi_app(registry)

    def start(self) -> None:
        """Have the thread begin; returns at once."""
        threading.Thread(target=self._work, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Have the thread end, within LOOK_S and the answer it is giving; returns at once."""
        self._ended.set()

    def _work(self) -> None:
        told = False
        while not self._ended.is_set():
            try:
                self._serve()
            except OSError as error:
                if not told:
                    log.warning("metrics: %s port %d: %s. It is tried again.", self._host, self._port, error)
                told = True
                self._ended.wait(AGAIN_S)

    def _serve(self) -> None:
        kind = _Server6 if ":" in self._host else _Server
        with make_server(self._host, self._port, self._app, kind, _Quiet) as server:
            log.info("metrics at %s port %d", self._host, self._port)
            server.timeout = LOOK_S
            while not self._ended.is_set():
                server.handle_request()

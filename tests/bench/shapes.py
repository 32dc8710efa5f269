"""The shapes that are measured: each is a function (place, options) -> Result and a row here.

A counterpart that is not on this machine is named with what to install, and left out; nothing is installed from here.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.backlog import drain
from tests.bench.grid import drift, late
from tests.bench.growth import growth
from tests.bench.loads import fifty, five_hundred, paced, saturated
from tests.bench.outage import outage
from tests.bench.procs import Place
from tests.bench.report import Options, Result
from tests.bench.rtu import rtu
from tests.bench.single import full_speed, latency, start
from tests.bench.stations import stations
from tests.bench.truth import time_proven

SHAPES: dict[str, Callable[[Place, Options], Result]] = {
    "fifty": fifty,
    "five-hundred": five_hundred,
    "saturated": saturated,
    "paced": paced,
    "late": late,
    "drift": drift,
    "full-speed": full_speed,
    "rtu": rtu,
    "latency": latency,
    "backlog": drain,
    "start": start,
    "outage": outage,
    "time": time_proven,
    "stations": stations,
    "growth": growth,
}
"""In the order in which they run and are told of."""

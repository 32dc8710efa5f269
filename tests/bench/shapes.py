"""The shapes that are measured: who takes part, and what is then said of it.

Each is a function (place, options) -> Result and a row in SHAPES. A counterpart that is not on this machine is named
with what to install, and left out; nothing is installed from here.
"""

# ruff: noqa: T201  a report is printed as it grows
from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import paho.mqtt.client as paho

from tests.bench.backlog import fill
from tests.bench.procs import (
    ROOT,
    Place,
    compiled,
    daemon,
    modbus_bench,
    resident_mib,
    responder,
    running,
    scpi_bench,
)
from tests.bench.rounds import Contender, Sample, median, ratios, rounds, spread
from tests.bench.truth import truths

COLLECTD = Path("/usr/sbin/collectd")
PLUGINS = Path("/usr/lib/collectd")


@dataclass(frozen=True)
class Options:
    """How long it may take."""

    rounds: int = 3
    seconds: float = 6.0


@dataclass
class Result:
    """What one shape has shown.

    Args:
        goal: what is wanted, in words.
        met: None where it could not be judged.
        lines: what was measured.
    """

    title: str
    goal: str
    met: bool | None = None
    lines: list[str] = field(default_factory=list)

    def says(self, line: str) -> None:
        """Add a line, and print it at once."""
        self.lines.append(line)
        print(f"  {line}", flush=True)


def _script(name: str, *words: object):
    return running(sys.executable, "-m", f"tests.bench.counterparts.{name}", *map(str, words))


def _told(result: Result, found: dict[str, list[Sample]]) -> None:
    for name, samples in found.items():
        result.says(
            f"{name}: {spread([one.us_per_value for one in samples])} us CPU a value, "
            f"{median([one.values_per_s for one in samples]):.0f} values/s, "
            f"{median([one.messages / one.seconds for one in samples]):.0f} messages/s, "
            f"{100 * median([one.cpu_s / one.seconds for one in samples]):.0f} % of a core, "
            f"{median([one.resident_mib for one in samples]):.0f} MiB"
        )


def _compare(result: Result, found: dict[str, list[Sample]], other: str, at_most: float) -> None:
    found_ratios = ratios(found["daemon"], found[other])
    result.says(f"daemon / {other}: {spread(found_ratios, 2)}, wanted at most {at_most:g}")
    result.met = median(found_ratios) <= at_most and result.met is not False


def scpi_saturated(here: Place, options: Options) -> Result:
    """100 SCPI sockets as fast as one core goes."""
    result = Result("100 SCPI sockets, saturated", "CPU per observation <= 2 x the bare composition's")
    with responder(here, "scpi_responder", 100, "0") as stand:
        ours = Contender("daemon", lambda: daemon(here, scpi_bench("20 ms", stand.ports)), here.ear)
        floor = Contender("floor", lambda: _script("floor", stand.ports[0], 100, here.broker, here.folder), here.ear)
        found = rounds([ours, floor], options.rounds, options.seconds)
    _told(result, found)
    missed = median([one.missed / one.seconds for one in found["daemon"]])
    result.says(f"daemon: asked for 5000 a second; runs of missed slots told: {missed:.0f} a second")
    _compare(result, found, "floor", 2)
    return result


def modbus_fifty(here: Place, options: Options) -> Result:
    """50 Modbus TCP devices x 10 registers x 10 Hz."""
    result = Result(
        "50 Modbus TCP devices x 10 registers x 10 Hz", "CPU per value <= collectd's (a message a value, not durable)"
    )
    with responder(here, "modbus_responder", 50) as stand:
        contenders = [Contender("daemon", lambda: daemon(here, modbus_bench(10, "100 ms", stand.ports)), here.ear)]
        script = [("script, a message a device", "device", 0), ("script, a message a value", "value", 0)]
        for name, shape, place in script:
            start = lambda shape=shape: _script(  # noqa: E731  a name for one line
                "modbus_script", stand.ports[0], 50, 10, 0.1, here.broker, shape
            )
            contenders.append(Contender(name, start, here.ear, place))
        if COLLECTD.exists() and (PLUGINS / "modbus.so").exists():
            conf = _collectd(here, stand.ports[0])
            start = lambda: running(COLLECTD, "-f", "-C", conf, log=here.folder / "collectd.log")  # noqa: E731  a name for one line
            contenders.append(Contender("collectd", start, here.ear, 0))
        else:
            result.says("collectd is not here: apt install collectd-core libmodbus5 libmosquitto1")
        found = dict(rounds(contenders, options.rounds, options.seconds))
    name = script[0][0]
    found[name] = [_times(one, 10) for one in found[name]]
    _told(result, found)
    delivered = median([one.values_per_s for one in found["daemon"]]) / 5000
    result.says(f"daemon: {100 * delivered:.1f} % of the values due came")
    if "collectd" in found:
        _compare(result, found, "collectd", 1)
    for name, _, _ in script:
        result.says(f"daemon / {name}: {spread(ratios(found['daemon'], found[name]), 2)}")
    return result


def _times(one: Sample, values: int) -> Sample:
    return Sample(one.seconds, one.cpu_s, one.values * values, *[getattr(one, name) for name in _REST])


_REST = ("messages", "missed", "first_s", "resident_mib")


def _collectd(here: Place, port: int) -> Path:
    """Write collectd's configuration: its modbus plugin reads, its mqtt plugin publishes."""
    data = [
        f'<Data "r{at}">\n RegisterBase {at}\n RegisterType Uint16\n Type gauge\n Instance "r{at}"\n</Data>'
        for at in range(10)
    ]
    collect = "\n".join(f' Collect "r{at}"' for at in range(10))
    hosts = "\n".join(
        f'<Host "h{number}">\n Address "127.0.0.1"\n Port "{port}"\n Interval 0.1\n'
        f'<Slave 1>\n Instance "d"\n{collect}\n</Slave>\n</Host>'
        for number in range(50)
    )
    conf = here.folder / "collectd.conf"
    conf.write_text(
        f'BaseDir "{here.folder}"\nPIDFile "{here.folder}/collectd.pid"\nPluginDir "{PLUGINS}"\n'
        'TypesDB "/usr/share/collectd/types.db"\nInterval 0.1\nReadThreads 5\nWriteThreads 5\n'
        "LoadPlugin modbus\nLoadPlugin mqtt\n<Plugin modbus>\n" + "\n".join(data) + f"\n{hosts}\n</Plugin>\n"
        f'<Plugin mqtt>\n<Publish "b">\n Host "127.0.0.1"\n Port {here.broker}\n QoS 1\n Prefix "collectd"\n'
        "</Publish>\n</Plugin>\n"
    )
    return conf


def modbus_five_hundred(here: Place, options: Options) -> Result:
    """500 one-register devices x 10 Hz, a message each."""
    result = Result(
        "500 one-register devices x 10 Hz, a message each", "<= 1/2 of the pymodbus + aiomqtt script's CPU per value"
    )
    with responder(here, "modbus_responder", 500) as stand:
        ours = Contender("daemon", lambda: daemon(here, modbus_bench(1, "100 ms", stand.ports)), here.ear)
        script = Contender(
            "script", lambda: _script("modbus_script", stand.ports[0], 500, 1, 0.1, here.broker, "value"), here.ear, 0
        )
        found = rounds([ours, script], options.rounds, options.seconds)
    _told(result, found)
    _compare(result, found, "script", 0.5)
    return result


def scpi_paced(here: Place, options: Options) -> Result:
    """100 SCPI sockets x 10 Hz, phases spread."""
    result = Result(
        "100 SCPI sockets x 10 Hz, phases spread",
        "<= 1.3 x the pyvisa-py + paho script's CPU; p99 start lateness <= 2 x a C loop's; no slot missed",
    )
    late: list[tuple[float, float]] = []
    with responder(here, "scpi_responder", 100, "0") as stand:
        ours = Contender("daemon", lambda: daemon(here, scpi_bench("100 ms", stand.ports)), here.ear)
        script = Contender("script", lambda: _script("scpi_script", stand.ports[0], 100, 0.1, here.broker), here.ear)
        found = rounds([ours, script], options.rounds, options.seconds)
        bench = scpi_bench("100 ms", stand.ports)
        late += [(_lateness_us(here, bench, options), _sleeper_us(here, options)) for _ in range(options.rounds)]
    _told(result, found)
    result.says(f"daemon: missed slots told {sum(one.missed for one in found['daemon'])}")
    _compare(result, found, "script", 1.3)
    result.says(
        f"p99 start lateness: daemon {spread([one[0] for one in late], 0)} us, C loop beside it "
        f"{spread([one[1] for one in late], 0)} us, ratio {median([a / b for a, b in late]):.1f}, wanted at most 2"
    )
    result.met = result.met and median([a / b for a, b in late]) <= 2
    return result


def _sleeper_us(here: Place, options: Options) -> float:
    """Return the 99th percentile of a C loop's lateness at the same 1000 wake-ups a second, while nothing else runs."""
    program = compiled("sleeper", here.folder)
    said = subprocess.run([program, "1000", str(int(options.seconds))], capture_output=True, text=True, check=True)
    return float(said.stdout.split()[1])


@dataclass(frozen=True)
class Heard:
    """A message, and when it came (monotonic ns)."""

    arrived_ns: int
    message: dict

    @property
    def delay_ms(self) -> float:
        """From the instrument's answer, whose value is its own instant, to the subscriber."""
        return self.arrived_ns / 1e6 - self.message["readings"]["v"]["value"] * 1e3


def heard(here: Place, bench: dict, settle_s: float, seconds: float, state: Path | None = None) -> list[Heard]:
    """Run the daemon and keep the good observations that came within a window."""
    kept: list[tuple[int, bytes]] = []
    keeping = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)

    def take(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        if keeping.is_set():
            kept.append((time.monotonic_ns(), message.payload))

    client.on_message = take
    client.on_connect = lambda *_: client.subscribe("bench/v1/+/+/+/obs/#", 0)
    client.connect("127.0.0.1", here.broker)
    client.loop_start()
    before = here.ear[2]
    with daemon(here, bench, state):
        here.values_beyond(before)
        time.sleep(settle_s)
        keeping.set()
        time.sleep(seconds)
        keeping.clear()
    client.disconnect()
    client.loop_stop()
    told = [Heard(arrived, json.loads(payload)) for arrived, payload in kept]
    return [one for one in told if one.message["status"] == "ok"]


def _percentile(numbers: Sequence[float], percent: float) -> float:
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _utc_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


LATEST_S = 0.001
"""What the stand-ins' driver says of their readings: at most so old."""


def _lateness_us(here: Place, bench: dict, options: Options) -> float:
    """Return the 99th percentile of start lateness: from the slot to just before the question was written."""
    late = []
    for one in heard(here, bench, 3.0, options.seconds):
        asked_s = _utc_s(one.message["t"]) - one.message["t_err"] + LATEST_S
        late.append((asked_s - _utc_s(one.message["due"])) * 1e6)
    return _percentile(late, 99)


def modbus_late(here: Place, options: Options) -> Result:
    """500 polls x 10 Hz: start lateness."""
    result = Result("500 polls x 10 Hz, phases spread", "p99 start lateness <= 3 x the C loop's")
    late = []
    with responder(here, "modbus_responder", 500) as stand:
        for _ in range(options.rounds):
            ours = _lateness_us(here, modbus_bench(1, "100 ms", stand.ports), options)
            late.append((ours, _sleeper_us(here, options)))
    result.says(
        f"p99 start lateness: daemon {spread([one[0] for one in late], 0)} us, C loop "
        f"{spread([one[1] for one in late], 0)} us, ratio {median([a / b for a, b in late]):.1f}"
    )
    result.met = median([a / b for a, b in late]) <= 3
    return result


def full_speed(here: Place, options: Options) -> Result:
    """One instrument as fast as it answers."""
    result = Result("one instrument at full speed", ">= 80 % of a bare asyncio socket loop's rate")
    for delay_us, every in ((0, "100 us"), (2000, "1 ms")):
        with responder(here, "scpi_responder", 1, str(delay_us)) as stand:
            ours = Contender("daemon", partial(daemon, here, scpi_bench(every, stand.ports)), here.ear)
            bare = Contender("loop", partial(_script, "loop", stand.ports[0]), stand.answers, 0, here.ear)
            found = rounds([ours, bare], options.rounds, options.seconds)
        share = [
            our.values_per_s / their.values_per_s for our, their in zip(found["daemon"], found["loop"], strict=True)
        ]
        what = f"an instrument that takes {delay_us} us"
        result.says(
            f"{what}: daemon {spread([one.values_per_s for one in found['daemon']], 0)} values/s, bare loop "
            f"{spread([one.values_per_s for one in found['loop']], 0)} exchanges/s, {100 * median(share):.0f} %"
        )
        result.met = median(share) >= 0.8 and result.met is not False
    return result


def latency(here: Place, options: Options) -> Result:
    """Reply to subscriber on an idle station."""
    result = Result("reply to subscriber, idle station", "p99 <= 5 ms plus one fdatasync of the same disk and run")
    found, syncs = [], []
    with responder(here, "scpi_responder", 1, "0") as stand:
        for _ in range(options.rounds):
            with _syncing(here) as took_ms:
                told = heard(here, scpi_bench("50 ms", stand.ports), 2.0, max(options.seconds, 10.0))
            delays = [one.delay_ms for one in told]
            found.append((statistics.median(delays), _percentile(delays, 99)))
            syncs.append(_percentile(took_ms, 99))
    p99 = median([one[1] for one in found])
    result.says(
        f"median {spread([one[0] for one in found], 2)} ms, p99 {spread([one[1] for one in found], 2)} ms; "
        f"p99 of one fdatasync {spread(syncs, 2)} ms"
    )
    result.met = p99 <= 5 + median(syncs)
    return result


@contextlib.contextmanager
def _syncing(here: Place) -> Iterator[list[float]]:
    """Meanwhile write 4 KiB and call fdatasync, twenty times a second; give how long each took, in ms."""
    took: list[float] = []
    over = threading.Event()

    def work() -> None:
        with here.file("sync").open("wb", buffering=0) as file:
            while not over.wait(0.05):
                begun = time.perf_counter()
                file.write(bytes(4096))
                os.fdatasync(file.fileno())
                took.append((time.perf_counter() - begun) * 1e3)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield took
    finally:
        over.set()
        worker.join()


def start(here: Place, options: Options) -> Result:
    """Start to first observation with 100 instruments, what `daq --help` imports, memory."""
    result = Result("start, 100 instruments", "first observation < 2 s; no device library for --help; < 80 MiB")
    with responder(here, "scpi_responder", 100, "0") as stand:
        firsts, alls, memory = [], [], []
        for _ in range(options.rounds):
            before, begun = here.ear[2], time.monotonic()
            with daemon(here, scpi_bench("1 s", stand.ports)) as process:
                here.values_beyond(before)
                firsts.append(time.monotonic() - begun)
                here.values_beyond(before + 99)
                alls.append(time.monotonic() - begun)
                time.sleep(options.seconds)
                memory.append(resident_mib(process.pid))
    result.says(f"first observation after {spread(firsts, 2)} s, the hundredth after {spread(alls, 2)} s")
    result.says(f"memory {spread(memory, 1)} MiB")
    found = _imported_by_help()
    result.says(f"daq --help imports {', '.join(found) or 'no device library'}")
    result.met = median(firsts) < 2 and median(memory) < 80 and not found
    return result


DEVICE_LIBRARIES = ("pyvisa", "pyvisa_py", "serial", "usb", "aiomqtt", "paho", "pymodbus")


def _imported_by_help() -> list[str]:
    code = (
        "import sys\nsys.argv = ['daq', '--help']\nfrom daq.__main__ import main\n"
        "try:\n main()\nexcept SystemExit:\n pass\n"
        f"print('|'.join(name for name in {DEVICE_LIBRARIES!r} if name in sys.modules), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in said.stderr.strip().splitlines()[-1].split("|") if name] if said.stderr.strip() else []


BACKLOG = 60_000
"""Records: drained in a minute or two; the rate is what counts."""


def drain(here: Place, options: Options) -> Result:
    """A backlog beside a live load of 1000 a second."""
    result = Result(
        "backlog", "drained at >= 5 x a live load of 1000/s while live p99 stays under twice its idle value"
    )
    with responder(here, "scpi_responder", 100, "0") as stand:
        bench = scpi_bench("100 ms", stand.ports)
        alone = [one.delay_ms for one in heard(here, bench, 3.0, options.seconds)]
        state = here.file("late")
        fill(state, BACKLOG)
        begun, messages = time.monotonic(), here.ear[0]
        busy = [one.delay_ms for one in heard(here, bench, 3.0, options.seconds, state)]
        rate = (here.ear[0] - messages) / (time.monotonic() - begun) - 1000
    idle, loaded = _percentile(alone, 99), _percentile(busy, 99)
    result.says(f"{rate:.0f} late records/s beside 1000 live ones")
    result.says(f"live p99 {loaded:.1f} ms beside it, {idle:.1f} ms without")
    result.met = rate >= 5000 and loaded < 2 * idle
    return result


def time_proven(here: Place, options: Options) -> Result:
    """Published instants against true ones."""
    result = Result("time", "every true instant within t +- t_err")
    found, wrong = truths(here.folder / "house", max(30.0, options.seconds))
    for model, truth in sorted(found.items()):
        if truth.errs_ms:
            result.says(f"{model}: {truth}")
    result.says(f"values wrong or outside by the demo's audit: {wrong}")
    result.met = wrong == 0 and all(truth.inside == len(truth.errs_ms) for truth in found.values())
    return result


SHAPES: dict[str, Callable[[Place, Options], Result]] = {
    "saturated": scpi_saturated,
    "fifty": modbus_fifty,
    "five-hundred": modbus_five_hundred,
    "paced": scpi_paced,
    "late": modbus_late,
    "full-speed": full_speed,
    "latency": latency,
    "start": start,
    "backlog": drain,
    "time": time_proven,
}

"""One instrument at full speed, its answer's way to a subscriber, and the start of a hundred."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from tests.bench.benches import daemon, daemon_on, scpi_bench
from tests.bench.figures import median, percentile, spread
from tests.bench.listening import good, listened
from tests.bench.loads import script
from tests.bench.procs import ROOT, Place, resident_mib, responder
from tests.bench.report import Options, Result
from tests.bench.rounds import Contender, rounds


def full_speed(here: Place, options: Options) -> Result:
    """One instrument as fast as it answers."""
    result = Result("one instrument at full speed", ">= 80 % of a bare asyncio socket loop's rate")
    for delay_us, polls in ((0, 10), (2000, 1)):
        with responder(here, "scpi_responder", 1, str(delay_us)) as stand:
            bench = scpi_bench("1 ms", stand.ports)
            bench["instruments"]["i0"]["poll"] = {f"p{n}": {"ask": "read", "every": "1 ms"} for n in range(polls)}
            ours = Contender("daemon", daemon_on(here, bench), here.ear)
            bare = Contender("loop", lambda stand=stand: script("loop", stand.ports[0]), stand.answers, 0, here.ear)
            found = rounds([ours, bare], options)
        ours_per_s, bare_per_s = ([one.values_per_s for one in found[name]] for name in ("daemon", "loop"))
        share = median([mine / theirs for mine, theirs in zip(ours_per_s, bare_per_s, strict=True)])
        takes = f"takes {delay_us / 1000:g} ms to measure" if delay_us else "takes no time"
        result.shows(f"{100 * share:.0f} % where it {takes}")
        result.says(f"daemon {spread(ours_per_s, 0)} values/s, bare loop {spread(bare_per_s, 0)} exchanges/s")
        result.judge(share >= 0.8)
    return result


def latency(here: Place, options: Options) -> Result:
    """Reply to subscriber on an idle station."""
    result = Result("reply to subscriber, idle station", "p99 <= 5 ms plus one fdatasync of the same disk and run")
    found, syncs = [], []
    with responder(here, "scpi_responder", 1, "0") as stand:
        for _ in range(options.rounds):
            with _syncing(here) as took_ms:
                heard = listened(here, scpi_bench("20 ms", stand.ports), options.settle_s, 2 * options.seconds)
            delays = [one.delay_ms for one in good(heard)]
            found.append((median(delays), percentile(delays, 99)))
            syncs.append((median(took_ms), percentile(took_ms, 99)))
    p99, sync = (median([one[1] for one in ones]) for ones in (found, syncs))
    result.shows(f"median {_column(found, 0)} ms, p99 {_column(found, 1)} ms")
    result.shows(f"one fdatasync in the same seconds: median {_column(syncs, 0)} ms, p99 {_column(syncs, 1)} ms")
    result.met = p99 <= 5 + sync
    return result


def _column(ones: Sequence[tuple[float, float]], place: int) -> str:
    return spread([one[place] for one in ones], 2)


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
    result = Result(
        "start, 100 instruments", "first observation < 2 s; `daq --help` imports no device library; memory < 80 MiB"
    )
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
    found = imported_by_help()
    result.shows(f"first observation after {spread(firsts, 2)} s, the hundredth after {spread(alls, 2)} s")
    result.shows(f"memory {spread(memory, 1)} MiB")
    result.shows(f"`daq --help` imports {', '.join(found) or 'no device library'}")
    result.met = median(firsts) < 2 and median(memory) < 80 and not found
    return result


DEVICE_LIBRARIES = ("pyvisa", "pyvisa_py", "serial", "usb", "mqttium", "aiomqtt", "paho", "pymodbus")


def imported_by_help() -> list[str]:
    """Return which of the device libraries `daq --help` has loaded."""
    code = (
        "import sys\nsys.argv = ['daq', '--help']\nfrom daq.__main__ import main\n"
        "try:\n main()\nexcept SystemExit:\n pass\n"
        f"print('|'.join(name for name in {DEVICE_LIBRARIES!r} if name in sys.modules), file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in said.stderr.strip().rpartition("\n")[2].split("|") if name]

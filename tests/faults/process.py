"""What the daemon's processes hold, and what the computer itself is late by. Linux only."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from tests.faults.verdict import Sample


def sample(pids: list[int]) -> Sample:
    """Count descriptors, threads and resident memory of these processes together."""
    descriptors = threads = rss_kib = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("Threads:"):
                    threads += int(line.split()[1])
                elif line.startswith("VmRSS:"):
                    rss_kib += int(line.split()[1])
    return Sample(time.monotonic_ns(), descriptors, threads, rss_kib)


class Heartbeat:
    """Asks to be woken every 10 ms and notes by how much it was not: such a lateness is no instrument's fault."""

    STEP_S = 0.01

    def __init__(self) -> None:
        self.late: list[tuple[int, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat")

    def start(self) -> None:
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.is_set():
            begun_ns = time.monotonic_ns()
            time.sleep(self.STEP_S)
            now_ns = time.monotonic_ns()
            late_s = (now_ns - begun_ns) / 1e9 - self.STEP_S
            if late_s > 0.02:
                self.late.append((now_ns, late_s))

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

"""What processes hold, and how long they waited for a processor. Linux only."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from tests.faults.verdict import Sample


def running(pids: Iterable[int], program: str) -> list[int]:
    """Return those whose command line names a program."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found += [pid] if program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found


def sample(daemon: Iterable[int], others: Iterable[int]) -> Sample:
    """Count descriptors, threads and memory of the daemon's processes, and what they and the others waited for.

    Who waits there is late by no fault of its own. Source: proc(5), schedstat: time spent waiting on a run queue, ns.
    """
    descriptors = threads = rss_kib = waited_ns = ran_ns = 0
    for pid in daemon:
        with contextlib.suppress(OSError):
            descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("Threads:"):
                    threads += int(line.split()[1])
                elif line.startswith("VmRSS:"):
                    rss_kib += int(line.split()[1])
    for pid in (*list(daemon)[:1], *others):  # children come and go, and would take their waiting with them
        with contextlib.suppress(OSError):
            ran, waited, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
            waited_ns += waited
            ran_ns = ran_ns or ran
    return Sample(time.monotonic_ns(), descriptors, threads, rss_kib, waited_ns, ran_ns)

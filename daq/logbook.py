"""The daemon's log: lines go to stderr from a thread of their own, so that whoever does not read them stalls nobody.

A terminal that was halted with Ctrl-S, a pager at its first page, a collector of logs that hangs: each would hold the
loop, and with it every poll, within its next line. Lines wait in memory then, so many and no more; what comes beyond is
counted and said as soon as lines are taken again.

    logging -> Logbook (a bounded queue) -> its thread -> stderr
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from logging.handlers import QueueHandler

WAITING = 10_000
"""Lines that wait for a reader; some megabytes."""

LAST_S = 1.0
"""For what still waits at the end."""


class Logbook(QueueHandler):
    """A handler that never waits.

    Args:
        descriptor: written to without Python's own buffer, whose lock would be held at exit by a thread that hangs.
    """

    def __init__(self, descriptor: int) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(WAITING)  # None: no more will come
        super().__init__(self._lines)
        self._descriptor = descriptor
        self._left_out = 0
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put a line, formatted by `prepare`, where the thread takes it, or count it."""
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            with self._lines.mutex:
                self._left_out += 1

    def close(self) -> None:
        """Write what waits, for LAST_S at most, and end the thread; one that hangs is left."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(LAST_S)
        super().close()

    def _write_all(self) -> None:
        while (record := self._lines.get()) is not None:
            self._write(record.getMessage())
            with self._lines.mutex:
                left_out, self._left_out = self._left_out, 0
            if left_out:
                self._write(f"{left_out} lines of the log are left out behind those that waited: nobody read them.")

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode(errors="backslashreplace")
        with contextlib.suppress(OSError):  # nobody is there any more
            while data:
                data = data[os.write(self._descriptor, data) :]

"""A journal full of what was not delivered, as after a long outage; and full of what was, as after years.

The tables are the journal's own, made by itself; the rows go in by one statement, since a million by the front door
would take longer than what is measured with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from daq.core.record import Entry
from daq.journal import Journal
from daq.journal.schema import checksum, tally
from tests.bench.benches import scpi_bench
from tests.bench.figures import percentile
from tests.bench.listening import good, listened
from tests.bench.procs import Place, responder
from tests.bench.report import Options, Result

PAYLOAD = (
    '{"v":1,"id":"bench.b1.old.read.%s.%d","epoch":"%s","seq":%d,"t":"2026-01-01T00:00:00.000000Z","status":"ok",'
    '"readings":{"v":{"number":1.5,"text":"1.5","unit":"V"}},"padding":"' + "x" * 500 + '"}'
)
"""As long as an observation is, and without the word that the ear counts values by."""

INSERT = """
WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO record SELECT i, 0, :stream, i, t_ns, payload, sum_of(i, t_ns, payload) FROM (SELECT i,
  :now_ns - (:last - i) * 1000000 AS t_ns, CAST(printf(:payload, :epoch, i, :epoch, i) AS BLOB) AS payload FROM n)
"""


def fill(folder: Path, count: int, *, delivered: bool = False) -> None:
    """Make a journal of `count` observations, which the sink mqtt has delivered or not."""
    folder.mkdir(exist_ok=True)
    path = folder / "journal.db"
    asyncio.run(_begin(path))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = OFF")
        epoch, stream = db.execute("SELECT epoch, id FROM stream WHERE name = 'old/read'").fetchone()
        first = db.execute("SELECT next_row FROM journal").fetchone()[0]
        last = first + count - 1
        db.create_function("sum_of", 3, partial(checksum, 0, epoch, "old/read"), deterministic=True)
        words = {"first": first, "last": last, "stream": stream, "now_ns": time.time_ns(), "epoch": epoch}
        db.execute("BEGIN")
        db.execute(INSERT, {**words, "payload": PAYLOAD})
        db.execute("UPDATE journal SET next_row = ?, rows = rows + ?", (last + 1, count))
        counted = stream, epoch, "old/read", last + 1
        db.execute("UPDATE stream SET next_seq = ?, sum = ? WHERE id = ?", (last + 1, tally(*counted), stream))
        if delivered:
            db.execute("DELETE FROM done")
            db.execute("INSERT INTO done VALUES ('mqtt', 0, ?, ?)", (last, tally("mqtt", 0, last)))
        db.execute("COMMIT")


async def _begin(path: Path) -> None:
    """Have the journal make its file, with the sink known and one record of the stream in it."""
    journal = Journal(
        path, max_bytes=2_000_000_000, keep_ns=10**18, announce=_announce, now_utc_ns=time.time_ns, sinks=["mqtt"]
    )
    await journal.open()
    await journal.feed("mqtt")  # from here on it is owed everything
    journal.append(Entry("obs", "old/read", time.time_ns(), lambda *_: b"{}", 700))
    await journal.flush()
    await journal.close(30.0)


def _announce(event: str, details: Mapping[str, object]) -> Entry:
    return Entry("event", "event", time.time_ns(), lambda *_: b"{}")


LIVE_PER_S = 1000
RATIO = 5


def drain(here: Place, options: Options) -> Result:
    """A backlog beside a live load of 1000 a second."""
    result = Result(
        f"a backlog of {options.backlog:,} observations beside 1000 live ones a second",
        "drained at >= 5 x a live load of 1000/s while live p99 stays under twice its idle value",
    )
    seconds = 4 * options.seconds
    with responder(here, "scpi_responder", 100, "0") as stand:
        bench = scpi_bench("100 ms", stand.ports)
        alone = [one.delay_ms for one in good(listened(here, bench, options.settle_s, seconds))]
        state = here.file("late")
        begun = time.monotonic()
        fill(state, options.backlog)
        result.says(f"a journal of {options.backlog:,} undelivered rows made in {time.monotonic() - begun:.0f} s")
        heard = listened(here, bench, options.settle_s, seconds, state)
    busy = [one.delay_ms for one in good(heard)]
    late = [one.arrived_ns for one in heard if "/late/" in one.topic]
    spent_s = (late[-1] - late[0]) / 1e9 if len(late) > 1 else seconds  # where it ended sooner, until it did
    rate, live = len(late) / spent_s, len(busy) / seconds
    idle, loaded = percentile(alone, 99), percentile(busy, 99)
    result.shows(f"{rate:.0f} late records/s beside {live:.0f} live ones: {rate / LIVE_PER_S:.1f} times the live load")
    result.shows(f"live p99 {loaded:.1f} ms beside it, {idle:.1f} ms without: {loaded / idle:.1f} times")
    result.says(f"at this rate all of it in {options.backlog / max(rate, 1e-9) / 60:.1f} min")
    result.met = rate >= RATIO * LIVE_PER_S and loaded < 2 * idle
    return result

"""A journal full of what was not delivered, as after a long outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from daq.core.record import Entry
from daq.journal import Journal

CHUNK = 2_000
PAYLOAD = (
    b'{"v":1,"id":"bench.b1.old.read.%s.%d","epoch":"%s","seq":%d,"t":"2026-01-01T00:00:00.000000Z","status":"ok",'
    b'"readings":{"v":{"number":1.5,"text":"1.5","unit":"V"}},"padding":"' + b"x" * 500 + b'"}'
)


def fill(folder: Path, count: int) -> None:
    """Commit `count` observations that the sink mqtt has not been given."""
    folder.mkdir(exist_ok=True)
    asyncio.run(_fill(folder / "journal.db", count))


async def _fill(path: Path, count: int) -> None:
    journal = Journal(
        path, max_bytes=2_000_000_000, keep_ns=10**18, announce=_announce, now_utc_ns=time.time_ns, sinks=["mqtt"]
    )
    await journal.open()
    await journal.feed("mqtt")  # from here on it is owed everything
    for begin in range(0, count, CHUNK):
        for _ in range(min(CHUNK, count - begin)):
            journal.append(Entry("obs", "old/read", time.time_ns(), _encode, 700))
        await journal.flush()
    await journal.close(30.0)


def _encode(epoch: str, seq: int, durable: bool) -> bytes:
    return PAYLOAD % (epoch.encode(), seq, epoch.encode(), seq)


def _announce(event: str, details: Mapping[str, object]) -> Entry:
    return Entry("event", "event", time.time_ns(), lambda *_: b"{}")

"""A journal in a folder of the test's own, entries that say what they are, and a disk that can be made to fail."""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daq.core.record import Entry, Record
from daq.journal import Journal

LONG_S = 30.0
"""How long a test waits for an event before it gives up."""


class Bench:
    """One state folder, and the journals that were opened in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state" / "journal.db"
        self.now_ns = 1_795_348_800 * 10**9
        self.count = itertools.count(1)
        self._open: list[Journal] = []

    def entry(self, stream: str = "dmm1/v", *, size: int = 100, kind: str = "obs", **what: Any) -> Entry:
        return entry(stream, next(self.count), self.now_ns, size=size, kind=kind, **what)

    def announce(self, event: str, details: dict[str, object]) -> Entry:
        return entry("event", 0, self.now_ns, kind="event", event=str(event), details=details)

    def journal(self, **options: Any) -> Journal:
        options = {"max_bytes": 64 << 20, "keep_ns": 400 * 86400 * 10**9, "sinks": ["mqtt"]} | options
        return Journal(self.path, announce=self.announce, now_utc_ns=lambda: self.now_ns, **options)

    @contextlib.asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Journal]:
        journal = self.journal(**options)
        await journal.open()
        try:
            yield journal
        finally:
            assert await journal.close(LONG_S)


def entry(stream: str, number: int, t_ns: int, *, size: int = 100, kind: str = "obs", **what: Any) -> Entry:
    def encode(epoch: str, seq: int, durable: bool) -> bytes:
        known = {"n": number, "epoch": epoch, "seq": seq, "durable": durable, **what}
        return json.dumps(known).encode().ljust(size)

    return Entry(kind, stream, t_ns, encode, size)  # type: ignore[arg-type]  # tests name kinds as plain words


def said(record: Record) -> dict[str, Any]:
    """What a payload says; it must agree with what the record says."""
    known: dict[str, Any] = json.loads(record.payload)
    assert (known["epoch"], known["seq"], known["durable"]) == (record.epoch, record.seq, record.row > 0)
    return known


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def read() -> Callable[[Record], dict[str, Any]]:
    return said


@pytest.fixture
def events() -> Callable[[list[Record]], list[dict[str, Any]]]:
    """The events among records, each with its name and details."""

    def found(records: list[Record]) -> list[dict[str, Any]]:
        return [
            {"event": (told := json.loads(r.payload))["event"], **told["details"]} for r in records if r.kind == "event"
        ]

    return found


@pytest.fixture
def failing_disk() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Let this process write no file beyond its first page: SQLite's log cannot grow, every commit fails."""

    @contextlib.contextmanager
    def fail() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return fail


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Any]:
    """Wait for what the journal's thread says of itself; there is nothing to await for it."""
    import asyncio

    async def wait(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONG_S
        while not true():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)

    return wait

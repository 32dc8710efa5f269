"""What the station holds of the journal. Everything here runs on the event loop and never waits for the disk to append.

It asks its thread through a queue and hears from it through call_soon_threadsafe; the newest records stay in memory, so
that a sink that keeps up never asks the disk.

    append(entry) -> Queue -> Scribe -> Tail -> Feed.live         Feed.backlog, export, info -> job in the thread
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, cast

from daq.core.errors import DaqError
from daq.core.message import Event
from daq.core.numbering import Announce
from daq.core.observation import NS
from daq.core.record import Entry, Record
from daq.journal.feed import Feed, Tail
from daq.journal.file import JournalFile
from daq.journal.lock import StateLock
from daq.journal.memory import Queue
from daq.journal.reading import Page
from daq.journal.scribe import Health, Scribe
from daq.journal.trimming import Bounds

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MEMORY_BYTES = 16 << 20
STALLED_NS = 3 * NS
"""A thread that has not come round for so long is held by its disk; an idle one comes round each second."""

END_OF_TIME_NS = 2**63 - 1


class Journal:
    """The log on disk, as the event loop sees it.

    Args:
        path: the file; its directory is made if absent and locked while open.
        max_bytes: size of the file at most; log and ballast stand beside it, each of `ballast_bytes`.
        keep_ns: age at which records go.
        when_full: drop_oldest, or stop_polling: `health.full` asks the station to skip its polls.
        announce: makes the entry of an event; called in the journal's thread.
        now_utc_ns: the station's clock; called in the journal's thread.
        sinks: names of those who will open feeds; records nobody in this list waits for go first.
        memory_bytes: bound of the queue, of the newest records kept for sinks, of the ring while the disk fails.
        ballast_bytes: room held back for a full disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        keep_ns: int,
        announce: Announce,
        now_utc_ns: Callable[[], int],
        when_full: Literal["drop_oldest", "stop_polling"] = "drop_oldest",
        sinks: Iterable[str] = (),
        memory_bytes: int = MEMORY_BYTES,
        ballast_bytes: int = 4 << 20,
    ) -> None:
        self._path = path
        self._now_utc_ns = now_utc_ns
        self._announce = announce
        self._stalled_ns: int | None = None  # since when, monotonic; None while the disk does not hold it
        self._queue = Queue(memory_bytes)
        self._tail = Tail(memory_bytes)
        self._feeds: dict[str, Feed] = {}
        self._file = JournalFile(
            path, Bounds(max_bytes, keep_ns, when_full, ballast_bytes), announce, now_utc_ns, sinks
        )
        self._scribe = Scribe(
            self._file,
            self._queue,
            announce=announce,
            show=lambda records: self._call(self._shown, records),
            now_utc_ns=now_utc_ns,
            memory_bytes=memory_bytes,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._lock: StateLock | None = None

    async def open(self) -> None:
        """Take the lock, open or begin the file, start the thread.

        Raises:
            ConfigError: already running, not ours to write, or written by a newer version.
        """
        self._loop = asyncio.get_running_loop()
        self._lock = StateLock(self._path.parent)
        self._ended = self._loop.create_future()
        opened: asyncio.Future[None] = self._loop.create_future()
        threading.Thread(target=self._work, args=(opened,), name="journal", daemon=True).start()
        try:
            await opened
        except BaseException:
            await self.close()
            raise

    def _work(self, opened: asyncio.Future[None]) -> None:
        try:
            self._scribe.begin()
        except Exception as error:  # noqa: BLE001  told where the journal was opened
            self._file.disconnect()
            self._call(_fail, opened, error)
        else:
            self._call(_answer, opened, None)
            self._scribe.run()
        finally:
            assert self._ended is not None
            self._call(_answer, self._ended, None)

    def _call(self, what: Callable[..., None], *args: object) -> None:
        """Call in the event loop, if there still is one."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *args)

    async def close(self, within_s: float = 5.0) -> bool:
        """Commit all that was appended, and close; False where the disk did not let us in time (the thread is left)."""
        if self._ended is None or self._lock is None:
            return True
        self._queue.close()
        done, _ = await asyncio.wait([self._ended], timeout=within_s)
        for feed in self._feeds.values():
            feed.end("the journal is closed")
        if done:
            self._lock.release()
            self._lock = None
        return bool(done)

    def append(self, entry: Entry) -> None:
        """Keep an entry. Never blocks; where the queue is full its oldest entry is dropped, with a gap."""
        self._queue.put(entry)

    async def flush(self) -> None:
        """Wait until what was appended is committed (or, while the disk fails, in memory) and shown to the feeds."""
        await self._ask(lambda: None)

    async def feed(self, sink: str) -> Feed:
        """Open a feed (see daq.core.record.Opener); a later one for the same sink ends the one before."""
        return await self._ask(lambda: self._scribe.open_feed(sink), lambda found: self._opened(sink, *found))

    def _opened(self, sink: str, head: int, ahead: list[Record]) -> Feed:
        """Make the feed in the very call that follows the last commit, so that no record falls between."""
        if sink in self._feeds:
            self._feeds[sink].end("another feed was opened for this sink")
        self._feeds[sink] = Feed(self._ask, self._queue, self._scribe, sink, self._tail, head, ahead)
        return self._feeds[sink]

    def _shown(self, records: list[Record]) -> None:
        open_feeds = [feed.position for feed in self._feeds.values() if feed.is_open]
        self._tail.extend(records, min(open_feeds, default=self._tail.end))
        for feed in self._feeds.values():
            feed.arrived.set()

    @property
    def health(self) -> Health:
        """How the journal fares; a thread that the disk holds cannot say it itself."""
        health, held_ns = self._scribe.health, time.monotonic_ns() - self.progress_mono_ns
        if held_ns < STALLED_NS:
            return health
        reason = f"the disk has held a commit for {held_ns // NS} s: what is observed waits in memory"
        return replace(health, state="stalled", reason=reason, since_utc_ns=self._now_utc_ns() - held_ns)

    @property
    def full(self) -> bool:
        """As `health` says it, at no cost: whether the station should skip its polls."""
        return self._scribe.health.full

    def look_for_a_stall(self) -> None:
        """Announce that the disk holds the journal, and that it let go; both are kept then. Call once a second."""
        health = self.health
        if health.state == "stalled" and self._stalled_ns is None:
            self._stalled_ns = self.progress_mono_ns
            log.error("The journal is stalled: %s.", health.reason)
            self.append(self._announce(Event.JOURNAL, {"state": "stalled", "reason": health.reason}))
        elif health.state != "stalled" and self._stalled_ns is not None:
            held_s = round((time.monotonic_ns() - self._stalled_ns) / NS, 3)
            self._stalled_ns = None
            log.warning("The journal goes on, after %.0f s.", held_s)
            self.append(self._announce(Event.JOURNAL, {"state": "restored", "failed_s": held_s}))

    @property
    def queue_bytes(self) -> int:
        """Bytes that wait for a commit."""
        return self._queue.bytes

    @property
    def progress_mono_ns(self) -> int:
        """When the thread last came round (monotonic); older than a few seconds: the disk holds it."""
        return self._scribe.progress_mono_ns

    async def export(
        self,
        since_ns: int = 0,
        until_ns: int = END_OF_TIME_NS,
        streams: Sequence[str] | None = None,
        after: tuple[int, int] | None = None,
        limit: int = 1000,
    ) -> Page:
        """Return one page of records, see daq.journal.reading.export_page."""
        return await self._ask(lambda: self._file.export(since_ns, until_ns, streams, after, limit))

    async def last_slots(self, polls: Iterable[str], within_ns: int) -> dict[str, int]:
        """Return the last slot, UTC ns, that the file speaks for, of each poll found in that time; see `reading`."""
        until_mono_ns = time.monotonic_ns() + within_ns
        return await self._ask(lambda: self._scribe.last_slots(polls, until_mono_ns))

    async def info(self) -> dict[str, object]:
        """Return what the file holds, see daq.journal.reading.describe."""
        return await self._ask(self._file.info)

    async def _ask(self, job: Callable[[], T], receive: Callable[[T], R] | None = None) -> R:
        """Have something done in the thread, after all that was appended before.

        Args:
            job: done in the thread.
            receive: called in the event loop right after what the thread showed before; its result is returned.

        Raises:
            DaqError: the journal is closed.
            Exception: what `job` raised.
        """
        assert self._loop is not None
        assert self._ended is not None
        answer: asyncio.Future[R] = self._loop.create_future()

        def work() -> None:
            try:
                result = job()
            except Exception as error:  # noqa: BLE001  raised again where it was asked
                self._call(_fail, answer, error)
            else:
                self._call(lambda: _answer(answer, receive(result) if receive else cast("R", result)))

        self._queue.ask(work)
        await asyncio.wait(
            cast("list[asyncio.Future[object]]", [answer, self._ended]), return_when=asyncio.FIRST_COMPLETED
        )
        if not answer.done():
            raise DaqError("the journal is closed")
        return answer.result()


def _answer(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)

"""Any order of appending, delivering, filling, failing, restarting, crashing, clocks set and damage keeps the promises.

- No number (epoch, stream, seq) ever stands for two records, and none is shown that is not what was written.
- Within an epoch and stream a sink sees growing numbers, unless it is given something again.
- What was committed reaches the sink, or a gap names it, however often it is restarted; after damage, which may take
  records with it, the file is begun anew or goes on in another epoch, and says so.
- What a sink was done with on a clean stop it does not get again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from daq.core.errors import ConfigError
from daq.core.record import Entry, Record
from daq.journal import Journal

LONG_S = 30.0
MAX = 512 << 10
STREAMS = ("dmm1/v", "bath/t", "dmm1")
Id = tuple[str, str, int]


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.count = 0
        self.made: dict[Id, int] = {}  # number -> what was encoded under it last
        self.shown: dict[Id, bytes] = {}
        self.volatile: set[Id] = set()
        self.done: set[Id] = set()
        self.named_lost: set[Id] = set()
        self.committed: set[int] = set()  # what must be delivered or named lost
        self.unsettled: set[int] = set()  # appended since the last flush
        self.floor: dict[tuple[str, str], int] = {}
        self.hands: dict[int, Record] = {}  # row -> delivered, not done
        self.ahead_ns = 0  # of the clock before the true time
        self.damaged = False
        self.journal: Journal
        self.feed: Any

    def wait(self, what: Any) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(LONG_S):
                return await what

        return self.runner.run(bounded())

    @initialize()
    def begin(self) -> None:
        self.open()

    def open(self) -> None:
        self.journal = Journal(
            self.folder / "journal.db",
            max_bytes=MAX,
            keep_ns=10**18,
            announce=self.announce,
            now_utc_ns=self.now_ns,
            sinks=["mqtt"],
            ballast_bytes=64 << 10,
        )
        self.wait(self.journal.open())
        self.feed = self.wait(self.journal.feed("mqtt"))
        self.hands = {}

    def announce(self, event: str, details: dict[str, object]) -> Entry:
        return self.entry("event", "event", 10, json.dumps({"event": event, "details": details}))

    def entry(self, kind: Any, stream: str, size: int, text: str = "{}") -> Entry:
        self.count += 1
        number = self.count

        def encode(epoch: str, seq: int, durable: bool) -> bytes:
            key = epoch, stream, seq
            assert key not in self.shown, "a number that was seen stands for something else now"
            self.made[key] = number
            if not durable:
                self.volatile.add(key)
            return json.dumps({"n": number, "told": json.loads(text)}).encode().ljust(size)

        return Entry(kind, stream, self.now_ns(), encode, size)

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    # What may happen ----------------------------------------------------------------------------------------------

    @rule(stream=st.sampled_from(STREAMS), count=st.integers(1, 30), size=st.sampled_from([50, 1000, 5000]))
    def append(self, stream: str, count: int, size: int) -> None:
        for _ in range(count):
            self.journal.append(self.entry("obs" if "/" in stream else "info", stream, size))
            self.unsettled.add(self.count)

    @rule()
    def flush(self) -> None:
        self.wait(self.journal.flush())
        assert "full" not in (self.journal.health.reason or ""), "it did not make room for what it was given"
        self.committed |= self.unsettled
        self.unsettled = set()

    @rule(limit=st.integers(1, 40))
    def deliver(self, limit: int) -> None:
        self.flush()
        for _ in range(3):
            with contextlib.suppress(TimeoutError):
                self.see(self.runner.run(self.soon(limit)))
        self.see(self.wait(self.feed.backlog(max(self.hands, default=0), limit)), again=True)

    async def soon(self, limit: int) -> list[Record]:
        async with asyncio.timeout(0.02):
            page: list[Record] = await self.feed.live(limit)
            return page

    def see(self, records: list[Record], *, again: bool = False) -> None:
        for record in records:
            key = record.epoch, record.stream, record.seq
            assert self.shown.setdefault(key, record.payload) == record.payload
            assert self.made[key] == json.loads(record.payload)["n"]
            assert (record.row < 0) <= (key in self.volatile)
            stream = record.epoch, record.stream
            if not again and record.row > 0 and key not in self.volatile:
                assert record.seq > self.floor.get(stream, 0)
                self.floor[stream] = record.seq
            self.hands[record.row] = record
            self.learn(record)

    def learn(self, record: Record) -> None:
        told = json.loads(record.payload)["told"]
        if told.get("event") == "gap":
            for span in told["details"]["streams"]:
                for seq in range(span["first_seq"], span["last_seq"] + 1):
                    self.named_lost.add((span["epoch"], span["stream"], seq))

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        if self.hands:
            rows = data.draw(st.lists(st.sampled_from(sorted(self.hands)), unique=True))
            self.wait(self.feed.done(rows))
            for row in rows:
                record = self.hands.pop(row)
                self.done.add((record.epoch, record.stream, record.seq))

    @rule()
    def acknowledge_all(self) -> None:
        rows = list(self.hands)
        self.wait(self.feed.done(rows))
        self.done |= {(record.epoch, record.stream, record.seq) for record in self.hands.values()}
        self.hands = {}

    @rule()
    def reconnect(self) -> None:
        self.flush()
        self.feed = self.wait(self.journal.feed("mqtt"))
        self.hands = {}

    @rule()
    def restart(self) -> None:
        assert self.wait(self.journal.close(LONG_S))
        self.committed |= self.unsettled
        self.unsettled = set()
        self.open()

    @rule()
    def crash(self) -> None:
        """Open what a crash would leave: the file and its log as they are this instant; the old process is gone."""
        self.recover()
        self.flush()
        left = Path(tempfile.mkdtemp())
        for path in self.folder.glob("journal.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, left / path.name)
        assert self.wait(self.journal.close(LONG_S))
        shutil.rmtree(self.folder)
        self.folder = left
        self.done = set()  # acknowledgements may be lost
        self.open()

    @rule(by_s=st.sampled_from([-86400, -3600, -0.5, 0.5, 3600, 86400]))
    def set_clock(self, by_s: float) -> None:
        self.ahead_ns += round(by_s * 10**9)

    @rule(data=st.data())
    def damage_a_byte(self, data: st.DataObject) -> None:
        """A bit turns over anywhere in the file, while nobody looks."""

        def turn(path: Path) -> None:
            content = bytearray(path.read_bytes())
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(content)

        self.damage(turn)

    @rule(share=st.floats(0.3, 1.0))
    def cut_the_tail_off(self, share: float) -> None:
        def cut(path: Path) -> None:
            os.truncate(path, int(path.stat().st_size * share))

        self.damage(cut)

    def damage(self, spoil: Callable[[Path], None]) -> None:
        """Stop, spoil the file, start: what was not delivered by then may be gone, and is told of where it is known."""
        self.recover()
        self.flush()
        assert self.wait(self.journal.close(LONG_S))
        spoil(self.folder / "journal.db")
        self.damaged, self.done = True, set()
        try:
            self.open()
        except ConfigError:  # its head says that it is another program's, or another version's: for a person to see to
            self.folder.joinpath("journal.db").unlink()
            self.open()

    @rule(count=st.integers(1, 20))
    def fail_for_a_while(self, count: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            self.append("dmm1/v", count, 200)
            self.deliver(20)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @precondition(lambda self: self.journal.health.state == "failing")
    @rule()
    def recover(self) -> None:
        async def well() -> None:
            while self.journal.health.state != "ok":
                self.journal._scribe._retry_mono_ns = 0
                await self.journal._ask(self.journal._scribe._tick)

        self.wait(well())

    # What must be true at the end ---------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if hasattr(self, "journal"):
                self.settle()
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)

    def settle(self) -> None:
        done_before = set(self.done)
        self.restart()
        again: set[Id] = set()
        after = 0
        while page := self.wait(self.feed.backlog(after, 50)):
            self.see(page, again=True)
            again |= {(record.epoch, record.stream, record.seq) for record in page}
            after = page[-1].row
        assert self.wait(self.journal.close(LONG_S))
        assert again.isdisjoint(done_before)
        told = {self.made[key] for key in self.shown.keys() | (self.named_lost & self.made.keys())}
        gaps_lost = any(key[1] == "event" for key in self.named_lost)
        assert gaps_lost or self.damaged or self.committed <= told


JournalMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes; a failure is read as it is
)
TestAnyOrderOfEvents = JournalMachine.TestCase

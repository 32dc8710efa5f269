"""A journal on a disk that is full, in a process of its own: fills it, frees it, and prints what became of the records.

    python on_small_disk.py FOLDER grows|squeezed|filled

grows: the journal may be larger than the disk. squeezed: somebody else fills the disk slowly. filled: somebody
else takes the last byte at once, and gives it back.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

from daq.core.record import Entry, Record
from daq.journal import Journal, open_idle

FOLDER = Path(sys.argv[1])
STREAM = "dmm1/v"


def entry(number: int) -> Entry:
    def encode(epoch: str, seq: int, durable: bool) -> bytes:
        return json.dumps({"n": number, "durable": durable}).encode().ljust(1000)

    return Entry("obs", STREAM, time.time_ns(), encode, 1000)


def announce(event: str, details: dict[str, object]) -> Entry:
    return Entry("event", "event", time.time_ns(), lambda *_: json.dumps({"event": event, "details": details}).encode())


def take(name: str, size: int) -> None:
    """Take room on the disk, as much as there is."""
    with (FOLDER / name).open("ab", buffering=0) as file:
        try:
            for _ in range(size // 4096):
                file.write(bytes(4096))
        except OSError:
            return


class Run:
    def __init__(self) -> None:
        self.journal = Journal(
            FOLDER / "journal.db",
            max_bytes=100 << 20,
            keep_ns=10**18,
            announce=announce,
            now_utc_ns=time.time_ns,
            sinks=["mqtt"],
            ballast_bytes=1 << 20,
        )
        self.shown: list[Record] = []
        self.count = 0
        self.seen = asyncio.Event()

    async def append(self, count: int) -> None:
        for _ in range(count):
            self.count += 1
            self.journal.append(entry(self.count))
        await self.journal.flush()

    async def watch(self) -> None:
        feed = await self.journal.feed("mqtt")
        while True:
            self.shown += await feed.live(100)
            self.seen.set()

    async def scenario(self, name: str) -> None:
        for step in range(90):
            await self.append(100)
            if name == "squeezed" and step >= 20:
                take("other", 100 << 10)
            if name == "filled" and step == 25:
                take("other", 100 << 20)
        if name != "grows":
            (FOLDER / "other").unlink()
        async with asyncio.timeout(60):
            while self.journal.health.state != "ok":  # noqa: ASYNC110  its thread has nothing to await
                await asyncio.sleep(0.01)
        await self.append(100)


def told(records: list[Record]) -> list[dict]:
    found = [json.loads(record.payload) for record in records if record.kind == "event"]
    return [event["details"] for event in found if event["event"] == "gap"]


async def main() -> dict[str, object]:
    run = Run()
    await run.journal.open()
    watching = asyncio.create_task(run.watch())
    await asyncio.sleep(0)
    await run.journal.flush()
    await run.scenario(sys.argv[2])
    async with asyncio.timeout(30):
        while all(
            json.loads(record.payload).get("n") != run.count for record in run.shown[-10:]
        ):  # a gap may follow it
            await run.seen.wait()
            run.seen.clear()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    state = run.journal.health.state
    assert await run.journal.close()
    return audit(run, state)


def audit(run: Run, state: str) -> dict[str, object]:
    observed = [record for record in run.shown if record.kind == "obs"]
    numbers = [json.loads(record.payload)["n"] for record in observed]
    gaps = told(run.shown)
    lost = {
        (span["epoch"], seq)
        for gap in gaps
        for span in gap["streams"]
        if span["stream"] == STREAM
        for seq in range(span["first_seq"], span["last_seq"] + 1)
    }
    with open_idle(FOLDER / "journal.db") as idle:
        kept = {(record.epoch, record.seq) for record in idle.export(limit=10**6).records if record.kind == "obs"}
    return {
        "state": state,
        "unseen": sorted(set(range(1, run.count + 1)) - set(numbers))[:10],
        "out_of_order": sum(a >= b for a, b in pairwise(numbers)),
        "unaccounted": [r.seq for r in observed if (r.epoch, r.seq) not in kept | lost][:10],
        "volatile": sum(not json.loads(record.payload)["durable"] for record in observed),
        "gaps": len(gaps),
        "pid": os.getpid(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main())))

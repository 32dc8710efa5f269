"""Appends to a journal and prints what a sink has seen, until somebody kills it.

python crashing.py FOLDER
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from daq.core.record import Entry
from daq.journal import Journal


def entry(number: int) -> Entry:
    def encode(epoch: str, seq: int, durable: bool) -> bytes:
        return json.dumps({"n": number, "seq": seq, "epoch": epoch, "durable": durable}).encode()

    return Entry("obs", f"dmm{number % 3}/v", time.time_ns(), encode, 100)


def announce(event: str, details: dict[str, object]) -> Entry:
    return Entry("event", "event", time.time_ns(), lambda *_: json.dumps({"event": event, "details": details}).encode())


async def main() -> None:
    journal = Journal(
        Path(sys.argv[1]) / "journal.db",
        max_bytes=64 << 20,
        keep_ns=10**18,
        announce=announce,
        now_utc_ns=time.time_ns,
        sinks=["mqtt"],
    )
    await journal.open()
    feed = await journal.feed("mqtt")
    number = 0
    while True:
        for _ in range(7):
            number += 1
            journal.append(entry(number))
        for record in await feed.live(100):
            os.write(1, f"{record.epoch} {record.stream} {record.seq} {record.row}\n".encode())
            if record.seq % 2:
                await feed.done([record.row])


asyncio.run(main())

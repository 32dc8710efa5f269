"""The floor: what Python must do at least for the same promises, with nothing checked, in one file by hand.

asyncio sockets are read as fast as they answer; each reading is stamped, printed with orjson, committed to SQLite
(WAL, synchronous=FULL, in groups, in a thread) and only then published at QoS 1 over a socket, packet by hand, at most
20 in flight. Nobody asks while too much waits for the disk or the broker.

    python -m tests.bench.counterparts.floor SCPI_PORT COUNT BROKER_PORT FOLDER
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import sys
import threading
import time
from collections import deque

import orjson

NS = 1_000_000_000
WINDOW = 20
MOST_WAITING = 400


class Broker(asyncio.Protocol):
    """QoS 1 by hand: MQTT 3.1.1, at most WINDOW in flight."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.resting: deque[Instrument] = deque()
        self.under_way = 0
        self.flying = 0
        self.numbers = itertools.cycle(range(1, 65536))
        self.transport: asyncio.Transport

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05floor")

    def data_received(self, data: bytes) -> None:
        landed = len(data) // 4  # PUBACKs, and the CONNACK before them, have four bytes each
        self.flying = max(0, self.flying - landed)
        self.under_way -= landed
        self.send()
        while self.resting and self.under_way < MOST_WAITING:
            self.resting.popleft().ask()

    def send(self) -> None:
        packets = []
        while self.waiting and self.flying < WINDOW:
            payload = self.waiting.popleft()
            number = next(self.numbers)
            length = 2 + 9 + 2 + len(payload)
            head = bytes((0x32, length & 0x7F | 0x80, length >> 7)) if length > 127 else bytes((0x32, length))
            packets.append(head + b"\x00\x09floor/obs" + number.to_bytes(2, "big") + payload)
            self.flying += 1
        if packets:
            self.transport.write(b"".join(packets))


class Disk:
    """Commits what has gathered, in a thread, 5 ms apart."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, committed) -> None:
        self.path, self.loop, self.committed = path, loop, committed
        self.gathered: list[bytes] = []
        self.some = threading.Event()
        threading.Thread(target=self.work, daemon=True).start()

    def put(self, payload: bytes) -> None:
        self.gathered.append(payload)
        if not self.some.is_set():
            self.some.set()

    def work(self) -> None:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE IF NOT EXISTS record (row INTEGER PRIMARY KEY, payload BLOB)")
        while True:
            self.some.wait()
            time.sleep(0.005)
            self.some.clear()
            batch, self.gathered = self.gathered, []
            db.execute("BEGIN")
            db.executemany("INSERT INTO record (payload) VALUES (?)", ((payload,) for payload in batch))
            db.execute("COMMIT")
            self.loop.call_soon_threadsafe(self.committed, batch)


class Instrument(asyncio.Protocol):
    """Asks, reads, stamps, prints, asks again."""

    def __init__(self, number: int, disk: Disk, broker: Broker) -> None:
        self.number, self.disk, self.broker, self.count = number, disk, broker, 0
        self.transport: asyncio.Transport

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.asked = time.monotonic_ns()
        self.transport.write(b"READ?\n")

    def data_received(self, data: bytes) -> None:
        came, utc = time.monotonic_ns(), time.time_ns()
        text = data.decode().rstrip()
        self.count += 1
        message = {
            "id": f"floor.{self.number}.{self.count}",
            "t": utc,
            "t_err": (came - self.asked) / 2 / NS,
            "mono": came / NS,
            "value": float(text),
            "text": text,
            "unit": "V",
            "status": "ok",
        }
        self.disk.put(orjson.dumps(message))
        self.broker.under_way += 1
        if self.broker.under_way < MOST_WAITING:
            self.ask()
        else:
            self.broker.resting.append(self)


async def main(port: int, count: int, broker_port: int, folder: str) -> None:
    loop = asyncio.get_running_loop()
    _, broker = await loop.create_connection(Broker, "127.0.0.1", broker_port)

    def committed(batch: list[bytes]) -> None:
        broker.waiting.extend(batch)
        broker.send()

    disk = Disk(f"{folder}/floor.db", loop, committed)
    for number in range(count):
        await loop.create_connection(lambda number=number: Instrument(number, disk, broker), "127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))

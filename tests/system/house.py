"""The whole house as its users run it: stand-ins, a broker, the daemon, each a process, and an ear at the broker.

Nothing here knows the inside of the daemon: it is started by its command, asked through its socket, heard at the
broker, read in its log. Whatever is waited for comes within PATIENCE_S or never.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

from daq.control import ask
from daq.demo.audit import Audit, Witness
from daq.demo.bench import placed
from daq.demo.places import PLACES
from daq.load import data_path, load_bench
from tests.brokers import MOSQUITTO, Iotcore, Mosquitto

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0

WORLD: dict[str, Any] = {
    "world": 1,
    "seed": 11,
    "wires": {"rs485a": {"serial": "pty"}},
    "instruments": {
        "dmm1": {"model": "34465a", "at": {"tcp": 0}, "serial_number": "SIM-DMM-1"},
        "cal1": {"model": "5730a", "at": {"visa": 0}, "serial_number": "SIM-CAL-1"},
        "balance1": {"model": "mt_sics", "at": {"serial": "pty"}, "serial_number": "SIM-BAL-1"},
        "thermometer1": {"model": "1502a", "at": {"serial": "pty"}, "serial_number": "SIM-THERM-1", "period": 0.5},
        "ambient1": {"model": "ptu300", "at": {"serial": "pty"}, "serial_number": "SIM-PTU-1"},
        "pressure1": {"model": "pace5000", "at": {"tcp": 0}, "serial_number": "SIM-PACE-1"},
        "meter1": {"model": "sdm630", "at": {"wire": "rs485a", "unit": 1}, "serial_number": 4290000001},
        "meter2": {"model": "sdm630", "at": {"wire": "rs485a", "unit": 2}, "serial_number": 4290000002},
        "meter3": {"model": "sdm630", "at": {"modbus_tcp": 0, "unit": 1}, "serial_number": 4290000003},
    },
}
"""One of each model, two of one on a shared wire."""


def _meter(serial: int, at: dict[str, Any], every: str) -> dict[str, Any]:
    return {
        "driver": "eastron/sdm630",
        "at": at,
        "serial_number": str(serial),
        "simulated": True,
        "poll": {"power": every},
    }


BENCH: dict[str, Any] = {
    "bench": 1,
    "station": {"site": "lab", "name": "b1"},
    "mqtt": {"url": "mqtt://127.0.0.1:1883"},
    "wires": {"rs485a": {"serial": "/nowhere/rs485a", "line": "9600/8n1", "gap": "5 ms"}},
    "instruments": {
        "dmm1": {
            "driver": "keysight/34465a",
            "at": {"tcp": "127.0.0.1:1"},
            "asset": "A-1",
            "serial_number": "SIM-DMM-1",
            "role": "reference",
            "poll": {"vref": {"ask": "dcv", "every": "250 ms", "settings": {"range": "100 V", "nplc": 1}}},
        },
        "cal1": {
            "driver": "fluke/5730a",
            "at": {"visa": "TCPIP0::127.0.0.1::hislip0,4::INSTR"},
            "serial_number": "SIM-CAL-1",
            "configure": "never",
            "poll": {"voltage": "250 ms"},
        },
        "balance1": {
            "driver": "mettler-toledo/mt-sics",
            "at": {"serial": "/nowhere/balance1", "line": "9600/8n1"},
            "serial_number": "SIM-BAL-1",
            "poll": {"weight": "250 ms"},
        },
        "thermometer1": {
            "driver": "fluke/1502a",
            "at": {"serial": "/nowhere/thermometer1", "line": "2400/8n1"},
            "serial_number": "SIM-THERM-1",
            "poll": {"measured": "unasked"},
        },
        "ambient1": {
            "driver": "vaisala/ptu300",
            "at": {"serial": "/nowhere/ambient1"},
            "serial_number": "SIM-PTU-1",
            "poll": {"ambient": "250 ms"},
        },
        "pressure1": {
            "driver": "druck/pace5000",
            "at": {"tcp": "127.0.0.1:2"},
            "serial_number": "SIM-PACE-1",
            "poll": {"absolute": "250 ms"},
        },
        "meter1": _meter(4290000001, {"wire": "rs485a", "unit": 1}, "250 ms"),
        "meter2": _meter(4290000002, {"wire": "rs485a", "unit": 2}, "250 ms"),
        "meter3": _meter(4290000003, {"modbus_tcp": "127.0.0.1:3", "unit": 1}, "250 ms"),
    },
}
"""The bench of that world; its addresses are put in when the stand-ins have said where they stand."""

IMPATIENT = ("keysight/34465a", "fluke/5730a")
"""Drivers whose longest latency, 5 s, makes tests of silence long: here a copy beside the bench says 2 s."""


def eventually(question: Callable[[], Any], what: str) -> Any:
    """Return the answer once it is true: for what tells nobody that it has changed."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.01)
    return answer


def family(pid: int) -> list[int]:
    """Return this process and all below it."""
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def living(pids: Iterable[int]) -> list[int]:
    """Return those that live; one that has ended and that nobody waited for does not."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            found += [pid] if state != "Z" else []
    return found


# ---------------------------------------------------------------- stand-ins


@dataclass
class World:
    """Running stand-ins. Every pseudo-terminal has a link in `folder`, which stays when it is plugged in again."""

    folder: Path
    described: dict[str, Any] = field(default_factory=lambda: WORLD)
    process: subprocess.Popen[str] | None = None
    ready: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        world = json.loads(json.dumps(self.described))
        for name, entry in (*world.get("wires", {}).items(), *world["instruments"].items()):
            place = entry.get("at", entry)
            if "serial" in place:
                place["link"] = str(self.folder / name)
            elif self.ready:  # a second start: each comes back where it stood
                self._same_port(name, place)
        path = self.folder / "world.yaml"
        path.write_text(json.dumps(world))
        with (self.folder / "simulators.log").open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "simulators", str(path), "--log", str(self.folder / "witness.jsonl")],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(PATIENCE_S), "the stand-ins do not say that they are ready"
        line = self.process.stdout.readline()
        assert line, (self.folder / "simulators.log").read_text()
        self.ready = json.loads(line)

    def _same_port(self, name: str, place: dict[str, Any]) -> None:
        for key in ("tcp", "modbus_tcp", "visa"):
            if key in place:
                where = self.ready["instruments"][name][key]
                place[key] = int(re.findall(r"\d+", where.removesuffix("::INSTR"))[-1])

    def fault(self, name: str, fault: str, **settings: Any) -> None:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(PATIENCE_S)
            wire.connect(self.ready["control"])
            wire.sendall(json.dumps({"instrument": name, "fault": fault, **settings}).encode() + b"\n")
            with wire.makefile() as lines:
                answer = json.loads(lines.readline())
        assert answer == {"ok": True}, answer

    def clear(self, name: str) -> None:
        self.fault(name, "clear")

    def witness(self) -> list[str]:
        return (self.folder / "witness.jsonl").read_text().splitlines()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(PATIENCE_S) == 0
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


# ---------------------------------------------------------------- broker and ear


def new_broker(folder: Path) -> Mosquitto | Iotcore:
    """Return a broker, not yet started: mosquitto where there is one, else the one in a wheel (BROKER=iotcore)."""
    folder.mkdir(exist_ok=True)
    if MOSQUITTO is None or os.environ.get("BROKER") == "iotcore":
        return Iotcore(folder)
    return Mosquitto(folder, ["max_queued_messages 0"])


@dataclass(frozen=True)
class Heard:
    """A message as it came."""

    topic: str
    payload: bytes
    retain: bool
    arrived_ns: int

    @cached_property
    def json(self) -> Any:
        return json.loads(self.payload)

    @property
    def levels(self) -> list[str]:
        return self.topic.split("/")

    @property
    def is_obs(self) -> bool:
        return len(self.levels) == 7

    @property
    def is_late(self) -> bool:
        return self.is_obs and self.levels[5] == "late"

    @property
    def instrument(self) -> str | None:
        return self.levels[4] if len(self.levels) > 5 else None


class Ear:
    """Hears everything at a broker, over as many connections as it takes."""

    def __init__(self, port: int) -> None:
        self.heard: list[Heard] = []
        self._changed = threading.Condition()
        self._subscribed = False
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, "ear", protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: self._note(True)
        self._client.on_disconnect = lambda *_: self._note(False)
        self._client.on_message = self._take
        self._client.reconnect_delay_set(0.05, 0.05)
        self._client.connect_async("127.0.0.1", port, clean_start=True)

    def start(self) -> None:
        self._client.loop_start()

    def _note(self, subscribed: bool) -> None:
        with self._changed:
            self._subscribed = subscribed
            self._changed.notify_all()

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        heard = Heard(message.topic, message.payload, bool(message.retain), time.monotonic_ns())
        with self._changed:
            self.heard.append(heard)
            self._changed.notify_all()

    def say(self, topic: str) -> None:
        self._client.publish(topic, b"{}", 1)

    def until(self, question: Callable[[], Any], what: str) -> Any:
        """Return the answer once it is true; it is asked again after each message."""
        with self._changed:
            assert self._changed.wait_for(question, PATIENCE_S), f"never came: {what}"
            return question()

    def listening(self) -> None:
        """Wait until the subscription stands."""
        self.until(lambda: self._subscribed, "the ear's own subscription")

    def deaf(self) -> None:
        """Wait until the connection is gone."""
        self.until(lambda: not self._subscribed, "the end of the ear's connection")

    def mark(self) -> int:
        """Return the place behind what has been heard so far."""
        with self._changed:
            return len(self.heard)

    def obs(self, instrument: str | None = None, since: int = 0, **wanted: Any) -> list[Heard]:
        """Return observations heard since a mark, of one instrument or of all, with these keys."""
        return [
            heard
            for heard in self.heard[since:]
            if heard.is_obs
            and instrument in (None, heard.instrument)
            and all(heard.json.get(key) == value for key, value in wanted.items())
        ]

    def next(self, instrument: str, since: int, count: int = 1, **wanted: Any) -> list[Heard]:
        """Wait for so many observations of an instrument, with these keys, since a mark."""
        what = f"{count} of {instrument} with {wanted}"
        self.until(lambda: len(self.obs(instrument, since, **wanted)) >= count, what)
        return self.obs(instrument, since, **wanted)

    def events(self, event: str, since: int = 0, **wanted: Any) -> list[Any]:
        """Return events heard since a mark, their details among the other keys."""
        told = [{**heard.json, **heard.json["details"]} for heard in self.heard[since:] if heard.levels[-1] == "event"]
        return [
            one for one in told if one["event"] == event and all(one.get(key) == value for key, value in wanted.items())
        ]

    def status(self, instrument: str | None = None) -> str | None:
        """Return the word of the newest status of an instrument, or of the station; None while there was none."""
        level = [] if instrument is None else [instrument]
        found = [
            heard
            for heard in self.heard
            if heard.levels[-1] == "status" and heard.levels[4:-1] == level and heard.payload
        ]
        return found[-1].json["status"] if found else None

    def stop(self) -> None:
        leave(self._client)


def leave(client: paho.Client) -> None:
    """End a client and its thread; the pair of sockets that wakes its thread it would keep until it is collected."""
    client.disconnect()
    client.loop_stop()
    client._reset_sockets()


def retained(port: int, topic: str) -> dict[str, Any]:
    """Ask the broker what it holds under a topic now, with a subscription of its own."""
    found: dict[str, Any] = {}
    done = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)

    def heard(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic == "ear/done":
            done.set()
        elif message.retain and message.payload:
            found[message.topic] = json.loads(message.payload)

    def subscribed(*_: object) -> None:  # what is retained comes before what is published behind the subscription
        client.publish("ear/done", b"1", 1)

    client.on_message = heard
    client.on_subscribe = subscribed
    client.on_connect = lambda *_: client.subscribe(
        [(topic, paho.SubscribeOptions(1)), ("ear/done", paho.SubscribeOptions(1))]
    )
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert done.wait(PATIENCE_S), "the broker does not answer"
    finally:
        leave(client)
    return found


# ---------------------------------------------------------------- the daemon


@dataclass
class Daemon:
    """`daq run` as a process, with a state folder of its own under `folder`."""

    bench: Path
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = (sys.executable, "-m", "daq")
    process: subprocess.Popen[bytes] | None = None
    log_begins: int = 0

    @property
    def env(self) -> dict[str, str]:
        cleared = dict.fromkeys(("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC"), "")
        return {**os.environ, **cleared, "XDG_STATE_HOME": str(self.folder), **self.environ}

    def start(self) -> None:
        with (self.folder / "daemon.log").open("ab") as said:
            self.log_begins = said.tell()
            self.process = subprocess.Popen(
                [*self.command, "run", str(self.bench)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stderr=said,
                env=self.env,
            )

    def log(self) -> str:
        """Return what it has said since it was started last."""
        return (self.folder / "daemon.log").read_bytes()[self.log_begins :].decode(errors="replace")

    def said(self, words: str) -> str:
        """Wait until the log holds it."""
        eventually(lambda: words in self.log() or self._ended(), f"{words!r} in the log")
        assert words in self.log(), self.log()
        return self.log()

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    @property
    def state(self) -> Path:
        return self.folder / "bench-daq" / "lab.b1"

    def ask(self, **words: Any) -> list[dict[str, Any]]:
        return list(ask(self.state / "control.sock", words, PATIENCE_S))

    def tapped(self, instrument: str) -> Iterator[dict[str, Any]]:
        """Yield the bytes of an instrument's wire as they pass; close it to leave."""
        for part in ask(self.state / "control.sock", {"do": "tap", "instrument": instrument}, PATIENCE_S):
            if "quiet" not in part:
                yield part

    def family(self) -> list[int]:
        """Return the process ids of the daemon and all below it."""
        assert self.process is not None
        return family(self.process.pid)

    def verb(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another verb of the command line, as the same user with the same state."""
        command = [*self.command, *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold it still, so that the ear is at the broker before it."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def ended(self) -> int:
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        self.process = None
        return code

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.ended()


# ---------------------------------------------------------------- all of it


@dataclass
class House:
    """A folder with everything in it; what is started is stopped by `stop`."""

    folder: Path
    world: World
    broker: Mosquitto | Iotcore
    ear: Ear
    daemon: Daemon

    @classmethod
    def build(cls, folder: Path) -> House:
        broker = new_broker(folder / "broker")
        daemon = Daemon(folder / "bench.yaml", folder)
        return cls(folder, World(folder), broker, Ear(broker.port), daemon)

    def write(self, bench: Mapping[str, Any] | None = None, only: tuple[str, ...] = ()) -> dict[str, Any]:
        """Write the bench file (JSON is YAML), with the addresses at which the stand-ins stand; return what it says."""
        here = json.loads(json.dumps(BENCH if bench is None else bench))
        if only:
            here["instruments"] = {name: here["instruments"][name] for name in only}
            if not any("wire" in entry["at"] for entry in here["instruments"].values()):
                del here["wires"]
        if self.world.ready:
            here = placed(here, self.world.ready["instruments"], self.world.ready["wires"], self.broker.port)
        here["mqtt"]["url"] = f"mqtt://127.0.0.1:{self.broker.port}"
        for driver in IMPATIENT:
            file = self.folder / "drivers" / f"{driver}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            said = (data_path("drivers") / f"{driver}.yaml").read_text()
            assert "max_latency: 5 s" in said
            file.write_text(said.replace("max_latency: 5 s", "max_latency: 2 s"))
        self.rewrite(here)
        return here

    def rewrite(self, bench: Mapping[str, Any]) -> None:
        """Write the bench file as it is given."""
        self.daemon.bench.write_text(json.dumps(bench, indent=1))

    def start(self, only: tuple[str, ...] = ()) -> None:
        """Start everything; wait until each instrument has given a value, and what stays at the broker is told."""
        self.world.start()
        self.broker.start()
        self.ear.start()
        self.ear.listening()
        here = self.write(only=only)
        self.daemon.start()
        for name in here["instruments"]:
            self.ear.next(name, 0, status="ok")
            self.ear.until(lambda name=name: self.ear.status(name) == "ok", f"{name} ok")
        self.ear.until(lambda: any(heard.levels[4:] == ["info"] for heard in self.ear.heard), "what the station is")

    def intervals(self) -> dict[str, float | None]:
        """Return the interval of each poll, None for those that send unasked, as the audit wants it."""
        loaded = load_bench(self.daemon.bench)
        return {
            f"{name}/{poll.name}": None if poll.every_ns is None else poll.every_ns / 1e9
            for name, plan in loaded.plans.items()
            for poll in plan.polls
        }

    def kill_broker(self) -> None:
        """Kill the broker when the ear has all that it took: what it acknowledged it may lose, and that is its own."""
        with self.daemon.frozen():
            for number in range(2):  # what came before the first is read before the second
                mark, topic = self.ear.mark(), f"ear/{number}"
                self.ear.say(topic)
                self.ear.until(
                    lambda mark=mark, topic=topic: any(heard.topic == topic for heard in self.ear.heard[mark:]),
                    "the ear's own word",
                )
            self.broker.kill()
            self.ear.deaf()

    def audit(self) -> Audit:
        """Compare every observation that was heard with what the stand-ins logged."""
        places = {name: PLACES[entry["driver"]] for name, entry in BENCH["instruments"].items()}
        messages = self.ear.obs()  # before the witness is read: it knows of an answer before anybody has it
        audit = Audit(Witness(self.world.witness()), places)
        for heard in messages:
            audit.take(heard.payload, heard.arrived_ns)
        return audit

    def stop(self) -> None:
        self.ear.stop()
        if self.daemon.process is not None:
            self.daemon.kill()
        self.world.stop()
        self.broker.stop()


@contextlib.contextmanager
def house() -> Iterator[House]:
    """Give a house of its own in a folder with a short name: paths of sockets are bounded."""
    with tempfile.TemporaryDirectory(prefix="daq-") as folder:
        built = House.build(Path(folder))
        try:
            yield built
        finally:
            built.stop()

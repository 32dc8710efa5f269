"""Real brokers of two makes, as processes of the test's own on 127.0.0.1: mosquitto, and the one in a wheel."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import iotcore

# Debian keeps the broker where only root's PATH looks.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def held_port() -> socket.socket:
    """Bind a port that the system gives nobody else; a broker may listen there, since both say SO_REUSEADDR."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


@dataclass
class Mosquitto:
    """A mosquitto of the test's own, on 127.0.0.1.

    Args:
        folder: for its configuration and log.
        config: lines beside the listener's.
    """

    folder: Path
    config: Sequence[str] = ()
    anonymous: bool = True
    process: subprocess.Popen[bytes] | None = None
    _held: socket.socket = field(default_factory=held_port)

    def __post_init__(self) -> None:
        self.port = int(self._held.getsockname()[1])

    def start(self) -> None:
        assert MOSQUITTO is not None
        path = self.folder / "mosquitto.conf"
        allow = "true" if self.anonymous else "false"
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {allow}", "persistence false", *self.config]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes a user who may not read the test's files
        path.write_text("\n".join(lines) + "\n")
        self.launch(path)

    def launch(self, config: Path) -> None:
        """Start it with this configuration; return when it listens."""
        with (self.folder / "mosquitto.log").open("ab") as told:
            told_before = told.tell()
            self.process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(config)], stdout=told, stderr=told)
        deadline = time.monotonic() + 20
        while b" running\n" not in (self.folder / "mosquitto.log").read_bytes()[told_before:]:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def stop(self) -> None:
        """End it, by its own process id, and give its port back; may be called twice."""
        self._held.close()
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None


IOTCORE = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v{version}.1]
name = "only"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v{version}.1.connections]
connection_timeout_ms = 60000
max_payload_size = {largest}
max_inflight_count = 100
"""


@dataclass
class Iotcore:
    """The broker in a wheel: MQTT 5 or 3.1.1 alone, and no word of its limits."""

    folder: Path
    port: int = field(default_factory=free_port)
    version: int = 5
    largest: int = 65536
    broker: iotcore.Broker | None = None

    def start(self) -> None:
        path = self.folder / "iotcore.toml"
        path.write_text(IOTCORE.format(version=self.version, port=self.port, largest=self.largest))
        self.broker = iotcore.Broker(config_path=str(path))
        self.broker.start(timeout=30)

    def freeze(self) -> None:
        assert self.broker is not None
        self.broker._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.broker is not None and self.broker._process is not None:
            self.broker._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        assert self.broker is not None
        self.broker._process.kill()
        self.stop()

    def stop(self) -> None:
        self.thaw()
        if self.broker is not None:
            self.broker.stop()
            self.broker = None

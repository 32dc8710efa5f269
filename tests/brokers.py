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
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        path = self.folder / "mosquitto.conf"
        allow = "true" if self.anonymous else "false"
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {allow}", "persistence false", *self.config]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes a user who may not read the test's files
        path.write_text("\n".join(lines) + "\n")
        deadline = time.monotonic() + 20
        self._launch(path)
        while not self._listens():
            if self.process is not None and self.process.poll() is not None:
                assert self.log().rstrip().endswith("Address already in use"), self.log()
                self._launch(path)  # somebody's outgoing connection has the port just now
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def _launch(self, config: Path) -> None:
        with (self.folder / "mosquitto.log").open("ab") as told:
            self.process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(config)], stdout=told, stderr=told)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

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
        """End it, by its own process id; may be called twice."""
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

"""Starts the stand-ins as their users do: a process, a ready line, a log, a control socket."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "demo-world.yaml"
LIMIT_S = 20.0


@dataclass
class Running:
    """The running stand-ins."""

    process: subprocess.Popen
    log_path: Path
    ready: dict
    open: list = field(default_factory=list)

    def at(self, name):
        return self.ready["instruments"][name]

    def serial(self, name):
        return self.at(name)["serial"]

    def wire(self, name):
        return self.ready["wires"][name]["serial"]

    def log(self, name=None):
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines()]
        return [line for line in lines if name in (None, line["instrument"])]

    def control(self, **request):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT_S)
            client.connect(self.ready["control"])
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile() as lines:
                return json.loads(lines.readline())

    def fault(self, name, fault, **settings):
        answer = self.control(instrument=name, fault=fault, **settings)
        assert answer == {"ok": True}

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(LIMIT_S)


class TcpClient:
    """A bare socket that asks line by line."""

    def __init__(self, address):
        host, port = address.split(":")
        self.sock = socket.create_connection((host, int(port)), timeout=LIMIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def write(self, line):
        self.sock.sendall(line.encode() + b"\n")

    def readline(self):
        while b"\n" not in self.buffer:
            data = self.sock.recv(4096)
            if not data:
                raise EOFError
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode("latin-1")

    def ask(self, line):
        self.write(line)
        return self.readline()

    def close(self):
        self.sock.close()


class PtyClient:
    """A pseudo-terminal opened as a serial port, read line by line."""

    def __init__(self, path, eol="\r\n"):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.eol = eol
        self.buffer = b""

    def write(self, line):
        os.write(self.fd, (line + self.eol).encode())

    def more(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.fd, selectors.EVENT_READ)
            assert selector.select(LIMIT_S), "nothing came"
        data = os.read(self.fd, 4096)
        if not data:
            raise EOFError
        self.buffer += data

    def readline(self):
        while b"\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode("latin-1") + "\n"

    def rest(self):
        """Read until the line hangs up."""
        while True:
            self.more()

    def ask(self, line):
        self.write(line)
        return self.readline()

    def close(self):
        os.close(self.fd)


def start(world, log_path, *arguments, stdin=subprocess.DEVNULL):
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", str(world), "--log", str(log_path), *arguments],
        cwd=ROOT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(LIMIT_S), "no ready line"
    line = process.stdout.readline()
    assert line, "ended before it was ready"
    return Running(process, log_path, json.loads(line))


def _end(running):
    for client in running.open:
        with contextlib.suppress(OSError):
            client.close()
    running.stop()
    if running.process.stdout:
        running.process.stdout.close()
    if running.process.stdin:
        running.process.stdin.close()


@pytest.fixture
def launch(tmp_path):
    """Start stand-ins; all are ended with the test."""
    all_running = []

    def go(world=DEMO, *arguments, stdin=subprocess.DEVNULL):
        if isinstance(world, str):
            path = tmp_path / "world.yaml"
            path.write_text(world)
            world = path
        running = start(world, tmp_path / f"log{len(all_running)}.jsonl", *arguments, stdin=stdin)
        all_running.append(running)
        return running

    yield go
    for running in all_running:
        _end(running)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The demo world, one process for a module; a test leaves it as it found it."""
    running = start(DEMO, tmp_path_factory.mktemp("demo") / "log.jsonl")
    yield running
    _end(running)


@pytest.fixture
def demo(shared):
    """The shared demo world, with faults cleared and clients closed after the test."""
    yield shared
    for client in shared.open:
        with contextlib.suppress(OSError):
            client.close()
    shared.open.clear()
    for name in shared.ready["instruments"]:
        shared.fault(name, "clear")


@pytest.fixture
def tcp(demo):
    """Open a socket to an instrument."""

    def go(name):
        client = TcpClient(demo.at(name)["tcp"])
        demo.open.append(client)
        return client

    return go


@pytest.fixture
def port(demo):
    """Open the pseudo-terminal of an instrument."""

    def go(name, eol="\r\n"):
        client = PtyClient(demo.serial(name), eol)
        demo.open.append(client)
        return client

    return go


@pytest.fixture
def eventually():
    """Wait, within a generous limit, until something is so."""

    def go(question):
        deadline = time.monotonic() + LIMIT_S
        while not (answer := question()):
            assert time.monotonic() < deadline, "it never came to be so"
            time.sleep(0.01)
        return answer

    return go


@pytest.fixture
def tcp_client():
    return TcpClient


@pytest.fixture
def pty_client():
    return PtyClient

"""What SECURITY.md promises and no other room tries: nobody listens, no control character reaches a terminal or log."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.system.house import eventually, house

ROOT = Path(__file__).parents[1]
EVIL = b"\x1b]0;gotcha\x07\x1b[2J\x9b31m\x85\xe2\x80\xaeKeysight\x00Technologies,34465A,SIM-1\x08\x08,\x7f1"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")
LISTEN = "0A"  # <net/tcp_states.h>


class Evil:
    """An instrument that answers every line with words meant for somebody's terminal."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.clients = []
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for client in self.clients:
            client.close()
        self.thread.join()

    def serve(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            client.settimeout(30)
            self.clients.append(client)
            try:
                while client.recv(1000):
                    client.sendall(EVIL + b"\n")
            except OSError:
                continue


def test_the_pattern_sees_what_it_looks_for():
    assert RAW.search("\x1b[2J")
    assert RAW.search("\u202e")
    assert not RAW.search("12 °C, Ω\n\tfine")


def test_what_a_hostile_instrument_says_reaches_no_terminal_and_no_log_raw():
    with house() as built, Evil() as evil:
        built.broker.start()
        built.ear.start()
        built.ear.listening()
        here = built.write(only=("dmm1",))
        here["instruments"]["dmm1"]["at"] = {"tcp": f"127.0.0.1:{evil.port}"}
        built.rewrite(here)
        built.daemon.start()
        built.daemon.said(" dmm1: ")
        eventually(lambda: "gotcha" in json.dumps(built.daemon.ask(do="status")[0]), "its words in the status")
        bench = str(built.daemon.bench)
        said = [
            built.daemon.verb(*words) for words in (("status", bench), ("status", "--json", bench), ("read", bench))
        ]
        said.append(built.daemon.verb("journal", "export", bench))
        built.daemon.stop()
        shown = [each.stdout + each.stderr for each in said] + [built.daemon.log()]
        shown += [heard.payload.decode() for heard in built.ear.heard]
        assert any("gotcha" in words for words in shown)
        for words in shown:
            found = RAW.search(words)
            assert found is None, repr(words[max(0, found.start() - 60) : found.end() + 60])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_listens_to_the_network():
    with house() as built:
        built.start(only=("pressure1", "cal1"))
        inodes = set()
        for pid in built.daemon.family():
            for link in Path(f"/proc/{pid}/fd").iterdir():
                inodes |= set(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                assert not (fields[9] in inodes and (fields[3] == LISTEN or table.startswith("udp"))), line
        assert built.daemon.stop() == 0


def test_the_threat_model_names_tests_that_exist():
    named = set(re.findall(r"`(tests/[^`]+)`", (ROOT / "SECURITY.md").read_text()))
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []

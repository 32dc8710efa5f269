"""docs/add-an-instrument.md is walked as it stands: every file written, every command run, every shown line seen.

Only the addresses are others: what stands on the page's network stands on loopback and pseudo-terminals here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading

import paho.mqtt.client as paho
import pytest

from tests.workshop.conftest import LIMIT_S, ROOT

PAGE = (ROOT / "docs" / "add-an-instrument.md").read_text("utf-8")
BLOCKS = re.findall(r"```(yaml|sh|text)\n(.*?)```", PAGE, re.DOTALL)


def places(stands, port):
    """The page's addresses -> where the simulated instruments stand."""
    return {
        "10.0.0.5:5025": stands["dmm1"]["tcp"],
        "/dev/serial/by-id/usb-balance": stands["balance1"]["serial"],
        "10.0.0.9:502": stands["meter3"]["modbus_tcp"],
        "/dev/serial/by-id/usb-thermometer": stands["thermometer1"]["serial"],
        "127.0.0.1:1883": f"127.0.0.1:{port}",
    }


def here(text, table):
    for there, place in table.items():
        text = text.replace(there, place)
    return text


def shape(line):
    """What is alike in each run: numbers, and how far apart they stand, are not."""
    return re.sub(r"\s+", " ", re.sub(r"[0-9]+", "0", line)).strip()


def heard(port, topic, instruments):
    """Subscribe until each instrument has published a good observation."""
    left, done = set(instruments), threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)

    def take(_, __, message):
        told = json.loads(message.payload)
        if told["status"] == "ok":
            left.discard(message.topic.split("/")[4])
        if not left:
            done.set()

    client.on_message = take
    client.on_connect = lambda *_: client.subscribe(topic)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        done.wait(LIMIT_S)
    finally:
        client.disconnect()
        client.loop_stop()
    return left


@pytest.mark.mosquitto
def test_the_page_works_from_the_manual_to_mqtt(daq, stands, broker, folder):
    table = places(stands, broker.port)
    said = ""
    ran = []
    for kind, text in BLOCKS:
        block = here(text, table)
        if kind == "yaml":
            file = folder / re.match(r"# (\S+)\n", block)[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)
        elif kind == "text":
            for line in text.splitlines():
                assert shape(line) in shape(said), f"{line!r} is not in\n{said}"
        else:
            said = "".join(run(daq, folder, line, broker.port) for line in block.splitlines())
            ran += block.splitlines()
    assert len(ran) > 10


def run(daq, folder, command, port):
    """Run a command of the page; give what it said."""
    first, *words = shlex.split(command)
    assert first == "daq"
    if words[0] == "simulate":
        command = [sys.executable, "-m", "daq", *words, "--seconds", "0.2"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        served = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        return served.stdout
    if words[0] == "run":
        topic = re.search(r"-t '([^']*)'", PAGE)[1]
        short = tempfile.TemporaryDirectory()  # a socket's path has 107 bytes at most
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(folder / "state"),
            "RUNTIME_DIRECTORY": short.name,
        }
        said = folder / "station.log"
        with said.open("w") as log:
            station = subprocess.Popen(
                [sys.executable, "-m", "daq", *words], cwd=folder, env=environment, stdout=log, stderr=log
            )
        try:
            missing = heard(port, topic, ["dmm1", "balance1", "meter1", "thermometer1"])
        finally:
            station.terminate()
            station.wait(LIMIT_S)
            short.cleanup()
        assert missing == set(), said.read_text()
        return ""
    said = daq(*words)
    assert said.code == 0, f"{command}\n{said.out}{said.err}"
    return said.out

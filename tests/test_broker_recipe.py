"""The page on the broker does what it says: its own commands and files, a real mosquitto, TLS, and who is let in.

Only what belongs to this computer is put in place of the page's: a folder for /etc and /var, a free port, localhost.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.brokers import MOSQUITTO, Mosquitto, free_port
from tests.system.house import PATIENCE_S, leave

PAGE = (Path(__file__).parents[1] / "docs" / "broker.md").read_text(encoding="utf-8")
SUCCESS, NOT_AUTHORISED = 0, 135
PASSWORDS = {"bench1": "word-of-bench1", "bench2": "word-of-bench2", "reader": "word-of-reader"}

pytestmark = pytest.mark.mosquitto


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


class Recipe:
    """A broker made by the page's own words."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.broker = Mosquitto(folder, port=self.port)
        for each in ("certs", "lib"):
            (folder / each).mkdir()
        certificates, passwords, _ = blocks("sh")
        self.shell(certificates)
        lines = passwords.splitlines()
        for line in lines:
            name = line.split()[-1]
            self.shell(line.replace("mosquitto_passwd", "mosquitto_passwd -b") + f" {PASSWORDS.get(name, '')}")
        self.shell(f"mosquitto_passwd -b /etc/mosquitto/passwords bench2 {PASSWORDS['bench2']}")
        (folder / "acl").write_text(self.here(blocks("acl")[0]))

    def here(self, text):
        for theirs, ours in (
            ("/etc/mosquitto", str(self.folder)),
            ("/var/lib/mosquitto", str(self.folder / "lib")),
            ("8883", f"{self.port}"),
            ("broker.lab", "localhost"),
        ):
            text = text.replace(theirs, ours)
        return text

    def shell(self, words):
        tools = f"{os.environ['PATH']}:/usr/bin:/usr/sbin"
        subprocess.run(
            ["sh", "-e"], input=self.here(words), text=True, check=True, capture_output=True, env={"PATH": tools}
        )

    def start(self):
        path = self.folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        here = self.here(blocks("conf")[0]).replace(f"listener {self.port}", f"listener {self.port} 127.0.0.1")
        path.write_text(here + user)
        with (self.folder / "mosquitto.log").open("ab") as told:
            self.broker.process = subprocess.Popen([MOSQUITTO, "-v", "-c", str(path)], stdout=told, stderr=told)
        deadline = time.monotonic() + PATIENCE_S
        while not self.broker._listens():
            assert self.broker.process.poll() is None, self.broker.log()
            assert time.monotonic() < deadline, self.broker.log()
            time.sleep(0.01)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    made = Recipe(tmp_path_factory.mktemp("recipe"))
    made.start()
    yield made
    made.broker.stop()


class Client:
    """One connection, and what came of it."""

    def __init__(self, recipe, user, password=None):
        self.heard, self.codes = [], {}
        self.connected, self.changed = None, threading.Condition()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if user is not None:
            self.client.username_pw_set(user, PASSWORDS[user] if password is None else password)
        self.client.tls_set(str(recipe.folder / "certs" / "ca.pem"))
        self.client.on_connect = lambda _c, _d, _f, code, _p: self.note("connected", code.value)
        self.client.on_message = lambda _c, _d, message: self.take(message)
        self.client.on_publish = lambda _c, _d, mid, code, _p: self.acknowledge(mid, code.value)
        self.client.on_subscribe = lambda *_: self.note("subscribed", True)
        self.subscribed = False
        self.client.connect("localhost", recipe.port, clean_start=True, properties=Properties(PacketTypes.CONNECT))
        self.client.loop_start()
        self.until(lambda: self.connected is not None)

    def note(self, what, value):
        with self.changed:
            setattr(self, what, value)
            self.changed.notify_all()

    def take(self, message):
        with self.changed:
            self.heard.append((message.topic, message.payload))
            self.changed.notify_all()

    def acknowledge(self, number, code):
        with self.changed:
            self.codes[number] = code
            self.changed.notify_all()

    def until(self, true):
        with self.changed:
            assert self.changed.wait_for(true, PATIENCE_S)

    def publish(self, topic, payload):
        number = self.client.publish(topic, payload, 1).mid
        self.until(lambda: number in self.codes)
        return self.codes[number]

    def subscribe(self, topic):
        self.client.subscribe(topic, 1)
        self.until(lambda: self.subscribed)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        leave(self.client)


def test_a_station_publishes_under_its_own_name_alone_and_readers_read(recipe):
    with Client(recipe, "reader") as reader, Client(recipe, "bench1") as station:
        reader.subscribe("bench/v1/#")
        own = "bench/v1/vinhphuc/bench1/dmm1/obs/vref"
        assert station.publish("bench/v1/vinhphuc/bench2/dmm1/obs/vref", b"forged") == NOT_AUTHORISED
        assert station.publish("elsewhere", b"forged") == NOT_AUTHORISED
        assert reader.publish(own, b"forged") == NOT_AUTHORISED
        assert station.publish(own, b"true") in {SUCCESS, 16}
        reader.until(lambda: reader.heard)
        assert reader.heard == [(own, b"true")]


def test_a_station_hears_no_other_station(recipe):
    with Client(recipe, "bench1") as curious, Client(recipe, "bench2") as station:
        curious.subscribe("bench/v1/#")
        assert station.publish("bench/v1/vinhphuc/bench2/dmm1/obs/vref", b"secret") in {SUCCESS, 16}
        assert station.publish("bench/v1/vinhphuc/bench2/status", b"online") in {SUCCESS, 16}
        assert curious.heard == []


@pytest.mark.parametrize(("user", "password"), [(None, None), ("bench1", "guessed"), ("nobody", "guessed")])
def test_without_a_name_or_with_the_wrong_word_nobody_comes_in(recipe, user, password):
    PASSWORDS.setdefault("nobody", "")
    with Client(recipe, user, password) as client:
        assert client.connected in {0x86, NOT_AUTHORISED}


def test_nobody_is_heard_without_encryption(recipe):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    ended = threading.Event()
    client.on_disconnect = lambda *_: ended.set()
    client.connect("localhost", recipe.port)
    client.loop_start()
    assert ended.wait(PATIENCE_S)
    leave(client)


def test_who_does_not_know_the_authority_does_not_speak_to_it(recipe):
    trusting_others = ssl.create_default_context()
    with socket.create_connection(("localhost", recipe.port), PATIENCE_S) as raw, pytest.raises(ssl.SSLError):
        trusting_others.wrap_socket(raw, server_hostname="localhost")

"""The page on the broker does what it says: its own commands and files, a real mosquitto, TLS, and who is let in.

Only what belongs to this computer is put in place of the page's: a folder for /etc and /var, a free port, localhost.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from daq.clock import SystemClock
from daq.load import load_bench
from daq.loop import new_event_loop
from daq.rights import UNKNOWABLE, Rights, rights
from tests.brokers import Mosquitto, free_port
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
        self.broker = Mosquitto(folder)
        self.port = self.broker.port
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
        self.broker.launch(path)


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


BENCH = """
bench: 1
station: {site: vinhphuc, name: NAME}
mqtt: {url: "mqtts://localhost:PORT", username: bench1, password: {env: RECIPE}, tls: {ca: CA}}
instruments:
  meter: {driver: eastron/sdm630, at: {modbus_tcp: "127.0.0.1:1", unit: 1}, simulated: true, poll: {power: 1 s}}
"""


def tried(folder, bench, monkeypatch, word=PASSWORDS["bench1"]):
    """What `daq check --probe` finds out about the broker of a bench."""
    monkeypatch.setenv("RECIPE", word)
    (folder / "bench.yaml").write_text(bench)
    loaded = load_bench(folder / "bench.yaml")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(rights(loaded, loaded.bench.mqtt, SystemClock()))


@pytest.fixture
def bench(recipe):
    here = BENCH.replace("PORT", f"{recipe.port}").replace("CA", str(recipe.folder / "certs" / "ca.pem"))
    return lambda name: here.replace("NAME", name)


def test_the_probe_finds_that_all_is_allowed_that_must_be_and_nothing_else(recipe, bench, tmp_path, monkeypatch):
    with Client(recipe, "reader") as reader:
        reader.subscribe("bench/v1/#")
        assert tried(tmp_path, bench("bench1"), monkeypatch) == Rights([], [])
        station, meter = "bench/v1/vinhphuc/bench1", "bench/v1/vinhphuc/bench1/meter"
        reader.until(lambda: len(reader.heard) == 7)
    assert {topic for topic, _ in reader.heard} == {
        *(f"{station}/{level}" for level in ("status", "info", "event")),
        *(f"{meter}/{level}" for level in ("status", "info", "obs/power", "late/power")),
    }
    told = {topic: json.loads(payload) for topic, payload in reader.heard if payload}
    assert told[f"{station}/status"]["status"] == "offline"
    assert told[f"{meter}/obs/power"]["status"] == "skipped"
    assert told[f"{meter}/obs/power"]["readings"] == {}


def test_the_probe_names_every_topic_that_is_refused(bench, tmp_path, monkeypatch):
    found = tried(tmp_path, bench("bench2"), monkeypatch)
    assert len(found.problems) == 7
    assert all("the broker refuses bench/v1/vinhphuc/bench2/" in each for each in found.problems)
    assert all("not authorised. Let the station's user write there" in each for each in found.problems)


def test_the_probe_says_that_the_password_is_wrong(bench, tmp_path, monkeypatch):
    (problem,) = tried(tmp_path, bench("bench1"), monkeypatch, "guessed").problems
    assert re.match(r"mqtt: localhost:\d+: .*(Not authori[sz]ed|Bad user name or password)", problem, re.IGNORECASE)


def test_the_probe_warns_of_a_broker_that_lets_anybody_speak_for_anybody(bench, tmp_path, monkeypatch):
    broker = Mosquitto(tmp_path)
    broker.start()
    try:
        plain = re.sub(r"mqtt: .*", f'mqtt: {{url: "mqtt://127.0.0.1:{broker.port}"}}', bench("bench1"))
        found = tried(tmp_path, plain, monkeypatch)
        old = tried(tmp_path, plain.replace('"}', '", version: 3.1.1}', 1), monkeypatch)
    finally:
        broker.stop()
    (warning,) = found.warnings
    assert found.problems == old.problems == []
    assert "took bench/v1/vinhphuc/not-bench1/event: it lets this user speak in another station's name" in warning
    assert old.warnings == [f"mqtt.version: {UNKNOWABLE}"]


def test_the_probe_says_that_there_is_no_broker(bench, tmp_path, monkeypatch):
    nobody = re.sub(r"mqtt: .*", f'mqtt: {{url: "mqtt://127.0.0.1:{free_port()}"}}', bench("bench1"))
    (problem,) = tried(tmp_path, nobody, monkeypatch).problems
    assert "refused" in problem

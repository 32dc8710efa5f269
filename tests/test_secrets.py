"""A known secret is looked for in everything the program says: files that are wrong, and a station in all its moods."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.system.house import Daemon, eventually, house

SECRET = "s3cr3t-WORD-0815"
BENCH = {
    "bench": 1,
    "station": {"site": "lab", "name": "b1"},
    "mqtt": {"url": "mqtt://127.0.0.1:1883", "username": "bench1"},
    "instruments": {
        "meter1": {
            "driver": "eastron/sdm630",
            "at": {"modbus_tcp": "127.0.0.1:502", "unit": 1},
            "serial_number": "any",
            "poll": {"power": "1 s"},
        }
    },
}

WRONG = {
    "written into the file": {"password": SECRET},
    "in the url": {"url": f"mqtt://bench1:{SECRET}@127.0.0.1:1883"},
    "under a wrong key": {"password": {"fil": SECRET}},
    "under a wrong name": {"passwort": SECRET},
    "twice": {"password": {"file": "x", "env": SECRET}},
    "in a list": {"password": [SECRET]},
    "among the certificates": {"tls": {"ca": "x", "password": SECRET}},
}


def daq(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "daq", *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mqtt", WRONG.values(), ids=WRONG)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(tmp_path, mqtt):
    path = tmp_path / "bench.yaml"
    path.write_text(json.dumps({**BENCH, "mqtt": {**BENCH["mqtt"], **mqtt}}))
    for verb in (("check",), ("check", "--json"), ("run",)):
        code, said = daq(*verb, str(path), cwd=tmp_path)
        assert code == 1
        assert "bench.yaml:" in said
        assert SECRET not in said, verb


def test_a_file_that_is_no_yaml_is_not_quoted(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text(f'bench: 1\nmqtt: {{url: "mqtt://broker:1883", password: "{SECRET}}}\n')
    code, said = daq("check", str(path), cwd=tmp_path)
    assert code == 1
    assert SECRET not in said


@pytest.mark.parametrize(
    "content", [f"{SECRET}\n{SECRET}".encode(), b"\xff" + SECRET.encode(), b"\0" + SECRET.encode()]
)
def test_a_password_file_that_cannot_be_used_is_not_quoted(tmp_path, content):
    (tmp_path / "word").write_bytes(content)
    path = tmp_path / "bench.yaml"
    path.write_text(json.dumps({**BENCH, "mqtt": {**BENCH["mqtt"], "password": {"file": "word"}}}))
    daemon = Daemon(path, tmp_path)
    daemon.start()
    try:
        eventually(lambda: daemon._ended() or "127.0.0.1:1883" in daemon.log(), "an end, or a word about the broker")
        assert SECRET not in daemon.log()
    finally:
        if not daemon._ended():
            daemon.kill()
        daemon.process = None


@pytest.mark.mosquitto
@pytest.mark.parametrize("way", ["file", "env", "credential"])
def test_whatever_a_station_says_does_not_hold_its_password(way):
    with house() as built:
        secrets = built.folder / "secrets"
        secrets.mkdir()
        (secrets / "mqtt").write_text(SECRET)
        let_in(built, SECRET)
        built.daemon.environ = {"MQTT_WORD": SECRET, "CREDENTIALS_DIRECTORY": str(secrets), "PYTHONASYNCIODEBUG": "1"}
        built.world.start()
        here = built.write(only=("pressure1",))
        word = {"file": str(secrets / "mqtt"), "env": "MQTT_WORD", "credential": "mqtt"}[way]
        here["mqtt"] |= {"username": "bench1", "password": {way: word}}
        built.rewrite(here)
        built.broker.start()
        built.ear.start()
        built.ear.listening()
        built.daemon.start()
        built.ear.next("pressure1", 0, count=2, status="ok")
        said = [tapped(built.daemon)]
        bench = str(built.daemon.bench)
        for words in (
            ("status", "--json", bench),
            ("status", bench),
            ("plan", bench),
            ("check", "--json", bench),
            ("mark", "job=J-1", bench),
            ("journal", "info", bench),
            ("journal", "export", bench),
            ("reload", bench),
        ):
            done = built.daemon.verb(*words)
            said.append(done.stdout + done.stderr)
        built.rewrite({**here, "mqtt": {**here["mqtt"], "passwort": SECRET}})  # a reload that is refused
        built.daemon.send(signal.SIGHUP)
        built.ear.until(lambda: built.ear.events("reload", outcome="refused"), "the event of a refused reload")
        built.rewrite(here)
        built.broker.stop()
        let_in(built, "another-word")
        built.broker.start()
        built.daemon.said("ot authorized")
        told = built.daemon.ask(do="status")[0]
        said.append(json.dumps(told))
        built.daemon.stop()
        said += [built.daemon.log(), *(heard.payload.decode() for heard in built.ear.heard)]
        kept = [path for path in built.daemon.state.rglob("*") if path.is_file()]
        assert kept
        for words in said:
            assert SECRET not in words
        for path in kept:
            assert SECRET.encode() not in path.read_bytes(), path


def let_in(built, word):
    """Have the broker ask bench1 for a password; others need no name."""
    path = built.broker.folder / "passwords"
    path.write_text(f"bench1:{word}\n")
    subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True, capture_output=True)
    built.broker.config = [*(one for one in built.broker.config if "password_file" not in one), f"password_file {path}"]


def tapped(daemon):
    """Return the first that `daq tap` shows of a wire."""
    parts = daemon.tapped("pressure1")
    found = [bytes.fromhex(next(parts)["hex"]).decode("latin-1") for _ in range(2)]
    parts.close()
    return "".join(found)

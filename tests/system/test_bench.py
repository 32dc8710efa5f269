"""A station with one of each instrument: what it says, read by those who know nothing of its inside."""

from __future__ import annotations

import csv
import io
import json

import jsonschema
import pytest

from tests.system.house import ROOT, WORLD, living, retained

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "schemas" / "messages").glob("*.json")}


def schema_of(levels):
    """Name the schema of a topic: bench/v1/site/station/..."""
    return {
        (5, "status"): "station-status",
        (5, "info"): "station-info",
        (5, "event"): "event",
        (6, "status"): "instrument-status",
        (6, "info"): "instrument-info",
    }.get((len(levels), levels[-1]), "observation")


def test_every_instrument_says_ok(running):
    for name in WORLD["instruments"]:
        running.ear.until(lambda name=name: running.ear.status(name) == "ok", f"{name} ok")
    assert running.ear.status() == "online"


def test_all_that_is_published_obeys_its_schema(running):
    running.ear.next("ambient1", 0, count=3, status="ok")
    kinds = set()
    for heard in list(running.ear.heard):
        kind = schema_of(heard.levels)
        jsonschema.validate(heard.json, SCHEMAS[kind])
        kinds.add(kind)
    assert kinds == set(SCHEMAS) - {"event"}  # nothing has happened yet


def test_what_is_retained_tells_a_latecomer_all_there_is_to_know(running):
    told = retained(running.broker.port, "bench/v1/#")
    expected = {"status", "info"} | {f"{name}/{word}" for name in WORLD["instruments"] for word in ("status", "info")}
    assert {topic.removeprefix("bench/v1/lab/b1/") for topic in told} == expected
    assert told["bench/v1/lab/b1/dmm1/info"]["identity"]["serial"] == "SIM-DMM-1"


def test_every_observation_cites_an_info_that_came_before_it(running):
    told = {}
    for heard in list(running.ear.heard):
        if heard.levels[-1] == "info" and heard.instrument:
            told.setdefault(heard.instrument, set()).add(heard.json["info"])
        elif heard.is_obs:
            assert heard.json["info"] in told[heard.instrument]


def test_what_is_known_of_the_clock_rides_on_every_observation(running):
    for heard in running.ear.obs():
        clock = heard.json["clock"]
        assert clock["source"] in {"chrony", "kernel", "none"}
        assert clock["err"] is None or clock["err"] > 0
    status = running.daemon.ask(do="status")[0]
    assert status["clock"].keys() == {"source", "err"}


def test_status_knows_every_instrument_the_journal_and_the_broker(running):
    run = running.daemon.verb("status", "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout)
    assert set(told["instruments"]) == set(WORLD["instruments"])
    assert {each["interface"] for each in told["instruments"].values()} == {
        "tcp",
        "visa",
        "serial",
        "modbus_tcp",
        "modbus_rtu",
    }
    assert all(each["status"] == "ok" and each["good"] for each in told["instruments"].values())
    assert told["station"]["pid"] == running.daemon.process.pid
    assert told["sinks"]["mqtt"]["connected"]
    assert told["journal"]["epoch"] == running.ear.obs()[0].json["epoch"]
    people = running.daemon.verb("status", "--bench", str(running.daemon.bench))
    assert people.returncode == 0
    assert all(name in people.stdout for name in WORLD["instruments"])


def test_a_mark_is_in_every_observation_from_then_on(running):
    mark = running.ear.mark()
    run = running.daemon.verb("mark", "job=J-88", "point=10V-up")
    assert (run.returncode, run.stdout.strip()) == (0, "job=J-88 point=10V-up")
    marked = {"job": "J-88", "point": "10V-up"}
    for name in WORLD["instruments"]:
        running.ear.next(name, mark, context=marked)
    assert running.daemon.verb("mark", "--json").stdout.strip() == json.dumps(marked, separators=(",", ":"))
    assert running.daemon.verb("mark", "point=").stdout.strip() == "job=J-88"
    running.ear.next("dmm1", mark, context={"job": "J-88"})
    assert running.daemon.verb("mark", "job").returncode == 2


def test_tap_shows_the_bytes_as_they_pass(running):
    parts = iter(running.daemon.tapped("dmm1"))
    sent = next(part for part in parts if part["sent"])
    assert bytes.fromhex(sent["hex"]) == b"READ?\n"
    came = next(parts)
    assert not came["sent"]
    answer = bytes.fromhex(came["hex"]).decode().rstrip("\n")
    running.ear.until(
        lambda: any(heard.json["readings"]["dcv"]["text"] == answer for heard in running.ear.obs("dmm1", status="ok")),
        "what the tap showed",
    )
    parts.close()


def test_tap_shows_frames_of_a_shared_wire(running):
    with_unit = {
        bytes.fromhex(part["hex"])[0] for part, _ in zip(running.daemon.tapped("meter1"), range(12), strict=False)
    }
    assert with_unit == {1, 2}


def test_no_such_instrument_is_told_with_the_nearest(running):
    run = running.daemon.verb("tap", "dmm2")
    assert run.returncode == 1
    assert "no instrument 'dmm2'. Nearest: 'dmm1'" in run.stderr


def exported(daemon, *words):
    run = daemon.verb("journal", "export", str(daemon.bench), *words)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_export_is_byte_for_byte_what_was_published(running):
    heard = {message.json["id"]: message.payload.decode() for message in running.ear.obs()}
    lines = exported(running.daemon).splitlines()
    kept = {told["id"]: line for line in lines if "seq" in (told := json.loads(line)) and "readings" in told}
    assert heard.items() <= kept.items()
    infos = [line for line in lines if "polls" in json.loads(line)]
    assert {message.payload.decode() for message in running.ear.heard if message.levels[5:] == ["info"]} <= set(infos)


def test_table_has_a_row_for_each_reading(running):
    heard = running.ear.obs("pressure1", status="ok")
    since = heard[0].json["t"][:19]
    rows = list(csv.DictReader(io.StringIO(exported(running.daemon, "--as", "csv", "--since", since))))
    for message in heard:
        told = [row for row in rows if row["id"] == message.json["id"]]
        assert {row["channel"]: row["text"] for row in told} == {
            channel: reading["text"] for channel, reading in message.json["readings"].items()
        }
    only = list(csv.DictReader(io.StringIO(exported(running.daemon, "--as", "csv", "--stream", "dmm1/vref"))))
    assert {row["instrument"] for row in only} == {"dmm1"}


def test_info_counts_what_the_journal_holds(running):
    newest = running.ear.obs("dmm1")[-1].json
    told = json.loads(running.daemon.verb("journal", "info", str(running.daemon.bench), "--json").stdout)
    assert told["streams"]["dmm1/vref"] >= newest["seq"]
    assert told["epoch"] == newest["epoch"]
    assert told["rows"] >= len(running.ear.obs()[: newest["seq"]])


@pytest.mark.parametrize("words", [["run"], ["run", "--speed", "9", "bench.yaml"], ["flee"], ["mark", "job"]])
def test_wrong_usage_ends_with_2(running, words):
    assert running.daemon.verb(*words).returncode == 2


def test_a_second_daemon_on_the_same_state_refuses(running):
    run = running.daemon.verb("run", str(running.daemon.bench))
    assert run.returncode == 1
    pid = running.daemon.process.pid
    assert run.stderr == f"{running.daemon.state}: already running, pid {pid}. Stop it, or ask it.\n"
    assert running.daemon.ask(do="status")  # the first goes on


def test_every_value_was_right_every_slot_told_and_every_instant_within_its_bounds(running):
    """Last in this file: it looks back on all that the others saw."""
    mark = running.ear.mark()
    for name in WORLD["instruments"]:
        running.ear.next(name, mark, count=3, status="ok")
    audit = running.audit()
    audit.settle(running.intervals(), set())
    assert (audit.wrong, audit.outside, audit.lost, audit.unaccounted) == (0, 0, 0, 0), audit.told
    assert audit.instruments == set(WORLD["instruments"])
    assert audit.simulated
    assert set(audit.statuses) <= {"ok", "missed", "disconnected"}


def test_stopped_it_says_so_leaves_the_journal_readable_and_nothing_else(running):
    pids = running.daemon.family()
    assert running.daemon.stop() == 0
    running.ear.until(lambda: running.ear.status() == "offline", "offline")
    assert retained(running.broker.port, "bench/v1/lab/b1/status")["bench/v1/lab/b1/status"]["why"] == "stopped"
    assert not living(pids)
    assert not (running.daemon.state / "control.sock").exists()
    heard = {message.payload.decode() for message in running.ear.obs()}
    assert heard == {line for line in exported(running.daemon).splitlines() if '"readings"' in line}
    run = running.daemon.verb("status")
    assert run.returncode == 1
    assert "No station runs here" in run.stderr

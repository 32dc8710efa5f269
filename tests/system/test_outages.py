"""Things that are not there, at the start or in the middle: the station runs, says so once, and heals by itself."""

from __future__ import annotations

import json
import re
import signal
from collections import defaultdict

from tests.system.house import WORLD, eventually, living

SMALL = ("dmm1", "pressure1", "meter3")
"""Three wires are enough where it is about the broker."""


def numbered(house):
    """Every observation that was heard: (stream, epoch, seq) -> the payloads that came under it."""
    found = defaultdict(list)
    for heard in house.ear.obs():
        message = heard.json
        found[heard.instrument, heard.levels[-1], message["epoch"], message["seq"]].append(heard.payload)
    return found


def without_a_gap_and_never_two_under_one_number(house):
    """Each stream counts 1, 2, 3, ... in one epoch; what came twice came with the same content."""
    found = numbered(house)
    assert all(len(set(payloads)) == 1 for payloads in found.values())
    assert len({epoch for _, _, epoch, _ in found}) == 1
    streams = defaultdict(set)
    for instrument, poll, _, seq in found:
        streams[instrument, poll].add(seq)
    assert all(seqs == set(range(1, max(seqs) + 1)) for seqs in streams.values())


def complete(house, since):
    """Wait until each stream goes on, and no number is missing below its highest."""
    here = json.loads(house.daemon.bench.read_text())
    for name in here["instruments"]:
        house.ear.until(
            lambda name=name: any(not heard.is_late for heard in house.ear.obs(name, since, status="ok")),
            f"live {name}",
        )

    def missing():
        streams = defaultdict(set)
        for instrument, poll, _, seq in numbered(house):
            streams[instrument, poll].add(seq)
        return {name: gap for name, seqs in streams.items() if (gap := set(range(1, max(seqs))) - seqs)}

    try:
        house.ear.until(lambda: not missing(), "every number up to the highest")
    except AssertionError as error:
        raise AssertionError(f"{error}: {missing()}\n{house.daemon.log()}") from None


def test_nothing_is_there_at_the_start_and_all_of_it_comes(empty):
    """No instrument, no broker: it runs, says so once, and keeps what there is to tell until somebody listens."""
    empty.world.start()
    empty.write()
    empty.world.stop()
    empty.daemon.start()
    for name in WORLD["instruments"]:
        empty.daemon.said(f" {name}: lost")
    empty.daemon.said(f"mqtt://127.0.0.1:{empty.broker.port}: ")
    told = empty.daemon.ask(do="status")[0]
    assert {each["status"] for each in told["instruments"].values()} == {"lost"}
    assert all(each["why"] for each in told["instruments"].values())
    assert not told["sinks"]["mqtt"]["connected"]
    eventually(
        lambda: empty.daemon.ask(do="status")[0]["instruments"]["dmm1"]["slots"].get("disconnected", 0) > 5,
        "vain attempts",
    )
    log = empty.daemon.log()
    assert [name for name in WORLD["instruments"] if log.count(f" {name}: lost") != 1] == []
    assert log.count("The journal keeps what is not delivered") == 1

    empty.world.start()
    eventually(
        lambda: all(each["good"] for each in empty.daemon.ask(do="status")[0]["instruments"].values()),
        "a value of each instrument",
    )
    with empty.daemon.frozen():
        empty.broker.start()
        empty.ear.start()
        empty.ear.listening()
    complete(empty, 0)
    for name in told["instruments"]:
        empty.ear.until(lambda name=name: empty.ear.status(name) == "ok", f"{name} ok")
    without_a_gap_and_never_two_under_one_number(empty)
    assert {heard.json["status"] for heard in empty.ear.obs("dmm1") if heard.is_late} >= {"disconnected", "ok"}
    assert all(heard.is_late for heard in empty.ear.obs("dmm1", status="disconnected"))
    assert re.search(
        r"INFO .* dmm1: .*, after \d+ s lost \(connect: disconnected: .* Connection refused", empty.daemon.log()
    )
    audit = empty.audit()
    assert (audit.wrong, audit.outside) == (0, 0), audit.told


def test_a_name_that_does_not_resolve_stops_nobody(empty):
    empty.world.start()
    here = empty.write(only=SMALL)
    here["instruments"]["pressure1"]["at"] = {"tcp": "no-such-instrument.invalid:5025"}
    here["mqtt"]["url"] = "mqtt://no-such-broker.invalid:1883"
    empty.rewrite(here)
    empty.daemon.start()
    empty.daemon.said(" pressure1: lost")
    empty.daemon.said("mqtt://no-such-broker.invalid:1883: ")
    empty.daemon.said("dmm1: ok")
    eventually(lambda: empty.daemon.ask(do="status")[0]["instruments"]["dmm1"]["good"] > 3, "values of dmm1")
    assert empty.daemon.stop() == 0


def test_a_broker_that_is_killed_and_comes_back_gets_everything(empty):
    empty.start(only=SMALL)
    mark = empty.ear.mark()
    empty.ear.next("dmm1", mark, count=2)
    empty.kill_broker()
    before = empty.daemon.ask(do="status")[0]["instruments"]["dmm1"]["good"]
    eventually(
        lambda: empty.daemon.ask(do="status")[0]["instruments"]["dmm1"]["good"] > before + 3,
        "values while nobody hears them",
    )
    with empty.daemon.frozen():
        empty.broker.start()
        empty.ear.listening()
    complete(empty, empty.ear.mark())
    without_a_gap_and_never_two_under_one_number(empty)
    assert empty.ear.status() == "online"
    assert any(heard.is_late for heard in empty.ear.obs("dmm1"))
    audit = empty.audit()
    assert (audit.wrong, audit.outside) == (0, 0), audit.told
    log = empty.daemon.log()
    assert log.count(": connected") == 2
    assert log.count("The journal keeps what is not delivered") <= 2  # once for each thing that was seen


def test_a_broker_that_freezes_is_said_to_owe_answers_while_it_still_is_connected(empty):
    def mqtt():
        return empty.daemon.ask(do="status")[0]["sinks"]["mqtt"]

    empty.start(only=SMALL)
    assert mqtt()["unanswered_s"] < 1
    empty.broker.freeze()
    try:
        eventually(lambda: mqtt()["unanswered_s"] >= 2, "two seconds without an answer")
        told = mqtt()
        assert told["connected"]
        assert told["in_flight"]
    finally:
        empty.broker.thaw()
    eventually(lambda: mqtt()["connected"] and mqtt()["unanswered_s"] < 1, "answers again")


def test_a_daemon_that_is_killed_goes_on_where_it_was(empty):
    empty.start(only=SMALL)
    empty.daemon.verb("mark", "job=J-88")
    mark = empty.ear.mark()
    empty.ear.next("dmm1", mark, context={"job": "J-88"})
    for _ in range(2):
        family = empty.daemon.family()
        empty.daemon.kill()
        empty.ear.until(lambda: empty.ear.status() == "offline", "the will")
        eventually(lambda family=family: not living(family), "the end of its children")
        mark = empty.ear.mark()
        empty.daemon.start()
        for name in SMALL:
            empty.ear.next(name, mark, status="ok", context={"job": "J-88"})
        empty.ear.until(lambda: empty.ear.status() == "online", "online")
    complete(empty, empty.ear.mark())
    without_a_gap_and_never_two_under_one_number(empty)
    audit = empty.audit()
    assert (audit.wrong, audit.outside) == (0, 0), audit.told


def test_killed_while_the_broker_is_away_it_delivers_what_it_had_kept(empty):
    empty.start(only=SMALL)
    empty.kill_broker()
    before = empty.daemon.ask(do="journal_info")[0]["journal"]["streams"]["dmm1/vref"]
    eventually(
        lambda: empty.daemon.ask(do="journal_info")[0]["journal"]["streams"]["dmm1/vref"] > before + 3, "more records"
    )
    empty.daemon.kill()
    empty.daemon.start()
    empty.daemon.said("dmm1: ok")
    with empty.daemon.frozen():
        empty.broker.start()
        empty.ear.listening()
    complete(empty, empty.ear.mark())
    without_a_gap_and_never_two_under_one_number(empty)
    kept = [heard.json["seq"] for heard in empty.ear.obs("dmm1") if heard.is_late]
    assert set(range(before + 1, before + 4)) <= set(kept)
    empty.daemon.send(signal.SIGINT)  # as Ctrl-C does
    assert empty.daemon.ended() == 0
    empty.ear.until(lambda: empty.ear.status() == "offline", "offline")
    assert "Traceback" not in empty.daemon.log()

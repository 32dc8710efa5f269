"""What goes wrong at a bench, switched on while the station runs: no wrong value, an honest status, nobody else hurt.

Each test strikes several instruments at once, waits for what is promised of each and until all of them give values
again. A test near the end looks back on everything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from tests.system.house import WORLD

ON_ONE_WIRE = {"meter1", "meter2"}


def others(struck):
    """Instruments on wires that nobody of these is on."""
    hit = set(struck) | (ON_ONE_WIRE if ON_ONE_WIRE & set(struck) else set())
    return set(WORLD["instruments"]) - hit


@dataclass(frozen=True)
class Fault:
    """A fault that strikes once, and the statuses of which one must be told for it.

    Args:
        seconds: how late; longer than the driver allows, within the quiet that follows.
    """

    name: str
    told: str
    seconds: float | None = None


ROUNDS = {
    "silent, late or cut short": {
        "dmm1": Fault("silence", "timeout"),
        "cal1": Fault("late", "timeout", 2.4),
        "balance1": Fault("truncate", "timeout"),
        "pressure1": Fault("late", "timeout", 2.4),
        "meter2": Fault("late", "timeout", 1.5),
        "meter3": Fault("late", "timeout", 1.5),
    },
    "garbled or doubled": {
        "dmm1": Fault("duplicate", "desync"),
        "cal1": Fault("garbage", "protocol"),
        "balance1": Fault("garbage", "protocol"),
        "thermometer1": Fault("garbage", "protocol"),
        "pressure1": Fault("duplicate", "desync"),
        "meter1": Fault("garbage", "protocol"),
        "meter3": Fault("garbage", "protocol"),
    },
    "cut off, and the other way round": {
        "dmm1": Fault("reset", "disconnected"),
        "cal1": Fault("reset", "disconnected"),
        "balance1": Fault("duplicate", "desync"),
        "ambient1": Fault("silence", "timeout"),
        "pressure1": Fault("garbage", "protocol"),
        "meter3": Fault("reset", "disconnected"),
    },
}
"""Every wire is struck in several ways; in each round some are left alone. The shared wire is struck twice only: what
its failing units may take of it is bounded, and they would wait for their turn."""


@pytest.mark.parametrize("faults", ROUNDS.values(), ids=ROUNDS)
def test_a_fault_is_told_heals_by_itself_and_hurts_nobody_else(running, faults):
    ear, mark = running.ear, running.ear.mark()
    for name, fault in faults.items():
        running.world.fault(name, fault.name, times=1, seconds=fault.seconds)
    for name, fault in faults.items():
        told = ear.next(name, mark, status=fault.told)[0]
        assert not told.json["readings"]
        assert told.json["detail"]
        after = ear.heard.index(told) + 1
        ear.next(name, after, count=2, status="ok")
    unhurt(running, others(faults), mark)


def unhurt(running, names, mark):
    """On other wires all went on: a busy computer may miss a slot now and then, a neighbour's silence costs none."""
    for name in names:
        slots = Counter()
        for heard in running.ear.obs(name, mark):
            slots[heard.json["status"]] += heard.json.get("slots", {}).get("count", 1)
        assert set(slots) <= {"ok", "missed"}, name
        assert slots["ok"] > slots["missed"], name


def test_bytes_that_drip_are_still_the_answer(running):
    mark = running.ear.mark()
    struck = ("dmm1", "balance1", "meter3")
    for name in struck:
        running.world.fault(name, "drip", times=3, seconds=0.003)
    for name in struck:
        running.ear.next(name, mark, count=5, status="ok")
    unhurt(running, others(struck), mark)


def test_adapters_pulled_out_and_plugged_in_again_heal_by_themselves(running):
    mark = running.ear.mark()
    struck, cut_off = ("ambient1", "thermometer1", "meter1"), {"ambient1", "thermometer1", *ON_ONE_WIRE}
    for name in struck:
        running.world.fault(name, "unplug")
    for name in cut_off:
        running.ear.next(name, mark, status="disconnected")
        running.ear.until(lambda name=name: running.ear.status(name) == "lost", f"{name} lost")
    for name in struck:
        running.world.clear(name)
    after = running.ear.mark()
    for name in cut_off:
        running.ear.next(name, after, count=2, status="ok")
        running.ear.until(lambda name=name: running.ear.status(name) == "ok", f"{name} ok again")
    unhurt(running, others(struck), mark)


def test_overload_is_a_status_and_no_number(running):
    mark = running.ear.mark()
    expected = {"dmm1": ("dcv", "overrange"), "balance1": ("weight", "overrange"), "meter3": ("u1", "invalid")}
    for name in expected:
        running.world.fault(name, "overload", times=2)
    for name, (channel, status) in expected.items():
        running.ear.until(
            lambda name=name, channel=channel, status=status: any(
                heard.json["readings"].get(channel, {}).get("status") == status for heard in running.ear.obs(name, mark)
            ),
            f"{name} {status}",
        )
    for heard in running.ear.obs(since=mark):
        for reading in heard.json["readings"].values():
            assert (reading["value"] is None) == (reading["status"] != "ok" or "kind" in reading)


def test_a_load_that_moves_is_flagged_and_keeps_its_value(running):
    mark = running.ear.mark()
    running.world.fault("balance1", "unstable", times=2)
    running.ear.until(
        lambda: any(
            heard.json["readings"]["weight"].get("flags") == ["unstable"]
            and heard.json["readings"]["weight"]["value"] is not None
            for heard in running.ear.obs("balance1", mark, status="ok")
        ),
        "an unstable weight",
    )


def test_another_instrument_in_its_place_is_refused(running):
    mark = running.ear.mark()
    running.world.fault("dmm1", "other_serial")
    running.world.fault("dmm1", "reset", times=1)
    refused = running.ear.next("dmm1", mark, status="wrong_instrument")[0].json
    assert "SIM-DMM-1" in refused["detail"]
    assert not refused["readings"]
    running.ear.until(lambda: running.ear.events("wrong_instrument", mark, instrument="dmm1"), "its event")
    running.ear.until(lambda: running.ear.status("dmm1") == "lost", "dmm1 lost")
    assert not running.ear.obs("dmm1", mark, status="ok")[1:]  # the answer that was under way, at most
    running.world.clear("dmm1")
    unhurt(running, others({"dmm1"}), mark)  # that it comes back, the next test waits for


def test_after_all_of_that_no_value_was_wrong_and_no_slot_is_missing(running):
    after = running.ear.mark()
    for name in WORLD["instruments"]:
        running.ear.next(name, after, count=2, status="ok")
    audit = running.audit()
    audit.settle(running.intervals(), set())
    assert (audit.wrong, audit.outside, audit.lost, audit.unaccounted) == (0, 0, 0, 0), audit.told
    assert audit.statuses["ok"] > sum(audit.statuses.values()) / 2
    assert running.daemon.log().count("failed inside") == 0


def test_asked_to_stop_while_instruments_are_silent_it_ends_in_peace(running):
    for name in ("dmm1", "cal1", "meter1", "balance1"):
        running.world.fault(name, "silence")
    mark = running.ear.mark()
    running.ear.next("balance1", mark, status="timeout")
    assert running.daemon.stop() == 0
    running.ear.until(lambda: running.ear.status() == "offline", "offline")

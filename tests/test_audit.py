"""The auditor of the demonstration can find something: each kind of wrong message, made by hand, is counted."""

from __future__ import annotations

import copy
import json

import pytest

from daq.demo.audit import Audit, Witness
from daq.demo.places import PLACES, Place

PLACES_HERE = {"air": {"p": Place("P"), "t": Place("T"), "gate": Place("G", {"0": "shut"}), "range": Place(None)}}
NS = 1_000_000_000
ASKED_S = 1000.0


def logged(asked_s=ASKED_S, answer="P=1008.9 T=23.0 G=0,10", **changes):
    """One line of the simulators' log: asked, sampled 100 ms before, answered 2 ms later."""
    line = {
        "instrument": "air",
        "unit": None,
        "kind": "text",
        "ask": "SEND",
        "answer": answer,
        "asked_mono_ns": int((asked_s + 0.0001) * NS),
        "answered_mono_ns": int((asked_s + 0.002) * NS),
        "sampled_mono_ns": [int((asked_s - 0.1) * NS)],
        "values": {"P": "1008.9", "T": "23.0", "G": "0"},
        "fault": None,
    }
    return json.dumps(line | changes)


def reading(text, value=None, **more):
    return {"value": value, "text": text, "status": "ok", **more}


def published(seq=1, asked_s=ASKED_S, got="P=1008.9 T=23.0 G=0,10\r\n"):
    """The observation of that answer: period 1 s, answered after 3 ms, slots each second."""
    first, slot = asked_s + 0.003, int(asked_s)
    return {
        "id": f"lab.b1.air.all.e1.{seq}",
        "epoch": "e1",
        "seq": seq,
        "mono": (asked_s - 1 + first) / 2,
        "t_err": (first - asked_s + 1) / 2 + 1e-6,
        "due": f"2026-11-23T06:{slot // 60 % 60:02}:{slot % 60:02}.250000Z",
        "status": "ok",
        "simulated": True,
        "readings": {
            "p": reading("1008.9", 1008.9),
            "t": reading("23.0", 23.0),
            "gate": reading("shut", kind="enum"),
            "range": reading("10", 10),
        },
        "exchanges": [{"ask": "SEND\r", "got": got, "at": 0.0, "rtt": 0.003}],
    }


def audit(messages, *lines, journal=(), every_s=1.0, **more):
    found = Audit(Witness(lines or [logged()]), PLACES_HERE)
    for message in messages:
        found.take(json.dumps(message).encode(), int((ASKED_S + 0.01) * NS))
    found.settle({"air/all": every_s}, set(journal), **more)
    return found


def faults(found):
    return {what: n for what in ("wrong", "lost", "outside", "unaccounted") if (n := getattr(found, what))}


def test_the_very_answer_is_right():
    found = audit([published()])
    assert faults(found) == {}
    assert (found.received, found.readings, found.instruments, found.simulated) == (1, 4, {"air"}, True)
    assert found.percentile_ms(50) == pytest.approx(8.0)


def changed(change, message=None):
    message = copy.deepcopy(message or published())
    change(message)
    return message


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m["readings"]["p"].update(text="1008.8", value=1008.8), id="a digit"),
        pytest.param(lambda m: m["readings"]["p"].update(value=1008.8), id="a digit of the value alone"),
        pytest.param(lambda m: m["readings"]["t"].update(value=23), id="a digit less"),
        pytest.param(lambda m: m["readings"]["t"].update(value=None), id="no value and ok"),
        pytest.param(lambda m: m["readings"]["p"].update(m["readings"]["t"]), id="the text of another channel"),
        pytest.param(lambda m: m["readings"]["gate"].update(text="open"), id="a word it did not say"),
        pytest.param(lambda m: m["readings"]["gate"].update(text="0"), id="the code of a word"),
        pytest.param(lambda m: m["readings"]["range"].update(text="100", value=100), id="a constant it did not say"),
        pytest.param(lambda m: m["readings"].update(x=reading("1008.9", 1008.9)), id="a channel nobody knows"),
        pytest.param(lambda m: m["readings"]["p"].update(status="overrange"), id="overrange and yet a value"),
        pytest.param(lambda m: m.update(status="timeout"), id="no answer and yet a value"),
        pytest.param(lambda m: m["exchanges"][0].update(got="P=1008.8 T=23.0 G=0,10\r\n"), id="never answered"),
        pytest.param(lambda m: m["exchanges"][0].update(ask="S\r"), id="never asked"),
        pytest.param(lambda m: m["exchanges"].clear(), id="cites nothing"),
        pytest.param(lambda m: m.update(mono=m["mono"] + 60), id="answered before it was asked"),
    ],
)
def test_what_was_not_the_answer_is_wrong(change):
    assert faults(audit([changed(change)])) == {"wrong": 1}


def test_the_answer_to_an_earlier_question_is_wrong_though_its_digits_are_the_same():
    """Shifted by one: the second observation carries the answer to the first question, the same to the last digit."""
    assert faults(audit([published(asked_s=ASKED_S + 1)])) == {"wrong": 1}
    assert faults(audit([published(asked_s=ASKED_S + 1)], logged(), logged(asked_s=ASKED_S + 1))) == {}


def test_one_answer_serves_one_observation():
    twice = [published(1), published(2, asked_s=ASKED_S - 0.0001)]
    assert audit(twice).wrong == 1


def test_an_answer_that_drips_is_not_taken_for_the_one_before_it():
    """Its last byte came long after the first, which bounds the time; the same digits had been sent just before."""
    before, dripping = published(1, ASKED_S - 0.25), published(2)
    dripping["exchanges"][0]["rtt"] = 0.45
    lines = [logged(ASKED_S - 0.25), logged(answered_mono_ns=int((ASKED_S + 0.45) * NS))]
    assert audit([before, dripping], *lines).wrong == 0


def test_bounds_widened_by_a_stamp_whose_clocks_were_read_apart_cite_their_own_answer():
    """Otherwise each observation of a constant would cite the answer behind its own, from that one on."""
    widened = changed(lambda message: message.update(t_err=message["t_err"] + 0.005))
    lines = [logged(ASKED_S + second) for second in range(3)]
    assert faults(audit([widened, published(2, ASKED_S + 1), published(3, ASKED_S + 2)], *lines)) == {}


def test_the_same_message_again_is_a_duplicate_and_another_under_its_id_is_wrong():
    found = audit([published(), published()])
    assert (found.duplicates, faults(found)) == (1, {})
    other = changed(lambda m: m["readings"]["p"].update(role="uut"))
    found = audit([published(), other])
    assert (found.duplicates, faults(found)) == (1, {"wrong": 1})


@pytest.mark.parametrize("sampled_s", [-1.001, 0.0031])
def test_a_true_instant_outside_the_bounds_is_found(sampled_s):
    line = logged(sampled_mono_ns=[int((ASKED_S + sampled_s) * NS)])
    assert faults(audit([published()], line)) == {"outside": 1}


def test_a_discarded_answer_does_not_count_for_the_time_and_may_not_be_published():
    first = logged(ASKED_S - 5, "P=9.0 T=23.0 G=0,10", values={"P": "9.0", "T": "23.0", "G": "0"})

    def discards(message):
        message["exchanges"].insert(0, {"ask": "SEND\r", "got": "P=9.0 T=23.0 G=0,10\r\n", "at": -5.0, "rtt": 0.003})

    good = changed(discards)
    assert faults(audit([good], first, logged())) == {}
    bad = changed(lambda m: m["readings"]["p"].update(text="9.0", value=9.0), good)
    assert faults(audit([bad], first, logged())) == {"wrong": 1}


def test_what_is_in_the_journal_and_never_came_is_lost():
    assert faults(audit([published()], journal=["lab.b1.air.all.e1.1", "lab.b1.air.all.e1.2"])) == {"lost": 1}


def series(*offsets_s):
    """Messages 1, 2, ... asked so much later, and the log that bears them out."""
    messages = [published(n, ASKED_S + offset) for n, offset in enumerate(offsets_s, 1)]
    return messages, [logged(ASKED_S + offset) for offset in offsets_s]


def test_a_missing_number_is_lost():
    messages, lines = series(0, 1, 2)
    del messages[1]
    messages[1]["due"] = published(asked_s=ASKED_S + 1)["due"]
    assert faults(audit(messages, *lines)) == {"lost": 1}


def test_a_slot_nobody_speaks_for_is_unaccounted():
    messages, lines = series(0, 1, 3)
    assert faults(audit(messages, *lines)) == {"unaccounted": 1}


def test_a_slot_spoken_for_twice_is_unaccounted():
    messages, lines = series(0, 1, 2)
    messages[2]["due"] = messages[1]["due"]
    assert faults(audit(messages, *lines)) == {"unaccounted": 1}


def failed(message, first, last, count):
    message |= {"status": "timeout", "readings": {}, "exchanges": []}
    message["slots"] = {"first": first["due"], "last": last["due"], "count": count}
    message["due"] = first["due"]


@pytest.mark.parametrize(("count", "found"), [(3, {}), (2, {"unaccounted": 1})])
def test_a_run_of_failures_speaks_for_its_slots(count, found):
    messages, lines = series(0, 1, 2, 3, 4)
    failed(messages[1], messages[1], messages[3], count)
    kept = [messages[0], messages[1], messages[4]]
    kept[2].update(seq=3, id="lab.b1.air.all.e1.3")
    assert faults(audit(kept, *lines)) == found


UTC = 1795413641_000_000_000
"""2026-11-23T06:00:41Z; 1000.0 s is 40 s past 06:16 above."""


def test_slots_at_the_end_are_due_too():
    messages, lines = series(0, 1, 2)
    end_ns = UTC + 16 * 60 * NS
    assert faults(audit(messages, *lines, until_utc_ns=end_ns + NS)) == {}
    assert faults(audit(messages, *lines, until_utc_ns=end_ns + 3 * NS)) == {"unaccounted": 1}


def test_a_poll_of_which_nothing_came_is_unaccounted():
    found = Audit(Witness([]), PLACES_HERE)
    found.settle({"air/all": 1.0, "air/talks": None}, set())
    assert faults(found) == {"unaccounted": 1}


def test_a_reading_not_marked_as_simulated_is_noticed():
    assert not audit([changed(lambda m: m.update(simulated=False))]).simulated


def test_every_channel_of_the_demo_bench_has_its_place():
    from daq.load import data_path, load_bench

    loaded = load_bench(data_path("configs") / "demo.yaml")
    for plan in loaded.plans.values():
        published_channels = {channel.name for poll in plan.polls for channel in poll.channels}
        assert published_channels <= set(PLACES[plan.driver])

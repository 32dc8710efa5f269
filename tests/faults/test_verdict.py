"""The judge would see it: each kind of broken promise, made up, is found and counted where it belongs."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.faults.frames import REPLIES, Cut, flipped, framed, pdu, unit_of, with_words
from tests.faults.page import EVENTS, of_event
from tests.faults.strikes import FAULTS
from tests.faults.verdict import PANEL, Evidence, Judge, Sample, by_tenth, growth, leaked
from tests.faults.wires import Strike

NS = 1_000_000_000
BOOT_UTC_NS = 1_795_000_000 * NS
ASK = ":SENS:PRES:INL?;:SENS:PRES:RANG?;:UNIT:PRES?"


def reply(number):
    return f':SENS:PRES:INL 101.{number:05d},1;:SENS:PRES:RANG "2.00bara";:UNIT:PRES KPA'


def at(mono_ns):
    return datetime.fromtimestamp((BOOT_UTC_NS + mono_ns) / NS, UTC).isoformat().replace("+00:00", "Z")


def witnessed(number, asked_ns):
    return json.dumps(
        {
            "instrument": "pressure1",
            "ask": ASK,
            "answer": reply(number),
            "asked_mono_ns": asked_ns,
            "answered_mono_ns": asked_ns + 1000,
            "sampled_mono_ns": [asked_ns],
            "values": {"pressure": f"101.{number:05d}", "in_limits": "1"},
        }
    )


def message(seq, number, asked_ns, **changes):
    return {
        "id": f"lab.b1.pressure1.absolute.e1.{seq}",
        "epoch": "e1",
        "seq": seq,
        "t": at(asked_ns),
        "due": at(asked_ns),
        "mono": asked_ns / NS,
        "t_err": 0.01,
        "status": "ok",
        "simulated": True,
        "readings": {
            "absolute": {"value": float(f"101.{number:05d}"), "text": f"101.{number:05d}", "status": "ok"},
            "in_limits": {"value": None, "text": "inside", "status": "ok", "kind": "enum"},
        },
        "exchanges": [{"ask": f"{ASK}\n", "got": f"{reply(number)}\n", "at": 0.0, "rtt": 0.01}],
    } | changes


def evidence(messages, strikes=(), **changes):
    """Five answers, half a second apart, to five questions."""
    payloads = [json.dumps(each).encode() for each in messages]
    made = Evidence(
        heard=[(payload, 100 * NS) for payload in payloads],
        kept={each["id"]: payload for each, payload in zip(messages, payloads, strict=True)},
        witness=[witnessed(number, 10 * NS + number * NS // 2) for number in range(1, 6)],
        drivers={"pressure1": "druck/pace5000"},
        integrity={"pressure1/absolute": "tagged"},
        every_s={"pressure1/absolute": 0.5},
        strikes=strikes,
        calm=frozenset(),
        acknowledged=frozenset(),
        refused=frozenset(),
        samples=[Sample(0, 50, 5, 80_000, 0), Sample(200 * NS, 50, 5, 80_000, 0)],
    )
    return replace(made, **changes)


def good():
    return [message(number, number, 10 * NS + number * NS // 2) for number in range(1, 6)]


def strike(fault, **said):
    made = Strike(fault, "pressure1", random.Random(1), 0.4, **said)
    made.begun_ns, made.ended_ns, made.healed_ns = 11 * NS, 12 * NS, 12 * NS
    return made


def test_what_is_right_is_found_right():
    verdict = Judge(evidence(good(), [strike("silence")])).judge()
    assert verdict.broken == []
    assert (verdict.observations, verdict.readings) == (5, 10)


def test_an_older_answer_is_wrong_and_laid_at_the_door_of_the_fault_that_was_on():
    told = good()
    told[3] = message(4, 2, 12 * NS)
    verdict = Judge(evidence(told, [strike("stale")])).judge()
    assert verdict.rows["stale"].wrong == 1
    assert verdict.broken


def test_a_forgery_counts_apart_only_where_nothing_shows_it_and_byte_for_byte():
    told = good()
    told[3] = message(4, 2, 12 * NS)
    forged = (reply(2) + "\n").encode()
    for hidden, bytes_, expected in ((True, forged, (0, 1)), (False, forged, (1, 0)), (True, forged[1:], (1, 0))):
        verdict = Judge(evidence(told, [strike("stale", hidden=hidden, forged=[bytes_])])).judge()
        assert (verdict.rows["stale"].wrong, verdict.rows["stale"].hidden) == expected


def test_a_number_that_never_came_is_lost_unless_the_broker_had_it():
    told = good()
    whole = evidence(told)
    without = replace(whole, heard=[one for one in whole.heard if b'"seq": 3' not in one[0]])
    assert any("lost 1" in words for words in Judge(without).judge().broken)
    excused = replace(without, acknowledged=frozenset({told[2]["id"]}))
    assert Judge(excused).judge().broken == []


@pytest.mark.parametrize(("kept", "times"), [([1, 2, 4, 5], 0), ([1, 2, 3, 3, 4, 5], 2)])
def test_a_slot_is_spoken_for_once(kept, times):
    told = [message(seq, number, 10 * NS + number * NS // 2) for seq, number in enumerate(kept, 1)]
    verdict = Judge(evidence(told)).judge()
    assert f"pressure1/absolute: slot 2 of 4 is spoken for {times} times" in verdict.told
    assert verdict.broken


def test_published_otherwise_than_kept_is_wrong():
    whole = evidence(good())
    name = next(iter(whole.kept))
    assert Judge(replace(whole, kept={**whole.kept, name: b'{"t":"x"}'})).verdict.broken == []
    changed = json.dumps(message(1, 1, 10 * NS + NS // 2, boot="other")).encode()
    assert Judge(replace(whole, kept={**whole.kept, name: changed})).judge().broken


def test_an_instrument_left_alone_may_be_late_by_what_all_waited_for_a_processor():
    told = good()
    told[2] |= {"status": "missed", "readings": {}, "exchanges": []}
    calm = evidence(told, calm=frozenset({"pressure1"}))
    assert any("nobody struck it" in words for words in Judge(calm).judge().broken)
    starved = [Sample(0, 50, 5, 80_000, 0), Sample(200 * NS, 50, 5, 80_000, NS)]
    assert Judge(replace(calm, samples=starved)).judge().broken == []


def test_what_a_neighbour_on_the_struck_wire_is_late_by_stands_apart():
    told = good()
    told[2] |= {"status": "missed", "readings": {}, "exchanges": []}
    silent = strike("silence")
    silent.instrument = "pressure2"
    verdict = Judge(evidence(told, [silent], neighbours={"pressure1": "pressure2", "pressure2": "pressure1"})).judge()
    assert (verdict.rows["silence"].same_wire_s, verdict.rows["silence"].others_s) == (0.5, 0)
    assert verdict.broken == []


def test_growth_is_told_per_thousand_faults_from_the_middle_on():
    strikes = [strike("silence") for _ in range(2000)]
    for number, each in enumerate(strikes):
        each.begun_ns = number * NS
    samples = [Sample(at * NS, 50 + (at > 1500) * 2, 5, 80_000 + at, 0) for at in range(2001)]
    assert growth(samples, strikes) == {"descriptors": 2.5, "threads": 0.0, "rss_kib": 1250.0}
    assert growth(samples, strikes[:10]) == {}


def test_a_forged_number_larger_than_any_voltage_is_its_forgers():
    forged = b"+9.99E+80\n"
    flip, panel = (strike(fault, hidden=True, forged=[forged]) for fault in ("bit flip", PANEL))
    panel.forged.clear()
    huge = message(9, 1, 12 * NS, readings={"dcv": {"value": 9.99e80, "text": "+9.99E+80", "status": "ok"}})
    huge["exchanges"][0]["got"] = forged.decode()
    judge = Judge(evidence(good(), [flip, panel]))
    assert judge._forger("pressure1", huge, 13 * NS) is flip
    huge["exchanges"][0]["got"] = "+9.98E+03\n"
    assert judge._forger("pressure1", huge, 13 * NS) is panel


def test_a_leak_is_told():
    first = Sample(0, 50, 5, 80_000, 0)
    assert list(leaked(first, first, 1000)) == []
    worse = Sample(1, 51, 7, 90_000, 0)
    assert [words.partition(":")[0] for words in leaked(first, worse, 1000)] == ["descriptors", "threads", "memory"]


def test_an_instrument_that_never_came_back_is_told():
    gone = strike("refused for a while")
    gone.healed_ns = 0
    assert Judge(evidence(good(), [gone])).judge().broken == ["refused for a while: unhealed 1"]


def test_every_fault_has_its_row_on_the_page():
    assert {of_event(fault.name) for fault in FAULTS} | {
        of_event("broker frozen"),
        of_event("broker's name is not found"),
    } == set(EVENTS)


def test_frames_are_cut_and_damaged_as_the_protocols_say():
    # MODBUS over Serial Line V1.02: unit 1, function 4, two bytes; checksum low byte first
    answer = bytes.fromhex("010402ffffb880")
    assert Cut(REPLIES["rtu"]).feed(answer + answer[:4]) == [answer]
    assert framed(answer, "rtu", unit_of(answer, "rtu"), pdu(answer, "rtu")) == answer
    assert with_words(pdu(answer, "rtu"), 1) == bytes.fromhex("0404ffff0000")
    damaged = flipped(answer, random.Random(3))
    assert sum((one ^ other).bit_count() for one, other in zip(answer, damaged, strict=True)) == 1
    tcp = bytes.fromhex("0007 0000 0005 01 04 02 1234".replace(" ", ""))
    assert Cut(REPLIES["mbap"]).feed(tcp[:5]) == []
    assert framed(tcp, "mbap", 1, pdu(tcp, "mbap"), 8)[:2] == b"\x00\x08"


def test_memory_is_told_tenth_by_tenth():
    samples = [Sample(second * NS, 50, 5, 1024 * (60 + second), 0) for second in range(20)]
    assert by_tenth(samples) == [61, 63, 65, 67, 69, 71, 73, 75, 77, 79]

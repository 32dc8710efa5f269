"""`daq driver replay`: a recorded dialogue, whoever recorded it, read by a driver: value and unit must agree."""

from __future__ import annotations

import json

import pytest

from daq.load import load_driver
from daq.workshop.entry import poll_plan
from daq.workshop.replay import Pair, pairs
from daq.workshop.reread import replies
from tests.workshop.conftest import ROOT

DRIVERS = ROOT / "drivers"


@pytest.fixture
def replay(daq, folder):
    def run(driver, record, *words, code=0):
        (folder / "record.txt").write_text(record if isinstance(record, str) else json.dumps(record))
        said = daq("driver", "replay", str(DRIVERS / f"{driver}.yaml"), "record.txt", *words, "--json")
        assert said.code == code, said.out + said.err
        return json.loads(said.out)

    return run


def read(found):
    """(poll, channel, value or text, unit, status) of all that was read."""
    return [
        (one["poll"], name, its["value"] or its["text"], its["unit"], its["status"])
        for one in found
        for name, its in one["readings"].items()
    ]


def test_a_balance_in_lines(replay):
    found = replay(
        "mettler-toledo/mt-sics",
        "# a terminal's log\n"
        "> SI\n< S S      12.3456 g\n"
        "> SI\n< S D   -0.12345 kg\n"
        "> SI\n< S +\n"
        '> I4\n< I4 A "B123456789"\n',
    )
    assert [row[2:] for row in read(found)][:2] == [("12.3456", "g", "ok"), ("-0.12345", "kg", "ok")]
    assert found[1]["readings"]["weight"]["flags"] == ["unstable"]
    assert found[2]["readings"]["weight"]["status"] == "overrange"
    assert found[3]["identity"] == {"serial": "B123456789"}


def test_a_thermometer_in_bytes_as_the_station_keeps_them(replay):
    found = replay(
        "greisinger/gmh3000",
        [
            {"ask": "fe003d", "got": "fe05267100 48f78009".replace(" ", ""), "hex": True},
            {"ask": "fe f2 ed 35 00 47", "got": "fe f5 f8 35 00 47 ff 01 2f", "hex": True},
        ],
    )
    assert read(found)[-1] == ("temperature", "temperature", "21.76", "Cel", "ok")


def test_a_dialogue_that_ends_too_early_says_what_it_has_not(replay):
    record = [{"ask": "fe003d", "got": "fe0526710048f78009", "hex": True}]
    (found,) = replay("greisinger/gmh3000", record, code=1)
    assert (found["poll"], found["readings"]) == ("temperature", {})
    assert "the record has no answer to" in found["refused"]


def test_the_mode_that_was_told_decides_what_an_answer_is(replay):
    record = [
        {"ask": "*IDN?", "got": "Keysight Technologies,34465A,MY54500123,A.02.08"},
        {"ask": "CONF:RES AUTO", "got": ""},
        {"ask": "READ?", "got": "+1.00013000E+04\n"},
        {"ask": "CONF:VOLT:DC 10", "got": ""},
        {"ask": "READ?", "got": "-9.99998713E+00"},
    ]
    found = replay("keysight/34465a", record)
    assert read(found) == [
        ("ohm2w", "ohm2w", "1.00013000E4", "Ohm", "ok"),
        ("dcv", "dcv", "-9.99998713", "V", "ok"),
    ]
    assert found[0]["identity"]["serial"] == "MY54500123"


def test_lines_that_came_unasked(replay):
    found = replay("fluke/1502a", "< t:   25.017 C\n< t:  -38.834 C\n")
    assert [row[2:4] for row in read(found)] == [("25.017", "Cel"), ("-38.834", "Cel")]


def test_several_questions_make_one_observation(replay):
    driver = load_driver(DRIVERS / "lakeshore/224.yaml")[0]
    plans = {one.poll: poll_plan(driver, one.poll, one.settings) for one in driver.examples if not one.outcome}
    example = next(one for one in driver.examples if one.poll in plans and len(replies(plans[one.poll])) > 1)
    asked = [step.ask.decode("latin-1") for step in replies(plans[example.poll])]
    found = replay("lakeshore/224", [{"ask": a, "got": g} for a, g in zip(asked, example.got, strict=True)])
    assert example.gives
    assert {(row[1], row[2]) for row in read(found)} >= set(example.gives.items())


@pytest.mark.parametrize(
    ("ask", "got"),
    [
        ("01 04 00 00 00 02 71 CB", "01 04 04 43 66 33 34 1B 38"),  # SDM630-Modbus user manual
        ("0x01040000000271CB", "010404436633341B38"),
        ("00 07 00 00 00 06 01 04 00 00 00 02", "00 07 00 00 00 07 01 04 04 43 66 33 34"),
        ("04 0000 0002", "04 04 4366 3334"),
    ],
    ids=["rtu", "one word", "tcp", "pdu"],
)
def test_a_meter_in_frames(replay, ask, got):
    found = replay("eastron/sdm630", [{"ask": ask, "got": got}])
    assert read(found) == [("power", "u1", "230.20001", "V", "ok")]


def test_a_meter_says_who_it_is(replay):
    (one,) = replay("eastron/sdm630", "> 03 FC00 0003\n< 03 06 0140 6F41 0070\n")
    assert one["identity"] == {"serial": "21000001", "model": "112"}


@pytest.mark.parametrize(
    ("driver", "record", "words"),
    [
        ("eastron/sdm630", "> 01 04 00 00 00 02 71 CB\n< 01 04 04 43 66 33 34 1B 39\n", "the checksum of"),
        ("eastron/sdm630", "> 01 04 00 00 00 02 71 CB\n< 01 84 02 C2 C1\n", "exception 2"),
        ("eastron/sdm630", "> 04 1000 0002\n< 04 04 4366 3334\n", "no poll of the driver asks this"),
        ("eastron/sdm630", "> hello\n< 04 04 4366 3334\n", "is no question for registers"),
        ("mettler-toledo/mt-sics", "> SI\n< S S      12.34.56 g\n", "12.34.56"),
        ("mettler-toledo/mt-sics", "> XY\n< S S 12.3456 g\n", "no poll of the driver asks this"),
        ("keysight/34465a", "> *IDN?\n< FLUKE,8588A,1,1\n", "expects"),
    ],
)
def test_what_is_no_reading_is_told(replay, driver, record, words):
    (one,) = replay(driver, record, code=1)
    assert words in one["refused"]
    assert one["readings"] == {}


def test_blanks_at_the_end_of_an_answer_are_its_own(replay):
    found = replay("sartorius/sbi", "> \x1bP\n< N     +   9.9999 kg \n> \x1bP \n< N     +   5.4321    \n")
    assert read(found) == [("weight", "weight", "9.9999", "kg", "ok"), ("weight", "weight", "5.4321", "g", "ok")]


def test_people_see_lines(daq, folder):
    (folder / "record.txt").write_text("> SI\n< S S      12.3456 g\n")
    said = daq("driver", "replay", str(DRIVERS / "mettler-toledo/mt-sics.yaml"), "record.txt")
    assert "weight: ok\n  > 'SI'\n  < 'S S      12.3456 g'\n  weight = 12.3456 g\n" in said.out


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_a_degree_sign_is_read_in_utf_8_and_as_the_terminal_logged_it(daq, folder, coding):
    # RDD's example in the HC2S3 user manual, appendix C
    got = "{F00rdd 001; 4.45;%RH;000;=; 20.07;°C;000;=;nc;---.-;°C;000; ;001;V1.7-1;0060568338;HC2-S3 ;000;4"
    (folder / "record.txt").write_bytes(f"> {{F00RDD}}\n< {got}\n".encode(coding))
    said = daq("driver", "replay", str(DRIVERS / "rotronic/hc2.yaml"), "record.txt")
    assert said.code == 0, said.err
    assert "  humidity = 4.45 %{RH}\n  temperature = 20.07 Cel\n" in said.out


def test_a_record_is_read_in_every_form_that_daq_prints():
    wanted = [Pair("READ?\n", "+1.0\n"), Pair("", "t: 5 C\r\n"), Pair("SYST:LOC", "")]
    lines = "  > 'READ?\\n'\n  < '+1.0\\n'  (401.2 ms)\n\n# unasked\n< 't: 5 C\\r\\n'\n> SYST:LOC\n"
    assert pairs(lines) == wanted
    plain = [{"ask": pair.ask, "got": pair.got} for pair in wanted]
    assert pairs("# first\n# remarks\n" + json.dumps(plain)) == wanted
    assert pairs(json.dumps({"polls": {"p": {"exchanges": plain}}})) == wanted
    assert pairs("\n".join(json.dumps({"exchanges": [each], "at": 0}) for each in plain)) == wanted
    with pytest.raises(ValueError, match="line 2: 'WHAT' is neither"):
        pairs("> A\nWHAT\n")


def test_what_was_tried_is_read_again_as_it_was_then(daq, stands, replay):
    meter = stands["meter3"]
    at = ["--at", f"modbus_tcp={meter['modbus_tcp']}", "--unit", str(meter["unit"])]
    tried = daq("driver", "try", str(DRIVERS / "eastron/sdm630.yaml"), *at, "--json")
    then = json.loads(tried.out)["polls"]
    was = {(poll, name): its for poll, one in then.items() for name, its in one["readings"].items()}
    now = {}
    for poll, one in then.items():  # alone: what another poll asked a moment later may hold the same registers
        again = replay("eastron/sdm630", {"polls": {poll: one}})
        now |= {(poll, name): its for each in again if each["poll"] == poll for name, its in each["readings"].items()}
    assert now == was
    assert len(was) > 20


def test_used_wrongly(daq, folder):
    (folder / "record.txt").write_text("WHAT\n")
    said = daq("driver", "replay", str(DRIVERS / "eastron/sdm630.yaml"), "record.txt")
    assert said.code == 2
    assert "line 1:" in " ".join(said.err.split())

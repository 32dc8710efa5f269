"""`daq driver test`: what is wrong with a driver file, and what is right and yet a risk, each with place and remedy."""

from __future__ import annotations

import json

import pytest

from tests.workshop.conftest import ROOT

REGISTERS = """\
driver: 1
title: Acme meter, invented
source: invented for the tests
verified: manual
speaks: registers
addressing: pdu
polls:
  volts:
    channels: {u1: {at: 0, table: input, type: int16, quantity: voltage.phase, unit: V, scale: "0.1"}}
    time: {model: latest, period: 1 s}
examples:
  - {poll: volts, registers: {input 0: "08FC"}, gives: {u1: "230.0"}}
"""


def test_a_driver_as_it_should_be_is_fine(daq, dmm):
    dmm()
    said = daq("driver", "test", "dmm.yaml")
    assert (said.code, said.out, said.err) == (0, "dmm.yaml: 1 example: fine\n", "")


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("unit: V", "unit: volt"), "dmm.yaml:13:50: polls.dcv.channels.dcv.unit:", "Nearest: 'V'."),
        (("quantity: voltage.dc", "quantity: voltage.cd"), "dmm.yaml:13:32:", "Nearest: 'voltage.dc'."),
        (("    time: {model: latest, period: 200 ms}\n", ""), "dmm.yaml:10:3: polls.dcv.time:", "is missing."),
        (('gives: {dcv: "9.99998713"}', 'gives: {dcv: "9.99"}'), "dmm.yaml:16:5: examples.0:", "Put the example"),
        (("{dcv:nr3:15}", "{dcv:nr3:15"), "dmm.yaml:12:12: polls.dcv.reply:", "has no closing brace"),
        (("ask: READ?", "aks: READ?"), "dmm.yaml:11:5: polls.dcv.aks:", "Nearest: 'ask'."),
        (("title: Acme multimeter, invented", "title: TODO the maker"), "dmm.yaml:2:8: title:", "still to be filled"),
        (("link: {eol", "link: {elo"), "dmm.yaml:6:8: link.elo:", "Nearest: 'eol'."),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_remedy(daq, dmm, change, place, words):
    dmm(change)
    said = daq("driver", "test", "dmm.yaml")
    assert said.code == 1
    line = next(line for line in said.out.splitlines() if line.startswith(place))
    assert words in line
    assert "dmm.yaml: " in said.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("{dcv:nr3:15}", "{dcv:nr3}"), "dmm.yaml:10:3: polls.dcv:", "without its first characters"),
        (("{dcv:nr3:15}", "{dcv:nr3}"), "dmm.yaml:10:3: polls.dcv:", "Give fields the width"),
        (("period: 200 ms", "period: 0 s"), "dmm.yaml:14:11: polls.dcv.time:", "Write the longest"),
        (('special: {"9.9E37": overrange}\n', ""), "dmm.yaml:9:3: polls.dcv:", "beyond its range is not declared"),
        (('"{maker:text},{model:text},{serial:text}', '"{maker:text},{model:text},{:text}'), "dmm.yaml:7:11: identify:",
         "the serial number is not asked"),
        ((', expect: {model: "DMM"}', ""), "dmm.yaml:7:11: identify:", "any model that answers"),
        (('gives: {dcv: "9.99998713"}', "flags: {}"), "dmm.yaml:10:3: polls.dcv:", "no example gives dcv"),
    ],
)  # fmt: skip
def test_what_is_right_and_yet_a_risk_is_a_warning(daq, dmm, change, place, words):
    dmm(change)
    said = daq("driver", "test", "dmm.yaml")
    assert said.code == 0, said.out
    line = next(line for line in said.out.splitlines() if line.startswith(place) and words in line)
    assert line.endswith("(a warning)")
    assert said.out.splitlines()[-1].endswith("1 warning")


def test_a_driver_that_asks_nobody_who_answers(daq, dmm):
    dmm(
        ("identify: {ask", "#"),
        ('"*IDN?", reply: "{maker:text},{model:text},{serial:text},{firmware:text}", expect: {model: "DMM"}}', ""),
    )
    said = daq("driver", "test", "dmm.yaml")
    assert said.code == 0
    assert "identify: is missing: nobody asks who answers" in said.out


def test_all_damages_of_a_poll_are_one_line(daq, dmm):
    dmm(("{dcv:nr3:15}", "{dcv:nr3}"))
    lines = daq("driver", "test", "dmm.yaml").out.splitlines()
    assert len(lines) == 2
    assert "'9998713E+00'" not in lines[0]
    assert "gives dcv" in lines[0]


def test_the_answer_to_another_question_is_a_risk_where_it_would_be_taken(daq, dmm):
    more = """\
  ohm:
    ask: RES?
    reply: "{ohm:nr3:15}"
    channels: {ohm: {quantity: resistance.2wire, unit: Ohm}}
    time: {model: latest, period: 200 ms}
examples:
  - {poll: ohm, got: ["+1.00000000E+03"], gives: {ohm: "1.00000000E3"}}
"""
    dmm(("examples:\n", more))
    said = daq("driver", "test", "dmm.yaml")
    assert said.code == 0
    assert "polls.dcv: wrong replies that would pass: the answer to ohm." in said.out
    assert "polls.ohm: wrong replies that would pass: the answer to dcv." in said.out


def test_registers_that_nothing_proves_and_that_may_be_not_available(daq, folder):
    (folder / "meter.yaml").write_text(REGISTERS)
    said = daq("driver", "test", "meter.yaml")
    assert said.code == 0
    assert "meter.yaml:1:1: identify: is missing" in said.out
    assert "verify with a register of known content" in said.out
    assert "meter.yaml:8:3: polls.volts: what u1 answers beyond its range is not declared." in said.out


def test_programs_get_json(daq, dmm):
    dmm(("unit: V", "unit: volt"))
    said = daq("driver", "test", "--json", "dmm.yaml")
    assert said.code == 1
    found = json.loads(said.out)["dmm.yaml"]
    assert found["examples"] == 1
    assert found["problems"][0].startswith("dmm.yaml:13:")


def test_all_that_are_on_the_shelf(daq, folder, monkeypatch):
    names = {f"{name}": ROOT / "drivers" / f"{name}.yaml" for name in ("keysight/34465a", "eastron/sdm630")}
    monkeypatch.setattr("daq.load.Shelf.names", lambda _: names)
    said = daq("driver", "test", "--all", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    assert set(found) == {str(path) for path in names.values()}
    assert all(one["examples"] > 5 and not one["problems"] for one in found.values())


@pytest.mark.parametrize("words", [[], ["--all", "dmm.yaml"], ["nowhere.yaml"]])
def test_used_wrongly(daq, dmm, words):
    dmm()
    assert daq("driver", "test", *words).code == 2

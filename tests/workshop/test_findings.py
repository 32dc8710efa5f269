"""`daq driver test`: what is wrong with a driver file, and what is right and yet a risk, each with place and remedy."""

from __future__ import annotations

import json
import re

import pytest

from tests.workshop.conftest import ROOT


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
        (("{dcv:nr3:15}", "{dcv:nr3}"), "dmm.yaml:10:3: polls.dcv:", "damaged replies would be read as another number"),
        (("{dcv:nr3:15}", "{dcv:nr3}"), "dmm.yaml:10:3: polls.dcv:", "write {dcv:nr3:15}."),
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
    assert re.match("dmm.yaml: 1 example: fine, 1 warning(;|$)", said.out.splitlines()[-1])


def test_a_driver_that_asks_nobody_who_answers(daq, dmm):
    dmm(
        ("identify: {ask", "#"),
        ('"*IDN?", reply: "{maker:text},{model:text},{serial:text},{firmware:text}", expect: {model: "DMM"}}', ""),
    )
    said = daq("driver", "test", "dmm.yaml")
    assert said.code == 0
    assert "identify: is missing: nobody asks who answers" in said.out


def test_all_damages_of_a_poll_that_a_width_would_show_are_one_line(daq, dmm):
    dmm(("{dcv:nr3:15}", "{dcv:nr3}"))
    warning, verdict = daq("driver", "test", "dmm.yaml").out.splitlines()
    assert "'+.99998713E+00' in place of '+9.99998713E+00' gives dcv 0.99998713" in warning
    passed, tried = re.search("; ([0-9]+) of ([0-9]+) damaged replies would pass$", verdict).groups()
    assert f"{passed} of {tried} damaged replies" in warning


def test_what_nothing_on_the_wire_shows_is_a_remark_and_told_of_one_file_alone(daq, dmm, folder):
    dmm(("{dcv:nr3:15}", "{dcv:nr2}"), ("+9.99998713E+00", "9.99998713"), ("9.9E37", "199999"))
    (folder / "other.yaml").write_text((folder / "dmm.yaml").read_text())
    remark, verdict = daq("driver", "test", "dmm.yaml").out.splitlines()
    assert remark.startswith("dmm.yaml:10:3: polls.dcv: ")
    assert "Characters lost from dcv show nowhere: neither width nor checksum." in remark
    assert remark.endswith("(a remark)")
    assert verdict.startswith("dmm.yaml: 1 example: fine; ")
    both = daq("driver", "test", "dmm.yaml", "other.yaml").out
    assert "(a remark)" not in both


@pytest.mark.parametrize(
    ("reply", "got", "cure"),
    [
        ("{dcv:nr2} {:text}", "1.250 V", "name all that stands around the value"),  # the unit is taken for a tail
        ("{:text},{dcv:nr2},{:nr2}", "A,1.250,3.5", None),  # a field lost leaves too few
        ("V= {dcv:nr2} V", "V=      1.250 V", "write {dcv:nr2:10}"),
        ("V={:blanks}{dcv:nr2} V", "V=      1.250 V", "write {dcv:nr2:11}"),
        ("V={dcv:nr2:11} V", "V=      1.250 V", None),
        ("{dcv:nr2} V {:xor2}", "1.250 V 7E", None),
    ],
)
def test_templates_that_are_looser_than_the_reply(daq, dmm, reply, got, cure):
    dmm(("{dcv:nr3:15}", reply), ("+9.99998713E+00", got), ('gives: {dcv: "9.99998713"}', 'gives: {dcv: "1.250"}'))
    said = daq("driver", "test", "dmm.yaml")
    assert said.code == 0, said.out
    told = [line for line in said.out.splitlines() if "(a warning)" in line]
    assert len(told) == (cure is not None), said.out
    assert cure is None or cure in told[0]


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
    assert "polls.dcv: its answer cannot be told from that to ohm." in said.out
    assert said.out.count("cannot be told from that") == 1, "of two that are alike the one says it for both"
    assert "(a remark)" in said.out


def test_programs_get_json(daq, dmm):
    dmm(("unit: V", "unit: volt"))
    said = daq("driver", "test", "--json", "dmm.yaml")
    assert said.code == 1
    found = json.loads(said.out)["dmm.yaml"]
    assert found["examples"] == 1
    assert found["problems"][0].startswith("dmm.yaml:13:")
    dmm()
    found = json.loads(daq("driver", "test", "--json", "dmm.yaml").out)["dmm.yaml"]
    assert (found["warnings"], found["remarks"], found["damaged"]["passed"]) == ([], [], 0)
    assert found["damaged"]["tried"] > 100


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


NMEA = "$PAC,{dcv:nr2}*{:hex:2}"


# By hand: exclusive or of PAC,1013.25 is 54, of PAC,1013.26 is 57, of 02 31 2E 32 35 is 1A; >+3.5671 9D: see ADAM-4000
@pytest.mark.parametrize(
    ("reply", "examples", "cure"),
    [
        (NMEA, {"$PAC,1013.25*54": "1013.25"}, "in the only reply of the examples is the checksum xor2 of what stands"),
        (
            NMEA,
            {"$PAC,1013.25*54": "1013.25"},
            "Write {:xor2} there, with {:from} behind the first character and {:to}",
        ),
        (
            NMEA.replace("hex:2", "word"),
            {"$PAC,1013.25*54": "1013.25", "$PAC,1013.26*57": "1013.26"},
            "in all 2 replies",
        ),
        (">{dcv:nr2:7}{:hex:2}", {">+3.56719d": "3.5671"}, "Write {:sum2} there."),
        ("\\x02{dcv:nr2:4}{:uint8}", {"\\x021.25\\x1A": "1.25"}, "Write {:xor1} there."),
        (NMEA, {"$PAC,1013.25*54": "1013.25", "$PAC,1013.26*58": "1013.26"}, None),  # it fitted by chance, once
        (NMEA, {"$PAC,1013.25*55": "1013.25"}, None),
        ("${:from}PAC,{dcv:nr2}{:to}*{:xor2}", {"$PAC,1013.25*54": "1013.25"}, None),
        # 50 ^ 41 ^ 43 ^ 2C = 7E: the value stands behind what is counted
        ("${:from}PAC,{:to}{dcv:nr2}*{:xor2}", {"$PAC,1013.25*7E": "1013.25"}, "and a field that it does not count"),
    ],
)
def test_a_checksum_that_is_thrown_away_is_noticed(daq, dmm, reply, examples, cure):
    lines = [f'  - {{poll: dcv, got: ["{got}"], gives: {{dcv: "{value}"}}}}\n' for got, value in examples.items()]
    old = '  - {poll: dcv, got: ["+9.99998713E+00"], gives: {dcv: "9.99998713"}} # from page 7\n'
    dmm(("{dcv:nr3:15}", reply), (old, "".join(lines)))
    said = daq("driver", "test", "dmm.yaml")
    assert said.code == 0, said.out
    told = [line for line in said.out.splitlines() if "the checksum" in line or "has a checksum" in line]
    assert len(told) == (cure is not None), said.out
    assert cure is None or (cure in told[0] and told[0].startswith("dmm.yaml:10:3: polls.dcv: "))


SUPPLY = "speaks: text\nsetup: {setup}\nsettings:\n  level: {level}\n"


@pytest.mark.parametrize(
    ("setup", "level", "place", "words"),
    [
        ("[level]", '{default: 5, set: "VOLT {level}"}', "dmm.yaml:8:10: settings.level:", "its default 5 is told"),
        ('[level, "OUTP ON"]', '{default: 5, set: "NPLC {level}"}', "dmm.yaml:6:16: setup.1:", "'OUTP ON' looks like"),
        ('["s={level}"]', "{default: 5}", "dmm.yaml:6:9: setup.0:", "Make it a setting with puts_out: true"),
        ("[level]", '{unit: V, puts_out: true, set: "VOLT {level}"}', None, None),
        ('["s={level}"]', "{unit: V, puts_out: true}", None, None),
        ("[level]", '{default: 10, set: "VOLT:DC:NPLC {level}"}', None, None),
    ],
)
def test_what_would_put_something_out_unasked_is_a_risk(daq, dmm, setup, level, place, words):
    dmm(("speaks: text\n", SUPPLY.format(setup=setup, level=level)))
    said = daq("driver", "test", "dmm.yaml")
    told = [line for line in said.out.splitlines() if "put out" in line]
    assert len(told) == (place is not None), said.out
    assert place is None or (told[0].startswith(place) and words in told[0]), said.out


def test_the_name_of_a_set_point_in_setup_is_no_command(daq, dmm):
    level = '{unit: V, puts_out: true, set: "SETP {setpoint}"}'
    dmm(("speaks: text\n", SUPPLY.format(setup="[setpoint]", level=level).replace("  level:", "  setpoint:")))
    said = daq("driver", "test", "dmm.yaml")
    assert (said.code, "put out" in said.out) == (0, False), said.out


def test_trying_a_driver_puts_nothing_out_that_nobody_named(daq, dmm):
    dmm(("speaks: text\n", SUPPLY.format(setup="[level]", level='{unit: V, default: 5, set: "VOLT {level}"}')))
    refused = daq("driver", "try", "dmm.yaml", "--at", "tcp=127.0.0.1:1", "--configure")
    assert refused.code == 1
    assert "Nothing was sent: --configure would put something out" in refused.err
    for words in ([], ["--configure", "--setting", "level=3 V"]):  # there is nobody at that port
        assert "Nothing was sent" not in daq("driver", "try", "dmm.yaml", "--at", "tcp=127.0.0.1:1", *words).err

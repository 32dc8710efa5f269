"""`daq driver try` and `record` against the simulated instruments, which know nothing of our drivers."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from pathlib import Path

import pytest

from daq.load import load_driver
from tests.workshop.conftest import LIMIT_S, ROOT, beside

DRIVERS = ROOT / "drivers"


def at(stands, name):
    (way, place), *_ = stands[name].items()
    return ["--at", f"{way}={place}"]


def tried(daq, stands, driver, name, *more):
    said = daq("driver", "try", str(DRIVERS / f"{driver}.yaml"), *at(stands, name), *more, "--json")
    return said.code, json.loads(said.out)


def test_a_multimeter_is_only_asked(daq, stands):
    code, found = tried(daq, stands, "keysight/34465a", "dmm1", "--poll", "dcv", "--poll", "ohm4w")
    assert found["identity"]["serial"] == "SIM-34465A-0001"
    assert found["simulated"]
    sent = [each["ask"] for poll in found["polls"].values() for each in poll["exchanges"]]
    assert sent
    assert not [ask for ask in sent if not ask.endswith("?\n")], "something was set"
    assert found["polls"]["dcv"]["status"] == "ok"
    assert found["polls"]["ohm4w"]["status"] == "wrong_state"
    assert code == 1


def test_with_configure_every_mode_is_entered(daq, stands):
    words = ["--poll", "dcv", "--poll", "ohm4w", "--setting", "nplc=1", "--configure"]
    code, found = tried(daq, stands, "keysight/34465a", "dmm1", *words)
    assert (code, found["refused"]) == (0, None)
    ohms = found["polls"]["ohm4w"]
    assert "FRES:NPLC 1\n" in [each["ask"] for each in ohms["exchanges"]]
    reading = ohms["readings"]["ohm4w"]
    assert {"ask": "READ?\n", "got": reading["text"] + "\n"} in ohms["exchanges"]


def test_a_setting_goes_to_the_polls_that_know_it(daq, stands):
    words = ["--poll", "dcv", "--poll", "ohm4w", "--setting", "range=10 V", "--setting", "nplc=1", "--configure"]
    code, found = tried(daq, stands, "keysight/34465a", "dmm1", *words)
    assert (code, {poll["status"] for poll in found["polls"].values()}) == (0, {"ok"})
    sent = {name: [each["ask"] for each in poll["exchanges"]] for name, poll in found["polls"].items()}
    assert {"CONF:VOLT:DC 10\n", "VOLT:DC:NPLC 1\n"} <= {*sent["dcv"]}
    assert {"CONF:FRES auto\n", "FRES:NPLC 1\n"} <= {*sent["ohm4w"]}


def test_settings_that_depend_on_each_other_are_taken_together(daq, folder):
    """A quantity alone would leave the generic driver with the unit of another."""
    given = {"address": "100", "table": "input", "type": "float32", "order": "CDAB", "quantity": "temperature"}
    words = [word for pair in (given | {"unit": "Cel"}).items() for word in ("--setting", "=".join(pair))]
    with beside(["daq", "simulate", "--driver", "generic/modbus-register"]) as (_, ready):
        where = json.loads(ready)["instruments"]["modbus-register"]["modbus_tcp"]
        at = ["--at", f"modbus_tcp={where}", "--unit", "1", "--poll", "value"]
        said = daq("driver", "record", "generic/modbus-register", *at, *words)
    assert said.code == 0, said.err
    assert 'registers: {input 100: "E666 C2F6"}' in said.out
    assert 'gives: {value: "-123.45"}' in said.out
    assert "quantity: temperature, unit: Cel" in said.out


def test_a_setting_that_nothing_knows_is_refused(daq, stands):
    words = [str(DRIVERS / "keysight/34465a.yaml"), *at(stands, "dmm1"), "--setting", "nplcs=1"]
    said = daq("driver", "try", *words)
    assert said.code == 1
    assert "no setting 'nplcs'. Nearest: 'nplc'." in said.err


PIECES = """\
driver: 1
title: A balance that shows grams or pieces
source: an invented manual, page 3
verified: manual
speaks: text
link: {eol: "\\r\\n", max_latency: 500 ms}
polls:
  weight:
    ask: Q
    reply: "ST,{weight:nr2:8} g"
    channels: {weight: {quantity: mass, unit: g}}
    time: {model: latest, period: 100 ms}
  count:
    ask: Q
    reply: "QT,{count:nr1:8}PC"
    channels: {count: {quantity: count, unit: "1"}}
    time: {model: latest, period: 100 ms}
examples:
  - {poll: weight, got: ["ST,+0012.34 g"], gives: {weight: "12.34"}}
  - {poll: count, got: ["QT,+0000012PC"], gives: {count: "12"}}
"""


def test_of_polls_that_ask_the_same_the_instrument_answers_one(daq, folder):
    Path("pieces.yaml").write_text(PIECES)
    with beside(["daq", "simulate", "--driver", str(folder / "pieces.yaml")]) as (_, ready):
        where = json.loads(ready)["instruments"]["pieces"]["tcp"]
        said = daq("driver", "try", "pieces.yaml", "--at", f"tcp={where}")
    assert said.code == 0
    assert "weight: ok" in said.out
    assert "count: skipped: weight asks the same, and its answer it was" in said.out
    assert "got 'ST,+0012.34 g\\r\\n', which is how a poll that asks the same reads it" in said.out


def test_a_driver_is_named_as_a_bench_names_it_or_by_its_file(daq, stands):
    words = [*at(stands, "balance1"), "--poll", "weight"]
    assert daq("driver", "try", "mettler-toledo/mt-sics", *words).code == 0
    said = daq("driver", "try", "mettler-toledo/mt-sic", *words)
    assert said.code == 2
    assert "no such file or driver. Nearest: 'mettler-toledo/mt-sics'." in " ".join(said.err.split())


GAUGE = (ROOT / "tests" / "workshop" / "mistakes" / "gauge.yaml").read_text()
WHO = """\
identify:
  steps: [{tell: "AYT\\r"}, {ask: "\\x05", reply: "{model:text},{serial:text},{:text}"}]
"""


def test_what_an_identity_would_have_been_told_is_told(daq, folder):
    Path("gauge.yaml").write_text(GAUGE.replace("polls:\n", f"{WHO}polls:\n", 1).replace("1 s, line", "300 ms, line"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = daq("driver", "try", "gauge.yaml", "--at", f"tcp=127.0.0.1:{silent.getsockname()[1]}")
    assert "(identify tells 'AYT\\r', which may change something: give --configure, or write touches: false" in said.out


PROMPTED = """\
driver: 1
title: A hygrometer with a prompt
source: an invented manual
verified: manual
speaks: text
link: {eol: "\\r\\n", ask_eol: "\\r"}
polls:
  air:
    ask: SEND
    reply: "RH= {rh:nr2} %"
    channels: {rh: {quantity: humidity.relative, unit: "%"}}
    time: {model: latest, period: 1 s}
examples:
  - {poll: air, got: ["RH= 40.1 %"], gives: {rh: "40.1"}}
"""


def test_a_prompt_behind_an_answer_is_told_with_where_it_belongs(daq, folder):
    def answer(server):
        peer, _ = server.accept()
        with peer:
            while peer.recv(100):
                peer.sendall(b"RH= 40.1 %\r\n0>")

    with socket.create_server(("127.0.0.1", 0)) as server:
        told = []
        for eol in (r"\r\n", r"\r\n0>"):
            Path("prompted.yaml").write_text(PROMPTED.replace(r"\r\n", eol, 1))
            answering = threading.Thread(target=answer, args=(server,), name="answering")
            answering.start()
            told.append(daq("driver", "try", "prompted.yaml", "--at", f"tcp=127.0.0.1:{server.getsockname()[1]}"))
            answering.join(LIMIT_S)
    assert "'0>' came behind the answer. Where it always does, as a prompt, it belongs into link.eol" in told[0].out
    assert told[1].code == 0, told[1].out


SCALE = """\
driver: 1
title: A scale that is told to talk
source: an invented manual, page 3
verified: manual
speaks: text
link: {eol: "\\r\\n", max_latency: 2 s}
streams:
  weight:
    start: [SIR]
    reply: "S S {weight:nr2:10} g"
    channels: {weight: {quantity: mass, unit: g}}
    time: {model: arrival, latency: 100 ms}
    quiet: 300 ms
"""


def test_one_that_talks_when_told_is_not_told_without_configure_and_it_says_so(daq, folder):
    Path("scale.yaml").write_text(SCALE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"tcp=127.0.0.1:{silent.getsockname()[1]}"
        said = daq("driver", "try", "scale.yaml", "--at", where)
    assert said.code == 1
    assert "weight: timeout" in said.out
    assert "(it begins to talk when it is told 'SIR\\r\\n': --configure lets the driver say so)" in said.out


def test_bytes_and_readings_for_people(daq, stands):
    polls = ["--poll", "weight", "--poll", "stable", "--poll", "tare"]  # it talks unasked only when it is told to
    said = daq("driver", "try", str(DRIVERS / "mettler-toledo/mt-sics.yaml"), *at(stands, "balance1"), *polls)
    assert said.code == 0
    assert "  > 'I4\\r\\n'\n  < 'I4 A \"SIM-XPR205-0001\"\\r\\n'" in said.out
    weight = re.search(
        r"weight: ok\n  > 'SI\\r\\n'\n  < 'S [SD] +(-?[0-9.]+) g\\r\\n'.*\n  weight = (-?[0-9.]+) g", said.out
    )
    assert weight
    assert weight[1] == weight[2]


def test_a_meter_without_its_unit_is_told_which_option_is_missing(daq):
    said = daq("driver", "try", str(DRIVERS / "eastron/sdm630.yaml"), "--at", "modbus_tcp=127.0.0.1:1")
    assert said.code == 2
    assert "Give --unit 1" in " ".join(said.err.split())


@pytest.mark.parametrize(("name", "way"), [("meter3", []), ("rs485a", ["--unit", "1"])])
def test_registers_are_read_in_all_word_orders(daq, stands, name, way):
    unit = way or ["--unit", str(stands[name]["unit"])]
    code, found = tried(daq, stands, "eastron/sdm630", name, *unit, "--poll", "line_voltage")
    assert code == 0
    row = next(row for row in found["orders"] if row["channel"] == "u12")
    assert (row["place"], row["order"]) == ("input 200", "ABCD")
    assert row["values"]["ABCD"] == found["polls"]["line_voltage"]["readings"]["u12"]["value"]
    high, low = row["raw"].split()
    frame = found["polls"]["line_voltage"]["exchanges"][0]["got"].upper()
    assert f"{high[:2]} {high[2:]} {low[:2]} {low[2:]}" in frame
    assert len(set(row["values"].values())) == 4


def test_a_wrong_order_stands_out_in_the_table(daq, stands, folder):
    text = (DRIVERS / "eastron/sdm630.yaml").read_text()
    wrong = text.replace('"u{n}": {at: 0, stride: 2,', '"u{n}": {at: 0, stride: 2, order: CDAB,')
    assert wrong != text
    Path("meter.yaml").write_text(wrong.split("examples:")[0])
    unit = str(stands["meter3"]["unit"])
    said = daq("driver", "try", "meter.yaml", *at(stands, "meter3"), "--unit", unit, "--poll", "power")
    row = next(line for line in said.out.splitlines() if line.startswith("  u1  ") and "input 0" in line)
    right, own, *_ = row.split()[5:]
    assert 200 < float(right) < 260
    assert "*" in own
    assert not 200 < float(own.rstrip("*?")) < 260


def test_one_who_talks_is_listened_to(daq, stands):
    code, found = tried(daq, stands, "fluke/1502a", "thermometer1")
    assert code == 0
    assert found["polls"]["measured"]["status"] == "ok"
    assert found["polls"]["newest"]["status"] == "skipped"


def test_over_visa(daq, stands):
    code, found = tried(daq, stands, "fluke/5730a", "cal1", "--poll", "voltage")
    assert code == 0
    assert found["polls"]["voltage"]["readings"]["voltage"]["unit"] == "V"


def test_another_instrument_is_told_and_yet_asked(daq, stands, folder):
    text = (DRIVERS / "keysight/34465a.yaml").read_text()
    text = text.replace("max_latency: 5 s", "max_latency: 1 s")
    Path("other.yaml").write_text(re.sub(r"expect: \{model: .*?\}", "expect: {model: X100}", text))
    said = daq(
        "driver", "try", "other.yaml", *at(stands, "dmm1"), "--poll", "dcv", "--configure", "--setting", "nplc=1"
    )
    assert said.code == 1
    assert "not as it should be: model is '34465A'" in said.out
    assert "dcv: ok" in said.out


def test_nobody_there(daq):
    said = daq("driver", "try", str(DRIVERS / "druck/pace5000.yaml"), "--at", "tcp=127.0.0.1:1")
    assert said.code == 1
    assert "Connection refused" in said.out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--at", "tpc=127.0.0.1:1"], 2, "Nearest: 'tcp'"),
        (["--at", "tcp=127.0.0.1"], 2, "Write the port behind a colon"),
        (["--at", "tcp=127.0.0.1:1", "--line", "9600/8n1"], 2, "belongs to serial"),
        (["--at", "tcp=127.0.0.1:1", "--setting", "range"], 2, "is no setting"),
        (["--at", "tcp=127.0.0.1:1", "--poll", "dcvv"], 1, "Nearest: 'dcv'"),
        (["--at", "tcp=127.0.0.1:1", "--setting", "nplk=1"], 1, "Nearest: 'nplc'"),
        (["--at", "modbus_tcp=127.0.0.1:1", "--unit", "1"], 1, "speaks text, not Modbus"),
        ([], 2, "--at"),
    ],
)
def test_used_wrongly(daq, words, code, told):
    said = daq("driver", "try", str(DRIVERS / "keysight/34465a.yaml"), *words)
    assert said.code == code
    assert told in " ".join(said.err.split())


# Kept as examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "name", "more"),
    [
        ("mettler-toledo/mt-sics", "balance1", []),
        ("vaisala/ptu300", "ambient1", []),
        ("eastron/sdm630", "meter3", ["--unit", "1"]),
        ("fluke/1502a", "thermometer1", []),
    ],
)
def test_what_was_answered_becomes_an_example_and_nothing_else_changes(daq, stands, folder, driver, name, more):
    file = folder / "mine.yaml"
    shutil.copy(DRIVERS / f"{driver}.yaml", file)
    before = file.read_text()
    said = daq("driver", "record", "mine.yaml", *at(stands, name), *more, "--append")
    assert said.code == 0
    after = file.read_text()
    added = after.removeprefix(before.rstrip("\n")).strip("\n").splitlines()
    assert after.startswith(before.rstrip("\n"))
    assert added[0].startswith("  # recorded ")
    assert said.out == f"mine.yaml: {len(added) - 1} example{'' if len(added) == 2 else 's'} more\n"
    assert len(load_driver(file)[0].examples) == before.count("- {poll: ") + before.count("- poll: ") + len(added) - 1


def test_examples_are_printed_to_be_pasted(daq, stands, folder):
    file = folder / "mine.yaml"
    text = (DRIVERS / "mettler-toledo/mt-sics.yaml").read_text()
    file.write_text(text)
    said = daq("driver", "record", "mine.yaml", *at(stands, "balance1"), "--poll", "weight")
    assert file.read_text() == text
    assert re.fullmatch(r"  # recorded .*, simulated\n  - \{poll: weight, got: \[\"S [SD] .*\n", said.out)
    file.write_text(text.rstrip("\n") + "\n" + said.out)
    load_driver(file)


def test_examples_hold_the_settings_that_their_polls_know(daq, stands, folder):
    file = folder / "mine.yaml"
    file.write_text((DRIVERS / "keysight/34465a.yaml").read_text())
    words = ["--poll", "dcv", "--poll", "ohm4w", "--setting", "range=10 V", "--configure", "--append"]
    said = daq("driver", "record", "mine.yaml", *at(stands, "dmm1"), *words)
    assert said.code == 0, said.err
    volts, ohms = load_driver(file)[0].examples[-2:]
    assert (volts.poll, volts.settings) == ("dcv", {"range": "10 V"})
    assert (ohms.poll, ohms.settings) == ("ohm4w", {})


def test_examples_stand_behind_the_others_with_comments_kept(daq, stands, folder):
    text = (DRIVERS / "mettler-toledo/mt-sics.yaml").read_text()
    head, _, examples = text.partition("examples:\n")
    file = folder / "mine.yaml"
    file.write_text(f"{head}examples: # from the manual\n{examples}\n# how to leave\nteardown: [] # nothing\n")
    assert daq("driver", "record", "mine.yaml", *at(stands, "balance1"), "--append").code == 0
    after = file.read_text()
    assert after.endswith("\n\n# how to leave\nteardown: [] # nothing\n")
    assert "examples: # from the manual\n" in after
    assert after.index("# recorded") < after.index("# how to leave")


def test_a_driver_without_examples_gets_them(daq, stands, folder):
    file = folder / "mine.yaml"
    file.write_text((DRIVERS / "mettler-toledo/mt-sics.yaml").read_text().partition("examples:\n")[0])
    assert daq("driver", "record", "mine.yaml", *at(stands, "balance1"), "--poll", "weight", "--append").code == 0
    assert len(load_driver(file)[0].examples) == 1


def test_what_would_be_wrong_is_not_written(daq, stands, folder):
    file = folder / "mine.yaml"
    text = (DRIVERS / "mettler-toledo/mt-sics.yaml").read_text().partition("examples:\n")[0] + "examples: []\n"
    file.write_text(text)
    said = daq("driver", "record", "mine.yaml", *at(stands, "balance1"), "--append")
    assert said.code == 1
    assert "Write one a line" in said.err
    assert file.read_text() == text


def test_an_instrument_that_is_another_one_teaches_nothing(daq, stands, folder):
    said = daq("driver", "record", str(DRIVERS / "druck/pace5000.yaml"), "--at", "tcp=127.0.0.1:1")
    assert (said.code, said.out) == (1, "")
    assert "nothing to keep." in said.err

"""`daq driver new`: a skeleton that names what is left to do, and is right once that is filled in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from daq.load import load_driver
from daq.workshop.asking import asked
from daq.workshop.new import sample, with_comma
from tests.workshop.conftest import LIMIT_S, ROOT

TEXT = {
    "--title": "Acme 100 thermometer",
    "--source": "Acme manual, edition 3, page 7",
    "--who": "ACME,100-B,12345,1.0",
    "--poll": "probe",
    "--ask": "MEAS?",
    "--got": "T=  23.415 C",
    "--quantity": "temperature",
    "--unit": "Cel",
    "--age": "500 ms",
    "--eol": "CRLF",
    "--line": "9600/8n1",
}
METER = {
    "--speaks": "registers",
    "--title": "Acme meter",
    "--source": "Acme manual, page 3",
    "--poll": "volts",
    "--channel": "u1",
    "--quantity": "voltage.phase",
    "--unit": "V",
    "--address": "30001",
    "--addressing": "plc",
    "--words": "4366 3334",
    "--value": "230.20001",
    "--age": "1 s",
}


def words(given):
    return [word for pair in given.items() for word in pair]


@pytest.mark.parametrize(("given", "poll"), [(TEXT, "probe"), (METER, "volts")], ids=["text", "registers"])
def test_a_driver_of_which_all_is_known_is_right_at_once(daq, given, poll):
    assert daq("driver", "new", "acme/mine.yaml", *words(given)).code == 0
    driver, _ = load_driver("acme/mine.yaml")
    assert poll in driver.polls
    assert len(driver.examples) == 1
    assert daq("check", "acme/mine.yaml").code == 0
    assert daq("driver", "test", "acme/mine.yaml").code == 0
    assert Path("acme/mine.yaml").read_text().count("#") > 5


@pytest.mark.parametrize("speaks", ["text", "registers"])
def test_what_is_not_known_is_named_line_by_line_and_right_when_filled_in(daq, speaks):
    assert daq("driver", "new", "mine.yaml", "--speaks", speaks).code == 0
    text = Path("mine.yaml").read_text()
    todo = [number for number, line in enumerate(text.splitlines(), 1) if "TODO" in line]
    said = daq("driver", "test", "mine.yaml")
    named = [int(found) for found in re.findall(r"^mine\.yaml:(\d+):", said.out, re.MULTILINE)]
    assert said.code == 1
    assert sorted(set(named)) == todo
    known = TEXT if speaks == "text" else METER
    for pattern, filled in {
        r"title: TODO.*": f"title: {known['--title']}",
        r"source: TODO.*": f"source: {known['--source']}",
        r'"TODO the models"': '"100-B"',
        r'"TODO the question"': '"MEAS?"',
        r'"TODO the reply as printed[^"]*"': '"T= {probe:nr2} C"',
        r"TODO such as voltage.dc": "temperature",
        r'"TODO UCUM, such as V"': "Cel",
        r"TODO longest age|TODO how often it renews them": "500 ms",
        r"TODO a reply as printed": "T=  23.415 C",
        r"TODO its number|TODO what it reads": "23.415" if speaks == "text" else "230.20001",
        r"TODO its words[^\"]*": "4366 3334",
        r"TODO address": "0",
        r"TODO": "probe",
    }.items():
        text = re.sub(pattern, filled, text)
    Path("mine.yaml").write_text(text)
    assert daq("driver", "test", "mine.yaml").out.splitlines()[-1].startswith("mine.yaml: 1 example: fine")


@pytest.mark.parametrize(
    ("kind", "printed", "value", "order", "scale", "gives"),
    [
        ("float32", "4366 3334", "230.20001", "ABCD", None, "230.20001"),
        ("float32", "0x3334, 0x4366", "230.2", "CDAB", None, "230.20001"),  # rounded in the manual
        ("float32", "66 43 34 33", "230.2", "BADC", None, "230.20001"),  # bytes
        ("float32", "3433 6643", "230.2", "DCBA", None, "230.20001"),
        ("uint16", "08FE", "230.2", "ABCD", "0.1", "230.2"),
        ("int16", "FF85", "-12.3", "ABCD", "0.1", "-12.3"),
        ("int16", "85FF", "-12.3", "BADC", "0.1", "-12.3"),
        ("uint32", "E240 0001", "1234.56", "CDAB", "0.01", "1234.56"),
        ("uint16", "0017", "2300", "ABCD", "100", "2300"),
        ("float64", "0000 0000 0000 4059", "100", "GHEFCDAB", None, "100"),
    ],
)
def test_the_manuals_example_says_the_order_of_words_and_the_factor(daq, kind, printed, value, order, scale, gives):
    given = METER | {"--type": kind, "--words": printed, "--value": value}
    said = daq("driver", "new", "mine.yaml", *words(given))
    assert (said.code, said.err) == (0, "")
    driver, _ = load_driver("mine.yaml")
    channel = driver.polls["volts"].channels["u1"]
    assert (channel.order, channel.scale) == (order, scale)
    assert driver.examples[0].gives == {"u1": gives}


@pytest.mark.parametrize(
    ("kind", "printed", "value", "told"),
    [
        ("uint32", "3334 4366", "230.2", "As float32, order CDAB, they do: is that its --type?"),
        ("float32", "08FE", "230.2", "As int16, order ABCD, scale 0.1, they do"),
        ("float32", "4366 3334", "17.5", "Look at the manual again"),
        ("float32", "43.66", "230.2", "are no registers. Write them as hexadecimal words"),
    ],
)
def test_an_example_that_does_not_read_so_is_told_with_the_type_that_would(daq, kind, printed, value, told):
    said = daq("driver", "new", "mine.yaml", *words(METER | {"--type": kind, "--words": printed, "--value": value}))
    assert said.code == 0
    assert told in said.err
    assert daq("driver", "test", "mine.yaml").code == 1


def test_a_type_of_64_bits_begins_with_an_order_of_its_own_size(daq):
    given = {key: word for key, word in METER.items() if key not in {"--words", "--value"}}
    daq("driver", "new", "mine.yaml", *words(given | {"--type": "float64"}))
    assert "order: ABCDEFGH," in Path("mine.yaml").read_text()


def test_a_file_that_is_there_is_never_written_over(daq):
    Path("mine.yaml").write_text("mine")
    said = daq("driver", "new", "mine.yaml", *words(TEXT))
    assert said.code == 1
    assert "mine.yaml: is there already" in said.err
    assert Path("mine.yaml").read_text() == "mine"


def test_beginning_from_a_similar_one(daq):
    assert daq("driver", "new", "mine.yaml", "--from", "mettler-toledo/mt-sics", "--title", "Other balance").code == 0
    text = Path("mine.yaml").read_text()
    assert "# Begun from mettler-toledo/mt-sics" in text
    assert "\ntitle: Other balance\n" in text
    assert "# at once, at rest or not" in text
    said = daq("driver", "test", "mine.yaml")
    assert said.code == 1
    assert re.match(r"mine\.yaml:\d+:\d+: source: ", said.out)
    Path("mine.yaml").write_text(re.sub("source: TODO.*", "source: my manual", text))
    assert daq("driver", "test", "mine.yaml").code == 0


def test_a_similar_one_that_nobody_has(daq):
    said = daq("driver", "new", "mine.yaml", "--from", "mettler/mt-sics")
    assert said.code == 1
    assert "Nearest: 'mettler-toledo/mt-sics'." in said.err
    assert not Path("mine.yaml").exists()


def test_a_similar_one_that_cannot_be_read(daq, folder):
    (folder / "bad.yaml").write_text("a: [")
    said = daq("driver", "new", "mine.yaml", "--from", "bad.yaml")
    assert said.code == 1
    assert said.err.startswith("bad.yaml:1:")


def test_the_schema_is_named_as_seen_from_the_file(daq):
    daq("driver", "new", "mine.yaml", *words(TEXT))
    first = Path("mine.yaml").read_text().splitlines()[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert Path(schema).samefile(ROOT / "schemas" / "driver.json")


@pytest.mark.parametrize(
    ("reply", "names", "template", "values"),
    [
        ("W+0001523.24 g", ["w"], "W{w:nr2} g", {"w": "+0001523.24"}),
        ("+4.2,-----,-1.5", ["t"], "{t1:nr2},{t2:nr2},{t3:nr2}", {"t1": "+4.2", "t3": "-1.5"}),
        ("+1.23E-03,V", ["u"], "{u:nr3},V", {"u": "+1.23E-03"}),
        ("S S     100.00 g", ["weight"], "S S     {weight:nr2} g", {"weight": "100.00"}),
        ("N+    123.4567 g", ["weight"], "N{weight:snr} g", {"weight": "+123.4567"}),
        ("N-      0.0012 g", ["weight"], "N{weight:snr} g", {"weight": "-0.0012"}),
        ("A- 1.5,B+-2.5", ["a", "b"], "A{a:snr},B+{b:nr2}", {"a": "-1.5", "b": "-2.5"}),
        ("1.5,-2", ["a", "b"], "{a:nr2},{b:nr1}", {"a": "1.5", "b": "-2"}),
        ("1.5 2.5", ["t"], "{t1:nr2} {t2:nr2}", {"t1": "1.5", "t2": "2.5"}),
        ("CH1 25.0C {ok}", ["t"], "CH1 {t:nr2}C {{ok}}", {"t": "25.0"}),
        ("VOLT", ["function"], "{function:text}", {"function": "VOLT"}),
    ],
)
def test_a_reply_becomes_a_template(reply, names, template, values):
    found = sample(reply, names)
    assert (found.template, found.values) == (template, values)


def test_dashes_in_place_of_a_number_are_a_field_that_may_be_absent(daq):
    given = TEXT | {"--poll": "t", "--got": "+4.213,------,+295.120", "--who": "*IDN ACME,100-B,12345,1.0"}
    given |= {"--ask": r"\x1bT<ENQ>"}
    assert daq("driver", "new", "acme/mine.yaml", *words(given), *words({"--quantity": "temperature", "--unit": "Cel"}))
    written = Path("acme/mine.yaml").read_text()
    written = re.sub("quantity: TODO[^,]*", "quantity: temperature", written)
    Path("acme/mine.yaml").write_text(re.sub('unit: "TODO[^"]*"', "unit: Cel", written))
    driver, _ = load_driver("acme/mine.yaml")
    assert driver.polls["t"].reply == "{t1:nr2},{t2:nr2},{t3:nr2}"
    assert driver.polls["t"].ask == "\x1bT\x05"
    assert driver.polls["t"].channels["t2"].special == {"------": "absent"}
    assert driver.identify.reply == "*IDN {maker:text},{model:text},{serial:text},{firmware:text}"
    assert daq("driver", "test", "acme/mine.yaml").code == 0


@pytest.mark.parametrize(
    ("reply", "names", "found"),
    [
        ("24,985", 0, ["24,985"]),
        ("24,985", 1, ["24,985"]),
        ("24,985", 2, []),  # two were named
        ("T= -1,5 C; 45,1 %", 1, ["-1,5", "45,1"]),
        ("1,25E+03 Pa", 0, ["1,25E+03"]),
        ("1,2,3", 0, []),
        ("1.5,2.5", 0, []),
        ("1,234.5", 0, []),
        ("CH1,24", 0, []),
        ("24, 985", 0, []),
    ],
)
def test_a_comma_between_digits_is_a_decimal_one_where_nothing_speaks_against_it(reply, names, found):
    assert with_comma(reply, names) == found


def test_a_number_that_is_no_reading_comes_again_as_it_is(daq):
    given = [*words(TEXT | {"--got": "00:0.5000 mW", "--quantity": "power.rf", "--unit": "mW"})]
    said = daq("driver", "new", "mine.yaml", *given, "--channel", "-", "--channel", "p")
    assert (said.code, said.err) == (0, "")
    driver, _ = load_driver("mine.yaml")
    assert driver.polls["probe"].reply == "00:{p:nr2} mW"
    assert [*driver.polls["probe"].channels] == ["p"]
    assert driver.examples[0].gives == {"p": "0.5000"}


def test_numbers_without_a_name_are_told(daq):
    said = daq("driver", "new", "mine.yaml", *words(TEXT | {"--got": "00:0.5000 mW"}), "--channel", "p")
    assert "the reply has 2 numbers, 00, 0.5000, which became p1, p2." in said.err
    assert "--channel - for one that is no reading" in said.err


def test_a_decimal_comma_is_taken_for_one_and_that_is_said(daq):
    given = TEXT | {"--got": "T=  24,985 C", "--channel": "t"}
    said = daq("driver", "new", "mine.yaml", *words(given))
    assert "assumed that 24,985 is one number, with a decimal comma (link: decimal)." in said.out
    assert "--channel, twice" in said.out
    driver, _ = load_driver("mine.yaml")
    assert (driver.link.decimal, driver.polls["probe"].reply) == (",", "T=  {t:nr2} C")
    assert driver.examples[0].gives == {"t": "24.985"}


def test_two_names_make_two_numbers_of_it(daq):
    given = [*words(TEXT | {"--got": "24,985"}), "--channel", "a", "--channel", "b"]
    said = daq("driver", "new", "mine.yaml", *given, "--quantity", "temperature", "--unit", "Cel")
    assert "assumed" not in said.out
    assert load_driver("mine.yaml")[0].examples[0].gives == {"a": "24", "b": "985"}


@pytest.mark.parametrize(("answer", "decimal"), [("", ","), ("one", ","), ("two", ".")])
def test_the_author_is_asked_whether_a_comma_is_a_decimal_one(answer, decimal):
    wish = asked({"got": "24,985"}, lambda text: answer if "one number or two" in text else "")
    assert wish.decimal == decimal


def test_the_author_is_asked_for_what_was_not_said():
    script = {
        "Maker": "Acme 100",
        "Manual": "page 7",
        "Does it speak": "",
        "Lines end": "CRLF",
        "Serial": "",
        "The reply to": "ACME,100,1,1",
        "A name for the first": "probe",
        "Its question": "MEAS?",
        "Its reply": "23.415 C, 45.1 %",
        "Longest": "500 ms",
        "23.415: A name": "t",
        "23.415: What": "temprature",
        "  no such": "temperature",
        "23.415: Its": "Cel",
        "45.1: A name": "rh",
        "45.1: What": "humidity.relative",
        "45.1: Its": "%{RH}",
    }
    left = list(script.items())

    def question(text):
        begins, answer = left.pop(0)
        assert text.startswith(begins)
        return answer

    wish = asked({}, question)
    assert left == []
    assert (wish.title, wish.eol, wish.line, list(wish.channels)) == ("Acme 100", "\r\n", None, ["t", "rh"])
    assert list(wish.quantities) == ["temperature", "humidity.relative"]


def test_at_a_terminal(folder):
    near, far = os.openpty()
    given = {key: word for key, word in TEXT.items() if key != "--title"} | {"--channel": "t", "--speaks": "text"}
    command = [sys.executable, "-m", "daq", "driver", "new", "mine.yaml", *words(given)]
    try:
        os.write(near, "Nhiệt kế Acme\n".encode())
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        run = subprocess.run(
            command, stdin=far, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
        )
    finally:
        os.close(near)
        os.close(far)
    assert run.returncode == 0, run.stderr
    assert "Maker and models" in run.stdout
    assert load_driver("mine.yaml")[0].title == "Nhiệt kế Acme"

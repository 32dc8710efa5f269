"""`daq driver test` of register maps: what would be read, and would be another number than the one that was meant."""

from __future__ import annotations

import pytest

METER = """\
driver: 1
title: Acme meter, invented
source: invented for the tests
verified: manual
speaks: registers
addressing: pdu
polls:
  volts:
    channels:
      u1: {at: 0, table: input, type: int16, quantity: voltage.phase, unit: V, scale: "0.1"}
    time: {model: latest, period: 1 s}
examples:
  - {poll: volts, registers: {input 0: "08FC"}, gives: {u1: "230.0"}}
"""
FLOATS = """\
driver: 1
title: Acme meter, invented
source: invented for the tests
verified: manual
speaks: registers
addressing: pdu
verify: {at: 9, table: holding, type: float32, order: CDAB, content: "-123.45"}
polls:
  volts:
    for_each: {n: [1, 2]}
    channels:
      "u{n}": {at: 0, stride: 2, table: input, type: float32, quantity: voltage.phase, unit: V}
      i: {at: 4, table: input, type: float32, quantity: current.ac, unit: A}
    time: {model: latest, period: 1 s}
examples:
  - poll: volts
    registers: {input 0: "4366 0000 4367 0000 40A0 0000", holding 9: "E666 C2F6"}
    gives: {u1: "230", u2: "231", i: "5"}
"""


@pytest.fixture
def told(daq, folder):
    """Write a driver, changed in places; return what is said of it."""

    def tell(text, *changes):
        for right, wrong in changes:
            assert right in text
            text = text.replace(right, wrong)
        (folder / "meter.yaml").write_text(text)
        return daq("driver", "test", "meter.yaml")

    return tell


def warnings(said):
    return [line for line in said.out.splitlines() if line.endswith("(a warning)")]


def test_a_map_that_nothing_proves_and_whose_contents_are_all_values(told):
    identify, bare = warnings(told(METER))
    assert identify.startswith("meter.yaml:1:1: identify: is missing")
    assert "verify with a register of known content" in identify
    assert bare.startswith("meter.yaml:10:11: polls.volts.channels.u1: u1: whatever stands in the registers is taken")
    assert "Give invalid: [0x8000]" in bare


@pytest.mark.parametrize("said", ["invalid: []", "invalid: [0x8000]", "plausible: [0, 500]", "special: {1: absent}"])
def test_a_map_whose_author_says_what_is_no_value(told, said):
    (identify,) = warnings(told(METER, ("unit: V,", f"unit: V, {said},")))
    assert "identify: is missing" in identify


def test_a_map_as_it_should_be(told):
    assert told(FLOATS).out == "meter.yaml: 1 example: fine\n"


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (("i: {at: 4", "i: {at: 3"), "meter.yaml:13:10:", "i and u2 share register 3 (input). Check at and type"),
        (("stride: 2", "stride: 1"), "meter.yaml:12:15:", "u2 and u1 share register 1 (input). Check at, type and st"),
        ((', holding 9: "E666 C2F6"', ""), "meter.yaml:7:9: verify:", "Put holding 9: its words into the registers"),
    ],
)  # fmt: skip
def test_traps_of_register_maps(told, change, place, words):
    said = told(FLOATS, change)
    (line,) = [line for line in warnings(said) if words in line]
    assert line.startswith(place)


def test_numbers_that_name_their_table_are_no_addresses_of_the_wire(told):
    changes = [("at: 0", "at: 40001"), ("table: input", "table: holding"), ("input 0", "holding 40001")]
    (line,) = [line for line in warnings(told(METER, *changes)) if ".u1.at: " in line]
    assert "40001 goes over the wire as it is, and looks like a number that names its table" in line
    assert "addressing: plc" in line


def test_coils_say_nothing_of_whether_the_others_are_numbered_by_table(told):
    relay = '      k: {at: 17, table: coil, type: bits, kind: bits, quantity: state, unit: "1"}\n'
    changes = [("at: 0", "at: 40001"), ("table: input", "table: holding"), ("input 0", "holding 40001")]
    said = told(METER, *changes, ("    channels:\n", f"    channels:\n{relay}"))
    assert [line for line in warnings(said) if "addressing: plc" in line], said.out


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("int32", "0x8000", "0x8000 is a code of 16 bits, and u1 has 32. Write all 8 hexadecimal digits"),
        ("uint32", "65535", "65535 is a code of 16 bits, and u1 has 32"),
        ("int64", "0x80000000", "0x80000000 is a code of 32 bits, and u1 has 64"),
        ("int16", "0x8000", None),
        ("int32", "0x80000000", None),
        ("uint32", "10000", None),
    ],
)
def test_a_code_narrower_than_its_value_never_comes(told, kind, code, words):
    held = "08FC".zfill({"int64": 16, "int16": 4}.get(kind, 8))
    said = told(METER, ("type: int16", f"type: {kind}"), ("08FC", held), ("unit: V,", f"unit: V, invalid: ['{code}'],"))
    found = [line for line in warnings(said) if ".invalid: " in line]
    assert [words in line for line in found] == ([True] if words else []), said.out


def test_one_register_may_be_looked_at_in_several_ways(told):
    change = (
        "    channels:\n",
        '    channels:\n      s: {at: 0, table: input, type: uint16, quantity: state, unit: "1", kind: bits}\n',
    )
    said = told(METER, change, ("unit: V,", "unit: V, invalid: [],"), (", gives", ', text: {s: "2300"}, gives'))
    assert ["identify" in line for line in warnings(said)] == [True], said.out


@pytest.mark.parametrize(("words", "code"), [("E666 C2F6", 0), ("C2F6 E666", 1), ("E666 C2F7", 1)])
def test_an_example_proves_the_register_of_known_content(told, words, code):
    said = told(FLOATS, ("E666 C2F6", words))
    assert said.code == code
    assert ("examples.0: (volts): verify: register 9 (holding) holds" in said.out) == bool(code)


def test_an_example_proves_the_registers_that_say_who_answers(told):
    identify = "identify: {read: {model: {at: 20, table: holding, type: uint16}}, expect: {model: '112'}}\npolls:\n"
    known = [("polls:\n", identify), ("registers: {", "registers: {holding 20: '0070', ")]
    assert told(FLOATS, *known).code == 0
    said = told(FLOATS, *known, ("0070", "0071"))
    assert said.code == 1
    assert "examples.0: (volts): identify: model is '113'" in said.out

"""Checksums in text: the examples of manuals, and what a flipped bit does to a line that has one."""

import pytest

from daq.core.checksum import printed, with_checksums
from daq.core.observation import Integrity
from daq.core.template import TemplateError, parse, weaknesses
from tests.core.drivers import compiled, readings, with_poll

# ADAM-4000 Series User's Manual, appendix F, examples 1 and 2: sums of the characters before
ADAM = [("#05", "88"), (">+3.5671", "9D"), ("$07RH", "25"), ("!07+2.0500", "D8")]


@pytest.mark.parametrize(("text", "sum2"), ADAM)
def test_the_sums_of_the_manual(text, sum2):
    assert printed("sum2", text.encode()) == sum2
    assert with_checksums(text + "{:sum2}") == text + sum2


def test_other_checksums():
    # by hand: 0x41 + 0x42 = 0x83; 0x41 ^ 0x42 = 0x03; CRC-16/MODBUS of "123456789" is 0x4B37 (its check value)
    assert printed("sum4", b"AB") == "0083"
    assert printed("xor2", b"AB") == "03"
    assert printed("crc4", b"123456789") == "4B37"


def test_a_line_is_read_only_with_its_checksum():
    template = parse(">{v:nr2:7}{:sum2}", "\r")
    assert template.fields(b">+3.56719D\r") == {"v": "+3.5671"}
    assert template.fields(b">+3.56719d\r") == {"v": "+3.5671"}
    assert template.length == 10
    assert template.fields(b">+3.56719E\r") is None
    assert template.sample() == ">-12.345" + printed("sum2", b">-12.345")
    assert weaknesses(template, "\r") == []


def test_no_flipped_bit_makes_another_number():
    template, whole = parse(">{v:nr2:7}{:sum2}", "\r"), b">+3.56719D\r"
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            assert template.fields(bytes(flipped)) in (None, {"v": "+3.5671"})  # 9d for 9D is the same number


@pytest.mark.parametrize("written", ["{x:sum2}", "{:sum2:4}"])
def test_a_checksum_has_neither_name_nor_width(written):
    with pytest.raises(TemplateError, match="has neither name nor width"):
        parse(written, "\n")


def test_question_and_answer_with_checksums():
    plan = compiled(with_poll(ask="#05{:sum2}", reply=">{v:nr2:7}{:sum2}"), {"p": "1 s"})
    (poll,) = plan.polls
    assert poll.steps[0].ask == b"#0588\n"
    assert poll.integrity is Integrity.CHECKSUM
    assert readings(plan, b">+3.56719D\n")["v"].value == "3.5671"

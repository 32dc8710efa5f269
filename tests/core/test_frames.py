"""Replies that are counted, measured, or sent as bytes: spans of checksums, blocks, numbers in bytes, their ends."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.binary import KINDS, easybus_crc
from daq.core.checksum import printed, with_checksums
from daq.core.errors import ReplyError
from daq.core.observation import Integrity, ReadingStatus
from daq.core.template import TemplateError, parse, weaknesses
from tests.core.drivers import compiled, problems, readings, text_driver

T = {"t": {"quantity": "temperature", "unit": "Cel"}}


def polled(reply, *, channels=None, **link):
    poll = {
        "ask": "V?",
        "reply": reply,
        "channels": channels or {"v": {"quantity": "voltage.dc", "unit": "V"}},
        "time": {"model": "latest", "period": "1 s"},
    }
    return compiled(text_driver(link=link, polls={"p": poll}), {"p": "1 s"})


def form(plan):
    return plan.polls[0].steps[0].reply


def flips(whole):
    for place in range(len(whole)):
        for bit in range(8):
            yield whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :]


# Checksums over a part of the line ------------------------------------------------------------------------------------

# NMEA 0183: exclusive or of what stands between $ and *. This sentence and its 47 are in every description of it
# (gpsd, "NMEA Revealed", section on NMEA 0183 sentences; Wikipedia, "NMEA 0183", sample file).
GGA = "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47"


def test_what_is_counted_may_begin_behind_the_first_character_and_end_before_the_last():
    template = parse("${:from}GPGGA,{:text:44},M,46.9,M,,{:to}*{:xor2}", "\r\n")
    assert template.fields(GGA.encode() + b"\r\n") == {}
    assert template.fields(GGA[:-1].encode() + b"8\r\n") is None
    assert with_checksums("${:from}GPGGA,{:to}*{:xor2}") == "$GPGGA,*7A"  # by hand: G ^ P ^ G ^ G ^ A ^ ,


def test_each_checksum_has_a_span_of_its_own():
    assert with_checksums("A{:from}BC{:to}-{:sum2};{:sum2}") == "ABC-85;9B"  # 42 + 43; all before: 41 + .. + 3B = 19B
    template = parse("{:from}{a:nr1:2}{:to}{:sum2} {b:nr1:1}{:sum2}", "\n")
    whole = "12" + printed("sum2", b"12")
    whole += " 3" + printed("sum2", f"{whole} 3".encode())
    assert template.fields(whole.encode() + b"\n") == {"a": "12", "b": "3"}
    assert template.proven


def test_other_ways_of_counting():
    # by hand: -(0x41 + 0x42) mod 256 = 0x7D; MODBUS over Serial Line V1.02, 6.1: LRC of 01 03 13 89 00 0A is 56
    assert printed("lrc2", b"AB") == "7D"
    assert printed("lrc2", bytes.fromhex("01031389000A")) == "56"
    assert printed("xor1", b"AB") == "\x03"
    assert printed("sum1", b"AB") == "\x83"
    assert printed("lrc1", b"AB") == "\x7d"
    assert printed("crc2", b"123456789") == "\x37\x4b"  # its check value 0x4B37, low byte first


@pytest.mark.parametrize(
    ("reply", "claimed"),
    [
        ("${:from}PT,{v:nr2}{:to}*{:xor2}", Integrity.CHECKSUM),
        ("${v:nr2},{:from}PT{:to}*{:xor2}", Integrity.NONE),  # what is read is not among what is counted
        ("{:sum2}{v:nr2}", Integrity.NONE),
        ("\x02{:from}{v:nr2:8}\x03{:xor1}", Integrity.CHECKSUM),
        ("{v:float32}{:crc2}", Integrity.CHECKSUM),
        ("{v:float32}", Integrity.NONE),
        ("{v:easy32}", Integrity.CHECKSUM),
    ],
)
def test_a_checksum_proves_only_what_it_counts(reply, claimed):
    assert polled(reply).polls[0].integrity is claimed


@pytest.mark.parametrize(
    "reply", ["{:from}{v:nr2}", "{v:nr2}{:to}", "{:from}A{:from}{v:nr2:8}{:sum2}", "{:sum2}{v:nr2}{:to}"]
)
def test_a_mark_that_serves_no_checksum_is_a_mistake(reply):
    with pytest.raises(TemplateError, match="no checksum counts what"):
        parse(reply, "\n")


def test_a_mark_has_no_name():
    with pytest.raises(TemplateError, match="from has neither name nor width"):
        parse("{x:from}{v:nr2}{:sum2}", "\n")


@pytest.mark.parametrize("kind", ["xor2", "sum2", "lrc2", "sum4", "crc4", "xor1", "sum1", "lrc1", "crc2"])
def test_no_flipped_bit_within_the_span_makes_another_number(kind):
    template = parse(f"${{:from}}PT,{{v:nr2:8}}{{:to}}*{{:{kind}}}", "\r\n")
    whole = template.sample().encode("latin-1") + b"\r\n"
    right = template.fields(whole)
    assert right is not None
    assert weaknesses(template, "\r\n") == []
    for wrong in flips(whole):
        assert template.fields(wrong) in (None, right)  # a hexadecimal digit in the other case


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["xor2", "sum2", "lrc2", "crc4"]), st.decimals(-9999, 9999, places=3), st.data())
def test_of_a_damaged_line_with_a_span_nothing_else_is_read(kind, value, data):
    template = parse(f"${{:from}}PT,{{v:nr2}},C{{:to}}*{{:{kind}}}", "\r\n")
    inside = f"PT,{value},C"
    whole = f"${inside}*{printed(kind, inside.encode())}\r\n".encode()
    assert template.fields(whole) == {"v": str(value)}
    cut = data.draw(st.integers(1, len(whole) - 1))
    other = f"$PT,1.5,C*{printed(kind, b'PT,1.5,C')}\r\n".encode()
    for wrong in (whole[cut:], whole[:-cut], whole + whole, other[cut:] + whole, whole[:cut] + whole[cut + 1 :]):
        assert template.fields(wrong) in (None, {"v": str(value)}, {"v": "1.5"} if wrong == other else None)


# A block check behind ETX ---------------------------------------------------------------------------------------------

STX_ETX = "\x02{:from}{v:nr2}\x03{:xor1}"
"""ISO 1745: the block check counts from behind STX, with ETX."""


def test_a_reply_may_end_with_a_byte_behind_etx():
    cut = form(polled(STX_ETX, eol="")).cut
    for check in (b"\x00", b"\x03", b"\n", b"\xff"):  # any byte may be the block check
        assert cut(b"\x02+1.5\x03" + check + b"\x02") == 7
    assert [cut(b"\x02+1.5\x03z"[:some]) for some in range(8)] == [0, 0, 0, 0, 0, 0, 0, 7]
    assert cut.beyond(b"\x02+1.5\x03z", 6) == 7  # where ETX had come before its check


def test_what_stands_behind_etx_is_the_check():
    plan = polled(STX_ETX, eol="")
    inside = b"+12.5\x03"
    whole = b"\x02" + inside + printed("xor1", inside).encode("latin-1")
    assert readings(plan, whole)["v"].value == "12.5"
    for wrong in (*flips(whole), whole[1:], whole[:-1], whole + whole, whole + b"\n"):
        with pytest.raises(ReplyError):
            readings(plan, wrong)


@pytest.mark.parametrize(
    ("reply", "eol"),
    [
        ("{v:nr2},{:xor1}", ""),  # nothing tells where the number ends
        ("{v:nr2}E{:xor1}", "\n"),  # the check may look like the end of the line
        ("\x02{:uint8}{v:nr2}\x03{:xor1}", ""),  # so may a byte before
        ("\x03{v:nr2}\x03{:xor1}", ""),
        ("{v:nr2}\x85{:xor1}", ""),  # a text may hold it
    ],
)
def test_where_the_end_cannot_be_told_the_driver_is_refused(reply, eol):
    found = problems(text_driver(link={"eol": eol}, polls={"p": {**POLL, "reply": reply}}), {"p": "1 s"})
    assert any("all shapes of the reply must have one fixed length" in message for _, _, message in found), found


POLL = {
    "ask": "V?",
    "channels": {"v": {"quantity": "voltage.dc", "unit": "V"}},
    "time": {"model": "latest", "period": "1 s"},
}


def test_what_has_no_ending_is_not_asked_through_visa():
    driver = text_driver(link={"eol": ""}, polls={"p": {**POLL, "reply": "{v:float32}"}})
    ((file, path, message),) = problems(driver, {"p": "1 s"}, at={"visa": "GPIB0::5::INSTR"})
    assert (file, path) == ("bench", "instruments.box.at.visa")
    assert "Use tcp, serial or wire" in message


# Definite-length blocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (b"#15+1.50\n", "1.50"),
        (b"#205+1.50\n", "1.50"),  # more digits than needed are allowed (IEEE 488.2-1992, 8.7.9)
        (b"#215+1.50000000E+001\n", None),  # one character more than it says
        (b"#14+1.50\n", None),
        (b"#16+1.50\n", None),
        (b"#05+1.50\n", None),  # an indefinite length
        (b"#1+1.50\n", None),
        (b"+1.50\n", None),
        (b"#15+1.50#15+1.50\n", None),
    ],
)
def test_a_block_is_as_long_as_its_head_says(reply, value):
    fields = parse("{:block}{v:nr}", "\n").fields(reply)
    assert fields == (None if value is None else {"v": "+" + value})


def test_a_block_may_end_before_the_reply():
    template = parse("{:block}{a,b:nr2}{:to},{c:nr1}", "\n")
    assert template.fields(b"#171.5,2.5,3\n") == {"a": "1.5", "b": "2.5", "c": "3"}
    assert template.fields(b"#191.5,2.5,3\n") is None
    assert template.sample().startswith("#2")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.decimals(-999, 999, places=4), min_size=3, max_size=3), st.data())
def test_of_a_block_that_lost_or_gained_characters_nothing_is_read(values, data):
    template, inside = parse("{:block}{a,b,c:nr2}", "\n"), ",".join(map(str, values))
    whole = f"#{len(str(len(inside)))}{len(inside)}{inside}".encode()
    assert template.fields(whole + b"\n") == dict(zip("abc", map(str, values), strict=True))
    at = data.draw(st.integers(2 + int(whole[1:2]), len(whole) - 1))
    for wrong in (whole[:at] + whole[at + 1 :], whole[:at] + b"1" + whole[at:], whole[at:], whole[:at], whole + whole):
        assert template.fields(wrong + b"\n") is None


# Numbers in bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sent", "text"),
    [
        ("{v:uint8}", b"\xff", "255"),
        ("{v:int16}", b"\xff\xfe", "-2"),
        ("{v:uint16:BA}", b"\x01\x02", "513"),
        ("{v:int32}", b"\xff\xff\xfe\x0c", "-500"),
        ("{v:uint32:DCBA}", b"\x0a\x00\x00\x00", "10"),
        ("{v:float32}", b"\x41\x20\x00\x00", "10"),
        ("{v:float32:DCBA}", struct.pack("<f", 0.1), "0.1"),
        ("{v:float32:CDAB}", b"\x00\x00\x41\x20", "10"),
        ("{v:float64}", struct.pack(">d", -1.5e-7), "-1.5E-7"),
        ("{v:float32}", struct.pack(">f", math.nan), "NAN"),
        ("{v:float32}", struct.pack(">f", -math.inf), "-INF"),
    ],
)
def test_numbers_are_read_from_their_bytes(written, sent, text):
    assert float(parse(written, "").fields(sent)["v"]) == pytest.approx(float(text), abs=0, nan_ok=True)
    assert parse(written, "").fields(sent)["v"] in (text, text + ".0")


@given(st.sampled_from([("float32", ">f", 32), ("float64", ">d", 64)]), st.data())
def test_what_a_stand_in_writes_is_read_as_it_was(kind, data):
    name, code, width = kind
    number = data.draw(st.floats(width=width, allow_nan=False, allow_infinity=False))
    text = KINDS[name].read(struct.pack(code, number))
    assert struct.unpack(code, KINDS[name].write(text))[0] == number


def test_a_reply_of_bytes_ends_by_its_length_whatever_it_holds():
    channels = {name: {"quantity": "voltage.dc", "unit": "V"} for name in ("a", "b")}
    plan = polled("{:block}{a,b:float32}", channels=channels)
    whole = b"#18" + struct.pack(">f", 2.3693558e-38)[:3] + b"\n" + b"\n\n\n\n\n"
    assert form(plan).cut(whole) == len(whole) == 12
    assert form(plan).cut(whole[:-1]) == 0
    assert form(plan).binary
    assert readings(plan, whole)["b"].value == "6.6463464E-33"  # 0A0A0A0A, by struct
    for wrong in (b"#19" + whole[3:], b"#17" + whole[3:], whole[:-1], whole + b"\n", whole[:-1] + b"\r"):
        with pytest.raises(ReplyError):
            readings(plan, wrong)


def test_what_is_no_number_is_a_word_that_a_driver_may_list():
    driver = text_driver(special={"NAN": "invalid"}, link={"eol": ""}, polls={"p": {**POLL, "reply": "{v:float32}"}})
    plan = compiled(driver, {"p": "1 s"})
    none = readings(plan, struct.pack(">f", math.nan))["v"]
    assert (none.value, none.status, none.text) == (None, ReadingStatus.INVALID, "NAN")
    with pytest.raises(ReplyError):
        readings(plan, struct.pack(">f", math.inf))


@pytest.mark.parametrize("written", ["{v:float32:AB}", "{v:uint8:BA}", "{v:easy32:DCBA}", "{v:float32:8}"])
def test_an_order_is_one_of_its_bytes(written):
    with pytest.raises(TemplateError, match="is no order of the bytes"):
        parse(written, "")


def test_a_reply_without_a_number_is_shown_in_hexadecimal_digits():
    plan = compiled(
        text_driver(
            link={"eol": ""},
            polls={
                "p": {
                    **{key: POLL[key] for key in ("ask", "channels", "time")},
                    "replies": [{"match": "\x01{v:float32}"}, {"match": "\x02{:float32}", "status": "overrange"}],
                }
            },
        ),
        {"p": "1 s"},
    )
    over = readings(plan, b"\x02\x00\x00\x00\x01")["v"]
    assert (over.status, over.text) == (ReadingStatus.OVERRANGE, "02 00 00 00 01")


# EASYBus --------------------------------------------------------------------------------------------------------------

# exchanges recorded in MSLNZ/msl-equipment tests/resources/test_greisinger_gmh3000.py, behind their heads
EASY32 = [(b"q\x00H\xf7\x80\t", "21.76"), (b"\x72\xff\x84\x00\xfc\x05", "-0.04"), (b"p\xf6\x91\xdf\xed\x0b", "E16365")]


@pytest.mark.parametrize(("sent", "text"), EASY32)
def test_measured_values_of_an_easybus(sent, text):
    assert KINDS["easy32"].read(sent) == text
    assert KINDS["easy32"].write(text) == sent


def test_no_flipped_bit_passes_the_crc_of_an_easybus():
    for sent, _ in EASY32:
        for wrong in (*flips(sent), sent[3:] + sent[:3] if sent[0] != sent[3] else sent[1:] + sent[:1]):
            read = KINDS["easy32"].read(wrong)
            assert read is None or wrong == sent[3:] + sent[:3]  # both words are whole, in the other order


def test_the_crc_of_an_easybus():
    assert [easybus_crc(0xFE, low) for low in (0x05, 0x0D, 0xF5)] == [0x26, 0x1E, 0xF8]  # heads, as recorded


@given(st.integers(-(10**7), 10**7), st.integers(0, 3))
def test_a_value_keeps_its_decimals_on_an_easybus(number, decimals):
    text = f"{number / 10**decimals:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    assert KINDS["easy32"].read(KINDS["easy32"].write(text)) == text


@given(st.integers(0, 0xFFFFFFFF))
def test_an_identity_is_eight_digits(number):
    assert KINDS["easyid"].read(KINDS["easyid"].write(f"{number:08X}")) == f"{number:08X}"
    word = f"{number & 0xFFFF}"
    assert KINDS["easy16"].read(KINDS["easy16"].write(word)) == word

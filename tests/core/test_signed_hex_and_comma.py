"""Two's complement in hexadecimal digits, and numbers with a decimal comma: the whole reply is right, or nothing is."""

from decimal import Decimal
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.errors import ReplyError
from daq.core.observation import ReadingStatus
from daq.core.template import TemplateError, parse
from tests.core.drivers import compiled, problems, readings, text_driver

STAGE = {
    "ask": "RP",
    "reply": "{x:hexs:8},{y:hexs:4}",
    "channels": {
        "x": {"quantity": "length", "unit": "um", "scale": "0.1", "special": {"-2147483648": "invalid"}},
        "y": {"quantity": "count", "unit": "1"},
    },
    "time": {"model": "latest", "period": "1 s"},
}
BATH = {
    "ask": "IN_PV_00",
    "reply": "T={t:nr2} °C; {p:nr}",
    "channels": {
        "t": {"quantity": "temperature", "unit": "Cel", "special": {"9999.9": "overrange"}},
        "p": {"quantity": "ratio", "unit": "%", "scale": "0.5"},
    },
    "time": {"model": "latest", "period": "1 s"},
}


@cache
def stage():
    return compiled(text_driver(polls={"p": STAGE}), {"p": "1 s"})


def bath(**link):
    return text_driver(link={"eol": "\r\n", "decimal": ",", **link}, polls={"p": BATH})


BATHS = compiled(bath(), {"p": "1 s"})


# Two's complement -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "x"),
    [
        ("FFFFFE0C", "-50.0"),
        ("fffffe0c", "-50.0"),
        ("000001F4", "50.0"),
        ("7FFFFFFF", "214748364.7"),
        ("FFFFFFFF", "-0.1"),
    ],
)
def test_the_first_of_the_digits_sent_decides_the_sign(sent, x):
    found = readings(stage(), f"{sent},0000\n".encode())["x"]
    assert (found.value, found.text) == (x, sent)


def test_as_many_digits_as_were_sent_count():
    assert [readings(stage(), b"00000000," + y + b"\n")["y"].value for y in (b"FE0C", b"7FFF", b"8000")] == [
        "-500",
        "32767",
        "-32768",
    ]


def test_a_special_number_is_compared_as_the_number_it_means():
    assert readings(stage(), b"80000000,0000\n")["x"].status is ReadingStatus.INVALID


@pytest.mark.parametrize("template", ["{x:hexs}", "{x:hexs:17}", "{x,y:hexs}"])
def test_without_a_width_nobody_knows_the_sign(template):
    with pytest.raises(TemplateError, match="the first of them decides the sign"):
        parse(template, "\n")


@settings(deadline=None)  # the computer may be busy
@given(
    x=st.integers(-(2**31) + 1, 2**31 - 1),
    y=st.integers(-(2**15), 2**15 - 1),
    cut=st.integers(1, 13),
    junk=st.binary(max_size=4),
)
def test_a_stage_is_read_exactly_or_not_at_all(x, y, cut, junk):
    whole = f"{x & 0xFFFFFFFF:08X},{y & 0xFFFF:04X}".encode()
    found = readings(stage(), whole + b"\n")
    assert (Decimal(found["x"].value) * 10, Decimal(found["y"].value)) == (x, y)
    for wrong in (
        whole[cut:],
        whole[:-cut],
        whole + whole,
        whole + junk + b" ",
        junk + b" " + whole,
        b"OK",
        b" " + whole[1:],
    ):
        with pytest.raises(ReplyError):
            readings(stage(), wrong + b"\n")


# Decimal comma --------------------------------------------------------------------------------------------------------


def test_a_decimal_comma_becomes_a_number_of_json_and_the_text_keeps_it():
    found = readings(compiled(bath(), {"p": "1 s"}), "T=24,985 °C; 3\r\n".encode("latin-1"))
    assert (found["t"].value, found["t"].text) == ("24.985", "24,985")
    assert (found["p"].value, found["p"].text) == ("1.5", "3")


def test_special_numbers_are_written_with_a_point_whatever_is_printed():
    found = readings(compiled(bath(), {"p": "1 s"}), "T=9999,9 °C; 3,5\r\n".encode("latin-1"))
    assert found["t"].status is ReadingStatus.OVERRANGE


@pytest.mark.parametrize("sent", ["24.985", "1.024,5", "24,98,5", "24 985", "24,", ","])
def test_what_is_no_number_with_one_comma_is_refused(sent):
    reply = f"T={sent} °C; 3\r\n".encode("latin-1")
    if sent == "24,":  # as 24. is
        assert readings(compiled(bath(), {"p": "1 s"}), reply)["t"].value == "24.0"
        return
    with pytest.raises(ReplyError):
        readings(compiled(bath(), {"p": "1 s"}), reply)


@pytest.mark.parametrize(
    "template", ["{a:nr2},{b:nr2}", "{a,b:nr}", "{a:nr1},{b:nr2}", "{a:nr3},OK", "{a:snr}, {b:nr2}"]
)
def test_a_comma_that_separates_is_never_taken_for_one_of_a_number(template):
    with pytest.raises(TemplateError, match="separates or is a decimal comma"):
        parse(template, "\n", None, ",")
    parse(template, "\n")  # with a point nothing is in doubt


@pytest.mark.parametrize(
    "template", ["{a,b:nr1}", "{a:nr2:8},{b:nr2:8}", "{s:word},{a:nr2}", "{a,b:nr2*;}", "{a:quoted},{b:nr2}"]
)
def test_where_no_comma_is_in_doubt_a_template_stands(template):
    parsed = parse(template, "\n", None, ",")
    assert parsed.fields((parsed.sample() + "\n").encode()) is not None


def test_a_setting_read_back_with_a_comma_agrees():
    settings = {"sp": {"unit": "Cel", "default": 24.5, "set": "OUT {sp}", "get": "SP?", "reply": "{value:nr2}"}}
    driver = bath().model_copy(update={"settings": text_driver(settings=settings).settings})
    written = driver.model_dump(exclude_unset=True) | {"setup": ["sp"]}
    (readback,) = compiled(type(driver).model_validate(written), {"p": "1 s"}).readbacks
    assert readback.agrees(readback.step.reply.match(b"24,50\r\n"))
    assert not readback.agrees(readback.step.reply.match(b"24,60\r\n"))


def test_a_driver_is_told_where_its_comma_is_in_doubt():
    poll = BATH | {"reply": "{t:nr2},{p:nr2}"}
    ((_, path, message), *_) = problems(text_driver(link={"decimal": ","}, polls={"p": poll}), {"p": "1 s"})
    assert path == "polls.p.reply"
    assert "Give the numbers beside it a width" in message


@settings(deadline=None)  # the computer may be busy
@given(
    whole=st.integers(0, 9999),
    decimals=st.integers(0, 999),
    power=st.integers(0, 100),
    cut=st.integers(1, 20),
    junk=st.binary(min_size=1, max_size=4),
)
def test_a_bath_is_read_exactly_or_not_at_all(whole, decimals, power, cut, junk):
    plan = BATHS
    reply = f"T={whole},{decimals:03d} °C; {power:03d}".encode("latin-1")
    found = readings(plan, reply + b"\r\n")["t"]
    if found.status is ReadingStatus.OK:
        assert Decimal(found.value) == Decimal(f"{whole}.{decimals:03d}")
    for wrong in (
        reply[cut:],
        reply[:-cut] if cut > 3 else reply[:-3],
        reply + reply,
        reply.replace(b",", b"."),
        b"\x01" + junk + reply,
    ):
        with pytest.raises(ReplyError):
            readings(plan, wrong + b"\r\n")

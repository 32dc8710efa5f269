from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.errors import UnreadableReply
from daq.core.number import json_number

digits = st.text("0123456789", min_size=1, max_size=18)
mantissas = st.one_of(
    digits,
    st.builds("{}.{}".format, digits, digits),
    st.builds("{}.".format, digits),
    st.builds(".{}".format, digits),
)
exponents = st.one_of(
    st.just(""),
    st.builds("{}{}{:02d}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 200)),
)
decimals = st.builds("{}{}{}".format, st.sampled_from(["", "+", "-"]), mantissas, exponents)


@pytest.mark.parametrize(
    ("sent", "printed"),
    [
        ("+9.99998713E+00", "9.99998713"),
        ("10.00000", "10.00000"),
        ("+1E0", "1"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("5.", "5.0"),
        ("007", "7"),
        ("-0", "-0"),
        ("0.000", "0.000"),
        ("1.20E-03", "1.20E-3"),
        ("9.9e+37", "9.9E37"),
        ("0E999", "0E999"),
        ("9007199254740993", "9007199254740993"),
    ],
)
def test_digits_go_through_as_they_are(sent, printed):
    assert json_number(sent) == printed


@given(st.from_regex(r"(0|[1-9][0-9]{0,310})(\.[0-9]{1,320})?", fullmatch=True))
def test_what_is_json_already_is_written_as_any_other_decimal(sent):
    assert _written(sent) == _written(f"+{sent}")
    assert _written(f"-{sent}") == _written(f"-0{sent}")


@given(st.from_regex(r"[+-]?(0|[1-9][0-9]{0,180})(\.[0-9]{1,180})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_what_instruments_print_is_written_as_any_other_decimal(sent):
    sign = sent[:1] if sent[0] in "+-" else ""
    assert _written(sent) == _written(f"{sign}0{sent.removeprefix(sign)}")


def _written(sent):
    try:
        return json_number(sent)
    except UnreadableReply:
        return None


@pytest.mark.parametrize(
    "sent",
    [
        *[
            "",
            " ",
            "nan",
            "NaN",
            "inf",
            "-inf",
            "Infinity",
            "1_000",
            " 1",
            "1 ",
            "1\n",
            "+",
            "-",
            ".",
            "E5",
            "1E",
            "1E+",
        ],
        *["++1", "1.2.3", "0x10", "1,5", "1e5.5", "١", "１", "1E999", "-1E999", "1E-999", "9" * 401],
    ],
)
def test_what_is_no_decimal_is_not_read(sent):
    with pytest.raises(UnreadableReply):
        json_number(sent)


@given(decimals)
def test_the_number_is_the_same_and_json_reads_it(sent):
    printed = json_number(sent)
    assert Decimal(printed) == Decimal(sent)
    assert float(orjson.loads(printed)) == float(sent)
    assert json_number(printed) == printed


@given(st.text(max_size=12))
def test_whatever_is_taken_python_and_json_agree_on(sent):
    try:
        printed = json_number(sent)
    except UnreadableReply:
        return
    assert Decimal(printed) == Decimal(sent)
    assert isinstance(orjson.loads(printed), int | float)

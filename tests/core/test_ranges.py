"""Counts that are spread over a range which another register tells: what they mean, and when they mean nothing."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from daq.core.observation import ReadingStatus
from tests.core.drivers import AT, channel, compiled, problems, register_driver

RANGES = {"0x0143": [-10, 10], "0x0180": ["4", "20"], "0x0105": [0, 0.15]}
FROM = {"at": 201, "table": "holding", "type": "uint16", "ranges": RANGES}


def polled(kind="uint16", **more):
    return compiled(register_driver({"v": channel(1, kind=kind, range_from={**FROM, **more})}), {"p": "1 s"}, at=AT)


def read(plan, counts, code, behind=None):
    """Answer the counts between two reads of the range's code; `behind`: the second one, where it differs."""
    steps = plan.polls[0].steps
    assert [(step.address, step.count) for step in steps] == [(200, 1), (0, len(counts) // 2), (200, 1)]
    codes = [each.to_bytes(2, "big") for each in (code, code if behind is None else behind)]
    return plan.polls[0].readings([codes[0], counts, codes[1]])["v"]


def test_a_range_that_was_changed_meanwhile_gives_no_value():
    assert read(polled(), b"\x33\x33", 0x0143).value == "-6"
    changed = read(polled(), b"\x33\x33", 0x0143, behind=0x0180)
    assert (changed.value, changed.status) == (None, ReadingStatus.INVALID)


@pytest.mark.parametrize(
    ("counts", "code", "value"),
    [
        (0, 0x0143, "-10"),
        (65535, 0x0143, "10"),
        (13107, 0x0143, "-6"),  # a fifth
        (13107, 0x0180, "7.2"),
        (26214, 0x0105, "0.06"),
    ],
)
def test_counts_lie_between_the_ends_of_the_range(counts, code, value):
    reading = read(polled(), counts.to_bytes(2, "big"), code)
    assert (reading.value, reading.status) == (value, ReadingStatus.OK)


@given(st.integers(0, 65535), st.sampled_from([(0x0143, -10, 20), (0x0180, 4, 16)]))
def test_what_does_not_end_is_right_to_twenty_digits(counts, spread):
    code, low, span = spread
    exact = low + Fraction(counts * span, 65535)
    value = Fraction(Decimal(read(polled(), counts.to_bytes(2, "big"), code).value))
    assert abs(value - exact) <= Fraction(span, 10**19)


def test_a_double_register_counts_to_its_own_end():
    reading = read(polled("uint32"), (0xFFFFFFFF).to_bytes(4, "big"), 0x0143)
    assert reading.value == "10"


@given(st.integers(0, 65535).filter(lambda code: code not in (0x0143, 0x0180, 0x0105)))
def test_a_code_that_is_not_listed_gives_no_value(code):
    reading = read(polled(), b"\x33\x33", code)
    assert (reading.value, reading.status) == (None, ReadingStatus.INVALID)


def test_each_repetition_has_the_range_of_its_own_or_one_for_all():
    def spread(stride):
        channels = {"v{n}": channel(1, stride=1, range_from={**FROM, "stride": stride})}
        poll = {"for_each": {"n": [1, 2]}, "channels": channels, "time": {"model": "latest", "period": "1 s"}}
        return compiled(register_driver({}, polls={"p": poll}), {"p": "1 s"}, at=AT)

    own = spread(1).polls[0].readings([b"\x01\x43\x01\x80", b"\x33\x33\x33\x33", b"\x01\x43\x01\x80"])
    assert [each.value for each in own.values()] == ["-6", "7.2"]
    shared = spread(0).polls[0].readings([b"\x01\x80", b"\x33\x33\x33\x33", b"\x01\x80"])
    assert [each.value for each in shared.values()] == ["7.2", "7.2"]


def test_counts_are_never_negative():
    driver = register_driver({"v": channel(1, kind="int16", range_from=FROM)})
    assert any("counts are never negative" in message for _, _, message in problems(driver, {"p": "1 s"}, at=AT))


@pytest.mark.parametrize("ranges", [{}, {"x": [0, 1]}, {"1": [1, 1]}, {"1": ["a", 1]}, {"1": [0, "nan"]}, {"1": [0]}])
def test_a_range_has_a_code_and_two_ends(ranges):
    with pytest.raises(ValidationError):
        register_driver({"v": channel(1, range_from={**FROM, "ranges": ranges})})

"""The notation of serial settings."""

from __future__ import annotations

from fractions import Fraction

import pytest

from daq.core.line_settings import LineSettings, line_settings


def test_the_usual():
    assert line_settings("9600/8n1") == LineSettings(9600, 8, "n", Fraction(1))


def test_everything_at_once():
    assert line_settings("1200/7E1.5/rts=0/dtr=1/xonxoff=1") == LineSettings(
        1200, 7, "e", Fraction(3, 2), rts=False, dtr=True, xonxoff=True
    )


def test_hardware_handshake():
    assert line_settings("19200/8o2/rtscts=1").rtscts


@pytest.mark.parametrize(
    ("text", "byte_ns"),
    [
        ("9600/8n1", 1_041_667),  # 10 bits / 9600 = 1.0416667 ms
        ("9600/8e1", 1_145_834),  # 11 bits / 9600 = 1.1458333 ms
        ("1200/7n1.5", 7_916_667),  # 9.5 bits / 1200 = 7.9166667 ms
        ("1000000/8n1", 10_000),
    ],
)
def test_time_of_a_byte(text, byte_ns):
    assert line_settings(text).byte_ns == byte_ns


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' names no frame"),
        ("9600", "names no frame.*9600/8n1"),
        ("9600/8n3", "'8n3' is no frame"),
        ("9600/8n1.", "is no frame"),
        ("8n1/9600", "'9600' is no frame"),
        ("9600,8n1", "names no frame"),
        ("fast/8n1", "'fast' is no baud rate"),
        ("-1/8n1", "is no baud rate"),
        ("٩٦٠٠/8n1", "is no baud rate"),
        ("49/8n1", "outside 50 to 4000000"),
        ("99999999999999999999999/8n1", "outside 50 to 4000000"),
        ("9600/8n1/xonoff=1", "no setting 'xonoff'. Nearest: 'xonxoff'"),
        ("9600/8n1/", "no setting ''. Settings are dtr, rts, rtscts, xonxoff"),
        ("9600/8n1/rts", "Write rts=0 or rts=1"),
        ("9600/8n1/rts=on", "Write rts=0 or rts=1"),
        ("9600/8n1/rts=0/rts=1", "rts stands there twice"),
        ("9600/8n1/rtscts=1/rts=0", "Leave out rts=0 or rtscts=1"),
    ],
)
def test_what_is_wrong_and_how_to_mend_it(text, words):
    with pytest.raises(ValueError, match=words):
        line_settings(text)

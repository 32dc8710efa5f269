"""A refused reply says what alone is wrong with it, and stays refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.errors import ForeignReply, UnreadableReply
from daq.core.near_miss import near_miss
from daq.core.template import parse
from tests.core.drivers import compiled, readings, text_driver, with_poll

CODES = {"s": ("S", "D"), "w": ("-----",)}


@pytest.mark.parametrize(
    ("template", "reply", "said"),
    [
        ("{s:enum} {v:nr2}", b"X 1.5\n", "s is 'X', which is none of its codes: 'S', 'D'"),
        ("{s:enum} {v:nr2}", b"S S.OVER\n", "v is 'S.OVER', which is no number (nr2). Where the manual says"),
        ("{s:enum} {w:nr2:8}", b"S   ++++++\n", "which is no number (nr2), nor one of '-----'"),
        ("{s:enum} {v:nr2}", b"S 15\n", "v is '15', which is not of type nr2"),
        ("{v:nr2} {:sum2}", b"1.5 FF\n", "its checksum is 'FF', and the characters before it make 'B4' (sum2)"),
        ("{v:hex},{b:bits}", b"1F,x\n", "b is 'x', which is no number (bits)"),
    ],
)
def test_what_alone_is_wrong_is_named(template, reply, said):
    assert said in near_miss(parse(template, "\n", CODES), reply)


@pytest.mark.parametrize("reply", [b"X y\n", b"S 1.5", b"S 1.5 2\n", b"\n", b"S 1.5\r\n"])
def test_where_more_is_wrong_nothing_is_said(reply):
    assert near_miss(parse("{s:enum} {v:nr2}", "\n", CODES), reply) is None


def test_it_stands_in_the_message_of_the_observation():
    channels = {"k": {"quantity": "state", "unit": "1", "kind": "enum", "enum": {"0": "off", "1": "on"}}}
    plan = compiled(with_poll(ask="OUT?", reply="{k:enum}", channels=channels), {"p": "1 s"})
    with pytest.raises(UnreadableReply, match="k is '7', which is none of its codes: '0', '1'"):
        readings(plan, b"7\n")


def test_how_far_a_reply_fits_stands_in_the_message():
    channels = {"v": {"quantity": "voltage.dc", "unit": "V"}}
    plan = compiled(with_poll(ask="V?", reply="{:text} V {v:nr2}", channels=channels), {"p": "1 s"})
    with pytest.raises(UnreadableReply, match="; it fits as far as 'LAB-BATH', where ' V ' belongs"):
        readings(plan, b"LAB-BATH 25 V 2.4\n")
    with pytest.raises(UnreadableReply, match=r"and then b'\\n'$"):
        readings(plan, b" ?\n")


def test_the_answer_to_another_question_is_told_beside_what_was_expected():
    channels = {"v": {"quantity": "voltage.dc", "unit": "V"}}
    polls = {
        name: {"ask": name, "reply": reply, "channels": channels, "time": {"model": "latest", "period": "1 s"}}
        for name, reply in (("a", "A {v:nr2}"), ("b", "B {v:nr2}"))
    }
    plan = compiled(text_driver(polls=polls), {"a": "1 s", "b": "1 s"})
    with pytest.raises(ForeignReply, match=r"which is how 'b' is answered; its driver expects 'A \{v:nr2\}'"):
        readings(plan, b"B 1.5\n")


@settings(deadline=None)  # the computer may be busy
@given(reply=st.text(st.characters(max_codepoint=255), max_size=30))
def test_any_reply_may_be_asked_about(reply):
    for template in ("{s:enum} {v:nr2}", "{w:nr2:8},{v:snr}", "{v:nr2} {:crc4}", "{s:enum},{w:nr:6}"):
        parsed, data = parse(template, "\n", CODES), (reply + "\n").encode("latin-1")
        assert parsed.fields(data) is None or near_miss(parsed, data) is None

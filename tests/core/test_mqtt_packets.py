"""MQTT packets as the standards draw them, and bytes as a network delivers them."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.mqtt import Acknowledged, Ended, Granted, Malformed, Packets, Pong, Will, connect, publish

WILL = Will("s/status", b"off")


def taken(*chunks):
    packets = Packets()
    return [packet for chunk in chunks for packet in packets.take(chunk)]


def test_connect_is_written_as_version_5_has_it():
    # MQTT 5.0, 3.1: clean start, will retained at QoS 1, user name and password; empty properties, also of the will.
    body = b"\x00\x04MQTT\x05\xee\x00\x0f\x00" + b"\x00\x02id" + b"\x00" + b"\x00\x08s/status" + b"\x00\x03off"
    body += b"\x00\x01u" + b"\x00\x01p"
    assert connect("5", "id", 15, WILL, "u", "p") == b"\x10" + bytes((len(body),)) + body


def test_connect_is_written_as_version_3_1_1_has_it():
    body = b"\x00\x04MQTT\x04\x2e\x00\x0f" + b"\x00\x02id" + b"\x00\x08s/status" + b"\x00\x03off"
    assert connect("3.1.1", "id", 15, WILL, None, None) == b"\x10" + bytes((len(body),)) + body


def test_a_message_is_written_with_its_number_at_qos_1_only():
    assert publish("5", "a/b", b"xy", 10, qos=1, retain=False) == b"\x32\x0a\x00\x03a/b\x00\x0a\x00xy"
    assert publish("3.1.1", "a/b", b"xy", 10, qos=1, retain=True) == b"\x33\x09\x00\x03a/b\x00\x0axy"
    assert publish("5", "a/b", b"xy", 10, qos=0, retain=False) == b"\x30\x08\x00\x03a/b\x00xy"


@pytest.mark.parametrize(
    ("payload", "length"), [(121, b"\x7f"), (122, b"\x80\x01"), (16_377, b"\xff\x7f"), (16_378, b"\x80\x80\x01")]
)
def test_lengths_are_written_in_sevens_of_bits(payload, length):
    # MQTT 5.0, table 1-1: 127, 128, 16 383 and 16 384 are the edges.
    assert publish("5", "a", bytes(payload), 1, qos=1, retain=False)[1 : 1 + len(length)] == length


def test_a_topic_is_written_in_utf_8():
    assert "đo".encode() in publish("5", "đo", b"", 1, qos=1, retain=False)


def test_acknowledgements_are_read_with_and_without_a_reason():
    assert taken(b"\x40\x02\x01\x02") == [Acknowledged(0x0102, 0)]
    assert taken(b"\x40\x03\x00\x01\x87") == [Acknowledged(1, 0x87)]
    assert taken(b"\x40\x04\x00\x01\x10\x00") == [Acknowledged(1, 0x10)]


def test_what_the_broker_can_take_is_read():
    properties = b"\x21\x00\x14" + b"\x27\x00\x01\x00\x00" + b"\x24\x01" + b"\x25\x00" + b"\x13\x00\x3c"
    properties += b"\x12\x00\x02id" + b"\x26\x00\x01a\x00\x01b" + b"\x22\x00\x0a"
    body = b"\x00\x00" + bytes((len(properties),)) + properties
    expected = Granted(
        0, receive_maximum=20, maximum_packet=65536, maximum_qos=1, retain_available=False, keepalive_s=60
    )
    assert taken(b"\x20" + bytes((len(body),)) + body) == [expected]


def test_what_is_not_said_is_none():
    assert taken(b"\x20\x03\x00\x00\x00") == [Granted(0)]
    assert taken(b"\x20\x02\x00\x00") == [Granted(0)]


@pytest.mark.parametrize(("code", "reason"), [(1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87)])
def test_a_refusal_of_an_old_broker_is_read_as_one_of_a_new_one(code, reason):
    assert taken(bytes((0x20, 2, 0, code))) == [Granted(reason)]


def test_pings_and_ends_are_read():
    assert taken(b"\xd0\x00\xe0\x00\xe0\x02\x8e\x00") == [Pong(), Ended(0), Ended(0x8E)]


@given(st.lists(st.integers(0, 60), max_size=12))
def test_packets_are_cut_alike_however_they_come(cuts):
    said = b"\x20\x03\x00\x00\x00" + b"\x40\x02\x00\x01" + b"\xd0\x00" + b"\x40\x04\x00\x02\x10\x00" + b"\xe0\x01\x8e"
    edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    chunks = [said[begin:end] for begin, end in itertools.pairwise(edges)]
    assert taken(*chunks) == [Granted(0), Acknowledged(1, 0), Pong(), Acknowledged(2, 0x10), Ended(0x8E)]


@pytest.mark.parametrize(
    "bad",
    [
        b"\x30\x03\x00\x01a",  # PUBLISH to one that never subscribed
        b"\x40\x01\x00",  # PUBACK without its number
        b"\x20\x01\x00",
        b"\x40\xff\xff\xff\xff",  # five bytes of length
        b"\x40\x80\x80\x80\x7f",  # 256 MiB
        b"\x20\x05\x00\x00\x09\x21\x00",  # properties longer than the packet
        b"\x20\x04\x00\x00\x01\x21",  # a property without its content
        b"\x20\x05\x00\x00\x02\x01\x00",  # a property that a CONNACK does not have
    ],
)
def test_what_is_no_mqtt_is_refused(bad):
    with pytest.raises(Malformed):
        taken(bad)


@given(st.binary(max_size=64))
def test_no_bytes_do_worse_than_be_refused(noise):
    packets = Packets()
    with contextlib.suppress(Malformed):
        list(packets.take(noise))

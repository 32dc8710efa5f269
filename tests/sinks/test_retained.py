"""What the broker is to hold, and what is only delivered."""

from __future__ import annotations

from daq.sinks.retained import Retained

TOPIC = "bench/v1/lab/b1/dmm1/info"


def test_a_late_info_is_held_where_there_is_no_newer_one():
    retained = Retained()
    assert retained.is_newest(TOPIC, b"old", late=True)
    assert retained.is_newest(TOPIC, b"new", late=False)
    assert not retained.is_newest(TOPIC, b"old", late=True)


def test_a_late_info_does_not_stay_behind_an_instrument_that_is_gone():
    retained = Retained()
    retained.put(TOPIC, None)
    assert retained.take_changed() == [(TOPIC, None)]
    retained.forgotten(TOPIC)
    assert not retained.is_newest(TOPIC, b"old", late=True)
    assert retained.is_newest(TOPIC, b"it is back", late=False)

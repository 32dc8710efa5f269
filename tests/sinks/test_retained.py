"""What the broker is to hold, and what is only delivered."""

from __future__ import annotations

from daq.sinks.retained import Retained

TOPIC = "bench/v1/lab/b1/dmm1/info"
STATUS = "bench/v1/lab/b1/dmm1/status"


def test_a_late_info_is_held_where_there_is_no_newer_one():
    retained = Retained()
    assert retained.is_newest(TOPIC, b"old", 1, late=True)
    assert retained.is_newest(TOPIC, b"new", 2, late=False)
    assert not retained.is_newest(TOPIC, b"old", 1, late=True)


def test_a_late_info_does_not_stay_behind_an_instrument_that_is_gone():
    retained = Retained()
    retained.put(TOPIC, None)
    assert retained.take_changed() == [(TOPIC, None)]
    retained.forgotten(TOPIC)
    assert not retained.is_newest(TOPIC, b"old", 1, late=True)
    assert retained.is_newest(TOPIC, b"it is back", 2, late=False)


def test_a_broker_that_lost_everything_is_told_anew_what_had_come_late():
    retained = Retained()
    assert retained.is_newest(TOPIC, b"of the outage", 1, late=True)
    retained.all_changed()
    assert retained.take_changed() == [(TOPIC, b"of the outage")]


def test_of_late_infos_the_newest_is_kept_in_whatever_order_they_come_again():
    retained = Retained()
    assert retained.is_newest(TOPIC, b"first", 1, late=True)
    assert retained.is_newest(TOPIC, b"second", 2, late=True)
    assert not retained.is_newest(TOPIC, b"first", 1, late=True)
    assert retained.is_newest(TOPIC, b"second", 2, late=True)
    retained.all_changed()
    assert retained.take_changed() == [(TOPIC, b"second")]


def test_an_info_that_only_memory_holds_is_newer_than_what_the_disk_had():
    retained = Retained()
    assert retained.is_newest(TOPIC, b"of the disk", 7, late=True)
    assert retained.is_newest(TOPIC, b"of memory", -7, late=True)
    assert retained.is_newest(TOPIC, b"of the disk again", 8, late=True)


def test_an_instrument_that_came_back_while_the_broker_was_away_is_no_longer_gone():
    retained = Retained()
    retained.put(TOPIC, None)
    retained.put(STATUS, None)
    retained.put(STATUS, b"ok")
    assert retained.is_newest(TOPIC, b"it is back", 2, late=True)
    assert retained.take_changed() == [(TOPIC, b"it is back"), (STATUS, b"ok")]

"""What the broker refused is told of once a minute for each topic, and none of it is left untold."""

from daq.core.observation import NS
from daq.core.record import Record
from daq.sinks.refusals import Refusals

TOPIC = "bench/v1/lab/bench1/dmm1/obs/vref"


def record(seq, row=None, kind="obs", stream="dmm1/vref", epoch="t3k9f27qd4"):
    return Record(seq if row is None else row, kind, stream, epoch, seq, 0, b"{}")


def test_the_first_is_told_at_once():
    refusals = Refusals()
    refusals.add(TOPIC, 0x87, record(7, row=70), None)
    (told,) = refusals.due(5 * NS)
    assert told.rows == [70]
    assert told.details == {
        "topic": TOPIC,
        "code": 0x87,
        "why": "not authorised",
        "count": 1,
        "instrument": "dmm1",
        "stream": "dmm1/vref",
        "epoch": "t3k9f27qd4",
        "first_seq": 7,
        "seq": 7,
        "bytes": 2,
    }


def test_what_gathers_within_a_minute_is_told_when_it_is_over_though_nothing_more_is_refused():
    refusals = Refusals()
    refusals.add(TOPIC, 0x87, record(1), None)
    refusals.due(0)
    for seq in (2, 3, 5):
        refusals.add(TOPIC, 0x87, record(seq), None)
    assert refusals.due(60 * NS - 1) == []
    (told,) = refusals.due(60 * NS)
    assert (told.details["count"], told.details["first_seq"], told.details["seq"]) == (3, 2, 5)
    assert told.rows == [2, 3, 5]
    assert refusals.due(180 * NS) == []


def test_the_rest_is_told_when_the_connection_ends():
    refusals = Refusals()
    refusals.add(TOPIC, 0x87, record(1), None)
    refusals.due(0)
    refusals.add(TOPIC, 0x87, record(2), None)
    (told,) = refusals.rest(NS)
    assert (told.details["count"], told.rows) == (1, [2])
    assert refusals.rest(NS) == []


def test_reasons_and_epochs_are_told_apart():
    refusals = Refusals()
    refusals.add(TOPIC, 0x87, record(1), None)
    refusals.add(TOPIC, 0x95, record(2), 2000)
    refusals.add(TOPIC, 0x87, record(1, row=3, epoch="t3k9f27qd5"), None)
    refusals.add(TOPIC, None, None, None)
    told = [(each.details["why"], each.details.get("limit"), each.details.get("epoch")) for each in refusals.due(0)]
    assert told == [
        ("not authorised", None, "t3k9f27qd4"),
        ("packet too large", 2000, "t3k9f27qd4"),
        ("not authorised", None, "t3k9f27qd5"),
        ("the broker closes the connection on it", None, None),
    ]

"""What is kept can be taken out: by time, by stream, page by page, with the information it cites, digit for digit."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from daq.core.message import StationName
from daq.core.observation import (
    ClockState,
    Exchange,
    Flag,
    Identity,
    Observation,
    Reading,
    ReadingStatus,
    Slots,
    Status,
    Timing,
)
from daq.core.observation_message import observation_payload
from daq.core.record import Record
from daq.export import COLUMNS, csv_header, csv_lines, json_lines
from daq.journal import open_idle

NS = 10**9
NOON = 1_795_348_800 * NS


def page_through(idle, limit, **what):
    records, after = [], None
    while True:
        page = idle.export(after=after, limit=limit, **what)
        records += page.records
        if (after := page.after) is None:
            return records


async def keep(bench, streams):
    async with bench.running() as journal:
        for second, (stream, kind) in enumerate(streams):
            bench.now_ns = NOON + second * NS
            journal.append(bench.entry(stream, kind=kind))


async def test_pages_of_any_size_give_the_same_records(bench):
    await keep(bench, [(f"dmm{n % 3}/v", "obs") for n in range(50)])
    with open_idle(bench.path) as idle:
        whole = page_through(idle, 1000)
        assert len(whole) == 50
        for limit in (1, 7, 49, 50, 51):
            assert page_through(idle, limit) == whole


async def test_an_export_holds_the_information_in_force_when_it_begins(bench):
    streams = [("dmm1", "info"), ("bath", "info"), *[("dmm1/v", "obs")] * 5, ("dmm1", "info"), *[("dmm1/v", "obs")] * 5]
    await keep(bench, streams)
    with open_idle(bench.path) as idle:
        later = page_through(idle, 3, since_ns=NOON + 4 * NS)
        assert [(r.stream, r.seq) for r in later[:3]] == [("dmm1", 1), ("bath", 1), ("dmm1/v", 3)]
        last = page_through(idle, 3, since_ns=NOON + 10 * NS, streams=["dmm1/v"])
        assert [(r.stream, r.seq) for r in last] == [("dmm1", 2), ("dmm1/v", 8), ("dmm1/v", 9), ("dmm1/v", 10)]


async def test_an_export_by_time_takes_the_first_instant_and_leaves_the_last(bench):
    await keep(bench, [("dmm1/v", "obs")] * 10)
    with open_idle(bench.path) as idle:
        records = page_through(idle, 4, since_ns=NOON + 2 * NS, until_ns=NOON + 5 * NS)
    assert [record.seq for record in records] == [3, 4, 5]


async def test_an_export_by_stream_takes_a_poll_or_all_of_an_instrument(bench):
    await keep(bench, [("dmm1", "info"), ("dmm1/v", "obs"), ("dmm1/r", "obs"), ("bath/t", "obs"), ("event", "event")])
    with open_idle(bench.path) as idle:
        assert [r.stream for r in page_through(idle, 2, streams=["dmm1/r"])] == ["dmm1", "dmm1/r"]
        assert [r.stream for r in page_through(idle, 2, streams=["dmm1"])] == ["dmm1", "dmm1/v", "dmm1/r"]
        assert [r.stream for r in page_through(idle, 2, streams=["event"])] == ["event"]


async def test_a_running_journal_exports_the_same_as_an_idle_one(bench):
    async with bench.running() as journal:
        for _ in range(20):
            journal.append(bench.entry())
        page = await journal.export(limit=7)
        assert [record.seq for record in page.records] == list(range(1, 8))
        rest = await journal.export(after=page.after)
        info = await journal.info()
        assert rest.after is None
    with open_idle(bench.path) as idle:
        assert idle.export().records == page.records + rest.records
        assert idle.info()["epoch"] == info["epoch"]
        assert idle.info()["rows"] == info["rows"] == 20


def record(observation, durable=True):
    payload = observation_payload(
        observation, StationName("vinhphuc", "bench1"), boot="b61c0f", epoch="t3k9f27qd4", seq=1042, durable=durable
    )
    stream = f"{observation.instrument}/{observation.poll}"
    return Record(1, "obs", stream, "t3k9f27qd4", 1042, NOON, payload)


def rows(*records):
    text = csv_header() + "".join(csv_lines(records))
    return list(csv.DictReader(io.StringIO(text)))


READING = Reading("9.99998713", "+9.99998713E+00", "V", "voltage.dc", role="reference")
OBSERVATION = Observation(
    "dmm1",
    "vref",
    Status.OK,
    NOON,
    ClockState("chrony", 0.0004),
    Identity("QT1-0123", "34465A", "MY54500123"),
    "7f3a9c21",
    timing=Timing(81234567891000, NOON + 423456000, 2100000, 400000000),
    context=(("job", "J-88"), ("point", "10V-up")),
    readings={"dcv": READING},
    exchanges=(Exchange(b"READ?", b"+9.99998713E+00", 0.0, 0.4042),),
)


def test_a_reading_is_a_row_with_its_digits():
    (row,) = rows(record(OBSERVATION))
    assert row == dict.fromkeys(COLUMNS, "") | {
        "id": "vinhphuc.bench1.dmm1.vref.t3k9f27qd4.1042",
        "t": "2026-11-22T12:00:00.423456Z",
        "t_err": "0.0021",
        "aperture": "0.4",
        "due": "2026-11-22T12:00:00.000000Z",
        "instrument": "dmm1",
        "poll": "vref",
        "channel": "dcv",
        "value": "9.99998713",
        "text": "+9.99998713E+00",
        "unit": "V",
        "quantity": "voltage.dc",
        "status": "ok",
        "reading_status": "ok",
        "role": "reference",
        "asset": "QT1-0123",
        "model": "34465A",
        "serial": "MY54500123",
        "simulated": "false",
        "origin": "instrument",
        "durable": "true",
        "clock_source": "chrony",
        "clock_err": "0.0004",
        "info": "7f3a9c21",
        "context": "job=J-88 point=10V-up",
        "epoch": "t3k9f27qd4",
        "seq": "1042",
    }


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,30})\.[0-9]{1,30}", fullmatch=True))
def test_no_digit_is_touched(digits):
    reading = Reading(digits, digits, "V", "voltage.dc")
    observation = Observation(
        "dmm1", "v", Status.OK, NOON, ClockState("none", None), Identity(), "0", readings={"v": reading}
    )
    assert rows(record(observation))[0]["value"] == digits


def test_what_failed_is_a_row_without_channel():
    failed = Observation(
        "dmm1",
        "vref",
        Status.TIMEOUT,
        NOON,
        ClockState("none", None),
        Identity(),
        "7f3a9c21",
        detail='no reply, or "half" of one,\nin 5 s',
        slots=Slots(NOON, NOON + 9 * NS, 10),
    )
    (row,) = rows(record(failed, durable=False))
    assert (row["status"], row["channel"], row["value"], row["t_err"], row["slots"]) == ("timeout", "", "", "", "10")
    assert (row["durable"], row["detail"]) == ("false", failed.detail)
    assert (row["first_slot"], row["last_slot"]) == ("2026-11-22T12:00:00.000000Z", "2026-11-22T12:00:09.000000Z")


def test_channels_are_rows_and_say_why_they_have_no_value():
    readings = {
        "a": Reading(None, "9.9E37", "V", "voltage.dc", ReadingStatus.OVERRANGE),
        "b": Reading("1.50", "1.50", "V", "voltage.dc", flags=(Flag.UNSTABLE, Flag.STALE)),
    }
    observation = Observation(
        "dmm1", "v", Status.OK, NOON, ClockState("none", None), Identity(), "0", readings=readings
    )
    first, second = rows(record(observation))
    assert (first["channel"], first["value"], first["reading_status"]) == ("a", "", "overrange")
    assert (second["channel"], second["value"], second["flags"]) == ("b", "1.50", "unstable stale")


def test_json_lines_are_the_published_bytes():
    one, event = record(OBSERVATION), Record(2, "event", "event", "t3k9f27qd4", 1, NOON, b'{"event":"gap"}')
    assert b"".join(json_lines([one, event])) == one.payload + b'\n{"event":"gap"}\n'
    assert rows(event) == []
    assert json.loads(next(json_lines([one])))["seq"] == 1042

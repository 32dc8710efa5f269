import hashlib
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.info import (
    ChannelInfo,
    InstrumentInfo,
    PollInfo,
    StationInfo,
    info_hash,
    instrument_info_payload,
    station_info_payload,
)
from daq.core.message import (
    Event,
    StationName,
    Topics,
    event_payload,
    instrument_status_payload,
    printed,
    rfc3339,
    station_status_payload,
)
from daq.core.message_schema import message_schemas
from daq.core.observation import (
    ClockState,
    Exchange,
    Flag,
    Identity,
    Integrity,
    Kind,
    Observation,
    Reading,
    ReadingStatus,
    Slots,
    Status,
    Timing,
)
from daq.core.observation_message import observation_payload, without_exchanges
from daq.core.record import Record
from tests.core.plain_message import plain_payload

SCHEMAS = Path(__file__).parents[2] / "schemas" / "messages"
STATION = StationName("vinhphuc", "bench1")

# 2026-11-22T08:40:00Z, by `date -u -d 2026-11-22T08:40:00Z +%s`
MORNING_NS = 1_795_336_800 * 10**9

OK = Observation(
    instrument="dmm1",
    poll="vref",
    status=Status.OK,
    due_ns=MORNING_NS + 200_000_000,
    clock=ClockState("chrony", 0.0004),
    identity=Identity("QT1-0123", "34465A", "MY54500123"),
    info="7f3a9c21",
    timing=Timing(81_234_567_891_000, MORNING_NS + 423_456_000, 2_100_000, 400_000_000),
    context=(("job", "J-88"), ("point", "10V-up"), ("operator", "nvh")),
    readings={"dcv": Reading("9.99998713", "+9.99998713E+00", "V", "voltage.dc", role="reference")},
    exchanges=(Exchange(b"READ?", b"+9.99998713E+00", 0.0, 0.4042),),
)

# The example of the contract, letter by letter.
CONTRACT = (
    '{"v":1,"id":"vinhphuc.bench1.dmm1.vref.t3k9f27qd4.1042","epoch":"t3k9f27qd4","seq":1042,'
    '"t":"2026-11-22T08:40:00.423456Z","t_err":0.0021,"aperture":0.4,"due":"2026-11-22T08:40:00.200000Z",'
    '"mono":81234.567891,"boot":"b61c0f","clock":{"source":"chrony","err":0.0004},'
    '"status":"ok","origin":"instrument","simulated":false,"durable":true,'
    '"instrument":{"asset":"QT1-0123","model":"34465A","serial":"MY54500123"},"info":"7f3a9c21",'
    '"context":{"job":"J-88","point":"10V-up","operator":"nvh"},'
    '"readings":{"dcv":{"value":9.99998713,"text":"+9.99998713E+00","unit":"V","quantity":"voltage.dc","status":"ok",'
    '"role":"reference"}},'
    '"exchanges":[{"ask":"READ?","got":"+9.99998713E+00","at":0.0,"rtt":0.4042}]}'
)


def payload(obs, **changed):
    return observation_payload(
        obs, STATION, **{"boot": "b61c0f", "epoch": "t3k9f27qd4", "seq": 1042, "durable": True} | changed
    )


def message(obs, **changed):
    """The observation's message, which must also be what its schema promises."""
    found = orjson.loads(payload(obs, **changed))
    valid("observation", found)
    return found


def valid(name, found):
    schema = message_schemas()[name]
    jsonschema.Draft202012Validator(schema).validate(found)


def with_reading(**changed):
    return replace(OK, readings={"dcv": replace(OK.readings["dcv"], **changed)})


def test_an_observation_is_the_example_of_the_contract():
    assert payload(OK).decode() == CONTRACT


def test_every_digit_goes_through():
    assert b'"value":10.00000,' in payload(with_reading(value="10.00000"))
    assert b'"value":9007199254740993,' in payload(with_reading(value="9007199254740993"))


@pytest.mark.parametrize("value", ["NaN", "nan", "inf", "-Infinity", "+1", ".5", "5.", "01", "1,2", "", "1}"])
def test_what_json_cannot_hold_is_never_published(value):
    with pytest.raises(ValueError, match="not a JSON number"):
        payload(with_reading(value=value))


@pytest.mark.parametrize("status", [status for status in ReadingStatus if status is not ReadingStatus.OK])
def test_a_reading_that_is_not_ok_has_no_value(status):
    found = message(with_reading(value="9.9E37", status=status))["readings"]["dcv"]
    assert (found["value"], found["status"], found["text"]) == (None, status.value, "+9.99998713E+00")


def test_a_flag_never_takes_the_value_away():
    found = message(with_reading(flags=(Flag.UNSTABLE, Flag.SUSPECT)))["readings"]["dcv"]
    assert (found["value"], found["flags"]) == (9.99998713, ["unstable", "suspect"])


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.NUMBER])
def test_what_is_no_number_says_so_and_stands_in_text(kind):
    found = message(with_reading(value=None, text="OPER", kind=kind))["readings"]["dcv"]
    assert (found["value"], found["text"], found["kind"]) == (None, "OPER", kind.value)


def test_an_unanswered_observation_stands_at_its_slot():
    lost = replace(OK, status=Status.TIMEOUT, detail="nothing came within 5 s", timing=None, readings={})
    found = message(lost)
    assert (found["t"], found["due"]) == ("2026-11-22T08:40:00.200000Z", "2026-11-22T08:40:00.200000Z")
    assert (found["t_err"], found["mono"], found["aperture"]) == (None, None, None)
    assert (found["status"], found["detail"], found["readings"]) == ("timeout", "nothing came within 5 s", {})


def test_an_instrument_that_speaks_unasked_has_no_slot():
    found = message(replace(OK, due_ns=None))
    assert (found["due"], found["t"]) == (None, "2026-11-22T08:40:00.423456Z")


def test_an_observation_without_any_time_is_refused():
    with pytest.raises(ValueError, match="dmm1/vref: unanswered and without a slot"):
        payload(replace(OK, due_ns=None, timing=None))


def test_a_run_of_failures_names_its_slots():
    lost = replace(OK, status=Status.TIMEOUT, timing=None, slots=Slots(MORNING_NS, MORNING_NS + 59 * 10**9, 60))
    assert message(lost)["slots"] == {
        "first": "2026-11-22T08:40:00.000000Z",
        "last": "2026-11-22T08:40:59.000000Z",
        "count": 60,
    }


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_one_the_schema_knows(status):
    assert message(replace(OK, status=status))["status"] == status.value


def test_what_the_disk_could_not_take_says_so():
    assert message(OK, durable=False)["durable"] is False


def test_an_unknown_clock_error_is_null():
    assert message(replace(OK, clock=ClockState("none", None)))["clock"] == {"source": "none", "err": None}


@given(st.integers(0, 4 * 10**18), st.integers(0, 10**17), st.integers(0, 10**10))
def test_the_published_interval_holds_the_true_one(utc_ns, mono_ns, err_ns):
    written = payload(replace(OK, timing=Timing(mono_ns, utc_ns, err_ns)))
    found = orjson.loads(written)
    digits = re.search(r'"mono":([0-9.]+),', written.decode())[1]
    published_ns = int(digits.replace(".", "")) * 1000
    assert len(digits.split(".")[1]) == 6
    assert abs(published_ns - mono_ns) + err_ns <= found["t_err"] * 1e9 + 1e-3
    assert found["t_err"] * 1e9 <= err_ns + 500 + 1e-3


@pytest.mark.parametrize(
    ("utc_ns", "written"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (MORNING_NS, "2026-11-22T08:40:00.000000Z"),
        (MORNING_NS + 499, "2026-11-22T08:40:00.000000Z"),
        (MORNING_NS + 999_999_500, "2026-11-22T08:40:01.000000Z"),
        (1_709_164_800 * 10**9 + 1000, "2024-02-29T00:00:00.000001Z"),
    ],
)
def test_times_are_rfc3339_with_microseconds(utc_ns, written):
    assert rfc3339(utc_ns) == written


# Exchanges


def exchanges(*kept):
    return message(replace(OK, exchanges=kept))


def test_registers_are_printed_as_hex():
    found = exchanges(Exchange(b"\x01\x04\x00\x00", b"\x01\x04\x04\x43\x66", 0.0, 0.01, binary=True))["exchanges"][0]
    assert (found["ask"], found["got"], found["hex"]) == ("01040000", "0104044366", True)


def test_any_byte_of_a_text_reply_survives():
    everything = bytes(range(256))
    assert exchanges(Exchange(b"?", everything, 0.0, None))["exchanges"][0]["got"].encode("latin-1") == everything


def test_an_exchange_holds_at_most_4_kib():
    found = exchanges(Exchange(b"?" * 10, b"x" * 100_000, 0.0, 1.0))["exchanges"][0]
    assert len(found["ask"]) + len(found["got"]) == 4096
    assert found["truncated"] is True
    found = exchanges(Exchange(b"q" * 5000, b"\xff" * 100_000, 0.0, 1.0, binary=True))["exchanges"][0]
    assert len(found["ask"]) + len(found["got"]) == 4096
    assert found["truncated"] is True


def test_an_exchange_of_4_kib_is_whole():
    found = exchanges(Exchange(b"?", b"x" * 4095, 0.0, 1.0))["exchanges"][0]
    assert len(found["got"]) == 4095
    assert "truncated" not in found


def test_many_exchanges_are_bounded_and_the_last_is_kept():
    kept = [Exchange(b"ASK %d" % number, b"x" * 4000, 0.0, 1.0) for number in range(1000)]
    found = exchanges(*kept)
    assert sum(len(each["ask"]) + len(each["got"]) for each in found["exchanges"]) <= 65536
    assert found["exchanges"][-1]["ask"] == "ASK 999"
    assert len(found["exchanges"]) + found["exchanges_omitted"] == 1000


def test_exchanges_can_be_left_out():
    assert without_exchanges(payload(OK)).decode() == CONTRACT.partition(',"exchanges"')[0] + "}"


@given(st.dictionaries(st.text(), st.text()), st.text(), st.binary(max_size=50), st.integers(0, 300))
def test_taking_exchanges_out_leaves_every_other_byte(context, text, got, count):
    obs = replace(
        OK,
        context=(("exchanges", ',"exchanges":['), *context.items()),
        readings={"exchanges": replace(OK.readings["dcv"], text=text + ',"exchanges":[')},
        exchanges=(Exchange(b"?", got, 0.0, None),) * count,
    )
    said = {"boot": "b61c0f", "epoch": "t3k9f27qd4", "seq": 1042, "durable": True}
    bare = plain_payload(obs, STATION, **said, exchanges=False)
    assert without_exchanges(payload(obs)) == bare
    assert without_exchanges(bare) == bare


@given(st.text(st.characters(), max_size=20))
def test_any_text_can_be_published(text):
    found = message(replace(OK, detail=text, context=((text, text),)))
    assert found["detail"] == text.encode("utf-8", "replace").decode()


# Topics


def test_topics_are_those_of_the_contract():
    topics = Topics(STATION)
    assert topics.status() == "bench/v1/vinhphuc/bench1/status"
    assert topics.info() == "bench/v1/vinhphuc/bench1/info"
    assert topics.event() == "bench/v1/vinhphuc/bench1/event"
    assert topics.instrument_status("dmm1") == "bench/v1/vinhphuc/bench1/dmm1/status"
    assert topics.instrument_info("dmm1") == "bench/v1/vinhphuc/bench1/dmm1/info"
    assert topics.observation("dmm1", "vref") == "bench/v1/vinhphuc/bench1/dmm1/obs/vref"
    assert topics.late("dmm1", "vref") == "bench/v1/vinhphuc/bench1/dmm1/late/vref"


@pytest.mark.parametrize(
    ("kind", "stream", "late", "topic"),
    [
        ("obs", "dmm1/vref", False, "lab/vinhphuc/bench1/dmm1/obs/vref"),
        ("obs", "dmm1/vref", True, "lab/vinhphuc/bench1/dmm1/late/vref"),
        ("event", "event", False, "lab/vinhphuc/bench1/event"),
        ("event", "event", True, "lab/vinhphuc/bench1/event"),
        ("info", "dmm1", False, "lab/vinhphuc/bench1/dmm1/info"),
        ("info", "dmm1", True, "lab/vinhphuc/bench1/dmm1/info"),
    ],
)
def test_every_record_has_its_topic(kind, stream, late, topic):
    record = Record(1, kind, stream, "e", 1, 0, b"{}")
    assert Topics(STATION, prefix="lab").of(record, late=late) == topic


@pytest.mark.parametrize(
    "level", ["", "a b", "A", "+", "#", "$sys", "a/b", "é", "-a", "\ufeffa", "a\0", "a" * 64, "a\n"]
)
def test_levels_that_break_brokers_or_subscribers_are_refused(level):
    with pytest.raises(ValueError, match="no level of a topic"):
        StationName(level, "bench1")
    if level != "a/b":
        with pytest.raises(ValueError, match="no level of a topic"):
            Topics(STATION, prefix=f"bench/{level}")


# The other messages

INFO = InstrumentInfo(
    instrument="dmm1",
    identity=Identity("QT1-0123", "34465A", "MY54500123"),
    maker="Keysight Technologies",
    firmware="A.02.17",
    driver="keysight/34465a",
    driver_hash="90ab12cd",
    bench_hash="12ab34cd",
    verified="manual",
    address="tcp 10.0.0.5:5025",
    role="reference",
    configure="on_connect",
    polls={
        "vref": PollInfo(
            ask="dcv",
            every_s=1.0,
            phase_s=0.2,
            integrity=Integrity.NONE,
            time_model="triggered",
            channels={"dcv": ChannelInfo("V", "V", "voltage.dc", "reference")},
            settings={"range": "10", "nplc": "10"},
        )
    },
)


def test_an_info_is_named_by_its_content():
    first = orjson.loads(instrument_info_payload(INFO, STATION, "e1", 1, MORNING_NS))
    again = orjson.loads(instrument_info_payload(INFO, STATION, "e2", 7, MORNING_NS + 10**9))
    valid("instrument-info", first)
    assert first["info"] == again["info"] == info_hash(INFO)
    assert info_hash(replace(INFO, firmware="A.02.18")) != info_hash(INFO)
    assert info_hash(replace(INFO, identity=Identity(serial="SIM-1"))) != info_hash(INFO)


def test_an_info_hash_can_be_computed_by_anybody():
    found = orjson.loads(instrument_info_payload(INFO, STATION, "e1", 1, MORNING_NS))
    described = {key: found[key] for key in found if key not in {"v", "id", "epoch", "seq", "t", "info"}}
    canonical = orjson.dumps(described, option=orjson.OPT_SORT_KEYS)
    assert found["info"] == hashlib.sha256(canonical).hexdigest()[:8]


@pytest.mark.parametrize("event", list(Event))
def test_an_event_says_what_happened_and_to_whom(event):
    found = orjson.loads(
        event_payload(
            STATION, event, {"lost": 3}, boot="b", epoch="e", seq=4, t_ns=MORNING_NS, instrument="dmm1", simulated=True
        )
    )
    valid("event", found)
    assert found == {
        "v": 1,
        "id": "vinhphuc.bench1.event.e.4",
        "epoch": "e",
        "seq": 4,
        "t": "2026-11-22T08:40:00.000000Z",
        "boot": "b",
        "event": event.value,
        "instrument": "dmm1",
        "simulated": True,
        "details": {"lost": 3},
    }


def test_a_station_says_whether_it_is_there():
    online = orjson.loads(station_status_payload("online", "b", MORNING_NS, protocol="5"))
    will = orjson.loads(station_status_payload("offline", "b", None, "connection lost"))
    valid("station-status", online)
    valid("station-status", will)
    assert (online["status"], online["since"], online["protocol"]) == ("online", "2026-11-22T08:40:00.000000Z", "5")
    assert (will["status"], will["since"], will["why"]) == ("offline", None, "connection lost")


@pytest.mark.parametrize("status", ["ok", "degraded", "lost"])
def test_an_instrument_says_whether_it_answers(status):
    found = orjson.loads(instrument_status_payload(status, "b", MORNING_NS, "timeout", simulated=True))
    valid("instrument-status", found)
    assert (found["status"], found["why"], found["simulated"]) == (status, "timeout", True)


def test_a_station_says_what_it_is():
    info = StationInfo(
        version="0.1.0",
        boot="b",
        epoch="e",
        journal="stalled",
        label="Phòng đo lường điện",
        bench_hash="12ab34cd",
        driver_hashes={"keysight/34465a": "90ab12cd"},
        clock=ClockState("kernel", None),
        instruments=["dmm1"],
        line_frequency_hz=50.0,
        limits={"exchange_bytes": 4096},
    )
    found = orjson.loads(station_info_payload(info))
    valid("station-info", found)
    assert (found["label"], found["journal"]) == ("Phòng đo lường điện", "stalled")


# Schemas


def test_the_shipped_schemas_are_the_generated_ones():
    shipped = {path.stem: orjson.loads(path.read_bytes()) for path in SCHEMAS.glob("*.json")}
    assert shipped == message_schemas()


@pytest.mark.parametrize("name", message_schemas())
def test_every_key_of_every_schema_is_described(name):
    schema = message_schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    undescribed = [path for path, part in _properties("", schema) if not part.get("description")]
    assert undescribed == []


def _properties(path, schema):
    for key, part in schema.get("properties", {}).items():
        yield f"{path}.{key}", part
        yield from _properties(f"{path}.{key}", part)
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            yield from _properties(f"{path}.{key}", schema[key])


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "fine"},
        {"t": None},
        {"t": "2026-11-22T08:40:00Z"},
        {"t_err": -1},
        {"info": "x"},
        {"readings": {"dcv": {"status": "overrange", "value": 1.0}}},
    ],
)
def test_the_schema_finds_what_is_wrong(broken):
    found = orjson.loads(payload(OK))
    reading = found["readings"]["dcv"] | broken.get("readings", {}).get("dcv", {})
    found |= broken | {"readings": {"dcv": reading}}
    valid("observation", orjson.loads(payload(OK)))
    with pytest.raises(jsonschema.ValidationError):
        valid("observation", found)


def test_no_message_holds_a_character_that_a_terminal_obeys():
    said = "a\x7fb\x9b31m\u2028\u202ec\xe9\xb5\u1ea1"
    message = printed({"text": said})
    assert message == '{"text":"a\\u007fb\\u009b31m\\u2028\\u202ec\xe9\xb5\u1ea1"}'.encode()
    assert orjson.loads(message) == {"text": said}

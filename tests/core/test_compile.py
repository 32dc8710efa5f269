import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from daq.core.bench import InstrumentFile, StationName
from daq.core.compile import compile_instrument
from daq.core.driver import RegisterDriver, TextDriver
from daq.core.errors import BusyReply, ForeignReply, RefusedReply, ReplyError, UnreadableReply
from daq.core.examples import lint, run_examples
from daq.core.formula import span_ns
from daq.core.observation import Flag, Integrity, Kind, ReadingStatus
from daq.core.plan import InstrumentPlan, RegisterStep
from daq.core.timing import Arrival, Latest, Triggered
from daq.core.units import QUANTITIES, UnitError, check_unit, symbol

DRIVERS = Path(__file__).parents[2] / "drivers"
STATION = StationName(site="lab", name="bench1")


def load(name):
    written = YAML(typ="safe").load((DRIVERS / f"{name}.yaml").read_text())
    return (TextDriver if written["speaks"] == "text" else RegisterDriver).model_validate(written)


DMM = load("keysight/34465a")
METER = load("eastron/sdm630")


def entry(poll, **more):
    return InstrumentFile.model_validate({"driver": "maker/model", "at": {"tcp": "h:1"}, "poll": poll, **more})


def compiled(driver, poll, station=STATION, gap_ns=0, **more):
    plan = compile_instrument(driver, "box", entry(poll, **more), station, gap_ns)
    assert isinstance(plan, InstrumentPlan), plan
    return plan


def problems(driver, poll, **more):
    found = compile_instrument(driver, "box", entry(poll, **more), STATION)
    assert isinstance(found, list), "nothing was found wrong"
    return [(problem.file, ".".join(str(key) for key in problem.path), problem.message) for problem in found]


def text_driver(**more):
    written = {
        "driver": 1,
        "title": "t",
        "source": "s",
        "verified": "manual",
        "speaks": "text",
        "polls": {
            "p": {
                "ask": "V?",
                "reply": "{v:nr2}",
                "channels": {"v": {"quantity": "voltage.dc", "unit": "V"}},
                "time": {"model": "latest", "period": "1 s"},
            }
        },
    }
    return TextDriver.model_validate({**written, **more})


def with_poll(**poll):
    written = {"time": {"model": "latest", "period": "1 s"}, "channels": {"v": {"quantity": "voltage.dc", "unit": "V"}}}
    return text_driver(polls={"p": {**written, **poll}})


def readings(plan, *replies, poll=0):
    steps = [step for step in plan.polls[poll].steps if step.reply is not None]
    return plan.polls[poll].readings([s.reply.match(r) for s, r in zip(steps, replies, strict=True)])


# Two real drivers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", [DMM, METER], ids=["34465a", "sdm630"])
def test_the_examples_of_the_driver_come_true(driver):
    assert run_examples(driver) == []
    assert lint(driver) == []


def test_settings_reach_the_instrument_in_its_own_unit():
    plan = compiled(
        DMM,
        {
            "vref": {"ask": "dcv", "every": "1 s", "settings": {"range": "10 V", "nplc": 10}},
            "small": {"ask": "dcv", "every": "1 s", "settings": {"range": "100 mV"}},
            "rref": {"ask": "ohm4w", "every": "10 s", "settings": {"range": "10 kOhm", "nplc": 100}},
            "auto": {"ask": "ohm2w", "every": "10 s"},
        },
    )
    assert [poll.mode.enter for poll in plan.polls] == [
        (b"CONF:VOLT:DC 10\n", b"VOLT:DC:NPLC 10\n"),
        (b"CONF:VOLT:DC 0.100\n", b"VOLT:DC:NPLC 10\n"),
        (b"CONF:FRES 10000\n", b"FRES:NPLC 100\n"),
        (b"CONF:RES auto\n", b"RES:NPLC 10\n"),
    ]


def test_apertures_follow_from_settings_and_mains():
    poll = {"vref": {"ask": "dcv", "every": "1 s", "settings": {"nplc": 1}}}
    assert compiled(DMM, poll).polls[0].time == Triggered(20_000_000, "unknown", 0)
    sixty = StationName(site="lab", name="b", line_frequency="60 Hz")
    assert compiled(DMM, poll, station=sixty).polls[0].time.aperture_ns == 16_666_667  # 1/60 s, rounded up


def test_polls_with_the_same_settings_share_a_mode():
    fast = {"ask": "dcv", "every": "1 s", "settings": {"range": "10 V"}}
    plan = compiled(DMM, {"a": fast, "b": {**fast, "every": "2 s"}, "c": {**fast, "settings": {"range": "1 V"}}})
    one, two, other = (poll.mode for poll in plan.polls)
    assert one == two
    assert one != other


def test_a_setting_read_back_is_compared_as_a_number():
    plan = compiled(DMM, {"vref": {"ask": "dcv", "every": "1 s", "settings": {"nplc": 0.02}}})
    nplc = next(one for one in plan.polls[0].mode.readbacks if one.setting == "nplc")
    assert nplc.step.ask == b"VOLT:DC:NPLC?\n"
    right, wrong = (nplc.step.reply.match(reply) for reply in (b"+2.00000000E-02\n", b"+2.00000000E-01\n"))
    assert nplc.agrees(right)
    assert nplc.value(right) == "+2.00000000E-02"
    assert not nplc.agrees(wrong)


def test_the_front_panel_is_seen_in_the_function_read_back():
    plan = compiled(DMM, {"vref": {"ask": "dcv", "every": "1 s"}})
    function = next(one for one in plan.polls[0].mode.readbacks if one.setting == "function")
    assert function.agrees(function.step.reply.match(b'"VOLT"\n'))
    assert not function.agrees(function.step.reply.match(b'"FRES"\n'))


def test_overload_is_a_status_and_keeps_its_characters():
    reading = readings(compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}}, role="reference"), b"+9.90000000E+37\n")[
        "dcv"
    ]
    assert (reading.value, reading.text, reading.status) == (None, "+9.90000000E+37", ReadingStatus.OVERRANGE)
    assert reading.role == "reference"


def test_the_answer_to_another_question_is_named():
    plan = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}})
    with pytest.raises(ForeignReply) as caught:
        readings(plan, b"Keysight Technologies,34465A,MY1,A.03\n")
    assert "'*IDN?'" in str(caught.value)
    with pytest.raises(UnreadableReply):
        readings(plan, b"+9.99998713E+0\n")


def test_who_answers_is_checked():
    plan = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}}, serial_number="MY54500123")

    def check(reply):
        return plan.identify.check(plan.identify.fields([plan.identify.steps[0].reply.match(reply)]))

    assert check(b"Keysight Technologies,34465A,MY54500123,A.03\n") is None
    assert "expects '3446[015]A|34470A'" in check(b"FLUKE,8588A,MY54500123,1\n")
    assert "'34465AX'" in check(b"Keysight Technologies,34465AX,MY54500123,A.03\n")
    assert "the bench file names 'MY54500123'" in check(b"Keysight Technologies,34465A,MY54500124,A.03\n")


def test_simulated_must_agree_with_the_serial_number():
    plan = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}}, simulated=True)
    assert "simulated: true" in plan.identify.check({"model": "34465A", "serial": "MY54500123"})
    assert plan.identify.check({"model": "34465A", "serial": "SIM-34465A-1"}) is None
    real = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}})
    assert real.identify.check({"model": "34465A", "serial": "SIM-34465A-1"}) is None


def test_any_serial_number_will_do_where_the_bench_says_so():
    plan = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}}, serial_number="any")
    assert plan.identify.check({"model": "34465A", "serial": "whatever"}) is None


def test_the_identity_is_the_barrier_and_takes_no_reading_for_itself():
    plan = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}})
    assert plan.barrier.ask == b"*IDN?\n"
    assert plan.barrier.reply.match(b"FLUKE,8588A,1,2\n").fields["model"] == "8588A"
    with pytest.raises(ForeignReply):
        plan.barrier.reply.match(b"+9.99998713E+00\n")


def test_errors_are_none_only_as_the_driver_writes_it():
    errors = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}}).errors
    assert errors.is_none(errors.step.reply.match(b'+0,"No error"\n'))
    assert not errors.is_none(errors.step.reply.match(b'-113,"Undefined header"\n'))
    assert errors.step.ask == b"SYST:ERR?\n"


@given(reply=st.binary(max_size=30))
def test_whatever_comes_is_a_reading_or_is_refused(reply):
    try:
        (reading,) = readings(DMM_PLAN, reply + b"\n").values()
    except ReplyError:
        return
    assert len(reply) == 15
    assert reading.text.encode() == reply.strip()


DMM_PLAN = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}})


# Registers ------------------------------------------------------------------------------------------------------------


def meter(poll, **at):
    return compiled(METER, poll, at={"modbus_rtu_over_tcp": "h:1", "unit": 3, **at})


def test_the_meter_is_read_in_one_request():
    plan = meter({"power": "1 s", "energy": "10 s"})
    power, energy = plan.polls
    assert power.steps == (RegisterStep(4, 0, 72, 10**9),)
    assert energy.steps == (RegisterStep(4, 72, 8, 10**9),)
    assert plan.unit == 3
    assert plan.identify.steps == (RegisterStep(3, 0xFC00, 3, 10**9),)
    assert power.time == Latest(10**9)


def test_the_barrier_of_the_meter_is_another_count():
    plan = meter({"power": "1 s", "energy": "10 s"})
    counts = {step.count for poll in plan.polls for step in poll.steps} | {3}
    for poll in plan.polls:
        counts |= {part.count for step in poll.steps for part in poll.subdivide(step)}
    assert plan.barrier.function == 4
    assert plan.barrier.count not in counts
    assert plan.barrier.count % 2 == 0, "this meter wants whole parameters"


def test_integrity_follows_from_the_framing():
    assert meter({"power": "1 s"}).polls[0].integrity is Integrity.CHECKSUM
    tcp = compiled(METER, {"power": "1 s"}, at={"modbus_tcp": "h:502", "unit": 1})
    assert tcp.polls[0].integrity is Integrity.TRANSACTION
    assert DMM_PLAN.polls[0].integrity is Integrity.NONE


def test_a_serial_number_in_registers_cannot_say_sim():
    plan = compiled(
        METER, {"power": "1 s"}, at={"modbus_tcp": "h:502", "unit": 1}, simulated=True, serial_number="21000001"
    )
    fields = plan.identify.fields([bytes.fromhex("01406F41 0070")])
    assert fields == {"serial": "21000001", "model": "112"}
    assert plan.identify.check(fields) is None
    assert "expects '112'" in plan.identify.check({**fields, "model": "113"})


def register_driver(channels, **more):
    poll = {"channels": channels, "time": {"model": "latest", "period": "1 s"}}
    written = {
        "driver": 1,
        "title": "t",
        "source": "s",
        "verified": "manual",
        "speaks": "registers",
        "addressing": "plc",
    }
    return RegisterDriver.model_validate({**written, "polls": {"p": poll}, **more})


def channel(at, table="holding", kind="uint16", **more):
    return {"at": at, "table": table, "type": kind, "quantity": "voltage.dc", "unit": "V", **more}


AT = {"modbus_tcp": "h:502", "unit": 1}


@pytest.mark.parametrize(
    ("at", "table", "address"),
    [
        (40001, "holding", 0),
        (1, "holding", 0),
        (30001, "input", 0),
        (30101, "input", 100),
        (10001, "discrete", 0),
        (9, "coil", 8),
    ],
)
def test_addresses_of_programmable_controllers(at, table, address):
    kind = "bits" if table in {"coil", "discrete"} else "uint16"
    plan = compiled(register_driver({"x": channel(at, table, kind)}), {"p": "1 s"}, at=AT)
    assert plan.polls[0].steps[0].address == address


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (channel(0), "counts from 1"),
        (channel(30001), "names the table input, not holding"),
        (channel(40001, kind="string"), "needs its length"),
        (channel(40001, kind="int16", order="HGFEDCBA"), "is for 64 bits"),
        (channel(40001, "coil"), "names the table holding, not coil"),
        (channel(1, "coil"), "holds bits, not uint16"),
        (channel(40001, invalid=["NaN"]), "is no raw content"),
        (channel(40001, invalid=["0x12345"]), "does not fit into 16 bits"),
        (channel(40001, kind="bits"), "is no number"),
        (channel(40001, scale="a tenth"), "is not a decimal factor"),
        (channel(40005), "forbidden range"),
        (channel(40001) | {"unit": "volt"}, "Nearest: 'V'"),
        (channel(40001) | {"quantity": "voltage.db"}, "Nearest: 'voltage.d"),
        (channel(40001, plausible=[5, 1]), "low end comes first"),
        (channel(40001, kind="uint16") | {"kind": "enum"}, "needs the meaning of each code"),
    ],
)
def test_registers_that_cannot_be(written, words):
    driver = register_driver({"x": written}, blocks={"forbidden": [[40005, 40006]]})
    found = problems(driver, {"p": "1 s"}, at=AT)
    assert any(words in message for _, _, message in found), found
    assert all(file == "driver" and path.startswith("polls.p.channels.x") for file, path, _ in found)


def test_scale_and_exponent_and_codes_come_from_the_file():
    channels = {
        "p": channel(
            40001, kind="int16", scale_from={"at": 40002, "table": "holding", "type": "int16"}, invalid=["0x8000"]
        ),
        "t": channel(40003, kind="int16", scale="0.1", plausible=["-40 V", 60]),
        "s": channel(40004) | {"kind": "enum", "enum": {"0": "off", "1": "on"}},
    }
    plan = compiled(register_driver(channels), {"p": "1 s"}, at=AT)
    assert plan.polls[0].steps == (RegisterStep(3, 0, 4, 2 * 10**9),)
    found = plan.polls[0].readings([bytes.fromhex("04D2 FFFF 0259 0001")])
    assert [found[name].value for name in "pts"] == ["123.4", "60.1", None]
    assert (found["t"].flags, found["s"].text, found["s"].kind) == ((Flag.IMPLAUSIBLE,), "on", Kind.ENUM)
    absent = plan.polls[0].readings([bytes.fromhex("8000 FFFF FF9C 0001")])
    assert (absent["p"].status, absent["p"].text, absent["t"].value) == (ReadingStatus.INVALID, "0x8000", "-10.0")


def test_repetitions_stand_a_stride_apart():
    driver = register_driver({}, polls={
        "p": {
            "for_each": {"n": [1, 2, 3]},
            "channels": {"u{n}": channel(1, stride=2, kind="float32", label="Phase {n}")},
            "time": {"model": "latest", "period": "1 s"},
        }
    })  # fmt: skip
    plan = compiled(driver, {"p": "1 s"}, at=AT)
    assert [(one.name, one.label) for one in plan.polls[0].channels] == [(f"u{n}", f"Phase {n}") for n in (1, 2, 3)]
    found = plan.polls[0].readings([bytes.fromhex("3F800000 40000000 40400000")])
    assert [reading.value for reading in found.values()] == ["1", "2", "3"]


def test_a_register_of_known_content_proves_the_word_order():
    verify = {"at": 7, "table": "holding", "type": "float32", "order": "CDAB", "content": "-123.45"}
    plan = compiled(register_driver({"x": channel(1)}, verify=verify), {"p": "1 s"}, at=AT)
    assert plan.verify.step == RegisterStep(3, 6, 2, 2 * 10**9)
    assert plan.verify.check(bytes.fromhex("E666 C2F6")) is None
    assert "word order or addressing" in plan.verify.check(bytes.fromhex("C2F6 E666"))


def test_registers_are_not_asked_over_text_nor_text_over_modbus():
    ((file, path, message),) = problems(METER, {"power": "1 s"})
    assert (file, path) == ("bench", "instruments.box.at.tcp")
    assert message.endswith("Use modbus_tcp, modbus_rtu_over_tcp, serial or wire, with unit.")
    assert [path for _, path, _ in problems(METER, {"power": "1 s"}, at={"serial": "/dev/x"})] == ["instruments.box.at"]
    assert [path for _, path, _ in problems(DMM, {"dcv": "1 s"}, at=AT)] == ["instruments.box.at.modbus_tcp"]


# Text: shapes, units, statuses, streams -------------------------------------------------------------------------------

WEIGHT = {
    "ask": "SI",
    "replies": [
        {"match": "S S {w:nr2:10} {u:unit}"},
        {"match": "S D {w:nr2:10} {u:unit}", "flags": ["unstable"]},
        {"match": "S +", "status": "overrange"},
        {"match": "S I", "outcome": "busy"},
        {"match": "ES", "outcome": "instrument_error"},
    ],
    "channels": {"w": {"quantity": "mass", "unit": "g", "unit_in": "u", "units": {"kg": "kg", "ct": "[car_m]"}}},
}


def test_a_balance_has_several_shapes_of_reply():
    # Mettler-Toledo MT-SICS reference manual: SI answers S S, S D, S I, S +, S -; ES is a syntax error
    plan = compiled(with_poll(**WEIGHT), {"p": "1 s"})

    def weight(reply):
        return readings(plan, reply.encode() + b"\n")["w"]

    stable, dynamic, over = weight("S S     100.00 g"), weight("S D     -0.305 kg"), weight("S +")
    assert (stable.value, stable.text, stable.unit, stable.flags) == ("100.00", "100.00", "g", ())
    assert (dynamic.value, dynamic.unit, dynamic.flags) == ("-0.305", "kg", (Flag.UNSTABLE,))
    assert (over.value, over.text, over.status) == (None, "S +", ReadingStatus.OVERRANGE)
    with pytest.raises(BusyReply):
        weight("S I")
    with pytest.raises(RefusedReply):
        weight("ES")
    with pytest.raises(UnreadableReply) as caught:
        weight("S S     100.00 lb")
    assert "its driver knows 'g', 'kg', 'ct'" in str(caught.value)


KELVIN = {
    "for_each": {"n": ["a", "b"]},
    "steps": [
        {"ask": "KRDG? {n}", "reply": "{t_{n}:nr2}"},
        {"ask": "RDGST? {n}", "reply": "{s:bits}", "status": {"t_{n}": {"32": "overrange", "1": "invalid"}}},
    ],
    "channels": {"t_{n}": {"quantity": "temperature", "unit": "K", "label": "Sensor {n}"}},
}


def test_value_and_status_by_two_asks_for_every_sensor():
    plan = compiled(with_poll(**KELVIN), {"p": "1 s"})
    assert [step.ask for step in plan.polls[0].steps] == [b"KRDG? a\n", b"RDGST? a\n", b"KRDG? b\n", b"RDGST? b\n"]
    found = readings(plan, b"+077.350\n", b"000\n", b"+000.000\n", b"033\n")
    assert (found["t_a"].value, found["t_a"].text, found["t_a"].status) == ("77.350", "+077.350", ReadingStatus.OK)
    assert (found["t_b"].value, found["t_b"].status) == (None, ReadingStatus.OVERRANGE)  # the driver's order: 32 first
    assert [channel.label for channel in plan.polls[0].channels] == ["Sensor a", "Sensor b"]


def test_a_code_that_is_not_listed_is_invalid_where_ok_is():
    driver = with_poll(
        ask="V?", reply="{v:nr2},{s:nr1}",
        channels={"v": {"quantity": "voltage.dc", "unit": "V"}},
    ).model_dump(exclude_unset=True)  # fmt: skip
    poll = driver["polls"]["p"]
    poll["steps"] = [
        {"ask": poll.pop("ask"), "reply": poll.pop("reply"), "status": {"v": {"0": "ok", "1": "underrange"}}}
    ]
    plan = compiled(TextDriver.model_validate(driver), {"p": "1 s"})
    codes = [readings(plan, f"1.5,{code}\n".encode())["v"].status for code in ("+0", "01", "7")]
    assert codes == [ReadingStatus.OK, ReadingStatus.UNDERRANGE, ReadingStatus.INVALID]


def test_commands_between_questions_bring_no_answer():
    steps = [{"tell": "TRIG"}, {"ask": "V?", "reply": "{v:nr2}"}]
    plan = compiled(with_poll(steps=steps), {"p": "1 s"})
    assert [(step.ask, step.reply is None) for step in plan.polls[0].steps] == [(b"TRIG\n", True), (b"V?\n", False)]
    assert readings(plan, b"1.5\n")["v"].value == "1.5"


def test_words_enums_and_bits_have_no_value():
    channels = {
        "k": {"quantity": "state", "unit": "1", "kind": "enum", "enum": {"0": "off", "1": "on"}},
        "w": {"quantity": "state", "unit": "1", "kind": "word"},
        "b": {"quantity": "status", "unit": "1", "kind": "bits"},
    }
    found = readings(
        compiled(with_poll(ask="A?", reply="{k:enum};{w:word};{b:hex}", channels=channels), {"p": "1 s"}),
        b"1;RUN;0xFF\n",
    )
    assert [(each.value, each.text) for each in found.values()] == [(None, "on"), (None, "RUN"), (None, "255")]


def test_scaling_text_is_decimal_and_ranges_flag():
    channels = {"v": {"quantity": "pressure.gauge", "unit": "Pa", "scale": "100", "plausible": ["0 Pa", "100 kPa"]}}
    plan = compiled(with_poll(ask="P?", reply="{v:nr2}", channels=channels), {"p": "1 s"})
    fine, beyond = (readings(plan, reply)["v"] for reply in (b"1.10\n", b"1000.01\n"))
    assert (fine.value, fine.text, fine.flags) == ("110.00", "1.10", ())
    assert (beyond.value, beyond.flags) == ("100001.00", (Flag.IMPLAUSIBLE,))


def test_a_stream_listens():
    stream = {
        "reply": "{t:nr2} C",
        "channels": {"t": {"quantity": "temperature", "unit": "Cel"}},
        "time": {"model": "arrival", "latency": "500 ms"},
        "quiet": "3 s",
    }
    plan = compiled(text_driver(streams={"talk": stream}), {"talk": "unasked"})
    talk = plan.polls[0]
    assert (talk.every_ns, talk.quiet_ns, talk.steps[0].ask, talk.time) == (None, 3 * 10**9, b"", Arrival(500_000_000))
    assert talk.channels[0].symbol == "°C"
    assert readings(plan, b"23.50 C\n")["t"].value == "23.50"


def test_a_header_in_the_reply_makes_it_tagged():
    echo = with_poll(ask=":SENS:PRES?", reply=":SENS:PRES {v:nr2}")
    assert compiled(echo, {"p": "1 s"}).polls[0].integrity is Integrity.TAGGED
    assert compiled(with_poll(**WEIGHT), {"p": "1 s"}).polls[0].integrity is Integrity.NONE
    declared = with_poll(ask="T", reply="T={v:nr2}", header="the reply begins with the letter of its question")
    assert compiled(declared, {"p": "1 s"}).polls[0].integrity is Integrity.TAGGED


def test_without_an_identity_another_question_is_the_barrier_or_none():
    assert compiled(text_driver(), {"p": "1 s"}).barrier is None
    assert any("kept quiet" in warning for warning in compiled(text_driver(), {"p": "1 s"}).warnings)
    same_shape = text_driver(settings={"rate": {"default": 1, "get": "RATE?", "reply": "{value:nr2}"}})
    assert compiled(same_shape, {"p": "1 s"}).barrier is None
    other_shape = text_driver(settings={"mode": {"default": "A", "get": "MODE?", "reply": "MODE {value:word}"}})
    assert compiled(other_shape, {"p": "1 s"}).barrier.ask == b"MODE?\n"


def test_the_larger_gap_and_the_longest_wait_count():
    driver = text_driver(link={"gap": "20 ms", "max_latency": "1 s", "eol": "\r\n", "ask_eol": "\r"})
    plan = compiled(driver, {"p": "1 s"}, gap_ns=50_000_000)
    assert (plan.gap_ns, plan.latency_ns, plan.eol, plan.polls[0].steps[0].ask) == (50_000_000, 10**9, b"\r\n", b"V?\r")
    slow = with_poll(ask="V?", reply="{v:nr2}", within="7 s")
    assert compiled(slow, {"p": "1 s"}).latency_ns == 7 * 10**9


def test_replies_without_an_ending_need_one_length():
    fixed = with_poll(ask="V?", reply="{v:nr2:8}").model_copy(update={"link": text_driver(link={"eol": ""}).link})
    step = compiled(fixed, {"p": "1 s"}).polls[0].steps[0]
    assert step.reply.cut(b"    1.50") == 8
    assert step.reply.cut(b"    1.5") == 0
    loose = with_poll(ask="V?", reply="{v:nr2}").model_copy(update={"link": text_driver(link={"eol": ""}).link})
    assert "one fixed length" in problems(loose, {"p": "1 s"})[0][2]


def test_channels_take_their_probe_from_the_bench():
    channels = {"v": {"role": "uut", "asset": "PRT-042"}}
    plan = compiled(text_driver(), {"p": "1 s"}, role="reference", channels=channels)
    assert (plan.polls[0].channels[0].role, plan.polls[0].channels[0].asset) == ("uut", "PRT-042")
    assert readings(plan, b"1.5\n")["v"].role == "uut"


# What is wrong, all at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("poll", "path", "words"),
    [
        ({"dcw": "1 s"}, "poll.dcw", "has no poll 'dcw'. Nearest: 'dcv'."),
        ({"a": {"ask": "dcw", "every": "1 s"}}, "poll.a.ask", "Nearest: 'dcv'."),
        ({"dcv": "unasked"}, "poll.dcv", "no interval is given"),
        ({"a": {"ask": "dcv"}}, "poll.a", "Write every: 1 s."),
        ({"a": {"ask": "dcv", "every": "1 s", "phase": "1 s"}}, "poll.a", "shorter than the interval"),
        (
            {"a": {"ask": "dcv", "every": "1 s", "settings": {"rnge": "1 V"}}},
            "poll.a.settings.rnge",
            "Nearest: 'range'.",
        ),
        ({"a": {"ask": "dcv", "every": "1 s", "settings": {"range": "1 Ohm"}}}, "poll.a.settings.range", "is not in V"),
        ({"a": {"ask": "dcv", "every": "1 s", "settings": {"range": 10}}}, "poll.a.settings.range", "Write '10 V'."),
        ({"a": {"ask": "dcv", "every": "1 s", "settings": {"range": "2 kV"}}}, "poll.a.settings.range", "out of range"),
        (
            {"a": {"ask": "dcv", "every": "1 s", "settings": {"range": "aoto"}}},
            "poll.a.settings.range",
            "Nearest: 'auto'.",
        ),
        (
            {"a": {"ask": "dcv", "every": "1 s", "settings": {"nplc": 5}}},
            "poll.a.settings.nplc",
            "0.02, 0.2, 1, 10, 100",
        ),
    ],
)
def test_what_is_wrong_in_the_bench_is_said_with_its_place(poll, path, words):
    ((file, found, message),) = problems(DMM, poll)
    assert (file, found) == ("bench", f"instruments.box.{path}")
    assert words in message


def test_everything_wrong_is_said_at_once():
    found = problems(
        DMM,
        {"dcw": "1 s", "b": {"ask": "dcv", "every": "1 s", "settings": {"nplc": 5, "range": "1 A"}}},
        settings={"colour": "red"},
    )
    assert [path.removeprefix("instruments.box.") for _, path, _ in found] == [
        "settings.colour",
        "poll.dcw",
        "poll.b.settings.range",
        "poll.b.settings.nplc",
    ]


def test_a_serial_number_nobody_can_read_and_a_probe_nobody_has_are_refused():
    found = problems(text_driver(), {"p": "1 s"}, serial_number="1", channels={"vv": {"role": "uut"}})
    assert [path for _, path, _ in found] == ["instruments.box.serial_number", "instruments.box.channels.vv"]


@pytest.mark.parametrize(
    ("poll", "path", "words"),
    [
        ({"ask": "V?", "reply": "{w:nr2}"}, "polls.p.channels.v", "no reply has a field 'v'"),
        ({"ask": "V?", "reply": "{v:nr2},{w:nr2}"}, "polls.p", "write {:nr2}"),
        ({"ask": "V?", "reply": "{v:nr4}"}, "polls.p.reply", "no type 'nr4'"),
        ({"ask": "V?"}, "polls.p", "a question has an answer"),
        ({"reply": "{v:nr2}"}, "polls.p", "a poll asks something"),
        ({"ask": "V? {chn}", "reply": "{v:nr2}"}, "polls.p", "needs the setting 'chn'"),
        ({"ask": "V?", "reply": "{v:text}"}, "polls.p.channels.v", "is of type text, which is no number"),
        ({"ask": "Ω?", "reply": "{v:nr2}"}, "polls.p", "not one byte"),
        ({"ask": "V?", "reply": "{v:nr2}", "mode": "dcv"}, "polls.p.mode", "no mode 'dcv'"),
        ({"ask": "V?", "replies": [{"match": "{v:nr2}"}, {"match": "OL"}]}, "polls.p.replies.1", "give it a status"),
        (
            {"ask": "V?", "reply": "{v:nr2}", "time": {"model": "latest", "period": "rate"}},
            "polls.p.time.period",
            "no setting 'rate'",
        ),
        (
            {"ask": "V?", "reply": "{v:nr2}", "time": {"model": "latest", "period": "3"}},
            "polls.p.time.period",
            "not a time",
        ),
        ({"steps": [{"tell": "T", "reply": "{v:nr2}"}]}, "polls.p.steps.0", "tell is not answered"),
        (
            {"steps": [{"ask": "V?", "reply": "{v:nr2}", "status": {"v": {"1": "invalid"}}}]},
            "polls.p.steps.0.status",
            "exactly one field",
        ),
    ],
)
def test_what_is_wrong_in_the_driver_is_said_with_its_place(poll, path, words):
    found = problems(with_poll(**poll), {"p": "1 s"})
    assert any(file == "driver" and at == path and words in message for file, at, message in found), found


# Examples of drivers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (
            {"poll": "dcv", "got": ["+9.99998713E+00"], "gives": {"dcv": "9.9999871"}},
            "value is '9.99998713', not '9.9999871'",
        ),
        (
            {"poll": "dcv", "got": ["+9.90000000E+37"], "gives": {}, "status": {"dcv": "invalid"}},
            "status is 'overrange'",
        ),
        ({"poll": "dcv", "got": ["nonsense"]}, "its driver expects"),
        ({"poll": "dcv", "got": ["+9.99998713E+00"], "outcome": "busy"}, "should have been refused"),
        ({"poll": "dcv", "got": []}, "0 replies are given where 1 questions are asked"),
        ({"poll": "dcx", "got": []}, "no poll 'dcx'"),
        ({"poll": "dcv", "got": ["+9.99998713E+00"], "gives": {"acv": "1"}}, "no channel 'acv'"),
        ({"poll": "dcv", "got": ["+9.99998713E+00"], "unit": {"dcv": "A"}}, "unit is 'V', not 'A'"),
    ],
)
def test_an_example_that_does_not_come_true_fails(example, words):
    written = DMM.model_dump(exclude_unset=True)
    driver = TextDriver.model_validate(
        {**written, "link": {"max_latency": "5 s"}, "modes": _modes(), "examples": [example]}
    )
    (failure,) = run_examples(driver)
    assert words in failure


def _modes():
    return copy.deepcopy(YAML(typ="safe").load((DRIVERS / "keysight/34465a.yaml").read_text())["modes"])


def test_register_examples_that_do_not_come_true_fail():
    examples = [
        {"poll": "p", "registers": {"holding 40001": "04D2"}, "gives": {"x": "1233"}},
        {"poll": "p", "registers": {"holding 40001": "04D2"}, "gives": {"x": "1234"}},
        {"poll": "p", "registers": {"holdings 40001": "04D2"}},
    ]
    failures = run_examples(register_driver({"x": channel(40001)}, examples=examples))
    assert [failure.split(" ")[0] for failure in failures] == ["examples.0", "examples.2"]


def test_lint_names_what_is_unproven_and_what_would_pass_damaged():
    found = lint(text_driver())
    assert "p.v: no example gives it" in found
    assert any("lost its first characters" in warning for warning in found)
    assert any(warning.startswith("identify") for warning in found)


# Formulas, units ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "ns"),
    [
        ("nplc / line_frequency", 200_000_000),
        ("2 * nplc / line_frequency", 400_000_000),
        ("500 ms", 500_000_000),
        ("1.5 s * 2", 3_000_000_000),
        ("aperture", 100_000_000),
        ("samples / rate", 2_000_000_000),
    ],
)
def test_formulas_are_reckoned_exactly(formula, ns):
    values = {"nplc": ("10", None), "aperture": ("100", "ms"), "samples": ("20", None), "rate": ("10", "Hz")}
    assert span_ns(formula, values, 50) == ns


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("nplc", "is not a time"),
        ("1 s * 1 s", "is not a time"),
        ("nplc / line_frequncy", "Nearest: 'line_frequency'"),
        ("__import__('os')", "neither a name"),
        ("(1 s)", "neither a name"),
        ("1 s +", "neither a name"),
        ("", "neither a name"),
        ("1 s / 0", "divides by zero"),
        ("word / line_frequency", "no time can be reckoned from a word"),
    ],
)
def test_formulas_that_are_no_times_are_refused(formula, words):
    with pytest.raises(ValueError) as caught:
        span_ns(formula, {"nplc": ("10", None), "word": ("auto", None)}, 50)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("V", "V"),
        ("kOhm", "kΩ"),
        ("Cel", "°C"),
        ("m/s2", "m/s²"),
        ("V.A{reactive}", "var"),
        ("kW.h", "kWh"),
        ("%{RH}", "%RH"),
        ("uV/V", "µV/V"),
        ("[in_i'H2O]", "inH₂O"),
        ("mm[Hg]", "mmHg"),
        ("1", ""),
        ("10*-6", "10⁻⁶"),
        ("hPa", "hPa"),
        ("dB{mW}", "dBm"),
        ("/min", "/min"),
    ],
)
def test_units_are_ucum_and_have_a_symbol(code, printed):
    check_unit(code)
    assert symbol(code) == printed


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ohm", "Nearest: 'Ohm'"),
        ("degC", "Nearest: 'Cel'"),
        ("kWh", "Nearest: 'kW.h'"),
        ("psi", "Nearest: '[psi]'"),
        ("°C", "Write Ohm for Ω, Cel for °C"),
        ("V/", "is no UCUM unit"),
        ("", "is no UCUM code"),
        ("m s", "is no UCUM code"),
        ("kk", "no UCUM unit known here"),
    ],
)
def test_what_is_no_unit_is_refused_with_the_nearest(code, words):
    with pytest.raises(UnitError) as caught:
        check_unit(code)
    assert words in str(caught.value)


def test_quantities_are_dotted_words():
    assert all(part.isidentifier() or part[0].isdigit() for name in QUANTITIES for part in name.split("."))

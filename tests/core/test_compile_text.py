import pytest

from daq.core.driver import TextDriver
from daq.core.errors import BusyReply, RefusedReply, UnreadableReply
from daq.core.observation import Flag, Integrity, ReadingStatus
from daq.core.timing import Arrival
from tests.core.drivers import asks, compiled, problems, readings, text_driver, with_poll

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


def test_a_value_that_is_none_stands_in_the_unit_that_the_instrument_said_it_is_set_to():
    plan = compiled(
        with_poll(
            steps=[
                {"ask": "P?", "replies": [{"match": "{p:nr2}"}, {"match": "OL", "status": "overrange"}]},
                {"ask": "U?", "reply": "{u:unit}"},
            ],
            channels={"p": {"quantity": "pressure.gauge", "unit": "kPa", "unit_in": "u", "units": {"mbar": "mbar"}}},
        ),
        {"p": "1 s"},
    )
    for said, unit in ((b"mbar\n", "mbar"), (b"kPa\n", "kPa")):
        over = readings(plan, b"OL\n", said)["p"]
        assert (over.value, over.status, over.unit) == (None, ReadingStatus.OVERRANGE, unit)
        assert readings(plan, b"1.5\n", said)["p"].unit == unit
    with pytest.raises(UnreadableReply, match="its driver knows 'kPa', 'mbar'"):
        readings(plan, b"OL\n", b"psi\n")


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


CALIBRATOR = {
    "for_each": {"n": ["1", "2"]},
    "steps": [
        {"ask": "OUT{n}?", "reply": "{out{n}:nr2}"},
        {
            "ask": "ISR{n}?",
            "reply": "{state{n}:bits}",
            "flags": {"out{n}": {"!0x1001": "unstable", "32": "suspect", "!1": "unstable"}},
        },
    ],
    "channels": {
        "out{n}": {"quantity": "voltage.setpoint", "unit": "V", "plausible": [0, 10]},
        "state{n}": {"quantity": "status", "unit": "1", "kind": "bits"},
    },
}


def test_bits_that_are_set_or_missing_cast_a_doubt_on_another_channel():
    plan = compiled(with_poll(**CALIBRATOR), {"p": "1 s"})
    found = readings(plan, b"5.0\n", b"4097\n", b"50.0\n", b"33\n")
    assert found["out1"].flags == ()
    assert found["out2"].value == "50.0"
    assert found["out2"].flags == (Flag.UNSTABLE, Flag.SUSPECT, Flag.IMPLAUSIBLE)
    assert found["state2"].flags == ()
    assert readings(plan, b"5.0\n", b"0\n", b"5.0\n", b"4097\n")["out1"].flags == (Flag.UNSTABLE,)


@pytest.mark.parametrize(
    ("reply", "flags", "message"),
    [
        ("{s:bits}", {"v": {"!x": "suspect"}}, "'x' is no mask. Write bits as 32 or 0x20."),
        ("{s:bits}", {"w": {"1": "suspect"}}, "no channel 'w'. "),
        (
            "{s:nr1}",
            {"v": {"1": "suspect"}},
            "field 's' is a number: are these bits, or codes? Write {s:bits}, or {s:word}",
        ),
    ],
)
def test_flags_that_no_bits_can_tell_are_refused(reply, flags, message):
    steps = [{"ask": "V?", "reply": "{v:nr2}"}, {"ask": "S?", "reply": reply, "flags": flags}]
    found = [said for _, _, said in problems(with_poll(steps=steps), {"p": "1 s"})]
    assert any(said.startswith(message) for said in found), found


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


def test_a_second_barrier_is_a_question_of_another_form_than_the_first():
    mode = {"default": "A", "get": "MODE?", "reply": "MODE {value:word}"}
    alike = {"default": "B", "get": "FORM?", "reply": "MODE {value:word}"}
    other = {"default": "C", "get": "LINE?", "reply": "LINE={value:word}"}
    plan = compiled(text_driver(settings={"mode": mode, "alike": alike, "other": other}), {"p": "1 s"})
    assert (plan.barrier.ask, plan.second_barrier.ask) == (b"MODE?\n", b"LINE?\n")
    assert compiled(text_driver(settings={"mode": mode, "alike": alike}), {"p": "1 s"}).second_barrier is None


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


# Words in place of numbers --------------------------------------------------------------------------------------------

POWER = {
    "time": {"model": "latest", "period": "1 s"},
    "ask": "VAL?",
    "reply": "{u:nr3},{i:nr3:9}",
    "channels": {
        "u": {"quantity": "voltage.ac", "unit": "V"},
        "i": {"quantity": "current.ac", "unit": "A", "special": {"---": "absent"}},
    },
}


def test_a_word_in_place_of_a_number_means_a_status():
    # Yokogawa WT3001E communication interface manual, page 6-97: NAN where there is no value, INF for overrange
    plan = compiled(text_driver(special={"NAN": "invalid", "INF": "overrange"}, polls={"p": POWER}), {"p": "1 s"})
    found = readings(plan, b"NAN,  1.5E+00\n")
    assert (found["u"].value, found["u"].text, found["u"].status) == (None, "NAN", ReadingStatus.INVALID)
    assert (found["i"].value, found["i"].status) == ("1.5", ReadingStatus.OK)
    assert readings(plan, b"1.0E+01,      INF\n")["i"].status == ReadingStatus.OVERRANGE
    assert readings(plan, b"1.0E+01,      ---\n")["i"].status == ReadingStatus.ABSENT
    for torn in (b"NA,  1.5E+00\n", b"---,  1.5E+00\n", b"NANNAN,  1.5E+00\n", b"NAN\n", b"nan,  1.5E+00\n"):
        with pytest.raises(UnreadableReply):
            readings(plan, torn)


def test_a_mistyped_special_number_is_no_word():
    ((_, _, message), *_) = problems(text_driver(special={"9.9E3T": "overrange"}, polls={"p": POWER}), {"p": "1 s"})
    assert "'9.9E3T' is no number" in message


# Lists given by the bench ---------------------------------------------------------------------------------------------

SCAN = {
    "time": {"model": "latest", "period": "1 s"},
    "for_each": {"ch": "scan"},
    "steps": [
        {"tell": "ROUT:SCAN (@{scan})"},
        {"ask": "READ?", "each": "{v{ch}:nr3} {u{ch}:unit},{ch}", "reply": "{each}"},
    ],
    "channels": {"v{ch}": {"quantity": "temperature", "unit": "Cel", "unit_in": "u{ch}", "units": {"C": "Cel"}}},
}


def scanner():
    return text_driver(settings={"scan": {"default": 101}}, polls={"p": SCAN})


def scanned(scan):
    return {"p": {"ask": "p", "every": "1 s", "settings": {"scan": scan}}}


def test_the_bench_gives_the_channels_of_a_scan():
    # Agilent 34980A user's guide, page 123: value, blank, unit, channel
    plan = compiled(scanner(), scanned("101, 105,210"))
    assert [step.ask for step in plan.polls[0].steps] == [b"ROUT:SCAN (@101, 105,210)\n", b"READ?\n"]
    found = readings(plan, b"+2.6E+01 C,101,-1.5E+00 C,105,+3.0E+01 C,210\n")
    assert {name: one.value for name, one in found.items()} == {"v101": "2.6E1", "v105": "-1.5", "v210": "3.0E1"}
    for other in (b"+2.6E+01 C,101\n", b"+2.6E+01 C,101,-1.5E+00 C,106,+3.0E+01 C,210\n"):
        with pytest.raises(UnreadableReply):
            readings(plan, other)


@pytest.mark.parametrize("scan", ["101:105", "101,101", "101,,102", ""])
def test_what_is_no_list_of_channels_is_refused(scan):
    ((file, path, message),) = problems(scanner(), scanned(scan))
    assert (file, path) == ("bench", "instruments.box.poll.p.settings.scan")
    assert "Write each one, as in '101,102,103'." in message


def test_a_list_from_a_setting_that_is_none_is_named():
    found = problems(text_driver(polls={"p": SCAN | {"steps": SCAN["steps"][1:]}}), {"p": "1 s"})
    assert any("no setting 'scan' with a value" in message for _, _, message in found)


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "told"), [("auto", b"RANG:AUTO 1\n"), ("100 mV", b"RANG 0.100\n")])
def test_a_word_may_be_set_by_another_command(given, told):
    # Keithley 2000: a range is set by RANG, the choice of it by RANG:AUTO
    ranged = {
        "unit": "V",
        "default": "auto",
        "set": "RANG {range}",
        "set_word": {"auto": "RANG:AUTO 1"},
        "get": "RANG?",
    }
    poll = {
        "mode": "dcv",
        "ask": "READ?",
        "reply": "{v:nr3}",
        "channels": {"v": {"quantity": "voltage.dc", "unit": "V"}},
        "time": {"model": "latest", "period": "1 s"},
    }
    driver = text_driver(modes={"dcv": {"enter": ["range"], "settings": {"range": ranged}}}, polls={"p": poll})
    (asked,) = compiled(driver, {"p": {"ask": "p", "every": "1 s", "settings": {"range": given}}}).polls
    assert asked.mode.enter[0].ask == told
    (readback,) = asked.mode.readbacks
    assert readback.agrees(readback.step.reply.match(b"+1.00000E-01\n"))


# Serial lines ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "serial"),
    [
        ({"at": {"tcp": "localhost:5025"}}, False),
        ({"at": {"visa": "GPIB0::22::INSTR"}}, False),
        ({"at": {"visa": "ASRL/dev/ttyS0::INSTR"}}, True),
        ({"at": {"serial": "/dev/ttyS0"}}, True),
        ({"at": {"tcp": "localhost:4001"}, "behind": "serial_server"}, True),
    ],
)
def test_lines_end_otherwise_on_a_serial_line(entry, serial):
    driver = text_driver(
        setup=["*CLS"],
        teardown=["*RST"],
        over_serial={"eol": "\r\n", "setup": ["SYST:REM"], "teardown": ["SYST:LOC"]},
    )
    plan = compiled(driver, {"p": "1 s"}, **entry)
    assert plan.eol == (b"\r\n" if serial else b"\n")
    assert asks(plan.setup) == ((b"SYST:REM\r\n", b"*CLS\r\n") if serial else (b"*CLS\n",))
    assert asks(plan.teardown) == ((b"*RST\r\n", b"SYST:LOC\r\n") if serial else (b"*RST\n",))


# Units printed or not -------------------------------------------------------------------------------------------------


def weighed(**second):
    return with_poll(
        ask="SI",
        replies=[{"match": "S {w:nr} {u:unit}"}, {"match": "D {w:nr}", "flags": ["unstable"], **second}],
        channels={"w": {"quantity": "mass", "unit": "g", "unit_in": "u", "units": {"kg": "kg"}}},
    )


def test_a_shape_that_does_not_print_its_unit_is_refused_unless_the_driver_says_so():
    ((file, path, message),) = problems(weighed(), {"p": "1 s"})
    assert (file, path) == ("driver", "polls.p.replies.1")
    assert "it would be read as g" in message
    assert "assume_unit: true" in message
    found = readings(compiled(weighed(assume_unit=True), {"p": "1 s"}), b"D 12.5\n")["w"]
    assert (found.value, found.unit, found.flags) == ("12.5", "g", (Flag.UNSTABLE,))


def test_an_empty_list_of_errors_may_say_so_in_several_ways():
    errors = {"ask": "ERR?", "none": ["0", '+0,"No error"']}
    queue = compiled(text_driver(errors=errors), {"p": "1 s"}).errors
    told = [queue.is_none(queue.step.reply.match(reply)) for reply in (b"0\n", b'+0,"No error"\n', b"-113\n")]
    assert told == [True, True, False]
    one = compiled(text_driver(errors=errors | {"none": "0"}), {"p": "1 s"}).errors
    assert one.is_none(one.step.reply.match(b"0\n"))


def test_plans_whose_replies_know_of_each_other_can_be_printed_and_compared():
    # asyncio prints the result of its main task when it ends: each of n replies once printed all others, n! of them
    polls = {
        f"p{n}": {
            "ask": f"V{n}?",
            "reply": f"P{n} {{v:nr2}}",
            "channels": {"v": {"quantity": "voltage.dc", "unit": "V"}},
            "time": {"model": "latest", "period": "1 s"},
        }
        for n in range(7)
    }
    plans = [compiled(text_driver(polls=polls), dict.fromkeys(polls, "1 s")) for _ in range(2)]
    assert len(repr(plans[0])) < 100_000
    assert plans[0].polls == plans[1].polls

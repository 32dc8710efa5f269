import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.bench import StationName
from daq.core.errors import ForeignReply, ReplyError, UnreadableReply
from daq.core.examples import run_examples
from daq.core.observation import Integrity, ReadingStatus
from daq.core.timing import Triggered
from tests.core.drivers import DMM, METER, asks, compiled, problems, readings, text_driver, with_poll


@pytest.mark.parametrize("driver", [DMM, METER], ids=["34465a", "sdm630"])
def test_the_examples_of_the_driver_come_true(driver):
    assert run_examples(driver) == []


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
    unscaled = b"CALC:SCAL:STAT 0\n"
    assert [asks(poll.mode.enter) for poll in plan.polls] == [
        (b"CONF:VOLT:DC 10\n", b"VOLT:DC:NPLC 10\n", b"VOLT:DC:NULL:STAT 0\n", unscaled, b"VOLT:DC:IMP:AUTO 0\n"),
        (b"CONF:VOLT:DC 0.100\n", b"VOLT:DC:NPLC 10\n", b"VOLT:DC:NULL:STAT 0\n", unscaled, b"VOLT:DC:IMP:AUTO 0\n"),
        (b"CONF:FRES 10000\n", b"FRES:NPLC 100\n", b"FRES:NULL:STAT 0\n", unscaled),
        (b"CONF:RES auto\n", b"RES:NPLC 10\n", b"RES:NULL:STAT 0\n", unscaled),
    ]


def test_a_null_at_the_front_panel_is_seen_when_it_is_read_back():
    plan = compiled(DMM, {"vref": {"ask": "dcv", "every": "1 s"}})
    null, scaling = (one for one in plan.polls[0].mode.readbacks if one.setting in {"relative", "scaling"})
    for switch, question in ((null, b"VOLT:DC:NULL:STAT?\n"), (scaling, b"CALC:SCAL:STAT?\n")):
        assert switch.step.ask == question
        off, on = (switch.step.reply.match(reply) for reply in (b"0\n", b"1\n"))
        assert switch.agrees(off)
        assert not switch.agrees(on)


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


def test_a_bare_number_shows_no_fault_on_the_way():
    assert DMM_PLAN.polls[0].integrity is Integrity.NONE


@given(reply=st.binary(max_size=30))
def test_whatever_comes_is_a_reading_or_is_refused(reply):
    try:
        (reading,) = readings(DMM_PLAN, reply + b"\n").values()
    except ReplyError:
        return
    assert len(reply) == 15
    assert reading.text.encode() == reply.strip()


DMM_PLAN = compiled(DMM, {"v": {"ask": "dcv", "every": "1 s"}})


# What is wrong, all at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("poll", "path", "words"),
    [
        ({"dvc": "1 s"}, "poll.dvc", "has no poll 'dvc'. Nearest: 'dcv'."),
        ({"a": {"ask": "dvc", "every": "1 s"}}, "poll.a.ask", "Nearest: 'dcv'."),
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
        (
            {"a": {"ask": "dcv", "every": "1 s", "settings": {"range": "12 V"}}},
            "poll.a.settings.range",
            "'12 V' is not allowed. Allowed: 100 mV, 1 V, 10 V, 100 V, 1000 V, auto.",
        ),
        (
            {"a": {"ask": "aci", "every": "1 s", "settings": {"range": "10 uA"}}},
            "poll.a.settings.range",
            "Allowed: 100 uA, 1 mA, 10 mA, 100 mA, 1 A, 3 A, 10 A, auto.",
        ),
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


@pytest.mark.parametrize(
    ("ask", "given", "told"),
    [
        ("dcv", "100 mV", b"CONF:VOLT:DC 0.100\n"),
        ("dcv", "1 kV", b"CONF:VOLT:DC 1000\n"),
        ("dci", "10 uA", b"CONF:CURR:DC 0.000010\n"),
        ("ohm4w", "1 GOhm", b"CONF:FRES 1000000000\n"),
        ("capacitance", "1 nF", b"CONF:CAP 0.000000001\n"),
        ("dcv", "auto", b"CONF:VOLT:DC auto\n"),
    ],
)
def test_ranges_that_the_multimeter_has_are_set(ask, given, told):
    plan = compiled(DMM, {"a": {"ask": ask, "every": "1 s", "settings": {"range": given}}})
    assert plan.polls[0].mode.enter[0].ask == told


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
        ({"steps": [{"tell": "T", "reply": "{v:nr2}"}]}, "polls.p.steps.0", "tell has no reply"),
        (
            {"steps": [{"ask": "V?", "reply": "{v:nr2}", "status": {"v": {"1": "invalid"}}}]},
            "polls.p.steps.0.status",
            "that could hold the code",
        ),
    ],
)
def test_what_is_wrong_in_the_driver_is_said_with_its_place(poll, path, words):
    found = problems(with_poll(**poll), {"p": "1 s"})
    assert any(file == "driver" and at == path and words in message for file, at, message in found), found

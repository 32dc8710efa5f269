"""A session knows what to ask next, and what to make of the answer."""

from __future__ import annotations

import pytest

from daq.core.bench import InstrumentFile, StationName
from daq.core.compile import compile_instrument
from daq.core.driver import TextDriver
from daq.core.errors import LinkDesync, LinkTimeout, UnreadableReply, WrongInstrument, WrongState
from daq.core.observation import NS, Flag
from daq.core.outcome import Changed
from daq.core.plan import InstrumentPlan
from daq.session import Session
from tests.session.script import MS, Line, Script

IDENTITY = b"ACME,M1,S1,1.0\n"
DRIVER = {
    "driver": 1,
    "title": "ACME M1",
    "source": "made for tests",
    "verified": "manual",
    "speaks": "text",
    "identify": {
        "ask": "*IDN?",
        "reply": "{maker:text},{model:text},{serial:text},{firmware:text}",
        "expect": {"model": "M1"},
    },
    "settings": {
        "range": {"default": 10, "unit": "V", "set": "RANG {range}", "get": "RANG?"},
        "rate": {
            "default": "FAST",
            "one_of": ["FAST", "SLOW"],
            "set": "RATE {rate}",
            "get": "RATE?",
            "reply": "RATE {value:word}",
        },
    },
    "setup": ["*RST", "rate"],
    "errors": {"ask": "ERR?", "none": '0,"No error"', "at_most": 3},
    "modes": {
        "dcv": {"enter": ["CONF:VOLT", "range"], "settle": "500 ms", "discard": 1},
        "ohm": {"enter": ["CONF:RES"]},
    },
    "polls": {
        "dcv": {
            "mode": "dcv",
            "ask": "READ?",
            "reply": "{dcv:nr3}",
            "channels": {"dcv": {"quantity": "voltage.dc", "unit": "V"}},
            "time": {"model": "triggered", "aperture": "5 ms"},
        },
        "ohm": {
            "mode": "ohm",
            "steps": [{"tell": "INIT", "touches": False}, {"ask": "FETC?", "reply": "{ohm:nr3}"}],
            "channels": {"ohm": {"quantity": "resistance.2wire", "unit": "Ohm"}},
            "time": {"model": "triggered", "aperture": "0 s"},
        },
    },
    "teardown": ["SYST:LOC"],
}
NO_ERROR = b'0,"No error"\n'
CONNECT: tuple[Line, ...] = (
    (b"*IDN?\n", IDENTITY),
    (b"*RST\n", None),
    (b"RATE FAST\n", None),
    (b"RATE?\n", b"RATE FAST\n"),
    (b"ERR?\n", NO_ERROR),
)
ENTER_DCV: tuple[Line, ...] = (
    (b"CONF:VOLT\n", None),
    (b"RANG 10\n", None),
    ("pause", None),
    (b"READ?\n", b"+9.0E+00\n"),
    (b"RANG?\n", b"10\n"),
)


def plan(configure: str = "on_connect", **entry: object) -> InstrumentPlan:
    polls = {"v": {"ask": "dcv", "every": "1 s"}, "r": {"ask": "ohm", "every": "1 s"}}
    given = {"driver": "acme/m1", "at": {"tcp": "h:1"}, "configure": configure, "poll": polls} | entry
    station = StationName(site="s", name="n")
    compiled = compile_instrument(
        TextDriver.model_validate(DRIVER), "dmm", InstrumentFile.model_validate(given), station
    )
    assert isinstance(compiled, InstrumentPlan), compiled
    return compiled


def session(configure: str = "on_connect", **entry: object) -> Session:
    return Session(plan(configure, **entry))


def connected(configure: str = "on_connect") -> Session:
    talk = session(configure)
    Script(*(CONNECT if configure == "on_connect" else (CONNECT[0], CONNECT[3]))).play(talk.connect())
    return talk


def poll(talk: Session, name: str, *lines: Line, now_s: int = 0):
    return Script(*lines).play(talk.poll(next(each for each in talk.plan.polls if each.name == name), now_s * NS))


# Connecting -----------------------------------------------------------------------------------------------------------


def test_connecting_identifies_sets_up_reads_back_and_drains_the_error_queue():
    met = Script(*CONNECT).play(session(asset="A-7").connect())
    assert (met.identity.asset, met.identity.model, met.identity.serial) == ("A-7", "M1", "S1")
    assert (met.maker, met.firmware, met.settings, met.warnings) == ("ACME", "1.0", {"rate": "FAST"}, ())


def test_configure_never_only_asks_and_leaves_the_error_queue_alone():
    Script(CONNECT[0], CONNECT[3]).play(session("never").connect())
    Script().play(session("never").teardown())


def test_what_must_be_said_before_an_instrument_can_answer_comes_first(monkeypatch):
    # Keysight 3458A: without END ALWAYS no answer ends on GPIB
    identify = {"steps": [{"tell": "END ALWAYS"}, {"ask": "ID?", "reply": "HP{model:word}"}]}
    monkeypatch.setitem(DRIVER, "identify", identify)
    met = Script((b"END ALWAYS\n", None), (b"ID?\n", b"HP3458A\n"), *CONNECT[1:]).play(session().connect())
    assert (met.identity.model, met.identity.serial) == ("3458A", None)


def test_what_the_error_queue_held_is_a_warning():
    errors: tuple[Line, ...] = ((b"ERR?\n", b'-113,"Undefined header"\n'), (b"ERR?\n", NO_ERROR))
    met = Script(*CONNECT[:-1], *errors).play(session().connect())
    assert met.warnings == ("""its error queue held '-113,"Undefined header"'""",)


def test_an_endless_error_queue_is_left_after_as_many_as_the_driver_says():
    errors: tuple[Line, ...] = ((b"ERR?\n", b'-350,"Queue overflow"\n'),) * 3
    assert len(Script(*CONNECT[:-1], *errors).play(session().connect()).warnings) == 3


def test_another_instrument_is_refused_after_two_looks_with_quiet_between():
    wrong: Line = (b"*IDN?\n", b"ACME,M1,S2,1.0\n")
    script = Script(wrong, ("quiet", None), wrong)
    with pytest.raises(WrongInstrument, match=r"'S2'.*'S1'"):
        script.play(session(serial_number="S1").connect())
    assert script.waited_ns == 2000 * MS


def test_a_late_answer_in_place_of_the_identity_is_looked_at_twice():
    late: Line = (b"*IDN?\n", b"+1.0E+00\n")
    met = Script(late, ("quiet", None), *CONNECT).play(session().connect())
    assert met.identity.serial == "S1"


def test_two_answers_that_are_no_identity_are_unreadable():
    late: Line = (b"*IDN?\n", b"?\n")
    with pytest.raises(UnreadableReply):
        Script(late, ("quiet", None), late).play(session().connect())


def test_a_setting_that_reads_back_otherwise_stops_everything():
    with pytest.raises(WrongState, match=r"rate is 'SLOW', wanted 'FAST'"):
        Script(*CONNECT[:3], (b"RATE?\n", b"RATE SLOW\n")).play(session().connect())


def test_a_silent_instrument_is_a_time_out():
    with pytest.raises(LinkTimeout):
        Script((b"*IDN?\n", LinkTimeout("silence"))).play(session().connect())


# The barrier ----------------------------------------------------------------------------------------------------------


def test_the_barrier_throws_away_whatever_is_not_its_answer():
    Script((b"*IDN?\n", b"+1.0E+00\n"), ("again", b"+2.0E+00\n"), ("again", IDENTITY)).play(session().barrier())


def test_a_barrier_that_is_never_answered_fails():
    with pytest.raises(LinkTimeout):
        Script((b"*IDN?\n", b"+1.0E+00\n"), ("again", LinkTimeout("silence"))).play(session().barrier())


# Polls ----------------------------------------------------------------------------------------------------------------


def test_the_first_poll_enters_its_mode_and_the_next_only_asks():
    talk = connected()
    first = poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.25E+00\n"))
    assert (first.status, first.readings["dcv"].value) == ("ok", "1.25")
    assert talk.met.poll_settings == {"v": {"range": "10"}}
    assert poll(talk, "v", (b"READ?\n", b"+1.50E+00\n")).readings["dcv"].value == "1.50"


def test_another_poll_changes_the_mode_and_it_must_be_entered_again():
    talk = connected()
    poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.25E+00\n"))
    ohms = poll(talk, "r", (b"CONF:RES\n", None), (b"INIT\n", None), (b"FETC?\n", b"+1.0E+03\n"))
    assert ohms.status == "ok"
    assert poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n")).status == "ok"


def test_a_command_before_the_question_may_have_been_the_trigger():
    talk = connected()
    ohms = poll(talk, "r", (b"CONF:RES\n", None), (b"INIT\n", None), (b"FETC?\n", b"+1.0E+03\n"))
    assert (ohms.timing.mono_ns, ohms.timing.err_ns) == (5 * MS, 5 * MS)


def test_a_new_connection_trusts_no_mode():
    talk = connected()
    poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.25E+00\n"))
    Script(*CONNECT).play(talk.connect())
    assert poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n")).status == "ok"


def test_a_mode_whose_setting_reads_back_otherwise_is_the_wrong_state_and_is_entered_again():
    talk = connected()
    wrong = poll(talk, "v", *ENTER_DCV[:-1], (b"RANG?\n", b"100\n"))
    assert (wrong.status, wrong.lost_track) == ("wrong_state", False)
    assert poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n")).status == "ok"


def test_with_configure_never_a_poll_is_asked_only_while_the_instrument_is_as_it_should_be():
    talk = connected("never")
    right: tuple[Line, ...] = ((b"RANG?\n", b"10\n"), (b"READ?\n", b"+1.0E+00\n"))
    assert poll(talk, "v", *right).status == "ok"
    wrong = poll(talk, "v", (b"RANG?\n", b"100\n"))
    assert wrong.status == "wrong_state"
    assert "front panel" in wrong.detail
    assert poll(talk, "v", *right).status == "ok"


def test_what_a_mode_has_set_is_read_back_again_after_ten_seconds():
    talk = connected()
    poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n"), now_s=100)
    poll(talk, "v", (b"READ?\n", b"+1.0E+00\n"), now_s=109)
    poll(talk, "v", (b"RANG?\n", b"10\n"), (b"READ?\n", b"+1.0E+00\n"), now_s=110)
    assert poll(talk, "v", (b"READ?\n", b"+1.0E+00\n"), now_s=119).status == "ok"


def test_what_never_was_right_was_not_changed_by_anybody():
    talk = connected()
    assert poll(talk, "v", *ENTER_DCV[:-1], (b"RANG?\n", b"100\n")).changed is None
    watching = connected("never")
    right: tuple[Line, ...] = ((b"RANG?\n", b"10\n"), (b"READ?\n", b"+1.0E+00\n"))
    assert poll(watching, "v", (b"RANG?\n", b"100\n"), now_s=4).changed is None
    poll(watching, "v", *right, now_s=5)
    assert poll(watching, "v", (b"RANG?\n", b"100\n"), now_s=6).changed == Changed("range", "10", "100", 5 * NS)
    assert poll(watching, "v", (b"RANG?\n", b"100\n"), now_s=7).changed is None


def test_a_setting_that_somebody_changed_is_the_wrong_state_and_is_set_anew():
    talk = connected()
    poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n"))
    wrong = poll(talk, "v", (b"RANG?\n", b"100\n"), now_s=60)
    assert (wrong.status, wrong.lost_track, wrong.readings) == ("wrong_state", False, {})
    assert wrong.changed == Changed("range", "10", "100", since_ns=0)
    assert "range is '100', wanted '10'. It was right before: somebody changed it." in wrong.detail
    assert poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n"), now_s=61).status == "ok"


def test_an_unreadable_answer_loses_track_and_is_explained_by_the_error_queue():
    talk = connected()
    bad = poll(
        talk,
        "v",
        *ENTER_DCV,
        (b"READ?\n", b"oops\n"),
        (b"ERR?\n", b'-222,"Out of range"\n'),
        (b"ERR?\n", NO_ERROR),
    )
    assert (bad.status, bad.lost_track, bad.readings) == ("protocol", True, {})
    assert bad.detail.endswith("""its error queue says '-222,"Out of range"'""")
    assert poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n")).status == "ok"


def test_an_error_queue_that_is_silent_too_leaves_the_outcome_as_it_was():
    bad = poll(connected(), "v", *ENTER_DCV, (b"READ?\n", b"oops\n"), (b"ERR?\n", LinkTimeout("silence")))
    assert (bad.status, bad.lost_track) == ("protocol", True)


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (LinkTimeout("h:1: nothing came in time"), "timeout", "asked 'READ?' at h:1: nothing came in time (2 s)"),
        (LinkDesync("'1' came", b"1"), "desync", "'1' came"),
    ],
)
def test_what_goes_wrong_on_the_wire_is_an_outcome_that_lost_track(error, status, detail):
    bad = poll(connected(), "v", *ENTER_DCV, (b"READ?\n", error))
    assert (bad.status, bad.lost_track, bad.detail) == (status, True, detail)


def test_an_identity_in_place_of_a_reading_is_another_questions_answer():
    bad = poll(connected(), "v", *ENTER_DCV, (b"READ?\n", IDENTITY))
    assert (bad.status, bad.lost_track) == ("mismatch", True)


def too_fast(behind=IDENTITY):
    slow = DRIVER["polls"]["dcv"] | {"time": {"model": "triggered", "aperture": "1 s"}}
    driver = TextDriver.model_validate(DRIVER | {"polls": DRIVER["polls"] | {"dcv": slow}})
    entry = InstrumentFile.model_validate(
        {"driver": "acme/m1", "at": {"tcp": "h:1"}, "poll": {"v": {"ask": "dcv", "every": "5 s"}}}
    )
    talk = Session(compile_instrument(driver, "dmm", entry, StationName(site="s", name="n")))
    Script(*CONNECT).play(talk.connect())
    return talk, poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n"), (b"*IDN?\n", behind))


def test_an_answer_faster_than_the_drivers_time_model_is_bounded_all_the_same():
    _, seen = too_fast()
    assert (seen.status, seen.claim_held, seen.timing.aperture_ns) == ("ok", False, None)


def test_an_answer_faster_than_the_drivers_time_model_is_suspect_and_its_mode_is_entered_anew():
    talk, seen = too_fast()
    assert seen.readings["dcv"].flags == (Flag.SUSPECT,)
    again = poll(talk, "v", *ENTER_DCV, (b"READ?\n", b"+1.0E+00\n"), (b"*IDN?\n", IDENTITY))
    assert again.status == "ok"


def test_an_answer_sooner_than_it_can_be_measured_is_no_value_where_another_comes_behind_it():
    _, seen = too_fast(behind=b"+2.0E+00\n")
    assert (seen.status, seen.lost_track, seen.readings) == ("desync", True, {})
    assert "another answer came behind" in seen.detail

"""What is told: acknowledgements, and what a poll may say while the front panel is to be left alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.driver import TextDriver
from daq.core.errors import ReplyError
from daq.core.examples import run_examples
from tests.core.drivers import asks, compiled, problems, text_driver, with_poll

TELLING = {"steps": [{"tell": "ROUT:CLOS (@{n})"}, {"ask": "V?", "reply": "{v:nr2}"}], "for_each": {"n": [1]}}


def acknowledged(**link):
    return text_driver(link={"eol": "\n", **link}, setup=["*CLS", {"tell": "RST", "ack": "{command}: done"}])


def test_a_poll_that_changes_the_instrument_is_refused_where_nothing_may_be_changed():
    ((file, path, message),) = problems(with_poll(**TELLING), {"p": "1 s"}, configure="never")
    assert (file, path) == ("bench", "instruments.box.poll.p")
    assert "'p' says 'ROUT:CLOS (@1)', which changes the instrument" in message
    assert "configure: on_connect" in message
    assert compiled(with_poll(**TELLING), {"p": "1 s"}).polls[0].touches == "ROUT:CLOS (@1)"


def test_a_trigger_changes_nothing_where_the_driver_says_so():
    steps = [{"tell": "*TRG", "touches": False}, {"ask": "V?", "reply": "{v:nr2}"}]
    assert compiled(with_poll(steps=steps), {"p": "1 s"}, configure="never").polls[0].touches is None


def test_a_question_may_change_the_instrument_too():
    steps = [{"ask": "MEAS:VOLT:DC?", "reply": "{v:nr2}", "touches": True}]
    ((_, _, message),) = problems(with_poll(steps=steps), {"p": "1 s"}, configure="never")
    assert "'MEAS:VOLT:DC?', which changes the instrument" in message


def test_what_an_identity_needs_told_is_named_where_it_is_left_out():
    identify = {"steps": [{"tell": "REMOTE"}, {"ask": "ID?", "reply": "ID {serial:word}"}]}
    plan = compiled(text_driver(identify=identify), {"p": "1 s"}, configure="never")
    assert any("leaves 'REMOTE' unsaid" in warning for warning in plan.warnings)
    assert plan.identify.steps[0].touches
    assert not any("unsaid" in warning for warning in compiled(text_driver(identify=identify), {"p": "1 s"}).warnings)


def test_a_serial_instrument_may_need_a_command_before_it_answers_at_all():
    driver = text_driver(over_serial={"wake": ["SYST:REM"]})
    assert asks(compiled(driver, {"p": "1 s"}, at={"serial": "/dev/ttyS0"}).wake) == (b"SYST:REM\n",)
    assert compiled(driver, {"p": "1 s"}).wake == ()


def test_an_echo_is_an_acknowledgement_braces_and_all():
    plan = compiled(acknowledged(ack="OK"), {"p": "1 s"})
    step = plan.setup[0]
    assert step.reply.match(b"OK\n").fields == {}
    driver = acknowledged(ack="{command}")
    written = driver.model_dump(exclude_unset=True) | {"setup": ["DISP {{hello}}"]}
    (echoed,) = compiled(TextDriver.model_validate(written), {"p": "1 s"}).setup
    assert echoed.ask == b"DISP {hello}\n"
    assert echoed.reply.match(b"DISP {hello}\n").fields == {}


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ([{"tell": "X", "ack": True}], "the acknowledgement belongs here"),
        ([{"say": "X"}], "say"),
        ([["X"]], "Command"),
    ],
)
def test_what_is_no_command_is_refused(setup, words):
    with pytest.raises(ValueError, match=words):
        text_driver(setup=setup)


def test_ack_without_a_command_is_refused():
    ((_, path, message),) = problems(with_poll(steps=[{"ask": "V?", "reply": "{v:nr2}", "ack": "OK"}]), {"p": "1 s"})
    assert path == "polls.p.steps.0.ack"
    assert "ack goes with tell" in message


def test_acknowledgements_are_no_replies_of_an_example():
    example = {"poll": "p", "got": ["1.5"], "gives": {"v": "1.5"}}
    steps = [{"tell": "TRG"}, {"ask": "V?", "reply": "{v:nr2}"}]
    driver = with_poll(steps=steps).model_dump(exclude_unset=True) | {"link": {"ack": "OK"}, "examples": [example]}
    assert run_examples(TextDriver.model_validate(driver)) == []


def test_no_barrier_may_be_taken_for_an_acknowledgement():
    identify = {"ask": "ID?", "reply": "{model:word} {serial:word}"}
    told = {"setup": ["A"], "identify": identify}
    assert compiled(text_driver(**told, link={"ack": "OK"}), {"p": "1 s"}).barrier.ask == b"ID?\n"
    assert compiled(text_driver(**told, link={"ack": "{:word} {:word}"}), {"p": "1 s"}).barrier is None


JUDGES = {
    right: compiled(acknowledged(ack=ack), {"p": "1 s"}).setup[0].reply.match
    for ack, right in (("OK", b"OK"), ("", b""), ("A{:nr1}", b"A12"), ("{command}", b"*CLS"))
}


@settings(deadline=None)  # the computer may be busy
@given(reply=st.binary(max_size=8).filter(lambda said: b"\n" not in said))
def test_only_the_whole_acknowledgement_acknowledges(reply):
    for right, judge in JUDGES.items():
        judge(right + b"\n")
        for wrong in (right[1:] + b"?", right + right + b"x", right + b" ", reply + b"!"):
            with pytest.raises(ReplyError):
                judge(wrong + b"\n")

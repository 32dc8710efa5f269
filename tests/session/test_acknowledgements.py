"""Commands that are answered: the acknowledgement is read, and judged, and never left to be the next answer."""

from dataclasses import replace

import pytest

from daq.core.bench import InstrumentFile, StationName
from daq.core.compile import compile_instrument
from daq.core.driver import TextDriver
from daq.core.errors import LinkTimeout, UnexpectedAck
from daq.core.observation import Status
from daq.core.plan import InstrumentPlan
from daq.session import Session
from tests.session.script import Script

IDENTITY = (b"*IDN?\r\n", b"ACME,B1,S1,1.0\r\n")
BATH = {
    "driver": 1,
    "title": "ACME B1 bath",
    "source": "made for tests",
    "verified": "manual",
    "speaks": "text",
    "link": {"eol": "\r\n", "ack": ""},
    "identify": {"ask": "*IDN?", "reply": "{maker:text},{model:text},{serial:text},{:text}"},
    "settings": {
        "setpoint": {"unit": "Cel", "default": 25, "set": "SP {setpoint}", "get": "SP?", "reply": "{value:nr}"},
        "fan": {"default": 1, "set": "FAN {fan}", "ack": "{command} DONE"},
    },
    "setup": [{"tell": "LOCK", "ack": "OK"}, "setpoint", "fan", {"tell": "QUIET", "ack": False}],
    "modes": {"internal": {"enter": ["PROBE INT"]}},
    "polls": {
        "t": {
            "mode": "internal",
            "steps": [{"tell": "HOLD", "touches": False}, {"ask": "T?", "reply": "{t:nr2}"}],
            "channels": {"t": {"quantity": "temperature", "unit": "Cel"}},
            "time": {"model": "latest", "period": "1 s"},
        },
    },
    "teardown": ["UNLOCK"],
    "examples": [{"poll": "t", "got": ["24.98"], "gives": {"t": "24.98"}}],
}
EMPTY = b"\r\n"
CONNECT = (
    IDENTITY,
    (b"LOCK\r\n", b"OK\r\n"),
    (b"SP 25\r\n", EMPTY),
    (b"FAN 1\r\n", b"FAN 1 DONE\r\n"),
    (b"QUIET\r\n", None),
    (b"SP?\r\n", b"25.0\r\n"),
)


def session(configure: str = "on_connect", **more: object) -> Session:
    placed = {"at": more.pop("at", {"tcp": "h:1"}), "poll": more.pop("poll", {"t": "1 s"})}
    entry = {"driver": "acme/b1", "configure": configure, **placed}
    plan = compile_instrument(
        TextDriver.model_validate({**BATH, **more}),
        "bath",
        InstrumentFile.model_validate(entry),
        StationName(site="lab", name="bench1"),
    )
    assert isinstance(plan, InstrumentPlan), plan
    return Session(plan)


def connected() -> Session:
    bath = session()
    Script(*CONNECT).play(bath.connect())
    return bath


def test_a_bath_with_empty_acknowledgements_is_set_up_polled_and_left():
    bath = connected()
    polled = Script((b"PROBE INT\r\n", EMPTY), (b"HOLD\r\n", EMPTY), (b"T?\r\n", b"24.98\r\n"))
    outcome = polled.play(bath.poll(bath.polls[0]))
    assert outcome.status is Status.OK
    assert outcome.readings["t"].value == "24.98"
    Script((b"UNLOCK\r\n", EMPTY)).play(bath.teardown())


def test_the_time_of_a_reading_begins_at_the_command_that_was_acknowledged():
    bath = connected()
    polled = Script((b"PROBE INT\r\n", EMPTY), (b"HOLD\r\n", EMPTY), (b"T?\r\n", b"24.98\r\n"))
    timing = polled.play(bath.poll(bath.polls[0])).timing
    assert timing is not None
    assert timing.err_ns == (1_000_000_000 + 21_000_000 + 1) // 2  # a period, and from HOLD (11 ms) to 10 ms behind T?


@pytest.mark.parametrize("said", [b"E1\r\n", b"ERR 5\r\n", b" \r\n", b"OK\r\n", b"24.98\r\n"])
def test_another_answer_than_the_acknowledgement_is_an_error_and_makes_the_wire_dirty(said):
    bath = connected()
    outcome = Script((b"PROBE INT\r\n", said)).play(bath.poll(bath.polls[0]))
    assert outcome.status in {Status.INSTRUMENT_ERROR, Status.MISMATCH}
    assert outcome.lost_track
    assert outcome.readings == {}
    assert "PROBE INT" in str(outcome.detail)


def test_a_command_that_is_refused_while_setting_up_is_named():
    with pytest.raises(UnexpectedAck, match=r"told 'SP 25', got 'E3\\r\\n'; its driver expects ''"):
        Script(IDENTITY, (b"LOCK\r\n", b"OK\r\n"), (b"SP 25\r\n", b"E3\r\n")).play(session().connect())


def test_an_acknowledgement_that_does_not_come_is_a_time_out():
    bath = connected()
    outcome = Script((b"PROBE INT\r\n", LinkTimeout("nothing came"))).play(bath.poll(bath.polls[0]))
    assert outcome.status is Status.TIMEOUT
    assert outcome.lost_track


def test_configure_never_tells_none_of_it():
    bath = session("never")
    Script(IDENTITY, (b"SP?\r\n", b"25.0\r\n")).play(bath.connect())
    Script().play(bath.teardown())
    outcome = Script((b"HOLD\r\n", EMPTY), (b"T?\r\n", b"24.98\r\n")).play(bath.poll(bath.polls[0]))
    assert outcome.status is Status.OK


def test_a_poll_that_would_touch_is_not_asked_where_it_is_only_tried():
    steps = [{"tell": "HOLD"}, {"ask": "T?", "reply": "{t:nr2}"}]
    asked = session(polls={"t": {**BATH["polls"]["t"], "mode": None, "steps": steps}})
    only_tried = Session(replace(asked.plan, configure=False))
    outcome = Script().play(only_tried.poll(only_tried.polls[0]))
    assert (outcome.status, outcome.lost_track) == (Status.SKIPPED, False)
    assert outcome.detail == "it says 'HOLD', which changes the instrument"


WAKE = {"over_serial": {"wake": ["REMS"], "teardown": ["LOCS"]}, "setup": [], "link": {"eol": "\r\n", "ack": "=>"}}


def test_what_answers_only_in_remote_is_put_there_before_it_is_asked_and_before_a_barrier():
    meter = session(**WAKE, at={"serial": "/dev/ttyS0"})
    remote = (b"REMS\r\n", b"=>\r\n")
    Script(remote, IDENTITY).play(meter.connect())
    Script(remote, IDENTITY).play(meter.barrier())
    Script((b"UNLOCK\r\n", b"=>\r\n"), (b"LOCS\r\n", b"=>\r\n")).play(meter.teardown())
    Script(IDENTITY).play(session("never", **WAKE, at={"serial": "/dev/ttyS0"}).connect())


def talker(configure: str = "on_connect") -> Session:
    stream = {
        "reply": "S S {w:nr2} g",
        "channels": {"w": {"quantity": "mass", "unit": "g"}},
        "time": {"model": "arrival", "latency": "1 s"},
        "start": ["SIR"],
        "stop": [{"tell": "@", "ack": "I4 A {:quoted}"}],
    }
    return session(
        configure, polls={}, streams={"w": stream}, setup=[], poll={"w": "unasked"}, link={"eol": "\r\n"}, examples=[]
    )


def test_a_talker_is_started_after_every_connect_and_stopped_in_the_midst_of_its_lines():
    balance = talker()
    for _ in range(2):
        Script(IDENTITY, (b"SIR\r\n", None)).play(balance.connect())
    left = ((b"@\r\n", b"S S 12.50 g\r\n"), ("again", b'I4 A "123"\r\n'), (b"UNLOCK\r\n", None))
    Script(*left).play(balance.teardown())


def test_a_talker_is_left_as_it_is_with_configure_never():
    balance = talker("never")
    Script(IDENTITY).play(balance.connect())
    Script().play(balance.teardown())
    assert any("leaves 'SIR' unsaid, so 'w' may stay silent" in warning for warning in balance.plan.warnings)

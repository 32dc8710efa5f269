"""What an instrument puts out: told only where the bench file says so, once, and never again over a hand's own wish."""

from __future__ import annotations

import pytest

from daq.core.bench import InstrumentFile, StationName
from daq.core.compile import compile_instrument
from daq.core.driver import TextDriver
from daq.core.errors import WrongState
from daq.core.plan import InstrumentPlan
from daq.session import Session
from tests.session.script import Script

CONTROLLER = {
    "driver": 1,
    "title": "Pressure controller, invented",
    "source": "made for tests",
    "verified": "manual",
    "speaks": "text",
    "identify": {"ask": "*IDN?", "reply": "{maker:text},{model:text},{serial:text},{:text}"},
    "settings": {
        "set_point": {"unit": "kPa", "min": 0, "max": 700, "puts_out": True, "set": "SP {set_point}", "get": "SP?"},
        "control": {"one_of": ["ON", "OFF"], "puts_out": True},
        "rate": {"default": 5, "set": "RATE {rate}"},
    },
    "setup": ["rate", "set_point", "OUTP {control}"],
    "polls": {
        "p": {
            "ask": "P?",
            "reply": "P {p:nr2}",
            "channels": {"p": {"quantity": "pressure.gauge", "unit": "kPa"}},
            "time": {"model": "latest", "period": "1 s"},
        },
    },
}
IDENTITY = (b"*IDN?\n", b"ACME,PC1,0042,1.0\n")
RATE = (b"RATE 5\n", None)


def compiled(configure="on_connect", wanted=None, **more):
    entry = {"driver": "acme/pc1", "configure": configure, "at": {"tcp": "h:1"}, "poll": {"p": "1 s"}}
    return compile_instrument(
        TextDriver.model_validate({**CONTROLLER, **more}),
        "box",
        InstrumentFile.model_validate({**entry, "settings": wanted or {}}),
        StationName(site="lab", name="bench1"),
    )


def session(*args, **more):
    plan = compiled(*args, **more)
    assert isinstance(plan, InstrumentPlan), plan
    return Session(plan)


def problems(**more):
    found = compiled(**more)
    assert isinstance(found, list), "nothing was found wrong"
    return [(problem.file, ".".join(map(str, problem.path)), problem.message) for problem in found]


def test_nothing_is_put_out_that_the_bench_file_does_not_speak_of():
    box = session()
    assert box.plan.warnings == ()
    Script(IDENTITY, RATE).play(box.connect())


def test_what_the_bench_file_wants_is_told_once_and_whoever_checks_the_file_is_warned():
    box = session(wanted={"set_point": "100 kPa", "control": "ON"})
    told = [warning for warning in box.plan.warnings if "puts out" in warning]
    assert [warning.split("'")[1] for warning in told] == ["SP 100", "OUTP ON"]
    Script(IDENTITY, RATE, (b"SP 100\n", None), (b"OUTP ON\n", None), (b"SP?\n", b"100.0\n")).play(box.connect())
    # the connection was lost; meanwhile somebody has vented
    met = Script(IDENTITY, RATE, (b"SP?\n", b"0.0\n")).play(box.connect())
    assert met.settings["set_point"] == "0.0"
    Script(IDENTITY, RATE, (b"SP?\n", b"0.0\n")).play(box.connect())


def test_a_set_point_that_did_not_arrive_is_told_again():
    box = session(wanted={"set_point": "100 kPa"})
    with pytest.raises(WrongState, match=r"set_point is '0\.0', wanted '100'"):
        Script(IDENTITY, RATE, (b"SP 100\n", None), (b"SP?\n", b"0.0\n")).play(box.connect())
    Script(IDENTITY, RATE, (b"SP 100\n", None), (b"SP?\n", b"100.0\n")).play(box.connect())


def test_with_configure_never_it_is_compared_on_each_connection_and_never_told():
    box = session("never", {"set_point": "100 kPa"})
    assert not [warning for warning in box.plan.warnings if "puts out" in warning]
    Script(IDENTITY, (b"SP?\n", b"100.0\n")).play(box.connect())
    with pytest.raises(WrongState, match="configure: never leaves it so"):
        Script(IDENTITY, (b"SP?\n", b"0.0\n")).play(box.connect())


def test_a_default_would_put_something_out_for_everybody():
    settings = {**CONTROLLER["settings"], "set_point": {**CONTROLLER["settings"]["set_point"], "default": 100}}
    ((file, path, message),) = problems(settings=settings)
    assert (file, path) == ("driver", "settings.set_point.default")
    assert "'100' would be" in message or "100 would be" in message


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"teardown": ["OUTP {control}"]}, "teardown.0"),
        (
            {
                "modes": {"m": {"enter": ["set_point"]}},
                "polls": {"p": {**CONTROLLER["polls"]["p"], "mode": "m"}},
            },
            "modes.m.enter.0",
        ),
        (
            {
                "polls": {
                    "p": {
                        **{key: CONTROLLER["polls"]["p"][key] for key in ("channels", "time")},
                        "steps": [{"tell": "SP {set_point}"}, {"ask": "P?", "reply": "P {p:nr2}"}],
                    }
                }
            },
            "polls.p.steps.0.tell",
        ),
    ],
)
def test_it_belongs_into_setup_alone(more, path):
    found = problems(**more)
    assert any(where == path and "setup alone" in message for _, where, message in found), found

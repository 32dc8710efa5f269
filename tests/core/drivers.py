"""Drivers and bench entries for the tests of the compiler: two real ones, and small ones made to measure."""

from pathlib import Path

from ruamel.yaml import YAML

from daq.core.bench import InstrumentFile, StationName
from daq.core.compile import compile_instrument
from daq.core.driver import RegisterDriver, TextDriver
from daq.core.plan import InstrumentPlan

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


def asks(steps):
    return tuple(step.ask for step in steps)


def readings(plan, *replies, poll=0):
    steps = [step for step in plan.polls[poll].steps if step.reply is not None]
    return plan.polls[poll].readings([s.reply.match(r) for s, r in zip(steps, replies, strict=True)])


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

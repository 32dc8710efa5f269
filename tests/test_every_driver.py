"""House rules over every file under drivers/, and each demo instrument's driver against its stand-in."""

import asyncio
import contextlib
import functools
import itertools
import json
import re
import selectors
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from lark.exceptions import UnexpectedInput
from ruamel.yaml import YAML
from ucumvert import get_ucum_parser

from daq import build
from daq.clock import SystemClock
from daq.core.bench import Address, InstrumentFile, StationName
from daq.core.compile import compile_instrument
from daq.core.driver import RegisterDriver, TextDriver
from daq.core.examples import run_examples
from daq.core.observation import ClockState
from daq.core.template import TemplateError, parse, weaknesses
from daq.core.units import QUANTITIES, check_unit
from daq.core.wiring import wirings
from daq.demo.bench import placed
from daq.line import Outlets
from daq.load import load_bench, load_driver
from daq.workshop.findings import examined
from daq.workshop.text_findings import templates_of

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "drivers").rglob("*.yaml"))
DEMO = ROOT / "configs" / "demo.yaml"
WORLD = ROOT / "configs" / "demo-world.yaml"
LIMIT_S = 30.0


def data_of(path):
    return YAML(typ="safe").load(path.read_text("utf-8"))


def name_of(path):
    return path.relative_to(ROOT / "drivers").with_suffix("").as_posix()


@functools.cache
def looked_at(path):
    return examined(path)


def templates(driver):
    """The templates of all that is read; not those whose codes only their poll knows."""
    for _, source in templates_of(driver):
        with contextlib.suppress(TemplateError):
            yield parse(source, driver.link.eol, None, driver.link.decimal)


def polls_of(driver):
    return {**driver.polls, **(driver.streams if isinstance(driver, TextDriver) else {})}


def compiled(driver, *only):
    """Compile a driver as a bench would that asks all of it, or only some polls."""
    polls = {name: "1 s" if name in driver.polls else "unasked" for name in only or polls_of(driver)}
    address = Address(modbus_tcp="127.0.0.1:502", unit=1)
    if isinstance(driver, TextDriver):
        address = Address(tcp="127.0.0.1:5025")
    entry = InstrumentFile(driver="driver", at=address, poll=polls)
    plan = compile_instrument(driver, "it", entry, StationName(site="here", name="bench"))
    assert not isinstance(plan, list), plan
    return plan


@pytest.fixture(params=FILES, ids=name_of)
def path(request):
    return request.param


@pytest.fixture
def driver(path):
    return load_driver(path)[0]


# House rules ----------------------------------------------------------------------------------------------------------


def test_there_are_drivers():
    assert {name_of(path) for path in FILES} >= {
        "druck/pace5000",
        "eastron/sdm630",
        "fluke/1502a",
        "fluke/5730a",
        "keysight/34465a",
        "mettler-toledo/mt-sics",
        "vaisala/ptu300",
    }


def test_its_first_line_names_the_schema_for_editors(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    up = "../" * len(path.relative_to(ROOT).parent.parts)
    assert first == f"# yaml-language-server: $schema={up}schemas/driver.json"
    assert (path.parent / first.split("=")[1]).resolve() == ROOT / "schemas" / "driver.json"


def test_its_examples_come_out_as_they_say(driver):
    assert driver.examples
    assert run_examples(driver) == []


def test_the_workshop_finds_nothing_wrong_with_it(path):
    assert looked_at(path).problems == []


def test_every_channel_has_an_example_that_gives_it(driver):
    proven = {(one.poll, channel) for one in driver.examples for channel in (*one.gives, *one.text)}
    plan = compiled(driver)
    assert {(poll.source, channel.name) for poll in plan.polls for channel in poll.channels} <= proven


def test_no_template_takes_two_replies_for_one(driver):
    known = [
        "'{state:bits}'",  # a register alone in its reply: the protocol gives nothing to hold on to
        "'{:blanks}{state:bits}'",
        "'Output format{:blanks}: {format:text}'",  # free text to the end, and no number in it
        "'-{:nr1} {:text}'",  # an alarm in words: an error of the instrument, however long
        "'E{:blanks}{unit:unit}'",  # a unit that stands twice is in no list of units
        "'ser:{:blanks}{probe:word}'",  # a serial number, which may be of any length
    ]
    parsed = [] if isinstance(driver, RegisterDriver) else [*templates(driver)]
    twice = [line for each in parsed for line in weaknesses(each, driver.link.eol) if "stands twice" in line]
    assert [line for line in twice if not any(template in line for template in known)] == []


def test_who_answers_is_asked_or_the_notes_say_why_not(path, driver):
    told = "serial number" in (driver.notes or "")  # that nobody can be asked who answers
    assert told or not [line for line in looked_at(path).warnings if "identify: is missing" in line]


def test_what_is_no_reading_has_an_example(driver):
    if isinstance(driver, RegisterDriver):
        assert any(one.status or one.flags for one in driver.examples)
    else:
        assert any(one.outcome or one.status for one in driver.examples)


def test_who_answers_is_asked_with_its_serial_number_or_the_notes_say_why_not(driver):
    if "serial" not in _asked_of_identity(driver):
        assert "serial number" in (driver.notes or ""), "nobody is told that a swapped instrument goes unnoticed"


def _asked_of_identity(driver):
    """Return the fields that the identity is made of."""
    identify = driver.identify
    if identify is None:
        return set()
    if isinstance(driver, RegisterDriver):
        return set(identify.read)
    shapes = [shape.match for step in identify.steps or [] for shape in step.replies or []]
    templates = [identify.reply, *(step.reply for step in identify.steps or []), *shapes]
    return {name for template in templates if template for name in re.findall(r"\{(\w+):", template)}


def test_its_line_can_be_proved_clean_whichever_poll_is_used_or_the_notes_warn(driver):
    for poll in polls_of(driver):
        plan = compiled(driver, poll)
        assert plan.barrier is not None or "late answer" in (driver.notes or ""), plan.warnings


@pytest.mark.parametrize(
    ("name", "polls", "switches"),
    [
        ("keysight/34465a", ["dcv", "acv", "dci", "ohm4w", "temperature", "capacitance"], {"relative", "scaling"}),
        ("hp/34401a", ["dcv", "acv", "dci", "ohm4w", "frequency"], {"math"}),
        ("keithley/2000", ["dcv", "acv", "dci", "ohm4w"], {"relative", "filter"}),
        ("keithley/2182a", ["dcv", "dcv2"], {"relative", "filter"}),
        ("keithley/dmm6500", ["dcv", "acv", "dci", "ohm4w"], {"relative", "filter", "math"}),
        ("yokogawa/wt310", ["power", "power3", "integration", "peaks"], {"average", "max_hold"}),
    ],
)
def test_what_makes_a_reading_other_than_what_stands_at_the_terminals_is_read_back(name, polls, switches):
    """A null, decibels, a filter: all of them numbers that look right."""
    driver = load_driver(ROOT / "drivers" / f"{name}.yaml")[0]
    for poll in compiled(driver, *polls).polls:
        read_back = {one.setting: one for one in poll.mode.readbacks}
        assert switches <= read_back.keys(), poll.name
        for switch in switches:
            step = read_back[switch].step
            assert read_back[switch].agrees(step.reply.match(b"0\n")), switch
            assert not read_back[switch].agrees(step.reply.match(b"1\n")), switch


@pytest.mark.parametrize(
    ("poll", "number"),
    # the numbers of its functions as MSLNZ/pr-single-photons photons/equipment/dmm_3458A.py has them
    {"dcv": 1, "acv": 2, "ohm2w": 4, "ohm4w": 5, "dci": 6, "aci": 7, "frequency": 9, "period": 10}.items(),
)
def test_the_function_of_a_meter_without_scpi_is_read_back_by_its_number(poll, number):
    driver = load_driver(ROOT / "drivers" / "hp" / "3458a.yaml")[0]
    (plan,) = compiled(driver, poll).polls
    (function,) = [one for one in plan.mode.readbacks if one.setting == "function"]
    assert function.step.ask == b"FUNC?\r\n"
    assert function.agrees(function.step.reply.match(b"%d,1.00E+01\r\n" % number))
    assert function.agrees(function.step.reply.match(b" %d, 1.00000E+01\r\n" % number))
    assert not function.agrees(function.step.reply.match(b"%d,1.00E+01\r\n" % (number % 10 + 1)))


def test_every_poll_says_when_its_readings_are_true(driver):
    for name, poll in polls_of(driver).items():
        assert re.search("[1-9]|[a-z]", getattr(poll.time, _span_of(poll.time))), name


def _span_of(time):
    return {"triggered": "aperture", "filtered": "window", "latest": "period", "arrival": "latency"}[time.model]


def test_units_are_ucum_and_quantities_from_the_list(driver):
    for poll in polls_of(driver).values():
        for channel in poll.channels.values():
            check_unit(channel.unit)
            assert channel.quantity in QUANTITIES
            assert channel.label
            for code in getattr(channel, "units", {}).values():
                check_unit(code)


def test_its_units_are_ucum_to_a_parser_by_other_hands(driver, ucum):
    for poll in polls_of(driver).values():
        for channel in poll.channels.values():
            for code in (channel.unit, *getattr(channel, "units", {}).values()):
                ucum.parse(code)  # raises where it is none


@pytest.fixture(scope="module")
def ucum():
    return get_ucum_parser()


def test_the_parser_by_other_hands_knows_what_is_none(ucum):
    for wrong in ("ohm", "degC", "kWh", "mbara", "rpm", "V.A.reactive"):
        with pytest.raises(UnexpectedInput):
            ucum.parse(wrong)


def test_what_a_channel_answers_beyond_its_range_has_an_example_or_it_is_told_that_nobody_knows(path, driver):
    unknown = [line for line in examined(path).warnings if "beyond its range is not declared" in line]
    told = " ".join([driver.notes or "", *_missing(name_of(path))])
    words = "overload|beyond|out of range|over.range|no probe|without a (probe|sensor)|no signal|not connected"
    said = re.search(words, told, re.IGNORECASE)
    assert said or not unknown, unknown


def _missing(name):
    """Give what docs/instruments.md says that is missing of a driver."""
    page = (ROOT / "docs" / "instruments.md").read_text("utf-8")
    entries = re.findall(r"^- \*\*`(.*?)`\*\* (.*?)(?=^- |^$|\Z)", page, flags=re.MULTILINE | re.DOTALL)
    return [text for names, text in entries if name in names.split(", ")]


def test_the_page_says_of_every_driver_what_is_missing_or_names_it_in_the_table_alone(path, driver):
    if driver.verified != "hardware":
        complete = {"generic/modbus-register", "generic/line-talker", "generic/line-talker-lf", "generic/mt-sics"}
        assert _missing(name_of(path)) or name_of(path) in complete


def test_the_page_names_only_drivers_that_are_there():
    page = (ROOT / "docs" / "instruments.md").read_text("utf-8")
    there = {name_of(path) for path in FILES}
    rows = [row.split("`")[1] for row in page.splitlines() if row.startswith("| ") and "`" in row]
    assert sorted(rows) == sorted(there)
    named = re.findall(r"^- \*\*`(.*?)`\*\*", page, flags=re.MULTILINE)
    for name in itertools.chain.from_iterable(names.split(", ") for names in named):
        assert name in there or name.endswith("(no driver)"), name


def test_where_the_reply_decides_the_unit_an_example_shows_it(driver):
    shown = {(one.poll, channel) for one in driver.examples for channel in getattr(one, "unit", {})}
    for name, poll in polls_of(driver).items():
        for channel, its in poll.channels.items():
            pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(channel))  # a channel of for_each, whichever value
            seen = any(poll_name == name and re.fullmatch(pattern, shown_name) for poll_name, shown_name in shown)
            assert getattr(its, "unit_in", None) is None or not its.units or seen, channel


def test_it_names_its_source_and_how_sure_we_are(path, driver):
    if driver.verified != "public-driver":
        assert re.search(r"[Mm]anual|[Gg]uide|[Hh]andbook|[Pp]rotocol", driver.source)
    assert re.search(r"page|chapter|section|[a-z]/[a-z]|[0-9]+-[0-9]+", driver.source), "where in it?"
    if driver.verified == "public-driver":
        assert re.search(r"\.(py|go|c|cpp|cs|pm|java|json)\b", driver.source), "which file of which repository?"
    rows = [row for row in (ROOT / "docs" / "instruments.md").read_text("utf-8").splitlines() if row.startswith("|")]
    assert any(f"`{name_of(path)}`" in row and f"| {driver.verified} |" in row for row in rows)


# The demo bench -------------------------------------------------------------------------------------------------------


def test_the_demo_bench_is_found_right_and_has_all_interfaces():
    loaded = load_bench(DEMO)
    assert len(loaded.bench.instruments) == 9
    interfaces = {wiring.interface for wiring in wirings(loaded.bench, loaded.drivers)}
    assert interfaces == {"tcp", "visa", "serial", "modbus_tcp", "modbus_rtu"}
    assert DEMO.read_text("utf-8").startswith("# yaml-language-server: $schema=../schemas/bench.json\n")


def test_the_demo_bench_says_of_everything_that_it_is_simulated():
    for name, entry in load_bench(DEMO).bench.instruments.items():
        assert entry.simulated or entry.serial_number.startswith("SIM-"), name
        assert entry.asset, name
        assert entry.role, name


def test_the_demo_bench_stands_in_the_demo_world_and_leaves_one_instrument_to_the_reader():
    bench, world = data_of(DEMO), data_of(WORLD)
    for name, entry in bench["instruments"].items():
        assert str(world["instruments"][name]["serial_number"]) == entry["serial_number"]
    assert world["instruments"].keys() - bench["instruments"].keys() == {"meter9"}
    assert "meter9" in DEMO.read_text("utf-8")


def test_the_polls_of_the_demo_bench_keep_the_table_alive():
    for plan in load_bench(DEMO).plans.values():
        for poll in plan.polls:
            assert poll.every_ns is None or 200_000_000 <= poll.every_ns <= 5_000_000_000


# Against the stand-ins ------------------------------------------------------------------------------------------------

METER = {
    **{f"u{n}": f"0x{0x0000 + 2 * (n - 1):04X}" for n in (1, 2, 3)},
    **{f"i{n}": f"0x{0x0006 + 2 * (n - 1):04X}" for n in (1, 2, 3)},
    **{f"p{n}": f"0x{0x000C + 2 * (n - 1):04X}" for n in (1, 2, 3)},
    **{f"s{n}": f"0x{0x0012 + 2 * (n - 1):04X}" for n in (1, 2, 3)},
    **{f"q{n}": f"0x{0x0018 + 2 * (n - 1):04X}" for n in (1, 2, 3)},
    **{f"pf{n}": f"0x{0x001E + 2 * (n - 1):04X}" for n in (1, 2, 3)},
    "p": "0x0034",
    "s": "0x0038",
    "q": "0x003C",
    "pf": "0x003E",
    "f": "0x0046",
}
"""Channel -> parameter of the SDM630's manual, "Input registers", start address in hexadecimal."""

LOGGED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "keysight/34465a": {"dcv": {"dcv": "reading"}, "ohm2w": {"ohm2w": "reading"}, "ohm4w": {"ohm4w": "reading"}},
    "fluke/5730a": {
        "voltage": {"voltage": "output", "state": "status"},
        "adjusted": {"adjusted": "output"},
        "uncertainty": {"uncertainty": "uncertainty"},
    },
    "mettler-toledo/mt-sics": {"weight": {"weight": "weight"}, "stable": {"stable": "weight"}},
    "fluke/1502a": {"measured": {"temperature": "temperature"}},
    "vaisala/ptu300": {"ambient": {"pressure": "P", "temperature": "T", "humidity": "RH"}, "format": {}},
    "eastron/sdm630": {
        "power": METER,
        "energy": {"import": "0x0048", "export": "0x004A"},
        "line_voltage": {"u12": "0x00C8", "u23": "0x00CA", "u31": "0x00CC"},
    },
    "druck/pace5000": {
        "absolute": {"absolute": "pressure"},
        "set_point": {"set_point": "set_point"},
        "indicated": {"indicated": "pressure"},
        "indicated_gauge": {"indicated_gauge": "pressure"},
    },
}
"""Driver -> poll -> channel -> what the stand-in calls the same value in its log."""

NOT_SIMULATED = {
    *(  # the stand-in measures DC volts and ohms, and has no switch
        ("keysight/34465a", poll)
        for poll in (
            *("dci", "acv", "aci", "frequency", "period", "temperature", "thermistor", "thermocouple", "capacitance"),
            *("continuity", "diode", "terminals"),
        )
    ),
    *(  # the stand-in gives volts
        ("fluke/5730a", poll) for poll in ("current", "resistance", "adjusted_current", "adjusted_resistance")
    ),
    ("fluke/1502a", "newest"),  # for a readout that does not talk by itself
    ("fluke/1502a", "newest_resistance"),
    ("mettler-toledo/mt-sics", "tare"),  # the stand-in has no tare
    ("mettler-toledo/mt-sics", "conversions"),  # another command ends them: see below
    ("vaisala/ptu300", "checked"),  # the stand-in sends no checksum
    *(("eastron/sdm630", poll) for poll in ("angles", "demand", "distortion", "phase_energy")),  # it holds zeros there
    ("fluke/1502a", "resistance"),  # the stand-in is set to degrees
    *(("druck/pace5000", poll) for poll in ("absolute2", "gauge2")),  # the stand-in has one module
    ("druck/pace5000", "gauge"),  # its range is absolute, which is no gauge pressure: see below
    ("druck/pace5000", "controller"),  # the stand-in has no vent
}


@dataclass(frozen=True)
class Stands:
    """The running stand-ins: where each stands, and their log."""

    instruments: dict
    wires: dict
    control: str
    log: Path

    def fault(self, name, fault):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT_S)
            client.connect(self.control)
            client.sendall(json.dumps({"instrument": name, "fault": fault}).encode() + b"\n")
            assert client.makefile().readline() == '{"ok": true}\n'

    def answers(self, instrument):
        """(question, answer) -> the log's lines."""
        found = {}
        for line in self.log.read_text("utf-8").splitlines():
            entry = json.loads(line)
            if entry["instrument"] == instrument:
                found.setdefault((entry["ask"], entry["answer"]), []).append(entry)
        return found


@pytest.fixture(scope="module")
def stands(tmp_path_factory):
    log = tmp_path_factory.mktemp("stands") / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", str(WORLD), "--with-parent", "--log", str(log)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(LIMIT_S), "the stand-ins did not say that they are ready"
        ready = json.loads(process.stdout.readline())
        yield Stands(ready["instruments"], ready["wires"], ready["control"], log)
    finally:
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LIMIT_S)
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


class Heard:
    """What a line told: the Outlets of a test."""

    def __init__(self):
        self.observations, self.events, self.met, self.clock = [], [], {}, SystemClock()

    def outlets(self):
        return Outlets(
            emit=self.observations.append,
            announce=lambda event, details: self.events.append((event, dict(details))),
            describe=self.described,
            verdict=lambda instrument, verdict: None,
            context=tuple,
            clock_state=lambda: ClockState("none", None),
        )

    def described(self, instrument, met):
        self.met[instrument] = met
        return "00000000"


async def ask_all_once(stands, folder, bench):
    """Ask every poll of a bench once, through the lines that the daemon would make, and return what was heard."""
    file = folder / "bench.yaml"
    file.write_text(json.dumps(placed(bench, stands.instruments, stands.wires, 1883)))
    loaded = load_bench(file)
    heard = Heard()
    async with asyncio.timeout(2 * LIMIT_S), asyncio.TaskGroup() as tasks:
        for wiring in wirings(loaded.bench, loaded.drivers):
            tasks.create_task(build.line(loaded, wiring, {}, heard.clock, heard.outlets()).once())
    return loaded, heard


def assert_as_logged(stands, loaded, observation):
    """Every number is, digit for digit, what the stand-in says it answered, and was true when it says it sampled."""
    where = f"{observation.instrument}/{observation.poll}"
    assert observation.status == "ok", f"{where}: {observation.detail}"
    entry = loaded.bench.instruments[observation.instrument]
    poll = next(one for one in loaded.plans[observation.instrument].polls if one.name == observation.poll)
    asked = observation.exchanges[-len(poll.steps) :]  # before them, a mode was entered
    entries = [_entry(stands, observation, exchange) for exchange in asked]
    logged = {name: text for one in entries for name, text in one["values"].items()}
    for channel, name in LOGGED[entry.driver][poll.source].items():
        reading = observation.readings[channel]
        assert reading.status == "ok", f"{where}/{channel}"
        if isinstance(loaded.drivers[entry.driver], RegisterDriver):
            assert Decimal(reading.value) == Decimal(logged[name]), f"{where}/{channel}"
        else:
            assert reading.text == logged[name], f"{where}/{channel}"
    for instant_ns in (each for one in entries for each in one["sampled_mono_ns"] or []):
        assert abs(instant_ns - observation.timing.mono_ns) <= observation.timing.err_ns, where


def _entry(stands, observation, exchange):
    """The log's line of an exchange; of several alike the last, which no earlier one can be mistaken for."""
    if exchange.binary:
        key = (exchange.ask.hex(), exchange.got.hex())
    else:
        key = tuple(part.rstrip(b"\r\n").decode("latin-1") for part in (exchange.ask, exchange.got))
    answers = stands.answers(observation.instrument)
    assert key in answers, f"{observation.instrument}: no {key} among {list(answers)[-5:]}"
    instants = [one for one in answers[key] if _near(one, observation)]
    return instants[-1] if instants else answers[key][-1]


def _near(entry, observation):
    """Whether an entry is of this observation's time: the same text may come twice."""
    sampled = entry["sampled_mono_ns"] or [observation.timing.mono_ns]
    return all(abs(instant - observation.timing.mono_ns) <= observation.timing.err_ns for instant in sampled)


async def test_the_demo_bench_reads_its_nine_instruments(stands, tmp_path):
    loaded, heard = await ask_all_once(stands, tmp_path, data_of(DEMO))
    assert {one.instrument for one in heard.observations} == set(loaded.bench.instruments)
    assert len(heard.observations) == sum(len(plan.polls) for plan in loaded.plans.values())
    for observation in heard.observations:
        assert_as_logged(stands, loaded, observation)
        assert observation.simulated
    assert heard.events == []
    for name, entry in loaded.bench.instruments.items():
        assert heard.met[name].identity.serial == entry.serial_number
        assert heard.met[name].simulated
        assert heard.met[name].warnings == ()


@pytest.mark.parametrize(
    "name", ["dmm1", "cal1", "balance1", "thermometer1", "ambient1", "meter1", "meter3", "pressure1"]
)
async def test_every_poll_of_a_driver_reads_its_stand_in(name, stands, tmp_path):
    bench = data_of(DEMO)
    entry = bench["instruments"][name]
    driver = load_driver(ROOT / "drivers" / f"{entry['driver']}.yaml")[0]
    asked = {poll: "1 s" for poll in driver.polls if (entry["driver"], poll) not in NOT_SIMULATED}
    asked |= {
        each: "unasked" for each in getattr(driver, "streams", {}) if (entry["driver"], each) not in NOT_SIMULATED
    }
    assert asked.keys() == LOGGED[entry["driver"]].keys()
    only = bench | {"instruments": {name: entry | {"poll": asked}}}
    loaded, heard = await ask_all_once(stands, tmp_path, only)
    assert [one.poll for one in heard.observations] == list(asked)
    for observation in heard.observations:
        assert_as_logged(stands, loaded, observation)
        assert observation.readings.keys() >= LOGGED[entry["driver"]][observation.poll].keys()


@pytest.mark.parametrize(
    ("name", "fault", "channels", "status", "flags"),
    [
        ("dmm1", "overload", ["dcv", "ohm2w"], "overrange", ()),
        ("balance1", "overload", ["weight"], "overrange", ()),
        ("balance1", "unstable", ["weight"], "ok", ("unstable",)),
        ("ambient1", "overload", ["pressure", "temperature", "humidity"], "invalid", ()),
        ("meter3", "overload", ["u1", "p", "f"], "invalid", ()),
    ],
)
async def test_what_the_instrument_says_of_a_value_is_told(name, fault, channels, status, flags, stands, tmp_path):
    bench = data_of(DEMO)
    stands.fault(name, fault)
    try:
        _, heard = await ask_all_once(stands, tmp_path, bench | {"instruments": {name: bench["instruments"][name]}})
    finally:
        stands.fault(name, "clear")
    readings = {channel: its for one in heard.observations for channel, its in one.readings.items()}
    assert [one.status for one in heard.observations] == ["ok"] * len(heard.observations)
    for channel in channels:
        assert readings[channel].status == status, channel
        assert readings[channel].flags == flags, channel
        assert (readings[channel].value is None) == (status != "ok"), channel


async def test_the_pressure_of_an_absolute_range_is_no_gauge_pressure(stands, tmp_path):
    bench = data_of(DEMO)
    only = bench | {"instruments": {"pressure1": bench["instruments"]["pressure1"] | {"poll": {"gauge": "1 s"}}}}
    _, heard = await ask_all_once(stands, tmp_path, only)
    (observation,) = heard.observations
    assert observation.status == "protocol"
    assert observation.readings == {}


async def test_a_balance_that_was_told_to_talk_is_read_as_it_comes(stands, tmp_path):
    bench = data_of(DEMO)
    entry = bench["instruments"]["balance1"] | {"poll": {"conversions": "unasked"}}
    loaded, heard = await ask_all_once(stands, tmp_path, bench | {"instruments": {"balance1": entry}})
    (observation,) = heard.observations
    reading = observation.readings["conversion"]
    assert (observation.status, observation.due_ns, reading.unit) == ("ok", None, "g")
    said = [answer for _, answer in stands.answers("balance1")]
    assert any(reading.text in answer for answer in said), said[-5:]
    assert ("@", f'I4 A "{entry["serial_number"]}"') in stands.answers("balance1"), "it was not told to stop"
    assert loaded.plans["balance1"].warnings == ()


async def test_a_line_without_a_number_is_no_reading(stands, tmp_path):
    bench = data_of(DEMO)
    stands.fault("thermometer1", "overload")
    try:
        only = bench | {"instruments": {"thermometer1": bench["instruments"]["thermometer1"]}}
        _, heard = await ask_all_once(stands, tmp_path, only)
    finally:
        stands.fault("thermometer1", "clear")
    (observation,) = heard.observations
    assert observation.status == "protocol"
    assert observation.readings == {}

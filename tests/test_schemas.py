"""The schemas that editors and subscribers use: generated, committed, complete, and named by every file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from daq.core.schema import schemas
from daq.load import read_yaml

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests" / "cases"
SCHEMAS = {name: json.loads(text) for name, text in schemas().items()}

# DESIGN's own examples; what it abbreviates is written out.
BENCH = """\
bench: 1
station: {site: vinhphuc, name: bench1, label: "Phòng đo lường điện", line_frequency: 50 Hz}
mqtt: {url: "mqtts://broker.lab:8883", username: bench1, password: {credential: mqtt}}
journal: {keep: 400 d, max: 20 GB, when_full: drop_oldest}
wires:
  rs485a: {serial: /dev/bench/rs485, line: 9600/8n1, gap: 50 ms}
instruments:
  dmm1:
    driver: keysight/34465a
    at: {tcp: "10.0.0.5:5025"}
    asset: QT1-0123
    serial_number: MY54500123
    role: reference
    configure: on_connect
    poll:
      vref: {ask: dcv, every: 1 s, settings: {range: 10 V, nplc: 10}}
      rref: {ask: ohm4w, every: 10 s, settings: {range: 10 kOhm}}
  bath:
    driver: isotech/millik
    at: {tcp: "10.0.0.8:1000"}
    channels: {ch1: {role: reference, asset: PRT-042}, ch2: {role: uut}}
    poll: {both: 2 s}
"""
DRIVER = r"""
driver: 1
title: Keysight Truevolt 34460A, 34461A, 34465A, 34470A digital multimeter
source: <manual, edition, pages>
verified: manual
speaks: text
link: {eol: "\n", max_latency: 5 s}
identify:
  ask: "*IDN?"
  reply: "{maker:text},{model:text},{serial:text},{firmware:text}"
  expect: {model: "3446[015]A|34470A"}
settings:
  range: {unit: V, default: auto}
  nplc: {default: 10, one_of: [0.02, 0.2, 1, 10, 100], set: "VOLT:DC:NPLC {nplc}", get: "VOLT:DC:NPLC?"}
errors: {ask: "SYST:ERR?", none: '+0,"No error"'}
special: {"9.9E37": overrange, "-9.9E37": underrange, "9.91E37": invalid}
modes:
  dcv: {enter: ["CONF:VOLT:DC {range}", nplc], settle: 500 ms, discard: 1}
polls:
  dcv:
    mode: dcv
    steps: [{ask: "READ?", reply: "{dcv:nr3}"}]
    channels: {dcv: {quantity: voltage.dc, unit: V}}
    time: {model: triggered, aperture: "nplc / line_frequency", autozero: true}
  weight:
    ask: SI
    replies:
      - {match: "S S {w:nr2} {u:unit}"}
      - {match: "S D {w:nr2} {u:unit}", flags: [unstable]}
      - {match: "S +", status: overrange}
      - {match: "S I", outcome: busy}
    channels: {w: {quantity: mass, unit: g}}
    time: {model: latest, period: 1 s}
  kelvin:
    for_each: {n: [a, b]}
    steps:
      - {ask: "KRDG? {n}", reply: "{t_{n}:nr2}"}
      - {ask: "RDGST? {n}", reply: "{s:bits}", status: {"t_{n}": {32: overrange}}}
    channels: {"t_{n}": {quantity: temperature, unit: K}}
    time: {model: latest, period: 1 s}
teardown: ["SYST:LOC"]
examples:
  - {poll: dcv, got: ["+9.99998713E+00"], gives: {dcv: "9.99998713"}}
  - {poll: dcv, got: ["+9.90000000E+37"], status: {dcv: overrange}}
"""


def complaints(schema: str, data: Any) -> list[str]:
    """What an editor would underline."""
    validator = jsonschema.Draft202012Validator(SCHEMAS[schema])
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]


def parsed(folder: Path, text: str) -> Any:
    file = folder / "file.yaml"
    file.write_text(text, encoding="utf-8")
    return plain(read_yaml(file, "file.yaml").data)


def plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [plain(value) for value in data]
    if isinstance(data, bool | str):
        return data
    return float(data) if isinstance(data, float) else int(data)


def parts(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        yield path, schema
        for key, part in schema.items():
            yield from parts(part, f"{path}/{key}")
    if isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from parts(part, f"{path}/{number}")


def test_committed_schemas_are_those_of_the_models():
    committed = {
        str(file.relative_to(ROOT / "schemas")): file.read_text(encoding="utf-8")
        for file in (ROOT / "schemas").rglob("*.json")
    }
    assert committed == schemas(), "run: make schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(name: str):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_has_a_description(name: str):
    keys = [
        (f"{path}/{key}", part)
        for path, schema in parts(SCHEMAS[name])
        if isinstance(schema.get("properties"), dict) and not path.endswith(("/properties", "/if", "/then"))
        for key, part in schema["properties"].items()
    ]
    assert keys
    assert [path for path, part in keys if not part.get("description")] == []


def test_nothing_may_be_null_and_no_default_is_a_bare_number_of_nanoseconds():
    for name in ("bench.json", "driver.json"):
        for path, schema in parts(SCHEMAS[name]):
            assert schema.get("type") != "null", path
            if isinstance(schema.get("pattern"), str) and "default" in schema:
                assert re.search(schema["pattern"], schema["default"]), path


@pytest.mark.parametrize(("schema", "text"), [("bench.json", BENCH), ("driver.json", DRIVER)])
def test_what_we_write_in_the_manual_is_right_for_editors(schema: str, text: str, tmp_path: Path):
    assert complaints(schema, parsed(tmp_path, text)) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('{tcp: "10.0.0.5:5025"}', '{tcp: "10.0.0.5"}'),
        ('{tcp: "10.0.0.5:5025"}', '{tcp: "10.0.0.5:5025", wire: rs485a}'),
        ('{tcp: "10.0.0.5:5025"}', "{unit: 3}"),
        ("every: 1 s", "every: 1"),
        ("both: 2 s", "both: 2 sec"),
        ("both: 2 s", "both: {ask: both, evry: 2 s}"),
        ("configure: on_connect", "configure: on_conect"),
        ("gap: 50 ms", "gap: 50"),
        ("line: 9600/8n1", "line: 9600-8n1"),
        ("{credential: mqtt}", "hunter2"),
        ("  bath:", "  Bath:"),
        ("keep: 400 d", "keep: 400 days"),
    ],
)
def test_an_editor_underlines_what_we_refuse(right: str, wrong: str, tmp_path: Path):
    assert BENCH.count(right) == 1
    assert complaints("bench.json", parsed(tmp_path, BENCH.replace(right, wrong)))


def test_an_editor_offers_the_short_form_of_a_poll(tmp_path: Path):
    for short in ("500 ms", "unasked"):
        assert complaints("bench.json", parsed(tmp_path, BENCH.replace("both: 2 s", f"both: {short}"))) == []


FILES = [
    *((file, "bench.json") for file in sorted((ROOT / "configs").glob("*.yaml")) if "bench:" in file.read_text()),
    *((file, "driver.json") for file in sorted((ROOT / "drivers").rglob("*.yaml"))),
    *((file, "driver.json") for file in sorted((CASES / "bad" / "drivers").rglob("*.yaml"))),
]


@pytest.mark.parametrize(("file", "schema"), FILES, ids=lambda part: str(part).removeprefix(str(ROOT)))
def test_every_file_names_its_schema_in_the_first_line_and_obeys_it(file: Path, schema: str):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert found is not None, first
    assert (file.parent / found[1]).resolve() == ROOT / "schemas" / schema
    assert complaints(schema, plain(read_yaml(file, file.name).data)) == []

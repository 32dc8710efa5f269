"""The verbs about files: results to stdout, troubles to stderr, exit codes 0 fine, 1 found wrong, 2 used wrongly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from daq import __version__
from daq.cli import main

DRIVERS = Path(__file__).parent / "cases" / "bad" / "drivers"

BENCH = """\
bench: 1
station: {site: lab, name: bench1}
wires:
  line: {serial: /dev/ttyS0, line: 1200/8n1, gap: 10 ms}
instruments:
  dmm1:
    driver: acme/dmm
    at: {tcp: "10.0.0.5:5025"}
    poll: {dcv: 1 s}
  dmm2:
    driver: acme/dmm
    at: {wire: line}
    poll: {v: {ask: dcv, every: 500 ms, settings: {nplc: 1}}}
"""


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def daq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Call `daq` in a folder with bench.yaml and the drivers acme/dmm and acme/meter."""
    (tmp_path / "bench.yaml").write_text(BENCH)
    (tmp_path / "drivers").symlink_to(DRIVERS)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Said:
        with pytest.raises(SystemExit) as left:
            main(words)
        said = capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    return call


def wrong(*changes: tuple[str, str]) -> None:
    text = BENCH
    for right, bad in changes:
        assert right in text
        text = text.replace(right, bad)
    Path("bench.yaml").write_text(text)


def test_the_version_is_said(daq):
    assert daq("--version") == Said(0, f"bench-daq {__version__}\n", "")


def test_an_unknown_verb_is_used_wrongly(daq):
    said = daq("chek", "bench.yaml")
    assert said.code == 2
    assert "chek" in said.err


def test_check_finds_good_files_fine(daq):
    said = daq("check", "bench.yaml", "drivers/acme/dmm.yaml")
    assert (said.code, said.out) == (0, "bench.yaml: fine\ndrivers/acme/dmm.yaml: fine\n")


def test_check_tells_everything_that_is_wrong(daq):
    wrong(("driver: acme/dmm\n    at: {tcp", "driver: acme/dmn\n    at: {tcp"), ("wire: line", "wire: lien"))
    said = daq("check", "bench.yaml")
    assert said == Said(
        1,
        "bench.yaml:7:13: instruments.dmm1.driver: no driver 'acme/dmn'. Nearest: 'acme/dmm'. "
        "Drivers are the files under drivers/.\n"
        "bench.yaml:12:16: instruments.dmm2.at.wire: no wire 'lien'. Nearest: 'line'. "
        "Wires are the names under wires:.\n",
        "",
    )


def test_check_tells_programs_by_file(daq):
    wrong(("wire: line", "wire: lien"))
    said = daq("check", "--json", "bench.yaml", "drivers/acme/dmm.yaml")
    assert said.code == 1
    found = json.loads(said.out)
    assert found.keys() == {"bench.yaml", "drivers/acme/dmm.yaml"}
    assert len(found["bench.yaml"]["problems"]) == 1
    assert found["drivers/acme/dmm.yaml"]["problems"] == []


def test_check_warns_of_what_is_right_and_yet_a_risk(daq):
    text = Path("drivers/acme/dmm.yaml").read_text()
    Path("dmm.yaml").write_text("".join(line for line in text.splitlines(keepends=True) if "identify:" not in line))
    said = daq("check", "dmm.yaml")
    assert (said.code, said.out) == (0, "dmm.yaml: fine\n")
    assert "dmm.yaml:2:1: identify: is missing: nobody asks who answers" in said.err


def test_check_tells_of_a_driver_what_driver_test_tells(daq):
    text = Path("drivers/acme/dmm.yaml").read_text()
    Path("dmm.yaml").write_text(text.replace("source: ", "source: TODO "))
    checked, tested = (json.loads(daq(*verb, "--json", "dmm.yaml").out) for verb in (["check"], ["driver", "test"]))
    assert len(checked["dmm.yaml"]["problems"]) == 1
    assert checked["dmm.yaml"] == {key: tested["dmm.yaml"][key] for key in ("problems", "warnings")}


def test_check_puts_its_place_before_a_warning_once(daq):
    wrong(("every: 500 ms", "every: 100 ms"))
    warned = [line for line in daq("check", "bench.yaml").err.splitlines() if line.startswith("bench.yaml")]
    assert warned
    assert all(line.count("bench.yaml") == 1 for line in warned)


def test_check_warns_of_a_poll_that_asks_what_another_one_asks(daq):
    wrong(("poll: {dcv: 1 s}", "poll: {dcv: 1 s, again: {ask: dcv, every: 2 s}}"))
    said = daq("check", "bench.yaml")
    assert said.code == 0
    assert "bench.yaml:9:29: instruments.dmm1.poll.again: asks what 'dcv' asks, with the same settings." in said.err


def test_check_of_a_file_that_is_not_there_is_used_wrongly(daq):
    said = daq("check", "nowhere.yaml")
    assert said.code == 2
    assert "nowhere.yaml" in said.err


def test_plan_reckons_the_load_of_each_wire(daq):
    said = daq("plan", "--json", "bench.yaml")
    assert said.code == 0
    socket, line = json.loads(said.out)
    assert (socket["wire"], socket["interface"]) == ("10.0.0.5:5025", "tcp")
    # READ? at 10 NPLC of 50 Hz: 0.2 s; a socket's bytes cost nothing.
    assert socket["polls"] == [
        {
            "instrument": "dmm1",
            "poll": "dcv",
            "every_s": 1.0,
            "exchanges": ["READ?"],
            "takes_s": 0.2,
            "load": 0.2,
        }
    ]
    # 6 bytes out and the example's 15 back, 10 bits each at 1200 baud: 0.175 s; gap 0.01 s; 1 NPLC: 0.02 s.
    assert line["polls"][0]["takes_s"] == pytest.approx(0.205, abs=1e-6)
    assert line["load"] == pytest.approx(0.41, abs=1e-5)


def test_plan_refuses_what_a_wire_cannot_carry(daq):
    wrong(("every: 500 ms", "every: 100 ms"))
    said = daq("plan", "bench.yaml")
    assert said.code == 1
    assert "READ?" in said.out
    assert said.err == "wire line: more than can be asked. Make intervals longer or apertures shorter.\n"


def test_plan_of_a_wrong_bench_tells_its_problems_on_stderr(daq):
    wrong(("wire: line", "wire: lien"))
    said = daq("plan", "bench.yaml")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("bench.yaml:12:16: instruments.dmm2.at.wire: no wire 'lien'.")


def test_drivers_are_listed_and_found_by_words(daq):
    said = daq("drivers", "--json", "acme/dmm", "VOLTAGE.dc")
    assert said.code == 0
    found = json.loads(said.out)
    assert found.keys() == {"acme/dmm"}
    assert found["acme/dmm"] | {"source": ""} == {
        "title": "Acme multimeter, invented",
        "speaks": "text",
        "interface": "text",
        "polls": ["dcv"],
        "quantities": ["voltage.dc"],
        "verified": "manual",
        "source": "",
    }


def test_drivers_in_a_table(daq):
    said = daq("drivers", "acme")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines() if line.startswith("acme/")] == [
        "acme/dmm",
        "acme/meter",
        "acme/settling",
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pressure", "9600/7o1"], ["mks/pr4000b"]),
        (["MODBUS", "humidity.relative"], ["vaisala/hmp", "vaisala/hmt330"]),
        (["465a"], ["keysight/34465a"]),
        (["ac", "hp/"], ["hp/34401a", "hp/3458a"]),  # a short word begins one, and is not any two letters
    ],
)
def test_drivers_are_found_by_maker_model_quantity_and_interface(daq, words, found):
    assert [*json.loads(daq("drivers", "--json", *words).out)] == found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["presure"], "no driver has 'presure' in its row. Nearest: 'pressure'."),
        (["modbus", "druck"], "no driver has 'modbus' and 'druck' at once. Give fewer words"),
        (["title"], "no driver has 'title' in its row."),
    ],
)
def test_a_word_that_no_driver_has_is_told_with_the_nearest(daq, words, told):
    said = daq("drivers", *words)
    assert said.code == 1
    assert told in said.err


def test_drivers_that_nobody_has(daq):
    said = daq("drivers", "xyzzy")
    assert said.code == 1
    assert said.err.endswith("no driver has 'xyzzy' in its row. Without words, all are listed.\n")


def test_a_broken_driver_is_told_and_hides_no_other(daq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    more = tmp_path / "more" / "mine"
    more.mkdir(parents=True)
    (more / "broken.yaml").write_text("driver: 1\nspeaks: text\n")
    monkeypatch.setenv("BENCH_DAQ_DRIVERS", str(tmp_path / "more"))
    said = daq("drivers", "--json", "acme/dmm")
    assert json.loads(said.out).keys() == {"acme/dmm"}
    assert "more/mine/broken.yaml:1:1: title: is missing. Write 'title:' here." in said.err


@pytest.mark.parametrize(("which", "key"), [("bench", "instruments"), ("driver", "speaks"), ("messages", "readings")])
def test_schemas_are_printed(daq, which: str, key: str):
    said = daq("schema", which)
    assert said.code == 0
    assert f'"{key}"' in said.out


def test_schemas_are_written_to_a_folder(daq):
    said = daq("schema", "--write", "out")
    assert said.code == 0
    assert set(said.out.splitlines()) >= {"out/bench.json", "out/driver.json", "out/messages/observation.json"}
    assert json.loads(Path("out/bench.json").read_text())["title"].startswith("A bench")


@pytest.mark.parametrize("words", [[], ["bench", "--write", "out"], ["benches"]])
def test_schema_used_wrongly(daq, words: list[str]):
    assert daq("schema", *words).code == 2

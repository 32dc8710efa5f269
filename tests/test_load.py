"""Files in: what is right comes out whole, what is wrong is said at once, with the place and how to mend it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from daq.core.bench import Credential, Secret, SecretEnv, SecretFile
from daq.core.errors import ConfigError
from daq.core.wiring import wirings
from daq.load import Shelf, check_file, data_path, load_bench, load_driver, resolve
from daq.load.source import MAX_FILE

BAD = Path(__file__).parent / "cases" / "bad"
CASES = sorted(file.parent for file in BAD.glob("*/expected.txt"))
S = 10**9

BENCH = """\
bench: 1
station: {site: lab, name: bench1}
instruments:
  dmm1:
    driver: acme/dmm
    at: {tcp: "10.0.0.5:5025"}
    poll: {dcv: 1 s}
"""
DRIVER = (BAD / "drivers" / "acme" / "dmm.yaml").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with configs/bench.yaml and drivers/acme/dmm.yaml, and the user in it."""
    put(tmp_path / "configs" / "bench.yaml", BENCH)
    put(tmp_path / "drivers" / "acme" / "dmm.yaml", DRIVER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def problems(file: Path | str) -> list[str]:
    with pytest.raises(ConfigError) as wrong:
        check_file(file)
    return wrong.value.problems


def problems_if_any(file: Path) -> list[str]:
    try:
        check_file(file)
    except ConfigError as wrong:
        return wrong.problems
    return []


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_broken_file_says_what_is_wrong_where_and_how_to_mend_it(case: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(case)
    file = "bench.yaml" if Path("bench.yaml").exists() else "driver.yaml"
    assert problems(file) == Path("expected.txt").read_text(encoding="utf-8").splitlines()


def test_there_are_enough_broken_files():
    assert len(CASES) >= 30
    assert {case.name for case in CASES} == {file.name for file in BAD.iterdir()} - {"drivers"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_typed_into_a_good_file_ends_in_words(data: st.DataObject, project: Path):
    text = data.draw(st.sampled_from([BENCH, DRIVER]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        typed = data.draw(st.text(alphabet="{}[]:,-&*!|>'\"%@`#?~ \t\n0x1abz\u00e9\x07", max_size=4))
        text = text[:at] + typed + text[at + data.draw(st.integers(0, 3)) :]
    file = put(project / "configs" / "bench.yaml", text)
    for problem in problems_if_any(file):
        assert re.match(r"[\w/]+\.yaml:\d+:\d+: \S.*\S", problem), problem
        assert "input_" not in problem


def test_a_file_that_is_not_there_is_one_plain_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml:1:1: cannot be read: No such file or directory\."):
        load_bench(tmp_path / "nowhere.yaml")


def test_a_huge_file_is_not_even_parsed(tmp_path: Path):
    file = put(tmp_path / "bench.yaml", "# " + "x" * MAX_FILE)
    assert problems(file) == [f"{file}:1:1: is larger than {MAX_FILE} bytes. That is no bench or driver file."]


def test_deep_nesting_ends_with_a_sentence_and_no_recursion_error(tmp_path: Path):
    (said,) = problems(put(tmp_path / "bench.yaml", "bench: " + "[" * 20_000 + "]" * 20_000))
    assert "nests deeper than 40 levels" in said


def test_no_secret_is_ever_repeated(tmp_path: Path):
    text = BENCH + 'mqtt: {url: "mqtt://b:hunter2@x", password: [hunter2], username: u}\n'
    assert "hunter2" not in str(problems(put(tmp_path / "bench.yaml", text)))


# ---------------------------------------------------------------- what is right


def test_a_bench_comes_with_its_drivers_and_their_hashes(project: Path):
    loaded = load_bench("configs/bench.yaml")
    assert loaded.bench.instruments["dmm1"].at.tcp == "10.0.0.5:5025"
    assert loaded.drivers["acme/dmm"].title == "Acme multimeter, invented"
    assert loaded.bench_hash == hashlib.sha256(BENCH.encode()).hexdigest()[:12]
    assert loaded.driver_hashes == {"acme/dmm": hashlib.sha256(DRIVER.encode()).hexdigest()[:12]}


def test_every_key_knows_its_place(project: Path):
    source = load_bench("configs/bench.yaml").source
    assert source.shown == "configs/bench.yaml"
    assert source.place(("instruments", "dmm1", "at", "tcp")) == (6, 15)
    assert source.place(("instruments", "dmm1", "at", "tcp"), at_key=True) == (6, 10)
    assert source.place(("instruments", "dmm1", "at", "unit")) == (6, 5)


def test_yaml_is_read_by_its_newest_rules(project: Path):
    poll = "{v: {ask: dcv, every: 1 s, settings: {range: 1e1 V}}}"
    text = BENCH.replace("{dcv: 1 s}", poll) + "    label: 1:30\n    role: uut\n    asset: no\n"
    bench = load_bench(put(project / "configs" / "bench.yaml", text)).bench
    assert bench.instruments["dmm1"].label == "1:30"
    assert bench.instruments["dmm1"].asset == "no"


def test_a_number_where_a_text_belongs_keeps_its_digits(project: Path):
    text = BENCH + "    asset: 0012\n    serial_number: 1e3\n    label: 100.00\n"
    dmm = load_bench(put(project / "configs" / "bench.yaml", text)).bench.instruments["dmm1"]
    assert (dmm.asset, dmm.serial_number, dmm.label) == ("0012", "1e3", "100.00")


def test_numbers_are_plain_numbers(project: Path):
    choices = load_driver("drivers/acme/dmm.yaml")[0].settings["nplc"].one_of
    assert choices == [0.02, 0.2, 1, 10, 100]
    assert [type(each) for each in choices or []] == [float, float, int, int, int]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(project: Path):
    (project / "configs" / "bench.yaml").write_bytes(b"\xef\xbb\xbf" + BENCH.replace("\n", "\r\n").encode())
    assert load_bench("configs/bench.yaml").source.place(("instruments", "dmm1", "driver")) == (5, 13)


def test_an_anchor_may_be_used_again(project: Path):
    text = BENCH.replace("{dcv: 1 s}", "&often {dcv: 1 s}") + (
        '  dmm2:\n    driver: acme/dmm\n    at: {tcp: "10.0.0.6:5025"}\n    poll: *often\n'
    )
    bench = load_bench(put(project / "configs" / "bench.yaml", text)).bench
    assert bench.instruments["dmm1"].poll == bench.instruments["dmm2"].poll


def test_durations_are_whole_nanoseconds(project: Path):
    text = BENCH.replace("{dcv: 1 s}", "{v: {ask: dcv, every: 0.1 s, phase: 1 ms}}")
    entry = load_bench(put(project / "configs" / "bench.yaml", text)).bench.instruments["dmm1"].poll["v"]
    assert not isinstance(entry, str)
    assert (entry.every, entry.phase) == (S // 10, 10**6)


# ---------------------------------------------------------------- drivers are found


def test_a_driver_that_nobody_uses_never_matters(project: Path):
    put(project / "drivers" / "acme" / "broken.yaml", "driver: [1, 2\n\tspeaks")
    assert load_bench("configs/bench.yaml").drivers.keys() == {"acme/dmm"}


def test_the_nearest_folder_wins(project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put(elsewhere / "acme" / "dmm.yaml", DRIVER.replace("Acme", "Elsewhere"))
    put(elsewhere / "acme" / "only_here.yaml", DRIVER.replace("Acme", "Only here"))
    monkeypatch.setenv("BENCH_DAQ_DRIVERS", str(elsewhere))
    second = '  b:\n    driver: acme/only_here\n    at: {tcp: "10.0.0.6:5025"}\n    poll: {dcv: 1 s}\n'
    put(project / "configs" / "bench.yaml", BENCH + second)
    drivers = load_bench("configs/bench.yaml").drivers
    assert drivers["acme/dmm"].title.startswith("Acme")
    assert drivers["acme/only_here"].title.startswith("Only here")


def test_the_folder_of_the_bench_comes_first(project: Path):
    put(project / "configs" / "drivers" / "acme" / "dmm.yaml", DRIVER.replace("Acme", "Beside"))
    assert load_bench("configs/bench.yaml").drivers["acme/dmm"].title.startswith("Beside")


def test_a_driver_name_never_leads_out_of_the_folders(project: Path):
    put(project / "secret.yaml", DRIVER)
    shelf = Shelf.beside(Path("configs/bench.yaml"))
    assert shelf.find("../secret") is None
    assert shelf.find(str(project / "secret")) is None
    assert shelf.find("acme/dmm") is not None


def test_a_driver_used_twice_is_read_and_blamed_once(project: Path):
    put(project / "drivers" / "acme" / "dmm.yaml", DRIVER.replace("title:", "titel:"))
    text = BENCH + '  dmm2:\n    driver: acme/dmm\n    at: {tcp: "10.0.0.6:5025"}\n    poll: {dcv: 1 s}\n'
    put(project / "configs" / "bench.yaml", text)
    assert problems("configs/bench.yaml") == ["drivers/acme/dmm.yaml:3:1: titel: no such key. Nearest: 'title'."]


@pytest.mark.parametrize("kind", ["drivers", "configs", "schemas", "systemd"])
def test_what_is_shipped_is_found(kind):
    assert data_path(kind).is_dir()


# ---------------------------------------------------------------- secrets


def secret(**where: str) -> Secret:
    return TypeAdapter(Secret).validate_python(where)


def test_a_secret_comes_from_a_file_without_its_last_newline(tmp_path: Path):
    file = put(tmp_path / "password", " hunter2 \n\n")
    file.chmod(0o600)
    assert resolve(secret(file=str(file))) == " hunter2 \n"


def test_a_secret_comes_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "mqtt", "hunter2\n").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert resolve(secret(credential="mqtt")) == "hunter2"


def test_a_secret_of_the_folder_that_the_unit_hands_over_is_found_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put(tmp_path / "secrets_mqtt", "hunter2\n").chmod(0o400)  # how systemd names what LoadCredential=secrets:DIR/ holds
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert resolve(secret(credential="mqtt")) == "hunter2"


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MQTT_PASSWORD", "hunter2")
    assert resolve(secret(env="MQTT_PASSWORD")) == "hunter2"


def test_a_secret_that_everybody_can_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = put(tmp_path / "password", "hunter2\n")
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert resolve(secret(file=str(file))) == "hunter2"
    assert f"chmod o-r {file}" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (Credential(credential="mqtt"), r"credential 'mqtt': systemd handed over none .* LoadCredential=mqtt:/path"),
        (SecretFile(file="/nowhere/pw"), r"secret file '/nowhere/pw': cannot be read: No such file or directory\."),
        (SecretEnv(env="NOT_SET"), r"environment variable 'NOT_SET' is not set or empty\."),
    ],
)
def test_a_secret_that_is_not_there_says_which(where, said, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match=said):
        resolve(where)


def test_an_empty_secret_is_refused(tmp_path: Path):
    file = put(tmp_path / "password", "\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is empty"):
        resolve(SecretFile(file=str(file)))


def test_a_pipe_that_nobody_writes_into_does_not_hold_the_start(tmp_path: Path):
    os.mkfifo(tmp_path / "password")
    with pytest.raises(ConfigError, match="is no file"):
        resolve(SecretFile(file=str(tmp_path / "password")))


def test_a_credential_never_leads_out_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "password", "hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    with pytest.raises(ConfigError, match="is no name of a credential"):
        resolve(Credential(credential="../password"))


@pytest.mark.parametrize("name", ["configs/bench.yaml", "drivers/acme/dmm.yaml"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(project, name):
    file = project / name
    file.unlink()
    os.mkfifo(file)
    assert problems(file) == [f"{name}:1:1: is a device or a pipe, and may never end. Write the name of a file."]


def test_a_device_in_place_of_a_file_is_refused_at_once():
    assert problems("/dev/zero") == [
        "/dev/zero:1:1: is a device or a pipe, and may never end. Write the name of a file."
    ]


def test_one_host_in_two_spellings_is_one_wire(project):
    driver = (Path(__file__).parent.parent / "drivers").rglob("*.yaml")
    name = next(path for path in driver if "speaks: registers" in path.read_text())
    put(project / "drivers" / "acme" / "meter.yaml", name.read_text())
    poll = next(iter(load_driver(name)[0].polls))
    for unit, host in enumerate(["localhost:502", "LOCALHOST:0502"], 1):
        at = f'{{modbus_tcp: "{host}", unit: {unit}}}'
        with (project / "configs" / "bench.yaml").open("a") as bench:
            bench.write(f"  m{unit}: {{driver: acme/meter, at: {at}, poll: {{{poll}: 1 s}}}}\n")
    loaded = load_bench(project / "configs" / "bench.yaml")
    assert [wiring.instruments for wiring in wirings(loaded.bench, loaded.drivers)] == [("dmm1",), ("m1", "m2")]


def test_a_driver_of_version_true_is_refused(project):
    file = put(project / "drivers" / "acme" / "dmm.yaml", DRIVER.replace("driver: 1", "driver: true"))
    (said,) = problems(file)
    assert said.endswith("driver: true is not possible here. Write 1.")

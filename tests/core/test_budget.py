"""How busy a wire will be, reckoned by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from daq.core.budget import Cost, costs
from daq.core.wiring import wirings
from daq.load import check_file, load_bench

CASES = Path(__file__).parent.parent / "cases" / "bad"
MS = 10**6


def bench(folder: Path, instruments: str, wires: str = "{}") -> Path:
    head = f"bench: 1\nstation: {{site: lab, name: bench1}}\nwires: {wires}\ninstruments:\n"
    (folder / "bench.yaml").write_text(head + instruments)
    return folder / "bench.yaml"


@pytest.fixture
def reckon(tmp_path: Path):
    (tmp_path / "drivers").symlink_to(CASES / "drivers")

    def of(instruments: str, wires: str = "{}") -> list[Cost]:
        loaded = load_bench(bench(tmp_path, instruments, wires))
        drivers = {name: loaded.drivers[each.driver] for name, each in loaded.bench.instruments.items()}
        return [
            cost for wiring in wirings(loaded.bench, loaded.drivers) for cost in costs(wiring, loaded.plans, drivers)
        ]

    return of


def test_a_block_on_rtu_costs_its_frames_and_their_silences(reckon):
    """8 asked, 5 + 2 x 2 answered: 17 characters of 10 bits at 9600 baud; t3.5, 38.5 bits; the gap."""
    (cost,) = reckon(
        "  m1: {driver: acme/meter, at: {wire: a, unit: 1}, poll: {all: 1 s}}\n",
        wires="{a: {serial: /dev/ttyS0, line: 9600/8n1, gap: 50 ms}}",
    )
    assert cost.takes_ns == pytest.approx(50 * MS + (17 * 10 + 38.5) / 9600 * 1e9, abs=100)
    assert cost.exchanges == ("function 4: 2 from 0",)


def test_a_block_on_a_socket_costs_no_line_time(reckon):
    (cost,) = reckon('  m1: {driver: acme/meter, at: {modbus_tcp: "h:502", unit: 1}, poll: {all: 1 s}}\n')
    assert (cost.takes_ns, cost.load) == (0, 0.0)


def test_modes_are_entered_as_often_as_the_rarer_poll_wants(reckon, tmp_path: Path):
    """Slow every 10 s and fast every 1 s: each slow one leaves the fast mode once, a tenth of the fast polls return."""
    fast, slow = reckon('  dmm1: {driver: acme/settling, at: {tcp: "h:1"}, poll: {fast: 1 s, slow: 10 s}}\n')
    # 10 NPLC of 50 Hz: 200 ms; settling 500 ms and one reading thrown away.
    assert fast.takes_ns == 200 * MS + (500 + 200) * MS // 10
    assert slow.takes_ns == 200 * MS + (500 + 200) * MS
    assert fast.load == pytest.approx(0.27)


def test_a_wire_that_is_to_do_more_than_it_can_is_warned_of(tmp_path: Path):
    (tmp_path / "drivers").symlink_to(CASES / "drivers")
    of = '  dmm1: {driver: acme/settling, at: {tcp: "h:1"}, poll: {fast: %s, slow: 10 s}}\n'
    # fast: 200 ms and a fiftieth of 700 ms in 200 ms; slow: 900 ms in 10 s
    warned = check_file(bench(tmp_path, of % "200 ms"))
    (wire,) = [line for line in warned if "wire h:1" in line]
    assert ".yaml:5:64: instruments.dmm1.poll.fast: wire h:1: its polls take 116% of its time at least, so" in wire
    assert "dmm1/fast alone takes 0.214 s each time" in wire
    assert not any("wire h:1" in line for line in check_file(bench(tmp_path, of % "500 ms")))


def test_one_mode_alone_is_entered_once_and_costs_nothing(reckon):
    (cost,) = reckon('  dmm1: {driver: acme/settling, at: {tcp: "h:1"}, poll: {fast: 1 s}}\n')
    assert cost.takes_ns == 200 * MS


def test_an_answer_whose_bytes_alone_take_longer_than_it_is_waited_for_is_warned_of(tmp_path: Path):
    """8 asked, 5 + 2 x 2 answered: 17 characters of 10 bits, 3.4 s at 50 baud; the driver waits 2 s."""
    (tmp_path / "drivers").symlink_to(CASES / "drivers")
    of = "  m1: {driver: acme/meter, at: {serial: /dev/ttyS0, line: %s, unit: 1}, poll: {all: 10 s}}\n"
    (slow,) = [line for line in check_file(bench(tmp_path, of % "50/8n1")) if "of bytes" in line]
    assert "m1/all: one exchange is 3.4 s of bytes at 50/8n1, waited for 2 s, so none will end in time. Take" in slow
    assert not any("of bytes" in line for line in check_file(bench(tmp_path, of % "300/8n1")))

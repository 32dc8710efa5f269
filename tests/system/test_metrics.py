"""What Prometheus reads is what is so: figures by instrument and poll, of the journal and of the broker."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.brokers import free_port
from tests.system.house import PATIENCE_S, eventually

OK = {"instrument": "meter3", "poll": "power", "status": "ok"}


class Reader:
    """Reads as Prometheus does."""

    def __init__(self, port):
        self.port = port

    def read(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE_S) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return [sample for family in families for sample in family.samples]

    def figure(self, name, **labels):
        """Return the one sample of that name with these labels, None where there is none."""
        found = [one.value for one in self.read() if one.name == name and labels.items() <= one.labels.items()]
        assert len(found) < 2, (name, labels, found)
        return found[0] if found else None


@pytest.fixture
def reader(empty):
    """A running station of two instruments that tells its figures."""
    empty.world.start()
    bench = empty.write(only=("dmm1", "meter3"))
    port = free_port()
    empty.rewrite({**bench, "metrics": f"127.0.0.1:{port}"})
    empty.broker.start()
    empty.daemon.start()
    empty.daemon.said(f"metrics at 127.0.0.1 port {port}")
    return Reader(port)


def test_figures_follow_an_instrument_that_is_lost_and_comes_back(empty, reader):
    eventually(lambda: (reader.figure("daq_slots_total", **OK) or 0) > 3, "answers of meter3")
    eventually(lambda: reader.figure("daq_instrument_state", instrument="meter3", state="ok") == 1, "meter3 well")
    assert reader.figure("daq_last_good_age_seconds", instrument="meter3", poll="power") < PATIENCE_S
    assert reader.figure("daq_rtt_seconds", instrument="meter3", poll="power") > 0
    assert reader.figure("daq_stuck") == 0
    empty.world.fault("meter3", "silence")
    eventually(lambda: reader.figure("daq_instrument_state", instrument="meter3", state="lost") == 1, "meter3 lost")
    failed = [one for one in reader.read() if one.name == "daq_slots_total" and one.labels["status"] != "ok"]
    assert sum(one.value for one in failed if one.labels["instrument"] == "meter3") > 0
    eventually(lambda: reader.figure("daq_instrument_state", instrument="dmm1", state="ok") == 1, "dmm1 is well")
    empty.world.clear("meter3")
    eventually(lambda: reader.figure("daq_instrument_state", instrument="meter3", state="ok") == 1, "meter3 ok")


def test_figures_of_journal_and_broker(empty, reader):
    eventually(lambda: (reader.figure("daq_sink_acknowledged_total", sink="mqtt") or 0) > 5, "acknowledgements")
    assert reader.figure("daq_sink_connected", sink="mqtt") == 1
    assert reader.figure("daq_journal_ok") == 1
    eventually(lambda: reader.figure("daq_journal_rows") > 5, "rows")
    assert reader.figure("daq_journal_commit_seconds") > 0
    empty.broker.kill()
    eventually(lambda: reader.figure("daq_sink_connected", sink="mqtt") == 0, "the broker gone")
    eventually(lambda: reader.figure("daq_journal_backlog_records", sink="mqtt") > 0, "records that wait for it")


def test_one_who_says_nothing_is_hung_up_on_and_the_next_is_answered(reader):
    with socket.create_connection(("127.0.0.1", reader.port)):
        assert reader.figure("daq_journal_ok") == 1


def test_a_port_that_is_taken_stops_nothing(empty):
    with socket.create_server(("127.0.0.1", 0)) as other:
        empty.world.start()
        bench = empty.write(only=("meter3",))
        empty.rewrite({**bench, "metrics": f"127.0.0.1:{other.getsockname()[1]}"})
        empty.daemon.start()
        empty.daemon.said("Address already in use")
        empty.daemon.said(" meter3: ok")
        assert empty.daemon.stop() == 0


def test_nothing_listens_unless_it_is_told_to(empty):
    empty.world.start()
    empty.write(only=("meter3",))
    empty.daemon.start()
    empty.daemon.said(" meter3: ok")
    inodes = {
        row.split()[9]
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if row.split()[3] == "0A"  # LISTEN
    }
    own = {link for pid in empty.daemon.family() for link in sockets(pid)}
    assert not inodes & own


def sockets(pid):
    """Return the inodes of a process's sockets."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.append(target[8:-1])
    return found

"""Faults switched on and off over the control socket while the stand-ins run."""

import contextlib
import fcntl
import re
import stat
import sys
import termios
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ModbusIOException


def test_silence_strikes_as_often_as_it_was_told_to(tcp, demo):
    dmm = tcp("dmm1")
    demo.fault("dmm1", "silence", times=1)
    dmm.write("*IDN?")
    assert dmm.ask("SYST:VERS?") == "1994.0"  # the one after it is answered
    silent = demo.log("dmm1")[-2]
    assert (silent["ask"], silent["answer"], silent["values"], silent["fault"]) == ("*IDN?", "", {}, "silence")


def test_a_late_answer_comes_before_the_next_one(tcp, demo):
    dmm = tcp("dmm1")
    demo.fault("dmm1", "late", times=1, seconds=0.2)
    dmm.write("SYST:VERS?")
    dmm.write("ROUT:TERM?")
    assert dmm.readline() == "1994.0"
    assert dmm.readline() == "FRON"
    late = next(line for line in reversed(demo.log("dmm1")) if line["fault"] == "late")
    assert late["answered_mono_ns"] - late["asked_mono_ns"] >= 200_000_000


def test_garbage_is_a_line_and_no_value_of_the_log(tcp, demo):
    dmm = tcp("dmm1")
    demo.fault("dmm1", "garbage", times=1)
    line = dmm.ask("READ?")
    assert not re.fullmatch(r"[+-]\d\.\d{8}E[+-]\d\d", line)
    logged = demo.log("dmm1")[-1]
    assert (logged["answer"], logged["values"], logged["fault"]) == (line, {}, "garbage")


def test_garbage_can_be_chosen(tcp, demo):
    demo.fault("dmm1", "garbage", times=1, text="+1.0000")
    assert tcp("dmm1").ask("*IDN?") == "+1.0000"


def test_half_an_answer_and_a_double_one(tcp, demo):
    dmm = tcp("dmm1")
    demo.fault("dmm1", "truncate", times=1)
    dmm.write("ROUT:TERM?")
    assert dmm.ask("SYST:VERS?") == "FR1994.0"
    demo.fault("dmm1", "duplicate", times=1)
    assert (dmm.ask("SYST:VERS?"), dmm.readline()) == ("1994.0", "1994.0")


def test_a_dripping_answer_is_whole_in_the_end(tcp, demo):
    demo.fault("dmm1", "drip", times=1, seconds=0.005)
    assert tcp("dmm1").ask("SYST:VERS?") == "1994.0"


def test_a_reset_cuts_the_connection(tcp, demo):
    dmm = tcp("dmm1")
    demo.fault("dmm1", "reset", times=1)
    with pytest.raises(ConnectionResetError):
        dmm.ask("*IDN?")
    assert tcp("dmm1").ask("SYST:VERS?") == "1994.0"


def test_a_banner_comes_unasked_on_connect(tcp, demo):
    demo.fault("dmm1", "banner", times=1, text="Welcome to 34465A")
    dmm = tcp("dmm1")
    assert dmm.readline() == "Welcome to 34465A"
    assert dmm.ask("SYST:VERS?") == "1994.0"


def test_overload_is_what_each_model_makes_of_it(tcp, port, demo):
    for name in ("dmm1", "balance1", "ambient1"):
        demo.fault(name, "overload")
    assert tcp("dmm1").ask("*RST;:VOLT:NPLC 0.02;:READ?") == "+9.90000000E+37"
    assert port("balance1").ask("SI") == "S +\r\n"
    assert "P= ********" in port("ambient1", eol="\r").ask("SEND").replace("P=", "P= ")


def test_an_unstable_balance_says_so(port, demo):
    demo.fault("balance1", "unstable")
    assert port("balance1").ask("SI").startswith("S D ")


def test_another_serial_number_until_it_is_cleared(tcp, demo):
    dmm = tcp("dmm1")
    demo.fault("dmm1", "other_serial")
    assert dmm.ask("*IDN?").split(",")[2] == "SIM-OTHER-0001"
    demo.fault("dmm1", "other_serial", text="SIM-SWAPPED")
    assert dmm.ask("*IDN?").split(",")[2] == "SIM-SWAPPED"
    demo.fault("dmm1", "clear")
    assert dmm.ask("*IDN?").split(",")[2] == "SIM-34465A-0001"


def test_a_silent_meter_does_not_silence_its_neighbours(demo):
    bus = ModbusSerialClient(demo.wire("rs485a"), baudrate=9600, timeout=0.5, retries=0)
    with contextlib.closing(bus):
        assert bus.connect()
        demo.fault("meter1", "silence")
        with pytest.raises(ModbusIOException):
            bus.read_input_registers(0, count=2, device_id=1)
        assert not bus.read_input_registers(0, count=2, device_id=2).isError()
        demo.fault("meter1", "clear")
        assert not bus.read_input_registers(0, count=2, device_id=1).isError()


def test_an_unplugged_socket_refuses_and_comes_back_at_the_same_port(tcp, demo, eventually):
    dmm = tcp("dmm1")
    assert dmm.ask("SYST:VERS?") == "1994.0"
    demo.fault("dmm1", "unplug")
    with pytest.raises((EOFError, OSError)):
        dmm.readline()

    def refused():
        try:
            tcp("dmm1")
        except ConnectionRefusedError:
            return True
        return False

    eventually(refused)
    demo.fault("dmm1", "clear")
    assert eventually(lambda: not refused())
    assert tcp("dmm1").ask("SYST:VERS?") == "1994.0"


def test_an_unplugged_port_comes_back_under_another_name_and_its_link_follows(launch, tmp_path, pty_client, eventually):
    link = tmp_path / "thermometer"
    world = f"world: 1\ninstruments:\n  t: {{model: 1502a, at: {{serial: pty, link: {link}}}, period: 0.05}}\n"
    running = launch(world)
    first = link.readlink()
    client = pty_client(link)
    running.open.append(client)
    client.readline()
    running.fault("t", "unplug")
    with pytest.raises((EOFError, OSError)):
        client.rest()
    assert not link.is_symlink()
    running.fault("t", "clear")
    eventually(link.is_symlink)
    assert link.readlink() != first
    again = pty_client(link)
    running.open.append(again)
    assert again.readline().startswith("t:")
    assert running.stop() == 0
    assert not link.is_symlink()


def test_any_meter_of_a_wire_pulls_its_adapter_and_it_comes_back_once(demo, eventually):
    before = demo.wire("rs485a")
    demo.fault("meter1", "unplug")
    demo.fault("meter2", "unplug")
    demo.fault("meter1", "clear")
    demo.fault("meter2", "clear")
    after = eventually(
        lambda: demo.control(where=True)["wires"]["rs485a"]["serial"] != before and demo.control(where=True)
    )
    demo.ready["wires"] = after["wires"]
    bus = ModbusSerialClient(demo.wire("rs485a"), baudrate=9600, timeout=5, retries=0)
    with contextlib.closing(bus):
        assert bus.connect()
        assert not bus.read_input_registers(0, count=2, device_id=3).isError()


def test_what_a_client_left_unread_is_not_given_to_the_next(port, demo, pty_client, eventually):
    client = pty_client(demo.serial("balance1"))
    client.write("I4")
    client.write("I3")
    eventually(lambda: [line["ask"] for line in demo.log("balance1")][-1:] == ["I3"])
    client.close()

    def unread():
        with contextlib.closing(pty_client(demo.serial("balance1"))) as again:
            return int.from_bytes(fcntl.ioctl(again.fd, termios.FIONREAD, bytes(4)), sys.byteorder)

    eventually(lambda: unread() == 0)
    assert port("balance1").ask("I2").startswith("I2")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"instrument": "dmm7", "fault": "silence"}, "there is no 'dmm7'. Nearest: 'dmm1'"),
        ({"instrument": "dmm1", "fault": "silent"}, "there is no 'silent'. Nearest: 'silence'"),
        ({"instrument": "dmm1", "fault": "silence", "times": 0}, "times: must be a whole number from 1"),
        ({"instrument": "dmm1", "fault": "late", "seconds": -1}, "seconds: must be a number from 0"),
        ({"instrument": "dmm1", "fault": "late", "secs": 1}, "secs: no such key. Nearest: 'seconds'"),
        ({"instrument": "dmm1", "fault": "garbage", "text": 1}, "text: must be a string"),
    ],
)
def test_a_wrong_request_is_refused_with_the_remedy(demo, request_, says):
    answer = demo.control(**request_)
    assert answer["ok"] is False
    assert says in answer["error"]


def test_the_control_socket_is_private(demo):
    path = Path(demo.ready["control"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_where_says_what_the_ready_line_said(demo):
    answer = demo.control(where=True)
    assert answer["instruments"]["dmm1"] == demo.at("dmm1")
    assert answer["instruments"]["meter9"] == {"wire": "rs485a", "unit": 3}

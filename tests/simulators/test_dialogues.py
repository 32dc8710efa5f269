"""Every model over its real wire, in the dialogues of its manual."""

import math
import re
import threading
import time

import pytest
import pyvisa
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

NR3 = re.compile(r"[+-]\d\.\d{8}E[+-]\d\d")


@pytest.fixture
def dmm(tcp):
    client = tcp("dmm1")
    client.write("*RST;*CLS")
    return client


def test_the_multimeter_says_who_it_is(dmm):
    assert dmm.ask("*IDN?") == "Keysight Technologies,34465A,SIM-34465A-0001,A.03.03-02.40-03.03-00.52-03-02"


def test_the_multimeter_measures_the_calibrators_ten_volts(dmm):
    dmm.write("CONF:VOLT:DC 10;:VOLT:DC:NPLC 0.02")
    reading = dmm.ask("READ?")
    assert NR3.fullmatch(reading)
    assert float(reading) == pytest.approx(10.0, abs=1e-3)
    assert dmm.ask("FETC?") == reading  # FETCh? gives what is in memory again


@pytest.mark.parametrize(("configure", "function"), [("CONF:RES", "RES"), ("CONFIGURE:FRESISTANCE 10 KOHM", "FRES")])
def test_the_multimeter_measures_resistance(dmm, configure, function):
    dmm.write(f"{configure};:{function}:NPLC 0.02")
    assert dmm.ask("FUNC?") == f'"{function}"'
    assert float(dmm.ask("READ?")) == pytest.approx(10_000.0, abs=1.0)


def test_settings_are_read_back_as_they_were_set(dmm):
    dmm.write("CONF:VOLT:DC 1;:SENS:VOLT:DC:NPLC 0.2;:VOLTAGE:DC:ZERO:AUTO OFF;:TRIG:SOUR BUS;:SAMP:COUN 3")
    assert dmm.ask("CONF?") == '"VOLT +1.000000E+00,+7.000000E-07"'
    assert dmm.ask("VOLT:DC:NPLC?;RANG?;RANG:AUTO?") == "+2.00000000E-01;+1.00000000E+00;0"
    assert dmm.ask(":VOLT:ZERO:AUTO?;:TRIG:SOUR?;:SAMP:COUN?") == "0;BUS;+3"


def test_a_null_is_taken_off_every_reading_until_it_is_configured_anew(dmm):
    dmm.write("CONF:VOLT:DC 10;:VOLT:DC:NPLC 0.02;NULL:STAT ON;VAL 2")
    assert dmm.ask("VOLT:DC:NULL:STAT?;:VOLT:DC:NULL:VAL?") == "1;+2.00000000E+00"
    assert float(dmm.ask("READ?")) == pytest.approx(8.0, abs=1e-3)
    dmm.write("CONF:VOLT:DC 10;:VOLT:DC:NPLC 0.02")
    assert dmm.ask("VOLT:DC:NULL:STAT?;:CALC:SCAL:STAT?;:VOLT:DC:IMP:AUTO?") == "0;0;0"
    assert float(dmm.ask("READ?")) == pytest.approx(10.0, abs=1e-3)


def test_an_ac_reading_holds_the_past_that_its_filter_remembers(dmm, demo):
    dmm.write("CONF:VOLT:AC 1000;:VOLT:AC:BAND 200")
    assert dmm.ask("FUNC?") == '"VOLT:AC"'
    assert dmm.ask("VOLT:AC:BAND?") == "+2.00000000E+02"
    assert float(dmm.ask("READ?")) == pytest.approx(230.0, abs=3.0)
    logged = demo.log("dmm1")[-1]
    instants = logged["sampled_mono_ns"]
    assert instants == sorted(instants)
    assert instants[-1] - instants[0] == 25_000_000  # default settling delay of the fast filter
    assert logged["asked_mono_ns"] <= instants[0]
    assert instants[-1] <= logged["answered_mono_ns"]


@pytest.mark.parametrize(("lowest", "filter_"), [("15", 3), ("190", 20), ("MIN", 3), ("DEF", 20), ("300", 200)])
def test_the_ac_filter_is_the_one_that_passes_the_lowest_frequency(dmm, lowest, filter_):
    dmm.write(f"CONF:VOLT:AC;:VOLT:AC:BAND {lowest}")
    assert float(dmm.ask("VOLT:AC:BAND?")) == filter_
    assert dmm.ask("SYST:ERR?") == '+0,"No error"'


def test_a_wrong_command_is_silent_and_stands_in_the_error_queue(dmm):
    dmm.write("VOLT:DC:NPCL 10")
    dmm.write("VOLT:DC:NPLC 1000")
    assert dmm.ask("SYST:ERR?") == '-113,"Undefined header"'
    assert dmm.ask("SYSTEM:ERROR?") == '-222,"Data out of range"'
    assert dmm.ask("SYST:ERR?") == '+0,"No error"'


def test_too_small_a_range_is_an_overload(dmm):
    dmm.write("CONF:VOLT:DC 1;:VOLT:DC:NPLC 0.02")
    assert dmm.ask("READ?") == "+9.90000000E+37"
    assert dmm.ask("SYST:ERR?") == '+0,"No error"'


def test_a_bus_trigger_starts_as_many_samples_as_were_asked_for(dmm, demo):
    dmm.write("CONF:VOLT:DC 10;:VOLT:DC:NPLC 0.02;:SAMP:COUN 3;:TRIG:SOUR BUS")
    dmm.write("READ?")  # would wait for ever for a trigger that cannot come
    assert dmm.ask("SYST:ERR?") == '-214,"Trigger deadlock"'
    dmm.write("INIT;*TRG")
    readings = dmm.ask("FETC?").split(",")
    assert len(readings) == 3
    assert all(NR3.fullmatch(reading) for reading in readings)
    logged = demo.log("dmm1")[-1]
    assert list(logged["values"].values()) == readings
    first, second, third = logged["sampled_mono_ns"]
    assert second - first == third - second == 800_000  # 0.02 cycles of 50 Hz, twice for autozero


def test_the_multimeter_takes_its_aperture_and_samples_in_its_middle(dmm, demo):
    dmm.write("CONF:VOLT:DC 10;:VOLT:DC:NPLC 1")
    reading = dmm.ask("READ?")
    logged = demo.log("dmm1")[-1]
    assert logged["values"] == {"reading": reading}
    (sampled,) = logged["sampled_mono_ns"]
    assert logged["asked_mono_ns"] + 10_000_000 <= sampled  # half of 20 ms
    assert sampled + 30_000_000 <= logged["answered_mono_ns"]  # the other half, and 20 ms for zero


def test_device_trigger_without_init_is_ignored_with_an_error(dmm):
    dmm.write("*TRG")
    assert dmm.ask("SYST:ERR?") == '-211,"Trigger ignored"'
    dmm.write("FETC?")
    assert dmm.ask("SYST:ERR?") == '-230,"Data stale"'


def test_two_clients_are_answered_each_with_its_own(dmm, tcp):
    other = tcp("dmm1")
    dmm.write("CONF:VOLT:DC 10;:VOLT:DC:NPLC 0.2")
    dmm.write("READ?")
    assert other.ask("*IDN?").startswith("Keysight")
    assert NR3.fullmatch(dmm.readline())


@pytest.fixture
def visa(demo):
    """The calibrator through pyvisa-py, as an independent HiSLIP client."""
    manager = pyvisa.ResourceManager("@py")
    resource = manager.open_resource(demo.at("cal1")["visa"], open_timeout=5000)
    resource.timeout = 10_000
    resource.read_termination = resource.write_termination = "\n"
    yield resource
    resource.close()
    manager.close()


def test_the_calibrator_speaks_over_hislip(visa):
    assert visa.query("*IDN?") == "FLUKE,5730A,SIM-5730A-0001,1.22+A"
    assert visa.query("OUT?") == "1.000000E+01,V,0.00E+00"
    assert int(visa.query("ISR?")) == 0b1_0000_0000_0001  # operating, settled
    assert re.fullmatch(r"\d\.\d{3}E-04,PCT", visa.query("UNCERT?"))


def test_the_calibrators_output_settles_and_the_multimeter_sees_it(visa, dmm, demo):
    visa.write("OUT 2 V; OPER")
    assert visa.query("*OPC?") == "1"
    assert int(visa.query("ISR?")) & (1 << 12)
    assert float(dmm.ask("CONF:VOLT:DC 10;:VOLT:DC:NPLC 0.02;:READ?")) == pytest.approx(2.0, abs=1e-3)
    visa.write("STBY")
    assert visa.query("ISR?") in ("0", "4096")
    visa.query("*OPC?")
    assert float(dmm.ask("READ?")) == pytest.approx(0.0, abs=1e-3)
    visa.write("OUT 10 V; OPER")
    visa.query("*OPC?")


def test_a_wrong_command_is_a_fault_of_the_calibrator(visa):
    visa.write("OUTT 1 V")
    visa.write("OUT 5000 V")
    assert [visa.query("FAULT?") for _ in range(3)] == ["500", "502", "0"]


def test_a_device_clear_gives_up_the_late_answer(visa, demo):
    demo.fault("cal1", "late", seconds=60)
    visa.write("OUT?")
    visa.clear()
    demo.fault("cal1", "clear")
    assert visa.query("*IDN?").startswith("FLUKE")
    assert visa.read_stb() == 0


def test_an_answer_in_many_packets_is_one_answer(visa, demo):
    demo.fault("cal1", "drip", times=1, seconds=0.001)
    assert visa.query("OUT?") == "1.000000E+01,V,0.00E+00"


def test_visa_sessions_come_and_go(demo):
    def once(found):
        manager = pyvisa.ResourceManager("@py")
        resource = manager.open_resource(demo.at("cal1")["visa"], open_timeout=5000)
        resource.timeout = 10_000
        found.append(resource.query("*IDN?"))
        resource.close()

    found = []
    threads = [threading.Thread(target=once, args=(found,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 3


def test_the_balance_answers_as_mt_sics_says(port):
    balance = port("balance1")
    assert balance.ask("@") == 'I4 A "SIM-XPR205-0001"\r\n'
    assert balance.ask("I4") == 'I4 A "SIM-XPR205-0001"\r\n'
    assert balance.ask("I2") == 'I2 A "XPR205 Excellence 220.00000 g"\r\n'
    assert re.fullmatch(r"S [SD] [ \d.-]{10} g\r\n", balance.ask("SI"))
    assert re.fullmatch(r"S S [ \d.-]{10} g\r\n", balance.ask("S"))
    assert balance.ask("s") == "ES\r\n"
    listed = [balance.ask("I0")]
    while listed[-1].startswith("I0 B"):
        listed.append(balance.readline())
    assert listed[-1] == 'I0 A 1 "TAC"\r\n'


def test_the_balance_zeroes_and_tares(port):
    balance = port("balance1")
    answers = {command: balance.ask(command) for command in ("T", "TA", "TAC")}
    assert re.fullmatch(r"T S [ \d.-]{10} g\r\n", answers["T"])
    assert answers["TA"] == answers["T"].replace("T S", "TA A")
    assert answers["TAC"] == "TAC A\r\n"


def test_after_sir_the_balance_repeats_until_something_else_is_asked(port):
    balance = port("balance1")
    repeated = [balance.ask("SIR"), balance.readline(), balance.readline()]
    assert all(re.fullmatch(r"S [SD] [ \d.-]{10} g\r\n", line) for line in repeated)
    balance.write("I4")
    while (line := balance.readline()).startswith("S "):
        pass
    assert line.startswith("I4")


def test_the_thermometer_talks_unasked_and_answers_when_asked(port, demo):
    thermometer = port("thermometer1", eol="\r")
    line = thermometer.readline()
    assert re.fullmatch(r"t: [ \d]{4}\.\d{3} C\r\n", line)
    logged = next(entry for entry in demo.log("thermometer1") if entry["answer"] == line.strip())
    assert logged["ask"] == ""
    assert logged["values"] == {"temperature": line.split()[1]}
    (sampled,) = logged["sampled_mono_ns"]
    assert sampled < logged["answered_mono_ns"]
    thermometer.write("SA=0")
    thermometer.write("IDN?")
    while (line := thermometer.readline()).startswith("t:"):
        pass
    assert line == "HART,1502A,SIM-1502A-0001,1.10\r\n"
    assert re.fullmatch(r"\d+\.\d{3}\r\n", thermometer.ask("FETC?"))
    assert re.fullmatch(r"t: [ \d]{4}\.\d{3} C\r\n", thermometer.ask("T"))
    assert thermometer.ask("SA") == "sa: 00:00:00\r\n"
    thermometer.write("SA=1")


def test_the_ambient_station_sends_in_its_default_format(port, demo):
    station = port("ambient1", eol="\r")
    line = station.ask("send")
    assert re.fullmatch(r"P=  \d{4}\.\d hPa   T= \d\d\.\d 'C RH= \d\d\.\d %RH \r\n", line)
    assert demo.log("ambient1")[-1]["values"] == dict(re.findall(r"(P|T|RH)=\s+([\d.]+)", line))


def test_the_ambient_station_takes_a_format_with_serial_number_and_checksum(port):
    station = port("ambient1", eol="\r")
    assert station.ask('FORM 4.2 P " " U5 #t SN " " ERR " " CS4 #r #n') == "OK\r\n"
    assert station.ask("FORM") == 'Output format  : 4.2 P " " U5 \\t SN " " ERR " " CS4 \\r \\n\r\n'
    line = station.ask("SEND")
    found = re.fullmatch(r"(\d{4}\.\d\d hPa  \tSIM-PTU300-0001 0000 )([0-9A-F]{4})\r\n", line)
    assert found
    assert int(found[2], 16) == sum(found[1].encode())
    assert station.ask("FORM P nonsense") == "Unknown command.\r\n"
    assert station.ask("FORM /") == "OK\r\n"


def test_the_ambient_station_says_who_it_is(port):
    station = port("ambient1", eol="\r")
    assert station.ask("*9900SN") == "SIM-PTU300-0001\r\n"
    assert station.ask("ERRS") == "No errors\r\n"
    lines = [station.ask("?")]
    while not lines[-1].startswith("Module 2"):
        lines.append(station.readline())
    assert lines[:2] == ["PTU300 / 4.06\r\n", "Serial number  : SIM-PTU300-0001\r\n"]


def test_the_ambient_station_runs_until_it_is_stopped(port):
    station = port("ambient1", eol="\r")
    station.write("S")
    station.write("R")
    assert station.readline().startswith("P=")
    station.write("S")
    station.write("VERS")
    while (line := station.readline()).startswith("P="):
        pass
    assert line == "PTU300 / 4.06\r\n"


def test_the_pressure_controller_echoes_headers(tcp):
    controller = tcp("pressure1")
    assert controller.ask("*IDN?") == "*IDN GE Druck,PACE5000,SIM-PACE5000-0001,DK0367  v02.02.14"
    assert re.fullmatch(r":SENS:PRES \d+\.\d{5}", controller.ask(":SENS1:PRES?"))
    assert controller.ask(":INST:SN?") == ":INST:SN SIM-PACE5000-0001"
    assert controller.ask(":OUTP1:STAT?;:UNIT1:PRES?") == ":OUTP:STAT 1;:UNIT:PRES KPA"
    assert controller.ask(":SOUR1:PRES?") == ":SOUR:PRES:LEV:IMM:AMPL 100.00000"
    controller.write(":SENS2:PRES?")
    assert controller.ask(":SYST:ERR?") == ':SYST:ERR -114,"Header suffix out of range"'
    assert controller.ask(":SYST:ERR?") == ':SYST:ERR 0,"No error"'


def test_the_pressure_controller_goes_to_its_set_point(tcp, eventually):
    controller = tcp("pressure1")
    controller.write(":UNIT:PRES MBAR;:SOUR:PRES 1500;:OUTP:STAT ON")
    eventually(lambda: controller.ask(":SENS:PRES:INL?").endswith(",1"))
    assert float(controller.ask(":SENS:PRES?").split()[1]) == pytest.approx(1500.0, abs=0.1)
    controller.write(":SOUR:PRES 1000;:UNIT:PRES KPA")


def floats(registers):
    return ModbusTcpClient.convert_from_registers(registers, ModbusTcpClient.DATATYPE.FLOAT32, word_order="big")


@pytest.fixture
def meter(demo):
    host, port = demo.at("meter3")["modbus_tcp"].split(":")
    client = ModbusTcpClient(host, port=int(port), timeout=10)
    assert client.connect()
    yield client
    client.close()


@pytest.fixture
def bus(demo):
    client = ModbusSerialClient(demo.wire("rs485a"), baudrate=9600, timeout=1, retries=0)
    assert client.connect()
    yield client
    client.close()


def test_the_meter_gives_what_the_log_says(meter, demo):
    values = floats(meter.read_input_registers(0x0000, count=14, device_id=1).registers)
    logged = demo.log("meter3")[-1]
    assert list(logged["values"]) == [f"0x{address:04X}" for address in range(0, 14, 2)]
    assert values == pytest.approx([float(text) for text in logged["values"].values()], rel=1e-7)
    assert values[0] == pytest.approx(230, abs=5)
    assert logged["sampled_mono_ns"][0] % 500_000_000 == 0
    assert 0 <= logged["asked_mono_ns"] - logged["sampled_mono_ns"][0] < 1_000_000_000


def test_powers_of_the_meter_agree_with_each_other(meter):
    values = floats(meter.read_input_registers(0x0000, count=80, device_id=1).registers)
    volts, amps, watts, va = values[0], values[3], values[6], values[9]
    assert va == pytest.approx(volts * amps, rel=1e-6)
    assert watts == pytest.approx(va * values[15], rel=1e-6)
    assert values[26] == pytest.approx(sum(values[6:9]), rel=1e-6)
    assert values[35] == pytest.approx(50, abs=0.5)
    assert values[36] > 0
    assert not any(math.isnan(value) for value in values)


@pytest.mark.parametrize(("unit", "serial"), [(1, 4290000001), (2, 4290000002), (3, 4290000009)])
def test_each_meter_on_the_wire_has_its_own_serial_number(bus, unit, serial):
    registers = bus.read_holding_registers(0xFC00, count=2, device_id=unit).registers
    assert (registers[0] << 16) + registers[1] == serial


@pytest.mark.parametrize(("start", "count", "code"), [(0, 82, 3), (1, 2, 2), (0x0200, 2, 2), (0x017C, 4, 2)])
def test_a_bad_block_is_refused(meter, start, count, code):
    assert meter.read_input_registers(start, count=count, device_id=1).exception_code == code


def test_writing_is_an_illegal_function(meter, bus):
    assert meter.write_register(0, 1, device_id=1).exception_code == 1
    assert bus.write_registers(0, [1, 2], device_id=1).exception_code == 1


def test_nobody_answers_for_a_unit_that_is_not_there(bus):
    from pymodbus.exceptions import ModbusIOException

    with pytest.raises(ModbusIOException):
        bus.read_input_registers(0, count=2, device_id=9)
    assert not bus.read_input_registers(0, count=2, device_id=1).isError()


def test_the_log_holds_questions_and_answers_to_the_byte(dmm, demo):
    before = time.monotonic_ns()
    answer = dmm.ask("*IDN?")
    logged = demo.log("dmm1")[-1]
    assert (logged["ask"], logged["answer"], logged["kind"], logged["fault"]) == ("*IDN?", answer, "text", None)
    assert before <= logged["asked_mono_ns"] <= logged["answered_mono_ns"] <= time.monotonic_ns()
    assert logged["sampled_mono_ns"] is None

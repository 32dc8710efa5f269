"""The parts without a wire: program messages, Modbus frames, lines, the world file."""

import re

import pytest

from simulators import modbus, scpi
from simulators.dialogue import MAX_LINE, Lines
from simulators.log import readable
from simulators.worldfile import WorldFileError, load


@pytest.mark.parametrize("header", ["VOLT:NPLC", "VOLTAGE:DC:NPLC", ":SENS:VOLT:DC:NPLC", "sense:voltage:nplc"])
def test_short_and_long_mnemonics_and_optional_nodes_are_one_command(header):
    assert scpi.pattern("[SENSe:]VOLTage[:DC]:NPLC").fullmatch(header)


@pytest.mark.parametrize("header", ["VOLTA:NPLC", "VOLT:AC:NPLC", "VOLT:NPLC?", "SENS", "VOLT:DCNPLC"])
def test_what_is_neither_short_nor_long_form_is_no_command(header):
    assert not scpi.pattern("[SENSe:]VOLTage[:DC]:NPLC").fullmatch(header)


def test_a_header_after_a_semicolon_goes_on_from_the_last_node():
    assert scpi.units("VOLT:DC:NPLC 10;RANG 1;*CLS;:SAMP:COUN 3") == [
        ("VOLT:DC:NPLC", "10"),
        ("VOLT:DC:RANG", "1"),
        ("*CLS", ""),
        (":SAMP:COUN", "3"),
    ]


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10.0), ("+1.5E-3", 0.0015), (".5", 0.5), ("100 mV", 0.1), ("2 kV", 2000.0)]
)
def test_numbers_may_carry_a_multiplier_and_a_unit(text, value):
    assert scpi.number(text, "V") == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "1_0", "nan", "ten", "1 OHM", "1,2"])
def test_what_is_no_number_is_a_data_type_error(text):
    with pytest.raises(scpi.ScpiError) as caught:
        scpi.number(text, "V")
    assert caught.value.number == -104


def test_the_error_queue_is_bounded_and_says_that_it_overflowed():
    errors = scpi.Errors()
    for _ in range(100):
        errors.add(-113, "Undefined header")
    assert len(errors) == scpi.MAX_ERRORS
    taken = [errors.take() for _ in range(scpi.MAX_ERRORS)]
    assert taken[-1] == (-350, "Error queue overflow")
    assert errors.take() == (0, "No error")


def test_lines_end_at_cr_or_lf_and_may_come_in_pieces():
    lines = Lines()
    assert lines.feed(b"*ID") == []
    assert lines.feed(b"N?\r\nREAD?\r\n\nx\ry") == [b"*IDN?", b"READ?", b"x"]
    assert lines.feed(b"\n") == [b"y"]


def test_a_line_without_end_is_dropped_whole():
    lines = Lines()
    assert lines.feed(b"x" * (MAX_LINE + 1)) == []
    assert lines.feed(b"tail\nnext\n") == [b"next"]


def test_the_log_keeps_every_byte_readable():
    assert readable(b"t: 1 \xb0C\r\n\x00\xff") == "t: 1 °C\\r\\n\\x00ÿ"


@pytest.mark.parametrize(
    "frame",
    ["1103006b00037687", "0104000000027 1cb".replace(" ", "")],  # MODBUS 1.1b3 chapter 6.3 on a line; SDM630 manual
)
def test_checksums_are_those_of_the_manuals(frame):
    data = bytes.fromhex(frame)
    assert modbus.crc(data[:-2]) == data[-2:]
    assert modbus.rtu(data[0], data[1:-2]) == data


def test_noise_before_a_request_is_skipped_and_two_requests_are_two():
    request = bytes.fromhex("01040000000271cb")
    buffer = bytearray(b"\x00\xff\x01" + request + request + request[:3])
    assert modbus.take_rtu(buffer) == request
    assert modbus.take_rtu(buffer) == request
    assert modbus.take_rtu(buffer) is None
    assert bytes(buffer) == request[:3]


def test_noise_without_end_is_bounded():
    buffer = bytearray(b"\x55" * 5000)
    modbus.take_rtu(buffer)
    assert len(buffer) <= 2 * modbus.MAX_FRAME


@pytest.mark.parametrize(
    ("value", "words", "text"),
    [
        (230.2, "43663333", "230.2"),
        (0.1, "3dcccccd", "0.1"),
        (0.0, "00000000", "0"),
        (1e9, "4e6e6b28", "1000000000"),
        (16777216.0, "4b800000", "16777216"),
        (float("nan"), "7fc00000", "NaN"),
    ],
)
def test_a_single_stands_high_word_first_and_its_text_is_the_shortest(value, words, text):
    register = modbus.float32(value)
    assert (register.words.hex(), register.text) == (words, text)


class TwoFloats:
    """A device with 1.5 and 2.5 at 0 and 2."""

    max_words = 4

    def holds(self, table, start, count):
        return table == 4 and start + count <= 4

    def read(self, table):
        return modbus.Snapshot({0: modbus.float32(1.5), 2: modbus.float32(2.5)}, 42)

    def who(self):
        return {}


class SaysWho(TwoFloats):
    """The same, which says who it is, in more than one frame where all is asked."""

    def who(self):
        return {0: b"Company", 1: b"Product", 2: b"V2.11", 0x80: b"x" * 240, 0x81: b"y" * 50}


@pytest.mark.parametrize(
    ("request_", "pdu"),
    [
        ("0400000004", "04083fc0000040200000"),
        ("0400020002", "040440200000"),
        ("0300000002", "8302"),
        ("0400000005", "8403"),
        ("0400000000", "8403"),
        ("0400020004", "8402"),
        ("04ffff0002", "8402"),
        ("04000000", "8403"),
        ("0600000001", "8601"),
        ("2b0e0100", "ab01"),
    ],
)
def test_a_request_is_answered_or_refused_with_the_right_exception(request_, pdu):
    assert modbus.reply(TwoFloats(), bytes.fromhex(request_)).pdu.hex() == pdu


BASIC = "0007" + b"Company".hex() + "0107" + b"Product".hex() + "0205" + b"V2.11".hex()


@pytest.mark.parametrize(
    ("request_", "pdu"),
    [
        ("2b0e0100", "2b0e0183000003" + BASIC),  # MODBUS 1.1b3, the shape of the example in 6.21
        ("2b0e0102", "2b0e01830000010205" + b"V2.11".hex()),
        ("2b0e0140", "2b0e0183000003" + BASIC),  # not there: from the beginning
        ("2b0e0300", "2b0e0383ff8003" + BASIC),
        ("2b0e0380", "2b0e0383ff810180f0" + "78" * 240),
        ("2b0e0381", "2b0e03830000018132" + "79" * 50),
        ("2b0e0401", "2b0e04830000010107" + b"Product".hex()),
        ("2b0e0403", "ab02"),
        ("2b0e0500", "ab03"),
        ("2b0d0100", "ab03"),
    ],
)
def test_a_device_says_who_it_is(request_, pdu):
    assert modbus.reply(SaysWho(), bytes.fromhex(request_)).pdu.hex() == pdu


def test_values_are_those_that_the_reply_holds_whole():
    assert modbus.reply(TwoFloats(), bytes.fromhex("0400010003")).values == {"0x0002": "2.5"}


WRONG = {  # an instrument d, or a whole file -> what is said of it
    "{modle: 34465a, at: {tcp: 0}}": "3:7: instruments.d.modle: no such key. Nearest: 'model'",
    "{model: 34456a, at: {tcp: 0}}": "3:7: instruments.d.model: no model '34456a'. Nearest: '34465a'",
    "{model: 34465a, at: {modbus_tcp: 0}}": "instruments.d.at: needs exactly one of tcp, visa, serial",
    "{model: sdm630, at: {wire: w, unit: 1}}": "instruments.d.at.wire: no wire 'w'",
    "{model: 34465a, at: {tcp: 0}, serial_number: MY1}": "serial_number: must begin with 'SIM-'",
    "{model: sdm630, at: {modbus_tcp: 0}, serial_number: 20110052}": "must be 4290000000 to 4294967295",
    "{model: 34465a, at: {tcp: 99999}}": "instruments.d.at.tcp: must be a number from 0 to 65535",
    "{model: 34465a, at: {serial: /dev/ttyS0}}": "instruments.d.at.serial: a stand-in makes its own",
    "world: 2\ninstruments: {}\n": "1:1: world: this program reads version 1",
    "world: 1\nnominal: {resistanse: 1}\ninstruments: {}\n": "2:11: nominal.resistanse: no such key. Nearest: 'resis",
    "world: 1\n": "instruments: is missing",
    "world: 1\nworld: 1\n": "2:1: no YAML",
    "world: [\n": "no YAML",
    "- 1\n": "must be a mapping",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_world_file_is_refused_with_place_and_remedy(tmp_path, text):
    path = tmp_path / "world.yaml"
    path.write_text(f"world: 1\ninstruments:\n  d: {text}\n" if text.startswith("{") else text)
    with pytest.raises(WorldFileError, match=re.escape(WRONG[text])):
        load(path)


def test_all_errors_of_a_world_file_are_told_at_once(tmp_path):
    path = tmp_path / "world.yaml"
    path.write_text(
        "world: 1\nsead: 2\nwires: {w: {serial: /dev/ttyS0}}\ninstruments:\n  a: {model: x, at: {tcp: 0}}\n"
    )
    with pytest.raises(WorldFileError) as caught:
        load(path)
    assert len(caught.value.args) == 3


def test_two_units_at_one_address_are_refused(tmp_path):
    path = tmp_path / "world.yaml"
    path.write_text(
        "world: 1\nwires: {w: {serial: pty}}\ninstruments:\n"
        "  a: {model: sdm630, at: {wire: w, unit: 1}}\n  b: {model: sdm630, at: {wire: w, unit: 1}}\n"
    )
    with pytest.raises(WorldFileError, match="unit 1 is a's already"):
        load(path)

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsResponse
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest, ReadDeviceInformationResponse
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
)

from daq.core.errors import BusyReply, ForeignReply, RefusedReply, ReplyError, UnreadableReply
from daq.core.frames import Frames
from daq.core.modbus import (
    Block,
    NotReached,
    RefusedBlock,
    checksum,
    content,
    cut,
    identification,
    identification_cut,
    identification_request,
    payload_length,
    registers,
    request,
    silence_ns,
)
from daq.core.plan import RegisterStep

FRAMINGS = ["tcp", "rtu"]


def rtu(text):
    frame = bytes.fromhex(text)
    return frame + checksum(frame)


def test_the_questions_of_the_specification_are_asked_byte_for_byte():
    # MODBUS Application Protocol V1.1b3, 6.3 and 6.4: read 108 to 110, read 9; MODBUS Messaging Guide, 4.4: MBAP
    assert request("tcp", 0xFF, 0x1501, 3, 0x0004, 1).hex() == "1501 0000 0006 ff 03 0004 0001".replace(" ", "")
    assert request("tcp", 1, 0, 3, 0x006B, 3)[6:].hex() == "01 03 006b 0003".replace(" ", "")
    assert request("tcp", 1, 0, 4, 0x0008, 1)[6:].hex() == "01 04 0008 0001".replace(" ", "")


def test_the_meter_of_the_eastron_manual_is_asked_and_read():
    # SDM630-Modbus user manual: 01 04 00 00 00 02 71 CB -> 01 04 04 43 66 33 34 1B 38
    asked = request("rtu", 1, 0, 4, 0, 2)
    assert asked == bytes.fromhex("010400000002 71CB".replace(" ", ""))
    reply = bytes.fromhex("0104044366 33341B38".replace(" ", ""))
    assert cut("rtu", 4, 2)(reply) == len(reply)
    assert registers("rtu", asked, reply) == bytes.fromhex("43663334")


def test_checksum_of_a_published_frame():
    # 0x4B37 is the CRC that the "check" value of CRC-16/MODBUS names for the digits 1 to 9 (reveng catalogue)
    assert checksum(b"123456789") == bytes.fromhex("374B")


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("pdu", "function", "address", "count"),
    [
        (ReadCoilsRequest(address=19, count=19, dev_id=17, transaction_id=7), 1, 19, 19),
        (ReadHoldingRegistersRequest(address=107, count=3, dev_id=17, transaction_id=7), 3, 107, 3),
        (ReadInputRegistersRequest(address=8, count=125, dev_id=17, transaction_id=7), 4, 8, 125),
    ],
)
def test_pymodbus_writes_the_same_questions(framing, pdu, function, address, count):
    framer = (FramerSocket if framing == "tcp" else FramerRTU)(DecodePDU(True))
    assert request(framing, 17, 7, function, address, count) == framer.buildFrame(pdu)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_pymodbus_answers_are_read(framing):
    framer = (FramerSocket if framing == "tcp" else FramerRTU)(DecodePDU(False))
    for function, pdu in (
        (3, ReadHoldingRegistersResponse(registers=[0x1234, 0xFFFF, 0], dev_id=17, transaction_id=7)),
        (4, ReadInputRegistersResponse(registers=[1, 2, 3], dev_id=17, transaction_id=7)),
    ):
        reply = framer.buildFrame(pdu)
        assert cut(framing, function, 3)(reply) == len(reply)
        content = registers(framing, request(framing, 17, 7, function, 0, 3), reply)
        assert [int.from_bytes(content[at : at + 2], "big") for at in (0, 2, 4)] == pdu.registers
    bits = ReadDiscreteInputsResponse(bits=[True, False, True] + [False] * 6 + [True], dev_id=17, transaction_id=7)
    reply = framer.buildFrame(bits)
    assert registers(framing, request(framing, 17, 7, 2, 0, 10), reply) == bytes([0b101, 0b10])


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (1, RefusedReply, "illegal function"),
        (2, RefusedBlock, "illegal data address"),
        (3, RefusedBlock, "illegal data value"),
        (4, RefusedReply, "server device failure"),
        (5, BusyReply, "acknowledge"),
        (6, BusyReply, "busy"),
        (10, NotReached, "gateway path"),
        (11, NotReached, "gateway target"),
        (99, RefusedReply, "not in the specification"),
    ],
)
def test_exceptions_are_named(code, error, words):
    asked = request("rtu", 3, 0, 4, 10, 2)
    reply = rtu(f"0384{code:02x}")
    assert cut("rtu", 4, 2)(reply) == 5
    with pytest.raises(error) as caught:
        registers("rtu", asked, reply)
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert "unit 3, function 4, 2 from 10" in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("0204044366 3334", ForeignReply),  # another unit
        ("0103044366 3334", ForeignReply),  # another function: pymodbus takes it
        ("0104024366", ForeignReply),  # fewer registers than asked for: pymodbus takes it
        ("010406436633340000", ForeignReply),  # more
        ("018302", ForeignReply),  # an exception to another function
        ("0104054366 333400", ForeignReply),  # an odd number of bytes
    ],
)
def test_an_answer_to_another_question_is_foreign(reply, error):
    with pytest.raises(error):
        registers("rtu", request("rtu", 1, 0, 4, 0, 2), rtu(reply.replace(" ", "")))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("0008 0000 0007 01 04 04 43663334", ForeignReply),  # another transaction
        ("0007 0000 0007 02 04 04 43663334", ForeignReply),
        ("0007 0000 0007 01 03 04 43663334", ForeignReply),
        ("0007 0000 0005 01 04 02 4366", ForeignReply),
        ("0007 0000 0007 01 04 02 43663334", ForeignReply),  # its count says less than came
        ("0007 0001 0007 01 04 04 43663334", UnreadableReply),  # not Modbus
        ("0007 0000 0006 01 04 04 43663334", UnreadableReply),
        ("0007 0000", UnreadableReply),
        ("", UnreadableReply),
    ],
)
def test_tcp_replies_are_read_whole_or_not_at_all(reply, error):
    with pytest.raises(error):
        registers("tcp", request("tcp", 1, 7, 4, 0, 2), bytes.fromhex(reply))


def test_a_head_that_is_no_modbus_ends_where_the_bytes_do():
    assert cut("tcp", 4, 2)(b"HTTP/1.1 400") == 12
    assert cut("tcp", 4, 2)(bytes.fromhex("0007 0000 0007 01 04 04 4366")) == 0
    assert cut("tcp", 4, 2)(bytes.fromhex("0007 0000 0007 01 04 04 43663334 00")) == 13


def test_stale_and_fresh_rtu_replies_that_come_together_are_cut_apart():
    stale, fresh = rtu("01040211 11".replace(" ", "")), rtu("0104043F800000")
    find = cut("rtu", 4, 2)
    first = find(stale + fresh)
    assert first == len(stale)
    with pytest.raises(ForeignReply):
        registers("rtu", request("rtu", 1, 0, 4, 0, 2), stale)
    assert find(fresh) == len(fresh)


@given(count=st.integers(1, 125), flip=st.integers(0, 10_000), framing=st.sampled_from(FRAMINGS), data=st.data())
def test_a_flipped_bit_is_never_a_value_in_rtu(count, flip, framing, data):
    content = data.draw(st.binary(min_size=2 * count, max_size=2 * count))
    asked = request("rtu", 1, 0, 3, 0, count)
    frame = bytes((1, 3, 2 * count)) + content
    reply = bytearray(frame + checksum(frame))
    assert registers("rtu", asked, bytes(reply)) == content
    bit = flip % (8 * len(reply))
    reply[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ReplyError):
        registers("rtu", asked, bytes(reply))


@given(reply=st.binary(max_size=300), framing=st.sampled_from(FRAMINGS))
def test_any_bytes_are_refused_in_words_or_whole(reply, framing):
    asked = request(framing, 1, 7, 3, 0, 2)
    length = cut(framing, 3, 2)(reply)
    assert 0 <= length <= len(reply)
    try:
        content = registers(framing, asked, reply)
    except ReplyError as error:
        content, words = None, str(error)
    assert "unit 1, function 3, 2 from 0" in words if content is None else len(content) == 4


@given(
    count=st.integers(1, 125),
    cut_at=st.integers(0, 400),
    function=st.sampled_from([3, 4]),
    framing=st.sampled_from(FRAMINGS),
)
def test_a_shortened_or_doubled_reply_is_never_a_value(count, cut_at, function, framing):
    asked = request(framing, 9, 77, function, 5, count)
    pdu = bytes((function, 2 * count)) + bytes(range(2 * count))
    frame = bytes((9,)) + pdu
    whole = frame + checksum(frame) if framing == "rtu" else asked[:4] + len(frame).to_bytes(2, "big") + frame
    assert registers(framing, asked, whole) == pdu[2:]
    find = cut(framing, function, count)
    short = whole[: cut_at % len(whole)]
    assert find(short) == 0
    for damaged in (short, whole + whole, whole + b"\0", b"\0" + whole):
        with pytest.raises(ReplyError):
            registers(framing, asked, damaged)


@given(
    function=st.integers(1, 4),
    count=st.integers(1, 125),
    transaction=st.integers(0, 0xFFFF),
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
    cut_at=st.integers(0, 12),
    framing=st.sampled_from(FRAMINGS),
)
def test_a_block_made_ready_asks_and_judges_as_one_that_is_not(function, count, transaction, damage, cut_at, framing):
    block = Block(framing, 9, function, 5, count)
    asked = request(framing, 9, transaction, function, 5, count)
    assert block.request(transaction) == asked
    wanted = payload_length(function, count)
    frame = bytes((9, function, wanted)) + bytes(range(wanted))
    whole = frame + checksum(frame) if framing == "rtu" else asked[:4] + len(frame).to_bytes(2, "big") + frame
    assert block.registers(asked, whole) == bytes(range(wanted))
    reply = bytearray(whole)
    for place, byte in damage:
        reply[place % len(reply)] = byte
    judged = bytes(reply[: len(reply) - cut_at])
    assert _judged(block.registers, asked, judged) == _judged(registers, framing, asked, judged)


@given(
    function=st.integers(1, 4),
    count=st.integers(1, 125),
    asked_before=st.integers(0, 3),
    damage=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255)), max_size=2),
    cut_at=st.integers(0, 12),
    behind=st.binary(max_size=2),
)
def test_in_one_step_a_block_is_asked_and_judged_as_in_general(function, count, asked_before, damage, cut_at, behind):
    frames, step = Frames("tcp", 9), RegisterStep(function, 5, count, 1)
    for _ in range(asked_before):
        frames.next(step)
    asked, begins = frames.next(step)
    assert asked == request("tcp", 9, asked_before + 1, function, 5, count)
    wanted = payload_length(function, count)
    whole = asked[:4] + (3 + wanted).to_bytes(2, "big") + bytes((9, function, wanted)) + bytes(range(wanted))
    assert content(whole, begins) == bytes(range(wanted))
    reply = bytearray(whole)
    for place, byte in damage:
        reply[place % len(reply)] = byte
    judged = bytes(reply[: len(reply) - cut_at]) + behind
    in_general = _judged(registers, "tcp", asked, judged)
    assert content(judged, begins) == (in_general if isinstance(in_general, bytes) else None)


def test_questions_are_numbered_on_from_one_way_to_the_other():
    frames, step = Frames("tcp", 9), RegisterStep(3, 5, 1, 1)
    numbers = [frames.next(step)[0][:2], next(frames.block(step)).request[:2], frames.next(step)[0][:2]]
    assert numbers == [b"\0\1", b"\0\2", b"\0\3"]
    for _ in range(0x10000 - 4):
        frames.next(step)
    assert [frames.next(step)[1][:2] for _ in range(3)] == [b"\0\0", b"\0\1", b"\0\2"]


def _judged(judge, *question):
    try:
        return judge(*question)
    except ReplyError as error:
        return type(error), str(error)


@pytest.mark.parametrize("function", [1, 2])
@pytest.mark.parametrize("address", [0x0300, 0x0310, 0x03FF])
@pytest.mark.parametrize("count", [17, 20, 24])
def test_the_echo_of_our_own_question_is_no_answer_though_it_has_the_form_of_one(function, address, count):
    asked = request("rtu", 1, 0, function, address, count)
    assert cut("rtu", function, count)(asked) == len(asked)
    with pytest.raises(ForeignReply, match="local echo"):
        registers("rtu", asked, asked)


def test_silence_between_frames():
    # MODBUS over Serial Line V1.02, 2.5.1.1: 3.5 characters of 11 bits; a fixed 1.75 ms above 19200 baud
    assert silence_ns(9600) == 4_010_417
    assert silence_ns(19200) == 2_005_209
    assert silence_ns(115200) == 1_750_000


def test_coils_are_packed_eight_to_a_byte():
    assert [payload_length(1, count) for count in (1, 8, 9, 2000)] == [1, 1, 2, 250]
    assert payload_length(4, 125) == 250


# Who it is ------------------------------------------------------------------------------------------------------------

COMPANY = bytes.fromhex("2B0E0101000003 0016") + b"Company identification" + b"\1\x0eProduct code X" + b"\2\5V2.11"
"""The example of the specification (V1.1b3, 6.21), its product code given as many characters as its length says."""


def test_the_example_of_the_specification_says_who_it_is():
    asked = identification_request("rtu", 1, 0, 1, 0)
    assert asked[:-2] == bytes.fromhex("01 2B0E0100")
    reply = rtu(f"01{COMPANY.hex()}")
    assert identification_cut("rtu")(reply) == len(reply)
    found = identification("rtu", asked, reply)
    assert found.objects == {0: b"Company identification", 1: b"Product code X", 2: b"V2.11"}
    assert found.more is None


@pytest.mark.parametrize("framing", FRAMINGS)
def test_pymodbus_asks_and_says_who_it_is_in_the_same_way(framing):
    framer = FramerSocket if framing == "tcp" else FramerRTU
    asked = identification_request(framing, 17, 7, 3, 0)
    written = ReadDeviceInformationRequest(read_code=3, object_id=0, dev_id=17, transaction_id=7)
    assert asked == framer(DecodePDU(True)).buildFrame(written)
    objects = {0: b"Maker", 1: b"P", 2: b"", 0x80: b"x" * 150, 0x81: b"y" * 150}
    answer = ReadDeviceInformationResponse(3, objects, dev_id=17, transaction_id=7)
    reply = framer(DecodePDU(False)).buildFrame(answer)
    assert identification_cut(framing)(reply) == len(reply)
    found = identification(framing, asked, reply)
    assert found.objects == {number: objects[number] for number in (0, 1, 2, 0x80)}
    assert found.more == 0x81


@pytest.mark.parametrize(
    ("pdu", "error"),
    [
        ("AB01", RefusedReply),
        ("AB02", RefusedBlock),
        ("040443663334", ForeignReply),
        ("2B0E02 01 00 00 01 00 01 41", ForeignReply),  # another category
        ("2B0D01 01 00 00 01 00 01 41", ForeignReply),
        ("2B0E01 01 00 00 02 00 01 41", ForeignReply),  # two objects said, one there
        ("2B0E01 01 00 00 01 00 02 41", ForeignReply),  # shorter than it says
        ("2B0E01 01 00 00 01 00 01 41 42", ForeignReply),  # and longer
        ("2B0E01 01 00 00 02 01 01 41 00 01 42", ForeignReply),  # going down
        ("2B0E01 01 00", ForeignReply),
    ],
)
def test_what_is_no_answer_to_who_it_is(pdu, error):
    with pytest.raises(error) as caught:
        identification("rtu", identification_request("rtu", 1, 0, 1, 0), rtu("01" + pdu.replace(" ", "")))
    assert type(caught.value) is error
    assert "unit 1, device identification (43/14) from object 0" in str(caught.value)


def test_a_device_that_always_has_more_gets_no_further_than_it_says():
    asked = identification_request("rtu", 1, 0, 1, 1)
    for more in ("FF00", "FF01"):  # it would have us ask the same again
        assert identification("rtu", asked, rtu(f"012B0E0101{more}01010141")).more is None
    assert identification("rtu", asked, rtu("012B0E0101FF0201010141")).more == 2


@given(data=st.binary(max_size=300))
def test_whatever_comes_in_place_of_an_identification_is_cut_or_waited_for(data):
    found = identification_cut("rtu")(data)
    assert 0 <= found <= len(data)


@given(place=st.integers(0, len(COMPANY) + 2), bit=st.integers(0, 7))
def test_no_flipped_bit_makes_another_instrument(place, bit):
    reply = bytearray(rtu(f"01{COMPANY.hex()}"))
    reply[place] ^= 1 << bit
    with pytest.raises(ReplyError):
        identification("rtu", identification_request("rtu", 1, 0, 1, 0), bytes(reply))

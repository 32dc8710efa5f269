import math
import struct
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.blocks import Block, Limits, Span, barrier, divided, joined, packed
from daq.core.modbus import payload_length
from daq.core.observation import Flag, Kind, ReadingStatus
from daq.core.plan import RegisterStep
from daq.core.registers import (
    Factor,
    Layout,
    NumberReader,
    RegisterReader,
    decoded,
    ordered,
    quickest,
    quotient,
    shortest_float32,
    shortest_float64,
)


def reader(kind="float32", order="ABCD", length=None, is_a=Kind.NUMBER, **more):
    length = length or {"int16": 2, "uint16": 2, "bits": 2, "float64": 8, "int64": 8, "uint64": 8}.get(kind, 4)
    layout = Layout(0, 0, length, kind, order)
    return RegisterReader(layout, "voltage.dc", "V", is_a, None, **more)


def read(one, content):
    return one.read([bytes.fromhex(content)])


EDGES = [b"\0\0", b"\xff\xff", b"\x80\0", b"\0\x80", b"\x7f\xc0", b"\0d"]
"""Registers of zeros, ones, signs alone, a float that is no number, 100."""


@given(
    st.sampled_from(["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]),
    st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA", "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"]),
    st.integers(0, 4),
    st.sampled_from(
        [
            {},
            {"scale": Decimal("0.1")},
            {"scale": Decimal("-1E-9")},
            {"scale": Decimal(1000)},
            {"codes": {0: ReadingStatus.INVALID}},
            {"codes": {0x8000: ReadingStatus.OVERRANGE, 0xFFFF: ReadingStatus.INVALID}, "scale": Decimal("0.01")},
            {"plausible": (Decimal(-5), Decimal("200.5"))},
            {"plausible": (Decimal(0), Decimal("0.1")), "scale": Decimal("0.001")},
        ]
    ),
    st.binary(min_size=16, max_size=16)
    | st.lists(
        st.sampled_from([b"\0\0", b"\xff\xff", b"\x80\0", b"\0\x80", b"\x7f\xc0", b"\0d"]), min_size=8, max_size=8
    ).map(b"".join),
)
def test_what_reads_quickest_reads_the_same(kind, order, offset, more, content):
    plain = reader(kind, order, **more)
    plain = replace(plain, layout=replace(plain.layout, offset=2 * offset))
    assert quickest(plain).read([content]) == plain.read([content])


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
def test_numbers_are_read_quickest_where_struct_reads_their_registers(order):
    assert isinstance(quickest(reader("int16", order)), NumberReader)
    for kind in ("uint32", "float32"):
        assert isinstance(quickest(reader(kind, order)), NumberReader) == (order in {"ABCD", "DCBA"})
    for more in (
        {"is_a": Kind.ENUM, "enum": {"1": "on"}},
        {"is_a": Kind.BITS},
        {"factors": (Factor(Layout(0, 2, 2, "int16"), "times_from"),)},
    ):
        assert isinstance(quickest(reader("int16", order, **more)), RegisterReader)


@pytest.mark.parametrize(
    ("order", "content"),
    [("ABCD", "C2F6 E666"), ("CDAB", "E666 C2F6"), ("BADC", "F6C2 66E6"), ("DCBA", "66E6 F6C2")],
)
def test_vaisalas_test_register_reads_right_in_every_order(order, content):
    # Vaisala HMT330/PTU300 Modbus: the constant -123.45 is C2F6 E666 as a single float
    assert read(reader(order=order), content).value == "-123.45"


@pytest.mark.parametrize(
    ("order", "content"),
    [
        ("ABCDEFGH", "0102 0304 0506 0708"),
        ("GHEFCDAB", "0708 0506 0304 0102"),
        ("BADCFEHG", "0201 0403 0605 0807"),
        ("HGFEDCBA", "0807 0605 0403 0201"),
        ("CDAB", "0708 0506 0304 0102"),
    ],
)
def test_sixty_four_bits_in_every_order(order, content):
    assert ordered(bytes.fromhex(content), order) == bytes.fromhex("0102030405060708")
    assert read(reader("uint64", order), content).value == "72623859790382856"


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [
        ("int16", "8000", "-32768"),
        ("uint16", "8000", "32768"),
        ("int32", "FFFF FFFE", "-2"),
        ("uint32", "FFFF FFFE", "4294967294"),
        ("int64", "8000 0000 0000 0000", "-9223372036854775808"),
        ("uint64", "FFFF FFFF FFFF FFFF", "18446744073709551615"),
        ("uint64", "0020 0000 0000 0001", "9007199254740993"),  # 2**53 + 1, which no double holds
        ("float32", "4366 3333", "230.2"),
        ("float32", "4366 3334", "230.20001"),
        ("float32", "8000 0000", "-0"),
        ("float32", "0000 0001", "1E-45"),
        ("float32", "7F7F FFFF", "3.4028235E38"),
        ("float32", "4974 2400", "1000000"),
        ("float64", "4009 21FB 5444 2D18", "3.141592653589793"),
        ("float64", "406C C666 6666 6666", "230.2"),
    ],
)
def test_numbers_are_exact(kind, content, value):
    reading = read(reader(kind), content)
    assert (reading.value, reading.text, reading.status) == (value, value, ReadingStatus.OK)


@pytest.mark.parametrize("content", ["7FC0 0000", "7F80 0000", "FF80 0000", "FFFF FFFF"])
def test_nan_and_infinity_are_invalid(content):
    reading = read(reader(), content)
    assert reading.status is ReadingStatus.INVALID
    assert reading.value is None
    assert reading.text == f"0x{content.replace(' ', '').lower()}"


@pytest.mark.parametrize(
    ("kind", "order", "content", "value"),
    [
        ("bcd16", "ABCD", "0042", "42"),
        ("bcd16", "BADC", "3412", "1234"),
        ("bcd32", "ABCD", "00123456", "123456"),
        ("bcd32", "CDAB", "34560012", "123456"),
        ("bcd64", "ABCD", "9999999999999999", "9999999999999999"),
        ("bcd16", "ABCD", "0000", "0"),
    ],
)
def test_a_digit_in_each_four_bits(kind, order, content, value):
    length = {"bcd16": 2, "bcd32": 4, "bcd64": 8}[kind]
    seen = read(reader(kind, order, length=length), content)
    assert (seen.value, seen.status) == (value, ReadingStatus.OK)
    scaled = read(reader(kind, order, length=length, scale=Decimal("0.01")), content)
    assert Decimal(scaled.value) == Decimal(value) / 100


@pytest.mark.parametrize("content", ["004A", "F000", "FFFF"])
def test_what_is_no_digit_is_no_value(content):
    seen = read(reader("bcd16", length=2), content)
    assert (seen.value, seen.status, seen.text) == (None, ReadingStatus.INVALID, f"0x{content.lower()}")


def test_codes_are_compared_raw_before_scaling():
    one = reader("int16", scale=Decimal("0.1"), codes={0x8000: ReadingStatus.ABSENT, 0x7FFF: ReadingStatus.OVERRANGE})
    assert read(one, "8000").status is ReadingStatus.ABSENT
    assert read(one, "7FFF").status is ReadingStatus.OVERRANGE
    assert read(one, "7FFE").value == "3276.6"
    assert read(one, "8001").value == "-3276.7"


def test_scaling_is_decimal():
    assert read(reader("uint16", scale=Decimal("0.1")), "0003").value == "0.3"  # 0.30000000000000004 in doubles
    assert read(reader("uint16", scale=Decimal("0.1")), "08FC").value == "230.0"
    assert read(reader("uint64", scale=Decimal("0.001")), "0020 0000 0000 0001").value == "9007199254740.993"
    assert read(reader("int16", scale=Decimal(100)), "FFFE").value == "-200"


def test_the_exponent_may_stand_in_a_register_of_its_own():
    power = Factor(Layout(1, 2, 2, "int16"), "scale_from")
    one = RegisterReader(Layout(0, 0, 2, "int16"), "power.active", "W", Kind.NUMBER, None, factors=(power,))
    assert one.read([bytes.fromhex("04D2"), bytes.fromhex("0000FFFE")]).value == "12.34"
    assert one.read([bytes.fromhex("04D2"), bytes.fromhex("00000003")]).value == "1234000"
    without = one.read([bytes.fromhex("04D2"), bytes.fromhex("00008000")])
    assert (without.status, without.value) == (ReadingStatus.INVALID, None)


def scaled(way, kind, content, value="04D2", **more):
    """Read 1234 in an int16, scaled by the content of another register."""
    by = Factor(Layout(1, 0, len(bytes.fromhex(content)), kind), way, **more)
    one = RegisterReader(Layout(0, 0, 2, "int16"), "power.active", "W", Kind.NUMBER, None, factors=(by,))
    return one.read([bytes.fromhex(value), bytes.fromhex(content)])


@pytest.mark.parametrize(
    ("way", "kind", "content", "value"),
    [
        ("scale_from", "int16", "FFFE", "12.34"),
        ("scale_from", "int16", "0002", "123400"),
        ("decimals_from", "uint16", "0003", "1.234"),
        ("decimals_from", "int16", "FFFF", "12340"),
        ("times_from", "uint16", "0050", "98720"),  # a current transformer of 400:5
        ("times_from", "int16", "FFFF", "-1234"),  # wired the other way round
        ("times_from", "float32", "3DCCCCCD", "123.4"),
        ("divisor_from", "uint16", "0064", "12.34"),
        ("divisor_from", "int16", "FFF6", "-123.4"),
        ("divisor_from", "uint16", "0008", "154.25"),
        ("divisor_from", "uint16", "0003", "411.33333333333333333"),  # which no decimal shows whole
    ],
)
def test_what_scales_may_stand_in_a_register_of_its_own(way, kind, content, value):
    reading = scaled(way, kind, content)
    assert (reading.value, reading.status) == (value, ReadingStatus.OK)


@pytest.mark.parametrize(
    ("way", "kind", "content", "codes"),
    [
        ("scale_from", "int16", "8000", {0x8000}),
        ("scale_from", "uint16", "FFFF", ()),  # no power of ten of any instrument
        ("scale_from", "float32", "3FC00000", ()),  # 1.5
        ("decimals_from", "uint16", "0063", {0x63}),
        ("times_from", "uint16", "FFFF", {0xFFFF}),
        ("times_from", "uint16", "0000", ()),  # never set: all would read zero
        ("times_from", "float32", "7FC00000", ()),
        ("divisor_from", "int16", "8000", {0x8000}),
        ("divisor_from", "uint16", "0000", ()),
    ],
)
def test_without_what_scales_it_there_is_no_value(way, kind, content, codes):
    reading = scaled(way, kind, content, codes=frozenset(codes))
    assert (reading.value, reading.status, reading.text) == (None, ReadingStatus.INVALID, "1234")


@given(number=st.integers(-(2**63), 2**63), by=st.integers(1, 2**64))
def test_a_quotient_is_exact_or_right_to_twenty_digits(number, by):
    found, exact = Fraction(quotient(Decimal(number), Decimal(by))), Fraction(number, by)
    rest = exact.denominator
    for prime in (2, 5):  # a decimal ends when nothing else divides it
        while rest % prime == 0:
            rest //= prime
    assert found == exact if rest == 1 else abs(found - exact) <= abs(exact) * Fraction(1, 10**19)


def test_a_range_flags_and_never_clamps():
    one = reader("int16", plausible=(Decimal(0), Decimal(500)))
    assert read(one, "01F4").flags == ()
    beyond = read(one, "01F5")
    assert (beyond.value, beyond.flags, beyond.status) == ("501", (Flag.IMPLAUSIBLE,), ReadingStatus.OK)


def test_words_bits_and_enums_go_to_text():
    bits = read(reader("bits", is_a=Kind.BITS), "8001")
    assert (bits.value, bits.text, bits.kind) == (None, "32769", Kind.BITS)
    enum = {"is_a": Kind.ENUM, "enum": {"1": "running"}}
    assert read(reader("uint16", **enum), "0001").text == "running"
    unknown = read(reader("uint16", **enum), "0002")
    assert (unknown.status, unknown.text) == (ReadingStatus.INVALID, "0x0002")
    word = reader("string", length=8, is_a=Kind.WORD)
    assert read(word, "5749 4748 5400 0000").text == "WIGHT"
    assert decoded(ordered(bytes.fromhex("4957 4847 0054"), "BADC"), "string") == "WIGHT"


def test_coils_are_taken_from_the_lowest_bit_on():
    one = RegisterReader(Layout(0, 9, 1, "bits", coils=True), "state", "1", Kind.NUMBER, None)
    assert one.read([bytes([0x00, 0b10])]).value == "1"
    assert one.read([bytes([0xFF, 0b01])]).value == "0"


# The shortest decimal, judged by exact fractions ----------------------------------------------------------------------


def nearest_float32(decimal):
    """Round a decimal to the nearest float32, ties to even, in exact fractions: nothing of the code under test."""
    exact = Fraction(Decimal(decimal))
    low, high = 0, 0x7F7FFFFF
    magnitude = abs(exact)
    while low < high:
        middle = (low + high + 1) // 2
        if Fraction(struct.unpack(">f", middle.to_bytes(4, "big"))[0]) <= magnitude:
            low = middle
        else:
            high = middle - 1
    below = Fraction(struct.unpack(">f", low.to_bytes(4, "big"))[0])
    if low == 0x7F7FFFFF:  # beyond half a step above the largest, IEEE 754 rounds to infinity
        return low if magnitude < below + Fraction(2) ** 103 else None
    above = Fraction(struct.unpack(">f", (low + 1).to_bytes(4, "big"))[0])
    if magnitude - below == above - magnitude:
        return low + (low & 1)
    return low if magnitude - below < above - magnitude else low + 1


def float32s():
    powers = st.integers(1, 254).map(lambda exponent: exponent << 23)
    return st.one_of(st.integers(1, 0x7F7FFFFF), powers, powers.map(lambda bits: bits - 1), st.integers(1, 4000))


@given(bits=float32s(), negative=st.booleans())
def test_a_float32_comes_back_from_its_decimal(bits, negative):
    number = struct.unpack(">f", bits.to_bytes(4, "big"))[0]
    text = shortest_float32(-number if negative else number)
    assert text.startswith("-") == negative
    assert nearest_float32(text) == bits


@given(bits=float32s())
def test_no_shorter_decimal_would_do(bits):
    number = struct.unpack(">f", bits.to_bytes(4, "big"))[0]
    text = shortest_float32(number)
    digits = len(Decimal(text).normalize().as_tuple().digits)
    if digits == 1:
        return
    exact, scale = Fraction(number), Decimal(text).adjusted() - (digits - 2)
    unit = Fraction(10) ** scale
    for shorter in (math.floor(exact / unit), math.ceil(exact / unit)):
        candidate = Decimal(shorter).scaleb(scale)
        assert nearest_float32(candidate) != bits, f"{candidate} is shorter than {text}"


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float64_comes_back_from_its_decimal(number):
    assert float(shortest_float64(number)) == number


# Blocks ---------------------------------------------------------------------------------------------------------------


def spans(*pairs, function=4):
    return [Span(function, address, count) for address, count in pairs]


def hulls(blocks):
    return [(block.span.address, block.span.count) for block in blocks]


def test_neighbours_are_read_together():
    assert hulls(packed(spans((0, 2), (2, 2), (4, 2)), Limits(125, 0))) == [(0, 6)]


def test_a_gap_is_read_along_up_to_its_limit():
    values = spans((0, 2), (5, 2))
    assert hulls(packed(values, Limits(125, 2))) == [(0, 2), (5, 2)]
    assert hulls(packed(values, Limits(125, 3))) == [(0, 7)]


def test_a_block_never_exceeds_max_words_nor_splits_a_value():
    assert hulls(packed(spans((0, 4), (4, 4), (8, 4)), Limits(10, 0))) == [(0, 8), (8, 4)]


def test_a_forbidden_range_is_never_crossed():
    values = spans((0, 2), (4, 2))
    assert hulls(packed(values, Limits(125, 10, ((None, 2, 3),)))) == [(0, 2), (4, 2)]
    assert hulls(packed(values, Limits(125, 10, ((3, 2, 3),)))) == [(0, 6)]  # forbidden in another table


def test_tables_are_never_mixed():
    assert len(packed([Span(3, 0, 1), Span(4, 0, 1)], Limits(125, 10))) == 2


@given(
    values=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 4)), min_size=1, max_size=40),
    words=st.integers(4, 125),
    gap=st.integers(0, 20),
    forbidden=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5)), max_size=3),
)
def test_blocks_hold_every_value_and_keep_every_limit(values, words, gap, forbidden):
    limits = Limits(words, gap, tuple((None, first, first + more) for first, more in forbidden))
    wanted = [span for span in spans(*values) if not limits.forbid(span)]
    blocks = packed(wanted, limits)
    assert {value for block in blocks for value in block.values} == set(wanted)
    for block in blocks:
        assert limits.allow(block.span)
        assert all(block.span.address <= value.address and value.end <= block.span.end for value in block.values)
        reached = block.values[0].end
        for value in block.values[1:]:
            assert value.address - reached <= gap
            reached = max(reached, value.end)


def block_of(*pairs):
    (block,) = packed(spans(*pairs), Limits(125, 124))
    return block


def test_a_refused_block_is_asked_without_its_gaps():
    assert divided(block_of((0, 2), (2, 2), (10, 2))) == (Span(4, 0, 4), Span(4, 10, 2))


def test_a_refused_block_without_gaps_is_halved_between_values():
    assert divided(block_of((0, 2), (2, 4), (6, 2))) == (Span(4, 0, 2), Span(4, 2, 6))
    assert divided(block_of((0, 4))) == ()


@given(
    values=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 4)), min_size=1, max_size=12, unique=True),
    function=st.sampled_from([1, 4]),
)
def test_the_parts_of_a_block_make_its_answer(values, function):
    (block,) = packed(spans(*values, function=function), Limits(125, 124))
    memory = [(7919 * at) % 65536 if function == 4 else at % 3 % 2 for at in range(200)]

    def answer(span):
        content = memory[span.address : span.end]
        if function == 4:
            return b"".join(word.to_bytes(2, "big") for word in content)
        return sum(bit << at for at, bit in enumerate(content)).to_bytes(payload_length(1, span.count), "little")

    def step(span):
        return RegisterStep(span.function, span.address, span.count, 1)

    parts = divided(block)
    whole, glued = answer(block.span), joined(step(block.span), [(step(part), answer(part)) for part in parts])
    assert len(glued) == len(whole)
    for value in block.values if parts else ():
        offset = value.address - block.span.address
        if function == 4:
            assert glued[2 * offset :][: 2 * value.count] == whole[2 * offset :][: 2 * value.count]
        else:
            mask = (1 << value.count) - 1
            bits = [int.from_bytes(each, "little") >> offset & mask for each in (glued, whole)]
            assert bits[0] == bits[1]


def test_a_barrier_is_as_long_as_no_other_answer():
    blocks = packed(spans((0, 2), (2, 2), (4, 2), (6, 2)), Limits(125, 0))
    assert barrier(blocks, []) == Span(4, 0, 2)  # the block has 8, its halves 4
    assert barrier(blocks, [Span(4, 9, 2)]) == Span(4, 0, 6)
    assert barrier(blocks, [Span(3, 9, 2)]) == Span(4, 0, 2)  # another function code tells itself


def test_a_barrier_of_last_resort_is_the_first_register_of_a_longer_value():
    assert barrier(packed(spans((0, 2)), Limits(125, 0)), []) == Span(4, 0, 1)
    assert barrier(packed(spans((0, 1)), Limits(125, 0)), []) is None


def test_a_barrier_never_reads_unused_addresses():
    (block,) = packed(spans((0, 2), (8, 2)), Limits(125, 10))
    assert barrier([block], []) == Span(4, 0, 1)
    assert isinstance(block, Block)

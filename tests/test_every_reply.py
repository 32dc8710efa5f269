"""Every template and register map of the library against replies that are wrong, and against decoders by other hands.

A reply is damaged as lines damage it: cut at either end, shifted into its neighbour, doubled, another poll's, a bit
flipped. What the driver reads of it must be what the grammar in docs/driver-reference.md says of the whole of it, by a
second implementation of that grammar that stands below and shares nothing with the first; registers are decoded anew
with struct. The numbers that a damaged reply without checksum gives by that grammar are no fault of the driver: each
poll says by its integrity that its wire cannot show them.
"""

import itertools
import math
import random
import re
import struct
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from daq.core.blocks import COILS
from daq.core.driver import RegisterDriver, TextDriver
from daq.core.errors import ReplyError
from daq.core.modbus import payload_length, registers, request
from daq.core.observation import Flag, Integrity, ReadingStatus
from daq.core.plan import RegisterStep, TextStep
from daq.load import load_driver
from daq.workshop.entry import poll_plan

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "drivers").rglob("*.yaml"))
QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],  # what fails is small as it is; shrinking it takes minutes
)


def name_of(path):
    return path.relative_to(ROOT / "drivers").with_suffix("").as_posix()


DRIVERS = {path: load_driver(path)[0] for path in FILES}


def of_kind(kind):
    return [pytest.param(driver, id=name_of(path)) for path, driver in DRIVERS.items() if isinstance(driver, kind)]


# The grammar, by other hands ---------------------------------------------------------------------------------------

DIGITS = "[0-9]"
NR2 = rf"(?:{DIGITS}+\.{DIGITS}*|\.{DIGITS}+)"
TYPES = {
    "nr1": rf"[+-]?{DIGITS}+",
    "nr2": rf"[+-]?{NR2}",
    "nr3": rf"[+-]?(?:{NR2}|{DIGITS}+)[eE][+-]?{DIGITS}+",
    "nr": rf"[+-]?(?:{NR2}|{DIGITS}+)(?:[eE][+-]?{DIGITS}+)?",
    "snr": rf"[+-]? *(?:{NR2}|{DIGITS}+)(?:[eE][+-]?{DIGITS}+)?",
    "text": r"[\x20-\x7e\xa0-\xff]*",
    "word": r'[^\x00-\x20\x7f-\xa0,;"]+',
    "quoted": r'"(?:[^"]|"")*"',
    "unit": r"[^\x00-\x20\x7f-\xa00-9+,;:\"-][^\x00-\x20\x7f-\xa0,;:\"]{0,15}",
    "bits": rf"{DIGITS}+",
    "hex": r"(?:0[xX]|#[hH])?[0-9A-Fa-f]+",
    "hexs": r"[0-9A-Fa-f]+",
    "blanks": r" *",
    "sum2": r"[0-9A-Fa-f]{2}",
    "xor2": r"[0-9A-Fa-f]{2}",
    "sum4": r"[0-9A-Fa-f]{4}",
    "crc4": r"[0-9A-Fa-f]{4}",
    "lrc2": r"[0-9A-Fa-f]{2}",
    "block": r"#(?:1[0-9]|2[0-9]{2}|3[0-9]{3}|4[0-9]{4}|5[0-9]{5}|6[0-9]{6}|7[0-9]{7})",
    "from": "",
    "to": "",
}
BYTES = {"uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "float32": 4, "float64": 8}
BYTES |= {"easy32": 6, "easy16": 3, "easyid": 6, "sum1": 1, "xor1": 1, "lrc1": 1, "crc2": 2}
TYPES |= {kind: rf"[\x00-\xff]{{{length}}}" for kind, length in BYTES.items()}
NUMBERS = ("nr1", "nr2", "nr3", "nr", "snr")


def grammar(template):
    """Write what a template takes as one expression, after the page that describes it; width is checked apart."""
    found, place, source = [], 0, template.source
    while place < len(source):
        if source.startswith(("{{", "}}"), place):
            found.append(re.escape(source[place]))
            place += 2
        elif source[place] == "{":
            end = source.index("}", place)
            found.append(field(source[place + 1 : end], template.codes))
            place = end + 1
        elif source[place] == " ":
            run = len(source) - len(source[place:].lstrip(" ")) - place
            wide = re.match(r"\{[^{}]*:[a-z0-9]+:[0-9]+\}", source[place + run :])
            found.append(" " * run if wide else " {1,}")
            place += run
        else:
            found.append(re.escape(source[place]))
            place += 1
    return re.compile("".join(found), re.DOTALL)


def field(written, codes):
    """Write one field, or a list of them: names:type[:width][*separator]."""
    names, _, rest = written.partition(":")
    rest, star, separator = rest.partition("*")
    kind, _, width = rest.partition(":")
    many = names.split(",")
    if ".." in names:
        low, high = (int(re.search("[0-9]+$", end)[0]) for end in names.split(".."))
        many = [f"{re.match('.*?(?=[0-9]+$)', names.split('..')[0])[0]}{number}" for number in range(low, high + 1)]
    between = re.escape(separator).replace(r"\ ", " +") if star else "" if kind in BYTES else ","
    width = "" if kind in BYTES else width
    return between.join(content(kind, width, codes.get(name, ())) for name in many)


def content(kind, width, codes):
    words = [re.escape(code) for code in codes]
    choices = words if kind == "enum" else [TYPES[kind], *words]
    inside = f"(?:{'|'.join(choices)})"
    return f"(?=.{{{width}}})(?: *{inside} *)(?<=.{{{width}}})" if width else inside


def test_the_grammar_above_refuses_what_the_page_says_is_refused():
    def takes(source, reply):
        written = SimpleNamespace(source=source, codes={"s": ("0", "1")})
        return grammar(written).fullmatch(reply) is not None

    assert takes("S S {w:nr} {u:unit}", "S S     100.00 g")
    assert takes("{a:nr3:15}", "+9.99998713E+00")
    assert takes("{a,b,c:nr3*; };{s:enum}", "1E0;  2E0; 3E0;1")
    assert takes("{v1..v3:nr1}", "1,2,3")
    for source, reply in [
        ("S S {w:nr} {u:unit}", "S D     100.00 g"),
        ("S S {w:nr} {u:unit}", "S S     100.00 "),
        ("{a:nr3:15}", "+9.9999871E+00"),
        ("{v1..v3:nr1}", "1,2"),
        ("{s:enum}", "2"),
        ("{a:nr2}", "1.5E3"),
    ]:
        assert not takes(source, reply), (source, reply)


# Text -----------------------------------------------------------------------------------------------------------------


def dialogues(driver):
    """Give (plan, replies) of every example that is read, as bytes with their ending."""
    ending = driver.link.eol.encode("latin-1")
    plans = {}
    for example in driver.examples:
        if example.outcome is None:
            key = (example.poll, repr(example.settings))
            plans[key] = plans.get(key) or poll_plan(driver, example.poll, example.settings)
            yield plans[key], [got.encode("latin-1") + ending for got in example.got]


def answered(plan):
    return [step for step in plan.steps if isinstance(step, TextStep) and step.reply is not None]


def read(plan, replies):
    """Read a poll's replies as a session does; None where one is refused."""
    try:
        answers = []
        for step, reply in zip(answered(plan), replies, strict=True):
            if step.reply.cut(reply) != len(reply):
                return None
            answers.append(step.reply.match(reply))
        return plan.readings(answers)
    except ReplyError:
        return None


def said(readings):
    """What a subscriber would take for a value."""
    return {name: (its.value, its.unit, its.text) for name, its in readings.items() if its.status == ReadingStatus.OK}


def damaged(draw, whole, others):
    """Damage a reply as lines do; `others`: what else comes over the same wire."""
    cut = draw(st.integers(1, max(1, len(whole) - 1)))
    other = draw(st.sampled_from(others))
    return draw(
        st.sampled_from(
            [
                whole[cut:],
                whole[:-cut],
                whole[:cut] + whole[cut + 1 :],
                whole[:cut] + whole[cut - 1 :],
                whole + whole,
                whole[: len(whole) // 2] + whole,
                other,
                other[cut % len(other) :] + whole,
                whole[:cut] + other,
                whole[:cut] + bytes([whole[cut % len(whole)] ^ (1 << draw(st.integers(0, 7)))]) + whole[cut + 1 :],
                draw(st.binary(max_size=40)) + whole[-2:],
            ]
        )
    )


ALL_REPLIES = sorted(
    example.got[0].encode("latin-1") + driver.link.eol.encode("latin-1")
    for driver in DRIVERS.values()
    if isinstance(driver, TextDriver)
    for example in driver.examples[:2]
)
"""Some replies of every instrument: what a line sends whose cable was put into another socket."""


@pytest.mark.parametrize("driver", of_kind(TextDriver))
def test_a_value_is_only_what_the_grammar_reads_of_the_whole_reply(driver):
    known = list(dialogues(driver))
    others = [*{reply for _, replies in known for reply in replies}, *ALL_REPLIES]
    ending = driver.link.eol
    grammars = {}
    assert driver.link.decimal == "." or not known, "write the grammar's comma"

    @QUICK
    @given(st.data())
    def hold(data):
        plan, replies = known[data.draw(st.integers(0, len(known) - 1))]
        place = data.draw(st.integers(0, len(replies) - 1))
        wrong = damaged(data.draw, replies[place], others)
        readings = read(plan, [*replies[:place], wrong, *replies[place + 1 :]])
        if readings is None or wrong == replies[place]:
            return
        text = wrong.decode("latin-1")
        assert text.endswith(ending), wrong
        shapes = [shape.template for shape in answered(plan)[place].reply.match.shapes]
        for shape in shapes:
            grammars.setdefault(shape.source, grammar(shape))
        assert any(grammars[shape.source].fullmatch(text[: len(text) - len(ending)]) for shape in shapes), wrong

    hold()


@pytest.mark.parametrize("driver", of_kind(TextDriver))
def test_of_a_reply_without_its_ending_or_with_more_behind_it_nothing_is_read(driver):
    for plan, replies in dialogues(driver):
        assert read(plan, replies) is not None
        if driver.link.eol:
            for place, reply in enumerate(replies):
                torn = reply[: -len(driver.link.eol)]
                assert read(plan, [*replies[:place], torn, *replies[place + 1 :]]) is None
                assert read(plan, [*replies[:place], reply + reply, *replies[place + 1 :]]) is None
                assert read(plan, [*replies[:place], reply + b" ", *replies[place + 1 :]]) is None


@pytest.mark.parametrize("driver", of_kind(TextDriver))
def test_where_a_checksum_is_claimed_no_flipped_bit_passes(driver):
    for plan, replies in dialogues(driver):
        if plan.integrity is not Integrity.CHECKSUM:
            continue
        right = read(plan, replies)
        for place, reply in enumerate(replies):
            for at, bit in itertools.product(range(len(reply)), range(8)):
                flipped = reply[:at] + bytes([reply[at] ^ (1 << bit)]) + reply[at + 1 :]
                now = read(plan, [*replies[:place], flipped, *replies[place + 1 :]])
                assert now is None or said(now) == said(right), (plan.source, flipped)


@pytest.mark.parametrize("driver", of_kind(TextDriver))
def test_where_replies_are_said_to_name_their_question_no_other_answer_passes(driver):
    known = list(dialogues(driver))
    for (plan, replies), (other, foreign) in itertools.product(known, known):
        if plan.integrity is not Integrity.TAGGED:
            continue
        for place, step in enumerate(answered(plan)):
            for its, reply in zip(answered(other), foreign, strict=True):
                if its.ask != step.ask:
                    mixed = [*replies[:place], reply, *replies[place + 1 :]]
                    assert read(plan, mixed) is None, (plan.source, other.source, reply)


# Registers ------------------------------------------------------------------------------------------------------------

LETTERS = {
    "ABCD": [0, 1, 2, 3],
    "CDAB": [2, 3, 0, 1],
    "BADC": [1, 0, 3, 2],
    "DCBA": [3, 2, 1, 0],
    "ABCDEFGH": [0, 1, 2, 3, 4, 5, 6, 7],
    "GHEFCDAB": [6, 7, 4, 5, 2, 3, 0, 1],
    "BADCFEHG": [1, 0, 3, 2, 5, 4, 7, 6],
    "HGFEDCBA": [7, 6, 5, 4, 3, 2, 1, 0],
}
"""Order -> which byte of the value arrives at each place, read off the letters of its name."""

CODES = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "int64": "q",
    "uint64": "Q",
    "float64": "d",
}
TABLES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
PLAC = {"coil": 1, "discrete": 10001, "input": 30001, "holding": 40001}


def raw_of(register, address, memory):
    """Take a value's bytes from the memory, the highest first."""
    size = struct.calcsize(CODES[register.type])
    words = [memory[TABLES[register.table], address + offset] for offset in range(size // 2)]
    arrived = b"".join(word.to_bytes(2, "big") for word in words)
    order = LETTERS[register.order] if size > 2 else [0, 1]
    if len(order) < size:  # a 64-bit value whose order is written with four letters: the same rule for its words
        order = {
            "ABCD": LETTERS["ABCDEFGH"],
            "CDAB": LETTERS["GHEFCDAB"],
            "BADC": LETTERS["BADCFEHG"],
            "DCBA": LETTERS["HGFEDCBA"],
        }[register.order]
    elif size == 2 and register.order in ("BADC", "DCBA"):
        order = [1, 0]
    value = bytearray(size)
    for place, byte in enumerate(order):
        value[byte] = arrived[place]
    return bytes(value)


def shortest(raw, code):
    """Write a float as the shortest decimal that gives the same float again."""
    number = struct.unpack(f">{code}", raw)[0]
    for digits in range(1, 18):
        text = f"{number:.{digits}g}"
        if struct.pack(f">{code}", float(text)) == raw:
            return Decimal(text)
    raise AssertionError(raw)


def first_address(driver, register, repetition=0):
    """Address on the wire: 1-based and 40001-style numbers of `plc` are counted from their table's first."""
    at = register.at
    if driver.addressing == "plc":
        at -= PLAC[register.table] if at > 10000 else 1
    return at + repetition * getattr(register, "stride", 0)


def numbered(driver, poll):
    """Give (name as published, channel, its first address) for every repetition of every channel."""
    names = list(poll.for_each)
    values = poll.for_each[names[0]] if names else [None]
    for written, channel in poll.channels.items():
        repeated = names and f"{{{names[0]}}}" in written
        for repetition, value in enumerate(values if repeated else [None]):
            name = written.replace(f"{{{names[0]}}}", str(value)) if repeated else written
            yield name, channel, first_address(driver, channel, repetition)


class Memory(dict):
    """Registers of any content: what was not written yet is drawn, among it what meters use for not available."""

    def __init__(self, seed):
        super().__init__()
        self.chance = random.Random(seed)

    def __missing__(self, key):
        odd = [0x0000, 0x8000, 0x7FFF, 0xFFFF, 0x7FC0, 0xFFC0, 0x4248]
        self[key] = self.chance.choice(odd) if self.chance.random() < 0.3 else self.chance.getrandbits(16)
        return self[key]


def block(step, memory):
    words = [memory[step.function, step.address + offset] for offset in range(step.count)]
    if step.function not in COILS:
        return b"".join(word.to_bytes(2, "big") for word in words)
    packed = sum(1 << offset for offset, word in enumerate(words) if word & 1)
    return packed.to_bytes(payload_length(step.function, step.count), "little")


@pytest.mark.parametrize("driver", of_kind(RegisterDriver))
def test_registers_of_any_content_read_as_struct_reads_them(driver):
    if driver.settings:
        return  # where its value stands is said by the bench file: tests/core/test_registers.py
    plans = {name: poll_plan(driver, name, {}) for name in driver.polls}

    @QUICK
    @given(st.integers(0, 2**64))
    def hold(seed):
        for name, plan in plans.items():
            memory = Memory(seed)
            steps = [step for step in plan.steps if isinstance(step, RegisterStep)]
            readings = plan.readings([block(step, memory) for step in steps])
            seen = set()
            for channel, register, address in numbered(driver, driver.polls[name]):
                seen.add(channel)
                if register.kind == "number":
                    as_struct_reads_it(readings[channel], driver, register, address, memory)
            assert seen == readings.keys()

    hold()


def as_struct_reads_it(reading, driver, register, address, memory):
    raw = raw_of(register, address, memory)
    code = CODES[register.type]
    number = struct.unpack(f">{code}", raw)[0]
    codes = {int(str(content), 0) for content in register.invalid}
    statuses = {int(content, 0): status for content, status in register.special.items()}
    whole = int.from_bytes(raw, "big")
    if whole in codes or not math.isfinite(number):
        assert reading.status == ReadingStatus.INVALID or whole in statuses, reading
        assert reading.value is None
        return
    if whole in statuses:
        assert reading.status == statuses[whole]
        return
    if register.range_from:
        return  # tests/core/test_ranges.py
    if register.scale_from or register.decimals_from or register.times_from or register.divisor_from:
        return  # what scales it may hold no exponent: tests/core/test_registers.py
    value = shortest(raw, code) if code in "fd" else Decimal(number)
    assert reading.status == ReadingStatus.OK
    assert Decimal(reading.value) == value * Decimal(str(register.scale or 1)), (reading, raw)
    low, high = (Decimal(str(end)) for end in register.plausible or (reading.value, reading.value))
    inside = low <= Decimal(reading.value) <= high
    assert (Flag.IMPLAUSIBLE in reading.flags) == (not inside)


def crc16(frame):
    """MODBUS over Serial Line V1.02, 6.2.2: polynomial A001, all ones first, low byte sent first."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc.to_bytes(2, "little")


def rtu(unit, function, content):
    frame = bytes([unit, function, len(content)]) + content
    return frame + crc16(frame)


@pytest.mark.parametrize("driver", of_kind(RegisterDriver))
def test_of_a_frame_that_is_not_the_whole_answer_nothing_is_read(driver):
    chance = random.Random(1)
    for name in driver.polls:
        for step in poll_plan(driver, name, {}).steps:
            asked = request("rtu", 17, 0, step.function, step.address, step.count)
            content = block(step, Memory(1))
            right = rtu(17, step.function, content)
            assert registers("rtu", asked, right) == content
            flips = [chance.randrange(8 * len(right)) for _ in range(20)]
            for wrong in [
                right[:-1],
                right[1:],
                right[: len(right) // 2],
                right + right,
                right + b"\0",
                rtu(18, step.function, content),
                rtu(17, step.function ^ 7, content),
                rtu(17, step.function, content + b"\0\0"),
                rtu(17, step.function, content[:-2]),
                *(right[: at // 8] + bytes([right[at // 8] ^ (1 << at % 8)]) + right[at // 8 + 1 :] for at in flips),
            ]:
                with pytest.raises(ReplyError):
                    registers("rtu", asked, wrong)

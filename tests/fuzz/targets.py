"""What is fuzzed: functions of bytes that raise AssertionError where a promise is broken, and else return.

Each judges by a second way to the same answer, written here from the specifications and not from the code: a target
that only waits for a traceback would take a wrong number for a right one. Nothing here knows who makes the bytes up.

    bytes -> TARGETS[name] -> None, or what went wrong
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
import tempfile
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path

from daq.core import modbus
from daq.core.cut import Cut, ends_with
from daq.core.errors import ConfigError, LinkFlooded, ReplyError
from daq.core.observation import Reading, ReadingStatus, Stamp
from daq.core.plan import PollPlan, TextStep
from daq.core.registers import decoded, ordered
from daq.core.template import Field, Literal, Template, TemplateError, parse
from daq.load import check_file, load_driver
from daq.load.files import judge_driver
from daq.transports.inbox import Inbox
from daq.transports.seam import MAX_REPLY

ROOT = Path(__file__).parents[2]


class Bytes:
    """Takes numbers and choices from the front; what is left is the rest. Zeros follow the end."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def number(self, most: int) -> int:
        """Return 0 to `most`."""
        size = (most.bit_length() + 7) // 8
        taken, self.rest = self.rest[:size], self.rest[size:]
        return int.from_bytes(taken.ljust(size, b"\0"), "big") % (most + 1)


def _said(error: Exception) -> None:
    """See that a refusal has words."""
    assert str(error)


# ---------------------------------------------------------------- text


def template_source(data: bytes) -> None:
    """Any text is a template, or is refused in words; a template that stands matches its own sample."""
    try:
        template = parse(data.decode("latin-1"), "\n")
    except TemplateError as error:
        _said(error)
        return
    template.fields(data)
    assert template.fields(template.sample().encode("latin-1") + b"\n") is not None, template.source


@cache
def _library() -> list[tuple[PollPlan, bytes, str]]:
    """Return every poll of every text driver's examples, with the ending of its replies, and the driver's name."""
    from daq.core.driver import TextDriver
    from daq.core.examples import _plan

    found = []
    for file in sorted((ROOT / "drivers").rglob("*.yaml")):
        driver, _ = load_driver(file)
        if isinstance(driver, TextDriver):
            eol = driver.link.eol.encode("latin-1")
            for example in driver.examples:
                plan = _plan(driver, example.poll, example.settings)
                if isinstance(plan, PollPlan):
                    found.append((plan, eol, str(file.relative_to(ROOT))))
    return found


def replies(data: bytes) -> None:
    """What the library's polls take for a reply is whole, and a number in it is the one that is printed there."""
    given = Bytes(data)
    plan, eol, name = _library()[given.number(len(_library()) - 1)]
    answers, spoken = [], b""
    for step in (step for step in plan.steps if isinstance(step, TextStep) and step.reply is not None):
        line, mark, after = given.rest.partition(b"\0")
        given.rest = after
        reply = line + eol if mark or not after else line
        assert step.reply is not None
        length = step.reply.cut(reply)
        assert 0 <= length <= len(reply)
        try:
            answers.append(step.reply.match(reply))
        except ReplyError as error:
            _said(error)
            return
        spoken += reply
    try:
        readings = plan.readings(answers)
    except ReplyError as error:
        _said(error)
        return
    if any(isinstance(step, TextStep) and step.reply is not None and step.reply.binary for step in plan.steps):
        return  # its digits stand nowhere in the reply
    for channel, reading in readings.items():
        _is_printed(reading, spoken.decode("latin-1"), f"{name}: {plan.name}.{channel}")


def _is_printed(reading: Reading, spoken: str, where: str) -> None:
    """Without a scale a value's digits stand in the reply; a status without value has none."""
    if reading.status is not ReadingStatus.OK:
        assert reading.value is None, where
    elif reading.value is not None and reading.text is not None and not reading.text.startswith(("0x", "0X", "#")):
        text = reading.text.replace(" ", "")
        assert text in spoken.replace(" ", ""), (where, reading)
        with contextlib.suppress(ArithmeticError):
            assert Decimal(text.replace(",", ".")) == Decimal(reading.value), (where, reading)


@cache
def _templates() -> list[Template]:
    from daq.core.driver import TextDriver
    from daq.workshop.text_findings import templates_of

    found: dict[str, Template] = {}
    for file in sorted((ROOT / "drivers").rglob("*.yaml")):
        driver, _ = load_driver(file)
        if isinstance(driver, TextDriver):
            for _, source in templates_of(driver):
                with contextlib.suppress(TemplateError):
                    found[source] = parse(source, "\r\n", None, driver.link.decimal)
    return list(found.values())


def templates(data: bytes) -> None:
    """Every template of the library: what it matches is itself again when its fields are put back, blanks aside."""
    given = Bytes(data)
    template = _templates()[given.number(len(_templates()) - 1)]
    fields = template.fields(given.rest)
    if fields is None:
        return
    reply = given.rest.decode("latin-1")
    assert reply.endswith("\r\n"), (template.source, reply)
    again = "".join(_pattern(part, fields) for part in template.parts)
    assert re.fullmatch(again, _bare(reply), re.DOTALL), (template.source, reply, fields)
    for part, sum_ in _sums(template, given.rest):
        assert given.rest[:-2].upper().endswith(sum_), (template.source, part, given.rest)


def _bare(text: str) -> str:
    return text.removesuffix("\r\n").replace(" ", "")


def _pattern(part: Literal | Field, fields: dict[str, str]) -> str:
    if isinstance(part, Literal):
        return re.escape(_bare(part.text))
    if part.name is None or part.in_bytes:
        return ".*"
    text = fields[part.name].replace('"', '""') if part.type == "quoted" else fields[part.name]
    quote = '"' if part.type == "quoted" else ""
    return re.escape(quote + _bare(text) + quote)


def _sums(template: Template, reply: bytes) -> list[tuple[str, bytes]]:
    """Return the checksum a reply must end with, where its template ends with one."""
    last = template.parts[-1]
    if any(isinstance(part, Field) and part.type in {"from", "to"} for part in template.parts):
        return []  # tests/core/test_frames.py
    if not isinstance(last, Field) or last.type not in {"sum2", "sum4", "xor2"}:
        return []
    digits = 4 if last.type == "sum4" else 2
    number = 0
    for byte in reply[: -2 - digits]:
        number = number ^ byte if last.type == "xor2" else number + byte
    return [(last.type, b"%0*X" % (digits, number % 16**digits))]


# ---------------------------------------------------------------- registers


def _crc16(frame: bytes) -> bytes:
    """MODBUS over Serial Line V1.02, 6.2.2, bit by bit."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


def frames(data: bytes) -> None:
    """A frame counts only if it is, byte for byte, the answer that the specification says."""
    given = Bytes(data)
    framing: modbus.Framing = "tcp" if given.number(1) else "rtu"
    unit, transaction, function = given.number(255), given.number(65535), 1 + given.number(3)
    count = 1 + given.number(1999 if function <= 2 else 124)
    address, mend = given.number(65535), given.number(3)
    asked = modbus.request(framing, unit, transaction, function, address, count)
    reply = _mended(framing, asked, given.rest, mend)
    length = modbus.cut(framing, function, count)(reply)
    assert 0 <= length <= len(reply)
    try:
        content = modbus.registers(framing, asked, reply)
    except ReplyError as error:
        _said(error)
        return
    wanted = (count + 7) // 8 if function <= 2 else 2 * count
    pdu = bytes((unit, function, wanted)) + content
    assert len(content) == wanted
    assert reply == (pdu + _crc16(pdu) if framing == "rtu" else struct.pack(">HHH", transaction, 0, len(pdu)) + pdu), (
        reply.hex()
    )
    assert reply != asked
    assert length == len(reply)


def _mended(framing: modbus.Framing, asked: bytes, reply: bytes, mend: int) -> bytes:
    """Give bytes a head or a checksum that fits, so that what lies behind is reached."""
    if framing == "rtu":
        return reply + _crc16(reply) if mend & 1 else reply
    head = asked[:4] + struct.pack(">H", len(reply)) if mend & 1 else b""
    return head + (asked[6:8] if mend & 2 else b"") + reply


def identification(data: bytes) -> None:
    """What a device says of itself: objects that lie in the reply, or a refusal in words."""
    given = Bytes(data)
    framing: modbus.Framing = "tcp" if given.number(1) else "rtu"
    asked = modbus.identification_request(framing, given.number(255), given.number(65535), 1, given.number(255))
    reply = _mended(framing, asked, given.rest, given.number(3))
    assert 0 <= modbus.identification_cut(framing)(reply) <= len(reply)
    try:
        told = modbus.identification(framing, asked, reply)
    except ReplyError as error:
        _said(error)
        return
    assert all(bytes((number, len(content))) + content in reply for number, content in told.objects.items())
    assert list(told.objects) == sorted(told.objects)


ORDERS = {
    "ABCD": (0, 1, 2, 3, 4, 5, 6, 7),
    "BADC": (1, 0, 3, 2, 5, 4, 7, 6),
    "CDAB": (6, 7, 4, 5, 2, 3, 0, 1),
    "DCBA": (7, 6, 5, 4, 3, 2, 1, 0),
}
"""Where each byte of four registers comes from; of two, the same with the places halved."""

KINDS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q"}
FLOATS = {"float32": ">f", "float64": ">d"}


def contents(data: bytes) -> None:
    """Registers are what struct reads of the same bytes; a float's text is read back as the same float."""
    given = Bytes(data)
    kind = [*KINDS, *FLOATS][given.number(7)]
    order = list(ORDERS)[given.number(3)]
    form = (KINDS | FLOATS)[kind]
    size = struct.calcsize(form)
    raw = given.rest[:size].ljust(size, b"\0")
    places = [place - (8 - size) if order in {"CDAB", "DCBA"} else place for place in ORDERS[order]]
    straight = bytes(raw[place] for place in places if 0 <= place < size)
    assert ordered(raw, order) == straight, (kind, order, raw.hex())
    text = decoded(straight, kind)
    (number,) = struct.unpack(form, straight)
    if kind in KINDS:
        assert text == str(number)
    elif text is None:
        assert not math.isfinite(number)
    else:
        assert struct.pack(form, float(text)) == straight or number == 0 == float(text), (text, straight.hex())


# ---------------------------------------------------------------- bytes of a line


def pieces(data: bytes) -> None:
    """However bytes come, replies are those that lie in them, in order; none is lost, added or dated before it came."""
    given = Bytes(data)
    eol = (b"\n", b"\r\n", b"\r", b">> ")[given.number(3)]
    inbox, whole, taken, now, seen = Inbox(), b"", b"", 0, []
    rule: Cut = ends_with(eol)
    while given.rest:
        size = given.number(15)
        piece, given.rest = given.rest[:size], given.rest[size:]
        now += 2
        if piece:
            inbox.put(piece, Stamp(now - 1, now - 1), Stamp(now, now), Stamp(now, now))
            whole += piece
        try:
            got = inbox.take(rule)
        except LinkFlooded:
            assert len(whole) - len(taken) >= MAX_REPLY
            return
        if got is None:
            assert eol not in whole[len(taken) :]
            continue
        assert got.data.endswith(eol)
        assert eol not in got.data[:-1] or len(eol) > 1
        assert whole[len(taken) :].startswith(got.data)
        assert got.not_before.mono_ns < got.first.mono_ns <= got.last.mono_ns <= now
        taken += got.data
        seen.append(got)
    assert taken + inbox.empty() == whole
    assert all(before.last.mono_ns <= after.last.mono_ns for before, after in pairwise(seen))


# ---------------------------------------------------------------- files


def _written(data: bytes, name: str, judge: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        judge(path)


def bench_file(data: bytes) -> None:
    """Any file is a bench, or is refused with words that name it."""

    def judge(path: Path) -> None:
        try:
            check_file(path)
        except ConfigError as error:
            problems = error.problems
        else:
            return
        assert problems
        assert all(path.name in problem for problem in problems)

    _written(data, "bench.yaml", judge)


def driver_file(data: bytes) -> None:
    """Any file is a driver, or is refused with words; what `daq driver test` finds is found without a traceback."""

    def judge(path: Path) -> None:
        driver, _, problems = judge_driver(path)
        assert driver is not None or problems

    _written(data, "driver.yaml", judge)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "template-source": template_source,
    "templates": templates,
    "replies": replies,
    "frames": frames,
    "identification": identification,
    "contents": contents,
    "pieces": pieces,
    "bench-file": bench_file,
    "driver-file": driver_file,
}

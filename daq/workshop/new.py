"""Begins a driver file: a commented skeleton made of what its author knows already.

A reply copied from the manual becomes a template and an example at once; what is not known yet says TODO, in a value
where the file cannot do without, so that no unfinished file passes for a finished one. Pure.

    Wish -> [skeleton] -> text of a driver file        a similar driver -> [derived] -> the same, to be gone through
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from daq.core.number import json_number
from daq.core.written import Source
from daq.workshop.findings import TODO
from daq.workshop.specimen_words import Fit, first_order, fitting, other_type, words_of

SCHEMA = "# yaml-language-server: $schema={schema}\n"

NO_READING = "-"
"""Name of a number that is none."""

_DASHES = r"(?<![\w.-])-{2,}(?:[.,]-+)?(?![\w.-])"
"""What is printed in place of a number where there is none."""

_NUMBER = re.compile(
    r"(?:(?<![\w.])[+-]?|(?<=[A-Za-z])[+-])"
    r"(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?![\w.]*[A-Za-z_]))(?:[eE][+-]?[0-9]+)?"
)
_WITH_COMMA = re.compile(r"(?<![\w.,])[+-]?[0-9]+,[0-9]+(?:[eE][+-]?[0-9]+)?(?![\w.,])")
_SECTION = {
    "title": f"title: {TODO} maker and models, for people\n",
    "source": f"source: {TODO} manual, edition, pages\n",
    "verified": "verified: manual # manual, public-driver or hardware: how sure we are\n",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the author of a driver knows; None and () where it is still to be found out.

    Args:
        speaks: text or registers.
        eol: ending of lines, as they are: CR, LF.
        line: serial settings as delivered; None where it has no serial port.
        who: the reply to *IDN?, as printed.
        poll: name of the first poll.
        ask, got: its question, and its reply as printed.
        channels, quantities, units: of the numbers in the reply, in their order.
        age: longest age of an answer, such as 500 ms.
        decimal: what stands before the decimals in the reply.
        addressing, address, table, type: registers: where the number stands and how it is written.
        words, value: registers: the manual's example, hexadecimal, and what it reads.
    """

    speaks: str = "text"
    title: str | None = None
    source: str | None = None
    eol: str = "\n"
    line: str | None = None
    who: str | None = None
    poll: str | None = None
    ask: str | None = None
    got: str | None = None
    channels: Sequence[str] = ()
    quantities: Sequence[str] = ()
    units: Sequence[str] = ()
    age: str | None = None
    decimal: str = "."
    addressing: str = "pdu"
    address: str | None = None
    table: str = "input"
    type: str = "float32"
    words: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply taken apart.

    Args:
        template: the reply with its numbers replaced by fields.
        values: field -> the number as printed; where there is none, the one field that holds the whole.
        word: it holds no number.
        absent: field -> the dashes that stand in place of its number.
    """

    template: str
    values: dict[str, str]
    word: bool = False
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> list[str]:
        """The names of its fields, in their order."""
        return re.findall(r"\{([a-zA-Z0-9_-]+):", self.template)


def skeleton(wish: Wish, schema: str) -> str:
    """Write the file; `schema` is where the editor finds the schema, as seen from the file."""
    body = _text(wish) if wish.speaks == "text" else _registers(wish)
    return SCHEMA.format(schema=schema) + "driver: 1 # version of this format\n" + _head(wish) + body


def numbers_in(reply: str, decimal: str = ".") -> list[str]:
    """Return the numbers of a reply, as printed."""
    return _numbers(decimal).findall(reply)


def _numbers(decimal: str) -> re.Pattern[str]:
    return _NUMBER if decimal == "." else re.compile(f"{_WITH_COMMA.pattern}|{_NUMBER.pattern}")


def with_comma(reply: str, names: int) -> list[str]:
    """Return the numbers of a reply whose comma seems to be a decimal one; [] where it rather parts two numbers.

    Args:
        reply: as printed. 24,985 may be one number or two; 1,2,3 and 1.5,2.5 are several.
        names: how many numbers the author knows of, 0 where that is open.
    """
    found = _WITH_COMMA.findall(reply)
    return found if found and names <= len(numbers_in(reply, ",")) and not re.search(r"[0-9]\.[0-9]", reply) else []


def sample(reply: str, names: Sequence[str], decimal: str = ".") -> Sample:
    """Take a reply apart: each number becomes a field of its kind, all else must come again as it is.

    Dashes in place of a number are a field too: left among what must come again, they would count every later column
    wrong, and another sensor could never be absent.

    Args:
        reply: as the manual prints it, without its ending.
        names: of the numbers, in order, at least one; where they are too few, the first is counted on: t1, t2. A number
            called - is no reading, and must come again as it is, such as the code before it that says all is well.
        decimal: what stands before its decimals.
    """
    values: dict[str, str] = {}
    absent: dict[str, str] = {}
    numbers = numbers_in(reply, decimal)
    if not numbers:
        return Sample(f"{{{names[0]}:text}}", {names[0]: reply}, word=True)
    columns = re.compile(f"{_numbers(decimal).pattern}|{_DASHES}")
    found = columns.findall(reply)
    pieces = [piece.replace("{", "{{").replace("}", "}}") for piece in columns.split(reply)]
    template = ""
    for number, printed in enumerate(found):
        name = names[number] if len(names) >= len(found) else f"{names[0]}{number + 1}"
        if name == NO_READING:
            template += pieces[number] + printed
            continue
        if printed not in numbers:
            absent[name] = printed
            template += f"{pieces[number]}{{{name}:{_kind(numbers[0])}}}"
            continue
        before, sign = _sign_apart(pieces[number], printed)
        values[name] = sign + printed
        template += f"{before}{{{name}:{'snr' if sign else _kind(printed)}}}"
    return Sample(template + pieces[-1], values, absent=absent)


def _sign_apart(before: str, printed: str) -> tuple[str, str]:
    """Part what stands before a number from its sign, where blanks lie between it and the digits, as balances print.

    Left among the characters that must come again, a minus would be lost from every value.
    """
    apart = None if printed.startswith(("+", "-")) else re.search("([+-]) +$", before)
    return (before, "") if apart is None else (before[: apart.start()], apart[1])


def identity(reply: str) -> tuple[str, str | None]:
    """Return the template of an identity, and its model: maker, model, serial number, firmware (IEEE 488.2, 10.14)."""
    parts = reply.split(",")
    header = "*IDN " if reply.upper().startswith("*IDN ") else ""
    if len(parts) >= 4:
        return f"{header}{{maker:text}},{{model:text}},{{serial:text}},{{firmware:text}}", parts[1]
    if len(parts) == 3:
        return f"{header}{{maker:text}},{{model:text}},{{serial:text}}", parts[1]
    return "{model:text}", reply


def _kind(number: str) -> str:
    if "e" in number.lower():
        return "nr3"
    return "nr2" if "." in number or "," in number else "nr1"


# The file -------------------------------------------------------------------------------------------------------------


def _head(wish: Wish) -> str:
    return (
        f"title: {_plain(wish.title, f'{TODO} maker and models, for people')}\n"
        f"source: {_plain(wish.source, f'{TODO} manual, edition, pages')}\n"
        f"{_SECTION['verified']}"
        "# notes: what a user of this model must know: menus to set, options that change its answers\n"
        f"speaks: {wish.speaks}\n"
    )


def _plain(text: str | None, otherwise: str) -> str:
    if text is None:
        return otherwise
    return text if re.fullmatch(r"[A-Za-z][\w ,./()+-]*", text) else json.dumps(text, ensure_ascii=False)


def _quoted(text: str | None, otherwise: str) -> str:
    written = json.dumps(_meant(text) if text is not None else otherwise, ensure_ascii=False)
    return re.sub(r"(?<!\\)\\u00(?=[01])", r"\\x", written)


def _meant(text: str) -> str:
    r"""Return a question with the control characters that its author could only spell: \x1b, \r, <ESC>."""
    named = {r"\r": "\r", r"\n": "\n", "<ESC>": "\x1b", "<STX>": "\x02", "<ETX>": "\x03", "<ENQ>": "\x05"}
    text = re.sub(r"\\r(?!\w)|\\n(?!\w)|<(?:ESC|STX|ETX|ENQ)>", lambda found: named[found[0]], text)
    return re.sub(r"\\x([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text)


def _line(wish: Wish) -> str:
    decimal = "" if wish.decimal == "." else f', decimal: "{wish.decimal}"'
    return decimal if wish.line is None else f"{decimal}, line: {wish.line}"


def _text(wish: Wish) -> str:
    poll = wish.poll or TODO
    shown = sample(wish.got or "", wish.channels or [poll], wish.decimal) if wish.got is not None else None
    names = [*shown.fields] if shown is not None else [*(wish.channels or [poll])]
    reply = (
        shown.template if shown is not None else f"{TODO} the reply as printed, with {{{names[0]}:nr}} for the number"
    )
    kind = ", kind: word" if shown is not None and shown.word else ""
    return "".join(
        [
            (
                f"link: {{eol: {json.dumps(wish.eol)}, max_latency: 2 s{_line(wish)}}}"
                " # ending of lines; longest time from a question to the end of its answer\n"
            ),
            _identify(wish),
            "# settings, modes, setup: what must be so before it is read; see docs/driver-reference.md\n",
            '# errors: {ask: "SYST:ERR?", none: \'+0,"No error"\'}\n',
            '# special: {"9.9E37": overrange} # numbers that are no values; what does it answer on overload?\n',
            "polls:\n",
            f"  {poll}:\n",
            f"    ask: {_quoted(wish.ask, f'{TODO} the question')}\n",
            f"    reply: {_quoted(reply, '')} # the whole of it must match; unit printed? {{u:unit}} and unit_in: u\n",
            "    channels:\n",
            *(
                f"      {name}: {{{_channel(wish, place)}{kind}{_absent(shown, name)}}}\n"
                for place, name in enumerate(names)
            ),
            (
                f"    time: {{model: latest, period: {wish.age or f'{TODO} longest age'}}}"
                " # latest, triggered or filtered: when the reading was true\n"
            ),
            "examples: # from the manual; also one of overload, of instability, of an error\n",
            _example(poll, wish, shown),
        ]
    )


def _identify(wish: Wish) -> str:
    template, model = (
        identity(wish.who)
        if wish.who is not None
        else ("{maker:text},{model:text},{serial:text},{firmware:text}", None)
    )
    expected = re.sub(r"\\([- ])", r"\1", re.escape(model.strip())) if model is not None else f"{TODO} the models"
    return (
        "identify: # asked on every connect, so that a swapped one is noticed; take it away where nobody answers\n"
        '  ask: "*IDN?"\n'
        f"  reply: {json.dumps(template)}\n"
        f"  expect: {{model: {json.dumps(expected)}}} # a regular expression that must match the whole\n"
    )


def _channel(wish: Wish, place: int) -> str:
    quantity = wish.quantities[place] if place < len(wish.quantities) else f"{TODO} such as voltage.dc"
    unit = wish.units[place] if place < len(wish.units) else f"{TODO} UCUM, such as V"
    return f"quantity: {quantity}, unit: {_unit(unit)}"


def _absent(shown: Sample | None, name: str) -> str:
    dashes = shown.absent.get(name) if shown is not None else None
    return "" if dashes is None else f', special: {{"{dashes}": absent}}'


def _unit(unit: str) -> str:
    return unit if re.fullmatch(r"[A-Za-z][A-Za-z0-9 ./,]*", unit) and "," not in unit else json.dumps(unit)


def _example(poll: str, wish: Wish, shown: Sample | None) -> str:
    if shown is None or wish.got is None:
        return f'  - {{poll: {poll}, got: ["{TODO} a reply as printed"], gives: {{{poll}: "{TODO} its number"}}}}\n'
    gives = ", ".join(
        f"{name}: {json.dumps(value if shown.word else json_number(value.replace(',', '.')), ensure_ascii=False)}"
        for name, value in shown.values.items()
    )
    what = "text" if shown.word else "gives"
    status = f", status: {{{', '.join(f'{name}: absent' for name in shown.absent)}}}" if shown.absent else ""
    return f"  - {{poll: {poll}, got: [{json.dumps(wish.got, ensure_ascii=False)}], {what}: {{{gives}}}{status}}}\n"


def _registers(wish: Wish) -> str:
    poll = wish.poll or TODO
    name = wish.channels[0] if wish.channels else poll
    at = wish.address if wish.address is not None else f"{TODO} address"
    fit = _fit(wish)
    words = (words_of(wish.words) or wish.words) if wish.words else f"{TODO} its words, such as 4366 3334"
    value = fit.value if fit is not None else wish.value or f"{TODO} what it reads"
    order = fit.order if fit is not None else first_order(wish.type)
    scale = f'scale: "{fit.scale}", ' if fit is not None and fit.scale is not None else ""
    return "".join(
        [
            f"addressing: {wish.addressing} # pdu: from 0 on, as on the wire; plc: from 1 on, also 30001 and 40001\n",
            f"link: {{max_latency: 1 s{_line(wish)}}} # longest time from a question to the end of its answer\n",
            "blocks: {max_words: 125, max_gap: 0} # how many registers at once; unused ones read along\n",
            "# identify: {read: {serial: {at: 0xFC00, table: holding, type: uint32}}, expect: {...}}\n",
            '# verify: {at: 7000, table: holding, type: float32, content: "-123.45"} # a register of known content\n',
            "polls:\n",
            f"  {poll}:\n",
            "    channels: # order: ABCD, CDAB, BADC or DCBA; daq driver try shows all four\n",
            (
                f"      {name}: {{at: {at}, table: {wish.table}, type: {wish.type}, order: {order}, "
                f"{scale}{_channel(wish, 0)}}}"
                ' # scale: "0.1", invalid: [0x8000]\n'
            ),
            f"    time: {{model: latest, period: {wish.age or f'{TODO} how often it renews them'}}}\n",
            "examples: # from the manual, or kept from the meter: daq driver record\n",
            f'  - {{poll: {poll}, registers: {{{wish.table} {at}: "{words}"}}, gives: {{{name}: "{value}"}}}}\n',
        ]
    )


def _fit(wish: Wish) -> Fit | None:
    words = words_of(wish.words) if wish.words else None
    return fitting(words, wish.value, wish.type) if words and wish.value else None


def doubts(wish: Wish) -> list[str]:
    """Say what of the manual's example does not go together, and what would."""
    if wish.speaks == "text":
        found = numbers_in(wish.got or "", wish.decimal)
        if not 0 < len(wish.channels) < len(found):
            return []
        names = ", ".join(sample(wish.got or "", wish.channels, wish.decimal).values)
        said = f"the reply has {len(found)} numbers, {', '.join(found)}, which became {names}. Name each, in order: "
        return [f"{said}--channel as often; --channel {NO_READING} for one that is no reading."]
    if not wish.words or not wish.value or _fit(wish) is not None:
        return []
    words = words_of(wish.words)
    if words is None:
        return [f"--words {wish.words!r} are no registers. Write them as hexadecimal words, such as '4366 3334'."]
    other = other_type(words, wish.value, wish.type)
    said = f"as {wish.type} the words {words} read {wish.value} in no order, nor by a factor of ten. "
    if other is None:
        return [f"{said}Look at the manual again: is the example this register's, and is it scaled by another number?"]
    kind, fit = other
    factor = f", scale {fit.scale}" if fit.scale is not None else ""
    return [f"{said}As {kind}, order {fit.order}{factor}, they do: is that its --type?"]


# From a similar one ---------------------------------------------------------------------------------------------------


def derived(text: str, source: Source, origin: str, wish: Wish, schema: str) -> str:
    """Write a driver that begins as a copy of a similar one, its title and source its own.

    Args:
        text: of the similar driver file.
        source: the same, read.
        origin: its name.
        wish: title and source, where they are known.
        schema: where the editor finds the schema.
    """
    rows = text.splitlines(keepends=True)
    tops = sorted((place[0], str(path[0])) for path, place in source.keys.items() if len(path) == 1)
    ends = [row for row, _ in tops[1:]] + [len(rows) + 1]
    out = [
        SCHEMA.format(schema=schema),
        f"# Begun from {origin}: go through every line with the manual of the new one; the examples are the other's.\n",
    ]
    for (row, key), end in zip(tops, ends, strict=True):
        if key in {"title", "source"}:
            given = {"title": wish.title, "source": wish.source}[key]
            out.append(_SECTION[key] if given is None else f"{key}: {_plain(given, '')}\n")
        elif key == "verified":
            out.append(_SECTION[key])
        elif key != "notes":
            out.extend(rows[row - 1 : end - 1])
    return "".join(out)

"""Asks the author of a driver, one thing at a time, what the command line did not say. Pure but for the asking.

what is given, a way to ask -> [asked] -> Wish
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from daq.core.units import QUANTITIES
from daq.workshop.new import Wish, numbers_in, with_comma

_ENDINGS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}

_ALWAYS = (
    ("title", "Maker and models"),
    ("source", "Manual, edition, pages"),
)
_TEXT = (
    ("eol", "Lines end with LF, CRLF or CR [LF]"),
    ("line", "Serial settings as delivered, such as 9600/8n1 [none]"),
    ("who", "The reply to *IDN? as the manual prints it"),
    ("poll", "A name for the first poll, such as weight"),
    ("ask", "Its question"),
    ("got", "Its reply, as the manual prints it"),
)
_REGISTERS = (
    ("line", "Serial settings as delivered, such as 9600/8n1 [none]"),
    ("addressing", "Addresses count from 0 (pdu) or from 1, or are written 30001 and 40001 (plc) [pdu]"),
    ("poll", "A name for the first poll, such as power"),
    ("address", "Address of its first number"),
    ("table", "Its table, input or holding [input]"),
    ("type", "Its type, int16, uint16, int32, uint32, float32 ... [float32]"),
    ("words", "An example of its registers, hexadecimal, such as 4366 3334"),
    ("value", "What that example reads"),
)

Question = Callable[[str], str]
"""A question in words -> the answer, empty where there is none."""


def asked(given: Mapping[str, Any], question: Question | None, *, copy: bool = False) -> Wish:
    """Gather what is known.

    Args:
        given: keys of Wish; eol in letters.
        question: None where nobody can be asked.
        copy: the driver begins from a similar one, so that only title and source matter.
    """
    known = dict(given)
    if question is not None:
        for key, text in _questions(known, copy=copy):
            answer = known.get(key) or question(text).strip()
            if answer:
                known[key] = answer
        if not copy:
            _ask_decimal(known, question)
            _ask_channels(known, question)
    known.setdefault("decimal", "," if with_comma(known.get("got", ""), len(known.get("channels", ()))) else ".")
    known["eol"] = _ENDINGS.get(str(known.get("eol", "LF")).upper(), "\n")
    return Wish(**known)


def _questions(known: Mapping[str, Any], *, copy: bool) -> Iterator[tuple[str, str]]:
    """Give what is to be asked, in order; what is known by then decides what follows."""
    yield from _ALWAYS
    if copy:
        return
    yield "speaks", "Does it speak text or registers (Modbus) [text]"
    yield from _REGISTERS if known.get("speaks") == "registers" else _TEXT
    yield "age", "Longest age of an answer, such as 500 ms"


def _ask_decimal(known: dict[str, Any], question: Question) -> None:
    """Ask whether a comma in the reply is a decimal one, where it may be."""
    found = with_comma(known.get("got", ""), len(known.get("channels", ())))
    if found:
        known["decimal"] = "." if question(f"{found[0]}: one number or two [one]").strip().lower() == "two" else ","


def _ask_channels(known: dict[str, Any], question: Question) -> None:
    """Ask for name, quantity and unit of each number in the reply."""
    printed = numbers_in(known.get("got", ""), known.get("decimal", ".")) or [known.get("value") or "the number"]
    lists = {
        "channels": "A name for it",
        "quantities": "What it is, such as voltage.dc",
        "units": "Its unit, such as V",
    }
    for place, number in enumerate(printed):
        for key, text in lists.items():
            answers = known.setdefault(key, [])
            if len(answers) > place or len(answers) < place:
                continue  # given already, or one before it was left open
            answer = question(f"{number}: {text}").strip()
            if key == "quantities" and answer and answer not in QUANTITIES:
                close = sorted(each for each in QUANTITIES if answer.split(".")[0] in each)
                answer = question(f"  no such quantity{': ' + ', '.join(close) if close else ''}. Which").strip()
            if answer:
                answers.append(answer)

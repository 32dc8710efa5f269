"""The parts of driver files that both languages share: names, values, times, how bytes travel, what can be set.

YAML -> [driver_parts] -> driver (TextDriver, RegisterDriver); bench takes names and values from here too
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from daq.core.line_settings import line_settings
from daq.core.quantity import Duration

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def one_value(value: object) -> object:
    """Refuse a list or a mapping where one value belongs; the union of scalars would say so four times."""
    if isinstance(value, (dict, list)):
        raise ValueError("one value belongs here: a number, a word or a text; a list as one text, such as '101,102'.")  # noqa: TRY004 pydantic reports ValueError
    return value


Scalar = Annotated[str | int | float | bool, BeforeValidator(one_value)]


TAKEN = frozenset({"values", "items", "keys", "get", "copy", "pop", "update"})
"""Names of a dict's own methods: in Jinja templates of subscribers a channel of that name cannot be reached."""


def channel_name(name: str) -> str:
    """Check the name of a channel; {n} of for_each may be part of it."""
    if name in TAKEN:
        raise ValueError(f"{name!r} cannot be reached in subscribers' templates. Take another, such as '{name}_1'.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", re.sub(r"\{\w+\}", "0", name)):
        raise ValueError(
            f"{name!r} is not a name of a channel. It has a-z, 0-9, _, - and {{n}} of for_each, and begins with a "
            "letter or digit."
        )
    return name


ChannelName = Annotated[
    str, AfterValidator(channel_name), WithJsonSchema({"type": "string", "pattern": r"^[a-z0-9{][a-zA-Z0-9_{}-]*$"})
]


class Model(BaseModel):
    """A part of a file: keys that are not known are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, coerce_numbers_to_str=True)


def whole_number(value: object) -> object:
    """Refuse true where 1 is meant: a Literal takes them for one."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not possible here. Write 1.")  # noqa: TRY004 pydantic reports ValueError
    return value


def known_order(value: object) -> object:
    """Check when a zero is measured; the union of its types would complain twice."""
    if value not in (True, False, "before", "after"):
        raise ValueError(f"{value!r} is not one of false, true, before, after.")
    return value


Autozero = Annotated[bool | Literal["before", "after"], BeforeValidator(known_order)]


class Triggered(Model):
    """The instrument measures when asked, over a known aperture, before it answers."""

    model: Literal["triggered"] = Field(description="The instrument measures on the question and then answers.")
    aperture: str = Field(
        description="Integration time of the signal: a duration, or settings and line_frequency joined by * and /, "
        "such as 'nplc / line_frequency'; or unknown: then it lies somewhere between question and answer."
    )
    autozero: Autozero = Field(
        default=False,
        description="Whether as long again is spent on a zero reading: false, before or after the signal, or true "
        "where the order is not known (the bound then holds both).",
    )
    delay: Duration = Field(default=0, description="Known delay between the question and the start of integration.")


class Filtered(Model):
    """The instrument answers with the output of a filter over the recent past."""

    model: Literal["filtered"] = Field(description="The answer is a filter's output.")
    window: str = Field(description="How far back the filter reaches: a duration or an expression of settings.")


class Latest(Model):
    """The instrument answers with its newest finished measurement."""

    model: Literal["latest"] = Field(description="The answer is the newest finished measurement.")
    period: str = Field(description="Longest age of that measurement: a duration or an expression of settings.")


class Arrival(Model):
    """The instrument speaks by itself; the line's arrival dates the reading."""

    model: Literal["arrival"] = Field(description="The reading is dated by the arrival of its first byte.")
    latency: str = Field(description="Longest time from sampling to the first byte sent.")


TimeModel = Annotated[Triggered | Filtered | Latest | Arrival, Field(discriminator="model")]


def serial_line(text: str) -> str:
    """Check serial settings."""
    line_settings(text)
    return text


SerialLine = Annotated[str, AfterValidator(serial_line)]


def known_ack(value: object) -> object:
    """Check an acknowledgement; the union of its types would complain twice."""
    if value is None or value is False:
        return value
    if value is True or not isinstance(value, (str, int, float)):
        raise ValueError("the acknowledgement belongs here as it is printed, such as OK; false where none comes.")
    return str(value)


Ack = Annotated[str | Literal[False] | None, BeforeValidator(known_ack)]


class Command(Model):
    """What is told; in short its text alone."""

    tell: str = Field(description="Command, without its ending; or the name of a setting that is to be set.")
    ack: Ack = Field(default=None, description="What acknowledges it, where not link.ack; false where nothing does.")
    each: str | None = Field(
        default=None,
        description="Part that is repeated for each value of for_each; all of them, joined by join, stand for {each} "
        "in tell. Only in start of streams, where one command lists all that is to be sent.",
    )
    join: str = Field(default=",", description="What stands between the repetitions of each.")


def spelled_out(value: object) -> object:
    """Write out a command that is its text alone."""
    return {"tell": str(value)} if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value


Commands = list[Annotated[Command, BeforeValidator(spelled_out, json_schema_input_type=str | Command)]]


def line_end(value: object) -> object:
    """Refuse letters in the place of an end of line: CRLF, or a backslash that single quotes kept."""
    if isinstance(value, str) and ("\\" in value or re.fullmatch("[<\\[]?(CR|LF|NL|CR ?/? ?LF)[>\\]]?", value.upper())):
        raise ValueError(f'{value!r} are letters, not the end of a line. Write it in double quotes, such as "\\r\\n".')
    return value


LineEnd = Annotated[str, BeforeValidator(line_end)]


class Link(Model):
    """How bytes travel to and from this model."""

    eol: LineEnd = Field(default="\n", description="Ending of every reply (text only).")
    ask_eol: LineEnd | None = Field(default=None, description="Ending of every question, where it differs from eol.")
    max_latency: Duration = Field(
        default=2_000_000_000,
        description="Longest time from a question to the end of its answer, measuring time included; the time-out, "
        "and how long a wire is kept quiet before it counts as clean.",
    )
    decimal: Literal[".", ","] = Field(
        default=".",
        description="What stands before the decimals of the numbers it prints; commands are written with a point.",
    )
    gap: Duration = Field(default=0, description="Shortest pause between an answer and the next question.")
    line: SerialLine | None = Field(
        default=None,
        description="Serial settings as delivered, such as 9600/8n1, or 9600/8n1/rts=0/dtr=1 to hold lines.",
    )
    ack: str | None = Field(
        default=None,
        description="Template of what it answers to every command (tell, set, setup, enter, teardown), such as OK, or "
        "'' where that is an empty line; {command} stands for the command itself. Left out: commands are not answered.",
    )
    banner: bool = Field(default=False, description="True where the instrument greets on connect; it is read away.")


class OverSerial(Model):
    """What differs on a serial line, or behind a serial-device server, from LAN, USB and GPIB."""

    eol: LineEnd | None = Field(default=None, description="Ending of every reply there, where not link.eol.")
    ask_eol: LineEnd | None = Field(default=None, description="Ending of every question there, where it differs.")
    wake: Commands = Field(
        default_factory=list,
        description="Commands without which it does not answer at all, before it is asked who it is (on_connect).",
    )
    setup: Commands = Field(
        default_factory=list, description="Commands before those of setup, such as the one that takes remote control."
    )
    teardown: Commands = Field(default_factory=list, description="Commands behind those of teardown.")


def counted(text: str) -> str:
    """Check a number, or a time."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?( (ns|us|ms|s|min|h))?", text):
        raise ValueError(f"{text!r} is neither a number nor a time. Write 16, or '200 ms'.")
    return text


CountsAs = Annotated[str, AfterValidator(counted)]


class Setting(Model):
    """One thing that can be set, and read back."""

    unit: str | None = Field(default=None, description="UCUM unit in which the instrument wants the number.")
    default: Scalar | None = Field(default=None, description="Used where the bench file gives none.")
    one_of: list[Scalar] | None = Field(default=None, description="The only values that are allowed.")
    words: list[str] = Field(default_factory=list, description="Words allowed in place of a number, such as auto.")
    min: Scalar | None = Field(default=None, description="Smallest number allowed, in unit.")
    max: Scalar | None = Field(default=None, description="Largest number allowed, in unit.")
    set: str | None = Field(default=None, description="Command that sets it; {name} is replaced by the value.")
    set_word: dict[str, str] = Field(
        default_factory=dict, description="Word -> command that sets it, where it is another one: auto: 'RANG:AUTO ON'."
    )
    counts_as: dict[str, CountsAs] = Field(
        default_factory=dict,
        description="Value -> what it counts as in a time model, where that is not its own number: FAST: 20 ms.",
    )
    ack: Ack = Field(default=None, description="What acknowledges set, where not link.ack; false where nothing does.")
    puts_out: bool = Field(
        default=False,
        description="True where it decides what the instrument puts out: a set point, or whether its output is on. "
        "Such a setting has no default and belongs into setup: it is told only where the bench file says so, once when "
        "the station starts, and not again after a lost connection, when a hand may have changed it.",
    )
    get: str | None = Field(default=None, description="Question that reads it back.")
    reply: str | None = Field(default=None, description="Template of the answer to get, with one field {value:...}.")

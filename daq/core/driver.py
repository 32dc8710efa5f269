"""What a model of instrument speaks: the pydantic models of drivers/<maker>/<model>.yaml.

Described, not alive: nothing here asks anything. Every key has a description, since editors show it while one types.
What both languages share stands in driver_parts.

    YAML -> load -> TextDriver | RegisterDriver -> plan (exchanges) -> session
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from daq.core.driver_parts import (
    Ack,
    Arrival,
    ChannelName,
    Command,
    Commands,
    Filtered,
    Latest,
    Link,
    Model,
    Name,
    OverSerial,
    Scalar,
    Setting,
    TimeModel,
    Triggered,
    whole_number,
)
from daq.core.observation import Flag, ReadingStatus
from daq.core.quantity import Duration
from daq.core.register_map import (
    Blocks,
    Factors,
    RangeRegister,
    RawContents,
    Register,
    RegisterIdentify,
    ScaleRegister,
    Verify,
)

__all__ = ["Arrival", "Command", "Filtered", "Latest", "Scalar", "Setting", "TimeModel", "Triggered"]


class Channel(Model):
    """One reading of a poll."""

    quantity: str = Field(description="What is measured, from the closed list, e.g. voltage.dc.")
    unit: str = Field(description="UCUM code of the unit, 1 where there is none.")
    label: str | None = Field(default=None, description="For people, e.g. 'Phase 1 voltage'.")
    kind: Literal["number", "word", "enum", "bits"] = Field(default="number", description="What the reading is.")
    enum: dict[str, str] | None = Field(default=None, description="Meaning of each code (kind enum).")
    plausible: tuple[Scalar, Scalar] | None = Field(
        default=None, description="Outside of [low, high] the reading is flagged implausible, never changed."
    )
    scale: str | None = Field(
        default=None, description="Exact decimal factor, e.g. '0.1'; rarely needed by text drivers."
    )
    set_by: dict[str, str] = Field(
        default_factory=dict,
        description="Key of this channel -> setting whose value takes its place, such as unit: unit; for drivers of "
        "whatever speaks alike.",
    )


class TextChannel(Channel):
    """A reading in a text reply; its field in the template bears its name."""

    field: str | None = Field(default=None, description="Field of the template, where it is not the channel's name.")
    unit_in: str | None = Field(
        default=None, description="Field of type unit that prints the unit; it must be the declared one or in units."
    )
    units: dict[str, str] = Field(
        default_factory=dict, description="Printed unit -> UCUM code, for instruments that may answer in several."
    )
    special: dict[str, ReadingStatus] = Field(
        default_factory=dict,
        description="Numbers, or words printed in place of a number, that mean a status; beside the driver's own list.",
    )


class Mode(Model):
    """A state of the instrument that polls need; entered when another poll changed it."""

    enter: Commands = Field(description="Commands, or names of settings to be set, in order.")
    settings: dict[str, Setting] = Field(
        default_factory=dict, description="Settings that mean something else in this mode, such as the range of ohms."
    )
    settle: Duration = Field(default=0, description="Pause after entering, before the first question.")
    discard: int = Field(default=0, ge=0, le=10, description="Readings thrown away after entering.")


# ---------------------------------------------------------------- text


class ReplyShape(Model):
    """One of the shapes a reply may have."""

    match: str = Field(description="Template that must match the whole reply.")
    flags: list[Flag] = Field(default_factory=list, description="Flags of every reading of such a reply.")
    status: ReadingStatus | None = Field(default=None, description="Status of the channels that this shape has not.")
    assume_unit: bool = Field(
        default=False,
        description="True where such a reply does not print the unit that unit_in is to read, and its readings are to "
        "be in the declared one: only where the instrument can be in no other.",
    )
    outcome: Literal["busy", "instrument_error"] | None = Field(
        default=None, description="Such a reply holds no reading: ask later (busy) or an error of the instrument."
    )


class Answer(Model):
    """What is printed, and what it says of the channels."""

    reply: str | None = Field(default=None, description="Template that must match the whole reply.")
    replies: list[ReplyShape] | None = Field(default=None, description="Several shapes; the first that matches.")
    each: str | None = Field(
        default=None,
        description="Template of one repetition of for_each; all of them, joined by join, stand for {each} in reply. "
        "Status and flags are repeated with it: status: {'t{n}': {...}}, status_in: {'t{n}': 's{n}'}.",
    )
    join: str = Field(default=",", description="What stands between the repetitions of each.")
    status: dict[str, dict[str, ReadingStatus]] = Field(
        default_factory=dict,
        description="Channel -> code -> status, where this answer tells how the channel's value is to be read. "
        "With a bits field the code is a mask.",
    )
    flags: dict[str, dict[str, Flag]] = Field(
        default_factory=dict,
        description="Channel -> code -> flag, where bits of this answer cast a doubt on the channel's value. A mask "
        "counts when one of its bits is set, and with ! before it when one of them is not: '!4096': unstable. Where "
        "the field holds a word, a word that it may be, or with ! before it ought to be: D: unstable, '!S': unstable.",
    )
    status_in: dict[str, str] = Field(
        default_factory=dict,
        description="Channel -> field that holds its code for status, where that is not the one field that is no "
        "channel; it may be a channel.",
    )
    flags_in: dict[str, str] = Field(
        default_factory=dict, description="Channel -> field that its flags look at, where there are several."
    )


class Question(Model):
    """What is asked or told."""

    ask: str | None = Field(default=None, description="Question, without its ending.")
    tell: str | None = Field(default=None, description="Command; what it is answered with, if anything, is its ack.")
    ack: Ack = Field(default=None, description="What acknowledges tell, where not link.ack; false where nothing does.")
    touches: bool | None = Field(
        default=None,
        description="Whether it changes what the front panel shows or how the instrument measures: such a step is said "
        "with configure: on_connect alone. Left out: tell does, ask does not. A trigger does not; MEAS:VOLT? does.",
    )


class TextStep(Answer, Question):
    """One exchange of a poll."""


def list_or_setting(value: object) -> object:
    """Refuse what is neither a list nor a name; the union of both would say so twice."""
    if not isinstance(value, (list, str)):
        raise ValueError("a list of values belongs here, or the name of a setting that holds one.")  # noqa: TRY004 pydantic reports ValueError
    return value


Values = Annotated[list[Scalar] | str, BeforeValidator(list_or_setting)]


class TextPoll(Model):
    """A question that takes one or more exchanges and gives one observation."""

    mode: str | None = Field(default=None, description="Mode that must be entered before.")
    ask: str | None = Field(default=None, description="Question, where one step is enough.")
    reply: str | None = Field(default=None, description="Template of its answer.")
    replies: list[ReplyShape] | None = Field(default=None, description="Several shapes of its answer.")
    steps: list[TextStep] | None = Field(default=None, description="Several exchanges, in order.")
    for_each: dict[str, Values] = Field(
        default_factory=dict,
        description="Repeats steps and channels for each value of a name used as {name}: a list, or the name of a "
        "setting whose value is a list, such as 101,102,103.",
    )
    channels: dict[ChannelName, TextChannel] = Field(
        min_length=1, description="What the poll reads, by the field's name."
    )
    time: TimeModel = Field(description="When the readings are true, relative to question and answer.")
    within: Duration | None = Field(default=None, description="Longest wait for one answer, where not max_latency.")
    header: str | None = Field(default=None, description="Why a reply names its question, for integrity: tagged.")


class Stream(Answer):
    """What the instrument sends unasked; its reply is a line."""

    channels: dict[ChannelName, TextChannel] = Field(
        min_length=1, description="What a line holds, by the field's name."
    )
    for_each: dict[str, Values] = Field(
        default_factory=dict, description="Repeats channels, and each within the line, as polls do."
    )
    time: Arrival = Field(description="How a line is dated.")
    start: Commands = Field(
        default_factory=list,
        description="Commands that make it send, told after every connect (configure: on_connect), behind setup.",
    )
    stop: Commands = Field(default_factory=list, description="Commands that make it silent, told before leaving.")
    quiet: Duration = Field(default=10_000_000_000, description="Silence longer than this is a time-out.")


class Identify(Model):
    """Who answers."""

    ask: str | None = Field(default=None, description="Question, where one is enough.")
    reply: str | None = Field(default=None, description="Template; fields maker, model, serial, firmware are known.")
    steps: list[TextStep] | None = Field(
        default=None,
        description="Several questions whose fields are put together; tell, where something must be said before.",
    )
    expect: dict[str, str] = Field(
        default_factory=dict, description="Field -> regular expression that must match it whole."
    )


def listed(value: object) -> object:
    """Put one text into a list."""
    return value if isinstance(value, list) else [value]


OneOrMore = Annotated[list[str], Field(min_length=1), BeforeValidator(listed, json_schema_input_type=str | list[str])]


class ErrorQueue(Model):
    """The instrument's own list of errors."""

    ask: str = Field(description="Question that takes the oldest error out.")
    none: OneOrMore = Field(description="Answer when there is none, compared whole; a list where there are several.")
    at_most: int = Field(default=20, ge=1, le=100, description="How many are taken out at one time.")


class TextExample(Model):
    """A dialogue from the manual, and what must come of it."""

    poll: str = Field(description="Poll or stream.")
    got: list[str] = Field(description="The replies as printed, one for each question, without ending.")
    settings: dict[str, Scalar] = Field(default_factory=dict, description="Settings in force.")
    gives: dict[str, str] = Field(default_factory=dict, description="Channel -> value as published.")
    text: dict[str, str] = Field(default_factory=dict, description="Channel -> text, for words and enums.")
    unit: dict[str, str] = Field(default_factory=dict, description="Channel -> unit, where the reply decides it.")
    status: dict[str, ReadingStatus] = Field(default_factory=dict, description="Channel -> status that is not ok.")
    flags: dict[str, list[Flag]] = Field(default_factory=dict, description="Channel -> flags.")
    outcome: Literal["busy", "instrument_error", "protocol"] | None = Field(
        default=None, description="The whole observation has this status and no reading."
    )


class DriverHead(Model):
    """What every driver file says first."""

    driver: Annotated[Literal[1], BeforeValidator(whole_number)] = Field(description="Version of this format.")
    title: str = Field(description="Maker and models, for people.")
    source: str = Field(description="Manual, edition, pages, or the public driver the facts come from.")
    verified: Literal["manual", "public-driver", "hardware"] = Field(description="How sure we are.")
    notes: str | None = Field(default=None, description="What a user of this model must know.")
    link: Link = Field(default_factory=Link, description="How bytes travel.")
    settings: dict[str, Setting] = Field(default_factory=dict, description="What can be set, by name.")


class TextDriver(DriverHead):
    """A model that speaks lines of text."""

    speaks: Literal["text"] = Field(description="Lines of text.")
    identify: Identify | None = Field(default=None, description="Asked on every connect.")
    setup: Commands = Field(
        default_factory=list, description="Commands after connecting, where the bench file says configure: on_connect."
    )
    over_serial: OverSerial = Field(
        default_factory=OverSerial, description="What differs on a serial line or behind a serial-device server."
    )
    errors: ErrorQueue | None = Field(default=None, description="The error queue, drained on connect and on faults.")
    special: dict[str, ReadingStatus] = Field(
        default_factory=dict,
        description="Numbers that are no values, compared by magnitude: 9.9E37: overrange; and words that are printed "
        "in place of a number: NAN: invalid.",
    )
    modes: dict[str, Mode] = Field(default_factory=dict, description="States that polls need.")
    polls: dict[Name, TextPoll] = Field(default_factory=dict, description="What can be asked.")
    streams: dict[Name, Stream] = Field(default_factory=dict, description="What comes unasked.")
    teardown: Commands = Field(default_factory=list, description="Commands before leaving (configure: on_connect).")
    examples: list[TextExample] = Field(default_factory=list, description="Dialogues run by the tests.")


# ---------------------------------------------------------------- registers


class RegisterChannel(Register, Channel):
    """A reading held in registers."""

    scale_from: ScaleRegister | None = Field(
        default=None,
        description="Register that holds the decimal exponent: value times ten to its content. One that scales a value "
        "and stands in another request is read before and behind it; where it changed, the value is invalid.",
    )
    decimals_from: ScaleRegister | None = Field(
        default=None,
        description="Register that holds how many decimals there are: value divided by ten to its content.",
    )
    times_from: Factors = Field(
        default_factory=list,
        description="Register, or several, whose content the value is multiplied by, such as the ratio of a current "
        "transformer.",
    )
    divisor_from: Factors = Field(
        default_factory=list,
        description="Register, or several, whose content the value is divided by; a quotient without an end is rounded "
        "to 20 digits.",
    )
    range_from: RangeRegister | None = Field(
        default=None,
        description="Register whose code says over which range the counts of an unsigned register are spread, such as "
        "those of an analog input.",
    )
    stride: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Registers from one repetition of for_each to the next; `at` is the first.",
    )
    invalid: RawContents
    special: dict[str, ReadingStatus] = Field(
        default_factory=dict, description="Raw content (hex or decimal) -> status."
    )


class RegisterPoll(Model):
    """Registers that make one observation."""

    for_each: dict[str, list[Scalar]] = Field(default_factory=dict, description="Repeats channels for each value.")
    channels: dict[ChannelName, RegisterChannel] = Field(description="What the poll reads.")
    time: TimeModel = Field(description="When the readings are true.")
    within: Duration | None = Field(default=None, description="Longest wait for one answer, where not max_latency.")


class RegisterExample(Model):
    """Registers from the manual, and what must come of them."""

    poll: str = Field(description="Poll.")
    registers: dict[str, str] = Field(
        description="'input 0' -> hex words from there on, e.g. '4366 3333'; those of identify and verify, where they "
        "are among them, are checked as well."
    )
    settings: dict[str, Scalar] = Field(default_factory=dict, description="Settings in force.")
    gives: dict[str, str] = Field(default_factory=dict, description="Channel -> value as published.")
    text: dict[str, str] = Field(default_factory=dict, description="Channel -> text, for words, enums, bits.")
    status: dict[str, ReadingStatus] = Field(default_factory=dict, description="Channel -> status that is not ok.")
    flags: dict[str, list[Flag]] = Field(default_factory=dict, description="Channel -> flags.")


class RegisterDriver(DriverHead):
    """A model that holds its readings in Modbus registers."""

    speaks: Literal["registers"] = Field(description="Modbus registers.")
    addressing: Literal["pdu", "plc"] = Field(
        description="pdu: 0-based as on the wire. plc: 1-based, 30001 and 40001 style numbers allowed."
    )
    blocks: Blocks = Field(default_factory=Blocks, description="Limits of one request.")
    identify: RegisterIdentify | None = Field(default=None, description="Read on every connect.")
    verify: Verify | None = Field(default=None, description="A register of known content.")
    polls: dict[Name, RegisterPoll] = Field(description="What can be read.")
    examples: list[RegisterExample] = Field(default_factory=list, description="Contents run by the tests.")


Driver = TextDriver | RegisterDriver

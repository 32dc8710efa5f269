"""What one poll brought back: an observation made of readings.

The observation is the unit of everything: one row in the journal, one MQTT message, one line of an export. It is
built once, by the session, and never changed. Pure: bytes, stamps and statuses come in as arguments.

    line (stamps) -> session (readings, time) -> Observation -> core.message -> journal -> sinks
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Final

from daq.core.unchanging import unchanging

NS = 1_000_000_000  # nanoseconds in a second


class Status(StrEnum):
    """How the question went, as a whole. Only `ok` carries values; an unknown word is to be read as not ok."""

    OK = "ok"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    MISMATCH = "mismatch"
    DESYNC = "desync"
    BUSY = "busy"
    INSTRUMENT_ERROR = "instrument_error"
    MISSED = "missed"  # the station came too late for the slot
    SKIPPED = "skipped"  # the station chose not to ask: bounded share of a wire, reload, stop
    WRONG_INSTRUMENT = "wrong_instrument"
    WRONG_STATE = "wrong_state"
    INTERNAL = "internal"


OK: Final = Status.OK
"""Found once: a member of an Enum is looked up through its metaclass, which takes as long as making a small object."""


class ReadingStatus(StrEnum):
    """What the instrument said of one value. Anything but `ok` makes the value null."""

    OK = "ok"
    OVERRANGE = "overrange"
    UNDERRANGE = "underrange"
    INVALID = "invalid"
    ABSENT = "absent"


class Flag(StrEnum):
    """A doubt beside a value; it never takes the value away."""

    UNSTABLE = "unstable"
    IMPLAUSIBLE = "implausible"
    STALE = "stale"
    SUSPECT = "suspect"


class Kind(StrEnum):
    """What a reading that is not a number is; its content stands in `text`."""

    NUMBER = "number"
    WORD = "word"
    ENUM = "enum"
    BITS = "bits"


class Integrity(StrEnum):
    """What the protocol would show of a fault on the way (published in info, one for each poll)."""

    NONE = "none"
    TAGGED = "tagged"  # the reply names its question: header echo, unit address, channel
    CHECKSUM = "checksum"
    TRANSACTION = "transaction"  # the reply carries the number of its question


@unchanging
class Stamp:
    """One instant on both clocks, read back to back.

    Args:
        mono_ns: CLOCK_MONOTONIC, nanoseconds.
        utc_ns: CLOCK_REALTIME, nanoseconds since 1970 UTC.
    """

    mono_ns: int
    utc_ns: int


@unchanging
class Reading:
    """One channel of an observation.

    Args:
        value: the number as JSON prints it, every digit the instrument sent, or None where there is none.
        text: the instrument's own characters; authoritative. Registers: the decoded number or word.
        unit: UCUM code, "1" where there is none.
        quantity: dotted name from the closed list, e.g. `voltage.dc`.
        role: reference, uut, ambient, source, or None where the bench file gives none.
    """

    value: str | None
    text: str
    unit: str
    quantity: str
    status: ReadingStatus = ReadingStatus.OK
    flags: tuple[Flag, ...] = ()
    kind: Kind = Kind.NUMBER
    role: str | None = None


@unchanging
class Exchange:
    """One question and what came back, kept as it was, on failures too.

    Args:
        ask: the bytes sent, b"" where the instrument spoke unasked.
        got: the bytes that came, b"" where none did.
        at_s: seconds from the start of the observation's first exchange to this one's.
        rtt_s: seconds from just before the write to the last byte; None where no whole reply came.
        binary: printed as hex in messages (registers), else as text.
    """

    ask: bytes
    got: bytes
    at_s: float
    rtt_s: float | None
    binary: bool = False


@unchanging
class Timing:
    """When the readings were true, as an interval on the monotonic clock.

    Args:
        mono_ns: the middle of the interval that holds the true instant.
        utc_ns: the same on the station's real-time clock.
        err_ns: half its width.
        aperture_ns: over how long the instrument averaged; extent, not error. None where unknown.
    """

    mono_ns: int
    utc_ns: int
    err_ns: int
    aperture_ns: int | None = None


@unchanging
class Slots:
    """A run of identical failures: due times (UTC, ns) of its first and last slot, and how many there were."""

    first_ns: int
    last_ns: int
    count: int


@unchanging
class ClockState:
    """What is known of the station's clock at the time.

    Args:
        source: chrony, kernel, or none (nobody disciplines it or nothing is known).
        err_s: bound to UTC in seconds, None where unknown.
    """

    source: str
    err_s: float | None


@unchanging
class Identity:
    """Who answered: asset from the bench file, model and serial number as read (None where it cannot say)."""

    asset: str | None = None
    model: str | None = None
    serial: str | None = None


@unchanging
class Observation:
    """The record of one poll.

    Args:
        instrument, poll: names from the bench file.
        status: how it went; `detail` says it in words where it is not ok.
        due_ns: the slot, UTC ns; None for instruments that send unasked.
        timing: None when unanswered (then `t` is `due`).
        slots: set on runs of identical failures.
        simulated: the identity or the bench file says so.
        info: hash of the info message that describes this instrument now.
        context: what `daq mark` set last, as pairs.
    """

    instrument: str
    poll: str
    status: Status
    due_ns: int | None
    clock: ClockState
    identity: Identity
    info: str
    timing: Timing | None = None
    detail: str | None = None
    slots: Slots | None = None
    simulated: bool = False
    context: tuple[tuple[str, str], ...] = ()
    readings: dict[str, Reading] = field(default_factory=dict)
    exchanges: tuple[Exchange, ...] = ()

"""What can go wrong, named by who must mend it.

    DaqError
    +-- ConfigError         the file: refuse to start; say file, line, key and the nearest right word
    +-- LinkError           the wire: mark it, back off, try again
    |   +-- LinkTimeout         nothing, or not all, came in time; the rest may still be on its way
    |   +-- LinkClosed          the other side is gone, or never was there
    |   +-- LinkFlooded         more came than any reply may hold
    |   +-- LinkDamaged         the port itself has counted bytes that were damaged or lost
    |   +-- LinkDesync          bytes came that nobody asked for: whose answer is whose cannot be told
    +-- ReplyError          the box: publish the status, go on
    |   +-- UnreadableReply     not in the driver's language (status `protocol`)
    |   +-- ForeignReply        well formed, but the answer to another question (status `mismatch`)
    |   +-- BusyReply           the box asks to be asked later (status `busy`)
    |   +-- RefusedReply        the box reports an error of its own (status `instrument_error`)
    |   |   +-- UnexpectedAck       a command was answered with something else than its acknowledgement
    |   +-- WrongInstrument     another model or serial number than the bench file names
    |   +-- WrongState          a setting read back is not what was set
    +-- SinkError           the broker or the consumer: the journal keeps what it could not take

Every message says what, where, and how to mend it, and quotes foreign text with `quoted`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

from daq.core.observation import Stamp, Status


class DaqError(Exception):
    """The root: whatever this program knows how to explain."""


class ConfigError(DaqError):
    """The user's file is wrong; nothing starts from it.

    Args:
        problems: one line each, `file:line:column: key: what. How to mend.`
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LinkError(DaqError):
    """The wire failed; what was asked may still be answered later."""

    status: ClassVar[Status] = Status.DISCONNECTED


class LinkTimeout(LinkError):
    """No whole reply before the deadline.

    Args:
        message: what was waited for.
        partial: the bytes that did come, kept for the record.
    """

    status = Status.TIMEOUT

    def __init__(self, message: str, partial: bytes = b"") -> None:
        super().__init__(message)
        self.partial = partial


class LinkClosed(LinkError):
    """The connection is closed, refused, unplugged or was never opened."""


class LinkFlooded(LinkError):
    """More bytes without an end than any reply may hold.

    Args:
        message: the limit and where it stands.
        partial: the first bytes, kept for the record.
    """

    status = Status.PROTOCOL

    def __init__(self, message: str, partial: bytes = b"") -> None:
        super().__init__(message)
        self.partial = partial


class LinkDamaged(LinkError):
    """The port that took the bytes says that some of them are damaged, or missing.

    Args:
        message: what it has counted, and how to mend it.
        partial: all that came, kept for the record.
        not_before, first: the wire was silent then; the first byte of it was seen then.
    """

    status = Status.PROTOCOL

    def __init__(self, message: str, partial: bytes, not_before: Stamp, first: Stamp) -> None:
        super().__init__(message)
        self.partial, self.not_before, self.first = partial, not_before, first


class LinkDesync(LinkError):
    """More came than was asked for.

    Args:
        message: what was in the way.
        partial: the bytes nobody asked for, kept for the record.
    """

    status = Status.DESYNC

    def __init__(self, message: str, partial: bytes = b"") -> None:
        super().__init__(message)
        self.partial = partial


class ReplyError(DaqError):
    """The box answered, and the answer holds no reading."""

    status: ClassVar[Status] = Status.PROTOCOL


class UnreadableReply(ReplyError):
    """The reply does not match its template, frame or checksum as a whole."""


class ForeignReply(ReplyError):
    """The reply is well formed and belongs to another question."""

    status = Status.MISMATCH


class BusyReply(ReplyError):
    """The instrument asks to be asked again later."""

    status = Status.BUSY


class RefusedReply(ReplyError):
    """The instrument reports an error of its own (error queue, Modbus exception)."""

    status = Status.INSTRUMENT_ERROR


class UnexpectedAck(RefusedReply):
    """A command was answered with something else than its acknowledgement: an error, or what was owed to another."""


class WrongInstrument(ReplyError):
    """Another model or serial number answers than the bench file names."""

    status = Status.WRONG_INSTRUMENT


class WrongState(ReplyError):
    """A setting read back differs from the one that was set.

    Args:
        message: all of it in words.
        setting: its name.
        wanted: what was set.
        found: what was read back.
    """

    status = Status.WRONG_STATE

    def __init__(self, message: str, setting: str = "", wanted: str = "", found: str = "") -> None:
        super().__init__(message)
        self.setting, self.wanted, self.found = setting, wanted, found


class SinkError(DaqError):
    """A consumer did not take a record; it stays in the journal."""


SHORT = 5
"""Letters below which one that differs makes another word."""


def quoted(foreign: bytes | str, limit: int = 80) -> str:
    """Return foreign text fit for a log line: escaped, in quotes, at most `limit` characters long."""
    text = foreign.decode("latin-1") if isinstance(foreign, bytes) else foreign
    shown = repr(text[:limit])
    return shown if len(text) <= limit else f"{shown}... ({len(text)} characters)"


def nearest(word: str, known: Iterable[str], limit: int = 12) -> str:
    """Return "Nearest: 'x'." for what was probably meant, else "Known: a, b, c.", at most `limit` of them."""
    words = sorted(known)
    close = _closest(word, words)
    return _list(words, limit) if close is None else f"Nearest: {close!r}."


def choices(word: str, known: Iterable[str], limit: int = 12) -> str:
    """Return what was probably meant, and then what else there is: names of a driver are few, and say what it can."""
    words = sorted(known)
    close = _closest(word, words)
    if close is None or len(words) == 1:
        return nearest(word, words, limit)
    return f"Nearest: {close!r}. {_list(words, limit)}"


def _closest(word: str, words: list[str]) -> str | None:
    """Return the most similar word; None where none is. Short ones must be nearly the same: acv is not dcv."""
    by_lower = {each.lower(): each for each in words}
    short = len(word) < SHORT
    swapped = [each for each in by_lower if short and sorted(each) == sorted(word.lower())]
    close = swapped or get_close_matches(word.lower(), by_lower, n=1, cutoff=0.75 if short else 0.6)
    return by_lower[close[0]] if close else None


def _list(words: list[str], limit: int) -> str:
    if not words:
        return "There are none."
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return f"Known: {', '.join(words[:limit])}{more}."

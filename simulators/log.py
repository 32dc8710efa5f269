"""What every stand-in answered, one JSON line an exchange, flushed: the witness for "digit for digit".

Text is Latin-1; what came as bytes beyond it is kept with backslashes. Never read back by the stand-ins themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO


def readable(data: bytes) -> str:
    """Turn wire bytes into text without losing one: Latin-1, control characters as backslash escapes.

    CR, LF and every other control character are escaped, so a line of the log stays a line to the eye as well.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in data.decode("latin-1")
    )


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and what was put on the wire for it.

    Attributes:
        ask: the question as text without its line end, or the frame in hex; empty where the instrument spoke unasked.
        answer: likewise; empty where nothing was sent.
        sampled_mono_ns: the instants whose world values the answer holds, the middle of each aperture; empty where
            none.
        values: the exact text of each value sent; empty where the answer did not leave whole.
        answered_mono_ns: just before the last byte left. The line stands in the log before the client has its answer.
        fault: the fault it went through; None where there was none.
    """

    instrument: str
    unit: int | None
    kind: Literal["text", "registers"]
    ask: str
    answer: str
    asked_mono_ns: int
    answered_mono_ns: int
    sampled_mono_ns: tuple[int, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None


class Log:
    """The log file; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = path.open("w", encoding="utf-8") if path else None

    def write(self, exchange: Exchange) -> None:
        """Append one exchange and flush it."""
        if self._file is None:
            return
        line = {
            "instrument": exchange.instrument,
            "unit": exchange.unit,
            "kind": exchange.kind,
            "ask": exchange.ask,
            "answer": exchange.answer,
            "asked_mono_ns": exchange.asked_mono_ns,
            "answered_mono_ns": exchange.answered_mono_ns,
            "sampled_mono_ns": list(exchange.sampled_mono_ns) or None,
            "values": dict(exchange.values),
            "fault": exchange.fault,
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; later exchanges are not kept."""
        if self._file is not None:
            self._file.close()
            self._file = None

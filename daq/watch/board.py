"""What a station said last: one row a channel, and how each instrument fares. Pure.

topic, payload -> Board.take -> rows -> table
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(slots=True)
class Row:
    """One channel of one poll.

    Args:
        text: the instrument's own characters.
        status: of the reading, or of the observation where it is not ok.
        t_s: UTC seconds of the reading; err_s: half-width of where it can have been, None where unknown.
    """

    instrument: str
    poll: str
    channel: str
    text: str = ""
    unit: str = ""
    status: str = ""
    flags: tuple[str, ...] = ()
    role: str = ""
    t_s: float = 0.0
    err_s: float | None = None
    count: int = 0


def shown(value: object, text: str) -> str:
    """Return what is to be shown beside the unit: the instrument's own characters where they are that number.

    A driver that scales a text, or reads hexadecimal digits, gives a value in the unit that the characters are not in.
    """
    if value is None:
        return text
    try:
        same = Decimal(text.replace(" ", "")) == Decimal(str(value))
    except InvalidOperation:
        same = False
    return text if same else str(value)


@dataclass(slots=True)
class Board:
    """The rows, and what is known of the whole."""

    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    symbols: dict[tuple[str, str, str], str] = field(default_factory=dict)
    station: str = ""
    online: str = "unknown"
    simulated: bool = False
    observations: int = 0
    events: list[str] = field(default_factory=list)

    def take(self, topic: str, payload: bytes) -> None:
        """Take one message; what is not known is passed over, as the contract asks of readers."""
        levels = topic.split("/")
        try:
            message = json.loads(payload, parse_float=Decimal) if payload else {}  # every digit as it was sent
        except ValueError:
            return
        match levels[-3:]:
            case [instrument, "obs" | "late", poll]:
                self._observation(instrument, poll, message)
            case [_, instrument, "status"]:
                self._instrument_status(instrument, levels, message)
            case [_, instrument, "info"]:
                self._info(instrument, message)
            case [_, _, "event"]:
                self._event(message)

    def _observation(self, instrument: str, poll: str, message: dict[str, Any]) -> None:
        self.observations += 1
        self.station = ".".join(message["id"].split(".")[:2])
        self.simulated = self.simulated or message["simulated"]
        t_s = datetime.fromisoformat(message["t"]).timestamp()
        if message["status"] != "ok":
            self._failed(instrument, poll, message["status"], t_s)
            return
        self.rows.pop((instrument, poll, ""), None)
        for channel, reading in message["readings"].items():
            row = self.rows.setdefault((instrument, poll, channel), Row(instrument, poll, channel))
            row.text, row.unit = shown(reading["value"], reading["text"]), reading["unit"]
            row.status, row.flags = reading["status"], tuple(reading.get("flags", ()))
            row.role, row.count = reading.get("role", ""), row.count + 1
            row.t_s, row.err_s = t_s, float(message["t_err"])

    def _failed(self, instrument: str, poll: str, status: str, t_s: float) -> None:
        known = [row for key, row in self.rows.items() if key[:2] == (instrument, poll)]
        if not known:
            known = [self.rows.setdefault((instrument, poll, ""), Row(instrument, poll, ""))]
        for row in known:
            row.text, row.flags, row.status, row.t_s, row.err_s = "", (), status, t_s, None

    def _instrument_status(self, instrument: str, levels: list[str], message: dict[str, Any]) -> None:
        """A retained status: of the station where the topic is one level shorter, else of an instrument."""
        if "since" not in message:
            return
        if message["status"] in {"online", "offline"}:
            self.online, self.station = message["status"], ".".join(levels[-3:-1])
        else:
            self.states[instrument] = message["status"], message["why"] or ""

    def _info(self, instrument: str, message: dict[str, Any]) -> None:
        for poll, told in message.get("polls", {}).items():
            for channel, about in told["channels"].items():
                self.symbols[instrument, poll, channel] = about["symbol"]

    def _event(self, message: dict[str, Any]) -> None:
        where = f"{message['instrument']}: " if "instrument" in message else ""
        details = ", ".join(f"{key} {value}" for key, value in message["details"].items())
        self.events.append(f"{message['t'][11:19]} {where}{message['event']}: {details}")
        del self.events[:-5]

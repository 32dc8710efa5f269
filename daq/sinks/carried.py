"""What outlives a connection: figures, what was under way when it was lost, what the broker refused.

delivery (of one connection) -> Carried -> delivery (of the next); Figures -> station
"""

from __future__ import annotations

from dataclasses import dataclass, field

from daq.core.record import Record
from daq.sinks.refusals import Refusals
from daq.sinks.retained import Retained


@dataclass(slots=True)
class Figures:
    """How the deliveries go, over all connections since the start.

    Args:
        protocol: MQTT version spoken now, None while away.
        since_ns: UTC, since when connected or away.
        window: messages that may be in flight.
        unanswered_s: for how long none of those in flight has been answered; 0 where none is. A broker that froze, or
            that a cable no longer reaches, stays `connected` until the keep-alive has run out.
        retries: messages sent again.
        backlog: records of before this connection still to be delivered; None while away.
        why: what was seen when it was lost, or why it takes nothing although connected.
        tries: attempts to connect since then; 0 while connected.
        next_try_ns: UTC, when the next one is due; None while connected or trying.
    """

    connected: bool = False
    protocol: str | None = None
    since_ns: int | None = None
    window: int = 0
    in_flight: int = 0
    unanswered_s: float = 0.0
    published: int = 0
    acknowledged: int = 0
    refused: int = 0
    retries: int = 0
    backlog: int | None = None
    why: str | None = None
    tries: int = 0
    next_try_ns: int | None = None


@dataclass(slots=True)
class Suspect:
    """A record that was under way when a connection was lost, and how often it was so alone."""

    record: Record
    drops: int = 0


@dataclass(slots=True)
class Carried:
    """What outlives a connection."""

    retained: Retained
    figures: Figures = field(default_factory=Figures)
    suspects: dict[int, Suspect] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    answered_ns: int = 0
    """when the broker last answered a message, or was sent one while it owed no answer (monotonic ns)"""
    hung_up: dict[str, int] = field(default_factory=dict)
    """retained topic -> when the broker last refused it and closed the connection (monotonic ns)"""

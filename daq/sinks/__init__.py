"""Sinks take records from the journal to where they are wanted, and tell the journal which have arrived.

A sink sees committed records only, through a Feed; it never holds up the journal, a line, or another sink. It is run
and restarted by the station. A new sink is a class of this Protocol and a row in SINKS.

    journal -> Feed -> sink -> broker          station: run, stop, retain, forget, health
"""

from __future__ import annotations

from typing import Protocol

from daq.sinks.carried import Figures
from daq.sinks.mqtt import MqttSink


class Sink(Protocol):
    """Where records go."""

    name: str
    """Under which the journal remembers how far this sink has come."""

    async def run(self) -> None:
        """Deliver until stopped; cancelling leaves at once."""
        ...

    async def stop(self, deadline_ns: int) -> bool:
        """Deliver what is left and end; False when the deadline (monotonic ns) came first."""
        ...

    def retain(self, topic: str, payload: bytes) -> None:
        """Keep this told, now and whenever the other side may have lost it."""
        ...

    def forget(self, topic: str) -> None:
        """Clear what was kept told."""
        ...

    def health(self) -> Figures:
        """Return how it goes."""
        ...


SINKS: dict[str, type[Sink]] = {"mqtt": MqttSink}
"""Key in the bench file -> the sink it sets up."""

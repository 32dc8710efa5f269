"""What is under way, and how a record of the journal becomes it.

Nearly every record is a live observation that goes as it is: nothing but its topic is to be known, so it is its own
account of what is under way. Whatever else is sent has a Flight.

    Record -> [Flights] -> its topic, or a Flight -> delivery
"""

from __future__ import annotations

from operator import attrgetter

from daq.core.message import Topics
from daq.core.observation_message import without_exchanges
from daq.core.record import Record
from daq.core.unchanging import unchanging
from daq.sinks.retained import Retained


@unchanging
class Flight:
    """A message under way. `record` is None for retained state."""

    topic: str
    payload: bytes
    retain: bool
    late: bool
    record: Record | None
    forgets: bool = False


UnderWay = Flight | Record
"""A record stands for the live observation that goes as it is."""


row_of = attrgetter("row")
"""Of a record."""


def record_of(under_way: UnderWay) -> Record | None:
    """Return what was committed; None of retained state."""
    return under_way if isinstance(under_way, Record) else under_way.record


class Flights:
    """Makes them.

    Args:
        topics: where records go.
        retained: told of each info.
        exchanges: False leaves questions and answers out of what is published.
        acknowledges: whether the broker can: where it cannot, nothing goes as it is.
    """

    def __init__(self, topics: Topics, retained: Retained, *, exchanges: bool, acknowledges: bool) -> None:
        self._topics = topics
        self._retained = retained
        self._exchanges = exchanges
        self._as_it_is = exchanges and acknowledges
        self.known: dict[str, str] = {}
        """Stream -> topic of its live observations, of those that go as they are; the first of each goes as a Flight.

        There are no more than polls in the bench file.
        """

    def of(self, record: Record, *, late: bool) -> Flight:
        """Make the message of a record; an info may become what the broker is to hold."""
        topic, payload, retain = self._topics.of(record, late=late), record.payload, False
        if record.kind == "obs":
            if not self._exchanges:
                payload = without_exchanges(payload)
            if self._as_it_is and not late:
                self.known[record.stream] = topic
        elif record.kind == "info":
            retain = self._retained.is_newest(topic, payload, record.row, late=late)
        return Flight(topic, payload, retain, late, record)

    def whole(self, under_way: UnderWay) -> Flight:
        """Return the message itself."""
        return self.of(under_way, late=False) if isinstance(under_way, Record) else under_way

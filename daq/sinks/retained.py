"""What a broker must hold for the station: topic -> the last payload, published anew on every connection.

station (retain, forget) -> [Retained] -> delivery
"""

from __future__ import annotations

import asyncio


class Retained:
    """Retained topics and what is still to be told of them. A payload of None is a topic to be cleared."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes | None] = {}
        self._untold: dict[str, None] = {}  # a set that keeps its order
        self._gone: set[str] = set()  # whatever is still to be delivered of them
        self.changed = asyncio.Event()

    def put(self, topic: str, payload: bytes | None) -> None:
        """Set what the broker is to hold; None is nothing."""
        self._payloads[topic] = payload
        if payload is None:
            self._gone.add(topic)
        else:
            self._gone.discard(topic)
        self._tell(topic)

    def all_changed(self) -> None:
        """A new connection: the broker may have lost everything."""
        for topic in self._payloads:
            self._tell(topic)

    def take_changed(self) -> list[tuple[str, bytes | None]]:
        """Return what the broker is to be told, and take it as told."""
        taken = [(topic, self._payloads[topic]) for topic in self._untold if topic in self._payloads]
        self._untold.clear()
        self.changed.clear()
        return taken

    def forgotten(self, topic: str) -> None:
        """The broker has cleared the topic: no more need be known of it."""
        if topic in self._payloads and self._payloads[topic] is None:
            del self._payloads[topic]

    def is_newest(self, topic: str, payload: bytes, *, late: bool) -> bool:
        """Whether this info is to be retained, and keep it if it came live.

        An info of before an outage is needed to read the late observations that cite it, but must not take the place
        of the one that describes the instrument now, nor stay behind an instrument that the bench file no longer names.
        """
        if late:
            return topic not in self._payloads and topic not in self._gone
        self._payloads[topic] = payload
        self._gone.discard(topic)
        return True

    def _tell(self, topic: str) -> None:
        self._untold[topic] = None
        self.changed.set()

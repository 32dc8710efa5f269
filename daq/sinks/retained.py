"""What a broker must hold for the station: topic -> the last payload, published anew on every connection.

station (retain, forget) -> [Retained] -> delivery
"""

from __future__ import annotations

import asyncio


def info_beside(topic: str) -> str:
    """Return the topic of the info of the one whose status this is."""
    return f"{topic.removesuffix('/status')}/info"


class Retained:
    """Retained topics and what is still to be told of them. A payload of None is a topic to be cleared."""

    def __init__(self) -> None:
        self._payloads: dict[str, bytes | None] = {}
        self._untold: dict[str, None] = {}  # a set that keeps its order
        self._gone: set[str] = set()  # whatever is still to be delivered of them
        self._late_rows: dict[str, int] = {}  # infos that came late: where they stand in the journal
        self.changed = asyncio.Event()

    def put(self, topic: str, payload: bytes | None) -> None:
        """Set what the broker is to hold; None is nothing."""
        self._payloads[topic] = payload
        if payload is None:
            self._gone.add(topic)
        else:
            self._gone -= {topic, info_beside(topic)}
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

    def is_newest(self, topic: str, payload: bytes, row: int, *, late: bool) -> bool:
        """Whether this info is to be retained; keep it then, for a broker that loses it.

        An info of before an outage is needed to read the late observations that cite it, but must not take the place
        of a newer one, nor stay behind an instrument that the bench file no longer names.
        """
        if late and (topic in self._gone or not self._is_behind(topic, row)):
            return False
        self._late_rows.pop(topic, None)
        if late:
            self._late_rows[topic] = row
        self._payloads[topic] = payload
        self._gone.discard(topic)
        return True

    def _is_behind(self, topic: str, row: int) -> bool:
        """Say whether what is kept of a topic is nothing, or came late and is no newer than this row.

        Rows of memory, which are negative, do not compare with those of the disk: there the one that comes is newer.
        """
        if self._payloads.get(topic) is None:
            return True
        kept = self._late_rows.get(topic)
        return kept is not None and (kept <= row or (kept < 0) != (row < 0))

    def _tell(self, topic: str) -> None:
        self._untold[topic] = None
        self.changed.set()

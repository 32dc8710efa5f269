"""A time in which the broker has no room (MQTT 5.0, quota exceeded): said once it lasts, and when it is over.

delivery (how many messages wait for room) -> NoRoom -> event, log, figures
"""

from __future__ import annotations

import logging

from daq.core.observation import NS
from daq.sinks.carried import Figures
from daq.sinks.refusals import Announce

log = logging.getLogger(__name__)

WORTH_A_WORD_NS = 30 * NS
"""A broker that is short of room for a moment is waited for without a word."""


class NoRoom:
    """One such time, from the first message for which there was none.

    Args:
        figures: told why nothing is delivered, while that is so.
        announce: makes the event.
        now_ns: monotonic.
    """

    def __init__(self, figures: Figures, announce: Announce, now_ns: int) -> None:
        self._figures = figures
        self._announce = announce
        self._since_ns = now_ns
        self._is_told = False

    def lasts(self, now_ns: int, waiting: int) -> None:
        """Take note of how many messages still wait for room, behind another try; none is its end."""
        lasted_ns = now_ns - self._since_ns
        self._figures.why = f"it has no room (quota exceeded), for {lasted_ns / NS:.0f} s now" if waiting else None
        if waiting and not self._is_told and lasted_ns >= WORTH_A_WORD_NS:
            self._is_told = True
            log.error("The broker has no room (quota exceeded). The journal keeps what is not delivered.")
            self._announce("mqtt", what="quota", for_s=lasted_ns // NS)
        elif self._is_told and not waiting:
            log.warning("The broker has room again, after %.0f s.", lasted_ns / NS)

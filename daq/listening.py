"""Takes the lines of an instrument that sends unasked, one at a time, and enters them.

Its lines find back to each other by their endings, so that a bad one does not make the wire dirty; silence and loss
make the wire be opened anew. Of one that says too much, what comes beyond is left out, and counted.

    line -> Listening.hear -> session (dialogue) -> OpenWire -> Outcome -> Ledger
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from daq.clock import Bell, Clock
from daq.core.health import Attention
from daq.core.observation import OK
from daq.core.plan import PollPlan
from daq.ledger import Ledger
from daq.openwire import OpenWire, Spoken
from daq.parties import Item, Party, heard
from daq.session import Outcome


class Listening:
    """Who listens on one wire.

    Args:
        name: of the wire; names the task in which a line is waited for.
        items: the streams among them, by key.
        stopping: set before `stop`.
    """

    def __init__(
        self, name: str, wire: OpenWire, ledger: Ledger, items: Mapping[str, Item], clock: Clock, stopping: Bell
    ) -> None:
        self._name = name
        self._wire = wire
        self._ledger = ledger
        self._items = items
        self._clock = clock
        self._stopping = stopping
        self._attention = Attention()
        self._waiting: asyncio.Task[Any] | None = None

    def stop(self) -> None:
        """Let nobody wait for a line any more."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def hear(self, party: Party) -> None:
        """Take one line of a talker; silence and loss make the wire be opened anew."""
        begun = self._clock.now()
        spoken = await self._wait(party)
        if spoken is None or spoken.result is None:
            return
        plan, outcome = spoken.result
        item = self._items[f"{party.name}/{plan.name}"]
        self._wire.dirty = None
        if outcome.status is OK:
            self._ledger.answered(item, outcome, None, spoken.exchanges)
        else:
            self._ledger.failed(item, outcome, heard(outcome, begun, self._clock.now()), spoken.exchanges)
        self._ledger.judge(party, plan.name, outcome)
        if outcome.timing is None:
            party.connected, party.cause = False, outcome
            await self._wire.close()
            return
        until_ns = self._attention.heard(self._clock.monotonic_ns())
        if until_ns is not None and (said := await self._wire.let_pass(until_ns)):
            party.session.forget()  # the next line began in what was thrown away
            self._ledger.left_out(party, said, begun)

    async def _wait(self, party: Party) -> Spoken[tuple[PollPlan, Outcome]] | None:
        """Wait for a line in a task of its own, so that the stop need not wait for it; None if the stop came first."""
        hearing = self._wire.speak(party.session.listen(), who=party.name, gap_ns=0, lenient=True, leave_rest=True)
        self._waiting = waiting = asyncio.create_task(hearing, name=f"line[{self._name}] listens")
        try:
            return await waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping.is_set() or (task is not None and task.cancelling()):
                raise
            return None
        finally:
            self._waiting = None

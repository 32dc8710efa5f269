"""Where each poll left off, as the journal tells it."""

from __future__ import annotations

import json

from daq.core.message import rfc3339
from daq.core.observation import NS
from daq.core.record import Entry

DUE_NS = 1_795_348_800 * NS


def told(stream, seconds, last=None):
    """An observation of a slot, or of a run of them that ends with `last`; None in place of the slot: it has none."""
    due = None if seconds is None else rfc3339(DUE_NS + seconds * NS)
    run = {} if last is None else {"slots": {"first": due, "last": rfc3339(DUE_NS + last * NS), "count": 2}}
    return Entry("obs", stream, DUE_NS, lambda *_: json.dumps({"due": due, **run}).encode())


async def test_the_last_slot_of_each_poll_that_is_asked_for(bench):
    async with bench.running() as journal:
        for entry in (told("a/v", 1), told("b/v", 2, last=7), told("a/v", 3), told("c/v", 9), told("talker/v", None)):
            journal.append(entry)
        found = await journal.last_slots(["a/v", "b/v", "talker/v", "unknown/v"], NS)
    assert found == {"a/v": DUE_NS + 3 * NS, "b/v": DUE_NS + 7 * NS}


async def test_a_journal_kept_over_a_restart_still_knows(bench):
    async with bench.running() as journal:
        journal.append(told("a/v", 1))
    async with bench.running() as journal:
        assert await journal.last_slots(["a/v"], NS) == {"a/v": DUE_NS + NS}


async def test_looking_back_ends_when_its_time_is_over(bench):
    async with bench.running() as journal:
        journal.append(told("a/v", 1))
        assert await journal.last_slots(["a/v"], -NS) == {}

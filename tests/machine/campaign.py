"""Everything that may happen to the process and its machine, one event after the other, and the table of it.

EVENTS -> played, each in a house of its own -> Row -> table, docs/promises.md
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.machine import clocks, disks, interrupted, kills, limits, places, stops, watchdog
from tests.machine.scene import Row, Scenario, play
from tests.machine.shim import COMPILER

BEGIN, END = "<!-- machine -->", "<!-- end of machine -->"
MANY = ("dmm1", "balance1", "pressure1", "meter1", "meter3")
SHIM = {"shim": True}


@dataclass(frozen=True)
class Event:
    """One row of the table.

    Args:
        name: as it stands there.
        promise: what holds meanwhile and behind it.
        scenario: of so many kills, where it is about kills.
        stage: see `scene.staged`.
    """

    name: str
    promise: str
    scenario: Callable[[int], Scenario]
    stage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def possible(self) -> bool:
        """Whether this machine has what it takes: a C compiler, name spaces of one's own."""
        if self.stage.get("shim"):
            return COMPILER is not None
        return disks.HAS_NAMESPACES or self.scenario(1) not in (disks.journal_refused, places.folders_read_only)


def _always(scenario: Scenario) -> Callable[[int], Scenario]:
    return lambda _: scenario


EVENTS: Sequence[Event] = (
    Event(
        "kill -9 at random instants: in the start, at work, in the stop",
        "What was committed stays, no number comes twice, slots that nobody kept an answer for are told.",
        kills.kills,
        {"only": MANY},
    ),
    Event(
        "kill -9 twice in each outage of the broker, which keeps nothing over it",
        "What both runs observed comes when the broker is back.",
        _always(interrupted.killed_while_the_broker_is_away(5, persistent=False)),
    ),
    Event(
        "the same, of a broker with persistence",
        "The same.",
        _always(interrupted.killed_while_the_broker_is_away(5, persistent=True)),
    ),
    Event(
        "kill -9 in the middle of a backlog's delivery",
        "The rest comes behind the next start; what comes twice bears the same id.",
        _always(interrupted.killed_while_a_backlog_is_delivered(5)),
        {"change": stops.under_load},
    ),
    Event(
        "kill -9 while a full journal is trimmed",
        "What went undelivered is named in a gap, though the gap's own event had to go.",
        _always(interrupted.killed_while_it_is_trimmed(3)),
        {"change": interrupted.small_journal_under_load},
    ),
    Event(
        "kill -9 in the middle of a reload",
        "The next start goes by the file as it is.",
        _always(interrupted.killed_in_a_reload(10)),
    ),
    Event("SIGTERM under load", "It ends by itself, in time.", _always(stops.stopped_under_load)),
    Event("SIGTERM while the broker is away", "The same.", _always(stops.stopped_while_the_broker_is_away)),
    Event("SIGTERM while the broker is frozen", "The same.", _always(stops.stopped_while_the_broker_is_frozen)),
    Event("SIGTERM while instruments hang", "The same.", _always(stops.stopped_while_an_instrument_hangs)),
    Event("SIGTERM while the disk hangs", "The same.", _always(stops.stopped_while_the_disk_hangs), SHIM),
    Event(
        "disk full, and room again",
        "Records go on, marked not durable; nothing waits for the disk.",
        _always(disks.disk_full_and_back),
        {"place": disks.small_disk},
    ),
    Event(
        "disk that finishes no commit for 30 s",
        "Polls go on, status says `stalled`, all of it is published behind it.",
        _always(disks.disk_stalled(30)),
        SHIM,
    ),
    Event(
        "watchdog while the disk hangs, and while an instrument is lost",
        "The first stops it, the second does not.",
        _always(watchdog.watchdog_while_the_disk_hangs),
        {**SHIM, "place": watchdog.watched},
    ),
    Event(
        "journal damaged in the middle, at the tail, truncated, emptied",
        "It stands aside or goes on in a new epoch, an event tells.",
        _always(disks.journal_damaged(*disks.DAMAGES)),
    ),
    Event(
        "journal of a newer version, or not ours to write",
        "Refused in words, left as it is.",
        _always(disks.journal_refused),
    ),
    Event(
        "clock set by ±1 h and ±0.5 s",
        "One event each; times and slots are right before and behind it.",
        _always(clocks.stepped(3600, -3600, 0.5, -0.5)),
        SHIM,
    ),
    Event("clock steered by ±300 ppm", "No event, no slot lost.", _always(clocks.clock_slewed), SHIM),
    Event("computer asleep for an hour", "One event; it goes on.", _always(clocks.computer_slept), SHIM),
    Event(
        "no descriptor to spare",
        "What is connected goes on; what is not is told, and comes back.",
        _always(limits.descriptors_exhausted),
    ),
    Event(
        "endless replies and a frozen broker in a bounded address space",
        "The bounds hold; the others go on.",
        _always(limits.address_space_bounded),
    ),
    Event(
        "odd locales and time zones (de_DE, vi_VN, tr_TR, C without UTF-8, Lord Howe, none)",
        "The same numbers, times and labels.",
        _always(places.odd_languages(*places.LANGUAGES)),
        {"change": places.labelled},
    ),
    Event(
        "read-only configuration, home and state folder",
        "The first two are enough to run and reload; the third is told.",
        _always(places.folders_read_only),
    ),
    Event(
        "two daemons on one folder; what a dead one left",
        "The second is told who was first; the next one takes over.",
        _always(places.folder_in_use),
    ),
    Event(
        "reload in the middle of a fault: broken, then one gone, one new, one changed",
        "A wrong file changes nothing; others go on.",
        _always(places.reloaded_in_the_middle_of_a_fault),
    ),
)

STAGES = {"SIGTERM under load": {"change": stops.under_load}}


def run(kill_count: int, seed: int, only: str = "") -> Iterator[tuple[Event, Row]]:
    """Play every event whose name holds `only`; what went wrong stands in its row."""
    for event in EVENTS:
        if only not in event.name or not event.possible:
            continue
        stage = {"seed": seed, **event.stage, **STAGES.get(event.name, {})}
        try:
            row = play(event.scenario(kill_count), **stage)
        except Exception as error:  # noqa: BLE001  a campaign goes on; the row says what was broken
            where = traceback.extract_tb(error.__traceback__)[-1]
            row = Row(event.name, times=1, told=[f"{type(error).__name__} at {where.name}:{where.lineno}: {error}"])
        row.event = event.name
        yield event, row


def table(rows: Sequence[tuple[Event, Row]]) -> str:
    """The rows as a page shows them."""
    lines = [
        "| event | promise | times | wrong | lost | slots missing | duplicates | longest stop or recovery |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for event, row in rows:
        longest = f"{row.longest_s:.1f} s" if row.longest_s else "-"
        counted = (row.times, row.wrong, row.lost, row.unaccounted, row.duplicates)
        lines.append(f"| {event.name} | {event.promise} | {' | '.join(map(str, counted))} | {longest} |")
    return "\n".join(lines)


def write(page: Path, rows: Sequence[tuple[Event, Row]]) -> None:
    """Put the table between the marks of the page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{page} has no {BEGIN}"
    assert end, f"{page} has no {END}"
    page.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")

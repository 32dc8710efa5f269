"""Reads a station's journal wherever it is: through the running daemon, or from the file of a stopped one.

bench file -> state folder -> control socket, or the idle file -> records -> daq journal, daq demo
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from daq import control, state
from daq.core.errors import DaqError
from daq.core.record import Record
from daq.journal import END_OF_TIME_NS, open_idle
from daq.load import Loaded

JOURNAL = "journal.db"
TIMEOUT_S = 60.0


def journal_info(loaded: Loaded) -> dict[str, Any]:
    """Say what the journal of a bench's station holds.

    Raises:
        DaqError: there is none, or it cannot be read.
    """
    folder = folder_of(loaded)
    if _runs(folder):
        told: dict[str, Any] = next(control.ask(state.socket_path(folder), {"do": "journal_info"}, TIMEOUT_S))[
            "journal"
        ]
        return told
    with open_idle(folder / JOURNAL) as journal:
        return dict(journal.info())


def records(
    folder: Path, since_ns: int = 0, until_ns: int = END_OF_TIME_NS, streams: Sequence[str] | None = None
) -> Iterator[Record]:
    """Yield the records of a station in order of time.

    Args:
        folder: where the station keeps its state.
        since_ns: UTC ns, included.
        until_ns: UTC ns, excluded.
        streams: instruments, or `instrument/poll`; None for all.

    Raises:
        DaqError: there is no journal, or it cannot be read.
    """
    if _runs(folder):
        words = {"do": "journal_export", "since_ns": since_ns, "until_ns": until_ns, "streams": streams}
        for told in control.ask(state.socket_path(folder), words, TIMEOUT_S):
            yield Record(**{**told, "payload": told["payload"].encode()})
        return
    with open_idle(folder / JOURNAL) as journal:
        after = None
        while True:
            page = journal.export(since_ns, until_ns, streams, after)
            yield from page.records
            if page.after is None:
                return
            after = page.after


def folder_of(loaded: Loaded) -> Path:
    """Return where the station of a bench keeps its state."""
    named = loaded.bench.station
    return state.state_folder(named.site, named.name)


def _runs(folder: Path) -> bool:
    """Say whether a station answers there; its socket may have outlived it."""
    try:
        next(control.ask(state.socket_path(folder), {"do": "status"}))
    except DaqError:
        return False
    return True

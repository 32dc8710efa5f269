"""The append-only log on disk that every observation enters before it goes anywhere.

    station (Entry) -> Journal (queue) -> its thread (number, encode, commit) -> Feed -> sink

`journal` is what the station holds, `feed` what a sink holds, `scribe` the thread behind both, `memory` what waits for
it, `file` the SQLite file, `schema` its tables, `top` how far its numbers had come, `trimming` what must go, `reading`
what may be asked, running or idle, `lock` the one process a state directory.
"""

from daq.journal.journal import END_OF_TIME_NS, Journal
from daq.journal.reading import IdleJournal, Page, open_idle
from daq.journal.scribe import Health

__all__ = ["END_OF_TIME_NS", "Health", "IdleJournal", "Journal", "Page", "open_idle"]

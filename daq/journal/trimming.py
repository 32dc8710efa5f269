"""What must go so that the journal stays within its bounds, and the room held back for a full disk.

Chooses rows and deletes none. First what every sink is done with, then the oldest; information that records still
kept may cite goes last. On a full disk SQLite in WAL mode refuses DELETE too: the ballast is then given up.

    need, done -> Room -> victims -> gap
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daq.core.numbering import UNKNOWN, Gap, RowSet, in_all
from daq.journal.schema import EVENT, INFO, PAGE

AGE_BATCH = 2000  # rows dropped for their age in one transaction


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept.

    Args:
        max_bytes: size of the file; the log and the ballast stand beside it.
        keep_ns: age at which records go.
        when_full: drop the oldest undelivered record, or say `full` so that the station stops asking.
        ballast_bytes: room held back for a full disk.
    """

    max_bytes: int
    keep_ns: int
    when_full: Literal["drop_oldest", "stop_polling"] = "drop_oldest"
    ballast_bytes: int = 4 << 20

    @property
    def largest(self) -> int:
        """Bytes one payload may have: a small part of the file, so that none can fill it for ever."""
        return min(self.max_bytes // 16, 8 << 20)

    @property
    def streams_named(self) -> int:
        """Streams that a gap may name: what it tells, some 200 bytes each, has to fit into the slack."""
        return self.largest // 512

    @property
    def slack(self) -> int:
        """Room between the bound that is trimmed to and the one SQLite enforces: half-filled pages, one batch."""
        return max(self.max_bytes // 32, 16 * PAGE)

    @property
    def reserve(self) -> int:
        """Room kept for what is still said when the station has stopped asking."""
        return self.max_bytes // 16 if self.when_full == "stop_polling" else 0

    @property
    def log_pages(self) -> int:
        """Pages after which the log is emptied: it and one transaction stay within the ballast."""
        return max(self.ballast_bytes // 3 // PAGE, 16)

    @property
    def chunk(self) -> int:
        """Bytes trimmed at once, so that one gap stands for many records; the log must hold the pages they leave."""
        return min(self.max_bytes // 32, self.ballast_bytes // 4, 1 << 20)


@dataclass(frozen=True, slots=True)
class Victim:
    """A row that goes; `stream` is its number in the file, `size` the bytes of its payload, `event` what one said."""

    row: int
    kind: int
    stream: int
    seq: int
    t_ns: int
    size: int
    event: bytes | None


_VICTIMS = f"SELECT row, kind, stream, seq, t_ns, length(payload), CASE kind WHEN {EVENT} THEN payload END FROM record"  # noqa: S608
_PAGES = "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count"
_NEWER = f"SELECT min(row) FROM record WHERE kind = {INFO} AND stream = ? AND row > ?"  # noqa: S608


def weight(size: int) -> int:
    """Estimate the bytes of the file that a payload of `size` bytes takes, in a table leaf and its overflow pages.

    Source: Database File Format, sqlite.org/fileformat2.html, section 1.6, cell payload overflow.
    """
    payload = size + 30  # the other columns, and the header of the row
    local, overflow = payload, 0
    if payload > PAGE - 35:
        least = (PAGE - 12) * 32 // 255 - 23
        local = least + (payload - least) % (PAGE - 4)
        local = local if local <= PAGE - 35 else least
        overflow = -(-(payload - local) // (PAGE - 4))
    rows_a_page = (PAGE - 8) // (local + 12)
    return PAGE // max(rows_a_page, 1) + overflow * PAGE + 24  # and its place in the index of times


class Room:
    """How much may be in the file, and what goes first.

    Args:
        path: the file; the ballast stands beside it.
        bounds: what the user allows.
    """

    def __init__(self, path: Path, bounds: Bounds) -> None:
        self.bounds = bounds
        self._path = path
        self._ballast = path.with_name(f"{path.name}.ballast")
        self._pressed = False
        self._plenty = 0

    def has_plenty(self, payloads: int, count: int) -> bool:
        """Say whether so much more surely finds room, and count on it; False where that has to be looked at.

        To ask the file and the disk before each transaction would cost as much as to write it.

        Args:
            payloads: bytes of them together.
            count: of the rows.
        """
        need = 3 * payloads + 128 * count  # no row weighs more, see `weight`
        if self._pressed or need > self._plenty:
            return False
        self._plenty -= need
        return True

    def look_again(self) -> None:
        """Count on nothing any more: others write to the disk too."""
        self._plenty = 0

    def _limit(self, file_bytes: int) -> int:
        """Return the bytes the file may hold now: what the user allows, or less where the disk has less left.

        What is still in the log will need room in the file, and the log room to grow to its usual size.
        """
        allowed = self.bounds.max_bytes - self.bounds.slack
        pending = max(file_bytes - _size(self._path), 0)
        log_growth = max(self.bounds.ballast_bytes - _size(self._path.with_name(f"{self._path.name}-wal")), 0)
        spare = _free_bytes(self._path) - pending - log_growth
        return max(min(allowed, file_bytes + max(spare, -self.bounds.slack)), 16 * PAGE)

    def press(self, db: sqlite3.Connection) -> None:
        """Give up the ballast, so that the log can be emptied, and let the next transaction drop more than it adds."""
        with contextlib.suppress(OSError):
            self._ballast.unlink(missing_ok=True)
        self._pressed = True
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def keep_ballast(self) -> None:
        """Hold room back while there is plenty."""
        if _size(self._ballast) >= self.bounds.ballast_bytes or _free_bytes(self._path) < 3 * self.bounds.ballast_bytes:
            return
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.bounds.ballast_bytes)

    def aged(self, db: sqlite3.Connection, before_ns: int) -> list[Victim]:
        """Return rows that stand for a time before `before_ns`, a batch of the oldest."""
        rows = db.execute(f"{_VICTIMS} WHERE t_ns < ? ORDER BY t_ns LIMIT ?", (before_ns, AGE_BATCH))
        oldest = _oldest_observation(db)
        return [victim for row in rows.fetchall() if not _in_use(db, victim := Victim(*row), oldest)]

    def victims(
        self, db: sqlite3.Connection, done: Collection[RowSet], head: int, need: int, full: bool
    ) -> tuple[bool, list[Victim]]:
        """Return whether the station should stop asking, and which rows must go for `need` bytes.

        Args:
            db: the file.
            done: what each sink is done with.
            head: the newest row.
            need: bytes about to be written.
            full: whether the station was asked to stop; it goes on only when there is clearly room again.
        """
        reserve, chunk = self.bounds.reserve, self.bounds.chunk
        file_bytes, used = sizes(db)
        limit = used - chunk if self._pressed else self._limit(file_bytes)
        self._pressed = False
        over = used + need - limit + reserve
        self._plenty = -over
        enough = -chunk if full else 0
        victims: list[Victim] = []
        if over > enough:
            victims = _oldest(db, in_all(done, head), over + chunk)
            over -= _weigh(victims)
        full = reserve > 0 and over > enough
        for spare in (True, False):
            if over > reserve:
                more = _oldest(db, [(0, head)], over - reserve + chunk, {victim.row for victim in victims}, spare=spare)
                over -= _weigh(more)
                victims += more
        return full, victims


def _weigh(victims: Iterable[Victim]) -> int:
    return sum(weight(victim.size) for victim in victims)


def sizes(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the bytes of the file, and how many of them hold something."""
    pages, free = db.execute(
        "SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count"
    ).fetchone()
    return pages * PAGE, (pages - free) * PAGE


def named(db: sqlite3.Connection, rows: Iterable[int]) -> list[Victim]:
    """Return these rows, damaged ones: what is no number any more is 0."""
    found = [each for row in rows for each in db.execute(f"{_VICTIMS} WHERE row = ?", (row,))]
    return [_damaged(*(value if isinstance(value, int) else 0 for value in each[:-1])) for each in found]


def _damaged(row: int, kind: int, stream: int, seq: int, t_ns: int, size: int) -> Victim:
    return Victim(row, kind, stream, seq, t_ns, size, None)  # what it said is not what was written


def undelivered(
    why: str, victims: Iterable[Victim], done: Collection[RowSet], names: Mapping[int, tuple[str, str]], most: int
) -> Gap:
    """Return what of the victims somebody still waited for.

    Args:
        why: they go.
        victims: what goes.
        done: what each sink is done with.
        names: number of a stream -> its epoch and name.
        most: streams that are named.
    """
    gap = Gap(why, most)
    for victim in victims:
        if any(victim.row not in rows for rows in done):
            gap.add(*names.get(victim.stream, UNKNOWN), victim.seq, victim.t_ns)
            if victim.event is not None:
                gap.retell(victim.event)
    return gap


def _oldest(
    db: sqlite3.Connection,
    ranges: Iterable[tuple[int, int]],
    target: int,
    taken: Collection[int] = frozenset(),
    *,
    spare: bool = True,
) -> list[Victim]:
    """Return the oldest rows of some ranges that weigh `target` bytes together, less if there are no more."""
    victims: list[Victim] = []
    oldest = _oldest_observation(db)
    for first, last in ranges:
        for row in db.execute(f"{_VICTIMS} WHERE row BETWEEN ? AND ? ORDER BY row", (first, last)):
            victim = Victim(*row)
            if victim.row in taken or (spare and _in_use(db, victim, oldest)):
                continue
            victims.append(victim)
            target -= weight(victim.size)
            if target <= 0:
                return victims
    return victims


def _oldest_observation(db: sqlite3.Connection) -> int:
    """Return the first row that is not information; a row beyond all where there is none."""
    found = db.execute("SELECT row FROM record WHERE kind <> ? ORDER BY row LIMIT 1", (INFO,)).fetchone()
    return int(found[0]) if found else 2**62


def _in_use(db: sqlite3.Connection, victim: Victim, oldest: int) -> bool:
    """Say whether records still kept may cite it: it is the newest information of its stream, or newer is too new."""
    if victim.kind != INFO:
        return False
    newer: int | None = db.execute(_NEWER, (victim.stream, victim.row)).fetchone()[0]
    return newer is None or newer > oldest


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _free_bytes(path: Path) -> int:
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize

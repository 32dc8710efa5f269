"""How far the numbers of the journal had come: one line beside the file, which does not go back in time with it.

SQLite drops the end of a damaged log without a word, and a file put back from a copy does not know what came after the
copy; both would give numbers out again. The line is written after every commit and before anybody sees its records.
It is forced to disk only at the beginning and at a clean end: what a dying process wrote the system still has, and what
a dying machine wrote is not believed anyway.

    commit -> Top.note          open -> Top.doubt -> a new epoch, or none
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import orjson

from daq.clock import boot_uuid

LINE = 512
"""Bytes; a line is written over the one before, and less than a page is there whole or not at all after a kill."""

STRANGE_NS = 10 * 10**9
"""A line that was written so long before its file changed was put there by somebody else."""

NOTED = {"epoch": str, "next_row": int, "inode": int, "boot": str, "clean": bool, "written_ns": int}


class Top:
    """The line about one journal.

    Args:
        path: of the journal; the line stands beside it, in `<stem>.top`.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        self.path = path.with_suffix(".top")
        self._descriptor: int | None = None
        self._noted: tuple[str, int] | None = None
        self._inode = 0
        self._boot = boot_uuid()

    def doubt(self, epoch: str, next_row: int) -> str | None:
        """Say why numbers beyond those in the file may have been used; None where that is excluded.

        Args:
            epoch: of the file.
            next_row: of the file.
        """
        noted = _noted(self.path)
        if noted is None:
            return f"{self.path.name} is missing or unreadable"
        strange = self.path.stat().st_ctime_ns - noted["written_ns"] > STRANGE_NS
        row = noted["next_row"]
        down = not noted["clean"] and noted["boot"] != self._boot
        doubts = {
            f"{self.path.name} was put there by somebody else": strange,
            "the file is another one than was left": noted["inode"] != self._journal.stat().st_ino,
            "the file is of another epoch than was left": noted["epoch"] != epoch,
            f"the file ends at row {next_row - 1}, and row {row - 1} was in use": row > next_row,
            "the machine went down while the journal was open": down,
        }
        return next((why for why, holds in doubts.items() if holds), None)

    def missed(self) -> str | None:
        """Say what is known of a file that is gone; None where there was none."""
        noted = _noted(self.path)
        return None if noted is None else f"the file is gone or empty, and row {noted['next_row'] - 1} was in use"

    def begin(self, epoch: str, next_row: int) -> None:
        """Note that the journal is open, on disk when this returns. Raises OSError."""
        self.close()
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._inode = self._journal.stat().st_ino
        os.ftruncate(self._descriptor, LINE)
        self._write(epoch, next_row, clean=False)
        os.fsync(self._descriptor)
        _sync_folder(self.path.parent)

    def note(self, epoch: str, next_row: int) -> None:
        """Note the rows of a commit as used. Raises OSError."""
        if self._noted != (epoch, next_row):
            self._write(epoch, next_row, clean=False)

    def end(self) -> None:
        """Note that the journal was closed whole, on disk when this returns. Raises OSError."""
        if self._descriptor is not None and self._noted is not None:
            self._write(*self._noted, clean=True)
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = self._noted = None

    def _write(self, epoch: str, next_row: int, *, clean: bool) -> None:
        assert self._descriptor is not None
        known = {"epoch": epoch, "next_row": next_row, "inode": self._inode, "boot": self._boot, "clean": clean}
        line = orjson.dumps({**known, "written_ns": time.time_ns()})
        os.pwrite(self._descriptor, line.ljust(LINE - 1) + b"\n", 0)
        self._noted = epoch, next_row


def _noted(path: Path) -> dict[str, Any] | None:
    """Return what a line says, None where there is none or not all of it."""
    try:
        noted = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(noted, dict) and all(isinstance(noted.get(key), kind) for key, kind in NOTED.items())
    return noted if whole else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

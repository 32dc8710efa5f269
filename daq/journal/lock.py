"""One process a state directory. Waits for nobody: whoever comes second is told who was first."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from daq.core.errors import ConfigError


class StateLock:
    """One process a state directory.

    Args:
        directory: made if absent.
        shared: readers of an idle journal may be several.

    Raises:
        ConfigError: somebody else holds it, or the directory cannot be written.
    """

    def __init__(self, directory: Path, *, shared: bool = False) -> None:
        path = directory / "lock"
        try:
            if not shared:
                directory.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError([f"{path}: {error.strerror}. The journal needs a directory it may write."]) from error
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            self.release()
            raise ConfigError([f"{directory}: already running, pid {pid or 'unknown'}. Stop it, or ask it."]) from error
        if not shared:
            with contextlib.suppress(OSError):  # a full disk; the lock holds without the number
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)

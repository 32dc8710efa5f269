"""What the bench is working on: the pairs that `daq mark` set last, which every observation carries.

They outlive a restart: a calibration goes on after a power cut, and so must its job number. Kept in one small JSON file
in the state folder, replaced as a whole.

    daq mark -> control -> station -> Marks -> line (context of each observation)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import orjson

from daq.core.errors import ConfigError, quoted

log = logging.getLogger(__name__)

MAX_PAIRS = 32
MAX_KEY = 63
MAX_VALUE = 200
"""Marks ride on every observation: characters, and how many pairs."""


class Marks:
    """The marks in force.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.pairs: tuple[tuple[str, str], ...] = tuple(_read(path).items())

    def change(self, changes: Mapping[str, str], *, clear: bool) -> None:
        """Set pairs (an empty value takes one away), all others first forgotten where `clear`; `keep` them then.

        Raises:
            ConfigError: too many or too long; nothing is changed then.
        """
        wanted = {} if clear else dict(self.pairs)
        wanted.update(changes)
        wanted = {key: value for key, value in wanted.items() if value}
        too_long = [key for key, value in wanted.items() if len(key) > MAX_KEY or len(value) > MAX_VALUE]
        most = f"at most {MAX_KEY} characters for a key and {MAX_VALUE} for its value"
        problems = [f"mark {quoted(key)}: too long: {most}." for key in too_long]
        if len(wanted) > MAX_PAIRS:
            problems.append(f"{len(wanted)} marks are too many: at most {MAX_PAIRS}. Take one away with key=")
        if problems:
            raise ConfigError(problems)
        self.pairs = tuple(wanted.items())

    def keep(self) -> None:
        """Replace the file as a whole, also by what was set meanwhile; hangs as long as the disk does.

        A disk that fails costs the marks at the next restart, never an observation.
        """
        kept, fresh = None, self._path.with_suffix(".new")
        try:
            while kept is not self.pairs:
                kept = self.pairs
                fresh.write_bytes(orjson.dumps(dict(kept)))
                fresh.replace(self._path)
        except OSError as error:
            log.warning("marks are in force, and lost at the next restart: %s", error)


def _read(path: Path) -> dict[str, str]:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        log.warning("%s cannot be read (%s): no marks are in force. Set them again with daq mark.", path, error)
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

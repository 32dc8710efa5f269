"""Finds driver files, and what is shipped with the program.

name in the bench file -> Shelf (folders, the nearest first) -> path
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from daq.core.errors import nearest

DRIVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")


def data_path(kind: Literal["drivers", "configs", "schemas", "systemd"]) -> Path:
    """Return the folder that is shipped: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent.parent
    packed = package / "data" / kind
    return packed if packed.is_dir() else package.parent / kind


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where driver files are looked for, the nearest folder first."""

    folders: tuple[Path, ...]

    @classmethod
    def beside(cls, bench: Path | None = None) -> Shelf:
        """Return the folders for a bench: its own, its project's, $BENCH_DAQ_DRIVERS, what is shipped.

        Args:
            bench: None looks beside the folder one stands in.
        """
        near = [Path("drivers")] if bench is None else [bench.parent / "drivers", bench.parent / ".." / "drivers"]
        named = [Path(each) for each in os.environ.get("BENCH_DAQ_DRIVERS", "").split(os.pathsep) if each]
        return cls(tuple(each for each in [*near, *named, data_path("drivers")] if each.is_dir()))

    def find(self, name: str) -> Path | None:
        """Return the file of a driver, None where no folder has it. A name never leads out of the folders."""
        if not DRIVER_NAME.fullmatch(name):
            return None
        files = (folder / f"{name}.yaml" for folder in self.folders)
        return next((file for file in files if file.is_file()), None)

    def names(self) -> dict[str, Path]:
        """Return every driver by name; the nearest folder wins."""
        found: dict[str, Path] = {}
        for folder in reversed(self.folders):
            found |= {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
        return dict(sorted(found.items()))

    def nearest(self, name: str) -> str:
        """Say which driver was probably meant."""
        if not DRIVER_NAME.fullmatch(name):
            return "That is no name of a driver. Write it like keysight/34465a, without drivers/ and .yaml."
        return f"{nearest(name, self.names())} Drivers are the files under drivers/."

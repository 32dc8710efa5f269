"""Another wall clock and a slow disk for one process: machine.c, built here, loaded before it, steered by a file.

Shim.build(folder) -> environ -> the daemon          Shim.step(+3600) -> control file -> machine.c
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPILER = shutil.which("cc")
SOURCE = Path(__file__).with_name("machine.c")
CONTROL = struct.Struct("=qqqq")
NS = 1_000_000_000


@dataclass
class Shim:
    """The library, and what it is told."""

    folder: Path
    offset_ns: int = 0
    rate_ppb: int = 0
    since_ns: int = 0
    hold_disk: int = 0

    @classmethod
    def build(cls, folder: Path) -> Shim:
        """Compile it into a folder."""
        assert COMPILER is not None, "no C compiler"
        made = cls(folder)
        subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", made.library, SOURCE, "-ldl"], check=True)
        made.tell()
        return made

    @property
    def library(self) -> Path:
        return self.folder / "machine.so"

    @property
    def environ(self) -> dict[str, str]:
        """What a process must be started with."""
        return {"LD_PRELOAD": str(self.library), "MACHINE_CONTROL": str(self.folder / "machine.control")}

    def tell(self) -> None:
        """Write what is to be so over what was, so that the mapping of those that run sees it."""
        words = CONTROL.pack(self.offset_ns, self.rate_ppb, self.since_ns, self.hold_disk)
        path = self.folder / "machine.control"
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(words)

    def step(self, seconds: float) -> None:
        """Set the clock so much forward."""
        self.offset_ns += round(seconds * NS)
        self.tell()

    def slew(self, ppm: float) -> None:
        """Let the clock gain from now on; what it has gained it keeps."""
        now_ns = time.monotonic_ns()
        self.offset_ns += (now_ns - self.since_ns) // 1000 * self.rate_ppb // 1_000_000
        self.rate_ppb, self.since_ns = round(ppm * 1000), now_ns
        self.tell()

    @contextlib.contextmanager
    def disk_held(self) -> Iterator[None]:
        """Let no fsync return meanwhile."""
        self.hold_disk = 1
        self.tell()
        try:
            yield
        finally:
            self.hold_disk = 0
            self.tell()

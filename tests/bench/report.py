"""What a shape has shown, and the page that tells of it.

The page keeps its prose: only what stands between MEASURED and END is rewritten, and of that only the shapes that were
run; the others keep what an earlier run has shown, with its date and machine.

    shape -> Result -> Told (a row, a section) -> the page
"""

# ruff: noqa: T201  a report is printed as it grows
from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import daq
from tests.brokers import MOSQUITTO

MEASURED, END = "<!-- measured -->", "<!-- end of measured -->"
HEAD = "| shape | goal | measured, median (lowest to highest) | |\n|---|---|---|---|"


@dataclass(frozen=True)
class Options:
    """How long it may take.

    Args:
        rounds: turns of each contender.
        seconds: of each window.
        settle_s: from the first value to the window: connecting, first information, first commits are over.
        soak_s: how long slots are watched for one that is missed.
        drift_s, outage_s: how long the grid is watched; how long the broker is away.
        stations: how many on one broker, one after the other.
        rows: of the largest journal that is grown.
        backlog: records that wait to be delivered.
        picture: where the picture of growth goes; None for nowhere.
    """

    rounds: int = 3
    seconds: float = 4.0
    settle_s: float = 1.5
    soak_s: float = 20.0
    drift_s: float = 60.0
    outage_s: float = 120.0
    stations: tuple[int, ...] = (1, 5, 20)
    rows: int = 1_000_000
    backlog: int = 1_000_000
    picture: Path | None = None


QUICK = Options(1, 2.0, 1.0, 2.0, 8.0, 6.0, (1, 3), 100_000, 50_000)
LONG = {"soak_s": 600.0, "drift_s": 3600.0, "outage_s": 3600.0, "rows": 10_000_000}


@dataclass
class Result:
    """What one shape has shown.

    Args:
        goal: what is wanted, in words.
        met: None where it could not be judged.
        shown: what matters, in a few words, for the table.
        lines: all that was measured.
        table: Markdown, where there is one.
    """

    title: str
    goal: str
    met: bool | None = None
    shown: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    table: str = ""

    def says(self, line: str) -> None:
        """Add a line, and print it at once."""
        self.lines.append(line)
        print(f"  {line}", flush=True)

    def shows(self, line: str) -> None:
        """Add a line that belongs into the table."""
        self.shown.append(line)
        self.says(line)

    def judge(self, held: bool) -> None:
        """Take one of several goals into the verdict: all must be met."""
        self.met = held and self.met is not False

    @property
    def verdict(self) -> str:
        """The word for it."""
        return {True: "met", False: "not met", None: "not judged"}[self.met]


@dataclass(frozen=True)
class Told:
    """One shape on the page: its row of the table, and its section."""

    row: str
    section: str


DISTURBED_CORES = 0.2
"""More than this is named beside the verdict: such figures are to be measured again."""


def tell(name: str, result: Result, circumstances: str, others_cores: float) -> Told:
    """Write a result down.

    Args:
        others_cores: how many cores other programs kept busy meanwhile.
    """
    shown = "; ".join(result.shown) or "; ".join(result.lines[:2])
    disturbed = f" (others: {others_cores:.1f} cores)" if others_cores > DISTURBED_CORES else ""
    row = f"| `{name}` | {result.goal} | {_cell(shown)} | {result.verdict}{disturbed} |"
    circumstances += f"; other programs took {others_cores:.1f} cores meanwhile."
    body = [f"*{circumstances}*", "", *(f"- {line}" for line in result.lines)]
    body += ["", result.table] if result.table else []
    return Told(row, "\n".join([f"#### `{name}`: {result.title}", "", *body]))


def _cell(text: str) -> str:
    return text.replace("|", "/")


def page(before: str, told: dict[str, Told], order: list[str]) -> str:
    """Put what was told between the marks; a text without marks gets them at its end."""
    head, marked, rest = before.partition(MEASURED)
    inner, ended, after = rest.partition(END)
    assert bool(marked) == bool(ended), f"{MEASURED} and {END} belong together"
    kept = {**_kept(inner), **told}
    names = [name for name in order if name in kept]
    rows = [kept[name].row for name in names]
    sections = [f"{kept[name].section.rstrip()}\n" for name in names]
    middle = "\n".join(["", HEAD, *rows, "", *sections])
    return f"{head if marked or not head else head.rstrip() + chr(10) * 2}{MEASURED}\n{middle}\n{END}{after or chr(10)}"


def _kept(inner: str) -> dict[str, Told]:
    """Read what an earlier run has written."""
    rows = {found[1]: found[0] for found in re.finditer(r"^\| `([a-z-]+)` \|.*$", inner, re.MULTILINE)}
    sections = re.split(r"^(?=#### `)", inner, flags=re.MULTILINE)[1:]
    named = {section[6 : section.index("`", 6)]: section.rstrip() for section in sections}
    return {name: Told(row, named[name]) for name, row in rows.items() if name in named}


# ---------------------------------------------------------------- the machine


def machine() -> str:
    """Describe what it ran on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, version {version()}; {os.cpu_count()} x {model}, "
        f"{memory_gib:.0f} GiB; {platform.system()} {platform.release()}; Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {broker_version()}; journals on {filesystem(Path(tempfile.gettempdir()))}"
    )


def filesystem(folder: Path) -> str:
    """Say what kind of file system a folder is on: a commit costs little in memory (TMPDIR chooses another place)."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(len(at), kind) for at, kind in mounts if folder.resolve().is_relative_to(at)]
    return max(above, default=(0, "?"))[1]


def version() -> str:
    """Say which version is measured: of the repository, or of the package where there is none."""
    if shutil.which("git") is None:
        return daq.__version__
    command = ["git", "describe", "--always", "--dirty"]
    said = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return said.stdout.strip() or daq.__version__


def broker_version() -> str:
    """Ask the broker for its name and version."""
    if MOSQUITTO is None:
        return "no mosquitto"
    said = subprocess.run([MOSQUITTO, "-h"], capture_output=True, text=True, check=False).stdout
    return said.partition("\n")[0].replace(" version", "") or "mosquitto"


def _busy_s() -> float:
    fields = [int(one) for one in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    idle, waiting = fields[3:5]  # proc(5), /proc/stat; steal is others' time too
    return (sum(fields) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _ours_s() -> float:
    """Return the processor time of this process and of all its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


@dataclass(frozen=True)
class Others:
    """What else the machine did meanwhile: processor time of all that is not ours, in cores."""

    busy_s: float = field(default_factory=_busy_s)
    ours_s: float = field(default_factory=_ours_s)
    begun_s: float = field(default_factory=lambda: os.times().elapsed)

    def cores(self) -> float:
        """Return the mean number of cores that others have kept busy since."""
        elapsed_s = os.times().elapsed - self.begun_s
        return max(0.0, (_busy_s() - self.busy_s - _ours_s() + self.ours_s) / elapsed_s)

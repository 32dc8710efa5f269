"""`make bench`: runs the shapes and prints what they show; with --write, a file gets it too."""

# ruff: noqa: T201  a report is printed as it grows
from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.procs import Missing, place
from tests.bench.shapes import SHAPES, Options, Result


def main() -> int:
    """Run what is asked for; 2 where something is missing that all shapes need."""
    words = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    words.add_argument("shapes", nargs="*", help=f"of {', '.join(SHAPES)}; all of them where none is named")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--seconds", type=float, default=6.0, help="of each window")
    words.add_argument("--write", type=Path, help="a file for the report, Markdown")
    given = words.parse_args()
    unknown = [name for name in given.shapes if name not in SHAPES]
    if unknown:
        words.error(f"no such shape: {', '.join(unknown)}. There are {', '.join(SHAPES)}.")
    folder = Path(tempfile.mkdtemp(prefix="daq-bench-"))
    lines = [machine(), ""]
    print(lines[0], flush=True)
    try:
        for name in given.shapes or SHAPES:
            lines += told(name, folder / name, Options(given.rounds, given.seconds))
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.write:
        given.write.write_text("\n".join(lines) + "\n")
    return 0


def told(name: str, folder: Path, options: Options) -> list[str]:
    """Run one shape; return its part of the report."""
    print(f"{name} ...", flush=True)
    with place(folder) as here:
        result: Result = SHAPES[name](here, options)
    verdict = {True: "met", False: "not met", None: "not judged"}[result.met]
    print(f"  {verdict}: {result.goal}", flush=True)
    return [
        f"### {result.title}",
        "",
        f"Goal: {result.goal}. **{verdict}**",
        "",
        *(f"- {one}" for one in result.lines),
        "",
    ]


def machine() -> str:
    """Describe what it ran on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} x {model}; {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}; SQLite {sqlite3.sqlite_version}; load before {load:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""`make fuzz`: every target for so long, one after the other or side by side, and a table of what was tried and found.

What breaks a promise is kept under tests/fuzz/found/TARGET/, where `make test` runs it from then on.

    make fuzz                                       # ten minutes each
    make fuzz ARGS="frames replies --seconds 60"
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

FOUND = Path(__file__).parent / "found"
HANG_S = 20
MEMORY_MB = 3000


@dataclass(frozen=True)
class Result:
    """What became of a target; `found` are files."""

    target: str
    runs: int
    seconds: int
    coverage: int
    found: list[Path]
    words: str


def run(target: str, seconds: int) -> Result:
    """Fuzz one target in a process of its own."""
    kept = FOUND / target
    kept.mkdir(parents=True, exist_ok=True)
    before = set(kept.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS[target]()):
            (Path(folder) / f"{number}").write_bytes(seed)
        limits = [f"-max_total_time={seconds}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}", "-max_len=20000"]
        command = [sys.executable, "-m", "tests.fuzz.run", target, folder, *limits, f"-artifact_prefix={kept}/"]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    told = ended.stderr + ended.stdout
    done = re.search(r"Done (\d+) runs in (\d+) second", told)
    runs = int(done[1]) if done else max(map(int, re.findall(r"^#(\d+)", told, re.MULTILINE)), default=0)
    coverage = max(map(int, re.findall(r"cov: (\d+)", told)), default=0)
    words = "" if ended.returncode == 0 else told[-3000:]
    found = sorted(set(kept.iterdir()) - before)
    if not any(kept.iterdir()):
        kept.rmdir()
    return Result(target, runs, int(done[2]) if done else 0, coverage, found, words)


def main() -> int:
    """Run what is asked for; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Coverage-guided fuzzing.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="what to fuzz; else all")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    wanted = parser.parse_args()
    names = wanted.targets or list(TARGETS)
    console = Console()
    console.print(f"{len(names)} targets, {wanted.seconds} s each, {wanted.jobs} at a time")
    with ThreadPoolExecutor(wanted.jobs) as pool:
        results = []
        for result in pool.map(lambda name: run(name, wanted.seconds), names):
            results.append(result)
            console.print(f"{result.target}: {result.runs} runs, {len(result.found)} found")
    table = Table("target", "runs", "seconds", "branches", "found", box=None)
    for each in results:
        table.add_row(each.target, *map(str, (each.runs, each.seconds, each.coverage, len(each.found))))
    console.print(table)
    for each in results:
        if each.words:
            console.print(f"\n{each.target}: {', '.join(map(str, each.found))}\n{each.words}", markup=False)
    return int(any(each.words for each in results))


if __name__ == "__main__":
    sys.exit(main())

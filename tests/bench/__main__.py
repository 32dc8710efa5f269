"""`make bench`: runs the shapes and says what they show; with --write, a page gets it between its marks."""

# ruff: noqa: T201  a report is printed as it grows
from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

from tests.bench.procs import place, wanting
from tests.bench.report import DISTURBED_CORES, LONG, QUICK, Options, Others, Result, Told, machine, page, tell
from tests.bench.shapes import SHAPES


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    words = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    words.add_argument("shapes", nargs="*", help=f"of {', '.join(SHAPES)}; all of them where none is named")
    words.add_argument(
        "--quick", action="store_true", help="a look at every shape in some minutes; no figures to quote"
    )
    words.add_argument("--hour", action="store_true", help="drift and outage of an hour, slots for 10 min, 10 M rows")
    words.add_argument("--rounds", type=int, help="turns of each contender")
    words.add_argument("--seconds", type=float, help="of each window")
    words.add_argument("--outage-minutes", type=float, help="how long the broker is away")
    words.add_argument("--backlog", type=int, help="observations that wait to be delivered")
    words.add_argument("--rows", type=int, help="of the largest journal that is grown")
    words.add_argument("--write", type=Path, help="a page of Markdown that gets the figures between its marks")
    return words


def options(given: argparse.Namespace) -> Options:
    """Return how long it may take."""
    chosen = QUICK if given.quick else replace(Options(), **LONG) if given.hour else Options()
    said = {name: getattr(given, name) for name in ("rounds", "seconds", "backlog", "rows")}
    said["outage_s"] = None if given.outage_minutes is None else 60 * given.outage_minutes
    said["picture"] = given.write and given.write.with_name("growth.svg")
    return replace(chosen, **{name: value for name, value in said.items() if value is not None})


def main() -> int:
    """Run what is asked for; 1 where a shape broke down, 2 where something is missing that all shapes need."""
    words = parser()
    given = words.parse_args()
    unknown = [name for name in given.shapes if name not in SHAPES]
    if unknown:
        words.error(f"no such shape: {', '.join(unknown)}. There are {', '.join(SHAPES)}.")
    absent = wanting()
    for what in absent:
        print(what, file=sys.stderr)
    if any(absent.values()):
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):  # either way what was started is ended
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="daq-bench-"))
    described, begun = machine(), time.monotonic()
    names = [name for name in SHAPES if name in given.shapes or not given.shapes]
    print(described, flush=True)
    broken: list[str] = []
    try:
        for number, name in enumerate(names):
            print(f"[{number + 1} of {len(names)}, {(time.monotonic() - begun) / 60:.1f} min] {name}", flush=True)
            one = _measured(name, folder / name, options(given), described)
            if one is None:
                broken.append(name)
            elif given.write:  # after each: an interrupted run keeps what it has
                before = given.write.read_text() if given.write.exists() else ""
                given.write.write_text(page(before, {name: one}, list(SHAPES)))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{(time.monotonic() - begun) / 60:.1f} min{'; broke down: ' + ', '.join(broken) if broken else ''}")
    return 1 if broken else 0


def _measured(name: str, folder: Path, chosen: Options, described: str) -> Told | None:
    """Run one shape; None where it broke down, which is told and does not keep the others from running."""
    others = Others()
    try:
        with place(folder) as here:
            result: Result = SHAPES[name](here, chosen)
    except Exception:  # noqa: BLE001  whatever it is, the other shapes can still be measured
        traceback.print_exc()
        for log in sorted(folder.rglob("daemon.log")):
            print(f"{log}: ...{log.read_text(errors='replace')[-1500:]}", file=sys.stderr)
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cores = others.cores()
    if cores > DISTURBED_CORES:
        print(f"  other programs took {cores:.1f} cores meanwhile: measure again on a quiet machine", flush=True)
    print(f"  {result.verdict}: {result.goal}", flush=True)
    return tell(name, result, f"{described}. {chosen.rounds} rounds of {chosen.seconds:g} s", cores)


if __name__ == "__main__":
    sys.exit(main())

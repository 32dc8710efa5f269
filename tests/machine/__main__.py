"""Strike the process and its machine: python -m tests.machine [--kills N] [--seed N] [--only WORDS] [--page FILE].

`make faults ARGS=--machine`. Exit codes: 0 every promise held, 1 one did not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from tests.machine.campaign import run, table, write


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.machine", description="Strike the process and its machine.")
    parser.add_argument("--machine", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "1")))
    parser.add_argument("--only", default="", help="events whose name holds these words")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--page", type=Path, help="a page to put the table into, such as docs/promises.md")
    arguments = parser.parse_args()
    rows = []
    for event, row in run(arguments.kills, arguments.seed, arguments.only):
        rows.append((event, row))
        sys.stderr.write(f"{'held' if row.kept else 'BROKEN'}: {row.event}: {row.longest_s:.1f} s\n")
        for told in row.told:
            sys.stderr.write(f"    {told}\n")
    sys.stdout.write(table(rows) + "\n")
    if arguments.page is not None:
        write(arguments.page, rows)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for _, row in rows], indent=1) + "\n")
    return 0 if all(row.kept for _, row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The campaign: python -m tests.faults [--minutes N] [--seed N] [--danger N] [--json FILE] [--keep DIR] [--page FILE].

Ends with a table and one JSON line (on standard output, or in a file). Exit codes: 0 every promise held, 1 one did not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults import page
from tests.faults.campaign import Plan, run
from tests.faults.verdict import Row, Verdict

COLUMNS = (
    "fault",
    "times",
    "wrong",
    "unseen*",
    "lost",
    "apart**",
    "slots",
    "others late",
    "less load",
    "same wire late",
    "recovery",
    "descriptors",
    "threads",
    "MiB",
)


def _cells(row: Row) -> list[str]:
    before, after = row.before, row.after

    def held(what: str) -> str:
        if before is None or after is None:
            return "-"
        return f"{getattr(before, what)} > {getattr(after, what)}"

    memory = "-" if before is None or after is None else f"{before.rss_kib / 1024:.0f} > {after.rss_kib / 1024:.0f}"
    recovery = "-" if row.recovery_s is None else f"{row.recovery_s:.2f} s"
    counted = [row.times, row.wrong, row.hidden, row.lost, row.kept_apart, row.unaccounted]
    return [
        row.fault,
        *map(str, counted),
        f"{1000 * row.others_s:.0f} ms",
        f"{1000 * row.beyond_s:.0f} ms",
        "-" if row.same_wire_s is None else f"{1000 * row.same_wire_s:.0f} ms",
        recovery if not row.unhealed else f"{row.unhealed} never",
        held("descriptors"),
        held("threads"),
        memory,
    ]


def show(verdict: Verdict, console: Console) -> None:
    table = Table(title="Fault campaign")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "fault" else "right")
    for row in verdict.rows.values():
        bad = row.wrong or row.lost or row.unaccounted or row.unhealed
        table.add_row(*_cells(row), style="bold red" if bad else None)
    console.print(table)
    console.print("* forged bytes that nothing on that wire shows, by the poll's declared integrity")
    console.print("** acknowledged by the broker and lost with it, or refused by it and announced")
    console.print(f"the status was not what came for {verdict.status_s:.1f} s at most")
    console.print(f"the retained status was another one, the broker being well, for {verdict.copies_s:.1f} s at most")
    console.print(f"held more at the end than in the middle, per thousand faults: {verdict.growth}")
    console.print(f"the most it held in each tenth of the time, MiB: {verdict.held_mib}")
    for told in verdict.told[:40]:
        console.print(told, markup=False, highlight=False)
    for broken in verdict.broken:
        console.print(f"BROKEN: {broken}", style="bold red", markup=False)


def figures(verdict: Verdict, plan: Plan) -> dict[str, object]:
    return {
        "seed": plan.seed,
        "seconds": plan.seconds,
        "strikes": sum(row.times for row in verdict.rows.values()),
        "observations": verdict.observations,
        "readings": verdict.readings,
        "duplicates": verdict.duplicates,
        "statuses": verdict.statuses,
        "wrong": sum(row.wrong for row in verdict.rows.values()),
        "hidden": sum(row.hidden for row in verdict.rows.values()),
        "lost": sum(row.lost for row in verdict.rows.values()),
        "unaccounted": sum(row.unaccounted for row in verdict.rows.values()),
        "others_delay_s": round(max(row.others_s for row in verdict.rows.values()), 3),
        "others_beyond_s": round(max(row.beyond_s for row in verdict.rows.values()), 3),
        "longest_wait_for_a_processor_s": round(verdict.starved_s, 3),
        "same_wire_delay_s": round(max(row.same_wire_s or 0.0 for row in verdict.rows.values()), 3),
        "more_per_thousand_faults": verdict.growth,
        "most_held_in_each_tenth_mib": verdict.held_mib,
        "status_not_what_came_s": round(verdict.status_s, 1),
        "retained_status_another_s": round(verdict.copies_s, 1),
        "broken": verdict.broken,
        "faults": [row.as_json() for row in verdict.rows.values()],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests.faults", description="Strike a running station; judge what it published."
    )
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("FAULTS_MINUTES", "10")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", "1")))
    parser.add_argument("--danger", type=int, choices=(1, 2), default=2, help="1: the most dangerous faults alone")
    parser.add_argument("--only", nargs="+", default=[], metavar="WIRE", help="strike these alone; broker is one")
    parser.add_argument("--json", type=Path, help="where the figures go, else standard output")
    parser.add_argument("--keep", type=Path, help="an empty folder for everything that was written meanwhile")
    parser.add_argument("--page", type=Path, help="a page to put the figures into, such as docs/promises.md")
    arguments = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of what the proxies send to clients that have left
    plan = Plan(60 * arguments.minutes, arguments.danger, arguments.seed, only=frozenset(arguments.only))
    with tempfile.TemporaryDirectory(prefix="daq-") as folder:
        verdict = asyncio.run(run(arguments.keep or Path(folder), plan))
    show(verdict, Console(stderr=True, width=190))
    found = figures(verdict, plan)
    if arguments.page is not None:
        page.write(arguments.page, found)
    line = json.dumps(found)
    if arguments.json is None:
        sys.stdout.write(line + "\n")
    else:
        arguments.json.write_text(line + "\n")
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())

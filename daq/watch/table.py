"""Draws the board: one line a channel, instruments together, what is wrong in colour. Pure but for the terminal's size.

Board, now -> table -> rich
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from daq.watch.board import Board, Row

FRAME = 5
"""Lines around the rows: heading, head of the table, two of the footer, and where the cursor stands."""

_COLOURS = {"ok": "green", "degraded": "yellow", "lost": "red", "online": "green", "offline": "red"}
_ROLES = {"reference": "cyan", "uut": "magenta", "ambient": "blue", "source": "yellow"}


def drawn(board: Board, now_s: float, footer: str = "", height: int = 0) -> RenderableType:
    """Draw everything.

    Args:
        board: what was said.
        now_s: UTC seconds, for the ages.
        footer: what the caller wants to say below.
        height: lines there are; instruments with many channels show their first ones then. 0 where there is no end.
    """
    room = height - len(board.events) - FRAME if height else 0
    parts: list[RenderableType] = [_heading(board), _table(board, now_s, room)]
    parts += [Text(f"event {printable(line)}", style="dim", no_wrap=True, overflow="ellipsis") for line in board.events]
    if footer:
        parts.append(Text(footer, style="dim"))
    return Group(*parts)


def _heading(board: Board) -> Text:
    heading = Text.assemble((board.station.replace(".", "/") or "waiting for a station ...", "bold"))
    heading.append(f"  {board.online}", style=_COLOURS.get(board.online, ""))
    heading.append(f"  {board.observations} observations")
    if board.simulated:
        heading.append("  SIMULATED", style="bold black on yellow")
    return heading


def _table(board: Board, now_s: float, room: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for name in ("instrument", "", "poll", "channel"):
        table.add_column(name, no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for name in ("unit", "status", "role"):
        table.add_column(name, no_wrap=True)
    table.add_column("age s", justify="right", no_wrap=True)
    table.add_column("± s", justify="right", no_wrap=True)
    ordered = sorted(board.rows.values(), key=lambda row: (row.instrument, row.poll))
    groups = {name: list(rows) for name, rows in groupby(ordered, key=lambda row: row.instrument)}
    most = _most(groups.values(), room)
    for instrument, rows in groups.items():
        state, _ = board.states.get(instrument, ("", ""))
        shown = rows if len(rows) <= most else rows[: most - 1]
        for place, row in enumerate(shown):
            first = place == 0
            table.add_row(
                Text(instrument if first else "", style="bold"),
                Text(state if first else "", style=_COLOURS.get(state, "")),
                *_cells(board, row, now_s),
            )
        if len(shown) < len(rows):
            table.add_row("", "", "", Text(f"and {len(rows) - len(shown)} more", style="dim"))
    return table


def _most(groups: Iterable[list[Row]], room: int) -> int:
    """Return how many lines an instrument may have so that all fit; at least two, and no bound where room is 0."""
    sizes = [len(rows) for rows in groups]
    most = max(sizes, default=2)
    while room and most > 2 and sum(min(size, most) for size in sizes) > room:
        most -= 1
    return most


def _cells(board: Board, row: Row, now_s: float) -> tuple[Text, ...]:
    symbol = board.symbols.get((row.instrument, row.poll, row.channel), row.unit)
    status = " ".join((row.status, *row.flags))
    style = "green" if status == "ok" else "yellow" if row.status == "ok" else "red"
    return (
        Text(row.poll),
        Text(row.channel),
        Text(printable(row.text), style="bold"),
        Text(printable(symbol)),
        Text(status, style=style),
        Text(row.role, style=_ROLES.get(row.role, "")),
        Text(f"{max(0.0, now_s - row.t_s):.1f}"),
        Text("" if row.err_s is None else f"{row.err_s:.4f}"),
    )


def printable(text: str) -> str:
    """Escape what could move the cursor: an instrument's characters never reach a terminal raw."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)

"""Draws the board: one line a channel, instruments together, what is wrong in colour and in words. Pure.

What does not fit is left out in an order: channels of instruments that have many, then columns that matter least. A
value, its unit and its status are never cut, at most folded: half a number is a wrong number.

    Board, now, size of the terminal -> drawn -> rich
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from daq.watch.board import Board, Row

FRAME = 6
"""Lines around the rows: heading, head of the table, three of the footer, and where the cursor stands."""

GAP = 2
"""Blanks between columns."""

COLUMNS = ("instrument", "", "poll", "channel", "value", "unit", "status", "role", "age s", "± s")
SPARED = ("role", "± s", "age s", "poll", "")
"""Columns that are left out where the terminal is narrow, the first first."""

MOST_TROUBLES = 5
RIGHT = {"value", "age s", "± s"}

_COLOURS = {"ok": "green", "degraded": "yellow", "lost": "red", "online": "green", "offline": "red"}
_ROLES = {"reference": "cyan", "uut": "magenta", "ambient": "blue", "source": "yellow"}

Cells = dict[str, Text]
"""Column -> what stands in it; a column that is missing is empty."""


def drawn(board: Board, now_s: float, footer: str = "", height: int = 0, width: int = 0) -> RenderableType:
    """Draw everything.

    Args:
        board: what was said.
        now_s: UTC seconds, for the ages.
        footer: what the caller wants to say below.
        height: lines there are; instruments with many channels show their first ones then. 0 where there is no end.
        width: characters in a line; 0 where there is no end.
    """
    troubles = _troubles(board)
    room = height - len(board.events) - len(troubles) - FRAME if height else 0
    parts: list[RenderableType] = [_heading(board), _table(_lines(board, now_s, room), width), *troubles]
    parts += [Text(f"event {printable(line)}", style="dim", no_wrap=True, overflow="ellipsis") for line in board.events]
    if footer:
        parts.append(Text(footer, style="dim", overflow="fold"))
    return Group(*parts)


def _heading(board: Board) -> Text:
    heading = Text.assemble((board.station.replace(".", "/") or "waiting for a station ...", "bold"))
    heading.append(f"  {board.online}", style=_COLOURS.get(board.online, ""))
    heading.append(f"  {board.observations} observations")
    if board.simulated:
        heading.append("  SIMULATED", style="bold black on yellow")
    return heading


def _troubles(board: Board) -> list[Text]:
    """Say why an instrument is not ok."""
    bad = [(name, state, why) for name, (state, why) in sorted(board.states.items()) if state != "ok"]
    said = [
        Text(f"{name} {state}: {printable(why)}", _COLOURS.get(state, ""), no_wrap=True, overflow="ellipsis")
        for name, state, why in bad[:MOST_TROUBLES]
    ]
    return said if len(bad) <= MOST_TROUBLES else [*said, Text(f"and {len(bad) - MOST_TROUBLES} more are not ok")]


def _lines(board: Board, now_s: float, room: int) -> list[Cells]:
    ordered = sorted(board.rows.values(), key=lambda row: (row.instrument, row.poll))
    groups = {name: list(rows) for name, rows in groupby(ordered, key=lambda row: row.instrument)}
    most = _most(groups.values(), room)
    lines = []
    for instrument in sorted(groups.keys() | board.states.keys()):
        rows = groups.get(instrument, [])
        shown = rows if len(rows) <= most else rows[: most - 1]
        own = [_cells(board, row, now_s) for row in shown] or [{}]
        if len(shown) < len(rows):
            own.append({"channel": Text(f"and {len(rows) - len(shown)} more", style="dim")})
        state, _ = board.states.get(instrument, ("", ""))
        lines.append({"instrument": Text(instrument, "bold"), "": Text(state, _COLOURS.get(state, "")), **own[0]})
        lines += own[1:]
    return lines


def _most(groups: Iterable[list[Row]], room: int) -> int:
    """Return how many lines an instrument may have so that all fit; at least two, and no bound where room is 0."""
    sizes = [len(rows) for rows in groups]
    most = max(sizes, default=2)
    while room and most > 2 and sum(min(size, most) for size in sizes) > room:
        most -= 1
    return most


def _table(lines: list[Cells], width: int) -> Table:
    widths = {name: max([len(name), *(line[name].cell_len for line in lines if name in line)]) for name in COLUMNS}
    columns = list(COLUMNS)
    for name in SPARED:
        if width and sum(widths[each] + GAP for each in columns) - GAP > width:
            columns.remove(name)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", expand=False)
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name in RIGHT else "left")
    for line in lines:
        table.add_row(*(line.get(name, "") for name in columns))
    return table


def _cells(board: Board, row: Row, now_s: float) -> Cells:
    symbol = board.symbols.get((row.instrument, row.poll, row.channel), row.unit)
    status = " ".join((row.status, *row.flags))
    style = "green" if status == "ok" else "yellow" if row.status == "ok" else "red"
    return {
        "poll": Text(row.poll),
        "channel": Text(row.channel),
        "value": Text(printable(row.text), style="bold"),
        "unit": Text(printable(symbol)),
        "status": Text(status, style=style),
        "role": Text(row.role, style=_ROLES.get(row.role, "")),
        "age s": Text(f"{max(0.0, now_s - row.t_s):.1f}"),
        "± s": Text("" if row.err_s is None else f"{row.err_s:.4f}"),
    }


def printable(text: str) -> str:
    """Escape what could move the cursor: an instrument's characters never reach a terminal raw."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)

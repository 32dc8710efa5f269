"""Draws the board as a picture for documents: the same table as on a terminal, without a terminal.

Board -> drawn -> SVG
"""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

from rich.console import Console

from daq.watch.board import Board
from daq.watch.table import drawn

WIDTH, HEIGHT = 104, 40
"""Characters and lines: a terminal of ordinary size."""


def save_picture(board: Board, path: Path) -> None:
    """Write the board as it is now to an SVG file that needs no font from anywhere."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True)
    console.print(drawn(board, time.time(), height=HEIGHT, width=WIDTH))
    svg = re.sub(r"<!--.*?-->", "", console.export_svg(title="daq watch"), flags=re.DOTALL)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    path.write_text(svg.replace("Fira Code, ", ""), encoding="utf-8")

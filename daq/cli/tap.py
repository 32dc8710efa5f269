"""`daq tap`: the raw bytes of an instrument's wire, with times, as they pass."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from daq.cli import reach
from daq.core.errors import quoted


def tap(
    instrument: Annotated[str, typer.Argument(help="Its name in the bench file.")],
    bench: reach.Bench = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, bytes as hex.")] = False,
) -> None:
    """Show the bytes to (>) and from (<) an instrument's wire until Ctrl-C. Asks nothing itself."""
    try:
        for part in reach.ask(bench, do="tap", instrument=instrument):
            if "quiet" not in part:
                typer.echo(orjson.dumps(part).decode() if as_json else _line(part))
    except KeyboardInterrupt:
        return


def _line(part: dict[str, str | int]) -> str:
    raw = bytes.fromhex(str(part["hex"]))
    at = datetime.fromtimestamp(int(part["utc_ns"]) / 1e9, UTC).strftime("%H:%M:%S.%f")
    sign = ">" if part["sent"] else "<"
    return f"{at} {sign} {raw.hex(' ')}   {quoted(raw)}" if part["binary"] else f"{at} {sign} {quoted(raw, 4096)}"

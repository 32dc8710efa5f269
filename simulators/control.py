"""The Unix socket by which faults are switched while the stand-ins run: one JSON object a line, one answer a line.

{"instrument": "dmm1", "fault": "late", "times": 1} ->  {"ok": true}
{"instrument": "dmm1", "fault": "clear"}            ->  {"ok": true}
{"where": true}                                     ->  {"ok": true, "instruments": {...}, "wires": {...}}

`seconds` is the delay of `late` and `drip`, and how long any other fault lasts. `text` is what `banner` and `garbage`
say and the number `other_serial` answers. The socket (0600) stands in a folder (0700) made for it, and both are gone
at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from simulators.faults import MAX_DELAY_S, NAMES

KEYS = ("instrument", "fault", "times", "seconds", "text")


class Controlled(Protocol):
    """An instrument whose faults can be switched."""

    def switch_on(self, fault: str, *, times: int | None, seconds: float | None, text: str | None) -> None:
        """Switch a fault on."""

    def clear(self) -> None:
        """Switch all faults off."""


class RequestError(Exception):
    """The request is wrong; says what, and how to mend it."""


def _nearest(word: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Nearest: {near[0]!r}." if near else ""


def _checked(request: Any, instruments: Mapping[str, Controlled]) -> tuple[Controlled, str, dict[str, Any]]:
    """Give the instrument, the fault and its settings.

    Raises:
        RequestError: something in it cannot be.
    """
    if not isinstance(request, dict):
        raise RequestError('a request is one JSON object a line, such as {"instrument": "dmm1", "fault": "silence"}')
    for key in request:
        if key not in KEYS:
            raise RequestError(f"{key}: no such key.{_nearest(key, KEYS)} Allowed: {', '.join(KEYS)}")
    name, fault = str(request.get("instrument")), str(request.get("fault"))
    if name not in instruments:
        there = tuple(instruments)
        raise RequestError(f"instrument: there is no {name!r}.{_nearest(name, there)} There are: {', '.join(there)}")
    if fault not in (*NAMES, "clear"):
        raise RequestError(
            f"fault: there is no {fault!r}.{_nearest(fault, NAMES)} There are: {', '.join(NAMES)}, clear"
        )
    times, seconds, text = request.get("times"), request.get("seconds"), request.get("text")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise RequestError(f"times: must be a whole number from 1, or null for ever; is {times!r}")
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_DELAY_S
    ):
        raise RequestError(f"seconds: must be a number from 0 to {MAX_DELAY_S:g}; is {seconds!r}")
    if text is not None and not isinstance(text, str):
        raise RequestError(f"text: must be a string; is {text!r}")
    return instruments[name], fault, {"times": times, "seconds": seconds, "text": text}


class Control:
    """The socket.

    Args:
        instruments: by name.
        where: what the ready line says of instruments and wires, as it is now.
    """

    def __init__(self, instruments: Mapping[str, Controlled], where: Callable[[], dict[str, Any]]) -> None:
        self._instruments = instruments
        self._where = where
        self._folder: Path | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> Path:
        """Listen, and say where."""
        self._folder = Path(tempfile.mkdtemp(prefix="simulators-"))
        path = self._folder / "control"
        self._server = await asyncio.start_unix_server(self._welcome, path, limit=65536)
        os.chmod(path, 0o600)  # noqa: PTH101 - a socket, beside the server that made it
        return path

    async def close(self) -> None:
        """Stop listening and remove the folder."""
        if self._server is not None:
            self._server.close()
        clients = list(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # gone, a line without end, or closing
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except ValueError as error:
            return {"ok": False, "error": f"no JSON: {error}; send one object a line"}
        if request == {"where": True}:
            return {"ok": True, **self._where()}
        try:
            instrument, fault, settings = _checked(request, self._instruments)
            if fault == "clear":
                instrument.clear()
            else:
                instrument.switch_on(fault, **settings)
        except RequestError as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True}

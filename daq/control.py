"""The Unix socket that status, tap, mark, reload and journal ask: 0600, one JSON object a line in, one or more out.

It knows no station: the verbs are handed in as a table. A question is {"do": verb, ...}; an answer is {"ok": true, ...}
or {"ok": false, "error": what and how to mend}. A verb that yields (tap, export) ends with {"end": true}.

    cli -> socket -> Control -> table of verbs -> station
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import orjson

from daq.core.errors import DaqError

log = logging.getLogger(__name__)

MAX_QUESTION = 64 * 1024
"""Bytes: no question is longer; a longer one ends the conversation."""

MAX_PEOPLE = 16
"""Conversations at one time; a further one is told to come later."""

Words = dict[str, Any]
Verb = Callable[[Words], Awaitable[Words] | AsyncIterator[Words]]


class Control:
    """Serves the socket while entered.

    Args:
        path: where the socket stands; its folder must exist.
        verbs: name -> what answers: a coroutine for one answer, an async generator for many.
    """

    def __init__(self, path: Path, verbs: Mapping[str, Verb]) -> None:
        self.path = path
        self._verbs = dict(verbs)
        self._people: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen; a socket left by a dead station is replaced (the state folder's lock says it is dead)."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        before = os.umask(stat.S_IRWXG | stat.S_IRWXO | stat.S_IXUSR)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self.path, limit=MAX_QUESTION)
        finally:
            os.umask(before)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close, ending conversations that still run."""
        if self._server is not None:
            self._server.close()
        for task in self._people:
            task.cancel()
        await asyncio.gather(*self._people, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("control[conversation]")
        self._people.add(task)
        try:
            if len(self._people) > MAX_PEOPLE:
                await _say(writer, {"ok": False, "error": f"{MAX_PEOPLE} others are being answered. Try again later."})
                return
            while line := await reader.readline():
                await self._answer(line, writer)
        except (ConnectionError, ValueError):  # ValueError: a question longer than MAX_QUESTION
            pass
        finally:
            self._people.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            words = orjson.loads(line)
            verb = self._verbs[words["do"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            known = ", ".join(sorted(self._verbs))
            await _say(writer, {"ok": False, "error": f'Ask one JSON object a line: {{"do": one of {known}}}.'})
            return
        try:
            answer = verb(words)
            if isinstance(answer, AsyncIterator):
                async for part in answer:
                    await _say(writer, part)
                await _say(writer, {"ok": True, "end": True})
            else:
                await _say(writer, {"ok": True, **await answer})
        except DaqError as error:
            await _say(writer, {"ok": False, "error": str(error)})
        except ConnectionError:
            raise
        except Exception as error:
            log.exception("control: '%s' failed", words["do"])
            await _say(writer, {"ok": False, "error": f"{type(error).__name__}: {error}. The daemon's log has more."})


async def _say(writer: asyncio.StreamWriter, words: Words) -> None:
    writer.write(orjson.dumps(words, default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n")
    await writer.drain()


def ask(path: Path, words: Words, timeout_s: float = 10.0) -> Iterator[Words]:
    """Ask a running station and yield its answers; for the command line, no event loop needed.

    Args:
        path: of the socket.
        words: the question, {"do": verb, ...}.
        timeout_s: longest silence.
    Raises:
        DaqError: no station answers there, or it said no; the message says which.
    """
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(timeout_s)
        try:
            wire.connect(str(path))
        except OSError as error:
            raise DaqError(f"No station answers at {path} ({error.strerror}). Is 'daq run' running?") from error
        wire.sendall(orjson.dumps(words) + b"\n")
        with wire.makefile("rb") as lines:
            yield from _answers(lines, path)


def _answers(lines: Any, path: Path) -> Iterator[Words]:
    for line in lines:
        answer: Words = orjson.loads(line)
        if answer.get("ok") is False:
            raise DaqError(str(answer["error"]))
        if answer.get("end"):
            return
        yield answer
        if "ok" in answer:
            return
    raise DaqError(f"The station at {path} closed the conversation before its answer was complete.")

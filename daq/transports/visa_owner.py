"""Owns the VISA child processes: one for each board or host, shared by its resources, ended when it does not answer.

Questions go to a child at once and are done in order. The one at the head has until its deadline and GRACE_S; then the
process is killed, and with it every link it held. Nothing waits for a child that does not come back.

    visa (question) -> Owner -> visa_child -> Answer
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from typing import Final

from daq.core.errors import LinkClosed, LinkTimeout
from daq.core.observation import NS
from daq.transports.visa_frames import LENGTHS, Head, frame, head_of

GRACE_S: Final = 1.0
"""Seconds past a deadline that a child is given to say so itself."""

_START_S: Final = 60.0  # to start Python and load the VISA library, on a machine that is busy
_STOP_S: Final = 1.0
_LEFT_S: Final = 90.0  # a process left while it starts ends, should nobody come back: longer than any back-off


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child said: its head, with `outcome` and stamps, and the bytes."""

    head: Head
    body: bytes


@dataclass(slots=True)
class _Question:
    deadline_ns: int
    answer: asyncio.Future[Answer]


def board(resource: str) -> str:
    """Name what a resource shares with others: a GPIB board, a LAN host; else itself."""
    parts = resource.upper().split("::")
    if re.fullmatch(r"GPIB\d*", parts[0]):
        return parts[0] if parts[0] != "GPIB" else "GPIB0"
    if re.fullmatch(r"TCPIP\d*", parts[0]) and len(parts) > 1:
        return f"TCPIP::{parts[1]}"
    return resource.upper()


class Owner:
    """One child process and the questions it has not answered yet."""

    def __init__(self, backend: str, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._questions: dict[int, _Question] = {}
        self._number = 0
        self._unsent: list[bytes] = []
        self._process: asyncio.subprocess.Process | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._gone: str | None = None
        self._killed: str | None = None
        self.users = 0
        self._ask_ready()
        self._task = asyncio.create_task(self._live(backend), name=f"visa[{name}]")

    @property
    def alive(self) -> bool:
        """Whether it may still answer."""
        return self._gone is None and self._killed is None

    @property
    def starting(self) -> bool:
        """Whether it still loads its library."""
        return self.alive and 0 in self._questions

    def end_unless_used(self) -> None:
        """End the process, should nobody use it by then."""
        if self.users == 0:
            self._kill("nobody came back for it")

    def ask(self, head: Head, body: bytes, deadline_ns: int) -> asyncio.Future[Answer]:
        """Send a question; the answer fails with LinkTimeout or LinkClosed where the child had to be ended."""
        answer: asyncio.Future[Answer] = self._loop.create_future()
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # its asker may have left
        if not self.alive:
            answer.set_exception(LinkClosed(f"VISA process of {self._name}: {self._killed or self._gone}"))
            return answer
        number = self._put(answer, deadline_ns)
        data = frame({"number": number, "deadline": deadline_ns, **head}, body)
        if self._process is None:
            self._unsent.append(data)
        else:
            self._send(data)
        return answer

    async def stop(self) -> None:
        """End the process: by the end of its input, or by force where it is held up."""
        if self._questions:
            self._kill("closed here")
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await asyncio.shield(self._task)
        self._kill("closed here")
        if self._process is None:
            self._task.cancel()
        await asyncio.wait([self._task])

    def _ask_ready(self) -> None:
        """Expect the child's first word, which nobody asked for."""
        ready: asyncio.Future[Answer] = self._loop.create_future()
        ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._questions[0] = _Question(time.monotonic_ns() + int(_START_S * NS), ready)
        self._watch()

    def _put(self, answer: asyncio.Future[Answer], deadline_ns: int) -> int:
        self._number += 1
        self._questions[self._number] = _Question(deadline_ns, answer)
        if len(self._questions) == 1:
            self._watch()
        return self._number

    def _watch(self) -> None:
        """Watch the question at the head: it has its deadline, or from now where it had to wait, and the grace."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._questions:
            head = next(iter(self._questions.values()))
            until_ns = max(head.deadline_ns, time.monotonic_ns())
            self._timer = self._loop.call_at(until_ns / NS + GRACE_S, self._overdue)

    def _overdue(self) -> None:
        head = next(iter(self._questions.values()))
        text = f"VISA process of {self._name}: a call did not return in time; its process was ended"
        _fail(head.answer, LinkTimeout(text))
        self._kill("a call did not return in time; its process was ended")

    def _kill(self, why: str) -> None:
        self._killed = self._killed or why
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Not Process.kill: it may reap the process behind asyncio's back (Popen.send_signal polls).
                os.kill(self._process.pid, signal.SIGKILL)

    def _send(self, data: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, RuntimeError):  # the process is gone: `_live` says so
            self._process.stdin.write(data)

    async def _live(self, backend: str) -> None:
        """Start the process and take its answers until it ends."""
        try:
            await self._start(backend)
            await self._take_answers()
        except (OSError, asyncio.IncompleteReadError) as error:
            self._gone = f"ended ({error})" if isinstance(error, OSError) else "ended unexpectedly"
        finally:
            await self._bury()

    async def _start(self, backend: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daq.transports.visa_child",
            backend,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if self._killed is not None:  # stopped while it was being born
            self._kill(self._killed)
        for data in self._unsent:
            self._send(data)
        self._unsent.clear()

    async def _take_answers(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        source = self._process.stdout
        while True:
            head_size, body_size = LENGTHS.unpack(await source.readexactly(LENGTHS.size))
            head = head_of(await source.readexactly(head_size))
            body = await source.readexactly(body_size)
            question = self._questions.pop(head["number"], None)
            self._watch()
            if question is not None and not question.answer.done():
                question.answer.set_result(Answer(head, body))

    async def _bury(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gone = self._gone or "ended"
        if self._process is not None:
            self._kill("ended unexpectedly")
            await self._process.wait()
        for question in self._questions.values():
            _fail(question.answer, LinkClosed(f"VISA process of {self._name}: {self._killed or self._gone}"))
        self._questions.clear()


def _fail(answer: asyncio.Future[Answer], error: LinkClosed | LinkTimeout) -> None:
    if not answer.done():
        answer.set_exception(error)


_owners: dict[tuple[asyncio.AbstractEventLoop, str, str], Owner] = {}
"""Who owns which board: two processes on one GPIB board end each other's calls."""


def acquire(backend: str, resource: str) -> Owner:
    """Return the owner of the resource's board, a new one where there is none alive."""
    key = (asyncio.get_running_loop(), backend, board(resource))
    owner = _owners.get(key)
    if owner is None or not owner.alive:
        owner = _owners[key] = Owner(backend, key[2])
    owner.users += 1
    return owner


def leave(owner: Owner) -> None:
    """Say that one link needs the owner no more for now: a library that takes long to load is there the next time."""
    owner.users -= 1
    asyncio.get_running_loop().call_later(_LEFT_S, owner.end_unless_used)


async def release(owner: Owner) -> None:
    """Say that one link needs the owner no more; the last one ends its process."""
    owner.users -= 1
    if owner.users == 0:
        for key in [key for key, held in _owners.items() if held is owner]:
            del _owners[key]
        await owner.stop()

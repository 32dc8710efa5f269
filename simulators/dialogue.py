"""One text instrument in conversation, over whatever carries its bytes.

Splits what arrives into lines, asks the model one line at a time (an instrument does one thing at a time, whoever
asks), sends the answer through the outlet and writes the log. Knows no command and no socket.

bytes -> Lines -> Dialogue.hear -> model.answer -> Outlet -> carrier, log
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from simulators.faults import Carrier, Faults, Outlet, Sent
from simulators.log import Exchange, Log, readable

MAX_LINE = 4096  # bytes; a longer line is dropped whole, as an input buffer overrun is


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says, without its line end.

    Attributes:
        text: the answer; may hold several lines.
        sampled: the monotonic instants, in ns, whose world values it holds.
        values: the exact text of each value in it, by a name of the model's own.
    """

    text: str
    sampled: tuple[int, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)


class TextInstrument(Protocol):
    """A model that speaks text."""

    eol: str

    async def answer(self, line: str) -> Answer | None:
        """Do what one line asks, in the time it takes; None where the instrument says nothing."""

    async def talk(self) -> Answer:
        """Wait until the instrument speaks unasked, for ever where it never does."""

    def clear(self) -> None:
        """Give up what is going on, as a device clear asks."""


class Lines:
    """Cuts a stream of bytes into lines; CR and LF both end one, empty lines are none."""

    def __init__(self) -> None:
        self._rest = b""
        self._overrun = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and give the lines they complete."""
        *ended, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        lines = []
        for line in ended:
            if line and not self._overrun and len(line) <= MAX_LINE:
                lines.append(line)
            self._overrun = False
        if len(self._rest) > MAX_LINE:
            self._rest, self._overrun = b"", True
        return lines


async def never() -> Answer:
    """Wait for ever: the talk of an instrument that speaks only when asked."""
    waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    return await waiting


def loud(task: asyncio.Task[None]) -> None:
    """Report a task that ended by a mistake of ours; a done callback."""
    if not task.cancelled() and task.exception() is not None:
        context = {"message": f"{task.get_name()} failed", "exception": task.exception(), "task": task}
        task.get_loop().call_exception_handler(context)


class Dialogue:
    """An instrument, its faults and its log.

    Args:
        name: the instrument's name in the world file.
    """

    def __init__(self, name: str, instrument: TextInstrument, faults: Faults, log: Log) -> None:
        self.name = name
        self.instrument = instrument
        self.faults = faults
        self._log = log
        self._eol = instrument.eol.encode("latin-1")
        self._outlet = Outlet(faults, lines=True)
        self._busy = asyncio.Lock()

    async def hear(self, line: bytes, carrier: Carrier) -> None:
        """Answer one line."""
        asked_ns = time.monotonic_ns()
        async with self._busy:
            answer = await self.instrument.answer(line.decode("latin-1"))
        await self._say(readable(line), asked_ns, answer, carrier)

    async def talk(self, carrier: Carrier) -> None:
        """Say all that the instrument has to say unasked; ends only by being cancelled."""
        while True:
            answer = await self.instrument.talk()
            await self._say("", time.monotonic_ns(), answer, carrier)

    def greet(self, carrier: Carrier) -> None:
        """Send the banner, where that fault is on."""
        fault = self.faults.take("banner")
        if fault is not None:
            carrier.write((fault.text or "Welcome").encode("latin-1", "backslashreplace") + self._eol)

    async def _say(self, ask: str, asked_ns: int, answer: Answer | None, carrier: Carrier) -> None:
        def note(sent: Sent) -> None:
            self._log.write(
                Exchange(
                    instrument=self.name,
                    unit=None,
                    kind="text",
                    ask=ask,
                    answer=readable(sent.data.rstrip(b"\r\n")),
                    asked_mono_ns=asked_ns,
                    answered_mono_ns=time.monotonic_ns(),
                    sampled_mono_ns=answer.sampled if answer and sent.whole else (),
                    values=answer.values if answer and sent.whole else {},
                    fault=sent.fault,
                )
            )

        if answer is None:
            note(Sent(b"", None, whole=False))
        else:
            await self._outlet.send(answer.text.encode("latin-1", "backslashreplace") + self._eol, carrier, note)

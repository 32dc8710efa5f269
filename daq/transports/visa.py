"""A VISA resource: GPIB, USB-TMC, VXI-11, HiSLIP, through any VISA library, which runs in a process of its own.

Nothing here imports a VISA library. A resource with messages delivers them whole: a reply is the message, and bytes
behind the cut stay for `unread`. Where bytes travel only while they are read (GPIB, USB-TMC, VXI-11) a late reply stays
in the instrument until `clear`; `unread` cannot see it.

    line -> Visa -> Owner -> visa_child -> instrument
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Final

from daq.core.cut import Cut
from daq.core.errors import LinkClosed, LinkDesync, LinkError, LinkFlooded, LinkTimeout, quoted
from daq.core.line_settings import LineSettings
from daq.core.observation import NS, Stamp
from daq.transports.inbox import Inbox
from daq.transports.seam import KEPT_PARTIAL, Now, Received
from daq.transports.visa_frames import Head
from daq.transports.visa_owner import GRACE_S, Answer, Owner, acquire, leave, release

_CLOSING_S: Final = 1.0
_numbers = itertools.count(1)


async def visa_resources(backend: str, deadline_ns: int) -> list[str]:
    """Return the names of what a VISA library finds; nothing is opened. Raises LinkError."""
    owner = acquire(backend, "*")
    try:
        answer = await owner.ask({"op": "list", "link": 0}, b"", deadline_ns)
    finally:
        await release(owner)
    if answer.head["outcome"] != "done":
        raise LinkClosed(f"VISA library {backend}: {answer.head['text']}")
    found: list[str] = answer.head["resources"]
    return found


class Visa:
    """The Transport of `visa:` addresses.

    Args:
        resource: VISA resource name, such as TCPIP0::10.0.0.5::inst0::INSTR.
        clock: as every transport has it; the stamps of bytes are read in the child, on the same two clocks.
        backend: @py, @ivi, @sim, a file with one of these behind it, as pyvisa takes them.
        eol: how messages end where the interface has no END of its own (SOCKET, ASRL); its last byte counts.
        line: serial settings of an ASRL resource; None leaves the library's.
    """

    direct = None

    def __init__(
        self, resource: str, clock: Now, *, backend: str = "@py", eol: bytes = b"\n", line: LineSettings | None = None
    ) -> None:
        streams = resource.upper().endswith("::SOCKET") or resource.upper().startswith("ASRL")
        self.can_clear = not streams  # until the library, once open, says it has none
        self.reopen_heals = resource.upper().startswith("TCPIP")
        self._resource = resource
        self._backend = backend
        self._eol = eol
        self._line = line
        self._number = next(_numbers)
        self._inbox = Inbox()
        self._owner: Owner | None = None
        self._lost = "not open"

    async def open(self, deadline_ns: int) -> None:
        """Open the resource, in a new process where its board has none."""
        await self.close()
        self._owner = acquire(self._backend, self._resource)
        self._lost = ""
        try:
            answer = await self._ask("open", deadline_ns, facts=self._facts())
        except LinkTimeout:
            if self._owner is not None and self._owner.starting:
                self._leave(self._owner)
                raise LinkTimeout(f"{self._resource}: its VISA library is still being loaded") from None
            await self.close()
            raise
        except BaseException:
            await self.close()
            raise
        self.can_clear = answer.head["clears"]

    async def close(self) -> None:
        """Close the resource; the last one of a board ends its process."""
        owner, self._owner = self._owner, None
        self._lost = "not open"
        self._inbox.empty()
        if owner is None:
            return
        closing = owner.ask({"op": "close", "link": self._number}, b"", time.monotonic_ns() + int(_CLOSING_S * NS))
        try:
            await asyncio.wait([closing], timeout=_CLOSING_S)
        finally:
            await release(owner)

    def _leave(self, owner: Owner) -> None:
        """Let a process go on starting: ended after each attempt, a slow one would never be there."""
        self._owner, self._lost = None, "not open"
        leave(owner)

    async def write(self, data: bytes, deadline_ns: int) -> Stamp:
        """Send all of `data` as one message.

        Raises:
            LinkDesync: bytes that nobody asked for were waiting on a SOCKET or ASRL resource, where `unread` cannot
                see them; nothing was sent, and they are gone. Else as Transport.write.
        """
        answer = await self._ask("write", deadline_ns, data)
        return Stamp(*answer.head["asked"])

    async def read(self, cut: Cut, deadline_ns: int) -> Received:
        """Wait for one whole reply. As Transport.read."""
        while (reply := self._inbox.take(cut)) is None:
            self._keep(await self._ask("read", deadline_ns))
        return reply

    def unread(self) -> bytes:
        """Take out what came behind the cut or after a cancelled read."""
        return self._inbox.empty()

    async def clear(self, deadline_ns: int) -> None:
        """Device clear: the instrument drops what it has not sent."""
        if not self.can_clear:
            raise LinkClosed(f"{self._resource}: this kind of resource has no device clear")
        await self._ask("clear", deadline_ns)
        self._inbox.empty()

    def _facts(self) -> Head:
        line = self._line and {
            "baud": self._line.baud,
            "data_bits": self._line.data_bits,
            "parity": self._line.parity,
            "stop_bits": str(self._line.stop_bits),
            "xonxoff": self._line.xonxoff,
            "rtscts": self._line.rtscts,
        }
        return {"resource": self._resource, "end": self._eol[-1], "line": line}

    async def _ask(self, op: str, deadline_ns: int, body: bytes = b"", facts: Head | None = None) -> Answer:
        """Have the child do something. Raises LinkError."""
        if self._owner is None or self._lost:
            raise LinkClosed(f"{self._resource}: {self._lost}")
        owner = self._owner
        coming = owner.ask({"op": op, "link": self._number, **(facts or {})}, body, deadline_ns)
        try:
            async with asyncio.timeout_at(deadline_ns / NS + 2 * GRACE_S):
                answer = await asyncio.shield(coming)
        except asyncio.CancelledError:
            if op == "read":
                coming.add_done_callback(lambda done: self._keep_late(owner, done))
            raise
        except TimeoutError:
            raise LinkTimeout(f"{self._resource}: its board is busy with another instrument") from None
        except LinkError as error:
            self._lost = str(error)
            raise
        return self._judged(answer)

    def _judged(self, answer: Answer) -> Answer:
        """Return an answer that went well. Raises LinkError for any other."""
        outcome, body = answer.head["outcome"], answer.body
        if outcome == "done":
            return answer
        text = f"{self._resource}: {answer.head['text']}"
        if outcome == "timeout":
            partial = self._inbox.empty() + body
            raise LinkTimeout(f"{text}{', only ' + quoted(partial) + ' came' if partial else ''}", partial)
        if outcome == "flooded":
            raise LinkFlooded(text, body[:KEPT_PARTIAL])
        if outcome == "unasked":
            raise LinkDesync(f"{text}: {quoted(body)}. Nothing was asked.", body)
        if outcome == "closed":
            self._lost = answer.head["text"]
        raise LinkClosed(text)

    def _keep(self, answer: Answer) -> None:
        """Put what was read into the inbox, with the interval in which it came."""
        facts, data = answer.head, answer.body
        silent = Stamp(*facts["before"])
        if data:
            self._inbox.put(data, silent, Stamp(*facts["first"]), Stamp(*facts["last"]))

    def _keep_late(self, owner: Owner, done: asyncio.Future[Answer]) -> None:
        """Keep the reply to a cancelled read for `unread`."""
        if owner is self._owner and not done.cancelled() and done.exception() is None:
            answer = done.result()
            if answer.head["outcome"] == "done":
                self._keep(answer)
            elif answer.head["outcome"] == "closed":
                self._lost = answer.head["text"]

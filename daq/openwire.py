"""Plays dialogues on an open wire: writes, reads, stamps, keeps every exchange, notices bytes nobody asked for.

Knows one transport and one rule: before a question is sent nothing may have arrived, and behind its answer nothing may
be left. Whether the wire is dirty is remembered here; what is then done about it is the line's business.

    line -> OpenWire.speak(dialogue) -> transport -> Spoken (result or failure, exchanges)
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Generic, Literal, TypeVar

from daq.clock import Bell, Clock
from daq.core.dialogue import Action, Again, Ask, Dialogue, Pause, Quiet, Replied, Tell
from daq.core.errors import LinkClosed, LinkDamaged, LinkDesync, LinkError, LinkFlooded, LinkTimeout, ReplyError, quoted
from daq.core.modbus import are_frames
from daq.core.observation import NS, Exchange, Stamp
from daq.core.owed import Owed
from daq.core.unchanging import unchanging
from daq.transports import Direct, Received, Transport

OPEN_NS = 5 * NS
"""Longest time for opening an address."""

SHORT_QUIET_NS = NS // 10
"""After a barrier, and after opening: nothing more may come for so long."""

BANNER_NS = NS
"""How long an instrument that greets on connect may take to begin."""

JOIN_NS = NS // 2
"""After opening a wire on which somebody talks unasked: what comes so soon may be what a serial-device server had kept
while nobody was connected, lines of any age."""

QUIET_ROUNDS = 5
"""A wire that speaks in so many quiets in a row will not become quiet."""

T = TypeVar("T")
Tap = Callable[[Literal["sent", "came"], bytes, Stamp], None]
"""Called with all bytes that pass, as they pass; must neither block nor raise."""


@unchanging
class Asked:
    """A question that was sent ahead of its dialogue, which is to take it from there.

    Args:
        request: as it was sent, and as the dialogue will put it.
        sent: how many of its bytes.
        at: just before the first of them.
        link: where; what came since is still there to be read.
    """

    request: bytes
    sent: int
    at: Stamp
    link: Direct


@unchanging
class Spoken(Generic[T]):
    """What came of a dialogue.

    Args:
        result: None where it failed.
        failed: what went wrong, None where nothing did.
        exchanges: all of them, in order.
        extra: bytes that lay behind the last answer, answers to earlier questions left out where each names its own.
    """

    result: T | None
    failed: LinkError | ReplyError | None
    exchanges: tuple[Exchange, ...]
    extra: bytes = b""


class _Minutes:
    """The record of one dialogue: exchanges, and the question whose answer is not accepted yet."""

    __slots__ = ("asked", "asked_ns", "begun_ns", "deadline_ns", "exchanges", "last", "sent", "stamp", "who")

    def __init__(self, who: str, sent: Asked | None) -> None:
        self.who = who
        self.sent = sent  # the first question, where that was sent ahead
        self.exchanges: list[Exchange] = []
        self.begun_ns: int | None = None
        self.asked: Ask | None = None
        self.stamp: Stamp | None = None  # of the write; None while listening
        self.asked_ns = 0
        self.deadline_ns = 0
        self.last: Replied | None = None

    def ask(self, question: Ask, now: Stamp) -> None:
        self.asked, self.last = question, None
        self.stamp = now if question.request else None
        self.asked_ns = now.mono_ns
        self.begun_ns = self.begun_ns or now.mono_ns
        self.deadline_ns = now.mono_ns + question.within_ns

    def heard(self, replied: Replied) -> None:
        """Keep a reply; one that nobody asked for began when the wire was last seen silent."""
        self.last = replied
        if self.stamp is None:
            self.asked_ns = replied.not_before.mono_ns
            self.begun_ns = self.begun_ns if self.exchanges else self.asked_ns

    def told(self, command: Tell, asked_ns: int) -> None:
        self.begun_ns = self.begun_ns or asked_ns
        self.exchanges.append(Exchange(command.request, b"", self._at_s(asked_ns), None))

    def unasked(self, data: bytes, seen_ns: int, *, binary: bool = False) -> None:
        self.exchanges.append(Exchange(b"", data, self._at_s(seen_ns), None, binary))

    def discard(self) -> None:
        """The answer was somebody else's; the question stays open."""
        if self.last is not None and self.asked is not None:
            self.unasked(self.last.data, self.last.last.mono_ns, binary=self.asked.binary)
            self.last = None

    def settle(self, partial: bytes = b"") -> None:
        """Write down the question that was open, with its answer or what came of it."""
        question, self.asked = self.asked, None
        if question is None:
            return
        got, rtt_s = partial, None
        if self.last is not None:
            got, rtt_s = self.last.data, (self.last.last.mono_ns - self.asked_ns) / NS
        self.exchanges.append(Exchange(question.request, got, self._at_s(self.asked_ns), rtt_s, question.binary))

    def _at_s(self, mono_ns: int) -> float:
        return 0.0 if self.begun_ns is None else (mono_ns - self.begun_ns) / NS


def _anything(got: bytes | bytearray) -> int:
    """Cut whatever is there."""
    return len(got)


class OpenWire:
    """One transport and what is known of the state of its wire.

    Args:
        byte_ns: how long one byte takes on a serial line, 0 on a socket.
        stopping: ends quiets and pauses early.
    """

    def __init__(self, transport: Transport, clock: Clock, stopping: Bell, byte_ns: int = 0) -> None:
        self.dirty: str | None = None
        """Why nothing may be believed that comes; None while the wire is clean."""
        self.is_open = False
        self.progress_mono_ns = clock.now().mono_ns
        """Until when there is no reason to worry: now, or the end of a wait that has a deadline."""
        self.reopen_heals = transport.reopen_heals
        """Whether closing drops all outstanding answers."""
        self._transport = transport
        self._clock = clock
        self._stopping = stopping
        self._byte_ns = byte_ns
        self._free_ns = 0  # when the last byte passed
        self._owed = Owed()  # answers that may still come although nobody waits for them
        self.taps: list[Tap] = []
        """Who is shown all bytes; only to be looked at."""

    @property
    def direct(self) -> Direct | None:
        """The open link where it can be used without a dialogue: a clean wire on which closing drops what is owed."""
        usable = self.is_open and self.dirty is None and self.reopen_heals and not self._byte_ns
        return self._transport.direct if usable else None

    def owes(self, request: bytes) -> bool:
        """Say whether an answer to this very question was asked for before, and may still come."""
        return self._owed.owes(request, self._clock.now().mono_ns)

    def owes_until_ns(self, who: str) -> int:
        """Return the monotonic instant from which what an instrument owes now is taken for lost."""
        return self._owed.until_ns(who, self._clock.now().mono_ns)

    def is_owed_by(self, who: str) -> bool:
        """Say whether an instrument may still answer what it was asked before."""
        return self.owes_until_ns(who) > self._clock.now().mono_ns

    def settled(self, who: str) -> None:
        """Take note that an instrument has passed its barrier: it owes nothing."""
        self._owed.settled(who)

    def tap(self, callback: Tap) -> Callable[[], None]:
        """Show all bytes to the callback from now on; call what is returned to end it."""
        self.taps.append(callback)
        return lambda: self.taps.remove(callback) if callback in self.taps else None

    # ------------------------------------------------------------ open, close, clean

    async def open(self, *, banner: bool, talks: bool = False) -> None:
        """Open the address and read a greeting away; where somebody talks unasked, read away what was kept for us.

        Raises:
            LinkError: nobody is there, or the wire cannot be made quiet.
        """
        await self._transport.open(self._deadline(OPEN_NS))
        self.is_open = True
        self._reopened()
        if banner:
            await self._read_banner()
        elif talks:
            await self.wait(self._clock.now().mono_ns + JOIN_NS)
            self._unread()
        elif not self.reopen_heals:
            await self.quiet(SHORT_QUIET_NS)
        if self._transport.can_clear:
            await self._clear()

    async def _clear(self) -> None:
        await self._transport.clear(self._deadline(OPEN_NS))
        self._owed.clear()

    async def _read_banner(self) -> None:
        try:
            received = await self._transport.read(_anything, self._deadline(BANNER_NS))
        except LinkTimeout:
            return
        except LinkDamaged:
            pass  # it is thrown away, however it came
        else:
            self._show("came", received.data, received.last)
        await self.quiet(SHORT_QUIET_NS)

    async def close(self) -> None:
        """Close; where that drops outstanding answers the wire is clean then."""
        self.is_open = False
        self._reopened()
        await self._transport.close()

    def _reopened(self) -> None:
        if self.reopen_heals:
            self.dirty = None
            self._owed.clear()

    async def clean(self, latency_ns: int) -> None:
        """Do what makes old answers impossible or brings them in; on a socket to the instrument that is to close it.

        Args:
            latency_ns: the longest that an outstanding answer may take.

        Raises:
            LinkError: the wire could not be made quiet, or is gone.
        """
        if self.reopen_heals:
            await self.close()
            return
        if self._transport.can_clear:
            await self._clear()
            latency_ns = SHORT_QUIET_NS
        await self.quiet(latency_ns)
        if not self._stopping.is_set():
            self.dirty = None

    async def quiet(self, for_ns: int) -> bytes:
        """Wait until nothing has come for so long; return what was thrown away. Raises LinkFlooded."""
        thrown = bytearray()
        for _ in range(QUIET_ROUNDS):
            if await self.wait(self._clock.now().mono_ns + for_ns):
                break
            came = self._unread()
            if not came:
                break
            thrown += came
        else:
            raise LinkFlooded("the wire does not become quiet: somebody talks without being asked", bytes(thrown))
        return bytes(thrown)

    def wait(self, until_mono_ns: int) -> Coroutine[None, None, bool]:
        """Wait for an instant; True where the stop came first."""
        self._not_stuck_until(until_mono_ns)
        return self._clock.wait(until_mono_ns, self._stopping)

    async def let_pass(self, until_mono_ns: int) -> bytes:
        """Wait for an instant or the stop; return what was thrown away."""
        await self.wait(until_mono_ns)
        return self._unread()

    # ------------------------------------------------------------ dialogues

    async def speak(
        self,
        dialogue: Dialogue[T],
        *,
        gap_ns: int,
        who: str = "",
        lenient: bool = False,
        leave_rest: bool = False,
        sent: Asked | None = None,
    ) -> Spoken[T]:
        """Play a dialogue to its end.

        Args:
            dialogue: not begun yet.
            gap_ns: shortest pause between the last byte that passed and a question.
            who: the instrument it is held with.
            lenient: bytes nobody asked for are kept for the record and otherwise ignored: the wire is being cleaned,
                or each answer names its question.
            leave_rest: what lies behind the last answer stays: the instrument talks unasked.
            sent: its first question, where that was sent ahead.
        """
        record = _Minutes(who, sent)
        result: T | None = None
        failed: LinkError | ReplyError | None = None
        try:
            action = dialogue.send(None)
            while True:
                try:
                    answer = await self._do(action, record, gap_ns, lenient)
                except LinkError as error:
                    await self._note(error, record)
                    action = dialogue.throw(error)
                else:
                    action = dialogue.send(answer)
        except StopIteration as done:
            result = done.value
        except (LinkError, ReplyError) as error:
            failed = error
        except BaseException:
            self.dirty = self.dirty or "a question was cut off before its answer"
            raise
        finally:
            dialogue.close()
        extra = b"" if leave_rest or not self.is_open else self._transport.unread()
        record.settle()
        if extra:
            self._thrown_away(extra)
            binary = bool(record.exchanges and record.exchanges[-1].binary)
            record.unasked(extra, self._clock.now().mono_ns, binary=binary)
            extra = b"" if lenient and are_frames(extra) else extra
        return Spoken(result, failed, tuple(record.exchanges), extra)

    async def _note(self, error: LinkError, record: _Minutes) -> None:
        """Write a failure of the wire down, and remember what it means for the wire."""
        partial = error.partial if isinstance(error, LinkTimeout | LinkFlooded | LinkDamaged) else b""
        if isinstance(error, LinkDesync) and error.partial:
            record.unasked(error.partial, self._clock.now().mono_ns)
        record.settle(partial)
        if partial:
            self._show("came", partial, self._clock.now())
        if isinstance(error, LinkDamaged):
            self._owed.thrown_away(partial, self._clock.monotonic_ns())  # it is the answer, damaged
        self.dirty = self.dirty or str(error)
        if isinstance(error, LinkClosed):
            await self.close()

    async def _do(self, action: Action, record: _Minutes, gap_ns: int, lenient: bool) -> Replied | Stamp | None:
        if record.sent is not None:
            return await self._take_over(action, record, record.sent)
        if isinstance(action, Ask) and action.request:
            if gap_ns:
                await self._keep_gap(gap_ns)
            deadline_ns = self._about_to_say(action, record, lenient)
            asked = await self._transport.write(action.request, deadline_ns)
            self._said(action, asked)
            record.ask(action, asked)
            if not self.reopen_heals:
                self._owed.asked(record.who, action, asked.mono_ns)
        elif isinstance(action, Again):
            record.discard()
            self._not_stuck_until(record.deadline_ns)
        elif isinstance(action, Tell):
            await self._keep_gap(gap_ns)
            told = await self._transport.write(action.request, self._about_to_say(action, record, lenient))
            self._said(action, told)
            record.told(action, told.mono_ns)
            return told
        else:
            record.settle()
            if not isinstance(action, Ask):
                await self._rest(action, record)
                return None
            record.ask(action, self._clock.now())
            self._not_stuck_until(record.deadline_ns)
        return self._taken(await self._transport.read(action.cut, record.deadline_ns), record)

    async def _take_over(self, action: Action, record: _Minutes, sent: Asked) -> Replied:
        """Go on with the question that was sent ahead. Raises LinkError."""
        assert isinstance(action, Ask), "what was sent ahead is a question"
        assert action.request == sent.request, "what was sent ahead is this very question"
        record.sent = None
        deadline_ns = sent.at.mono_ns + action.within_ns
        self._not_stuck_until(deadline_ns)
        await sent.link.say_rest(sent.request, sent.sent, deadline_ns)
        self._said(action, sent.at)
        record.ask(action, sent.at)
        return self._taken(await self._transport.read(action.cut, record.deadline_ns), record)

    async def _rest(self, action: Pause | Quiet, record: _Minutes) -> None:
        if isinstance(action, Pause):
            await self.wait(self._clock.now().mono_ns + action.for_ns)
        elif thrown := await self.quiet(action.for_ns):
            record.unasked(thrown, self._clock.now().mono_ns)

    async def _keep_gap(self, gap_ns: int) -> None:
        free_ns = self._free_ns + gap_ns
        if free_ns > self._clock.monotonic_ns():
            await self.wait(free_ns)

    def _about_to_say(self, action: Ask | Tell, record: _Minutes, lenient: bool) -> int:
        """See that nothing lies in the way; return until when it is to be said. Raises LinkDesync."""
        if record.asked is not None:
            record.settle()
        now_ns = self._clock.monotonic_ns()
        if came := self._transport.unread():
            self._thrown_away(came)
            if not lenient:
                raise LinkDesync(f"{quoted(came)} came before anybody had asked", came)
            record.unasked(came, now_ns)
        self._not_stuck_until(now_ns + action.within_ns)
        return now_ns + action.within_ns

    def _said(self, action: Ask | Tell, at: Stamp) -> None:
        self._free_ns = at.mono_ns + len(action.request) * self._byte_ns
        if self.taps:
            self._show("sent", action.request, at)

    def _taken(self, received: Received, record: _Minutes) -> Replied:
        """Enter a reply in the record. Raises LinkDesync where it came before the question."""
        asked, data, last = record.stamp or received.not_before, received.data, received.last
        if received.first.mono_ns < asked.mono_ns:
            raise LinkDesync(f"{quoted(data)} was there before anybody had asked", data)
        self._free_ns = last.mono_ns
        if self.taps:
            self._show("came", data, last)
        owed = 0 if self.reopen_heals else self._owed.came(record.who, data, last.mono_ns)
        wire_ns = len(data) * self._byte_ns
        replied = Replied(data, asked, received.not_before, received.first, last, wire_ns, owed)
        record.heard(replied)
        return replied

    def _unread(self) -> bytes:
        came = self._transport.unread()
        if came:
            self._thrown_away(came)
        return came

    def _thrown_away(self, came: bytes) -> None:
        now = self._clock.now()
        self._free_ns = now.mono_ns
        self._owed.thrown_away(came, now.mono_ns)
        self._show("came", came, now)

    def _deadline(self, within_ns: int) -> int:
        deadline_ns = self._clock.now().mono_ns + within_ns
        self._not_stuck_until(deadline_ns)
        return deadline_ns

    def _not_stuck_until(self, mono_ns: int) -> None:
        self.progress_mono_ns = max(self.progress_mono_ns, mono_ns)

    def _show(self, way: Literal["sent", "came"], data: bytes, stamp: Stamp) -> None:
        for callback in tuple(self.taps):
            callback(way, data, stamp)

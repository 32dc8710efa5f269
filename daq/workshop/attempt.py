"""Asks a real instrument all that its driver knows, once, and keeps every byte.

The conversation is that of every day (sessions, transports); only that nothing here gives up early: whoever tries a
driver wants to see each poll, also when the identity is not what the driver expects. Without `configure` it only asks.

    driver, Address -> [attempt] -> Attempt (who answers, each poll: bytes and readings) -> daq driver try, record
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from daq.clock import Bell, Clock
from daq.core.bench import Address
from daq.core.dialogue import Dialogue
from daq.core.driver import Driver, Scalar
from daq.core.errors import DaqError, LinkClosed, LinkError, nearest, quoted
from daq.core.line_settings import line_settings
from daq.core.modbus import Framing
from daq.core.observation import Exchange, Reading, Status
from daq.core.plan import InstrumentPlan, PollPlan, TextStep
from daq.openwire import OpenWire, Spoken
from daq.session import Met, Outcome, Session, failure
from daq.transports import OPENERS
from daq.workshop.entry import compiled, polls_of, streams_of, whole_entry, wiring_of

T = TypeVar("T")

ONE_STATE = "{other} asks the same, and its answer it was: the instrument is set to that one. This one said: {why}"
TALKING = "it talks by itself: nothing can be asked meanwhile. Name the poll to ask it all the same."


@dataclass(frozen=True, slots=True)
class Tried:
    """How one poll went.

    Args:
        poll: of the driver.
        plan: as it was asked.
        status: ok, or why not; `detail` in words.
        exchanges: what was sent and what came, those that entered its mode included.
    """

    poll: str
    plan: PollPlan
    status: Status
    detail: str | None
    readings: Mapping[str, Reading] = field(default_factory=dict)
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of trying a driver.

    Args:
        plan: what was asked.
        met: what the instrument said of itself; None where it did not, or is another one.
        refused: why it would not be read by a bench, in words; None where nothing stands against it.
        exchanges: of the introduction.
        tried: the polls, in the order of the driver.
        settings: in force for the polls.
        framing: of registers; None for text.
    """

    plan: InstrumentPlan
    met: Met | None
    refused: str | None
    exchanges: tuple[Exchange, ...]
    tried: tuple[Tried, ...]
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    framing: Framing | None = None

    @property
    def all_ok(self) -> bool:
        """Whether a bench could read it all; who talks cannot be asked, and says only one kind of line at a time."""
        statuses = {one.status for one in self.tried}
        return self.refused is None and Status.OK in statuses and statuses <= {Status.OK, Status.SKIPPED}


async def attempt(
    driver: Driver,
    at: Address,
    clock: Clock,
    *,
    name: str,
    configure: bool = False,
    polls: Collection[str] | None = None,
    settings: Mapping[str, Scalar] | None = None,
) -> Attempt:
    """Ask who answers, then each poll once.

    Args:
        driver: of the instrument.
        at: where it is.
        clock: time.
        name: of the driver, for messages.
        configure: also set it up, and enter the modes that polls need; else only ask.
        polls: which; None for all.
        settings: for whatever knows them: polls, modes, setup.

    Raises:
        ConfigError: driver, address and settings do not go together.
        DaqError: the driver has no such poll.
    """
    for poll in polls or ():
        if poll not in polls_of(driver):
            raise DaqError(f"no poll {poll!r}. {nearest(poll, polls_of(driver))}")
    wanted = whole_entry(driver, at, polls=polls, settings=settings or {}, named=name)
    plan = replace(compiled(driver, wanted), configure=configure)
    wiring = wiring_of(driver, wanted)
    byte_ns = line_settings(wiring.wire.line).byte_ns if wiring.wire.line is not None else 0
    wire = OpenWire(OPENERS[wiring.wire.kind](wiring.wire, clock), clock, Bell(), byte_ns)
    talk = _Talk(wire, Session(plan, wiring.framing))
    try:
        await wire.open(banner=plan.banner, talks=bool(streams_of(driver)))
        return replace(await talk.all(alone=polls is not None), settings=dict(settings or {}), framing=wiring.framing)
    except LinkError as error:
        return Attempt(plan, None, str(error), (), ())
    finally:
        await wire.close()


class _Talk:
    """The conversation with one instrument on a wire of its own."""

    def __init__(self, wire: OpenWire, session: Session) -> None:
        self._wire = wire
        self._session = session
        self._plan = session.plan

    async def all(self, *, alone: bool) -> Attempt:
        """Go through everything; `alone`: the polls were named, so they are asked even of one who talks."""
        met = await self._speak(self._session.connect(), lenient=True)
        await self._mend()
        tried = []
        if not isinstance(met.failed, LinkClosed):
            tried = await self._listen()
            talks = any(one.status is Status.OK for one in tried) and not alone
            for poll in self._session.polls:
                tried.append(Tried(poll.source, poll, Status.SKIPPED, TALKING) if talks else await self._ask(poll))
            await self._speak(self._session.teardown(), lenient=True)
            tried = [_set_otherwise(one, tried) for one in tried]
        refused = None if met.failed is None else str(met.failed)
        return Attempt(self._plan, met.result, refused, met.exchanges, tuple(tried))

    async def _ask(self, poll: PollPlan) -> Tried:
        try:
            await self._reopen()
        except LinkError as error:
            return Tried(poll.source, poll, Status.DISCONNECTED, str(error))
        spoken = await self._speak(self._session.poll(poll))
        outcome = _outcome(spoken)
        if outcome.lost_track:
            self._wire.dirty = self._wire.dirty or outcome.detail
        await self._mend()
        return Tried(poll.source, poll, outcome.status, outcome.detail, outcome.readings, spoken.exchanges)

    async def _listen(self) -> list[Tried]:
        """Take as many lines as there are streams; a stream of which none came is skipped if another did."""
        heard: dict[str, Tried] = {}
        for _ in self._session.streams:
            spoken = await self._speak(self._session.listen(), lenient=True, leave_rest=True)
            if spoken.result is not None:
                stream, outcome = spoken.result
                one = Tried(stream.source, stream, outcome.status, outcome.detail, outcome.readings, spoken.exchanges)
                if stream.source not in heard or one.status is Status.OK:
                    heard[stream.source] = one
            if not self._wire.is_open or any(one.status is Status.TIMEOUT for one in heard.values()):
                break
        self._wire.dirty = None  # lines find back to each other by their endings
        nothing = "no line of this kind came"
        return [
            heard.get(stream.source) or Tried(stream.source, stream, Status.SKIPPED, nothing)
            for stream in self._session.streams
        ]

    async def _speak(self, dialogue: Dialogue[T], *, lenient: bool = False, leave_rest: bool = False) -> Spoken[T]:
        return await self._wire.speak(
            dialogue, who=self._plan.name, gap_ns=self._plan.gap_ns, lenient=lenient, leave_rest=leave_rest
        )

    async def _mend(self) -> None:
        """Clean the wire where it lost track, so that the next poll is judged for itself."""
        if self._wire.dirty is None or not self._wire.is_open:
            return
        try:
            await self._wire.clean(self._plan.latency_ns)
        except LinkError:
            await self._wire.close()

    async def _reopen(self) -> None:
        if not self._wire.is_open:
            self._session.forget()
            await self._wire.open(banner=self._plan.banner)
            self._wire.dirty = None


def _set_otherwise(one: Tried, tried: Sequence[Tried]) -> Tried:
    """Skip a poll whose questions another one asks too, and could read: an instrument is in one state at a time."""
    if one.status is not Status.PROTOCOL:
        return one
    mine = _questions(one.plan)
    alike = [each for each in tried if each.status is Status.OK and each.plan.mode == one.plan.mode]
    other = next((each.poll for each in alike if mine and mine <= _questions(each.plan)), None)
    if other is None:
        return one
    return replace(one, status=Status.SKIPPED, detail=ONE_STATE.format(other=other, why=one.detail))


def _questions(plan: PollPlan) -> set[bytes]:
    return {step.ask for step in plan.steps if isinstance(step, TextStep)} - {b""}


def _outcome(spoken: Spoken[Outcome]) -> Outcome:
    """Judge a poll with what lay behind its last answer."""
    outcome = spoken.result
    if outcome is None:
        assert spoken.failed is not None, "a dialogue has a result or has failed"
        return failure(spoken.failed)
    if not spoken.extra or outcome.lost_track:
        return outcome
    cure = "Where it always does, as a prompt, it belongs into link.eol, behind the end of the line"
    return Outcome(Status.DESYNC, f"{quoted(spoken.extra)} came behind the answer. {cure}", lost_track=True)

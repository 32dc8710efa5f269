"""One wire, one task: asks what is due, earliest deadline first, and believes nothing that comes from a dirty wire.

A party is an instrument on the wire. It is ready when it is connected and not suspect; only the ready are polled.
Whatever makes an answer doubtful ends the party's readiness and makes the wire dirty, and the wire is cleaned before
anything else is asked:

    socket to the instrument    close; every party connects anew
    VISA                        device clear; the failed party connects anew, the others pass a barrier
    serial, serial server       quiet for the longest latency; on text wires all are suspect, on register wires the one
                                that failed; a suspect passes its barrier, or without one has only the quiet behind it.
                                Where text instruments share a wire nothing says whose an answer is: one that comes
                                later than time-out and quiet together could be taken for a neighbour's
    Modbus TCP, several units   nothing: each answer carries the number of its question

Slots that cannot be asked are accounted for with the status of what keeps them from being asked. The longest single
hold of a shared wire by a unit that is dead: its latency as time-out, and its latency again in quiet.

    Queue (what is due) -> session (dialogue) -> OpenWire -> Outcome -> Ledger -> Observation
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from daq.clock import Bell, Clock
from daq.core.errors import DaqError, LinkClosed, LinkDesync, LinkError, WrongInstrument, WrongState
from daq.core.health import Breaker, Contact, Share, one_slot
from daq.core.observation import NS, OK, Exchange, Stamp, Status
from daq.core.outcome import judged
from daq.core.schedule import Anchor, Grid, Queue, Step, Turn
from daq.ledger import Ledger
from daq.listening import Listening
from daq.openwire import SHORT_QUIET_NS, Asked, OpenWire, Tap
from daq.parties import AWAY, MISSED, NOT_YET, STOPPED, Item, Outlets, Party, Scene, because_of, inside, joined, party
from daq.session import Outcome, Session, failure
from daq.steady import LONGEST_SLEEP_NS, Steady
from daq.transports import Direct, Transport

__all__ = ["Line", "Outlets"]

log = logging.getLogger(__name__)

TEARDOWN_NS = NS
"""Longest time for leaving the instruments in peace."""


class Line:
    """The open connection to the instruments of one wire, and the task that owns it.

    Args:
        name: of the wire; names the task, `line[name]`.
        sessions: at least one; a talker has the wire for itself.
        phases: (instrument, poll) -> phase of its slots, ns; else the bench file's, else 0.
        since: (instrument, poll) -> until when its slots are accounted for, mono ns; else they begin now.
        byte_ns, silence_ns: how long a byte takes on a serial line; its least pause before a question. 0 on a socket.
        numbered: every answer carries the number of its question (Modbus TCP).
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        sessions: Sequence[Session],
        clock: Clock,
        outlets: Outlets,
        *,
        phases: Mapping[tuple[str, str], int] | None = None,
        since: Mapping[tuple[str, str], int] | None = None,
        byte_ns: int = 0,
        silence_ns: int = 0,
        numbered: bool = False,
    ) -> None:
        now = clock.now()
        self.accounted_mono_ns = now.mono_ns - 1
        """Until when every slot is accounted for: since it was made as `run` begins, and once `run` has returned."""
        self.name = name
        self.parties = {session.plan.name: party(session, now, silence_ns) for session in sessions}
        self.items: dict[str, Item] = {}
        self._clock = clock
        self._why_held = outlets.held
        self._stopping = Bell()
        self._wire = OpenWire(transport, clock, self._stopping, byte_ns)
        self._ledger = Ledger(clock, outlets, self.items)
        self._listening = Listening(name, self._wire, self._ledger, self.items, clock, self._stopping)
        self._share = Share(now.mono_ns) if len(sessions) > 1 else None
        self._queue = Queue(Anchor.of(now))
        self._numbered = numbered and len(sessions) > 1
        self._registers = all(session.plan.speaks == "registers" for session in sessions)
        self._talkers = [each for each in self.parties.values() if each.session.streams]
        self._met_ns = 0  # when a party was last met, or tried to be
        for each in self.parties.values():
            self._take_in(each, phases or {}, since or {}, now.mono_ns)
        self._steady = self._steadily_served(outlets)

    def _steadily_served(self, outlets: Outlets) -> Steady | None:
        """Return what serves the slots of one instrument that is only asked, on a wire of its own; None for others."""
        alone = next(iter(self.parties.values()))
        if len(self.parties) > 1 or self._talkers or alone.gap_ns or not alone.session.shortcuts:
            return None
        return Steady(alone, self.items, self._wire, self._ledger, self._queue, self._clock, outlets)

    def _take_in(
        self,
        party: Party,
        phases: Mapping[tuple[str, str], int],
        since: Mapping[tuple[str, str], int],
        now_mono_ns: int,
    ) -> None:
        for plan in party.session.plan.polls:
            key = f"{party.name}/{plan.name}"
            self.items[key] = Item(key, party, plan, Breaker(key).connected())
            if plan.every_ns is not None:
                phase_ns = phases.get((party.name, plan.name), plan.phase_ns or 0)
                begun_ns = since.get((party.name, plan.name), now_mono_ns - 1) + 1
                self._queue.add(key, Grid(plan.every_ns, phase_ns), begun_ns)

    # ------------------------------------------------------------ for the station

    @property
    def progress_mono_ns(self) -> int:
        """Until when there is no reason to worry, on the monotonic clock; the watchdog compares it with now."""
        return self._wire.progress_mono_ns

    def tap(self, callback: Tap) -> Callable[[], None]:
        """Show all bytes that pass; call what is returned to end it."""
        return self._wire.tap(callback)

    def follow(self, anchor: Anchor) -> None:
        """Take the anchor of this second."""
        self._queue.follow(anchor)

    def clock_stepped(self, step: Step) -> None:
        """Go on by the clock as it is now; slots owed by the old one are missed, and no run of failures spans it."""
        for key, owed in self._queue.step(step).items():
            self._ledger.failed(self.items[key], MISSED, owed)
        self._ledger.close()

    async def run(self) -> None:
        """Serve the wire until `stop`. May be entered again after it has raised: all instruments connect anew."""
        self._begin()
        self._give_up_slots(AWAY, self.accounted_mono_ns)
        try:
            while not self._stopping.rung:
                if (step := self._next()) is not None:
                    await step
            self._give_up_slots(STOPPED, self._clock.now().mono_ns)
            await self._tear_down()
        except asyncio.CancelledError:  # it did not stop in time, as with an instrument that hangs
            self._give_up_slots(STOPPED, self._clock.now().mono_ns)
            raise
        finally:
            await self._wire.close()

    def stop(self) -> None:
        """End scheduling; `run` returns when the exchange in flight has ended and the instruments are left in peace."""
        self._stopping.set()
        self._listening.stop()

    async def once(self) -> None:
        """Connect and ask each poll once, in the order of the file and without a schedule; then leave."""
        self._begin()
        try:
            for item in self.items.values():
                if not item.party.ready and item.party.breaker.may_try(self._clock.now().mono_ns):
                    await self._meet(item.party)
                await self._ask_once(item)
            self._ledger.close()
            await self._tear_down()
        finally:
            await self._wire.close()

    async def _ask_once(self, item: Item) -> None:
        now = self._clock.now()
        if not item.party.ready:
            self._ledger.failed(item, item.party.cause, one_slot(now.utc_ns), item.party.cause_exchanges)
        elif item.plan.every_ns is None:
            await self._listening.hear(item.party)
        else:
            await self._ask(item, now.utc_ns, now)

    def _begin(self) -> None:
        for each in self.parties.values():
            each.connected, each.suspect = False, not self._wire.reopen_heals
            self._ledger.present(each)

    def _give_up_slots(self, why: Outcome, until_mono_ns: int) -> None:
        """Account for what was due by then and will not be asked."""
        self.accounted_mono_ns = until_mono_ns
        for item in self.items.values():
            if item.plan.every_ns is not None:
                owed = self._queue.pass_over(item.key, until_mono_ns)
                if owed is not None:
                    self._ledger.failed(item, why, owed)
        self._ledger.close()

    async def _tear_down(self) -> None:
        """Tell the instruments what their drivers want told before leaving."""
        ready = [each for each in self.parties.values() if each.ready and self._wire.is_open]
        try:
            async with asyncio.timeout(TEARDOWN_NS / NS):
                for each in ready:
                    await self._wire.speak(each.session.teardown(), who=each.name, gap_ns=each.gap_ns, lenient=True)
        except TimeoutError:
            log.warning("line[%s]: teardown took longer than %d s; left as it is", self.name, TEARDOWN_NS // NS)

    # ------------------------------------------------------------ what next

    def _next(self) -> Awaitable[object] | None:
        """Return what is next: to meet one party, or serve one slot, or listen for one line, or wait; None: go on.

        Meeting and serving do not starve. Not awaited in here: what waits is resumed through everybody who awaits it.
        """
        now_ns = self._clock.monotonic_ns()
        if self._ledger.runs.lasting:
            self._ledger.remind(now_ns)
        unready = [each for each in self.parties.values() if not each.ready]
        unmet = self._to_be_met(unready, now_ns) if unready else None
        if unmet is not None and not self._behind():
            return self._meet(unmet)
        if self._steady is not None and not unready and (link := self._wire.direct) is not None:
            return self._go_steadily(self._steady, link)
        turn = self._queue.take(now_ns)
        if turn is not None:
            return self._serve(turn, self._clock.now())
        if self._talkers and (talker := next((each for each in self._talkers if each.ready), None)) is not None:
            return self._listening.hear(talker)
        return self._wire.wait(self._wake_ns(unready, now_ns))

    def _to_be_met(self, unready: Sequence[Party], now_ns: int) -> Party | None:
        """Return the party to be tried: first those that only suffer from a neighbour, then who has waited longest."""
        may = [each for each in unready if self._try_ns(each, now_ns) <= now_ns]
        return min(may, key=lambda each: (each.breaker.contact is not Contact.UP, each.breaker.retry_ns), default=None)

    def _try_ns(self, party: Party, now_ns: int) -> int:
        """Return when a party that is not ready may be tried: its back-off is over and the wire can afford it.

        The share is for those that fail themselves; who has to prove itself for a neighbour's sake does not wait.
        """
        at_ns = now_ns if party.breaker.may_try(now_ns) else party.breaker.retry_ns
        if self._share is None or party.breaker.contact is Contact.UP:
            return at_ns
        return max(at_ns, self._share.free_ns(now_ns, party.cost_ns))

    def _behind(self) -> bool:
        """Say whether slots wait that came due while a party was met: they come first, what is due later does not."""
        wake_ns = self._queue.wake_ns()
        return wake_ns is not None and wake_ns <= self._met_ns and any(each.ready for each in self.parties.values())

    def _wake_ns(self, unready: Sequence[Party], now_ns: int) -> int:
        slot_ns, latest_ns = self._queue.wake_ns(), now_ns + LONGEST_SLEEP_NS
        wake_ns = latest_ns if slot_ns is None else min(slot_ns, latest_ns)
        return min(wake_ns, *[self._try_ns(each, now_ns) for each in unready]) if unready else wake_ns

    # ------------------------------------------------------------ slots

    def _serve(self, turn: Turn, now: Stamp) -> Awaitable[object] | None:
        """Ask for one slot where its instrument is ready; account for it, and for those missed before it, where not."""
        item = self.items[turn.poll]
        if not item.party.ready:
            self._ledger.failed(item, item.party.cause, joined(turn.missed, turn.due_ns), item.party.cause_exchanges)
            return None
        held = self._why_held()
        resting = Outcome(Status.SKIPPED, held) if held is not None else self._resting(item, now.mono_ns)
        if resting is not None:
            self._ledger.failed(item, resting, joined(turn.missed, turn.due_ns))
            return None
        if turn.missed is not None:
            self._ledger.failed(item, MISSED, turn.missed)
            self._ledger.judge(item.party, item.plan.name, MISSED)
        return self._ask(item, turn.due_ns, now)

    async def _go_steadily(self, steady: Steady, link: Direct) -> None:
        """Have slots served while all is as usual, and serve the first that is not."""
        left = await steady.run(link, self._stopping)
        if left is None:
            return
        if left.asked is not None:
            await self._ask(self.items[left.turn.poll], left.turn.due_ns, left.asked.at, left.asked, left.scene)
        elif (serving := self._serve(left.turn, self._clock.now())) is not None:
            await serving

    def _resting(self, item: Item, now_ns: int) -> Outcome | None:
        """Say why a poll of a ready party is left alone: it brings nothing, too often or at too high a cost."""
        if item.cause is None:
            return None
        cost_ns = item.cost_ns if item.breaker.contact is Contact.UP else item.party.cost_ns
        affordable = self._share is None or self._share.may_spend(now_ns, cost_ns)
        return None if item.breaker.may_try(now_ns) and affordable else item.cause

    async def _ask(
        self, item: Item, due_ns: int, begun: Stamp, sent: Asked | None = None, scene: Scene | None = None
    ) -> None:
        """Ask a poll of a ready party, enter its outcome, and clean up behind it.

        Args:
            item: the poll.
            due_ns: its slot, UTC.
            begun: now, or when the question was sent.
            sent: its question, where that was sent ahead, and counted.
            scene: what held when that was sent.
        """
        if sent is None:
            item.counts.note_asked(begun.utc_ns - due_ns)
        scene = scene or self._ledger.scene(item.party)
        dialogue, gap_ns = item.party.session.poll(item.plan, begun.mono_ns), item.party.gap_ns
        try:
            spoken = await self._wire.speak(
                dialogue, who=item.party.name, gap_ns=gap_ns, lenient=self._numbered, sent=sent
            )
        except BaseException as error:
            self._ledger.failed(item, inside(error), one_slot(due_ns), scene=scene)
            raise
        outcome = judged(spoken.result, spoken.failed, spoken.extra)
        if item.party.session.met is not item.party.described:
            self._ledger.describe(item.party)
        if scene.info != item.party.info:  # the settings of its mode may have been read back with it
            scene = replace(scene, info=item.party.info)
        if outcome.status is OK:
            self._ledger.answered(item, outcome, due_ns, spoken.exchanges, scene)
            item.cause, item.breaker = None, item.breaker.answered()
        else:
            self._ledger.failed(item, outcome, one_slot(due_ns), spoken.exchanges, scene)
            self._ledger.changed(item, outcome, begun)
        self._ledger.judge(item.party, item.plan.name, outcome)
        if outcome.status is not OK:
            await self._follow_up(item, outcome, begun.mono_ns)

    async def _follow_up(self, item: Item, outcome: Outcome, begun_ns: int) -> None:
        """Let a poll that brought nothing count for what is asked next."""
        item.cause = outcome
        silent = outcome.lost_track or outcome.not_reached
        item.breaker = item.breaker.failed(self._clock.now().mono_ns) if silent else item.breaker.answered()
        if outcome.status is Status.PROTOCOL and item.party.session.plan.only_time_heals:
            self._wire.settled(item.party.name)  # it did answer; what was damaged does not come again
        if outcome.lost_track:
            self._ledger.lost_track(item.party, item.plan.name, outcome.detail or outcome.status)
            await self._distrust(item.party, outcome)
        elif outcome.not_reached:
            item.party.connected, item.party.cause, item.party.cause_exchanges = False, outcome, ()
        item.cost_ns = self._pay(begun_ns)

    def _pay(self, begun_ns: int) -> int:
        """Let what brought nothing count for the wire's share; return how long it held the wire."""
        now_ns = self._clock.now().mono_ns
        if self._share is not None:
            self._share.spent(now_ns, now_ns - begun_ns)
        return now_ns - begun_ns

    # ------------------------------------------------------------ clean and dirty

    async def _distrust(self, party: Party, outcome: Outcome) -> None:
        """Take the party's readiness away, and that of all whose answers may now be mixed up; clean the wire."""
        party.cause = outcome
        party.connected, party.suspect = False, party.suspect or not self._wire.reopen_heals
        if self._numbered and self._wire.is_open and outcome.status is Status.TIMEOUT:
            self._wire.dirty = None
            party.suspect = False
            return
        self._wire.dirty = self._wire.dirty or outcome.detail or outcome.status
        if self._wire.is_open and not self._stopping.is_set():
            await self._clean(party.session.plan.latency_ns)
        if not self._wire.is_open or not self._registers:
            self._suspect_all(party, outcome)

    def _suspect_all(self, culprit: Party, outcome: Outcome) -> None:
        """Nobody on this wire is believed until it has proved itself again."""
        for each in self.parties.values():
            if each.ready:
                each.cause, each.cause_exchanges = because_of(culprit, outcome), ()
            each.suspect = not self._wire.reopen_heals
            each.connected = each.connected and self._wire.is_open

    async def _clean(self, latency_ns: int) -> None:
        try:
            await self._wire.clean(latency_ns)
        except LinkError:
            await self._wire.close()

    async def _meet(self, party: Party) -> None:
        """Make a party ready: open and clean the wire, pass the barrier, connect. What fails becomes its cause."""
        begun_ns = self._clock.now().mono_ns
        try:
            await self._open()
        except LinkError as error:
            await self._unopened(error)
        else:
            party.breaker = party.breaker.connected()
            failed, exchanges = await self._approach(party)
            if failed is None:
                self._welcome(party)
            else:
                await self._turn_away(party, failed, exchanges)
        if not party.ready:
            self._pay(begun_ns)
        self._met_ns = self._clock.monotonic_ns()

    async def _open(self) -> None:
        """Have the wire open and clean. Raises LinkError."""
        latency_ns = max(each.session.plan.latency_ns for each in self.parties.values())
        if self._wire.is_open and self._wire.dirty is not None:
            await self._clean(latency_ns)
        if self._wire.is_open:
            return
        greets = any(each.session.plan.banner for each in self.parties.values())
        await self._wire.open(banner=greets, talks=bool(self._talkers))
        for each in self.parties.values():
            each.connected, each.suspect = False, not (self._wire.reopen_heals or self._talkers)
        blind = any(each.suspect and each.session.plan.barrier is None for each in self.parties.values())
        if self._wire.dirty is not None or blind:
            await self._wire.clean(latency_ns)

    async def _unopened(self, error: LinkError) -> None:
        """Nobody can be reached: all wait."""
        await self._wire.close()
        outcome = failure(error)
        for each in self.parties.values():
            each.connected, each.cause, each.cause_exchanges = False, outcome, ()
            each.breaker = each.breaker.lost(self._clock.now().mono_ns)
            self._count_absent(each, outcome)

    async def _approach(self, party: Party) -> tuple[DaqError | None, tuple[Exchange, ...]]:
        """Pass the barrier, then connect; return what failed, and the exchanges that show it."""
        gap_ns = party.gap_ns
        if party.suspect:
            if party.session.plan.only_time_heals and self._wire.is_owed_by(party.name):
                return LinkDesync("an answer is still owed, and nothing it says tells that one from the next"), ()
            passed = await self._wire.speak(
                party.session.barrier(self._wire.owes), who=party.name, gap_ns=gap_ns, lenient=True
            )
            if passed.failed is not None:
                return passed.failed, passed.exchanges
            try:
                await self._wire.quiet(SHORT_QUIET_NS)
            except LinkError as error:
                return error, passed.exchanges
            party.suspect = False
            self._wire.settled(party.name)
        if party.connected:
            return None, ()
        met = await self._wire.speak(party.session.connect(), who=party.name, gap_ns=gap_ns, lenient=True)
        party.connected = met.failed is None
        return met.failed, met.exchanges

    def _welcome(self, party: Party) -> None:
        """The party is ready."""
        party.cause, party.cause_exchanges = NOT_YET, ()
        self._ledger.recognise(party)
        if party.session.answers_on_connect:
            party.breaker = party.breaker.answered()
            self._ledger.judge(party, "connect", Outcome(Status.OK))
        else:
            self._ledger.forgive(party, "connect")

    async def _turn_away(self, party: Party, failed: DaqError, exchanges: tuple[Exchange, ...]) -> None:
        """The party is not ready, and why; one that is wrong or gone is left alone, others are tried again at once."""
        outcome = failure(failed)
        now_ns = self._clock.now().mono_ns
        told = isinstance(failed, WrongInstrument) and party.cause.detail == outcome.detail
        gone = isinstance(failed, LinkClosed | WrongInstrument | WrongState)
        party.breaker = party.breaker.lost(now_ns) if gone else party.breaker.failed(now_ns)
        if isinstance(failed, LinkDesync):  # left alone until what it owes is taken for lost
            party.breaker = replace(party.breaker.lost(now_ns), retry_ns=self._wire.owes_until_ns(party.name))
        party.cause, party.cause_exchanges = outcome, exchanges
        if isinstance(failed, WrongInstrument) and not told:
            self._ledger.announce("wrong_instrument", instrument=party.name, why=str(failed))
        self._count_absent(party, outcome)
        if outcome.lost_track:
            await self._distrust(party, outcome)
            party.cause_exchanges = exchanges
        if all(each.breaker.contact is Contact.DOWN for each in self.parties.values()):
            await self._wire.close()
            self._suspect_all(party, outcome)

    def _count_absent(self, party: Party, outcome: Outcome) -> None:
        """Let a vain attempt count; a talker, which has no slots, has an observation of its own for it."""
        self._ledger.judge(party, "connect", outcome)
        for plan in party.session.streams[:1]:
            self._ledger.failed(self.items[f"{party.name}/{plan.name}"], outcome, one_slot(self._clock.now().utc_ns))

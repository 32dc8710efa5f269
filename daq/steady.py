"""Serves the slots of one wire while everything is as it nearly always is, without a task between the steps.

To wake a task, have it look what is next, and wait again costs as much as asking and judging together. So as long as a
socket to one instrument is clean and the instrument ready, its slots are served from the loop's own calls: an alarm
rings, the question goes out; bytes come, the answer is judged, entered, and the next alarm is set. All checks are those
of the dialogues: nothing may lie on the wire before a question nor behind its answer, the answer must be whole, in
time, of the form of its question, and no sooner than can be measured.

Nothing is decided here. At the first thing that is not as usual - a late answer, other bytes, a lost link, a mode to be
entered, the stop, somebody who taps the wire - it stops, and leaves the line's task the slot, with the question if that
was sent. What came since is still there to be read: the session's dialogue goes through the same exchange again and
says what it was.

    line -> Steady.run -> alarm -> question ... bytes -> Shortcut (readings) -> Ledger;  Left (what is unusual) -> line
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from daq.clock import Bell, Clock, Rings, rings
from daq.core.errors import LinkError
from daq.core.health import Contact, one_slot
from daq.core.observation import NS, OK, Exchange, Observation, Reading, Stamp, Timing
from daq.core.schedule import Queue, Turn
from daq.core.shortcut import Shortcut
from daq.core.unchanging import unchanging
from daq.ledger import Ledger
from daq.openwire import Asked, OpenWire
from daq.parties import MISSED, Item, Outlets, Party, Scene, inside, joined
from daq.session import Outcome
from daq.transports import Direct, Received

LONGEST_SLEEP_NS = NS
"""A line looks up at least so often: the clock may have been set, failures are to be told of again."""

GOOD = Outcome(OK)


@unchanging
class Left:
    """What the line's task is to go on with.

    Args:
        turn: a slot that was handed out; what was missed before it is accounted for where it was asked.
        asked: its question, where that was sent.
        scene: what held then.
    """

    turn: Turn
    asked: Asked | None = None
    scene: Scene | None = None


class Steady:
    """The slots of one instrument on a wire of its own.

    Args:
        items: its polls by key.
        outlets: of the line; `held` and `clock_state` are asked here.
    """

    def __init__(
        self,
        party: Party,
        items: Mapping[str, Item],
        wire: OpenWire,
        ledger: Ledger,
        queue: Queue,
        clock: Clock,
        outlets: Outlets,
    ) -> None:
        self._party = party
        self._items = items
        self._wire = wire
        self._ledger = ledger
        self._queue = queue
        self._clock = clock
        self._held, self._clock_state = outlets.held, outlets.clock_state
        self._ways = party.session.shortcuts
        self._loop: Rings
        self._link: Direct
        self._over: asyncio.Future[None] | None = None
        self._left: Left | None = None
        self._failed: Exception | None = None
        self._alarm_ns: int | None = None  # of the next look at what is due; None: it has gone off
        self._turn: Turn | None = None  # asked, not answered
        self._item: Item
        self._way: Shortcut
        self._request = b""
        self._asked: Stamp
        self._scene: Scene
        self._deadline_ns = 0
        self._late_ns: int | None = None  # when an answer is looked after; None: nobody will

    async def run(self, link: Direct, stopping: Bell) -> Left | None:
        """Serve slots until something is not as usual; return what, None where the task is only to look for itself."""
        assert self._over is None, "a wire is served once at a time"
        loop = asyncio.get_running_loop()
        self._over = over = loop.create_future()
        assert rings(loop), "a link that is direct has a loop that rings"
        self._link, self._loop, self._left, self._failed, self._turn = link, loop, None, None, None
        stopping.sleepers.add(over)
        link.hear(self._came)
        try:
            self._next(self._clock.monotonic_ns())
            await over
        except BaseException as error:
            self._give_up(error)
            raise
        finally:
            link.hear(None)
            stopping.sleepers.discard(over)
            self._over = None
        failed, self._failed = self._failed, None
        if failed is not None:
            self._give_up(failed)
            raise failed
        if self._left is None and self._turn is not None:  # the stop came: the exchange in flight is ended
            self._leave_asked()
        return self._left

    def _give_up(self, error: BaseException) -> None:
        """Account for the slot that was handed out, be it in the very turn in which it was to be left to the task."""
        if self._turn is not None:
            self._leave_asked()
        left = self._left
        if left is None:
            return
        slots = joined(left.turn.missed, left.turn.due_ns)
        if left.asked is not None:
            slots = one_slot(left.turn.due_ns)
            self._wire.dirty = self._wire.dirty or "a question was cut off before its answer"
        self._ledger.failed(self._items[left.turn.poll], inside(error), slots, scene=left.scene)

    # ------------------------------------------------------------ called by the loop

    def _look(self) -> None:
        """Ask what is due. An alarm that another one was set before, or that nobody waits for any more, is none."""
        now_ns = self._clock.monotonic_ns()
        if self._alarm_ns is None or now_ns < self._alarm_ns:
            return
        self._alarm_ns = None
        over = self._over
        if over is None or over.done() or self._turn is not None:
            return
        try:
            self._next(now_ns)
        except Exception as error:  # noqa: BLE001  raised again in the line's task
            self._fail(error)

    def _came(self) -> None:
        """Take the answer. What comes while nobody was asked stays there, and is found before the next question."""
        over, turn = self._over, self._turn
        if over is None or over.done() or turn is None:
            return
        try:
            self._hear(turn)
        except Exception as error:  # noqa: BLE001  raised again in the line's task
            self._fail(error)

    def _look_after(self) -> None:
        """Leave an answer that is late. One alarm serves many questions: set for an earlier one, it is set on."""
        now_ns = self._clock.monotonic_ns()
        if self._late_ns is None or now_ns < self._late_ns:
            return
        self._late_ns = None
        over = self._over
        if over is None or over.done() or self._turn is None:
            return
        if now_ns >= self._deadline_ns:
            self._leave_asked()
        else:
            self._set_late()

    def _fail(self, error: Exception) -> None:
        self._failed = error
        self._end()

    # ------------------------------------------------------------ asking

    def _next(self, now_ns: int) -> None:
        """Ask what is due, or set the alarm for what will be."""
        if self._ledger.runs.lasting:
            self._ledger.remind(now_ns)
        turn = self._queue.take(now_ns)
        if turn is None:
            self._set_alarm(now_ns)
            return
        item = self._items[turn.poll]
        way = self._ways.get(item.plan.name)
        if way is None or not self._is_as_usual(item) or not self._link.is_silent():
            self._leave(Left(turn))
        else:
            self._ask(turn, item, way)

    def _is_as_usual(self, item: Item) -> bool:
        """Say whether nothing is in the way of asking but what may lie on the wire."""
        return item.cause is None and not self._wire.taps and self._held() is None

    def _ask(self, turn: Turn, item: Item, way: Shortcut) -> None:
        """Send the question of a slot."""
        if turn.missed is not None:
            self._ledger.failed(item, MISSED, turn.missed)
            self._ledger.judge(self._party, item.plan.name, MISSED)
        self._scene = self._ledger.scene(self._party)
        self._item, self._way = item, way
        self._request = request = way.ask()
        self._asked = asked = self._clock.now()
        try:
            in_mode = way.mode is None or self._party.session.is_in(way.mode, asked.mono_ns)
            sent = self._link.say(request) if in_mode else None
        except LinkError:
            sent = None  # the dialogue meets it again
        if sent is None:
            way.unask()
            self._leave(Left(Turn(turn.poll, turn.due_ns, None)))
            return
        item.counts.note_asked(asked.utc_ns - turn.due_ns)
        self._turn = turn
        self._deadline_ns = deadline_ns = asked.mono_ns + way.within_ns
        self._wire.progress_mono_ns = deadline_ns
        if self._late_ns is None or self._late_ns > deadline_ns:
            self._set_late()
        if sent < len(request):
            self._leave_asked(sent)

    def _set_alarm(self, now_ns: int) -> None:
        slot_ns, latest_ns = self._queue.wake_ns(), now_ns + LONGEST_SLEEP_NS
        at_ns = latest_ns if slot_ns is None or slot_ns > latest_ns else slot_ns
        self._wire.progress_mono_ns = at_ns
        if self._alarm_ns is None or self._alarm_ns > at_ns:
            self._alarm_ns = at_ns
            self._loop.ring_at(at_ns, self._look)

    def _set_late(self) -> None:
        self._late_ns = self._deadline_ns
        self._loop.ring_at(self._deadline_ns, self._look_after)

    # ------------------------------------------------------------ hearing

    def _hear(self, turn: Turn) -> None:
        """Judge and enter the answer."""
        way, asked, link = self._way, self._asked, self._link
        received = link.whole(way.cut)
        if received is None or received.first.mono_ns < asked.mono_ns or self._wire.taps:
            self._leave_asked()
            return
        data = received.data
        readings = way.readings(data)
        timing = None if readings is None else way.timed(asked, received.not_before, received.first, 0)
        if readings is None or timing is None:
            self._leave_asked()
            return
        link.accept()
        self._turn = None
        self._enter(turn.due_ns, readings, timing, received)
        self._next(self._clock.monotonic_ns())

    def _enter(self, due_ns: int, readings: dict[str, Reading], timing: Timing, received: Received) -> None:
        item, party, scene = self._item, self._party, self._scene
        rtt_s = (received.last.mono_ns - self._asked.mono_ns) / NS
        exchange = Exchange(self._request, received.data, 0.0, rtt_s, self._way.binary)
        observation = Observation(  # in the order of its fields: by keyword it takes twice as long
            party.name,
            item.plan.name,
            OK,
            due_ns,
            self._clock_state(),
            scene.identity,
            scene.info,
            timing,
            None,
            None,
            scene.simulated,
            scene.context,
            readings,
            (exchange,),
        )
        self._ledger.entered(item, observation)
        if item.breaker.contact is not Contact.UP:
            item.breaker = item.breaker.answered()
        self._ledger.judge(party, item.plan.name, GOOD)

    # ------------------------------------------------------------ leaving

    def _leave(self, left: Left) -> None:
        """Have the line's task go on."""
        self._left = left
        self._end()

    def _end(self) -> None:
        """Have `run` go on. A future takes no StopIteration: what failed inside is raised there."""
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _leave_asked(self, sent: int | None = None) -> None:
        """Leave a question that was sent, or so many bytes of it; what came since is still there to be read."""
        turn, request = self._turn, self._request
        assert turn is not None, "something was asked"
        self._turn = None
        self._way.unask()
        asked = Asked(request, len(request) if sent is None else sent, self._asked, self._link)
        self._leave(Left(turn, asked, self._scene))

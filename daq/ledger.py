"""Accounts for every slot of a line: an observation with values, or one that says why there are none.

Failures alike are told in the fewest observations (core.health.Runs). What `daq status` shows is counted here, since
every outcome passes here once.

    line (Outcome, slots) -> Ledger -> Observation -> Outlets.emit -> station
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from daq.clock import Clock
from daq.core.health import ANSWERS_AGAIN, FINE, Emission, Runs, State, Verdict
from daq.core.message import rfc3339
from daq.core.observation import NS, OK, Exchange, Observation, Slots, Stamp, Status, Timing
from daq.parties import LEFT_OUT, Item, Outlets, Party, Scene
from daq.session import Outcome

log = logging.getLogger(__name__)

DESYNC_EVERY_NS = 60 * NS
"""An instrument that makes its line lose track again and again is announced once in this time."""

CLAIM_EVERY_NS = 60 * NS
"""A poll that is answered faster than it can be measured is announced once in this time."""

LOG_EVERY_NS = 60 * NS
"""An instrument that goes to and fro is logged as degraded once in this time; as lost, and as ok again, always."""


class Ledger:
    """Every slot is entered once, as answered or as failed."""

    def __init__(self, clock: Clock, outlets: Outlets, items: Mapping[str, Item]) -> None:
        self._clock = clock
        self._outlets = outlets
        self._items = items
        self._emit, self._clock_state = outlets.emit, outlets.clock_state
        self.runs = Runs()
        self._told_of: dict[str, Scene] = {}  # by key: whom the run of failures that lasts speaks of

    def scene(self, party: Party) -> Scene:
        """Return what holds now of what is asked now; the same as the last time, nearly always."""
        met, context, last = party.session.met, self._outlets.context(), party.scene
        if last is None or party.scene_met is not met or last.info != party.info or last.context != context:
            party.scene_met = met
            last = party.scene = Scene(party.identity, party.info, context, simulated=party.simulated)
        return last

    def failed(
        self,
        item: Item,
        outcome: Outcome,
        slots: Slots,
        exchanges: tuple[Exchange, ...] = (),
        scene: Scene | None = None,
    ) -> None:
        """Enter slots that brought nothing.

        Args:
            item: the poll.
            outcome: why.
            slots: which.
            exchanges: shown where the report reaches the last of the slots.
            scene: what held when they were asked for; what holds now, where they were not.
        """
        item.counts.slots[outcome.status] += slots.count
        now_ns = self._clock.monotonic_ns()
        scene = scene or self.scene(item.party)
        if self._told_of.get(item.key, scene) != scene:
            for emission in self.runs.succeeded(item.key):
                self._publish(emission)
        self._told_of[item.key] = scene
        for emission in self.runs.failed(item.key, outcome.status, outcome.detail, slots, now_ns):
            self._publish(emission, exchanges if emission.slots.last_ns == slots.last_ns else ())

    def left_out(self, party: Party, said: bytes, begun: Stamp) -> None:
        """Enter lines of a talker that nobody read, and the one begun in them, as failures of its first stream."""
        slots = Slots(begun.utc_ns, self._clock.now().utc_ns, said.count(party.session.plan.eol) + 1)
        self.failed(self._items[f"{party.name}/{party.session.streams[0].name}"], LEFT_OUT, slots)

    def answered(
        self,
        item: Item,
        outcome: Outcome,
        due_ns: int | None,
        exchanges: tuple[Exchange, ...],
        scene: Scene | None = None,
    ) -> None:
        """Enter a slot that brought values, or a line of a talker (due None); `scene` as in `failed`."""
        self.entered(item, self._observation(item, outcome, due_ns, exchanges, scene or self.scene(item.party)))
        if not outcome.claim_held:
            self._doubt(item)

    def entered(self, item: Item, observation: Observation) -> None:
        """Count and pass on an observation with values, behind what was left to tell of the failures before it."""
        if item.key in self.runs.lasting:
            for emission in self.runs.succeeded(item.key):
                self._publish(emission)
        counts = item.counts
        counts.slots[OK] += 1
        counts.last_good = observation
        self._emit(observation)

    def _doubt(self, item: Item) -> None:
        """Announce that a poll was answered too fast, at most once a minute."""
        now_ns = self._clock.now().mono_ns
        if item.doubted_ns is not None and now_ns - item.doubted_ns < CLAIM_EVERY_NS:
            return
        item.doubted_ns = now_ns
        what = (
            "answered faster than its driver says it can measure: its readings are suspect, their bound is wider, no "
            "aperture is given. Did somebody change its settings?"
        )
        self.announce("time_claim", instrument=item.party.name, poll=item.plan.name, what=what)

    def changed(self, item: Item, outcome: Outcome, now: Stamp) -> None:
        """Announce that somebody changed a setting, and since when readings are in doubt for it."""
        if outcome.changed is not None:
            self.announce(
                "wrong_state",
                instrument=item.party.name,
                poll=item.plan.name,
                setting=outcome.changed.setting,
                wanted=outcome.changed.wanted,
                found=outcome.changed.found,
                suspect_since=rfc3339(now.utc_ns - (now.mono_ns - outcome.changed.since_ns)),
            )

    def remind(self, now_mono_ns: int) -> None:
        """Publish what has gathered in runs that were last told a minute ago."""
        for emission in self.runs.tick(now_mono_ns):
            self._publish(emission)

    def close(self) -> None:
        """End all runs and publish what was left to tell: the station stops, or the clock was set."""
        for emission in self.runs.flush():
            self._publish(emission)

    def judge(self, party: Party, poll: str, outcome: Outcome) -> None:
        """Let an outcome count for the instrument's state."""
        if party.logged is not None and party.logged.state is FINE and party.health.stays_good(outcome.status):
            return  # nearly always
        now = self._clock.now()
        why = None if outcome.status is not Status.WRONG_INSTRUMENT else str(outcome.status)  # an event says which
        self._tell(party, party.health.outcome(poll, outcome.status, outcome.detail, now), now, why)

    def forgive(self, party: Party, poll: str) -> None:
        """Let it count no longer."""
        now = self._clock.now()
        self._tell(party, party.health.forget(poll, now), now)

    def _tell(self, party: Party, verdict: Verdict | None, now: Stamp, why: str | None = None) -> None:
        """Pass a new verdict on, and have the log keep up with it; `why` in the log where it is not the verdict's."""
        if verdict is not None:
            self._outlets.verdict(party.name, verdict)
        if verdict is not None or party.logged is not None:
            self._log(party, party.health.verdict, now.mono_ns, why)

    def _log(self, party: Party, verdict: Verdict, now_ns: int, why: str | None) -> None:
        """Log the first state and each that differs from what the log says; its last word is what is so.

        One that was lost answers again; what of it still fails is told if it lasts.
        """
        before = party.logged
        back = before is not None and before.state is State.LOST
        if before is not None and not _worth_a_line(verdict, before, now_ns - party.logged_ns):
            return
        if back and verdict.state is State.DEGRADED:
            verdict, told = replace(verdict, why=ANSWERS_AGAIN), ANSWERS_AGAIN
        else:
            told = str(verdict.state) if verdict.why is None else f"{verdict.state} ({why or verdict.why})"
        better = back or verdict.state is FINE
        if better and before is not None and before.why != ANSWERS_AGAIN:
            told += f", after {(verdict.since_utc_ns - before.since_utc_ns) / NS:.0f} s {before.state} ({before.why})"
        party.logged, party.logged_ns = verdict, now_ns
        log.log(logging.INFO if better else logging.WARNING, "%s: %s", party.name, told)

    def present(self, party: Party) -> None:
        """Tell what it is, and how it fares, as a line begins: what was told of the line before holds no more."""
        self.describe(party)
        self._outlets.verdict(party.name, party.health.verdict)

    def describe(self, party: Party) -> None:
        """Cite a new info where something new was learned of the instrument."""
        met = party.session.met
        if not party.info or met is not party.described:
            party.info = self._outlets.describe(party.name, met)
            party.described = met

    def recognise(self, party: Party) -> None:
        """Describe who was met, and announce it where it is another one than last time."""
        self.describe(party)  # first: whether it is simulated goes into all that is said of it
        if party.known is not None and party.known != party.identity:
            self.announce(
                "identity_changed",
                instrument=party.name,
                was={"model": party.known.model, "serial": party.known.serial},
                now={"model": party.identity.model, "serial": party.identity.serial},
            )
        party.known = party.identity

    def lost_track(self, party: Party, poll: str, why: str) -> None:
        """Count that the wire lost track through this instrument, and announce it, at most once a minute."""
        party.resyncs += 1
        now_ns = self._clock.now().mono_ns
        if party.announced_ns is None or now_ns - party.announced_ns >= DESYNC_EVERY_NS:
            party.announced_ns = now_ns
            details = {"instrument": party.name, "poll": poll, "why": why, "resyncs": party.resyncs}
            self._outlets.announce("desync", details)

    def announce(self, event: str, **details: Any) -> None:
        """Announce an event of this line."""
        self._outlets.announce(event, details)

    def _publish(self, emission: Emission, exchanges: tuple[Exchange, ...] = ()) -> None:
        item = self._items[emission.poll]
        talker = item.plan.every_ns is None
        outcome = Outcome(emission.status, emission.detail, timing=self._silence(emission.slots) if talker else None)
        due_ns = None if talker else emission.slots.first_ns
        run = emission.slots if emission.slots.count > 1 else None
        self._emit(self._observation(item, outcome, due_ns, exchanges, self._told_of[item.key], run))

    def _silence(self, slots: Slots) -> Timing:
        """Return the interval (UTC ns) in which a talker failed; it has no slots, so it is dated by itself."""
        now = self._clock.now()
        middle_ns = (slots.first_ns + slots.last_ns) // 2
        return Timing(middle_ns - now.utc_ns + now.mono_ns, middle_ns, slots.last_ns - middle_ns)

    def _observation(
        self,
        item: Item,
        outcome: Outcome,
        due_ns: int | None,
        exchanges: tuple[Exchange, ...],
        scene: Scene,
        slots: Slots | None = None,
    ) -> Observation:
        return Observation(  # in the order of its fields: by keyword it takes twice as long
            item.party.session.plan.name,
            item.plan.name,
            outcome.status,
            due_ns,
            self._clock_state(),
            scene.identity,
            scene.info,
            outcome.timing,
            outcome.detail,
            slots,
            scene.simulated,
            scene.context,
            outcome.readings,
            exchanges,
        )


def _worth_a_line(verdict: Verdict, logged: Verdict, since_ns: int) -> bool:
    """Say whether a state is news to the log, since_ns after it was told another; degraded waits its minute."""
    if verdict.state is State.DEGRADED and logged.state is not State.LOST:
        told = logged.state is State.DEGRADED and (logged.why != ANSWERS_AGAIN or verdict.why == ANSWERS_AGAIN)
        return not told and since_ns >= LOG_EVERY_NS
    return verdict.state is not logged.state

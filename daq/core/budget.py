"""Reckons what a bench will ask and how much of each wire's time that takes, before anything is opened. Pure.

An estimate from below: bytes at the line's speed, pauses, apertures and settling are known; how long an instrument
thinks beside them is not. Replies in text are taken to be as long as the driver's examples show them.

    Wiring, InstrumentPlan, Driver -> [costs] -> Cost -> `daq plan`;  [overfull] -> warnings
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from daq.core.driver import Driver, TextDriver
from daq.core.line_settings import line_settings
from daq.core.observation import NS
from daq.core.plan import InstrumentPlan, PollPlan, RegisterStep, Step
from daq.core.timing import Triggered
from daq.core.wiring import Wiring

USUAL_REPLY = 20
"""Bytes of a reply in text that no example shows."""

RTU_FRAME = 5
"""Bytes of an RTU reply beside its registers: unit, function, count, CRC (Modbus over Serial Line 1.02, 2.5.1)."""

RTU_REQUEST = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """What one poll takes of its wire.

    Args:
        every_ns: None for what comes unasked, which costs nothing.
        exchanges: what is asked, in order, for people.
        takes_ns: time on the wire, at least; entering modes is shared out over the polls.
        longest_ns: of the exchange with the least time to spare, how long its bytes take, and how long it may take.
    """

    instrument: str
    poll: str
    every_ns: int | None
    exchanges: tuple[str, ...]
    takes_ns: int
    longest_ns: tuple[int, int]

    @property
    def load(self) -> float:
        """Part of the wire's time, 0 to 1; above 1 it cannot be done."""
        return self.takes_ns / self.every_ns if self.every_ns else 0.0


def costs(wiring: Wiring, plans: Mapping[str, InstrumentPlan], drivers: Mapping[str, Driver]) -> Iterator[Cost]:
    """Reckon every poll on a wire.

    Args:
        wiring: the wire, and who is on it.
        plans: by instrument.
        drivers: by instrument.
    """
    byte_ns = line_settings(wiring.wire.line).byte_ns if wiring.wire.line else 0
    for name in wiring.instruments:
        plan = plans[name]
        for poll in plan.polls:
            reply = _reply_bytes(drivers[name], poll)
            pause_ns = wiring.silence_ns + max(plan.gap_ns, wiring.silence_ns)  # before the answer, and behind it
            each_ns = [_exchange_ns(step, reply, byte_ns) for step in poll.steps]
            allowed = [(its_ns, step.within_ns) for its_ns, step in zip(each_ns, poll.steps, strict=True)]
            longest = max(allowed, key=lambda one: one[0] - one[1])
            takes = 0 if poll.every_ns is None else sum(each_ns) + len(each_ns) * pause_ns + _measuring_ns(poll)
            if poll.mode is not None:
                entering_ns = poll.mode.settle_ns + poll.mode.discard * takes
                takes += round(entering_ns * _entered(poll, plan.polls))
            yield Cost(name, poll.name, poll.every_ns, tuple(_shown(step) for step in poll.steps), takes, longest)


def overfull(
    wirings: Iterable[Wiring], plans: Mapping[str, InstrumentPlan], drivers: Mapping[str, Driver]
) -> Iterator[tuple[Cost, str]]:
    """Say of each wire that is to do more than it can how much that is, and which of its polls takes the most."""
    for wiring in wirings:
        polls = list(costs(wiring, plans, drivers))
        yield from _too_slow(wiring, polls)
        load = sum(cost.load for cost in polls)
        if load > 1:
            most = max(polls, key=lambda cost: cost.load)
            said = f"wire {wiring.name}: its polls take {load:.0%} of its time at least, so slots will be missed. Make "
            longest = f"{most.instrument}/{most.poll} alone takes {most.takes_ns / NS:.3g} s each time"
            yield most, f"{said}intervals longer or apertures shorter: {longest}; daq plan shows what each takes."


def _too_slow(wiring: Wiring, polls: Iterable[Cost]) -> Iterator[tuple[Cost, str]]:
    """Say of each poll whose bytes alone take longer than its answer is waited for that it will bring nothing."""
    for cost in polls:
        bytes_ns, within_ns = cost.longest_ns
        if cost.every_ns is not None and bytes_ns >= within_ns:
            words = f"{bytes_ns / NS:.3g} s of bytes at {wiring.wire.line}, waited for {within_ns / NS:.3g} s"
            mend = "Take a faster line, or give a copy of the driver a longer max_latency."
            yield cost, f"{cost.instrument}/{cost.poll}: one exchange is {words}, so none will end in time. {mend}"


def _entered(poll: PollPlan, polls: Sequence[PollPlan]) -> Fraction:
    """Return how often, at most, a poll must enter its mode anew: between 0 and 1, since others left it meanwhile."""
    own, others = Fraction(0), Fraction(0)
    for each in polls:
        if each.every_ns is None or each.mode is None:
            continue
        if poll.mode is not None and each.mode.enter == poll.mode.enter:
            own += Fraction(1, each.every_ns)
        else:
            others += Fraction(1, each.every_ns)
    return min(Fraction(1), others / own) if own else Fraction(0)


def _reply_bytes(driver: Driver, poll: PollPlan) -> int:
    shown = driver.examples if isinstance(driver, TextDriver) else []
    return max((len(got) for each in shown if each.poll == poll.source for got in each.got), default=USUAL_REPLY)


def _exchange_ns(step: Step, reply: int, byte_ns: int) -> int:
    """Time of the bytes of one exchange on a serial line; nothing on a socket."""
    if not isinstance(step, RegisterStep):
        return (len(step.ask) + (reply if step.reply is not None else 0)) * byte_ns
    content = (step.count + 7) // 8 if step.function in (1, 2) else 2 * step.count
    return (RTU_REQUEST + RTU_FRAME + content) * byte_ns


def _measuring_ns(poll: PollPlan) -> int:
    """Time the instrument measures for while the wire waits."""
    if not isinstance(poll.time, Triggered):
        return 0
    return poll.time.delay_ns + (poll.time.aperture_ns or 0) * (1 if poll.time.autozero == "none" else 2)


def _shown(step: Step) -> str:
    if isinstance(step, RegisterStep):
        return f"function {step.function}: {step.count} from {step.address}"
    text = step.ask.rstrip(b"\r\n").decode("latin-1")
    return (text or "(listens)").encode("unicode_escape").decode()

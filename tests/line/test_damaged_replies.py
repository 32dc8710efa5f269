"""What becomes of replies of which the port says that bytes were damaged or lost on their way."""

from __future__ import annotations

from daq.core.cut import Cut
from daq.core.errors import LinkDamaged
from daq.core.observation import NS, Status
from daq.core.plan import TextStep
from daq.transports import Received
from tests.line.wires import (
    MS,
    CountingInstrument,
    FakeTransport,
    assert_answers_are_their_own,
    instrument,
    number_form,
    poll,
    room,
    running,
)
from tests.manual_clock import START, ManualClock


def damage(transport: FakeTransport, spoilt: bytes) -> None:
    """Have the port say that this reply is damaged; what came behind it is thrown away."""
    read = transport.read

    async def damaged(cut: Cut, deadline_ns: int) -> Received:
        reply = await read(cut, deadline_ns)
        if reply.data != spoilt:
            return reply
        came = reply.data + transport.unread()
        raise LinkDamaged("wire: the port counted 1 parity error", came, reply.not_before, reply.first)

    transport.read = damaged


async def test_a_damaged_answer_is_no_value_and_the_wire_is_cleaned_behind_it():
    clock = ManualClock()
    counter = CountingInstrument(clock)
    transport = FakeTransport(clock, counter, reopen_heals=False)
    damage(transport, b"2.0\n")
    bench = room(transport, clock)
    async with running(bench):
        await clock.advance(8)
    bad = next(seen for seen in bench.observations if seen.status is not Status.OK)
    assert bad.status is Status.PROTOCOL
    assert "1 parity error" in bad.detail
    assert not bad.readings
    assert bad.exchanges[-1].got == b"2.0\n"
    asked = transport.written[transport.written.index(b"N?\n") :]
    assert asked[:3] == [b"N?\n", b"N?\n", b"IDN?\n"]  # its barrier, before anything is believed
    assert bench.statuses()[-1] == "ok"
    assert bench.values()[0] == "1.0"
    assert "2.0" not in bench.values()
    assert_answers_are_their_own(bench, counter)
    assert transport.opened == 1


async def test_a_damaged_line_of_a_talker_has_its_time_and_the_next_began_in_what_was_lost():
    clock = ManualClock()
    transport = FakeTransport(clock, lambda _data, _now: [], reopen_heals=False)
    stream = poll("n", None, steps=(TextStep(b"", number_form(), NS),), quiet_ns=5 * NS)
    bench = room(transport, clock, instrument(stream, identify=None, barrier=None))
    damage(transport, b"2.0\n")
    for number in range(6):
        transport.say(b"%d.0\n" % number, (number + 1) * NS)
    async with running(bench):
        await clock.advance(6.5)
    assert [(str(seen.status), seen.exchanges[-1].got) for seen in bench.observations] == [
        ("ok", b"1.0\n"),
        ("protocol", b"2.0\n"),
        ("ok", b"4.0\n"),
        ("ok", b"5.0\n"),
    ]
    bad = bench.observations[1]
    assert bad.due_ns is None
    assert abs(bad.timing.utc_ns - START.utc_ns - 3 * NS) <= bad.timing.err_ns + MS
    assert transport.opened == 1

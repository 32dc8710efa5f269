"""The faults: what becomes of a reply, or of a wire. One small function each, and a row in the table.

A row says on which wires a fault can happen and which of a poll's kinds of `integrity` cannot show it: a value that is
believed for such a reason is counted apart, any other is a broken promise.

    FAULTS -> act (Talk, reply, strike) | on_wire (Wire, strike) | in_instrument (words for the stand-in)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults import frames
from tests.faults.intruders import second_client, second_master, second_reader
from tests.faults.wires import PtyWire, Strike, Talk, Wire

Act = Callable[[Talk, bytes, Strike], Awaitable[None]]

UNTOLD = frozenset({"none", "tagged"})
"""Nothing in the reply says which of several questions alike it answers, and nothing proves its digits."""

UNNUMBERED = UNTOLD | {"checksum"}
"""A checksum proves the digits, not the question."""

NUMBERED = UNTOLD | {"transaction"}
"""A number proves the question, not the digits (Modbus TCP has no checksum of its own)."""

SHOWN: frozenset[str] = frozenset()

BETWEEN_S = 0.06
"""Longer than an exchange takes, shorter than the pause to the next."""

HUGE = 200_000_000
LONG = 3_000_000


# ---------------------------------------------------------------- time


async def silence(talk: Talk, reply: bytes, strike: Strike) -> None:
    """Nothing comes."""


def late(timeouts: float) -> Act:
    async def act(talk: Talk, reply: bytes, strike: Strike) -> None:
        """It comes after so many time-outs, and what is behind it after it."""
        await asyncio.sleep(timeouts * strike.latency_s)
        talk.send(reply)

    return act


async def late_overtaken(talk: Talk, reply: bytes, strike: Strike) -> None:
    """It comes late, and replies to later questions before it: a box that answers out of order."""
    strike.later.append(asyncio.create_task(_later(talk, reply, strike, strike.rng.uniform(1.1, 5) * strike.latency_s)))


async def _later(talk: Talk, reply: bytes, strike: Strike, after_s: float) -> None:
    await asyncio.sleep(after_s)
    talk.send(strike.forge(reply))


async def late_after_reconnect(talk: Talk, reply: bytes, strike: Strike) -> None:
    """The connection ends; the reply comes on the next one, when the first questions are being asked."""
    came = asyncio.create_task(talk.wire.next_client())
    if isinstance(talk.wire, PtyWire):  # it has no connection to cut: it is pulled out and plugged in again
        await talk.wire.shut()
        await talk.wire.open()
    else:
        talk.wire.cut("fin")
    strike.later.append(asyncio.create_task(_to_the_next(came, talk, reply, strike)))


async def _to_the_next(came: asyncio.Task[None], talk: Talk, reply: bytes, strike: Strike) -> None:
    await came
    if strike.rng.random() < 0.5:
        await asyncio.sleep(strike.rng.uniform(0, 2 * strike.latency_s))
    talk.wire.send_now(strike.forge(reply))


async def drip(talk: Talk, reply: bytes, strike: Strike) -> None:
    """Byte by byte, in time."""
    await _drip(talk, reply, 0.3 * strike.latency_s / len(reply))


async def slow_drip(talk: Talk, reply: bytes, strike: Strike) -> None:
    """Byte by byte, for longer than the time-out: no byte of it is late by itself."""
    await _drip(talk, reply, 1.5 * strike.latency_s / len(reply))


async def _drip(talk: Talk, reply: bytes, pause_s: float) -> None:
    for at in range(len(reply)):
        talk.send(reply[at : at + 1])
        await asyncio.sleep(pause_s)


# ---------------------------------------------------------------- twice, old, somebody else's


async def twice_at_once(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(reply + reply)


async def twice_in_idle(talk: Talk, reply: bytes, strike: Strike) -> None:
    """Again, while nothing is being asked."""
    talk.send(reply)
    strike.later.append(asyncio.create_task(_again_in_idle(talk, reply, strike)))


async def _again_in_idle(talk: Talk, reply: bytes, strike: Strike) -> None:
    asked = talk.wire.questions
    await asyncio.sleep(BETWEEN_S)
    if talk.wire.questions == asked:
        talk.send(strike.forge(reply))


async def twice_after_the_next_ask(talk: Talk, reply: bytes, strike: Strike) -> None:
    """Again, just after the next question, before its answer."""
    asked = asyncio.create_task(talk.wire.next_question())
    talk.send(reply)
    strike.later.append(asyncio.create_task(_again_when(asked, talk, reply, strike)))


async def _again_when(asked: asyncio.Task[None], talk: Talk, reply: bytes, strike: Strike) -> None:
    await asked
    talk.send(strike.forge(reply))


async def stale(talk: Talk, reply: bytes, strike: Strike) -> None:
    """The reply before this one, in its place."""
    key = reply[0] if talk.wire.framing == "rtu" else None
    talk.send(strike.forge(talk.last.get(key, reply)))


FOREIGN = (
    b"S S     100.00 g",
    b':SENS:PRES:INL 101.32500,1;:SENS:PRES:RANG "2.00bara";:UNIT:PRES KPA',
    b"Keysight Technologies,34465A,MY54500123,A.03.03",
    b"P=  1013.2 hPa   T= 31.1 'C RH= 38.3 %RH ",
    b"ERR",
    b"",
)
"""What other instruments say, from their manuals."""


async def foreign(talk: Talk, reply: bytes, strike: Strike) -> None:
    """What another instrument would answer, in another shape."""
    body, end = frames.body_and_end(reply, "text")
    others = [one for one in FOREIGN if one[:2] != body[:2]]  # a balance says "S S" and "S D": both are its own shape
    talk.send(strike.rng.choice(others) + end)


async def echo(talk: Talk, reply: bytes, strike: Strike) -> None:
    """The question comes back before its answer: local echo."""
    talk.send(talk.asked + reply)


async def echo_alone(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(talk.asked)


# ---------------------------------------------------------------- damage


async def garbage_before(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(frames.noise(strike.rng, talk.wire.framing) + reply)


async def garbage_after(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(reply + frames.noise(strike.rng, talk.wire.framing))


async def garbage_inside(talk: Talk, reply: bytes, strike: Strike) -> None:
    added = frames.noise(strike.rng, talk.wire.framing)
    talk.send(frames.inside(reply, added, talk.wire.framing, strike.rng))


async def nul(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(frames.inside(reply, b"\0", talk.wire.framing, strike.rng))


async def not_utf8(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(frames.inside(reply, b"\xff\xfe\xc3\x28", talk.wire.framing, strike.rng))


async def bit_flip(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(strike.forge(frames.flipped(reply, strike.rng)))


async def cut_short(talk: Talk, reply: bytes, strike: Strike) -> None:
    """The rest never comes."""
    talk.send(reply[: strike.rng.randint(1, len(reply) - 1)])


async def digits_lost(talk: Talk, reply: bytes, strike: Strike) -> None:
    """Bytes are missing in the middle; the end is there."""
    body, end = frames.body_and_end(reply, talk.wire.framing)
    kept = strike.rng.randint(1, max(1, len(body) - 1))
    talk.send(strike.forge(body[:kept] + end))


async def endless(talk: Talk, reply: bytes, strike: Strike) -> None:
    """A line without an end."""
    await talk.flood(LONG)


async def huge(talk: Talk, reply: bytes, strike: Strike) -> None:
    """200 MB, or as much of it as somebody takes."""
    await talk.flood(HUGE)


# ---------------------------------------------------------------- Modbus


def _reframed(change: Callable[[bytes, int, bytes, Strike], tuple[int, bytes]], shift: int = 0) -> Act:
    """A reply right in every respect but one: its checksum and length are true."""

    async def act(talk: Talk, reply: bytes, strike: Strike) -> None:
        framing = talk.wire.framing
        unit, data = change(reply, frames.unit_of(reply, framing), frames.pdu(reply, framing), strike)
        number = int.from_bytes(reply[:2], "big") + shift if framing == "mbap" else None
        talk.send(frames.framed(reply, framing, unit, data, number))

    return act


def exception(code: int) -> Act:
    return _reframed(lambda reply, unit, data, strike: (unit, bytes((data[0] | 0x80, code))))


wrong_unit = _reframed(lambda reply, unit, data, strike: (unit % 247 + 1, data))
wrong_function = _reframed(lambda reply, unit, data, strike: (unit, bytes((3 if data[0] == 4 else 4,)) + data[1:]))
wrong_transaction = _reframed(lambda reply, unit, data, strike: (unit, data), shift=-1)
short_count = _reframed(lambda reply, unit, data, strike: (unit, frames.with_words(data, -1)))
long_count = _reframed(lambda reply, unit, data, strike: (unit, frames.with_words(data, 1)))


async def bad_checksum(talk: Talk, reply: bytes, strike: Strike) -> None:
    talk.send(reply[:-1] + bytes((reply[-1] ^ (1 << strike.rng.randrange(8)),)))


# ---------------------------------------------------------------- the connection


def ends(how: str, *, half: bool = False) -> Act:
    async def act(talk: Talk, reply: bytes, strike: Strike) -> None:
        """The connection ends where the answer was to come, or in the middle of it."""
        if half:
            talk.send(reply[: len(reply) // 2])
        talk.way.cut(how)

    return act


async def half_open(wire: Wire, strike: Strike) -> None:
    """No word passes any more, and nobody says so."""
    wire.cut("dead")


async def cut_in_idle(wire: Wire, strike: Strike) -> None:
    await asyncio.sleep(strike.rng.uniform(0, BETWEEN_S))
    wire.cut(strike.rng.choice(("fin", "rst")))


async def refused(wire: Wire, strike: Strike) -> None:
    """Nobody listens for a while."""
    await wire.shut()
    await asyncio.sleep(strike.rng.uniform(0.2, 1.5))
    await wire.open()


async def flapping(wire: Wire, strike: Strike) -> None:
    """It accepts and hangs up, three times."""
    for _ in range(3):
        came = asyncio.create_task(wire.next_client())
        wire.cut("rst")
        await came
    wire.cut("rst")


async def banner(wire: Wire, strike: Strike) -> None:
    """It greets whoever connects, which its driver does not know of."""
    wire.greeting = strike.rng.choice((b"Welcome to the bench\r\n", b"+1.00000000E+00\n", b"login: "))
    strike.forge(wire.greeting)
    came = asyncio.create_task(wire.next_client())
    wire.cut("fin")
    await came
    wire.greeting = b""


async def unasked(wire: Wire, strike: Strike) -> None:
    """Words that nobody asked for, in idle."""
    await asyncio.sleep(strike.rng.uniform(0, strike.latency_s))
    wire.send_now(frames.noise(strike.rng, wire.framing) + (b"\n" if wire.framing == "text" else b""))


def name(word: str, most_s: float) -> Callable[[Wire, Strike], Awaitable[None]]:
    async def act(wire: Wire, strike: Strike) -> None:
        """The connection ends, and its name leads nowhere for a while."""
        assert wire.names is not None
        wire.names.say(wire.known_as, word)
        wire.cut("rst")
        await asyncio.sleep(strike.rng.uniform(1, most_s))
        wire.names.say(wire.known_as, "")

    return act


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Fault:
    """One row.

    Args:
        name: as the table of a campaign says it.
        where: framings on which it can be, "socket" or "tty" where only there, other words as a Place has them.
        act: on replies; on_wire: on the wire as a whole; in_instrument: the stand-in's own fault, with its words.
        hidden_by: kinds of integrity that cannot show it.
        most: replies in a row that it may strike.
        danger: 1 for the short form.
    """

    name: str
    where: frozenset[str]
    act: Act | None = None
    on_wire: Callable[[Wire, Strike], Awaitable[None]] | None = None
    in_instrument: str | None = None
    hidden_by: frozenset[str] = SHOWN
    most: int = 1
    danger: int = 2


def _on(words: str) -> frozenset[str]:
    return frozenset(words.split())


ANY = _on("text mbap rtu talker")
ASKED = _on("text mbap rtu")
LIBRARY = _on("raw")
MODBUS = _on("mbap rtu")

FAULTS = (
    Fault("late, 1.1 time-outs", ASKED | LIBRARY, late(1.1), danger=1, most=2),
    Fault("late, 2 time-outs", ASKED | LIBRARY, late(2), danger=1, most=2),
    Fault("late, 5 time-outs", ASKED | LIBRARY, late(5), danger=1),
    Fault("late, overtaken", ASKED, late_overtaken, hidden_by=UNNUMBERED, danger=1),
    Fault("late, after a reconnect", ASKED, late_after_reconnect, hidden_by=UNNUMBERED, danger=1, most=3),
    Fault("twice, at once", ASKED, twice_at_once, danger=1),
    Fault("twice, in idle", ASKED, twice_in_idle, hidden_by=UNNUMBERED, danger=1, most=3),
    Fault("twice, after the next ask", ASKED, twice_after_the_next_ask, hidden_by=UNNUMBERED, danger=1),
    Fault("stale", ANY, stale, hidden_by=UNNUMBERED, danger=1),
    Fault("foreign answer", _on("text talker"), foreign, danger=1, most=2),
    Fault("silence", ANY | LIBRARY, silence, danger=1, most=4),
    Fault("garbage before", ANY, garbage_before, danger=1),
    Fault("garbage after", ANY, garbage_after, danger=1),
    Fault("garbage inside", ANY, garbage_inside, danger=1),
    Fault("bit flip", ANY, bit_flip, hidden_by=NUMBERED, danger=1, most=3),
    Fault("cut short", ANY | LIBRARY, cut_short, danger=1),
    Fault("cut short, end kept", ANY, digits_lost, hidden_by=UNTOLD, danger=1),
    Fault("NUL inside", ANY, nul),
    Fault("not UTF-8", ANY, not_utf8),
    Fault("drip, in time", ANY, drip, most=3),
    Fault("drip, too slow", ANY | LIBRARY, slow_drip, danger=1),
    Fault("endless line", ANY, endless),
    Fault("200 MB reply", _on("huge"), huge),
    Fault("echo before the answer", ASKED, echo, danger=1),
    Fault("echo alone", ASKED, echo_alone),
    Fault("wrong unit", MODBUS, wrong_unit, danger=1),
    Fault("wrong function code", MODBUS, wrong_function, danger=1),
    Fault("wrong transaction", _on("mbap"), wrong_transaction, danger=1),
    Fault("short count", MODBUS, short_count, danger=1),
    Fault("long count", MODBUS, long_count, danger=1),
    Fault("bad checksum", _on("rtu"), bad_checksum, danger=1),
    *(Fault(f"exception {code}", MODBUS, exception(code), most=2) for code in range(1, 12)),
    Fault("FIN for an answer", _on("socket raw"), ends("fin"), danger=1),
    Fault("RST for an answer", _on("socket"), ends("rst")),
    Fault("FIN in the answer", _on("socket"), ends("fin", half=True), danger=1),
    Fault("RST in the answer", _on("socket raw"), ends("rst", half=True)),
    Fault("half-open", _on("socket raw"), on_wire=half_open),
    Fault("cut in idle", _on("socket raw"), on_wire=cut_in_idle),
    Fault("refused for a while", _on("socket raw"), on_wire=refused),
    Fault("accepts and hangs up", _on("socket"), on_wire=flapping),
    Fault("banner", _on("banner"), on_wire=banner, hidden_by=SHOWN, danger=1),
    Fault("words unasked", ASKED, on_wire=unasked, danger=1),
    Fault("re-plugged under another name", _on("tty"), on_wire=refused, danger=1),
    Fault("its name is not found", _on("named"), on_wire=name("fails", 3), danger=1),
    Fault("its name server hangs", _on("named"), on_wire=name("hangs", 8)),
    Fault("another client on its port", _on("socket"), on_wire=second_client, danger=1),
    Fault("another program asks on its line", _on("shared"), on_wire=second_master, hidden_by=UNNUMBERED, danger=1),
    Fault("another program reads its line", _on("tty"), on_wire=second_reader, hidden_by=UNTOLD),
    Fault("a library call that never returns", _on("raw"), in_instrument="hung call", danger=1),
    Fault("overload code", _on("overload"), in_instrument="overload", most=3),
    Fault("another serial number", _on("swap"), in_instrument="other_serial", danger=1),
    Fault("function changed at the front panel", _on("panel"), in_instrument="panel", hidden_by=UNTOLD, danger=1),
)

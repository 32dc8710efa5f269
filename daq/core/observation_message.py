"""Writes an observation as the contract has it, byte for byte as a JSON printer would, in half of its time.

Of an observation's seven hundred bytes six hundred are the same in each one of a poll: names, units, who was asked, the
question. These are printed once and kept; what is new is put between them. It never rounds a value: the instrument's
own digits go through as they are. Pure.

    Observation -> [Printer.entry] -> journal (its number) -> bytes -> sinks
"""

from __future__ import annotations

import re
from binascii import hexlify
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from json.encoder import encode_basestring_ascii
from sys import getsizeof
from types import MethodType

from orjson import dumps

from daq.core.message import (
    MAX_DETAIL,
    MAX_EXCHANGE,
    MAX_EXCHANGE_COUNT,
    MAX_EXCHANGES,
    VERSION,
    StationName,
    printed,
    rfc3339,
    second,
    utf8,
)
from daq.core.observation import NS, Exchange, Kind, Observation, Reading, ReadingStatus, Slots, Status
from daq.core.record import Entry

KEPT = 4096
"""Pieces of each sort that are kept printed: more than a station has polls and channels."""

_is_json_number = re.compile(r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+").fullmatch

_is_plain = re.compile(r"[ !#-\[\]-~]*+").fullmatch
"""Whether text is ASCII that stands in JSON as it is."""

_in_quotes = encode_basestring_ascii
"""Prints ASCII as a JSON string, as `printed` does; other characters it would escape."""

_DURABLE = b',"durable":'
_EXCHANGES = b',"exchanges":['
"""Inside a JSON string every quote is escaped, so these bytes stand for the key and for nothing else."""


@dataclass(slots=True)
class _Kept:
    """What is the same in all observations of a poll that went alike.

    Args:
        scene: what else it was printed for: clock, identity, info, context, simulated.
        stream: in the journal.
        numbered: writes a text of it with its number, the piece in hand from the first brace to the epoch in the id.
        state: from the name of the boot to the status.
        origin: what stands behind that, a detail and slots where there are some, up to `durable`.
        standing: what stands behind `durable`, up to the readings.
        facts: what the readings were when they last were good ones, but for values and texts: seven for each.
        around: `standing` and such readings, with an empty piece where each value and each text belongs.
    """

    scene: tuple[object, ...]
    stream: str
    numbered: Callable[[bytes, str, int, bool], bytes]
    state: bytes
    origin: bytes
    standing: str
    facts: list[object] = field(default_factory=list)
    around: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.around = [self.standing]


class Printer:
    """Prints the observations of one station.

    Args:
        boot: names this boot of the machine (`mono` compares only within it).
    """

    def __init__(self, station: StationName, boot: str) -> None:
        self._station = station
        self._boot = boot
        self._kept: dict[tuple[str, str, Status], _Kept] = {}

    def entry(self, obs: Observation) -> Entry:
        """Print one observation but for what the journal decides: its epoch, its number, whether the disk took it.

        Thousands wait where the disk stands still, and what Python takes for objects of up to 512 bytes it hardly ever
        gives back: so an entry is one piece, mostly larger, and as few small objects as can be.

        Raises:
            ValueError: a value is not a JSON number, or the observation has neither a slot nor a time.
        """
        kept = self._kept.get((obs.instrument, obs.poll, obs.status))
        if kept is None or kept.scene != (obs.clock, obs.identity, obs.info, obs.context, obs.simulated):
            kept = self._keep(obs)
        t_ns, times = _times(obs)
        rare = b"" if obs.detail is None and obs.slots is None else _rare(obs.detail, obs.slots)
        exchanges = obs.exchanges
        asked = b"[%b]" % _exchange(exchanges[0], MAX_EXCHANGE) if len(exchanges) == 1 else _exchanges(exchanges)
        readings = _readings(kept, obs.readings)
        text = b"".join((times, kept.state, rare, kept.origin, readings, b'},"exchanges":', asked, b"}"))
        return Entry("obs", kept.stream, t_ns, MethodType(kept.numbered, text), getsizeof(text))

    def _keep(self, obs: Observation) -> _Kept:
        """Print what is the same in all that are like this one."""
        who, clock = obs.identity, obs.clock
        key = f"{self._station.site}.{self._station.name}.{obs.instrument}.{obs.poll}."
        state = {
            "boot": self._boot,
            "clock": {"source": clock.source, "err": clock.err_s},
            "status": str(obs.status),
        }
        standing = {
            "instrument": {"asset": who.asset, "model": who.model, "serial": who.serial},
            "info": obs.info,
            "context": {utf8(key): utf8(value) for key, value in obs.context},
        }
        if len(self._kept) >= KEPT:
            self._kept.clear()
        kept = self._kept[obs.instrument, obs.poll, obs.status] = _Kept(
            scene=(obs.clock, obs.identity, obs.info, obs.context, obs.simulated),
            stream=f"{obs.instrument}/{obs.poll}",
            numbered=partial(_numbered, printed({"v": VERSION, "id": key}).removesuffix(b'"}')),
            state=b",%b," % _inside(state),
            origin=b'%b,"durable":' % _inside({"origin": "instrument", "simulated": obs.simulated}),
            standing=f',{_inside(standing).decode()},"readings":{{',
        )
        return kept


def _numbered(named: bytes, text: bytes, epoch: str, seq: int, durable: bool) -> bytes:
    """Write it whole; see observation_payload."""
    inner = _inner(epoch)
    at = text.index(_DURABLE) + len(_DURABLE)
    kept = b"true" if durable else b"false"
    return b'%b%b.%d","epoch":"%b","seq":%d,%b%b%b' % (named, inner, seq, inner, seq, text[:at], kept, text[at:])


def observation_payload(
    obs: Observation, station: StationName, *, boot: str, epoch: str, seq: int, durable: bool
) -> bytes:
    """Write one observation, its keys in the order of the contract.

    `boot` as in Printer, `epoch` and `seq` are the journal's number for it, `durable` is False where the disk could not
    take it.

    Raises:
        ValueError: as Printer.entry.
    """
    return Printer(station, boot).entry(obs).encode(epoch, seq, durable)


def without_exchanges(payload: bytes) -> bytes:
    """Take the questions and answers out of an observation that observation_payload wrote, leaving every other byte."""
    start = payload.find(_EXCHANGES)
    return payload if start < 0 else payload[:start] + b"}"


@lru_cache(KEPT)
def _inner(text: str) -> bytes:
    """Give what stands between the quotes."""
    return _string(text)[1:-1].encode()


# Times ----------------------------------------------------------------------------------------------------------------


def _times(obs: Observation) -> tuple[int, bytes]:
    """Give the instant it stands for (UTC ns), and t, t_err, aperture, due, mono, in this order."""
    due_ns, timing = obs.due_ns, obs.timing
    due = b"null"
    if due_ns is not None:
        due_us = (due_ns + 500) // 1000
        due = b'"%b%06dZ"' % (_second(due_us // 1_000_000), due_us % 1_000_000)
    if timing is None:
        if due_ns is None:
            raise ValueError(f"{obs.instrument}/{obs.poll}: unanswered and without a slot: no time can be given for it")
        return due_ns, b'"t":%b,"t_err":null,"aperture":null,"due":%b,"mono":null' % (due, due)
    utc_ns, mono_ns = timing.utc_ns, timing.mono_ns
    utc_us, mono_us = (utc_ns + 500) // 1000, (mono_ns + 500) // 1000
    # Printing to the microsecond moves t and mono by up to half of one: the interval grows by that, to stay true.
    err_ns = timing.err_ns + max(abs(utc_us * 1000 - utc_ns), abs(mono_us * 1000 - mono_ns))
    return utc_ns, b'"t":"%b%06dZ","t_err":%b,"aperture":%b,"due":%b,"mono":%d.%06d' % (
        _second(utc_us // 1_000_000),
        utc_us % 1_000_000,
        dumps(err_ns / NS),
        _aperture(timing.aperture_ns),
        due,
        mono_us // 1_000_000,
        mono_us % 1_000_000,
    )


@lru_cache(64)
def _second(utc_s: int) -> bytes:
    return second(utc_s).encode()


@lru_cache(KEPT)
def _aperture(ns: int | None) -> bytes:
    return b"null" if ns is None else dumps(ns / NS)


def _rare(detail: str | None, slots: Slots | None) -> bytes:
    """Give what stands between the status and the origin of what failed."""
    said: dict[str, object] = {} if detail is None else {"detail": utf8(detail[:MAX_DETAIL])}
    if slots is not None:
        said["slots"] = {"first": rfc3339(slots.first_ns), "last": rfc3339(slots.last_ns), "count": slots.count}
    return b"%b," % _inside(said)


# Readings -------------------------------------------------------------------------------------------------------------


def _readings(kept: _Kept, readings: Mapping[str, Reading]) -> bytes:
    """Give the readings, and what stands before them.

    Nearly always they are what they last were, every value a number and every text plain: only these are printed then.
    """
    facts: list[object] = []
    said: list[str] = []
    for name, one in readings.items():
        value = one.value
        if value is None:
            return _each(kept, readings)
        facts += (name, one.unit, one.quantity, one.status, one.flags, one.kind, one.role)
        said += (value, one.text)
    if facts != kept.facts:
        _keep_readings(kept, readings, facts)
        return _each(kept, readings)
    if not all(map(_is_json_number, said[::2])) or not _is_plain("".join(said[1::2])):
        return _each(kept, readings)
    around = kept.around.copy()
    around[1::2] = said
    return "".join(around).encode()


def _keep_readings(kept: _Kept, readings: Mapping[str, Reading], facts: list[object]) -> None:
    """Print what is the same in all readings like these, if they are good ones."""
    if any(one.status is not ReadingStatus.OK or one.kind is not Kind.NUMBER for one in readings.values()):
        return
    around = [kept.standing]
    for place, (name, one) in enumerate(readings.items()):
        before, behind = _around(name, one.kind, one.unit, one.quantity, one.status, one.flags, one.role)
        around[-1] += f",{before}" if place else before
        around += ("", ',"text":"', "", f'"{behind}')
    kept.facts, kept.around = facts, around


def _each(kept: _Kept, readings: Mapping[str, Reading]) -> bytes:
    """Give any readings, one by one."""
    return (kept.standing + ",".join([_reading(name, reading) for name, reading in readings.items()])).encode()


def _reading(name: str, reading: Reading) -> str:
    before, behind = _around(
        name, reading.kind, reading.unit, reading.quantity, reading.status, reading.flags, reading.role
    )
    value = reading.value
    if value is None or reading.status is not ReadingStatus.OK or reading.kind is not Kind.NUMBER:
        return f'{before}null,"text":{_string(reading.text)}{behind}'
    if not _is_json_number(value):
        raise ValueError(f"reading {name}: {value!r} is not a JSON number; core.number.json_number makes one")
    return f'{before}{value},"text":{_string(reading.text)}{behind}'


@lru_cache(KEPT)
def _around(
    name: str, kind: Kind, unit: str, quantity: str, status: ReadingStatus, flags: Sequence[str], role: str | None
) -> tuple[str, str]:
    """Give what stands before a reading's value and behind its text."""
    behind: dict[str, object] = {} if kind is Kind.NUMBER else {"kind": kind.value}
    behind |= {"unit": unit, "quantity": quantity, "status": status.value}
    if flags:
        behind["flags"] = [str(flag) for flag in flags]
    if role is not None:
        behind["role"] = role
    return f'{_string(name)}:{{"value":', f",{_inside(behind).decode()}}}"


# Questions and answers ------------------------------------------------------------------------------------------------


def _exchanges(exchanges: Sequence[Exchange]) -> bytes:
    """Give the bounded list, and how many had to be left out of it where any were."""
    kept = exchanges
    if len(exchanges) > MAX_EXCHANGE_COUNT:
        kept = (*exchanges[: MAX_EXCHANGE_COUNT - 1], exchanges[-1])
    share = min(MAX_EXCHANGE, MAX_EXCHANGES // max(len(kept), 1))
    whole = b",".join([_exchange(exchange, share) for exchange in kept])
    omitted = b',"exchanges_omitted":%d' % (len(exchanges) - len(kept)) if len(kept) < len(exchanges) else b""
    return b"[%b]%b" % (whole, omitted)


def _exchange(exchange: Exchange, limit: int) -> bytes:
    """One exchange of at most `limit` characters."""
    ask, got = exchange.ask, exchange.got
    at_s, rtt_s = exchange.at_s, exchange.rtt_s
    at = dumps(round(at_s, 6)) if at_s else b"0.0"
    rtt = b"null" if rtt_s is None else dumps(round(rtt_s, 6))
    if len(ask) + len(got) > limit // 4:  # up to there both are whole, in hex too
        return _cut(exchange, limit, at, rtt)
    if exchange.binary:
        return b'{"ask":"%b","got":"%b","at":%b,"rtt":%b,"hex":true}' % (hexlify(ask), hexlify(got), at, rtt)
    text = got.decode("latin-1")
    answer = _in_quotes(text) if text.isascii() else _string(text)
    return b'{"ask":%b,"got":%b,"at":%b,"rtt":%b}' % (_asked(ask), answer.encode(), at, rtt)


@lru_cache(KEPT)
def _asked(ask: bytes) -> bytes:
    return _string(ask.decode("latin-1")).encode()


def _cut(exchange: Exchange, limit: int, at: bytes, rtt: bytes) -> bytes:
    """One exchange that may be too long; the question comes first, the answer takes what it leaves."""
    ask, ask_length, ask_whole = _shown(exchange.ask, exchange.binary, limit // 2)
    got, _, got_whole = _shown(exchange.got, exchange.binary, limit - ask_length)
    binary = b',"hex":true' if exchange.binary else b""
    truncated = b"" if ask_whole and got_whole else b',"truncated":true'
    return b'{"ask":%b,"got":%b,"at":%b,"rtt":%b%b%b}' % (ask, got, at, rtt, binary, truncated)


def _shown(raw: bytes, binary: bool, limit: int) -> tuple[bytes, int, bool]:
    """Print bytes as hex or as Latin-1, at most `limit` characters; give these, how many, and whether they are all."""
    if binary:
        raw, whole = raw[: limit // 2], len(raw) <= limit // 2
        return b'"%b"' % hexlify(raw), 2 * len(raw), whole
    raw, whole = raw[:limit], len(raw) <= limit
    return _string(raw.decode("latin-1")).encode(), len(raw), whole


# Strings and objects --------------------------------------------------------------------------------------------------


def _string(text: str) -> str:
    return _in_quotes(text) if text.isascii() else printed(utf8(text)).decode()


def _inside(message: Mapping[str, object]) -> bytes:
    """Print an object without its braces."""
    return printed(message)[1:-1]

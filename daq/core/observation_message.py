"""Writes an observation as the contract has it, byte for byte as a JSON printer would, in a fifth of its time.

Of an observation's seven hundred bytes six hundred are the same in each one of a poll: names, units, who was asked, the
question. These are printed once and kept, in bounded tables; what is new is put between them. It never rounds a value:
the instrument's own digits go through as they are. Pure.

    Observation -> [unnumbered] -> journal (its number) -> [payload] -> bytes -> sinks
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from sys import getsizeof

import orjson

from daq.core.message import (
    MAX_DETAIL,
    MAX_EXCHANGE,
    MAX_EXCHANGE_COUNT,
    MAX_EXCHANGES,
    VERSION,
    StationName,
    instant,
    microseconds,
    printed,
    rfc3339,
    utf8,
)
from daq.core.observation import NS, Exchange, Kind, Observation, Reading, ReadingStatus, Slots
from daq.core.unchanging import unchanging

KEPT = 4096
"""Pieces of each sort that are kept printed: more than a station has polls and channels."""

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_PLAIN = re.compile(r"([ !#-\[\]-~]*)(\r?\n|\r)?")
"""ASCII that stands in JSON as it is, and the end of a line behind it."""

_ENDINGS = {None: "", "\n": "\\n", "\r\n": "\\r\\n", "\r": "\\r"}

_EXCHANGES = b',"exchanges":['
"""Inside a JSON string every quote is escaped, so these bytes stand for the key and for nothing else."""


@unchanging
class Unnumbered:
    """An observation printed but for what the journal decides: its epoch, its number, whether the disk took it.

    Args:
        named: from the first brace to where the epoch stands in the id.
        before, behind: what stands between the number and `durable`, and behind that.
    """

    named: str
    before: str
    behind: str

    @property
    def size(self) -> int:
        """Bytes of memory it holds; the name is kept once for all."""
        return getsizeof(self.before) + getsizeof(self.behind)

    def payload(self, epoch: str, seq: int, durable: bool) -> bytes:
        """Write it whole; see observation_payload."""
        inner = _inner(epoch)
        kept = "true" if durable else "false"
        return (
            f'{self.named}{inner}.{seq}","epoch":"{inner}","seq":{seq},{self.before}"durable":{kept},{self.behind}'
        ).encode()


def unnumbered(obs: Observation, station: StationName, *, boot: str, exchanges: bool = True) -> Unnumbered:
    """Print one observation as far as can be before it is kept; `boot` and `exchanges` as in observation_payload.

    Raises:
        ValueError: a value is not a JSON number, or the observation has neither a slot nor a time.
    """
    clock, who = obs.clock, obs.identity
    state, origin = _state(boot, clock.source, clock.err_s, obs.status, obs.simulated)
    detail = "" if obs.detail is None else f',"detail":{_string(obs.detail[:MAX_DETAIL])}'
    slots = "" if obs.slots is None else _slots(obs.slots)
    standing = _standing(who.asset, who.model, who.serial, obs.info, obs.context)
    readings = ",".join([_reading(name, reading) for name, reading in obs.readings.items()])
    asked = _exchanges(obs.exchanges) if exchanges else ""
    return Unnumbered(
        _named(station.site, station.name, obs.instrument, obs.poll),
        f"{_times(obs)},{state}{detail}{slots},{origin}",
        f'{standing},"readings":{{{readings}}}{asked}}}',
    )


def observation_payload(
    obs: Observation,
    station: StationName,
    *,
    boot: str,
    epoch: str,
    seq: int,
    durable: bool,
    exchanges: bool = True,
) -> bytes:
    """Write one observation, its keys in the order of the contract.

    `boot` names this boot of the machine (`mono` compares only within it), `epoch` and `seq` are the journal's number
    for it, `durable` is False where the disk could not take it, `exchanges` False leaves the questions and answers out.

    Raises:
        ValueError: as unnumbered.
    """
    return unnumbered(obs, station, boot=boot, exchanges=exchanges).payload(epoch, seq, durable)


def without_exchanges(payload: bytes) -> bytes:
    """Take the questions and answers out of an observation that observation_payload wrote, leaving every other byte."""
    start = payload.find(_EXCHANGES)
    return payload if start < 0 else payload[:start] + b"}"


# What is the same in every one ----------------------------------------------------------------------------------------


@lru_cache(KEPT)
def _named(site: str, name: str, instrument: str, poll: str) -> str:
    """Give what stands before the epoch in the id."""
    return _printed({"v": VERSION, "id": f"{site}.{name}.{instrument}.{poll}."}).removesuffix('"}')


@lru_cache(KEPT)
def _inner(text: str) -> str:
    """Give what stands between the quotes."""
    return _string(text)[1:-1]


@lru_cache(KEPT)
def _state(boot: str, source: str, err_s: float | None, status: str, simulated: bool) -> tuple[str, str]:
    """Give what stands before the detail, and behind the slots."""
    before = {"boot": boot, "clock": {"source": source, "err": err_s}, "status": str(status)}
    return _inside(before), _inside({"origin": "instrument", "simulated": simulated}) + ","


@lru_cache(KEPT)
def _standing(
    asset: str | None, model: str | None, serial: str | None, info: str, context: tuple[tuple[str, str], ...]
) -> str:
    return _inside(
        {
            "instrument": {"asset": asset, "model": model, "serial": serial},
            "info": info,
            "context": {utf8(key): utf8(value) for key, value in context},
        }
    )


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
    return f'{_string(name)}:{{"value":', f",{_inside(behind)}}}"


# What is new in each --------------------------------------------------------------------------------------------------


def _times(obs: Observation) -> str:
    """Give t, t_err, aperture, due, mono, in this order."""
    due = None if obs.due_ns is None else instant(microseconds(obs.due_ns))
    timing = obs.timing
    if timing is None:
        if due is None:
            raise ValueError(f"{obs.instrument}/{obs.poll}: unanswered and without a slot: no time can be given for it")
        return f'"t":"{due}","t_err":null,"aperture":null,"due":"{due}","mono":null'
    # Printing to the microsecond moves t and mono by up to half of one: the interval grows by that, to stay true.
    utc_us, mono_us = microseconds(timing.utc_ns), microseconds(timing.mono_ns)
    err_ns = timing.err_ns + max(abs(utc_us * 1000 - timing.utc_ns), abs(mono_us * 1000 - timing.mono_ns))
    aperture = "null" if timing.aperture_ns is None else _number(timing.aperture_ns / NS)
    slot = "null" if due is None else f'"{due}"'
    return (
        f'"t":"{instant(utc_us)}","t_err":{_number(err_ns / NS)},"aperture":{aperture},"due":{slot},'
        f'"mono":{mono_us // 1_000_000}.{mono_us % 1_000_000:06d}'
    )


def _slots(slots: Slots) -> str:
    first, last = rfc3339(slots.first_ns), rfc3339(slots.last_ns)
    return f',"slots":{{"first":"{first}","last":"{last}","count":{slots.count}}}'


def _reading(name: str, reading: Reading) -> str:
    before, behind = _around(
        name, reading.kind, reading.unit, reading.quantity, reading.status, reading.flags, reading.role
    )
    value = reading.value
    if value is None or reading.status is not ReadingStatus.OK or reading.kind is not Kind.NUMBER:
        return f'{before}null,"text":{_string(reading.text)}{behind}'
    if not _JSON_NUMBER.fullmatch(value):
        raise ValueError(f"reading {name}: {value!r} is not a JSON number; core.number.json_number makes one")
    text = f'"{value}"' if reading.text == value else _string(reading.text)
    return f'{before}{value},"text":{text}{behind}'


def _exchanges(exchanges: Sequence[Exchange]) -> str:
    """Give the bounded list, and how many had to be left out of it where any were."""
    if len(exchanges) == 1:
        return f',"exchanges":[{_exchange(exchanges[0], MAX_EXCHANGE)}]'
    kept = exchanges
    if len(exchanges) > MAX_EXCHANGE_COUNT:
        kept = (*exchanges[: MAX_EXCHANGE_COUNT - 1], exchanges[-1])
    share = min(MAX_EXCHANGE, MAX_EXCHANGES // max(len(kept), 1))
    whole = ",".join([_exchange(exchange, share) for exchange in kept])
    omitted = f',"exchanges_omitted":{len(exchanges) - len(kept)}' if len(kept) < len(exchanges) else ""
    return f',"exchanges":[{whole}]{omitted}'


def _exchange(exchange: Exchange, limit: int) -> str:
    """One exchange of at most `limit` characters; the question comes first, the answer takes what it leaves."""
    show_ask = _shown if exchange.binary else _asked  # a Modbus question has a number of its own
    ask, ask_length, ask_whole = show_ask(exchange.ask, exchange.binary, limit // 2)
    got, _, got_whole = _shown(exchange.got, exchange.binary, limit - ask_length)
    at = _number(round(exchange.at_s, 6)) if exchange.at_s else "0.0"
    rtt = "null" if exchange.rtt_s is None else _number(round(exchange.rtt_s, 6))
    binary = ',"hex":true' if exchange.binary else ""
    truncated = "" if ask_whole and got_whole else ',"truncated":true'
    return f'{{"ask":{ask},"got":{got},"at":{at},"rtt":{rtt}{binary}{truncated}}}'


@lru_cache(KEPT)
def _asked(ask: bytes, binary: bool, limit: int) -> tuple[str, int, bool]:
    return _shown(ask, binary, limit)


def _shown(raw: bytes, binary: bool, limit: int) -> tuple[str, int, bool]:
    """Print bytes as hex or as Latin-1, at most `limit` characters; give these, how many, and whether they are all."""
    if binary:
        text = raw[: limit // 2].hex()
        return f'"{text}"', len(text), len(raw) <= limit // 2
    text = raw[:limit].decode("latin-1")
    return _string(text), len(text), len(raw) <= limit


def _string(text: str) -> str:
    plain = _PLAIN.fullmatch(text)
    return _printed(utf8(text)) if plain is None else f'"{plain[1]}{_ENDINGS[plain[2]]}"'


def _number(number: float) -> str:
    return orjson.dumps(number).decode()


def _inside(message: Mapping[str, object]) -> str:
    """Print an object without its braces."""
    return _printed(message)[1:-1]


def _printed(message: object) -> str:
    return printed(message).decode()

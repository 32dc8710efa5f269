"""The message of an observation written the plain way: one dictionary, one printer. What the fast way must give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from daq.core.message import (
    MAX_DETAIL,
    MAX_EXCHANGE,
    MAX_EXCHANGE_COUNT,
    MAX_EXCHANGES,
    VERSION,
    StationName,
    printed,
    rfc3339,
    utf8,
)
from daq.core.observation import NS, Exchange, Kind, Observation, Reading, ReadingStatus, Timing

Json = Any

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def _micros(ns: int) -> int:
    return (ns + 500) // 1000


def _microsecond_digits(ns: int) -> orjson.Fragment:
    seconds, micros = divmod(_micros(ns), 1_000_000)
    return orjson.Fragment(f"{seconds}.{micros:06d}")


def _off_by_ns(ns: int) -> int:
    return abs(_micros(ns) * 1000 - ns)


def plain_payload(
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
        ValueError: a value is not a JSON number, or the observation has neither a slot nor a time.
    """
    message: dict[str, Json] = {
        "v": VERSION,
        "id": f"{station.site}.{station.name}.{obs.instrument}.{obs.poll}.{epoch}.{seq}",
        "epoch": epoch,
        "seq": seq,
        **_times(obs),
        "boot": boot,
        "clock": {"source": obs.clock.source, "err": obs.clock.err_s},
        "status": obs.status.value,
    }
    if obs.detail is not None:
        message["detail"] = utf8(obs.detail[:MAX_DETAIL])
    if obs.slots is not None:
        first, last = rfc3339(obs.slots.first_ns), rfc3339(obs.slots.last_ns)
        message["slots"] = {"first": first, "last": last, "count": obs.slots.count}
    message["origin"] = "instrument"
    message["simulated"] = obs.simulated
    message["durable"] = durable
    message["instrument"] = {"asset": obs.identity.asset, "model": obs.identity.model, "serial": obs.identity.serial}
    message["info"] = obs.info
    message["context"] = {utf8(key): utf8(value) for key, value in obs.context}
    message["readings"] = {name: _reading(name, reading) for name, reading in obs.readings.items()}
    if exchanges:
        message |= _exchanges(obs.exchanges)
    return printed(message)


def _times(obs: Observation) -> dict[str, Json]:
    """Give t, t_err, aperture, due, mono, in this order."""
    due = None if obs.due_ns is None else rfc3339(obs.due_ns)
    if obs.timing is None:
        if due is None:
            raise ValueError(f"{obs.instrument}/{obs.poll}: unanswered and without a slot: no time can be given for it")
        return {"t": due, "t_err": None, "aperture": None, "due": due, "mono": None}
    timing: Timing = obs.timing
    # Printing to the microsecond moves t and mono by up to half of one: the interval grows by that, to stay true.
    err_ns = timing.err_ns + max(_off_by_ns(timing.utc_ns), _off_by_ns(timing.mono_ns))
    return {
        "t": rfc3339(timing.utc_ns),
        "t_err": err_ns / NS,
        "aperture": None if timing.aperture_ns is None else timing.aperture_ns / NS,
        "due": due,
        "mono": _microsecond_digits(timing.mono_ns),
    }


def _reading(name: str, reading: Reading) -> dict[str, Json]:
    message: dict[str, Json] = {"value": _value(name, reading), "text": utf8(reading.text)}
    if reading.kind is not Kind.NUMBER:
        message["kind"] = reading.kind.value
    message["unit"] = reading.unit
    message["quantity"] = reading.quantity
    message["status"] = reading.status.value
    if reading.flags:
        message["flags"] = [flag.value for flag in reading.flags]
    if reading.role is not None:
        message["role"] = reading.role
    return message


def _value(name: str, reading: Reading) -> orjson.Fragment | None:
    """The digits as they are; None where the reading is no number or its status takes the value away."""
    if reading.value is None or reading.status is not ReadingStatus.OK or reading.kind is not Kind.NUMBER:
        return None
    if not _JSON_NUMBER.fullmatch(reading.value):
        raise ValueError(f"reading {name}: {reading.value!r} is not a JSON number; core.number.json_number makes one")
    return orjson.Fragment(reading.value)


def _exchanges(exchanges: Sequence[Exchange]) -> dict[str, Json]:
    """Give the bounded list, and how many had to be left out of it where any were."""
    kept = exchanges
    if len(exchanges) > MAX_EXCHANGE_COUNT:
        kept = (*exchanges[: MAX_EXCHANGE_COUNT - 1], exchanges[-1])
    share = min(MAX_EXCHANGE, MAX_EXCHANGES // max(len(kept), 1))
    message: dict[str, Json] = {"exchanges": [_exchange(exchange, share) for exchange in kept]}
    if len(kept) < len(exchanges):
        message["exchanges_omitted"] = len(exchanges) - len(kept)
    return message


def _exchange(exchange: Exchange, limit: int) -> dict[str, Json]:
    """One exchange of at most `limit` characters; the question comes first, the answer takes what it leaves."""
    ask, ask_whole = _printed(exchange.ask, exchange.binary, limit // 2)
    got, got_whole = _printed(exchange.got, exchange.binary, limit - len(ask))
    message: dict[str, Json] = {
        "ask": ask,
        "got": got,
        "at": round(exchange.at_s, 6),
        "rtt": None if exchange.rtt_s is None else round(exchange.rtt_s, 6),
    }
    if exchange.binary:
        message["hex"] = True
    if not (ask_whole and got_whole):
        message["truncated"] = True
    return message


def _printed(raw: bytes, binary: bool, limit: int) -> tuple[str, bool]:
    """Print bytes as hex or as Latin-1, at most `limit` characters, and say whether they are all there."""
    fits = limit // 2 if binary else limit
    part = raw[:fits]
    return (part.hex() if binary else part.decode("latin-1")), len(raw) <= fits

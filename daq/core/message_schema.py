"""JSON Schemas of every message, for those who subscribe: what is always there, what may be, and what it means.

They say what version 1 promises. Keys they do not know are allowed, for new ones may appear; words in a list that they
do not know are not, so that a test finds the one that was added here and not there. Pure.

    [message_schemas] -> daq schema -> schemas/messages/*.json
"""

from __future__ import annotations

from typing import Any, get_args

from daq.core.info import JournalState
from daq.core.message import LEVEL, VERSION, Event
from daq.core.observation import Flag, Integrity, Kind, ReadingStatus, Status

Schema = dict[str, Any]

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"


def message_schemas() -> dict[str, Schema]:
    """Return one schema (draft 2020-12) for each kind of message, by the name of its file without `.json`."""
    return {
        "observation": _message("An observation: one poll of one instrument.", _observation()),
        "event": _message("Something that happened to the station or one of its instruments.", _event()),
        "instrument-info": _message("What an instrument's observations mean. Retained.", _instrument_info()),
        "instrument-status": _message("Whether an instrument answers. Retained.", _instrument_status()),
        "station-info": _message("What a station is. Retained.", _station_info()),
        "station-status": _message("Whether a station is there. Retained, and its will.", _station_status()),
    }


class _May(dict[str, Any]):
    """A key that is not always there."""


def _message(description: str, keys: dict[str, Schema]) -> Schema:
    version = {"const": VERSION, "description": "Version of the messages."}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": description}
    return head | _object(description, {"v": version} | keys)


def _object(description: str, keys: dict[str, Schema]) -> Schema:
    required = [key for key, schema in keys.items() if not isinstance(schema, _May)]
    properties = {key: dict(schema) for key, schema in keys.items()}
    return {"description": description, "type": "object", "properties": properties, "required": required}


def _map(description: str, of: Schema) -> Schema:
    return {"description": description, "type": "object", "additionalProperties": of}


def _list(description: str, of: Schema) -> Schema:
    return {"description": description, "type": "array", "items": of}


def _text(description: str) -> Schema:
    return {"description": description, "type": "string"}


def _flag(description: str) -> Schema:
    return {"description": description, "type": "boolean"}


def _one_of(description: str, words: Any) -> Schema:
    return {"description": description, "enum": [str(word) for word in words]}


def _time(description: str) -> Schema:
    return {"description": f"{description} RFC 3339, UTC, microseconds.", "type": "string", "pattern": _TIME}


def _seconds(description: str) -> Schema:
    return {"description": f"{description} Seconds.", "type": "number", "minimum": 0}


def _count(description: str) -> Schema:
    return {"description": description, "type": "integer", "minimum": 0}


def _hash(description: str) -> Schema:
    return {"description": description, "type": "string", "pattern": "^[0-9a-f]{8}$"}


def _name(description: str) -> Schema:
    return {"description": description, "type": "string", "pattern": f"^{LEVEL.pattern}$"}


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def _may(schema: Schema) -> Schema:
    return _May(schema)


def _numbered(what: str) -> dict[str, Schema]:
    return {
        "id": _text("Never changes and is never used twice: a second message with it is the same one again."),
        "epoch": _text("New with every journal; `seq` counts within it."),
        "seq": _count(f"Counts the {what}; a gap is one that was lost or is still to come."),
    }


def _clock() -> Schema:
    keys = {
        "source": _text("Who disciplines the clock: chrony, kernel, or none."),
        "err": _or_null(_seconds("Bound of its distance to UTC; null where unknown.")),
    }
    return _object("What is known of the station's clock.", keys)


def _observation() -> dict[str, Schema]:
    slots = {
        "first": _time("Due time of the first slot of the run."),
        "last": _time("Due time of the last slot so far."),
        "count": _count("How many slots the run has so far."),
    }
    return {
        **_numbered("observations of this poll of this instrument"),
        "t": _time("The instant for which the readings stand; when unanswered, when it was due."),
        "t_err": _or_null(_seconds("Half-width of where `t` can have been, on the station's clock; null: unanswered.")),
        "aperture": _or_null(_seconds("Over how long the instrument averaged: extent, not error.")),
        "due": _or_null(_time("The slot; null for instruments that send unasked.")),
        "mono": _or_null(_seconds("`t` on CLOCK_MONOTONIC of this boot; null when unanswered.")),
        "boot": _text("Names the boot of the machine: `mono` compares only within it."),
        "clock": _clock(),
        "status": _one_of("How the question went. An unknown word is to be read as not ok.", Status),
        "detail": _may(_text("Why it is not ok, in words.")),
        "slots": _may(_object("A run of identical failures, told as one.", slots)),
        "origin": _one_of("Who says so; operator and derived are reserved.", ["instrument", "operator", "derived"]),
        "simulated": _flag("True: no real instrument was measured."),
        "durable": _flag("False: the station's disk could not take it."),
        "instrument": _identity(),
        "info": _hash("Hash of the instrument-info that describes this."),
        "context": _map("What `daq mark` set last.", {"type": "string"}),
        "readings": _map("Channel -> what was read.", _reading()),
        "exchanges": _may(_list("Questions and answers as they went over the wire.", _exchange())),
        "exchanges_omitted": _may(_count("Exchanges left out of the list, before its last.")),
    }


def _identity() -> Schema:
    keys = {
        "asset": _or_null(_text("Asset number, from the bench file.")),
        "model": _or_null(_text("As the instrument says, or the driver.")),
        "serial": _or_null(_text("As the instrument says; null where it cannot.")),
    }
    return _object("Who answered.", keys)


def _reading() -> Schema:
    keys = {
        "value": _or_null({"description": "The number, with the digits that were sent.", "type": "number"}),
        "text": _text("The instrument's own characters; authoritative, and exact beyond 2^53."),
        "kind": _may(_one_of("Where it is no number: what `text` is.", [k for k in Kind if k is not Kind.NUMBER])),
        "unit": _text("UCUM code; 1 where there is none."),
        "quantity": _text("Dotted name, e.g. voltage.dc."),
        "status": _one_of("Anything but ok makes `value` null.", ReadingStatus),
        "flags": _may(_list("Doubts; they never take the value away.", {"enum": [flag.value for flag in Flag]})),
        "role": _may(_text("reference, uut, ambient or source.")),
    }
    not_ok = {"properties": {"status": {"not": {"const": "ok"}}}}
    without_value = {"properties": {"value": {"const": None}}}
    return _object("One channel.", keys) | {"if": not_ok, "then": without_value}


def _exchange() -> Schema:
    keys = {
        "ask": _text("What was sent; empty where the instrument spoke unasked."),
        "got": _text("What came; empty where nothing did. Bytes as Latin-1, one character each."),
        "at": {"description": "Since the first exchange of the observation. Seconds.", "type": "number"},
        "rtt": _or_null(
            _seconds(
                "From just before the write, or since the wire was silent, to the last byte; null: no whole reply."
            )
        ),
        "hex": _may({"description": "`ask` and `got` are hexadecimal.", "const": True}),
        "truncated": _may({"description": "Something was cut off the end of `ask` or `got`.", "const": True}),
    }
    return _object("One question and what came back.", keys)


def _event() -> dict[str, Schema]:
    return {
        **_numbered("events of the station"),
        "t": _time("When."),
        "boot": _text("Names the boot of the machine."),
        "event": _text(f"{', '.join(Event)}, or a newer word."),
        "instrument": _may(_name("The instrument concerned.")),
        "simulated": _may(_flag("It concerns simulated data.")),
        "details": _map("What is to be known, by event.", {}),
    }


def _instrument_info() -> dict[str, Schema]:
    identity = {
        "asset": _or_null(_text("Asset number, from the bench file.")),
        "maker": _or_null(_text("As the instrument says.")),
        "model": _or_null(_text("As the instrument says.")),
        "serial": _or_null(_text("As the instrument says.")),
        "firmware": _or_null(_text("As the instrument says.")),
    }
    driver = {
        "name": _text("Name of the driver file."),
        "hash": _text("Of its content."),
        "verified": _or_null(_text("How it was proven: manual, public-driver, hardware.")),
    }
    return {
        **_numbered("infos of this instrument"),
        "t": _time("Since when it is so."),
        "info": _hash("SHA-256 over the rest, first 8 digits; observations cite it."),
        "simulated": _flag("True: no real instrument."),
        "instrument": _name("Name in the bench file."),
        "label": _or_null(_text("For people.")),
        "role": _or_null(_text("reference, uut, ambient or source.")),
        "identity": _object("Who it is.", identity),
        "address": _text("Where it stands."),
        "configure": _or_null(_text("never or on_connect.")),
        "driver": _object("What it speaks.", driver),
        "bench": _object("The bench file.", {"hash": _text("Of its content.")}),
        "polls": _map("Name -> poll.", _poll()),
    }


def _poll() -> Schema:
    channel = {
        "unit": _text("UCUM code."),
        "symbol": _text("The unit, for people."),
        "quantity": _text("Dotted name."),
        "kind": _one_of("What its readings are.", Kind),
        "role": _or_null(_text("reference, uut, ambient or source.")),
        "label": _or_null(_text("For people.")),
        "asset": _or_null(_text("Asset number of the probe, where it has its own.")),
    }
    keys = {
        "ask": _text("Name of the poll in the driver."),
        "every": _or_null(_seconds("Between two slots; null for instruments that send unasked.")),
        "phase": _or_null(_seconds("Of the slots: k * every + phase, in UTC.")),
        "integrity": _one_of("What the protocol would show of a fault on the way.", Integrity),
        "time": _text("How `t` was found: triggered, filtered, latest, arrival."),
        "settings": _map("As read back, or as set where the instrument cannot say.", {"type": "string"}),
        "channels": _map("Name -> channel.", _object("One channel.", channel)),
    }
    return _object("One poll.", keys)


def _instrument_status() -> dict[str, Schema]:
    return {
        "status": _one_of("ok, degraded (some polls fail) or lost.", ["ok", "degraded", "lost"]),
        "boot": _text("Names the boot of the machine."),
        "since": _time("Since when."),
        "simulated": _flag("True: no real instrument."),
        "why": _or_null(_text("Why it is not ok, in words.")),
    }


def _station_info() -> dict[str, Schema]:
    return {
        "version": _text("Of bench-daq."),
        "boot": _text("Names the boot of the machine."),
        "epoch": _text("Of the journal."),
        "journal": _one_of(
            "failing: the disk takes no records; stalled: it neither takes nor refuses them, nothing is published.",
            get_args(JournalState),
        ),
        "simulated": _flag("True: at least one of its instruments is simulated."),
        "label": _or_null(_text("For people.")),
        "line_frequency": _or_null({"description": "Of the mains. Hertz.", "type": "number"}),
        "bench": _object("The bench file.", {"hash": _text("Of its content.")}),
        "drivers": _map("Driver -> hash of its content.", {"type": "string"}),
        "clock": _clock(),
        "limits": _map("What is bounded, the unit in the name.", {"type": "number"}),
        "instruments": _list("Their names.", _name("Name in the bench file.")),
    }


def _station_status() -> dict[str, Schema]:
    return {
        "status": _one_of("Whether the daemon is connected to the broker.", ["online", "offline"]),
        "boot": _text("Names the boot of the machine."),
        "since": _or_null(_time("Since when; null when the broker found out by itself.")),
        "why": _or_null(_text("Why it is offline.")),
        "protocol": _or_null(_one_of("MQTT version spoken; on 3.1.1 refusals cannot be seen.", ["5", "3.1.1"])),
    }

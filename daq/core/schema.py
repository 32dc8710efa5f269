"""Turns the models of files into JSON Schemas that editors complete well by. Pure.

What pydantic prints is made plain: a key left out is left out, never null; defaults stand as people write them; a text
may be written as a number.

    Bench, Driver -> [schemas] -> schemas/*.json (compared by a test, written by `daq schema --write`)
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from daq.core.bench import Bench
from daq.core.driver import Driver
from daq.core.message_schema import message_schemas

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Json = Any  # what json prints: dict, list, str, int, float, bool, None

_STEPS_NS = (("d", 86400 * 10**9), ("h", 3600 * 10**9), ("min", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 10**3))
_STEPS_BYTES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def schemas() -> dict[str, str]:
    """Return every schema as JSON text, by its file below schemas/."""
    found = {
        "bench.json": _of_file(TypeAdapter(Bench), "A bench: what stands where, what it is asked and how often."),
        "driver.json": _of_file(TypeAdapter(Driver), "A driver: what a model of instrument speaks."),
    }
    found |= {f"messages/{name}.json": schema for name, schema in message_schemas().items()}
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in sorted(found.items())}


def _of_file(model: TypeAdapter[Any], title: str) -> Json:
    schema = _plain(model.json_schema(mode="validation"))
    return {"$schema": DIALECT, "title": title} | {key: part for key, part in schema.items() if key != "title"}


def _plain(part: Json) -> Json:
    """Make one part of a schema, and all below it, plain."""
    if isinstance(part, list):
        return [_plain(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: _plain(each) for key, each in part.items() if not _is_noise(key, each)}
    made = _without_null(made)
    if "default" in made:
        made["default"] = _as_written(made["default"], str(made.get("pattern", "")))
    if isinstance(made.get("patternProperties"), dict) and made.get("type") == "object":
        made["additionalProperties"] = False
    if made.get("type") == "string" and not made.keys() & {"pattern", "const", "enum"}:
        made["type"] = ["string", "number"]
    return made


def _is_noise(key: str, value: Json) -> bool:
    """Pydantic's titles repeat the key; a default of null means left out. A key of the file may be called title."""
    if key == "title":
        return isinstance(value, str)
    return key == "default" and (value is None or value in ({}, []))


def _without_null(part: dict[str, Json]) -> dict[str, Json]:
    """Drop null from the choices: a key without a value is an error."""
    choices = part.get("anyOf")
    if choices is None or {"type": "null"} not in choices:
        return part
    some = [each for each in choices if each != {"type": "null"}]
    rest = {key: each for key, each in part.items() if key != "anyOf"}
    return {**some[0], **rest} if len(some) == 1 else {"anyOf": some, **rest}


def _as_written(default: Json, pattern: str) -> Json:
    """Write a default of a duration or a size as people do."""
    if isinstance(default, bool) or not isinstance(default, int) or not pattern:
        return default
    if default == 0:
        return "0 s"
    steps = _STEPS_BYTES if "kB" in pattern else _STEPS_NS
    unit, size = next((unit, size) for unit, size in steps if default >= size)
    return f"{(Decimal(default) / size).normalize():f} {unit}"

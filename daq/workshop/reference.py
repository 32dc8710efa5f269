"""Writes docs/driver-reference.md from the models: every key of a driver file, what it means and what it may be. Pure.

models (JSON Schema), grammar of templates -> [reference] -> Markdown; a test compares it with the page
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from daq.core import template
from daq.core.schema import schemas
from daq.core.units import QUANTITIES

_HEAD = """\
# Every key of a driver file

This page is made from the models that read the files: `daq driver reference` prints it. How to begin a driver is in
[add-an-instrument.md](add-an-instrument.md). Times carry their unit (`500 ms`), numbers that are to be compared digit
for digit stand in quotes. **Bold** keys cannot be left out.

"""

_FIRST = ("TextDriver", "RegisterDriver")
_TITLES = {
    "TextDriver": "A driver of lines of text",
    "RegisterDriver": "A driver of Modbus registers",
}

Json = Any


def reference() -> str:
    """Return the page."""
    schema = json.loads(schemas()["driver.json"])
    parts: dict[str, Json] = schema["$defs"]
    names = [*_FIRST, *(name for name in parts if name not in _FIRST and "properties" in parts[name])]
    words = [name for name in parts if "enum" in parts[name]]
    return "".join(
        [
            _HEAD,
            *("".join(_table(name, parts[name])) for name in names),
            *("".join(_words(name, parts[name])) for name in words),
            _grammar(),
            _quantities(),
        ]
    )


def _table(name: str, part: Json) -> Iterator[str]:
    yield f"## {_TITLES.get(name, name)}\n\n"
    if part.get("description"):
        yield f"{_line(part['description'])}\n\n"
    yield "| key | what it may be | left out | meaning |\n|---|---|---|---|\n"
    needed = part.get("required", [])
    for key, its in part["properties"].items():
        shown = f"**`{key}`**" if key in needed else f"`{key}`"
        default = "" if "default" not in its else f"`{_yaml(its['default'])}`"
        yield f"| {shown} | {_kind(its)} | {default} | {_line(its.get('description', ''))} |\n"
    yield "\n"


def _words(name: str, part: Json) -> Iterator[str]:
    yield f"## {name}\n\n"
    if part.get("description"):
        yield f"{_line(part['description'])}\n\n"
    yield f"One of {_choices(part['enum'])}.\n\n"


def _kind(its: Json) -> str:
    """Say what a value may be; models link to their own table."""
    if "$ref" in its:
        return _link(its["$ref"])
    if "anyOf" in its or "oneOf" in its:
        return " or ".join(dict.fromkeys(_kind(each) for each in its.get("anyOf") or its["oneOf"]))
    if "const" in its or "enum" in its:
        return _choices(its.get("enum") or [its["const"]])
    kind = its.get("type", "value")
    if isinstance(kind, list):  # a text may be written as a number
        return "text"
    return {"array": _list, "object": _mapping}.get(kind, _scalar)(its)


_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "value": "value"}


def _scalar(its: Json) -> str:
    if "ms|s|min" in its.get("pattern", ""):
        return "time"
    low, high = its.get("minimum"), its.get("maximum")
    limits = f", {low} to {high}" if low is not None and high is not None else ""
    return f"{_KINDS[its.get('type', 'value')]}{limits}"


def _list(its: Json) -> str:
    return f"list of {_kind(its.get('items') or {'anyOf': its.get('prefixItems', [])})}"


def _mapping(its: Json) -> str:
    patterns = [*its.get("patternProperties", {}).values()]
    inside = its.get("additionalProperties") or (patterns[0] if patterns else None)
    return f"name: {_kind(inside)}" if isinstance(inside, dict) else "mapping"


def _link(ref: str) -> str:
    name = ref.rsplit("/", 1)[-1]
    title = _TITLES.get(name, name)
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _choices(words: list[Json]) -> str:
    return ", ".join(f"`{_yaml(word)}`" for word in words)


def _yaml(value: Json) -> str:
    return value if isinstance(value, str) and value.isalnum() else json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _grammar() -> str:
    """Return the grammar of templates, as their module has it."""
    said = str(template.__doc__)
    return f"## Templates of replies\n\n```text\n{said[said.index('Grammar') :].strip()}\n```\n\n"


def _quantities() -> str:
    return f"## Quantities\n\n{', '.join(f'`{name}`' for name in sorted(QUANTITIES))}\n"

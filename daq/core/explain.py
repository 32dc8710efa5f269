"""Turns what pydantic found into sentences for the technician: which key, what is wrong, how to mend it.

Pure; knows the models, not the files' lines. Names of union members and validators never reach the user, and a value
is quoted only where it cannot be a secret.

    ValidationError -> [explain] -> Problem (path, message) -> load (file, line, column)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from unicodedata import normalize

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from daq.core.errors import nearest, quoted
from daq.core.plan import Problem

Key = str | int
_IS_KEY = "[key]"  # pydantic's mark behind the key of a dict that is wrong itself


@dataclass(frozen=True, slots=True)
class _Wrong:
    """One error of pydantic, and where it points.

    Args:
        error: as pydantic tells it.
        path: keys as the file has them.
        model: the model that the last key belongs to, None inside lists and dicts.
        at_key: the key itself is wrong, not what it holds.
    """

    error: ErrorDetails
    path: tuple[Key, ...]
    model: type[BaseModel] | None
    at_key: bool


def problems(error: ValidationError, root: Any, file: Literal["bench", "driver"]) -> list[Problem]:
    """Explain every error of a file.

    Args:
        error: what pydantic raised for it.
        root: the model or union that was to be read.
        file: which file, for the Problems.
    """
    found = [_located(root, each) for each in error.errors(include_url=False)]
    mistyped = _mistyped(found)
    return [
        Problem(file, _path(wrong), _SENTENCES.get(wrong.error["type"], _others)(wrong), wrong.at_key)
        for wrong in found
        if wrong.error["type"] != "missing" or wrong.path not in mistyped
    ]


def _mistyped(found: Sequence[_Wrong]) -> set[tuple[Key, ...]]:
    """Return the missing keys that stand there under a wrong name: one error is enough for both."""
    meant = set()
    for wrong in found:
        if wrong.error["type"] == "extra_forbidden" and wrong.model is not None:
            meant.add((*wrong.path[:-1], _nearest_key(str(wrong.path[-1]), wrong.model)))
    return meant


def _path(wrong: _Wrong) -> tuple[Key, ...]:
    """Add the key that an error of a whole mapping is about."""
    context = wrong.error.get("ctx", {})
    key = context.get("key") if wrong.error["type"] == "misplaced" else context.get("discriminator")
    known = wrong.error["type"] in ("misplaced", "union_tag_invalid", "union_tag_not_found")
    return (*wrong.path, str(key).strip("'")) if known else wrong.path


def _nearest_key(word: str, model: type[BaseModel]) -> str:
    found = re.fullmatch(r"Nearest: '(.*)'\.", nearest(word, model.model_fields))
    return found[1] if found else ""


# ---------------------------------------------------------------- where


def _located(root: Any, error: ErrorDetails) -> _Wrong:
    """Follow pydantic's location through the types, leaving out the names of union members."""
    path: list[Key] = []
    kind, model = _bare(root), None
    at_key = error["type"] == "extra_forbidden"
    for part in error["loc"]:
        if part == _IS_KEY:
            at_key = True
            continue
        if get_origin(kind) in (Union, UnionType):
            kind = _bare(_member(kind, part))
            continue
        model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        path.append(part)
        kind = _bare(_below(kind, part))
    return _Wrong(error, tuple(path), model, at_key)


def _bare(kind: Any) -> Any:
    """Take off Annotated, and None from an optional type."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        some = [each for each in get_args(kind) if each is not NoneType]
        if len(some) == 1:
            return _bare(some[0])
    return kind


def _member(union: Any, part: Key) -> Any:
    """Return the member of a union that pydantic names `part`, NoneType where it is no model."""
    for each in get_args(union):
        tags = {meta.tag for meta in get_args(each)[1:] if isinstance(meta, Tag)}
        kind = _bare(each)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for field in kind.model_fields.values():
                if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
                    tags.update(get_args(field.annotation))
        if part in tags:
            return each
    return NoneType


def _below(kind: Any, part: Key) -> Any:
    """Return the type that stands under a key."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field is not None else NoneType
    arguments = get_args(kind)
    if get_origin(kind) is dict:
        return arguments[1]
    if get_origin(kind) is list:
        return arguments[0]
    if get_origin(kind) is tuple and isinstance(part, int) and part < len(arguments):
        return arguments[part]
    return NoneType


# ---------------------------------------------------------------- what


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping (key: value)"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value, 60) if isinstance(value, str) else str(value)


def _given(wrong: _Wrong) -> str:
    return _shown(wrong.error["input"])


def _unknown_key(wrong: _Wrong) -> str:
    known = wrong.model.model_fields if wrong.model is not None else {}
    deeper = [name for name, field in known.items() if str(wrong.path[-1]) in _keys_below(field.annotation)]
    if deeper:
        return f"no such key here: it belongs one level deeper, under {' or '.join(deeper)}."
    return f"no such key. {nearest(str(wrong.path[-1]), known)}"


def _keys_below(annotation: Any) -> set[str]:
    """Return the keys of the models that a field holds, in a list or by name; of none where it may be several kinds."""
    kind = _bare(annotation)
    if get_origin(kind) in (list, dict):
        kind = _bare(get_args(kind)[-1])
    return set(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else set()


def _missing(wrong: _Wrong) -> str:
    if isinstance(wrong.path[-1], int):
        return f"is missing. The list is too short: at least {wrong.path[-1] + 1} values belong in it."
    field = wrong.model.model_fields.get(str(wrong.path[-1])) if wrong.model is not None else None
    meaning = f" It means: {field.description}" if field is not None and field.description else ""
    return f"is missing. Write '{wrong.path[-1]}:' here.{meaning}"


def _choice(wrong: _Wrong) -> str:
    context = wrong.error["ctx"]
    words = re.findall(r"'([^']*)'", str(context.get("expected", context.get("expected_tags", ""))))
    if not words:
        return f"{_given(wrong)} is not possible here. Write {context['expected']}."
    given = context.get("tag", wrong.error["input"])
    if wrong.path == ("speaks",):
        return f"{_shown(given)} is not one of text, registers. Write {words[0]!r}; Modbus is registers, all else text."
    if len(words) == 1:
        return f"{_shown(given)} is not possible here. Write {words[0]!r}."
    near = nearest(str(given), words)
    return f"{_shown(given)} is not one of {', '.join(words)}." + (f" {near}" if near.startswith("Nearest") else "")


def _tag_missing(wrong: _Wrong) -> str:
    key = wrong.error["ctx"]["discriminator"].strip("'")
    return f"is missing. It says which kind this is; write '{key}:' here."


def _pattern(wrong: _Wrong) -> str:
    text = str(wrong.error["input"])
    if wrong.error["ctx"]["pattern"].startswith("^[a-z0-9]"):
        letters = normalize("NFKD", text.lower().replace("đ", "d"))
        plain = re.sub(r"[^a-z0-9_-]+", "_", letters.encode("ascii", "ignore").decode()).strip("_-")[:63]
        example = f", such as {plain!r}" if plain else ""
        return (
            f"{quoted(text)} is not a name. Names have a-z, 0-9, _ and -, begin with a letter or digit, and are at "
            f"most 63 long{example}."
        )
    return f"{quoted(text)} is not of the form {wrong.error['ctx']['pattern']}."


_KINDS = {
    "string": ("a text", "Write one text; put it in quotes where YAML would read a number or true."),
    "int": ("a whole number", "Write it like 3."),
    "float": ("a number", "Write it like 0.5."),
    "bool": ("true or false", "Write true or false."),
    "dict": ("a mapping (key: value)", "Write it like {key: value}."),
    "model": ("a mapping (key: value)", "Write it like {key: value}."),
    "list": ("a list", "Write it like [one, two]."),
    "tuple": ("a list", "Write it like [one, two]."),
}


def _kind(wrong: _Wrong) -> str:
    kind = wrong.error["type"].split("_")[0]
    wanted, how = _KINDS[kind]
    given = wrong.error["input"]
    if kind == "int" and isinstance(given, str) and re.fullmatch(r"(0x)?[0-9A-Fa-f]+", given):
        how = f"In hexadecimal it is written 0x{given.removeprefix('0x')}, without quotes."
    return f"{_given(wrong)} stands where {wanted} belongs. {how}"


def _bound(wrong: _Wrong) -> str:
    context = wrong.error["ctx"]
    if "ge" in context:
        return f"{_given(wrong)} is too small. Smallest is {context['ge']}."
    return f"{_given(wrong)} is too large. Largest is {context['le']}."


def _empty(wrong: _Wrong) -> str:
    return f"is {_given(wrong)} with nothing in it. At least one belongs here."


def _too_many(wrong: _Wrong) -> str:
    context = wrong.error["ctx"]
    return f"{context['actual_length']} values are too many. At most {context['max_length']} belong here."


def _own_words(wrong: _Wrong) -> str:
    return str(wrong.error["ctx"]["error"])


def _others(wrong: _Wrong) -> str:
    """Custom errors have their own words; of pydantic's rarer ones the plain message must do."""
    return wrong.error["msg"][:1].lower() + wrong.error["msg"][1:]


_SENTENCES: dict[str, Callable[[_Wrong], str]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "literal_error": _choice,
    "enum": _choice,
    "union_tag_invalid": _choice,
    "union_tag_not_found": _tag_missing,
    "string_pattern_mismatch": _pattern,
    "string_type": _kind,
    "int_type": _kind,
    "int_parsing": _kind,
    "int_from_float": _kind,
    "float_type": _kind,
    "float_parsing": _kind,
    "bool_type": _kind,
    "bool_parsing": _kind,
    "dict_type": _kind,
    "model_type": _kind,
    "model_attributes_type": _kind,
    "list_type": _kind,
    "tuple_type": _kind,
    "greater_than_equal": _bound,
    "less_than_equal": _bound,
    "too_short": _empty,
    "too_long": _too_many,
    "value_error": _own_words,
}

"""Every example in docs/mqtt.md is a message that could have been sent, and every key is explained."""

import hashlib
import re
from pathlib import Path

import jsonschema
import orjson
import pytest

from daq.core.message import Event
from daq.core.message_schema import message_schemas
from daq.core.observation import Flag, Integrity, ReadingStatus, Status

PAGE = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- ([a-z-]+) -->\n```json\n(.*?)```", PAGE, re.DOTALL)


def test_every_example_says_what_it_is():
    assert len(EXAMPLES) == PAGE.count("```json")
    assert {name for name, _ in EXAMPLES} == set(message_schemas())


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_every_example_is_valid_and_knows_no_other_keys(name, text):
    jsonschema.Draft202012Validator(closed(message_schemas()[name])).validate(orjson.loads(text))


def closed(schema):
    """The schema with no room for keys it does not describe."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(part) for key, part in schema.items()}
    return {"additionalProperties": False} | made if "required" in made else made


def test_the_info_example_has_the_hash_of_its_content():
    found = next(orjson.loads(text) for name, text in EXAMPLES if name == "instrument-info")
    rest = {key: found[key] for key in found if key not in {"v", "id", "epoch", "seq", "t", "info"}}
    digest = hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()
    assert found["info"] == digest[:8]


def test_every_key_of_an_observation_is_explained():
    schema = message_schemas()["observation"]
    keys = set(schema["properties"])
    keys |= set(schema["properties"]["readings"]["additionalProperties"]["properties"])
    keys |= set(schema["properties"]["exchanges"]["items"]["properties"])
    explained = set(re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert keys <= explained


@pytest.mark.parametrize("words", [Status, ReadingStatus, Flag, Integrity, Event])
def test_every_word_is_listed(words):
    assert [word for word in words if not re.search(rf"\b{word.value}\b", PAGE)] == []

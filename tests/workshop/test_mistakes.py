"""Mistakes made on purpose, each in a driver that is right: `daq driver test` names each with its line and its remedy.

The table is mistakes/table.yaml; a mistake that was missed goes there first.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from daq.workshop.findings import examined

FOLDER = Path(__file__).parent / "mistakes"
TABLE = YAML(typ="safe").load((FOLDER / "table.yaml").read_text("utf-8"))


def said_of(text, file):
    """(problem or warning, key, sentence) of everything that is told, without lines."""
    file.write_text(text)
    found = examined(file)
    lines = [("problem", line) for line in found.problems] + [("warning", line) for line in found.warnings]
    return {(kind, *split(line.removeprefix(str(file)))) for kind, line in lines}, lines


def split(line):
    key, words = re.fullmatch(r":[0-9]+:[0-9]+: (?:([\w.{}<>-]+): )?(.*)", line, re.DOTALL).groups()
    return key or "", words


def right_one(name):
    return (FOLDER / f"{name}.yaml").read_text("utf-8")


@pytest.mark.parametrize("name", ["dmm", "balance", "meter", "thermometer", "gauge"])
def test_the_drivers_are_right_without_the_mistakes(name):
    found = examined(FOLDER / f"{name}.yaml")
    assert found.problems == []
    assert found.examples >= 2


@pytest.mark.parametrize("mistake", TABLE, ids=lambda mistake: f"{mistake['driver']}: {mistake['what']}")
def test_a_mistake_is_told_with_its_line_and_its_remedy(mistake, tmp_path):
    right = right_one(mistake["driver"])
    assert mistake["right"] in right
    file = tmp_path / "driver.yaml"
    before, _ = said_of(right, file)
    now, lines = said_of(right.replace(mistake["right"], mistake["wrong"], 1), file)
    new = now - before
    if "told" not in mistake:
        assert new == set(), "it is told after all: write down how"
        return
    told = [each for each in new if each[:2] == (mistake["told"], mistake["at"]) and mistake["words"] in each[2]]
    assert told, f"of {mistake['what']} only this is told: {new}"
    assert all(re.match(rf"{re.escape(str(file))}:[1-9][0-9]*:[1-9][0-9]*: ", line) for _, line in lines)


def test_most_mistakes_are_told():
    assert len([each for each in TABLE if "told" in each]) >= 80
    assert {each["driver"] for each in TABLE} == {"dmm", "balance", "meter", "thermometer", "gauge"}

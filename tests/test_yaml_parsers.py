"""The quick parser and the exact one read the same of every file; what the quick one is not sure of it leaves alone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.load import source
from daq.load.source import FileProblem, read_exactly, read_quickly

ROOT = Path(__file__).parent.parent
FILES = [
    path
    for folder in ("drivers", "configs", "tests/cases", "tests/transports")
    for path in sorted((ROOT / folder).rglob("*.yaml"))
]


def exactly(text):
    try:
        return told(read_exactly(text))
    except FileProblem as problem:
        return problem.place, problem.message


def told(walk):
    return [*leaves(walk.data, ())], walk.keys, walk.values, walk.faults


def leaves(data, path):
    """Give every value with its type and digits: 1 is not 1.0, and 0x10 is not 16 where a text belongs."""
    if isinstance(data, dict | list):
        yield path, type(data)
        for key, below in data.items() if isinstance(data, dict) else enumerate(data):
            yield from leaves(below, (*path, key))
    else:
        yield path, type(data), str(data)


def text_of(path):
    return path.read_text("utf-8", errors="replace")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_both_read_the_same(path):
    quick = read_quickly(text_of(path))
    if quick is not None:
        assert told(quick) == exactly(text_of(path))


def test_the_library_is_read_quickly():
    """Whatever would have a driver read by the exact parser costs every start: an editor's tab, CR LF."""
    slow = [path for path in FILES if path.is_relative_to(ROOT / "drivers") and read_quickly(text_of(path)) is None]
    assert slow == []


@cache
def pieces():
    """A few lines of each file, so that what is damaged in them is found."""
    lines = [text_of(path).splitlines(keepends=True) for path in FILES]
    return ["".join(each[at : at + 6]) for each in lines for at in range(0, len(each), 23)]


SPECIAL = [
    *" \n:-?,[]{}#&*!|>'\"%@`\\/~=<+.0a\t\r\u00e9\u00a0\x7f\0\x85\u2028\ufeff\U0001f600",
    *(": ", " #", "\n ", "\n- ", "? ", "---\n", "...\n", "\r\n", "|\n  ", ">-\n  ", "!!str ", "!!int ", "&a ", "*a"),
    *(
        "\\t",
        "\\x41",
        "<<: ",
        "- ",
        "0o17",
        "0x1F",
        "1e3",
        ".5",
        "1:30",
        "yes",
        "~",
        "null",
        "012",
        "+1",
        "1_000",
        "|#",
    ),
]


@st.composite
def damaged(draw):
    text = draw(st.sampled_from(pieces()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.sampled_from([0, 0, 0, 1, 2]))
        text = text[:at] + draw(st.sampled_from(["", *SPECIAL])) + text[at + gone :]
    return text


@settings(max_examples=400)
@given(text=damaged())
def test_both_read_the_same_of_damaged_files(text):
    quick = read_quickly(text)
    if quick is not None:
        assert told(quick) == exactly(text)


@pytest.mark.parametrize(
    "text",
    [
        "a:\tb",
        "a: 1\r\nb: 2\r\n",
        "a: \x85b",
        "a: \u2028b",
        "a: \ufeffb",
        "%YAML 1.1\n---\na: yes\n",
        "a: |#x\n  y\n",
        "a: >-#x\n  y\n",
        "a: 1\na: 2\n",
        "a:\n",
        "a: {b: 0,5 s}\n",
        "a: !what 1\n",
        "",
        "# nothing\n",
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 100_000,
        "a: &a [*a]\n",
        "a: &a [x]\nb: [*a, *b]\n",
    ],
    ids=repr,
)
def test_what_the_quick_parser_leaves_to_the_exact_one(text):
    assert read_quickly(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", "yes"), ("1:30", "1:30"), ("1e3", 1000.0), ("0o17", 15), ("012", 12), ("1_000", "1_000"), ("0x1F", 31)],
)
def test_the_quick_parser_reads_yaml_1_2(text, value):
    walk = read_quickly(f"a: {text}\n")
    assert (walk.data, type(walk.data["a"]).__mro__[-2]) == ({"a": value}, type(value))


def test_without_the_quick_parser_all_is_read_all_the_same(monkeypatch, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: [1, 2]\n")
    read = source.read_yaml(file, "a.yaml")
    monkeypatch.setattr(source, "CParser", None)
    again = source.read_yaml(file, "a.yaml")
    assert again == read
    assert re.fullmatch("[0-9a-f]{12}", again.hash)

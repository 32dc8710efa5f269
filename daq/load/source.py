"""Reads YAML 1.2 into plain data and the place of every key. ruamel.yaml is at home here and nowhere else.

A bound on everything: bytes, levels, and what aliases make of a few lines. What is no YAML is said in plain words.

    path -> bytes -> text -> nodes (ruamel) -> Source
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from daq.core.errors import quoted
from daq.core.written import Keys, Place, Source, dotted, in_plain_words, is_nothing, scalar

MAX_FILE = 1 << 20
"""Bytes: no bench is longer; what is, was not meant to be one."""

MAX_NODES = 50_000
"""Keys and values after aliases are put in: a file of a few lines can ask for billions."""

MAX_DEPTH = 40
"""Levels: bench and driver files have a dozen."""


class FileProblem(Exception):
    """The file is no YAML that we read, and nothing in it can be judged.

    Args:
        place: where it was given up.
        message: what is wrong there.
    """

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def read_yaml(file: Path, shown: str) -> Source:
    """Read a YAML 1.2 file: plain data, and the place of every key. Raises FileProblem."""
    content = _bytes(file)
    text = _text(content)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except YAMLError as error:
        raise FileProblem(*_yaml_problem(error, text)) from None
    except RecursionError:
        _fail((1, 1), f"nests deeper than {MAX_DEPTH} levels. That is no bench or driver file.")
    if node is None:
        _fail((1, 1), "the file is empty. A bench begins with 'bench: 1', a driver with 'driver: 1'.")
    walk = _Walk()
    data = walk.plain(node, (), [])
    return Source(shown, data, walk.keys, walk.values, hashlib.sha256(content).hexdigest()[:12], tuple(walk.faults))


def _fail(place: Place, message: str) -> NoReturn:
    raise FileProblem(place, message)


def _bytes(file: Path) -> bytes:
    try:
        mode = file.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a folder has words of its own
            _fail((1, 1), "is a device or a pipe, and may never end. Write the name of a file.")
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE + 1)
    except OSError as error:
        _fail((1, 1), f"cannot be read: {error.strerror}. Check the name and the rights.")
    if len(content) > MAX_FILE:
        _fail((1, 1), f"is larger than {MAX_FILE} bytes. That is no bench or driver file.")
    return content


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        _fail((1, 1), "is written in UTF-16. Save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        _fail((line, column), f"byte 0x{content[error.start]:02x} is not UTF-8. Save the file as UTF-8.")


def _yaml_problem(error: YAMLError, text: str) -> tuple[Place, str]:
    """Say in plain words why a text is no YAML."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        return place, f"character U+{ord(text[error.position]):04X} cannot be part of a text file. Take it away."
    if not isinstance(error, MarkedYAMLError) or (error.problem_mark or error.context_mark) is None:
        return (1, 1), f"is no YAML: {' '.join(str(error).split())}."
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1)
    said = " ".join(part for part in (error.problem, error.context) if part)
    lines = text.splitlines()
    written = lines[mark.line][: mark.column + 1] if mark.line < len(lines) else ""
    began = error.context_mark
    opened = began is not None and began.line < mark.line and ("flow" in said or "quoted" in said)
    where = f" It began in line {began.line + 1}." if opened else ""
    return place, in_plain_words(said, written) + where


_TAG = "tag:yaml.org,2002:"
_KINDS = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
_KNOWN_TAGS = frozenset(_TAG + kind for kind in _KINDS)


class _Walk:
    """Goes once through the nodes of a file: plain data, places, and what no file of ours may hold."""

    def __init__(self) -> None:
        self.keys: dict[Keys, Place] = {}
        self.values: dict[Keys, Place] = {}
        self.faults: list[tuple[Keys, Place, str]] = []
        self._nodes = 0

    def plain(self, node: Node, path: Keys, above: list[Node]) -> Any:
        """Return the data of a node; a fault is noted and leaves None."""
        place = _place(node)
        self.values[path] = place
        self._nodes += 1
        if self._nodes > MAX_NODES:
            _fail(place, f"more than {MAX_NODES} keys and values once aliases are put in. Write fewer aliases.")
        if len(above) > MAX_DEPTH or node in above:
            _fail(place, f"nests deeper than {MAX_DEPTH} levels, or within itself. That is no bench or driver file.")
        if node.tag not in _KNOWN_TAGS:
            tag = quoted(str(node.tag).replace(_TAG, "!!"))
            self.faults.append((path, place, f"{dotted(path)}: the tag {tag} has no meaning here. Take it away."))
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path, [*above, node])
        if isinstance(node, SequenceNode):
            return [self.plain(each, (*path, i), [*above, node]) for i, each in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Keys, above: list[Node]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        before: Keys | None = None
        for key_node, value in node.value:
            place = _place(key_node)
            whole = found[str(before[-1])] if before is not None else None
            if before is not None and _splits_number(whole, key_node, value):
                meant = f"{whole}.{key_node.value}"
                said = f"{dotted(before)}: is a decimal comma meant? Decimals have a point: {meant!r}."
                self.faults.append((before, self.values[before], said))
                continue
            if not isinstance(key_node, ScalarNode) or not key_node.value:
                self.faults.append((path, place, "a key must be a word. Put texts that begin with { or [ in quotes."))
                continue
            key = str(key_node.value)
            below = (*path, key)
            if key in found:
                line = self.keys[below][0]
                said = f"{dotted(below)}: the same key stands in line {line} already. Take one away."
                self.faults.append((below, place, said))
                continue
            self.keys[below] = place
            found[key] = self.plain(value, below, above)
            before = below
        return found

    def _scalar(self, node: ScalarNode, path: Keys) -> Any:
        text = str(node.value)
        if node.style in ("'", '"', "|", ">") or node.tag == _TAG + "str":
            return text
        if is_nothing(text):
            said = f"{dotted(path)}: has no value. Write one, or take the key away."
            self.faults.append((path, self.keys.get(path, _place(node)), said))
            return None
        return scalar(text)


def _splits_number(before: Any, key: Node, value: Node) -> bool:
    """Whether a key is the rest of a number that a comma parted, as in {every: 0,5 s}."""
    whole = isinstance(before, int) and not isinstance(before, bool)
    empty = isinstance(value, ScalarNode) and value.value == "" and value.style is None
    return whole and empty and isinstance(key, ScalarNode) and str(key.value)[:1].isdigit()


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1

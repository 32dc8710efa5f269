"""Reads YAML 1.2 into plain data and the place of every key. ruamel.yaml is at home here and nowhere else.

A bound on everything: bytes, levels, and what aliases make of a few lines. What is no YAML is said in plain words.

Two parsers read it. The quick one (libyaml) is asked where it is known to agree with the exact one, ruamel's own. All
that it finds wrong, and all that is wrong with what it found, the exact one says: messages and places are always that
one's. Tests hold the two to each other.

    path -> bytes -> text -> nodes (quick, else exact) -> Source
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from daq.core.errors import quoted
from daq.core.written import MERGE, Keys, Place, Source, dotted, in_plain_words, is_nothing, scalar

if TYPE_CHECKING:
    CParser: Any = object  # it has no types
else:
    try:
        from _ruamel_yaml import CParser
    except ImportError:  # none is compiled for this interpreter: the exact one reads all, in four times the time
        CParser = None

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
    walk = read_quickly(text) or read_exactly(text)
    digest = hashlib.sha256(content).hexdigest()[:12]
    return Source(shown, walk.data, walk.keys, walk.values, digest, tuple(walk.faults))


_QUICK = re.compile(r"[\n -~\u00A0-\u2027\u202A-\uD7FF\uE000-\uFEFE]*")
_NOT_QUICK = re.compile(r"^%|[|>][-+0-9]*#", re.MULTILINE)
"""What both parsers read alike, as far as thousands of damaged files could tell: no tabs, no ends of lines but LF, no
mark of byte order, nothing beyond the first plane; no directives, and no comment that touches the head of a block."""


def read_quickly(text: str) -> Walk | None:
    """Read by the quick parser; None where the exact one must: it may disagree, or something is wrong."""
    if CParser is None or not _QUICK.fullmatch(text) or _NOT_QUICK.search(text):
        return None
    try:
        node = _Quick(text).get_single_node()
        walk = Walk(node) if node is not None else None
    except (YAMLError, RecursionError, FileProblem):
        return None
    return walk if walk is not None and not walk.faults else None


def read_exactly(text: str) -> Walk:
    """Read by the exact parser. Raises FileProblem."""
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except YAMLError as error:
        raise FileProblem(*_yaml_problem(error, text)) from None
    except RecursionError:
        _fail((1, 1), f"nests deeper than {MAX_DEPTH} levels. That is no bench or driver file.")
    if node is None:
        _fail((1, 1), "the file is empty. A bench begins with 'bench: 1', a driver with 'driver: 1'.")
    return Walk(node)


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
    return _no_colon(error, lines) or (place, in_plain_words(said, written) + where)


_LOOKALIKES = (
    (r"^\s*(- )?[^\s#\"'{\[:]+\uFF1A", "'\uff1a' is no colon. Write ':' and a blank behind it."),
    (r"\u00A0", "a no-break space stands where a blank belongs. Write it anew, with the space bar."),
    (r"^\s*(- )?[\w.-]+:[^\s/]", "a blank is missing behind the colon. Write 'key: value'."),
)
"""What looks like a colon and a blank, and is none."""


def _no_colon(error: MarkedYAMLError, lines: Sequence[str]) -> tuple[Place, str] | None:
    """Return the line whose colon is none: a parser notices it only in the next one."""
    if not any(words in str(error.problem) for words in ("could not find expected ':'", "mapping values are not")):
        return None
    last = error.problem_mark.line
    first = error.context_mark.line if error.context_mark is not None else last - 1
    for number in range(max(first, last - 2, 0), min(last + 1, len(lines))):
        for pattern, said in _LOOKALIKES:
            found = re.search(pattern, lines[number])
            if found is not None:
                return (number + 1, len(lines[number]) - len(lines[number].lstrip()) + 1), said
    if error.context_mark is not None and error.context_mark.line < last:
        mark = error.context_mark
        return (mark.line + 1, mark.column + 1), in_plain_words(str(error.problem), "")
    return None


_TAG = "tag:yaml.org,2002:"
_KINDS = ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
_KNOWN_TAGS = frozenset(_TAG + kind for kind in _KINDS)


_RULES = {
    first: [(Tag(suffix=str(tag)), rule) for tag, rule in rules]
    for first, rules in VersionedResolver().versioned_resolver.items()
}
"""First character -> (tag, expression): what YAML 1.2 says of plain scalars."""

_KINDS_OF_NODES = {ScalarNode: "str", SequenceNode: "seq", MappingNode: "map"}
_DEFAULT_TAGS = {kind: Tag(suffix=_TAG + name) for kind, name in _KINDS_OF_NODES.items()}
"""One for all: a tag works out only once how it reads."""


class _Quick(CParser if CParser is not None else object):  # type: ignore[misc]
    """The quick parser with the rules of YAML 1.2, and a bound on its levels: it goes down them on the stack of C."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> Tag:
        """Return the tag of a node that has none of its own."""
        if kind is ScalarNode and implicit[0] and value is not None:
            for tag, rule in _RULES.get(value[:1], ()):
                if rule.match(value):
                    return tag
        return _DEFAULT_TAGS[kind]

    def descend_resolver(self, parent: Node | None, index: object) -> None:
        """Go one level down. Raises RecursionError."""
        self._depth += 1
        if self._depth > MAX_DEPTH + 2:
            raise RecursionError

    def ascend_resolver(self) -> None:
        """Come back up."""
        self._depth -= 1


class Walk:
    """Goes once through the nodes of a file: plain data, places, and what no file of ours may hold."""

    def __init__(self, top: Node) -> None:
        self.keys: dict[Keys, Place] = {}
        self.values: dict[Keys, Place] = {}
        self.faults: list[tuple[Keys, Place, str]] = []
        self._nodes = 0
        self.data = self._plain(top, (), [])

    def _plain(self, node: Node, path: Keys, above: list[Node]) -> Any:
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
            return [self._plain(each, (*path, i), [*above, node]) for i, each in enumerate(node.value)]
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
                if before[-1] == "line":
                    said = f"{dotted(before)}: serial settings have strokes. Write them like 9600/8n1."
                self.faults.append((before, self.values[before], said))
                continue
            if not isinstance(key_node, ScalarNode) or not key_node.value:
                self.faults.append((path, place, "a key must be a word. Put texts that begin with { or [ in quotes."))
                continue
            key = str(key_node.value)
            below = (*path, key)
            if key == MERGE and not key_node.style:
                said = (
                    "YAML 1.2 has no merge key. Write out the keys that it was to bring; a whole value can be repeated "
                    "by its alias, such as 'channels: *name'."
                )
                self.faults.append((below, place, f"{dotted(below)}: {said}"))
                continue
            if key in found:
                line = self.keys[below][0]
                said = f"{dotted(below)}: the same key stands in line {line} already. Take one away."
                self.faults.append((below, place, said))
                continue
            self.keys[below] = place
            found[key] = self._plain(value, below, above)
            before = below
        return found

    def _scalar(self, node: ScalarNode, path: Keys) -> Any:
        text = str(node.value)
        if node.style in ("'", '"', "|", ">") or node.tag == _TAG + "str":
            return text
        if is_nothing(text):
            said = f"{dotted(path)}: has no value. Write one, or take the key away; what begins with # needs quotes."
            self.faults.append((path, self.keys.get(path, _place(node)), said))
            return None
        return scalar(text)


def _splits_number(before: Any, key: Node, value: Node) -> bool:
    """Whether a key is the rest of a number that a comma parted, as in {every: 0,5 s}."""
    whole = isinstance(before, int) and not isinstance(before, bool)
    empty = isinstance(value, ScalarNode) and value.value == "" and not value.style  # None, or empty: by parser
    return whole and empty and isinstance(key, ScalarNode) and str(key.value)[:1].isdigit()


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1

"""Reads bench and driver files from disk and lets nothing wrong through.

Everything that is wrong is said at once, each with file, line, column, key and how to mend it; nothing is ever written.
A driver that the bench does not use is not even opened. ruamel.yaml is at home here and nowhere else.

    path -> text -> Source (plain data, and where each key stands) -> models -> Loaded
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from daq.core import explain
from daq.core.bench import Bench, Credential, Secret, SecretFile
from daq.core.driver import Driver, RegisterDriver, TextDriver
from daq.core.errors import ConfigError, nearest, quoted
from daq.core.plan import Problem
from daq.core.wiring import wiring_problems
from daq.core.written import Keys, Place, Source, dotted, in_plain_words, is_nothing, scalar

log = logging.getLogger(__name__)

MAX_FILE = 1 << 20
"""Bytes: no bench is longer; what is, was not meant to be one."""

MAX_NODES = 50_000
"""Keys and values after aliases are put in: a file of a few lines can ask for billions."""

MAX_DEPTH = 40
"""Levels: bench and driver files have a dozen."""

DRIVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")

# ---------------------------------------------------------------- what comes out


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bench and all that it needs, found right.

    Args:
        path: of the bench file.
        bench: its content.
        drivers: by the name that the bench file gives.
        source: the bench file as written.
        driver_sources: the driver files as written, by the same names.
    """

    path: Path
    bench: Bench
    drivers: dict[str, Driver]
    source: Source
    driver_sources: dict[str, Source]

    @property
    def bench_hash(self) -> str:
        """Of the bench file, 12 hexadecimal digits."""
        return self.source.hash

    @property
    def driver_hashes(self) -> dict[str, str]:
        """Of each driver file, 12 hexadecimal digits."""
        return {name: source.hash for name, source in self.driver_sources.items()}


def load_bench(path: str | Path) -> Loaded:
    """Read a bench file and the drivers it uses.

    Raises:
        ConfigError: anything is wrong with any of them; holds every problem, by file and line.
    """
    path = Path(path)
    found = _Problems()
    source = found.read(path)
    if source is None:
        raise found.error()
    bench = found.bench(source)
    shelf = Shelf.beside(path)
    drivers: dict[str, Driver] = {}
    sources: dict[str, Source] = {}
    for name, first in _drivers_named(source.data).items():
        file = shelf.find(name)
        if file is None:
            found.add(source, first, f"no driver {quoted(name)}. {shelf.nearest(name)}")
            continue
        text = found.read(file)
        if text is None:
            continue
        sources[name] = text
        driver = found.driver(text)
        if driver is not None:
            drivers[name] = driver
    whole = bench if bench is not None else _sound_part(source.data, found.paths(source))
    if whole is not None:
        found.extend(source, wiring_problems(whole, drivers, _names(source.data, "wires")))
    if found.any() or bench is None:
        raise found.error()
    return Loaded(path, bench, drivers, source, sources)


def load_driver(path: str | Path) -> tuple[Driver, Source]:
    """Read one driver file. Raises ConfigError."""
    found = _Problems()
    source = found.read(Path(path))
    driver = found.driver(source) if source is not None else None
    if source is None or driver is None:
        raise found.error()
    return driver, source


def check_file(path: str | Path) -> None:
    """Read a bench or a driver file, whichever it is. Raises ConfigError with all that is wrong."""
    found = _Problems()
    source = found.read(Path(path))
    if source is None:
        raise found.error()
    keys = source.data if isinstance(source.data, dict) else {}
    if "driver" in keys or "speaks" in keys:
        load_driver(path)
    elif "bench" in keys or "instruments" in keys:
        load_bench(path)
    else:
        found.add(
            source, (), "neither a bench nor a driver. A bench begins with 'bench: 1', a driver with 'driver: 1'."
        )
        raise found.error()


# ---------------------------------------------------------------- finding


def data_path(kind: Literal["drivers", "configs", "schemas", "systemd"]) -> Path:
    """Return the folder that is shipped: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    packed = package / "data" / kind
    return packed if packed.is_dir() else package.parent / kind


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where driver files are looked for, the nearest folder first."""

    folders: tuple[Path, ...]

    @classmethod
    def beside(cls, bench: Path | None = None) -> Shelf:
        """Return the folders for a bench: its own, its project's, $BENCH_DAQ_DRIVERS, what is shipped.

        Args:
            bench: None looks beside the folder one stands in.
        """
        near = [Path("drivers")] if bench is None else [bench.parent / "drivers", bench.parent / ".." / "drivers"]
        named = [Path(each) for each in os.environ.get("BENCH_DAQ_DRIVERS", "").split(os.pathsep) if each]
        return cls(tuple(each for each in [*near, *named, data_path("drivers")] if each.is_dir()))

    def find(self, name: str) -> Path | None:
        """Return the file of a driver, None where no folder has it. A name never leads out of the folders."""
        if not DRIVER_NAME.fullmatch(name):
            return None
        files = (folder / f"{name}.yaml" for folder in self.folders)
        return next((file for file in files if file.is_file()), None)

    def names(self) -> dict[str, Path]:
        """Return every driver by name; the nearest folder wins."""
        found: dict[str, Path] = {}
        for folder in reversed(self.folders):
            found |= {file.relative_to(folder).with_suffix("").as_posix(): file for file in folder.rglob("*.yaml")}
        return dict(sorted(found.items()))

    def nearest(self, name: str) -> str:
        """Say which driver was probably meant."""
        if not DRIVER_NAME.fullmatch(name):
            return "That is no name of a driver. Write it like keysight/34465a, without drivers/ and .yaml."
        return f"{nearest(name, self.names())} Drivers are the files under drivers/."


def _drivers_named(data: Any) -> dict[str, Keys]:
    """Return every driver that a bench names, and where it does so first."""
    instruments = data.get("instruments") if isinstance(data, dict) else None
    named: dict[str, Keys] = {}
    for name, instrument in instruments.items() if isinstance(instruments, dict) else ():
        driver = instrument.get("driver") if isinstance(instrument, dict) else None
        if isinstance(driver, str):
            named.setdefault(driver, ("instruments", name, "driver"))
    return named


def _names(data: Any, key: str) -> frozenset[str]:
    part = data.get(key) if isinstance(data, dict) else None
    return frozenset(part) if isinstance(part, dict) else frozenset()


def _sound_part(data: Any, wrong: Iterable[Keys]) -> Bench | None:
    """Return the bench without its wrong instruments and wires, so that the sound ones are judged in the same run."""
    if not isinstance(data, dict):
        return None
    bad = {path[:2] for path in wrong}
    parts = {
        key: {name: part for name, part in data[key].items() if (key, name) not in bad}
        for key in ("wires", "instruments")
        if isinstance(data.get(key), dict)
    }
    try:
        return Bench.model_validate({"bench": 1, "station": {"site": "x", "name": "x"}, **parts})
    except ValidationError:
        return None


# ---------------------------------------------------------------- collecting what is wrong


class _Problems:
    """Everything wrong in all files of one bench, to be said at once."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._found: set[tuple[int, Place, str]] = set()
        self._paths: dict[str, list[Keys]] = {}

    def read(self, file: Path) -> Source | None:
        """Read a file; None where it cannot be read, which is noted."""
        shown = _shown(file)
        self._files.append(shown)
        try:
            return read_yaml(file, shown)
        except _FileProblem as problem:
            for place, text in problem.problems:
                self._note(shown, place, text)
            return None

    def bench(self, source: Source) -> Bench | None:
        """Read the bench; None where it is wrong, which is noted."""
        try:
            return Bench.model_validate(source.data)
        except ValidationError as error:
            self.extend(source, explain.problems(error, Bench, "bench"))
            return None

    def driver(self, source: Source) -> Driver | None:
        """Read a driver; None where it is wrong, which is noted."""
        model = _language(source.data)
        try:
            return model.model_validate(source.data)
        except ValidationError as error:
            self.extend(source, explain.problems(error, model, "driver"))
            return None

    def extend(self, source: Source, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.add(source, problem.path, problem.message, at_key=problem.at_key)

    def add(self, source: Source, path: Keys, message: str, *, at_key: bool = False) -> None:
        key = dotted(path)
        self._paths.setdefault(source.shown, []).append(path)
        self._note(source.shown, source.place(path, at_key=at_key), f"{key}: {message}" if key else message)

    def paths(self, source: Source) -> list[Keys]:
        """Return the keys of a file that are wrong so far."""
        return self._paths.get(source.shown, [])

    def any(self) -> bool:
        return bool(self._found)

    def error(self) -> ConfigError:
        return ConfigError(
            [f"{self._files[file]}:{line}:{col}: {text}" for file, (line, col), text in sorted(self._found)]
        )

    def _note(self, shown: str, place: Place, text: str) -> None:
        self._found.add((self._files.index(shown), place, text))


def _language(data: Any) -> type[TextDriver | RegisterDriver]:
    """Return the model that a driver file is meant for, even where `speaks` is missing or mistyped."""
    keys = data if isinstance(data, dict) else {}
    registers = "addressing" in keys if keys.get("speaks") not in ("text", "registers") else keys["speaks"] != "text"
    return RegisterDriver if registers else TextDriver


def _shown(file: Path) -> str:
    """Return the name that the user knows a file by: as given, or as seen from the folder he stands in."""
    if not file.is_absolute() and ".." not in file.parts:
        return str(file)
    here, there = Path.cwd(), file.resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) else str(there)


# ---------------------------------------------------------------- YAML


class _FileProblem(Exception):
    """The file is no YAML that we read; holds place and sentence of each problem."""

    def __init__(self, problems: list[tuple[Place, str]]) -> None:
        super().__init__(problems)
        self.problems = problems


def read_yaml(file: Path, shown: str) -> Source:
    """Read a YAML 1.2 file: plain data, and the place of every key. Raises _FileProblem."""
    content = _bytes(file)
    text = _text(content)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except YAMLError as error:
        raise _FileProblem([_yaml_problem(error, text)]) from None
    except RecursionError:
        _fail((1, 1), f"nests deeper than {MAX_DEPTH} levels. That is no bench or driver file.")
    if node is None:
        _fail((1, 1), "the file is empty. A bench begins with 'bench: 1', a driver with 'driver: 1'.")
    walk = _Walk()
    data = walk.plain(node, (), [])
    if walk.problems:
        raise _FileProblem(walk.problems)
    return Source(shown, data, walk.keys, walk.values, hashlib.sha256(content).hexdigest()[:12])


def _fail(place: Place, message: str) -> NoReturn:
    raise _FileProblem([(place, message)])


def _bytes(file: Path) -> bytes:
    try:
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
        self.problems: list[tuple[Place, str]] = []
        self._nodes = 0

    def plain(self, node: Node, path: Keys, above: list[Node]) -> Any:
        """Return the data of a node; a problem is noted and leaves None."""
        place = _place(node)
        self.values[path] = place
        self._nodes += 1
        if self._nodes > MAX_NODES:
            _fail(place, f"more than {MAX_NODES} keys and values once aliases are put in. Write fewer aliases.")
        if len(above) > MAX_DEPTH or node in above:
            _fail(place, f"nests deeper than {MAX_DEPTH} levels, or within itself. That is no bench or driver file.")
        if node.tag not in _KNOWN_TAGS:
            self.problems.append(
                (place, f"the tag {quoted(str(node.tag).replace(_TAG, '!!'))} has no meaning here. Take it away.")
            )
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path, [*above, node])
        if isinstance(node, SequenceNode):
            return [self.plain(each, (*path, i), [*above, node]) for i, each in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Keys, above: list[Node]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value in node.value:
            place = _place(key_node)
            if not isinstance(key_node, ScalarNode) or not key_node.value:
                self.problems.append((place, "a key must be a word. Put texts that begin with { or [ in quotes."))
                continue
            key = str(key_node.value)
            below = (*path, key)
            if key in found:
                line = self.keys[below][0]
                said = f"{dotted(below)}: the same key stands in line {line} already. Take one away."
                self.problems.append((place, said))
                continue
            self.keys[below] = place
            found[key] = self.plain(value, below, above)
        return found

    def _scalar(self, node: ScalarNode, path: Keys) -> Any:
        text = str(node.value)
        if node.style in ("'", '"', "|", ">") or node.tag == _TAG + "str":
            return text
        if is_nothing(text):
            key = dotted(path)
            self.problems.append(
                (self.keys.get(path, _place(node)), f"{key}: has no value. Write one, or take the key away.")
            )
            return None
        return scalar(text)


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


# ---------------------------------------------------------------- secrets


def resolve(secret: Secret) -> str:
    """Return what a secret holds. It is for its one consumer: never print, log or keep it.

    Raises:
        ConfigError: it is not there; says which, never what.
    """
    if isinstance(secret, Credential):
        if Path(secret.credential).name != secret.credential:
            raise ConfigError([f"{secret.credential!r} is no name of a credential. Write the name, without a path."])
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder is None:
            message = (
                f"credential {secret.credential!r}: systemd handed over none ($CREDENTIALS_DIRECTORY is not set). "
                f"Put LoadCredential={secret.credential}:/path into the unit, or use {{file: ...}}."
            )
            raise ConfigError([message])
        return _secret_file(Path(folder) / secret.credential, f"credential {secret.credential!r}")
    if isinstance(secret, SecretFile):
        return _secret_file(Path(secret.file), f"secret file {secret.file!r}")
    held = os.environ.get(secret.env)
    if not held:
        raise ConfigError([f"environment variable {secret.env!r} is not set or empty. Set it where the daemon starts."])
    return held


def _secret_file(file: Path, what: str) -> str:
    try:
        open_to_all = file.stat().st_mode & stat.S_IROTH
        held = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{what}: cannot be read: {error.strerror}. Check its name and rights."]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{what}: is no UTF-8 text. Write the secret and nothing else into it."]) from None
    if open_to_all:
        log.warning("%s can be read by everybody on this computer. Mend it: chmod o-r %s", what, file)
    held = held.removesuffix("\n").removesuffix("\r")
    if not held:
        raise ConfigError([f"{what}: is empty. Write the secret and nothing else into it."])
    return held

"""Rules of the house that no linter knows: names, sizes, and where things may be imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from daq.cli import VERBS

ROOT = Path(__file__).parent.parent
MODULES = sorted(file for room in ("daq", "simulators") for file in (ROOT / room).rglob("*.py"))

NAMELESS = {
    "util",
    "utils",
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "handler",
    "handlers",
    "base",
    "misc",
}
NAMELESS |= {"service", "services"}
LONGEST_MODULE = 500
LONGEST_FUNCTION = 60


def names(tree: ast.AST) -> list[str]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in ast.walk(tree) if isinstance(node, kinds)]


def words(name: str) -> set[str]:
    """Return the words of a name: line_settings, LineSettings."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return set(spaced.replace("_", " ").split())


def long_functions(source: str) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in functions
        if node.end_lineno is not None and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]


def test_the_rules_see_what_they_forbid():
    assert words("LineManager") & NAMELESS
    assert words("text_utils") & NAMELESS
    assert not words("database") & NAMELESS
    body = "\n".join("    pass" for _ in range(LONGEST_FUNCTION))
    assert long_functions(f"def long():\n{body}") == ["long (61 lines)"]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_is_named_by_what_it_is_for_and_stays_short(file: Path):
    source = file.read_text(encoding="utf-8")
    lines = source.count("\n")
    assert lines <= LONGEST_MODULE, f"{lines} lines: it has two ideas; part them"
    assert not long_functions(source)
    nameless = [name for name in (file.stem, *names(ast.parse(source))) if words(name) & NAMELESS]
    allowed = {"service"} if file.parent.name == "cli" else set()  # the verb `daq service`
    assert set(nameless) <= allowed, "name it by what it does"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_opens_with_what_it_is_for(file: Path):
    source = file.read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source))


def test_imports_keep_the_rooms_apart():
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stdout[-5000:]


def test_help_loads_no_device_library():
    asked = "import sys\nfrom daq.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit: pass\n"
    told = "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", asked + told], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(ast.literal_eval(run.stderr.splitlines()[-1]))
    assert not loaded & {"pyvisa", "serial", "mqttium", "ruamel", "sqlite3", "pydantic"}


def test_every_verb_has_its_row_and_its_module():
    modules = {file.stem for file in (ROOT / "daq" / "cli").glob("*.py")} | {
        folder.name for folder in (ROOT / "daq" / "cli").iterdir() if (folder / "__init__.py").exists()
    }
    assert set(VERBS) <= modules
    assert modules - set(VERBS) <= {"__init__", "reach"}, "a verb without a row in daq.cli.VERBS, or a stray module"

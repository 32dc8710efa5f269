"""What the documentation shows is what the program does: links lead somewhere, snippets load, verbs exist."""

import re
from pathlib import Path

import pytest

from daq.cli import VERBS
from daq.export import COLUMNS
from daq.load import load_bench, load_driver

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def snippets(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


YAML = [(f"{name}[{place}]", text) for page, name in zip(PAGES, NAMES, strict=True)
        for place, text in enumerate(snippets(page, "yaml"))]  # fmt: skip


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        assert not target.startswith("http"), f"{target}: the documentation stands for itself"
        found = page.parent / path if path else page
        assert found.exists(), f"{target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{target}: no such heading"


@pytest.mark.parametrize(("name", "text"), YAML, ids=[name for name, _ in YAML])
def test_every_yaml_snippet_that_is_a_whole_file_loads(name, text, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DAQ_DRIVERS", str(ROOT / "drivers"))
    path = tmp_path / "snippet.yaml"
    path.write_text(text, encoding="utf-8")
    for beside in snippets(ROOT / name.partition("[")[0], "yaml"):  # drivers that the page itself has written
        if driver := re.match(r"# (drivers/\S+)\n", beside):
            (tmp_path / driver[1]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / driver[1]).write_text(beside, encoding="utf-8")
    if re.search(r"^bench: 1", text, re.MULTILINE):
        assert load_bench(path).plans
    elif re.search(r"^driver: 1", text, re.MULTILINE):
        assert load_driver(path)
    else:
        assert "schema" not in text, f"{name} says it is a whole file and is neither a bench nor a driver"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_verb_that_is_named_exists(page):
    named = set(re.findall(r"(?:`|^\s*|\$ )(?:sudo )?daq ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= set(VERBS)


def test_every_column_of_the_table_is_explained():
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    assert explained == set(COLUMNS)

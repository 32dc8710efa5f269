"""Writes the first version of a driver file, and never over another.

Wish, file, perhaps a similar driver -> [begin] -> the file
"""

from __future__ import annotations

import os
from pathlib import Path

from daq.core.errors import ConfigError, DaqError
from daq.load import Shelf, data_path, judge_driver
from daq.workshop.new import Wish, derived, skeleton


def begin(file: Path, wish: Wish, similar: str | None = None) -> None:
    """Write a driver file.

    Args:
        file: where; its folder is made where there is none.
        wish: what is known.
        similar: name or file of a driver to begin from; None for a skeleton.

    Raises:
        DaqError: the file is there already, or there is no such similar driver.
        ConfigError: the similar driver is no YAML.
    """
    schema = _schema_from(file)
    text = skeleton(wish, schema) if similar is None else _copy(similar, wish, schema)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise DaqError(f"{file}: is there already, and is not written over. Take another name.") from None


def _copy(similar: str, wish: Wish, schema: str) -> str:
    shelf = Shelf.beside()
    path = Path(similar) if similar.endswith((".yaml", ".yml")) else shelf.find(similar)
    if path is None:
        raise DaqError(f"no driver {similar!r}. {shelf.nearest(similar)}")
    _, source, problems = judge_driver(path)
    if source is None:
        raise ConfigError(problems)
    return derived(path.read_text(encoding="utf-8"), source, similar, wish, schema)


def _schema_from(file: Path) -> str:
    """Return the schema's path as seen from the file; whole where it is far away."""
    schema = (data_path("schemas") / "driver.json").resolve()
    near = os.path.relpath(schema, file.parent.resolve())
    return str(schema) if near.count("..") > 3 else Path(near).as_posix()

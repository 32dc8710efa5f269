"""Marks outlive a restart, and never cost an observation."""

import pytest

from daq.core.errors import ConfigError
from daq.marks import MAX_PAIRS, Marks


def test_marks_are_there_after_a_restart(tmp_path):
    marks = Marks(tmp_path / "marks.json")
    marks.change({"job": "J-88", "operator": "Nguyễn"}, clear=False)
    marks.keep()
    assert Marks(tmp_path / "marks.json").pairs == (("job", "J-88"), ("operator", "Nguyễn"))


def test_an_empty_value_takes_a_mark_away(tmp_path):
    marks = Marks(tmp_path / "marks.json")
    marks.change({"job": "J-88", "point": "10V-up"}, clear=False)
    marks.change({"point": ""}, clear=False)
    assert marks.pairs == (("job", "J-88"),)


def test_clear_forgets_all_but_what_is_set_with_it(tmp_path):
    marks = Marks(tmp_path / "marks.json")
    marks.change({"job": "J-88", "point": "10V-up"}, clear=False)
    marks.change({"job": "J-89"}, clear=True)
    assert marks.pairs == (("job", "J-89"),)


@pytest.mark.parametrize(
    "changes", [{"k" * 64: "v"}, {"job": "v" * 201}, {f"k{number}": "v" for number in range(MAX_PAIRS + 1)}]
)
def test_what_is_too_much_is_refused_and_changes_nothing(tmp_path, changes):
    marks = Marks(tmp_path / "marks.json")
    marks.change({"job": "J-88"}, clear=False)
    with pytest.raises(ConfigError, match="too"):
        marks.change(changes, clear=False)
    assert marks.pairs == (("job", "J-88"),)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_file_is_no_marks(tmp_path, damage):
    (tmp_path / "marks.json").write_bytes(damage)
    assert Marks(tmp_path / "marks.json").pairs == ()


def test_a_disk_that_fails_costs_the_marks_at_the_next_restart_only(tmp_path, caplog):
    marks = Marks(tmp_path / "gone" / "marks.json")
    marks.change({"job": "J-88"}, clear=False)
    marks.keep()
    assert marks.pairs == (("job", "J-88"),)
    assert "lost at the next restart" in caplog.text

"""The reference page is what the models say."""

from __future__ import annotations

from daq.workshop.reference import reference
from tests.workshop.conftest import ROOT


def test_the_page_is_made_from_the_models(daq):
    page = (ROOT / "docs" / "driver-reference.md").read_text("utf-8")
    assert page == reference(), "run: daq driver reference > docs/driver-reference.md"
    assert daq("driver", "reference").out == page


def test_every_key_has_a_meaning():
    rows = [row for row in reference().splitlines() if row.startswith(("| `", "| **`"))]
    assert len(rows) > 80
    assert [row for row in rows if not row.split("|")[-2].strip()] == []

"""Houses for the tests: one that all tests of a file share, already running, or one that the test builds itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.house import House, house


@pytest.fixture(scope="module")
def running() -> Iterator[House]:
    """One station with every instrument, for all tests of a file; a test leaves it as it found it."""
    with house() as built:
        built.start()
        yield built


@pytest.fixture
def empty() -> Iterator[House]:
    """A house in which nothing runs yet."""
    with house() as built:
        yield built

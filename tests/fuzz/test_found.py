"""What fuzzing found stays mended; each target takes its seeds, and bytes made of them, without atheris."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

FOUND = sorted(path for path in (Path(__file__).parent / "found").glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name[:16]}")
def test_what_was_found_once_is_mended(path):
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_what_lies_near_them(target):
    chance = random.Random(target)
    seeds = list(SEEDS[target]())
    for seed in islice(chance.sample(seeds, len(seeds)), 40):
        TARGETS[target](seed)
        TARGETS[target](damaged(seed, chance))


def damaged(seed, chance):
    """One byte more, less or other, or the end cut off."""
    place = chance.randrange(len(seed) + 1)
    return chance.choice(
        (
            seed[:place],
            seed[:place] + seed[place + 1 :],
            seed[:place] + chance.randbytes(1) + seed[place:],
            seed[:place] + chance.randbytes(1) + seed[place + 1 :],
        )
    )

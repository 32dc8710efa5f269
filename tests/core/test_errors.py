"""What was probably meant, and what else there is."""

import pytest

from daq.core.errors import choices, nearest

FUNCTIONS = ["aci", "dcv", "ohm2w", "ohm4w"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("dvc", "dcv"), ("DCV", "dcv"), ("dcv1", "dcv"), ("ohms4w", "ohm4w")],
)
def test_a_slip_of_the_fingers_is_seen_through(word, meant):
    assert nearest(word, FUNCTIONS) == f"Nearest: {meant!r}."


@pytest.mark.parametrize("word", ["acv", "dci", "v", "xyz"])
def test_a_short_name_with_another_letter_is_another_name(word):
    assert nearest(word, FUNCTIONS) == "Known: aci, dcv, ohm2w, ohm4w."


def test_behind_the_nearest_stand_the_others_where_they_are_few():
    assert choices("dvc", FUNCTIONS) == "Nearest: 'dcv'. Known: aci, dcv, ohm2w, ohm4w."
    assert choices("acv", FUNCTIONS) == "Known: aci, dcv, ohm2w, ohm4w."
    assert choices("dvc", ["dcv"]) == "Nearest: 'dcv'."
    assert choices("dvc", []) == "There are none."


def test_of_many_names_twelve_are_told():
    many = [f"channel{number:02}" for number in range(1, 21)]
    assert choices("chanel03", many).endswith("channel11, channel12 and 8 more.")

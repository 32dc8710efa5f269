"""The judge of what is told would see it: each way to tell otherwise than it is, made up, is found at its length."""

from __future__ import annotations

from tests.faults.health import Said, from_each_other, from_what_came, note

NS = 1_000_000_000


def seconds(*numbers):
    return [round(number * NS) for number in numbers]


def said(*changes):
    return [Said(round(at_s * NS), word) for at_s, word in changes]


def test_ok_and_nothing_came():
    found = from_what_came("a", said((0, "ok"), (9, "lost")), seconds(1, 2), [], 20 * NS)
    assert found.seconds == 7
    assert "ok" in found.words


def test_nothing_comes_after_the_last_change():
    assert from_what_came("a", said((0, "ok")), seconds(1, 2, 3), [], 11 * NS).seconds == 8


def test_not_ok_and_all_was_good():
    found = from_what_came("a", said((0, "lost"), (9, "ok")), seconds(2, 3, 4, 5, 6, 7, 8, 9), [], 9 * NS)
    assert found.seconds == 7
    assert "lost" in found.words


def test_good_ones_between_bad_ones_are_no_reason_to_be_called_ok():
    bad, good = seconds(0.5, 2.5, 4.5), seconds(1, 2, 3, 4, 5)
    assert from_what_came("a", said((0, "degraded"), (6, "ok")), good, bad, 6 * NS).seconds == 0


def test_good_ones_before_the_last_bad_one_count_as_long_as_they_lasted():
    found = from_what_came("a", said((0, "degraded")), seconds(1, 2, 3, 4, 5, 6, 7), seconds(8), 9 * NS)
    assert found.seconds == 6


def test_what_agrees_agrees():
    changes = said((0, "ok"), (5, "lost"), (8, "ok"))
    good = seconds(1, 2, 3, 4, 5, 7, 8, 9, 10)
    found = from_what_came("a", changes, good, seconds(6), 10 * NS)
    assert found.seconds <= 2
    assert from_each_other("a", changes, said((0.2, "ok"), (5.1, "lost"), (8.4, "ok")), (), 10 * NS).seconds < 0.5


def test_the_broker_says_otherwise():
    found = from_each_other("a", said((0, "ok"), (2, "lost")), said((0, "ok")), (), 9 * NS)
    assert found.seconds == 7
    assert "lost here, ok at the broker" in found.words


def test_the_broker_may_say_otherwise_while_the_way_to_it_is_shut():
    shut = [(2 * NS, 8 * NS)]
    assert from_each_other("a", said((0, "ok"), (2, "lost")), said((0, "ok")), shut, 9 * NS).seconds == 1


def test_what_changes_to_and_fro_and_never_agrees_is_one_disagreement():
    here = said((0, "ok"), (2, "lost"), (3, "degraded"), (4, "lost"))
    assert from_each_other("a", here, said((0, "ok")), (), 6 * NS).seconds == 4


def test_only_other_words_are_taken_down():
    told = []
    for at_ns, word in ((1, "ok"), (2, "ok"), (3, "lost"), (4, "lost")):
        note(told, at_ns, word)
    assert told == [Said(1, "ok"), Said(3, "lost")]

"""Whether what the station says of itself is so: its status against what came, the broker's copy against its status.

An instrument that gives values is to be called ok, and one that gives none is not, within a few seconds; what stays at
the broker is to say the same while the way there is open. Pure.

    status as sampled, status as heard, when slots were good or not -> Differed: for how long, and who
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

NS = 1_000_000_000

OK = "ok"

WITHIN_S = 5.0
"""In which what is told follows what is."""

AGAIN = 3
"""Good slots in a row before one that failed is called ok again."""


@dataclass(frozen=True)
class Said:
    """A word, and from when on it was said: until the next one."""

    at_ns: int
    word: str


@dataclass(frozen=True)
class Differed:
    """From when on two of them did not agree, mono ns, for how many seconds, and what they said."""

    from_ns: int = 0
    seconds: float = 0.0
    words: str = ""

    @classmethod
    def between(cls, from_ns: int, until_ns: int, words: str) -> Differed:
        return cls(from_ns, (until_ns - from_ns) / NS, words)


def longest(found: Iterable[Differed]) -> Differed:
    """Return the longest of them."""
    return max(found, key=lambda each: each.seconds, default=Differed())


def note(said: list[Said], at_ns: int, word: str) -> None:
    """Take down what is said where it is another word than before."""
    if not said or said[-1].word != word:
        said.append(Said(at_ns, word))


def from_what_came(
    name: str, said: Sequence[Said], good_ns: Sequence[int], bad_ns: Sequence[int], end_ns: int
) -> Differed:
    """Return for how long it was called ok and nothing good came, or all that came was good and it was not called ok.

    Args:
        name: whose status it is.
        said: the changes of it.
        good_ns: when something good came, ascending; bad_ns: when it should have.
        end_ns: when the status was seen last.
    """
    return longest(_found(name, said, good_ns, bad_ns, end_ns))


def _found(
    name: str, said: Sequence[Said], good_ns: Sequence[int], bad_ns: Sequence[int], end_ns: int
) -> Iterable[Differed]:
    for this, then in pairwise([*said, Said(end_ns, "")]):
        good = [this.at_ns, *_between(good_ns, this.at_ns, then.at_ns), then.at_ns]
        bad = [this.at_ns, *_between(bad_ns, this.at_ns, then.at_ns), then.at_ns]
        if this.word == OK:
            for before_ns, after_ns in pairwise(good):
                yield Differed.between(before_ns, after_ns, f"{name}: ok, and nothing came")
            continue
        for before_ns, after_ns in pairwise(bad):
            run = _between(good, before_ns, after_ns)
            if len(run) >= AGAIN:
                until_ns = after_ns if after_ns == then.at_ns else run[-1]
                yield Differed.between(run[0], until_ns, f"{name}: {this.word}, and all was good")


def from_each_other(
    name: str, said: Sequence[Said], heard: Sequence[Said], shut: Sequence[tuple[int, int]], end_ns: int
) -> Differed:
    """Return for how long the broker's copy said other than the station, while the way to the broker was open.

    Args:
        name: whose status it is.
        said: the changes of it, as the station told them.
        heard: as a subscriber heard them.
        shut: from when to when something was the matter with the broker.
        end_ns: when the status was seen last.
    """
    worst, begun_ns = Differed(), None
    instants = {each.at_ns for each in (*said, *heard)} | {at_ns for span in shut for at_ns in span} | {end_ns}
    for at_ns, next_ns in pairwise(sorted(instants)):
        here, there = _word(said, at_ns), _word(heard, at_ns)
        if here == there or None in (here, there) or any(begin <= at_ns < end for begin, end in shut):
            begun_ns = None
            continue
        begun_ns = begun_ns or at_ns
        words = f"{name}: {here} here, {there} at the broker"
        worst = longest((worst, Differed.between(begun_ns, next_ns, words)))
    return worst


def _between(instants_ns: Sequence[int], from_ns: int, until_ns: int) -> Sequence[int]:
    """Return those of ascending instants that lie between two, neither of them included."""
    return instants_ns[bisect_right(instants_ns, from_ns) : bisect_left(instants_ns, until_ns)]


def _word(said: Sequence[Said], at_ns: int) -> str | None:
    place = bisect_right(said, at_ns, key=lambda each: each.at_ns)
    return said[place - 1].word if place else None

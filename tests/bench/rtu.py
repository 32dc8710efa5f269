"""RTU: what share of the wire's own limit is reached, against a line whose bytes take their time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from tests.bench.benches import daemon, rtu_bench
from tests.bench.figures import median, percentile, spread
from tests.bench.loads import script
from tests.bench.procs import VALUES, Counter, Place, compiled, eventually, said_first
from tests.bench.report import Options, Result

WORDS = 10
CHARACTER_BITS = 10  # 8n1
ANSWERS, TOO_EARLY, NOISE, LATE_NS, FIRST, RING = 0, 1, 2, 3, 16, 400
"""What stands where in the counter of c/rtu_wire.c."""


def limit_per_s(baud: int, words: int) -> float:
    """Return how many exchanges a second a wire can carry: question, t3.5, answer, t3.5.

    A character has ten bits, as 8n1 has.
    """
    bytes_ = 8 + 5 + 2 * words
    return 1 / (bytes_ * CHARACTER_BITS / baud + 2 * silence_s(baud))


def silence_s(baud: int) -> float:
    """Return t3.5: 3.5 characters, 1.75 ms above 19200 baud (MODBUS over Serial Line V1.02, 2.5.1.1)."""
    return 0.00175 if baud > 19200 else 3.5 * CHARACTER_BITS / baud


@contextlib.contextmanager
def line(here: Place, baud: int) -> Iterator[tuple[str, Counter]]:
    """Run the wire; give the device to open, and what is counted."""
    counter = here.file("wire")
    with said_first(compiled("rtu_wire", here.folder), counter, str(baud), str(CHARACTER_BITS)) as device:
        yield device, Counter(counter)


def rtu(here: Place, options: Options) -> Result:
    """One device, ten registers, asked a little more often than the wire can carry."""
    result = Result(
        f"Modbus RTU, {WORDS} registers, 9600 and 115200 baud", ">= 90 % of the wire's limit, t3.5 included"
    )
    for baud, every in ((9600, "40 ms"), (115200, "6 ms")):
        turns, bare = [], []
        for _ in range(options.rounds):
            turns.append(_turn(here, baud, partial(_daemon, here, baud, every), options))
            bare.append(_turn(here, baud, partial(_loop, baud), options))
        shares = [turn.share for turn in turns]
        early, noise = (sum(getattr(turn, name) for turn in turns) for name in ("early", "noise"))
        result.shows(
            f"{baud} baud: {spread(shares)} % of {limit_per_s(baud, WORDS):.1f} exchanges/s, a bare loop "
            f"{spread([turn.share for turn in bare])} %"
        )
        result.says(
            f"{baud} baud: {spread([turn.heard for turn in turns])} % came to the broker; {early} questions before "
            f"t3.5 had passed, {noise} bytes that were no question"
        )
        result.says(
            f"{baud} baud: the simulated wire gave its last bytes late by p99 "
            f"{spread([turn.late_us for turn in turns], 0)} us; {spread([turn.net for turn in turns])} % without that, "
            f"which is not the daemon's"
        )
        result.judge(median(shares) >= 90 and early == 0 and noise == 0)
    return result


@dataclass(frozen=True)
class Turn:
    """One window.

    Args:
        share, heard: exchanges on the wire, and answers at the broker, per cent of the limit.
        net: the share, had the wire itself been in time.
        early, noise: questions that did not keep t3.5; bytes that were no question.
        late_us: 99th percentile of how late the wire gave its last byte.
    """

    share: float
    heard: float
    net: float
    early: int
    noise: int
    late_us: float


def _daemon(here: Place, baud: int, every: str, device: str) -> AbstractContextManager[object]:
    return daemon(here, rtu_bench(WORDS, every, device, f"{baud}/8n1"))


QUESTION = "01030000000ac5cd"
"""Unit 1, function 3, ten registers from 0; checksum C5CD (Modbus over Serial Line V1.02, appendix B)."""


def _loop(baud: int, device: str) -> AbstractContextManager[object]:
    return script("rtu_loop", device, QUESTION, 5 + 2 * WORDS, silence_s(baud))


def _turn(here: Place, baud: int, start: Callable[[str], AbstractContextManager[object]], options: Options) -> Turn:
    limit = limit_per_s(baud, WORDS)
    with line(here, baud) as (device, wire), start(device):
        eventually(lambda: wire[ANSWERS] > 0, "an answer on the wire")
        time.sleep(options.settle_s)
        begun, answers, late_ns, values = time.monotonic(), wire[ANSWERS], wire[LATE_NS], here.ear[VALUES]
        time.sleep(options.seconds)
        seconds, asked = time.monotonic() - begun, wire[ANSWERS] - answers
        heard, late_s = (here.ear[VALUES] - values) / WORDS, (wire[LATE_NS] - late_ns) / 1e9
        ring = [wire[FIRST + at] / 1e3 for at in range(min(RING, wire[ANSWERS]))]
        told = ((asked, seconds), (heard, seconds), (asked, seconds - late_s))
        shares = (100 * count / span / limit for count, span in told)
        return Turn(*shares, wire[TOO_EARLY], wire[NOISE], percentile(ring, 99))

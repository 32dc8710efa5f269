"""What a slow disk let gather goes back to the system, and does not stay for ever below what was allocated after it."""

import platform
import re
from pathlib import Path

import pytest

from daq.journal.memory import give_back

RECORDS = 20_000
RECORD_BYTES = 2_000
HALF_KIB = RECORDS * RECORD_BYTES // 1024 // 2


def own_kib() -> int:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators give back by rules of their own")
def test_what_gathered_is_given_back() -> None:
    before = own_kib()
    gathered = [bytes(RECORD_BYTES) for _ in range(RECORDS)]
    held = gathered[::50]  # all over the heap, so that it cannot shrink from its top
    gathered.clear()
    kept = own_kib() - before
    give_back()
    assert (kept > HALF_KIB, own_kib() - before < HALF_KIB, len(held)) == (True, True, RECORDS // 50)

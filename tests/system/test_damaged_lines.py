"""Bytes that a serial port knows to be damaged: the daemon over pseudo-terminals whose driver counts as a UART's."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.system.house import House

PARITY, OVERRUN = 8, 7  # in struct serial_icounter_struct
COMPILER = shutil.which("cc")


class Counters:
    """The file that the library in front of the daemon answers from."""

    def __init__(self, folder: Path) -> None:
        assert COMPILER is not None, "no C compiler"
        self.library, self.path = folder / "port.so", folder / "port.counters"
        source = Path(__file__).with_name("port.c")
        subprocess.run([COMPILER, "-O1", "-shared", "-fPIC", "-o", self.library, source, "-ldl"], check=True)
        self.path.write_bytes(bytes(20 * 4))

    def rise(self, counter: int) -> None:
        with self.path.open("r+b") as file:
            file.seek(counter * 4)
            (count,) = struct.unpack("=I", file.read(4))
            file.seek(counter * 4)
            file.write(struct.pack("=I", count + 1))


@pytest.fixture
def counters(empty: House, tmp_path: Path) -> Counters:
    counters = Counters(tmp_path)
    empty.daemon.environ = {"LD_PRELOAD": str(counters.library), "PORT_COUNTERS": str(counters.path)}
    empty.start(("balance1", "thermometer1", "meter1"))
    return counters


def test_what_the_port_counted_as_damaged_is_no_value_and_the_line_heals(counters, empty):
    """Asked in text, speaking unasked, and in registers, whose checksum finds damage by itself."""
    ear, begun = empty.ear, empty.ear.mark()
    for counter, words in ((PARITY, "1 parity error (is the parity right"), (OVERRUN, "1 overrun (")):
        since = ear.mark()
        counters.rise(counter)
        for name in ("balance1", "thermometer1"):
            bad = ear.next(name, since, status="protocol")[0].json
            assert words in bad["detail"]
            assert not bad["readings"]
            assert bad["exchanges"][-1]["got"]
            ear.next(name, ear.mark(), status="ok")
    ear.next("meter1", ear.mark(), status="ok")
    assert {heard.json["status"] for heard in ear.obs("meter1", begun)} == {"ok"}
    assert not empty.audit().wrong

"""Replies of bytes, without an ending, over real sockets and pseudo-terminals that lose, double and damage them."""

from __future__ import annotations

import struct
from itertools import chain, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.core.cut import ends_with
from daq.core.modbus import checksum
from daq.core.observation import Stamp
from daq.session import Session
from daq.transports.inbox import Inbox
from tests.core.drivers import compiled, text_driver
from tests.line.test_real_wires import collect, on_pty, on_tcp
from tests.line.wires import MS

WITHIN_MS = 250
DRIVER = text_driver(
    link={"eol": "", "max_latency": f"{WITHIN_MS} ms"},
    identify={"ask": "ID?", "reply": "\x02{serial:text:4}{:crc2}"},
    polls={
        "p": {
            "ask": "V??",
            "reply": "\x01{v:uint32}{:crc2}",
            "channels": {"v": {"quantity": "count", "unit": "1"}},
            "time": {"model": "latest", "period": "1 ms"},
        }
    },
)
"""Both answers are of one length: only their first byte and their checksum tell them apart."""

STAMP = Stamp(0, 0)
STRIKES = ("cut", "doubled", "flipped", "late", "shifted", "rest of another")


class Counter:
    """Answers each question with the next number, every fourth time not as it should.

    `log`: instant of the question -> the number that was answered to it.
    """

    def __init__(self) -> None:
        self.log: dict[int, str] = {}
        self._number = 0x0A0A0AF0  # among its bytes are line feeds, and soon the heads of both answers
        self._strikes = chain.from_iterable((*repeat("", 3), strike) for strike in STRIKES)

    def __call__(self, asked: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        if asked == b"ID?":
            return [(MS, self._frame(b"\x02" + b"0042"))]
        assert asked == b"V??"
        self._number += 0x01000201
        self.log[now_ns] = str(self._number)
        return self._struck(self._frame(b"\x01" + struct.pack(">I", self._number)), next(self._strikes, ""))

    def _frame(self, content: bytes) -> bytes:
        return content + checksum(content)

    def _struck(self, frame: bytes, strike: str) -> list[tuple[int, bytes]]:
        return {
            "cut": [(MS, frame[:4])],
            "doubled": [(MS, frame + frame)],
            "flipped": [(MS, frame[:3] + bytes([frame[3] ^ 0x10]) + frame[4:])],
            "late": [((WITHIN_MS + 60) * MS, frame)],
            "shifted": [(MS, b"\x01" + frame)],
            "rest of another": [(MS, frame[3:] + frame)],
        }.get(strike, [(MS, frame)])


@pytest.mark.parametrize("wire", ["tcp", "serial_server", "pty"])
async def test_of_frames_that_are_struck_no_number_is_another_questions(wire):
    counter = Counter()
    far = {"tcp": on_tcp, "serial_server": lambda *args: on_tcp(*args, behind=True), "pty": on_pty}[wire]
    plan = compiled(DRIVER, {"p": "20 ms"})
    assert plan.barrier is not None
    async with far(counter, 3) as address:
        observations = await collect(address, 30, Session(plan))
    when = {value: asked_ns for asked_ns, value in counter.log.items()}
    good = [seen for seen in observations if seen.readings]
    assert len(good) >= 30
    for seen in good:
        assert abs(when[seen.readings["v"].value] - seen.timing.mono_ns) <= seen.timing.err_ns
    assert {"timeout", "protocol"} <= {str(seen.status) for seen in observations}


@given(st.lists(st.integers(0, 255), min_size=1, max_size=6), st.data())
def test_a_check_behind_etx_is_waited_for_however_the_bytes_drip(checks, data):
    cut, inbox = ends_with(b"\x03", 1), Inbox()
    whole = b"".join(b"\x02+1.5\x03" + bytes([check]) for check in checks)
    taken, at = [], 0
    while at < len(whole):
        size = data.draw(st.integers(1, 9))
        inbox.put(whole[at : at + size], STAMP, STAMP, STAMP)
        at += size
        while (received := inbox.take(cut)) is not None:
            taken.append(received.data)
    assert taken == [b"\x02+1.5\x03" + bytes([check]) for check in checks]
    assert len(inbox) == 0

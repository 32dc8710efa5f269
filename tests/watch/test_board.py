"""The board shows what was said last, and nothing an instrument says can move the cursor."""

import io

import orjson
import pytest
from rich.console import Console

from daq.watch.board import Board
from daq.watch.picture import save_picture
from daq.watch.table import drawn

TOPIC = "bench/v1/lab/bench1/dmm1"


def observation(**changes):
    message = {
        "id": "lab.bench1.dmm1.vref.t3k9f27qd4.1",
        "t": "2026-11-22T08:40:00.423456Z",
        "t_err": 0.0021,
        "status": "ok",
        "simulated": False,
        "readings": {"dcv": {"value": 9.9, "text": "+9.9E+00", "unit": "V", "status": "ok", "role": "reference"}},
    }
    return orjson.dumps(message | changes)


def shown(board, height=0, width=120):
    console = Console(file=io.StringIO(), width=width, height=height or 60)
    console.print(drawn(board, 1_795_336_801.0, "footer", height, width))
    return console.file.getvalue()


@pytest.fixture
def board():
    board = Board()
    board.take("bench/v1/lab/bench1/status", b'{"status":"online","since":"2026-11-22T08:40:00.0Z","why":null}')
    board.take(f"{TOPIC}/status", b'{"status":"degraded","since":"2026-11-22T08:40:00.0Z","why":"vref: timeout"}')
    board.take(f"{TOPIC}/info", orjson.dumps({"polls": {"vref": {"channels": {"dcv": {"symbol": "V", "unit": "V"}}}}}))
    board.take(f"{TOPIC}/obs/vref", observation())
    return board


def test_the_instruments_own_digits_are_shown(board):
    text = shown(board)
    assert "+9.9E+00" in text
    assert "lab/bench1" in text
    assert "online" in text
    assert "degraded" in text


@pytest.mark.parametrize(
    ("value", "text", "said"),
    [
        (9.99998713, "+9.99998713E+00", "+9.99998713E+00"),
        (2.51, "25.1", "2.51"),  # scaled by its driver: the characters are in another unit
        (500000, "00C350", "500000"),  # hexadecimal
        (-12.3, "-  12.3", "-  12.3"),
        (None, "inside", "inside"),
    ],
)
def test_beside_the_unit_stands_the_number_in_that_unit(board, value, text, said):
    readings = {"dcv": {"value": value, "text": text, "unit": "V", "status": "ok"}}
    board.take(f"{TOPIC}/obs/vref", observation(readings=readings))
    assert board.rows["dmm1", "vref", "dcv"].text == said


def test_a_failure_takes_the_value_away(board):
    board.take(f"{TOPIC}/obs/vref", observation(status="timeout", readings={}, t_err=None))
    assert "+9.9E+00" not in shown(board)
    assert "timeout" in shown(board)


def test_a_poll_that_never_answered_has_a_row_until_it_does(board):
    board.take(f"{TOPIC}/obs/rref", observation(status="disconnected", readings={}, t_err=None))
    assert "disconnected" in shown(board)
    board.take(f"{TOPIC}/obs/rref", observation())
    assert "disconnected" not in shown(board)


def test_simulated_is_said_loudly(board):
    assert "SIMULATED" not in shown(board)
    board.take(f"{TOPIC}/obs/vref", observation(simulated=True))
    assert "SIMULATED" in shown(board)


def test_control_characters_never_reach_the_terminal(board):
    evil = {"dcv": {"value": None, "text": "\x1b[2J\x07", "unit": "V", "status": "ok"}}
    board.take(f"{TOPIC}/obs/vref", observation(readings=evil))
    board.take(
        "bench/v1/lab/bench1/event", orjson.dumps({"t": "2026-11-22T08:40:00Z", "event": "\x1b]0;x\x07", "details": {}})
    )
    assert "\x1b" not in shown(board)
    assert "\x07" not in shown(board)


def test_what_is_no_message_is_passed_over(board):
    for topic, payload in (("bench/v1/lab/bench1/dmm1/obs/vref", b"{"), ("x", b"1"), (f"{TOPIC}/status", b"")):
        board.take(topic, payload)
    assert "+9.9E+00" in shown(board)


def test_many_channels_leave_room_for_all_instruments():
    board = Board()
    for name in ("meter1", "meter2", "meter3"):
        readings = {f"c{number:02}": {"value": 1, "text": "1", "unit": "V", "status": "ok"} for number in range(30)}
        board.take(f"bench/v1/lab/bench1/{name}/obs/power", observation(readings=readings))
    lines = shown(board, height=24).splitlines()
    assert len(lines) < 24
    assert all(any(name in line for line in lines) for name in ("meter1", "meter2", "meter3"))
    assert sum("more" in line for line in lines) == 3
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_terminal_is_so_narrow_that_a_number_is_cut(board, width):
    readings = {
        "long-channel": {
            "value": 10.000014,
            "text": "+1.00000140E+01",
            "unit": "V",
            "status": "ok",
            "role": "reference",
        }
    }
    board.take(f"{TOPIC}/obs/vref", observation(readings=readings, status="ok"))
    lines = shown(board, width=width).splitlines()
    assert any(all(part in line for part in ("+1.00000140E+01", "V", "ok")) for line in lines)
    assert not any("+1.0" in line and "+1.00000140E+01" not in line for line in lines)
    assert ("reference" in shown(board, width=width)) is (width == 200)


def test_an_instrument_that_never_answered_is_there_with_the_reason(board):
    board.take(
        "bench/v1/lab/bench1/meter1/status",
        b'{"status":"lost","since":"2026-11-22T08:40:00.0Z","why":"power: timeout"}',
    )
    assert "meter1 lost: power: timeout" in shown(board)
    assert any(line.startswith("meter1") and "lost" in line for line in shown(board).splitlines())


def test_a_picture_asks_nobody_for_fonts(board, tmp_path):
    save_picture(board, tmp_path / "board.svg")
    svg = (tmp_path / "board.svg").read_text(encoding="utf-8")
    assert "font-face" not in svg
    assert "+9.9E+00" in svg

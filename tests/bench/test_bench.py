"""What the bench reckons with, by hand; nothing here measures a time."""

import struct

import pytest

from tests.bench import report
from tests.bench.__main__ import options, parser
from tests.bench.chart import place, ticks
from tests.bench.figures import percentile, slope, spread
from tests.bench.grid import off_grid
from tests.bench.listening import HEAD, Heard, Lateness, late_us, missed, read_record, utc_us
from tests.bench.outage import arrived
from tests.bench.report import END, MEASURED, Result, page, tell
from tests.bench.rtu import limit_per_s
from tests.bench.shapes import SHAPES
from tests.bench.stations import read_once
from tests.bench.truth import by_the_monotonic_clock

OK = (
    b'{"id":"s.b.i0.read.e1.%d","t":"2026-11-23T08:00:00.100700Z","t_err":0.0006,'
    b'"due":"2026-11-23T08:00:00.1%sZ","status":"ok"}'
)


def heard(payload, topic="bench/v1/s/b/i0/obs/read", arrived_ns=0):
    return Heard(arrived_ns, topic, payload)


def test_a_percentile_is_a_number_that_was_measured():
    assert percentile([3, 1, 2], 50) == 2
    assert percentile(list(range(1, 101)), 99) == 99
    assert percentile([7], 99) == 7


def test_a_spread_of_one_is_one_number():
    assert spread([2.0]) == "2.0"
    assert spread([3.0, 1.0, 2.0]) == "2.0 (1.0 to 3.0)"


def test_a_straight_line_has_no_doubt():
    found = slope([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 5.0, 7.0])
    assert (found.per, found.doubt, found.level) == (2.0, 0.0, 4.0)
    assert not found.is_nothing


def test_the_doubt_of_a_slope_is_three_standard_errors():
    found = slope([-1.0, 0.0, 1.0], [0.0, 3.0, 0.0])  # flat; residuals -1, 2, -1: variance 6 / 1, by sum of squares 2
    assert found.per == 0
    assert found.doubt == pytest.approx(3 * 3**0.5)
    assert found.is_nothing


def test_the_limit_of_a_wire_is_question_answer_and_twice_the_silence():
    # 33 bytes of 10 bits at 9600 baud: 34.375 ms; 3.5 of them: 3.6458 ms
    assert 1 / limit_per_s(9600, 10) == pytest.approx(34.375e-3 + 2 * 3.645833e-3)
    assert 1 / limit_per_s(115200, 10) == pytest.approx(330 / 115200 + 3.5e-3)


def test_what_an_ear_kept_is_read_back_but_for_a_message_that_is_not_whole():
    one = HEAD.pack(5, 3, 2) + b"a/b" + b"{}"
    assert list(read_record(one + one[:-1])) == [Heard(5, "a/b", b"{}")]
    assert struct.calcsize("QII") == HEAD.size == 16


def test_lateness_is_from_the_slot_to_the_question():
    # the interval begins a period of 1 ms before the question: 100.7 - 0.6 + 1.0 = 101.1 ms, slot at 100 ms
    assert late_us(heard(OK % (1, b"00000"))) == pytest.approx(1100)


def test_a_slot_that_was_missed_is_later_than_any_other():
    told = heard(b'{"status":"missed","slots":{"count":3}}')
    found = Lateness.of([heard(OK % (1, b"00000")), told])
    assert missed([told]) == 3
    assert found.percentile_us(25) == pytest.approx(1100)
    assert found.percentile_us(99) == float("inf")


def test_microseconds_of_utc_are_whole():
    assert utc_us("1970-01-01T00:00:01.000001Z") == 1_000_001
    assert utc_us("2026-11-23T08:00:00.999999Z") % 1_000_000 == 999_999


def test_a_slot_off_the_grid_is_found():
    dues = [b"23456", b"23456", b"23457"]
    assert off_grid([heard(OK % (number, due)) for number, due in enumerate(dues)]) == 1


def test_what_has_arrived_is_known_by_stream_epoch_and_number():
    payloads = [b'{"v":1,"id":"site.station.i7.read.t3k9.%d","x":1}' % seq for seq in (3, 1)]
    found = arrived(b"".join(HEAD.pack(0, 1, len(payload)) + b"t" + payload for payload in payloads))
    assert found == {("i7/read", "t3k9"): b"\0\1\0\1"}


def test_a_record_that_the_group_read_twice_or_never_is_found():
    once, twice, never = (heard(payload) for payload in (b"once", b"twice", b"never"))
    status = heard(b"{}", "bench/v1/s/b/status")
    assert read_once([once, twice, never, status], [[once, twice], [twice]]) == ([2, 1], 2)
    assert read_once([once, status], [[once], [twice]]) == ([1, 1], 0)


def test_the_ticks_of_a_picture_are_round_and_reach_the_largest():
    assert ticks(950) == [0, 500, 1000]
    assert ticks(38) == [0, 10, 20, 30, 40]
    assert place(10, [(1, 0), (100, 0)]) == pytest.approx(0.5)


def test_half_a_step_of_the_clock_is_taken_off_the_error():
    plain = b'{"t_err":1.034,"x":1}'
    assert by_the_monotonic_clock(plain) == ({"t_err": 1.034, "x": 1}, plain)
    message, payload = by_the_monotonic_clock(b'{"t_err":1800.0125,"x":1}')
    assert message["t_err"] == pytest.approx(0.0125)
    assert payload == b'{"t_err":0.012500,"x":1}'


@pytest.mark.parametrize(
    ("words", "seconds", "drift_s", "outage_s", "rows"),
    [
        ([], 4.0, 60.0, 120.0, 1_000_000),
        (["--quick", "--seconds", "3"], 3.0, 8.0, 6.0, 100_000),
        (["--hour"], 4.0, 3600.0, 3600.0, 10_000_000),
        (["--hour", "--outage-minutes", "2", "--rows", "1000"], 4.0, 3600.0, 120.0, 1000),
    ],
)
def test_what_is_said_counts_before_what_is_quick_or_long(words, seconds, drift_s, outage_s, rows):
    found = options(parser().parse_args(words))
    assert (found.seconds, found.drift_s, found.outage_s, found.rows) == (seconds, drift_s, outage_s, rows)
    assert found.picture is None


def test_the_picture_stands_beside_the_page():
    found = options(parser().parse_args(["--write", "docs/performance.md"]))
    assert str(found.picture) == "docs/growth.svg"


def told(name, words, cores=0.0):
    result = Result("a title", "a goal", met=True)
    result.shows(words)
    return tell(name, result, "a machine", cores)


def test_the_page_keeps_its_prose_and_what_was_not_run():
    empty = f"# Prose\n\n{MEASURED}\n{END}\n\nMore prose.\n"
    first = page(empty, {"rtu": told("rtu", "91 %"), "late": told("late", "1 | 2 us")}, ["late", "rtu"])
    second = page(first, {"rtu": told("rtu", "95 %")}, ["late", "rtu"])
    assert second.startswith("# Prose\n\n")
    assert second.endswith("\n\nMore prose.\n")
    assert second.index("`late` | a goal") < second.index("`rtu` | a goal")
    assert "95 %" in second
    assert "91 %" not in second
    assert second.count("1 / 2 us") == 1
    assert second.count("- 1 | 2 us") == 1
    assert page(second, {}, ["late", "rtu"]) == second


def test_a_figure_says_that_others_disturbed_it():
    assert told("rtu", "91 %").row.endswith("| met |")
    assert told("rtu", "91 %", 1.63).row.endswith("| met (others: 1.6 cores) |")
    assert "took 1.6 cores meanwhile" in told("rtu", "91 %", 1.63).section


def test_a_page_without_marks_gets_them_at_its_end():
    assert page("", {"rtu": told("rtu", "91 %")}, ["rtu"]).startswith(MEASURED)
    assert page("Prose.\n", {"rtu": told("rtu", "91 %")}, ["rtu"]).startswith(f"Prose.\n\n{MEASURED}")


def test_all_goals_of_a_shape_must_be_met():
    result = Result("a title", "a goal")
    assert result.verdict == "not judged"
    result.judge(True)
    assert result.verdict == "met"
    result.judge(False)
    result.judge(True)
    assert result.verdict == "not met"


def test_the_documentation_names_every_shape():
    text = (report.Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    assert [name for name in SHAPES if f"`{name}`" not in text] == []

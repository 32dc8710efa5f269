"""What reads in one step reads as in general, or leaves it to the general way; over every driver and at its edges."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daq.core.driver import RegisterDriver, TextDriver
from daq.core.errors import ReplyError
from daq.core.examples import register_memory, whole_plan
from daq.core.plan import RegisterStep
from daq.core.registers import ORDERS
from daq.load import load_driver
from tests.core.drivers import AT, channel, compiled, register_driver, with_poll

FILES = sorted((Path(__file__).parents[2] / "drivers").rglob("*.yaml"))
NO_SHRINKING = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def in_general(poll, answer):
    """What the general way reads, where every reading is ok and without a flag; None in every other case."""
    try:
        (step,) = poll.steps
        found = poll.readings([answer if isinstance(step, RegisterStep) else step.reply.match(answer)])
    except ReplyError:
        return None
    return found if all(each.status == "ok" and not each.flags for each in found.values()) else None


def assert_same(poll, answer):
    """See that it is read as in general, or left to the general way; say whether it was read."""
    found = poll.straight(answer)
    if found is not None:
        assert found == in_general(poll, answer), answer
        assert [*found] == [one.name for one in poll.channels]
    return found is not None


def damaged(whole, data):
    """A reply as lines damage it."""
    at = data.draw(st.integers(0, len(whole) - 1))
    way = data.draw(st.sampled_from(["flip", "cut", "lose", "double", "put", "turn"]))
    if way == "flip":
        return whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
    if way == "put":
        return whole[:at] + data.draw(st.sampled_from([b"0", b"9", b".", b"-", b"E", b"e", b" ", b","])) + whole[at:]
    if way == "turn":
        return whole[at:] + whole[:at]
    return {"cut": whole[at:], "lose": whole[:at] + whole[at + 1 :], "double": whole[:at] + whole}[way]


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def driver(request):
    return load_driver(request.param)[0]


def examples(driver):
    """Give (poll, answer) of every example of a poll that may be read in one step."""
    polls = {poll.source: poll for poll in whole_plan(driver).polls if poll.straight is not None}
    for example in driver.examples:
        poll = polls.get(example.poll)
        if poll is None or example.settings:
            continue
        if isinstance(driver, TextDriver):
            yield poll, (example.got[0] + driver.link.eol).encode("latin-1")
            continue
        (step,), memory = poll.steps, register_memory(driver, example)
        words = [memory.get((step.function, step.address + at), 0) for at in range(step.count)]
        yield poll, b"".join(word.to_bytes(2, "big") for word in words)


def test_examples_are_read_as_in_general(driver):
    for poll, answer in examples(driver):
        assert_same(poll, answer)


def test_what_is_damaged_is_read_as_in_general_or_left_to_it(driver):
    its = [*examples(driver)]
    if not its:
        return

    @NO_SHRINKING
    @given(st.sampled_from(range(len(its))), st.data())
    def read(number, data):
        poll, answer = its[number]
        for _ in range(4):
            answer = damaged(answer, data)
            if not answer:
                break
            assert_same(poll, answer)

    read()


def test_registers_of_any_content_are_read_as_in_general(driver):
    polls = [poll for poll in whole_plan(driver).polls if poll.straight is not None]
    if not isinstance(driver, RegisterDriver) or not polls:
        return

    @NO_SHRINKING
    @given(st.sampled_from(range(len(polls))), st.randoms(use_true_random=False))
    def read(number, any_bytes):
        poll = polls[number]
        assert_same(poll, any_bytes.randbytes(2 * poll.steps[0].count))

    read()


def test_the_plain_examples_of_most_drivers_are_read_in_one_step():
    straight, known = 0, 0
    for path in FILES:
        for poll, answer in examples(load_driver(path)[0]):
            known += in_general(poll, answer) is not None
            straight += poll.straight(answer) is not None
    assert straight > 0.9 * known > 200


# Text -----------------------------------------------------------------------------------------------------------------

NUMBERS = st.from_regex(r"[+-]?[0-9]{0,9}\.?[0-9]{0,9}([eE][+-]?[0-9]{1,3})?", fullmatch=True)


def text_poll(**poll):
    return compiled(with_poll(**{"ask": "V?", "reply": "{v:nr}", **poll}), {"p": "1 s"}).polls[0]


def of(**more):
    return {"channels": {"v": {"quantity": "voltage.dc", "unit": "V", **more}}}


@given(
    NUMBERS | st.sampled_from(["9.9E37", "-9.9E37", "+9.90000000E+37", "NAN", "0", "-0.00", "1E400", "1E-400"]),
    st.sampled_from([{}, of(special={"9.9E37": "overrange", "NAN": "invalid"}), of(plausible=["-10 V", "1e3 V"])]),
)
def test_a_number_is_read_as_in_general(text, poll):
    answer = f"{text}\n".encode()
    straight = assert_same(PLANS.setdefault(repr(poll), text_poll(**poll)), answer)
    left = in_general(PLANS[repr(poll)], answer) is None or (poll and not -10 < Decimal(text) < 1000)
    assert straight or left


PLANS = {}


def test_several_numbers_are_read_in_one_step_and_padding_is_none_of_them():
    volts = {"quantity": "voltage.dc", "unit": "V"}
    poll = text_poll(reply="{a:nr},{b:nr2:8}", channels={"b": volts, "a": volts})
    assert assert_same(poll, b"+1.50E-03,   -2.50\n")
    assert {name: its.value for name, its in poll.straight(b"+1.50E-03,   -2.50\n").items()} == {
        "b": "-2.50",
        "a": "1.50E-3",
    }
    assert not assert_same(poll, b"+1.50E-03,-2.50\n")
    assert not assert_same(poll, b"+1.50E-03,  -2.50 V\n")


@pytest.mark.parametrize(
    "poll",
    [
        {"reply": "{v:nr} {u:unit}", **of(unit_in="u")},
        {"reply": "{v:nr};{s:word}", "status": {"v": {"1": "overrange"}}},
        {"reply": "{v:word}", **of(kind="word")},
        {"reply": "{v:hex}"},
        {"reply": "{v:snr}"},
        {"reply": "{v:nr},{:sum2}"},
        {"reply": "{v:float32}"},
        of(scale="0.1"),
        {"reply": None, "replies": [{"match": "U {v:nr}", "flags": ["unstable"]}, {"match": "{v:nr}"}]},
    ],
)
def test_what_takes_more_is_left_to_the_general_way(poll):
    if "status" in poll:
        poll = {"ask": None, "reply": None, "steps": [{"ask": "V?", **poll}]}
    assert text_poll(**poll).straight is None


def test_several_questions_are_left_to_the_general_way():
    volts = {"quantity": "voltage.dc", "unit": "V"}
    steps = [{"ask": "A?", "reply": "{a:nr}"}, {"ask": "B?", "reply": "{b:nr}"}]
    assert text_poll(ask=None, reply=None, steps=steps, channels={"a": volts, "b": volts}).straight is None


def test_another_shape_is_left_to_the_general_way():
    poll = text_poll(reply=None, replies=[{"match": "{v:nr}"}, {"match": "OL", "status": "overrange"}])
    assert assert_same(poll, b"1.5\n")
    assert not assert_same(poll, b"OL\n")


# Registers ------------------------------------------------------------------------------------------------------------

WIDTHS = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}
EDGES = [b"\0\0", b"\xff\xff", b"\x80\0", b"\x7f\xff", b"\x7f\xc0", b"\x7f\x80", b"\xff\x80", b"\0\1", b"\1\0"]
WORDS = st.sampled_from(EDGES) | st.binary(min_size=2, max_size=2)


def register_poll(channels):
    return compiled(register_driver(channels, blocks={"max_gap": 10}), {"p": "1 s"}, at=AT).polls[0]


@settings(deadline=None)
@given(st.data())
def test_a_block_is_read_as_in_general(data):
    channels, at = {}, 1
    orders = data.draw(st.sampled_from([["ABCD"], ["CDAB"], ["BADC"], ["DCBA"], ["ABCD", "CDAB"], ["BADC", "DCBA"]]))
    for number in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from([*WIDTHS]))
        more = data.draw(
            st.sampled_from(
                [
                    {},
                    {"scale": "0.1"},
                    {"scale": "-1e-9"},
                    {"scale": "1000"},
                    {"plausible": ["-5 V", "200 V"]},
                    {"invalid": ["0x8000", "0", "0x7fc0"]},
                    {"special": {"0xffff": "overrange"}, "scale": "0.001"},
                ]
            )
        )
        channels[f"c{number}"] = channel(at, kind=kind, order=data.draw(st.sampled_from(orders)), **more)
        at += WIDTHS[kind] + data.draw(st.integers(0, 2))
    named = data.draw(st.permutations([*channels]))
    poll = register_poll({name: channels[name] for name in named})
    if poll.straight is None:
        assert len({one["order"] for one in channels.values() if WIDTHS[one["type"]] > 1}) > 1
        return
    for _ in range(5):
        content = b"".join(data.draw(WORDS) for _ in range(poll.steps[0].count))
        assert_same(poll, content)


@pytest.mark.parametrize("order", [each for each in ORDERS if len(each) == 4])
def test_plain_registers_of_every_order_are_read_in_one_step(order):
    kinds = ["float32", "int16", "uint32", "float32"]
    poll = register_poll({f"c{at}": channel(1 + 2 * at, kind=kind, order=order) for at, kind in enumerate(kinds)})
    assert assert_same(poll, bytes.fromhex("4048f5c3 fff90000 40490fdb c0490fdb")[: 2 * poll.steps[0].count])


def test_a_register_that_two_channels_read_is_read_for_both():
    poll = register_poll({"raw": channel(1, kind="int16"), "scaled": channel(1, kind="int16", scale="0.1")})
    assert {name: its.value for name, its in poll.straight(b"\xff\xf9").items()} == {"raw": "-7", "scaled": "-0.7"}
    assert register_poll({"one": channel(1, kind="int16"), "both": channel(1, kind="int32")}).straight is None


@pytest.mark.parametrize("content", [b"", b"\0", b"\0\1\0", b"\0\1\0\2"])
def test_a_block_of_another_length_is_left_to_the_general_way(content):
    assert register_poll({"v": channel(1)}).straight(content) is None


@pytest.mark.parametrize(
    "channels",
    [
        {"v": channel(1, kind="bcd16")},
        {"v": {**channel(1, kind="bits")}, "w": channel(2)},
        {"v": channel(1, scale_from={"at": 2, "table": "holding", "type": "int16"})},
        {"v": channel(1, "coil", "bits")},
        {"v": channel(1), "w": channel(500)},
    ],
)
def test_what_is_no_number_or_not_in_one_block_is_left_to_the_general_way(channels):
    for one in channels.values():
        one.update({"kind": "bits"} if one["type"] == "bits" else {})
    assert register_poll(channels).straight is None

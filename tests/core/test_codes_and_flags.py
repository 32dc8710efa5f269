"""What else in a reply says how a value is to be read: words, several fields of codes, a channel that is a code too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.errors import ReplyError
from daq.core.observation import Flag, ReadingStatus
from tests.core.drivers import compiled, problems, readings, text_driver, with_poll

T = {"t": {"quantity": "temperature", "unit": "K"}}
OK, INVALID, ABSENT, OVER = ReadingStatus.OK, ReadingStatus.INVALID, ReadingStatus.ABSENT, ReadingStatus.OVERRANGE


def polled(channels=T, **step):
    steps = step.get("steps", [step])
    return compiled(with_poll(steps=steps, channels=channels), {"p": "1 s"})


def one(found):
    return found["t"].value, found["t"].status, found["t"].flags


# Flags of words -------------------------------------------------------------------------------------------------------


def test_a_word_casts_a_doubt_or_the_lack_of_one_does():
    listed = polled(ask="T?", reply="{s:word} {t:nr2}", flags={"t": {"D": "unstable", "A": "suspect"}})
    assert [one(readings(listed, said))[2] for said in (b"S 1.5\n", b"D 1.5\n", b"A 1.5\n")] == [
        (),
        (Flag.UNSTABLE,),
        (Flag.SUSPECT,),
    ]
    ought = polled(ask="T?", reply="{s:word} {t:nr2}", flags={"t": {"!S": "unstable"}})
    assert [one(readings(ought, said))[2] for said in (b"S 1.5\n", b"X 1.5\n")] == [(), (Flag.UNSTABLE,)]


def test_an_enum_of_flags_takes_no_word_that_is_not_listed():
    plan = polled(ask="T?", reply="{s:enum} {t:nr2}", flags={"t": {"!S": "unstable", "D": "unstable"}})
    assert one(readings(plan, b"D 1.5\n")) == ("1.5", OK, (Flag.UNSTABLE,))
    with pytest.raises(ReplyError, match="s is 'X', which is none of its codes: 'S', 'D'"):
        readings(plan, b"X 1.5\n")


def test_a_later_step_may_cast_the_doubt():
    plan = polled(
        steps=[
            {"ask": "T?", "reply": "{t:nr2}"},
            {"ask": "STAB?", "reply": "{s:enum}", "flags": {"t": {"!1": "unstable", "0": "unstable"}}},
        ]
    )
    assert one(readings(plan, b"1.5\n", b"1\n")) == ("1.5", OK, ())
    assert one(readings(plan, b"1.5\n", b"0\n")) == ("1.5", OK, (Flag.UNSTABLE,))


def test_a_byte_of_flags_says_how_a_number_sent_as_bytes_is_to_be_read():
    plan = polled(
        ask="F?",
        reply="\x02{t:int16:BA}{s:bits8}{:sum1}",
        status={"t": {2: "overrange"}},
        flags={"t": {1: "unstable", 128: "suspect"}},
    )
    # sums by hand: 02 + D2 + 04 = D8
    assert one(readings(plan, bytes.fromhex("02 D2 04 00 D8 0A"))) == ("1234", OK, ())
    assert one(readings(plan, bytes.fromhex("02 D2 04 81 59 0A"))) == ("1234", OK, (Flag.UNSTABLE, Flag.SUSPECT))
    assert one(readings(plan, bytes.fromhex("02 D2 04 02 DA 0A")))[:2] == (None, OVER)
    with pytest.raises(ReplyError, match="its checksum is"):
        readings(plan, bytes.fromhex("02 D2 04 00 D9 0A"))


# Which field ----------------------------------------------------------------------------------------------------------


def test_of_two_fields_of_bits_each_is_named():
    plan = polled(
        ask="ALL?",
        reply="{t:nr2},{alarm:hex:2},{warning:hex:2}",
        status={"t": {"0x80": "overrange"}},
        status_in={"t": "alarm"},
        flags={"t": {"1": "unstable"}},
        flags_in={"t": "warning"},
    )
    assert one(readings(plan, b"1.5,00,01\n")) == ("1.5", OK, (Flag.UNSTABLE,))
    assert one(readings(plan, b"1.5,80,00\n"))[:2] == (None, OVER)


def test_a_channel_may_be_the_code_of_another():
    channels = {**T, "state": {"quantity": "state", "unit": "1", "kind": "enum", "enum": {"0": "open", "1": "fine"}}}
    plan = polled(
        channels,
        ask="ALL?",
        reply="{t:nr2},{state:enum}",
        status={"t": {"0": "absent", "1": "ok"}},
        status_in={"t": "state"},
    )
    found = readings(plan, b"300.0,0\n")
    assert (one(found)[:2], found["state"].text) == ((None, ABSENT), "open")
    assert one(readings(plan, b"300.0,1\n"))[:2] == ("300.0", OK)


def test_each_repetition_names_its_own_field():
    steps = [
        {
            "ask": "KRDG? {n}",
            "reply": "{t{n}:nr2},{a{n}:bits},{b{n}:bits}",
            "status": {"t{n}": {"1": "invalid"}},
            "status_in": {"t{n}": "a{n}"},
            "flags": {"t{n}": {"1": "unstable"}},
            "flags_in": {"t{n}": "b{n}"},
        }
    ]
    channels = {"t{n}": {"quantity": "temperature", "unit": "K"}}
    plan = compiled(with_poll(steps=steps, channels=channels, for_each={"n": ["A", "B"]}), {"p": "1 s"})
    found = readings(plan, b"1.5,0,1\n", b"2.5,1,0\n")
    assert (found["tA"].value, found["tA"].flags, found["tB"].status) == ("1.5", (Flag.UNSTABLE,), INVALID)


SCANNER = {
    "for_each": {"n": [1, 2, 3]},
    "channels": {"t{n}": {"quantity": "temperature", "unit": "Cel"}},
    "steps": [
        {
            "ask": "SCAN?",
            "each": "{t{n}:nr2:8},{s{n}:enum},{b{n}:bits},{n}",
            "reply": "{each}",
            "status": {"t{n}": {"0": "ok", "1": "overrange", "2": "absent"}},
            "status_in": {"t{n}": "s{n}"},
            "flags": {"t{n}": {"4": "unstable"}},
            "flags_in": {"t{n}": "b{n}"},
        }
    ],
}
"""A scanner whose one reply repeats value, status, flags, channel."""


def test_each_repetition_within_one_reply_has_its_status_and_flags():
    plan = compiled(with_poll(**SCANNER), {"p": "1 s"})
    assert len(plan.polls[0].steps) == 1
    found = readings(plan, b"  25.000,0,0,1,  26.500,1,4,2,   0.000,2,0,3\n")
    assert [(each.value, each.status, each.flags) for each in found.values()] == [
        ("25.000", OK, ()),
        (None, OVER, (Flag.UNSTABLE,)),
        (None, ABSENT, ()),
    ]
    for wrong in (
        b"  25.000,0,0,1,  26.500,1,4,2\n",  # one is missing
        b"  25.000,0,0,2,  26.500,0,0,1,   1.000,0,0,3\n",  # in another order
        b"  25.000,0,0,1,  26.500,9,4,2,   0.000,2,0,3\n",  # a status that nobody listed
    ):
        with pytest.raises(ReplyError):
            readings(plan, wrong)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_of_a_damaged_reply_no_repetition_takes_the_status_of_another(data):
    plan = compiled(with_poll(**SCANNER), {"p": "1 s"})
    states = [data.draw(st.sampled_from(["0", "1", "2"])) for _ in range(3)]
    whole = ",".join(f"{n * 11 + 0.5:8.3f},{state},0,{n}" for n, state in enumerate(states, 1)).encode() + b"\n"
    cut = data.draw(st.integers(1, len(whole) - 1))
    for wrong in (whole[cut:], whole[:-cut], whole + whole, whole[:cut] + whole[cut + 1 :], whole[:cut] + whole):
        try:
            found = readings(plan, wrong)
        except ReplyError:
            continue
        assert [each.status for each in found.values()] == [[OK, OVER, ABSENT][int(state)] for state in states]


@pytest.mark.parametrize(
    ("step", "path", "words"),
    [
        (
            {"reply": "{t:nr2},{a:nr1},{b:nr1}", "status": {"t": {"1": "invalid"}}},
            "status",
            "2 fields (a, b) that could",
        ),
        ({"reply": "{t:nr2},{a:hex},{b:hex}", "flags": {"t": {"1": "unstable"}}}, "flags", "flags_in: {t: field}"),
        ({"reply": "{t:nr2}", "status": {"t": {"1": "invalid"}}}, "status", "no field that could hold the code"),
        (
            {"reply": "{t:nr2},{a:nr1}", "status": {"t": {"1": "invalid"}}, "status_in": {"t": "aa"}},
            "status_in.t",
            "the reply has no field 'aa'",
        ),
    ],
)
def test_a_field_that_cannot_be_told_is_asked_for(step, path, words):
    found = problems(with_poll(steps=[{"ask": "T?", **step}], channels=T), {"p": "1 s"})
    assert any(where == f"polls.p.steps.0.{path}" and words in message for _, where, message in found)


# One field that is value and status -----------------------------------------------------------------------------------

CRYOSTAT = {
    "ask": "DATA?",
    "reply": "{a,b,c:nr2:8}",
    "channels": {
        name: {
            "quantity": "temperature",
            "unit": "K",
            "special": {"-----": "absent", "S.OVER": "overrange", "": "invalid"},
        }
        for name in "abc"
    },
}


CRYOSTATS = compiled(with_poll(**CRYOSTAT), {"p": "1 s"})


def test_dashes_for_an_absent_sensor_stand_in_place_of_its_number():
    found = readings(compiled(with_poll(**CRYOSTAT), {"p": "1 s"}), b" 295.120,  S.OVER,  ----- \n")
    assert [(found[name].value, found[name].status) for name in "abc"] == [
        ("295.120", OK),
        (None, OVER),
        (None, ABSENT),
    ]
    assert (
        readings(compiled(with_poll(**CRYOSTAT), {"p": "1 s"}), b" 295.120,        ,   -----\n")["b"].status is INVALID
    )


@settings(deadline=None)  # the computer may be busy
@given(
    values=st.lists(
        st.decimals(0, 999, places=3).map(str) | st.sampled_from(["-----", "S.OVER"]), min_size=3, max_size=3
    ),
    cut=st.integers(1, 25),
)
def test_a_cryostat_is_read_whole_or_not_at_all(values, cut):
    plan = CRYOSTATS
    whole = ",".join(value.rjust(8) for value in values).encode()
    for name, value in zip("abc", values, strict=True):
        read = readings(plan, whole + b"\n")[name]
        assert (read.value is None) == (not value[0].isdigit())
    for wrong in (whole[cut:], whole[:-cut], whole + whole, b" " + whole, whole.replace(b",", b";"), b"----"):
        with pytest.raises(ReplyError):
            readings(plan, wrong + b"\n")


# Streams that repeat --------------------------------------------------------------------------------------------------


def line_of(**more):
    stream = {
        "for_each": {"n": "probes"},
        "each": "{t{n}:nr2:8}",
        "join": ";",
        "reply": "T={each}",
        "channels": {"t{n}": {"quantity": "temperature", "unit": "Cel"}},
        "time": {"model": "arrival", "latency": "1 s"},
        **more,
    }
    return text_driver(settings={"probes": {"default": "1,2"}}, streams={"s": stream})


def test_a_talker_repeats_what_the_bench_lists():
    plan = compiled(line_of(), {"s": "unasked"}, settings={"probes": "1,2,4"})
    found = readings(plan, b"T=  25.000;  26.000;  27.000\n")
    assert {name: one.value for name, one in found.items()} == {"t1": "25.000", "t2": "26.000", "t4": "27.000"}
    with pytest.raises(ReplyError):
        readings(plan, b"T=  25.000;  26.000\n")


def test_a_talker_says_of_each_repetition_how_it_is_to_be_read():
    line = line_of(
        each="{t{n}:nr2:8} {s{n}:word:1}",
        status={"t{n}": {"E": "invalid"}},
        status_in={"t{n}": "s{n}"},
        flags={"t{n}": {"U": "unstable"}},
        flags_in={"t{n}": "s{n}"},
    )
    found = readings(compiled(line, {"s": "unasked"}), b"T=  25.000 U;  26.000 E\n")
    assert [(each.value, each.status, each.flags) for each in found.values()] == [
        ("25.000", OK, (Flag.UNSTABLE,)),
        (None, INVALID, ()),
    ]


def test_one_command_may_list_what_a_talker_is_to_send():
    start = ["cont off", {"tell": "actn;{each}", "each": "u{n}?;i{n}?", "join": ";"}, "cont on"]
    plan = compiled(line_of(start=start), {"s": "unasked"}, settings={"probes": "1,3"})
    told = [step.ask for step in plan.polls[0].start]
    assert told == [b"cont off\n", b"actn;u1?;i1?;u3?;i3?\n", b"cont on\n"]


def test_elsewhere_a_command_repeats_nothing():
    found = problems(text_driver(setup=[{"tell": "actn;{each}", "each": "u?"}]), {"p": "1 s"})
    assert ("driver", "setup.0.each") in [(file, path) for file, path, _ in found]


def test_a_line_cannot_be_several():
    found = problems(line_of(reply="T={t{n}:nr2:8}", each=None), {"s": "unasked"})
    assert any("a line is one: write each" in message for _, _, message in found)

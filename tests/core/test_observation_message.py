"""An observation printed from kept pieces is, byte for byte, the one printed as a whole."""

from __future__ import annotations

import gc
from dataclasses import replace
from sys import getsizeof
from types import MethodType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core import observation_message
from daq.core.message import StationName, printed
from daq.core.observation import (
    ClockState,
    Exchange,
    Flag,
    Identity,
    Kind,
    Observation,
    Reading,
    ReadingStatus,
    Slots,
    Status,
    Timing,
)
from daq.core.observation_message import Printer, observation_payload, without_exchanges
from daq.core.record import Entry
from tests.core.plain_message import plain_payload

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}", fullmatch=True)
TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from(["READ?\n", "1.5\r\n", "\r", 'a"b\\', "\x7f", "\x9b1", "\u202e"])
)
SHARED = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)  # what no lone surrogate can be in
SOME_BYTES = st.one_of(st.binary(max_size=30), st.binary(min_size=2000, max_size=6000))
INSTANTS = st.integers(0, 2**62)
SECONDS = st.floats(0, 1e7)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False).map(lambda one: str(one).replace("E+", "E"))
DIGITS = st.one_of(st.none(), NUMBERS.filter(lambda text: not text.startswith("0E") and text != "-0E0"))

READINGS = st.builds(
    Reading,
    value=DIGITS,
    text=TEXTS,
    unit=SHARED,
    quantity=SHARED,
    status=st.sampled_from(ReadingStatus),
    flags=st.lists(st.sampled_from(Flag), max_size=3).map(tuple),
    kind=st.sampled_from(Kind),
    role=st.one_of(st.none(), SHARED),
)

OBSERVATIONS = st.builds(
    Observation,
    instrument=NAMES,
    poll=NAMES,
    status=st.sampled_from(Status),
    due_ns=INSTANTS,
    clock=st.builds(ClockState, source=SHARED, err_s=st.one_of(st.none(), SECONDS)),
    identity=st.builds(Identity, *[st.one_of(st.none(), SHARED)] * 3),
    info=SHARED,
    timing=st.one_of(
        st.none(), st.builds(Timing, INSTANTS, INSTANTS, st.integers(0, 2**62), st.one_of(st.none(), INSTANTS))
    ),
    detail=st.one_of(st.none(), TEXTS, st.text(min_size=900, max_size=1100)),
    slots=st.one_of(st.none(), st.builds(Slots, INSTANTS, INSTANTS, st.integers(1, 10**9))),
    simulated=st.booleans(),
    context=st.dictionaries(TEXTS, TEXTS, max_size=3).map(lambda found: tuple(found.items())),
    readings=st.dictionaries(SHARED, READINGS, max_size=3),
    exchanges=st.one_of(
        st.lists(
            st.builds(Exchange, SOME_BYTES, SOME_BYTES, SECONDS, st.one_of(st.none(), SECONDS), st.booleans()),
            max_size=4,
        ).map(tuple),
        st.builds(lambda one, count: (one,) * count, st.just(Exchange(b"?", b"1", 0.0, 1e-6)), st.integers(250, 260)),
    ),
)


STATION, BOOT = StationName("vinhphuc", "bench1"), "b61c0f"


def check(printer, obs, seq=1, durable=True):
    """The printer's message, which must also be what one printer makes of it as a whole."""
    said = printer.entry(obs).encode("t3k9", seq, durable)
    assert said == plain_payload(obs, STATION, boot=BOOT, epoch="t3k9", seq=seq, durable=durable)
    return said


@settings(max_examples=300)
@given(OBSERVATIONS, st.booleans(), st.booleans(), st.integers(1, 2**62))
def test_the_pieces_make_the_message_that_one_printer_makes(obs, durable, exchanges, seq):
    said = {"boot": BOOT, "epoch": "t3k9", "seq": seq, "durable": durable}
    told = observation_payload(obs, STATION, **said)
    assert (told if exchanges else without_exchanges(told)) == plain_payload(obs, STATION, **said, exchanges=exchanges)
    printer = Printer(STATION, BOOT)
    for _ in range(3):  # from nothing kept, and from what was kept then
        assert printer.entry(obs).encode("t3k9", seq, durable) == told


@settings(max_examples=150)
@given(st.lists(OBSERVATIONS, min_size=2, max_size=5), st.randoms())
def test_what_was_kept_of_one_observation_never_shows_in_another(found, choose):
    """One poll, of which everything else changes at any time, together and one by one, and changes back."""
    printer, parts = Printer(STATION, BOOT), set(PARTS)
    for _ in range(20):
        obs, other = choose.choice(found), choose.choice(found)
        taken = choose.sample(sorted(parts), choose.randint(0, 2))
        check(printer, replace(obs, instrument="i", poll="p", **{part: getattr(other, part) for part in taken}))


PARTS = ("status", "clock", "identity", "info", "timing", "detail", "slots", "simulated", "context", "readings")

GOOD = Observation(
    instrument="i",
    poll="p",
    status=Status.OK,
    due_ns=1_795_336_800 * 10**9,
    clock=ClockState("chrony", 0.0004),
    identity=Identity("a", "m", "s"),
    info="7f3a",
    timing=Timing(81_234_567_891_123, 1_795_336_800_423_456_789, 2_100_000, 400_000_000),
    context=(("job", "J-88"),),
    readings={
        "one": Reading("1.50", "+1.50E+00", "V", "voltage.dc", role="reference"),
        "two": Reading("2", "2", "%", "humidity"),
    },
    exchanges=(Exchange(b"READ?\n", b"+1.50E+00,2\r\n", 0.0, 0.4042),),
)

CHANGES = [
    {"clock": ClockState("none", None)},
    {"identity": Identity("a", "m", "t")},
    {"info": "7f3b"},
    {"context": ()},
    {"context": (("job", "\udc80 Đo"),)},
    {"simulated": True},
    {"status": Status.TIMEOUT},
    {"status": Status.TIMEOUT, "readings": {}, "timing": None, "detail": "nothing \u202e\udcff\x7f"},
    {"status": Status.TIMEOUT, "readings": {}, "timing": None, "slots": Slots(0, 10**18, 3)},
    {"status": Status.TIMEOUT, "readings": {}, "timing": None, "detail": ',"durable":false,"exchanges":['},
    {"context": (("job", ',"durable":'),), "clock": ClockState(',"durable":', 0.1)},
    {"due_ns": None},
    {"due_ns": 999_999_500},
    {"timing": Timing(999, 499, 0, None)},
    {"timing": Timing(0, 0, 1, 0)},
    {"exchanges": ()},
    {"exchanges": (Exchange(b"\x01\x03", bytes(range(256)), 0.0, 1e-6, binary=True),)},
    {"exchanges": (Exchange(b"\xb0?\x00", bytes(range(256)), 1.5, None),)},
    {"exchanges": (Exchange(b"", b"\x00" * 1025, 0.0, 12345.0),)},
    *[
        {"readings": {**GOOD.readings, "two": replace(GOOD.readings["two"], **changed)}}
        for changed in (
            {"unit": "Cel"},
            {"quantity": "temperature"},
            {"role": "uut"},
            {"flags": (Flag.SUSPECT,)},
            {"flags": (Flag.SUSPECT, Flag.STALE)},
            {"status": ReadingStatus.OVERRANGE},
            {"kind": Kind.ENUM},
            {"kind": Kind.WORD, "value": None, "text": "OPER"},
            {"value": None},
            {"text": 'a"b'},
            {"text": "é\x9b"},
            {"text": "\udc80"},
            {"text": "1\r\n"},
            {"value": "-1.5E-07"},
        )
    ],
    {"readings": {"one": GOOD.readings["one"]}},
    {"readings": {"two": GOOD.readings["two"], "one": GOOD.readings["one"]}},
    {"readings": {"one": GOOD.readings["one"], "three": GOOD.readings["two"]}},
    {"readings": {**GOOD.readings, "%s": GOOD.readings["two"]}},
]


@pytest.mark.parametrize("changed", CHANGES)
def test_what_has_changed_shows_at_once_and_no_longer_than_it_lasts(changed):
    printer = Printer(STATION, BOOT)
    before = check(printer, GOOD)
    assert check(printer, GOOD) == before
    for _ in range(2):
        for _ in range(2):
            assert check(printer, replace(GOOD, **changed)) != before
        assert check(printer, GOOD) == before


@pytest.mark.parametrize("value", ["NaN", "1,2", "", "1}", "01", "1\n", "١"])
def test_what_json_cannot_hold_is_refused_among_readings_like_those_before_too(value):
    printer = Printer(STATION, BOOT)
    for _ in range(2):
        check(printer, GOOD)
        two = replace(GOOD.readings["two"], value=value)
        for readings in ({**GOOD.readings, "two": two}, {**GOOD.readings, "two": replace(two, text=value)}):
            with pytest.raises(ValueError, match=r"reading two: .* is not a JSON number"):
                printer.entry(replace(GOOD, readings=readings))


def test_more_polls_than_are_kept_are_printed_as_well(monkeypatch):
    monkeypatch.setattr(observation_message, "KEPT", 10)
    printer = Printer(STATION, BOOT)
    for _ in range(2):
        for number in range(25):
            for status in (Status.OK, Status.TIMEOUT):
                check(printer, replace(GOOD, instrument=f"i{number}", poll=f"p{number % 3}", status=status))
                assert len(printer._kept) <= 10


def test_every_ascii_character_is_printed_as_the_printer_of_dictionaries_does():
    everything = "".join(map(chr, range(128)))
    assert observation_message._in_quotes(everything).encode() == printed(everything)
    plain = [each for each in map(chr, range(0x3000)) if observation_message._is_plain(each)]
    assert plain == [
        each for each in map(chr, range(0x3000)) if each.isascii() and printed(each) == f'"{each}"'.encode()
    ]


def test_an_entry_says_how_large_it_is():
    for changed in CHANGES:
        entry = Printer(STATION, BOOT).entry(replace(GOOD, **changed))
        known = len('{"v":1,"id":"vinhphuc.bench1.i.p.e.1","epoch":"e","seq":1,false')
        assert entry.size >= len(entry.encode("e", 1, durable=False)) - known


def test_what_waits_of_an_entry_is_little_of_what_python_keeps_for_itself():
    printer = Printer(STATION, BOOT)
    one, other = (printer.entry(replace(GOOD, due_ns=due_ns)) for due_ns in (10**18, 10**18 + 10**9))
    own = {id(part): part for part in parts_of(one)}.keys() - {id(part) for part in parts_of(other)}
    sizes = [getsizeof(part) for part in parts_of(one) if id(part) in own]
    assert [size for size in sizes if size > 512], "what is printed is one piece that malloc takes back"
    assert sum(size for size in sizes if size <= 512) < 300


def parts_of(entry):
    """What it is made of; what lies behind a function or another class is shared."""
    found = [entry]
    for part in found:
        if isinstance(part, Entry | MethodType | tuple):
            found += gc.get_referents(part)
    return found

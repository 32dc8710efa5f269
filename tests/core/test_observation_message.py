"""An observation printed from kept pieces is, byte for byte, the one printed as a whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from daq.core.message import StationName
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
from daq.core.observation_message import observation_payload
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


@settings(max_examples=300)
@given(OBSERVATIONS, st.booleans(), st.booleans(), st.integers(1, 2**62))
def test_the_pieces_make_the_message_that_one_printer_makes(obs, durable, exchanges, seq):
    station, boot = StationName("vinhphuc", "bench1"), "b61c0f"
    for _ in range(2):  # from nothing kept, and from what was kept then
        told = [
            write(obs, station, boot=boot, epoch="t3k9", seq=seq, durable=durable, exchanges=exchanges)
            for write in (observation_payload, plain_payload)
        ]
        assert told[0] == told[1]

"""The subscriber that ships in docs/: what users copy must be right."""

import asyncio
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).parents[2] / "docs" / "subscriber.py"


@pytest.fixture(scope="module")
def subscriber():
    return loaded()


def loaded():
    if "docs_subscriber" not in sys.modules:
        spec = importlib.util.spec_from_file_location("docs_subscriber", PATH)
        module = importlib.util.module_from_spec(spec)
        sys.modules["docs_subscriber"] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    return sys.modules["docs_subscriber"]


def observation(seq, epoch="e1", stream="lab.bench1.dmm1.vref"):
    return {"id": f"{stream}.{epoch}.{seq}", "epoch": epoch, "seq": seq, "status": "ok"}


KEY = ("lab.bench1.dmm1.vref", "e1")


def test_a_duplicate_is_taken_once(subscriber):
    ledger = subscriber.Ledger()
    assert [ledger.take(observation(seq)) for seq in (0, 1, 1, 2, 0)] == [True, True, False, True, False]
    assert ledger.missing() == {}


def test_a_gap_is_seen_and_filled_late(subscriber):
    ledger = subscriber.Ledger()
    for seq in (0, 1, 5):
        ledger.take(observation(seq))
    assert ledger.missing() == {KEY: [(2, 4)]}
    assert ledger.take(observation(3))
    assert ledger.missing() == {KEY: [(2, 2), (4, 4)]}
    assert not ledger.take(observation(3))
    assert ledger.take(observation(2))
    assert ledger.take(observation(4))
    assert ledger.missing() == {}


def test_what_was_before_we_listened_is_no_gap_of_ours(subscriber):
    ledger = subscriber.Ledger()
    assert ledger.take(observation(1000))
    assert ledger.missing() == {}
    assert ledger.take(observation(999))
    assert not ledger.take(observation(999))


def test_a_new_epoch_and_another_poll_count_for_themselves(subscriber):
    ledger = subscriber.Ledger()
    assert ledger.take(observation(7))
    assert ledger.take(observation(7, epoch="e2"))
    assert ledger.take(observation(7, stream="lab.bench1.dmm1.rref"))
    assert ledger.missing() == {}


@given(st.lists(st.integers(0, 60), min_size=1))
def test_each_is_taken_once_whatever_the_order(seqs):
    ledger = loaded().Ledger()
    taken = [seq for seq in seqs if ledger.take(observation(seq))]
    assert sorted(taken) == sorted(set(seqs))
    open_now = {seq for first, last in ledger.missing().get(KEY, []) for seq in range(first, last + 1)}
    assert open_now == set(range(seqs[0], max(seqs) + 1)) - set(seqs)


def test_gaps_remembered_are_bounded(subscriber):
    ledger = subscriber.Ledger()
    for seq in range(0, 5000, 2):
        ledger.take(observation(seq))
    assert len(ledger.missing()[KEY]) == subscriber.MAX_HOLES


@pytest.mark.parametrize(
    ("reading", "usable"),
    [
        ({"status": "ok", "value": 0}, True),
        ({"status": "ok", "value": None}, False),
        ({"status": "overrange", "value": None}, False),
        ({"status": "a newer word", "value": 1.0}, False),
        ({"status": "ok", "value": 1.0, "flags": ["unstable"]}, False),
    ],
)
def test_what_is_usable(subscriber, reading, usable):
    assert subscriber.usable(reading) is usable


async def test_it_hears_what_the_daemon_publishes(any_broker, station, running, subscriber):
    old = [json.dumps(observation(seq)).encode() for seq in range(50)]
    new = [json.dumps(observation(seq)).encode() for seq in range(50, 100)]
    await station.journal.commit(*old)
    ledger, arrived = subscriber.Ledger(), {}
    async with subscriber.connection("127.0.0.1", any_broker.port, "copy") as client:
        await client.subscribe("bench/v1/lab/#", qos=1)  # surely before the daemon speaks
        heard = subscriber.observations(client, "bench/v1/lab/#", ledger)
        first = asyncio.ensure_future(anext(heard))
        async with asyncio.timeout(60), running(station.sink(any_broker.port)):
            one = await first
            arrived[one.observation["seq"]] = one.late
            await station.journal.commit(*new)
            while len(arrived) < 100:
                one = await anext(heard)
                arrived[one.observation["seq"]] = one.late
        await heard.aclose()
    assert arrived == {seq: seq < 50 for seq in range(100)}
    assert ledger.missing() == {}

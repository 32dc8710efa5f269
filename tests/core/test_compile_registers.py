import pytest

from daq.core.observation import Flag, Integrity, Kind, ReadingStatus
from daq.core.plan import DeviceStep, RegisterStep
from daq.core.timing import Latest
from tests.core.drivers import AT, DMM, METER, channel, compiled, problems, register_driver


def meter(poll, **at):
    return compiled(METER, poll, at={"modbus_rtu_over_tcp": "h:1", "unit": 3, **at})


def test_the_meter_is_read_in_one_request():
    plan = meter({"power": "1 s", "energy": "10 s"})
    power, energy = plan.polls
    assert power.steps == (RegisterStep(4, 0, 72, 10**9),)
    assert energy.steps == (RegisterStep(4, 72, 8, 10**9),)
    assert plan.unit == 3
    assert plan.identify.steps == (RegisterStep(3, 0xFC00, 3, 10**9),)
    assert power.time == Latest(10**9)


def test_the_barrier_of_the_meter_is_another_count():
    plan = meter({"power": "1 s", "energy": "10 s"})
    counts = {step.count for poll in plan.polls for step in poll.steps} | {3}
    for poll in plan.polls:
        counts |= {part.count for step in poll.steps for part in poll.subdivide(step)}
    assert plan.barrier.function == 4
    assert plan.barrier.count not in counts
    assert plan.barrier.count % 2 == 0, "this meter wants whole parameters"


def test_integrity_follows_from_the_framing():
    assert meter({"power": "1 s"}).polls[0].integrity is Integrity.CHECKSUM
    tcp = compiled(METER, {"power": "1 s"}, at={"modbus_tcp": "h:502", "unit": 1})
    assert tcp.polls[0].integrity is Integrity.TRANSACTION


def test_a_serial_number_in_registers_cannot_say_sim():
    plan = compiled(
        METER, {"power": "1 s"}, at={"modbus_tcp": "h:502", "unit": 1}, simulated=True, serial_number="21000001"
    )
    fields = plan.identify.fields([bytes.fromhex("01406F41 0070")])
    assert fields == {"serial": "21000001", "model": "112"}
    assert plan.identify.check(fields) is None
    assert "expects '112'" in plan.identify.check({**fields, "model": "113"})


@pytest.mark.parametrize(
    ("at", "table", "address"),
    [
        (40001, "holding", 0),
        (1, "holding", 0),
        (30001, "input", 0),
        (30101, "input", 100),
        (10001, "discrete", 0),
        (9, "coil", 8),
    ],
)
def test_addresses_of_programmable_controllers(at, table, address):
    kind = "bits" if table in {"coil", "discrete"} else "uint16"
    plan = compiled(register_driver({"x": channel(at, table, kind)}), {"p": "1 s"}, at=AT)
    assert plan.polls[0].steps[0].address == address


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (channel(0), "counts from 1"),
        (channel(30001), "names the table input, not holding"),
        (channel(40001, kind="string"), "needs its length"),
        (channel(40001, kind="int16", order="HGFEDCBA"), "is for 64 bits"),
        (channel(40001, "coil"), "names the table holding, not coil"),
        (channel(1, "coil"), "holds bits, not uint16"),
        (channel(40001, invalid=["NaN"]), "is no raw content"),
        (channel(40001, invalid=["0x12345"]), "does not fit into 16 bits"),
        (channel(40001, kind="bits"), "is no number"),
        (channel(40001, scale="a tenth"), "is not a decimal factor"),
        (channel(40005), "forbidden range"),
        (channel(40001) | {"unit": "volt"}, "Nearest: 'V'"),
        (channel(40001) | {"quantity": "voltage.db"}, "Nearest: 'voltage.d"),
        (channel(40001, plausible=[5, 1]), "low end comes first"),
        (channel(40001, kind="uint16") | {"kind": "enum"}, "needs the meaning of each code"),
    ],
)
def test_registers_that_cannot_be(written, words):
    driver = register_driver({"x": written}, blocks={"forbidden": [[40005, 40006]]})
    found = problems(driver, {"p": "1 s"}, at=AT)
    assert any(words in message for _, _, message in found), found
    assert all(file == "driver" and path.startswith("polls.p.channels.x") for file, path, _ in found)


def test_scale_and_exponent_and_codes_come_from_the_file():
    channels = {
        "p": channel(
            40001, kind="int16", scale_from={"at": 40002, "table": "holding", "type": "int16"}, invalid=["0x8000"]
        ),
        "t": channel(40003, kind="int16", scale="0.1", plausible=["-40 V", 60]),
        "s": channel(40004) | {"kind": "enum", "enum": {"0": "off", "1": "on"}},
    }
    plan = compiled(register_driver(channels), {"p": "1 s"}, at=AT)
    assert plan.polls[0].steps == (RegisterStep(3, 0, 4, 2 * 10**9),)
    found = plan.polls[0].readings([bytes.fromhex("04D2 FFFF 0259 0001")])
    assert [found[name].value for name in "pts"] == ["123.4", "60.1", None]
    assert (found["t"].flags, found["s"].text, found["s"].kind) == ((Flag.IMPLAUSIBLE,), "on", Kind.ENUM)
    absent = plan.polls[0].readings([bytes.fromhex("8000 FFFF FF9C 0001")])
    assert (absent["p"].status, absent["p"].text, absent["t"].value) == (ReadingStatus.INVALID, "0x8000", "-10.0")


def scale_register(at, **more):
    return {"at": at, "table": "holding", "type": "int16", **more}


def test_ratios_of_transformers_stand_in_registers_too():
    # two primaries to multiply by, two secondaries to divide by, as meters with both transformers have them
    channels = {
        "p": channel(
            40001,
            kind="int16",
            times_from=[scale_register(40002), scale_register(40003)],
            divisor_from=scale_register(40004, invalid=["0x8000"]),
            decimals_from=scale_register(40005),
        )
    }
    plan = compiled(register_driver(channels), {"p": "1 s"}, at=AT)
    assert plan.polls[0].steps == (RegisterStep(3, 0, 5, 2 * 10**9),)
    (read,) = plan.polls[0].readings([bytes.fromhex("FFF9 0190 000A 0005 0001")]).values()
    assert read.value == "-560.0"  # -7 * 400 * 10 / 5 / 10
    (none,) = plan.polls[0].readings([bytes.fromhex("FFF9 0190 000A 8000 0001")]).values()
    assert (none.value, none.status) == (None, ReadingStatus.INVALID)


def test_a_scale_that_changes_between_two_requests_scales_nothing():
    # the value's request may fall before or behind the change: read at both ends, the exponent shows it
    channels = {
        "p": channel(40121, kind="int16", scale_from=scale_register(40011)),
        "q": channel(40010, kind="uint16"),
    }
    plan = compiled(register_driver(channels, blocks={"max_words": 60}), {"p": "1 s"}, at=AT)
    assert [(step.address, step.count) for step in plan.polls[0].steps] == [(9, 2), (120, 1), (9, 2)]
    same = plan.polls[0].readings([bytes.fromhex(words) for words in ("0007 0001", "04D2", "0008 0001")])
    assert (same["p"].value, same["q"].value) == ("12340", "7")
    torn = plan.polls[0].readings([bytes.fromhex(words) for words in ("0007 0000", "04D2", "0007 0001")])
    assert (torn["p"].value, torn["p"].text, torn["p"].status) == (None, "1234", ReadingStatus.INVALID)
    assert torn["q"].value == "7"


def test_values_that_scale_each_other_across_requests_are_read_between_both_readings_of_their_scale():
    channels = {
        "a": channel(40001, kind="int16", scale_from=scale_register(40122)),
        "b": channel(40121, kind="int16", scale_from=scale_register(40002)),
    }
    plan = compiled(register_driver(channels, blocks={"max_words": 60}), {"p": "1 s"}, at=AT)
    assert [step.address for step in plan.polls[0].steps] == [0, 120, 0, 120]
    words = ("0005 0000", "0007 0001", "0006 0000", "0008 0001")
    read = plan.polls[0].readings([bytes.fromhex(each) for each in words])
    assert (read["a"].value, read["b"].value) == ("60", "7")  # a from its second request, b from its first


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ({"times_from": scale_register(40002, invalid=["n/a"])}, "times_from.invalid", "is no raw content"),
        ({"times_from": scale_register(40002) | {"type": "bits"}}, "times_from", "is scaled by is a number"),
        ({"divisor_from": scale_register(30002)}, "divisor_from", "names the table input"),
        (
            {"scale_from": scale_register(40002), "decimals_from": scale_register(40003)},
            "decimals_from",
            "either scale_from or decimals_from",
        ),
    ],
)
def test_scale_registers_that_cannot_be(more, path, words):
    driver = register_driver({"x": channel(40001, **more)})
    ((file, where, message),) = problems(driver, {"p": "1 s"}, at=AT)
    assert (file, where) == ("driver", f"polls.p.channels.x.{path}")
    assert words in message


def test_repetitions_stand_a_stride_apart():
    driver = register_driver({}, polls={
        "p": {
            "for_each": {"n": [1, 2, 3]},
            "channels": {"u{n}": channel(1, stride=2, kind="float32", label="Phase {n}")},
            "time": {"model": "latest", "period": "1 s"},
        }
    })  # fmt: skip
    plan = compiled(driver, {"p": "1 s"}, at=AT)
    assert [(one.name, one.label) for one in plan.polls[0].channels] == [(f"u{n}", f"Phase {n}") for n in (1, 2, 3)]
    found = plan.polls[0].readings([bytes.fromhex("3F800000 40000000 40400000")])
    assert [reading.value for reading in found.values()] == ["1", "2", "3"]


def test_a_register_of_known_content_proves_the_word_order():
    verify = {"at": 7, "table": "holding", "type": "float32", "order": "CDAB", "content": "-123.45"}
    plan = compiled(register_driver({"x": channel(1)}, verify=verify), {"p": "1 s"}, at=AT)
    assert plan.verify.step == RegisterStep(3, 6, 2, 2 * 10**9)
    assert plan.verify.check(bytes.fromhex("E666 C2F6")) is None
    assert "word order or addressing" in plan.verify.check(bytes.fromhex("C2F6 E666"))


def said(**objects):
    """Return what a device step brings: objects by number."""
    return b"".join(bytes((int(n[1:]), len(text))) + text for n, text in objects.items())


def test_a_device_may_say_itself_who_it_is():
    identify = {
        "read": {"serial": {"at": 1, "table": "holding", "type": "uint32"}},
        "device": {"maker": "vendor", "model": "product_code", "firmware": 130},
        "expect": {"model": "iEM3.*"},
    }
    plan = compiled(register_driver({"x": channel(9)}, identify=identify), {"p": "1 s"}, at=AT)
    assert plan.identify.steps == (RegisterStep(3, 0, 2, 2 * 10**9), DeviceStep(3, 2 * 10**9))
    objects = said(o0=b"Schneider Electric", o1=b"iEM3155\0\0 ", o2=b"1.3")
    fields = plan.identify.fields([bytes.fromhex("0000002A"), objects])
    assert fields == {"serial": "42", "maker": "Schneider Electric", "model": "iEM3155", "firmware": ""}
    assert plan.identify.check(fields) is None


@pytest.mark.parametrize(("names", "category"), [((0, 2), 1), (("vendor", "model_name"), 2), ((0, 128), 3)])
def test_no_more_is_asked_of_a_device_than_is_wanted(names, category):
    identify = {"device": {"maker": names[0], "model": names[1]}}
    plan = compiled(register_driver({"x": channel(9)}, identify=identify), {"p": "1 s"}, at=AT)
    assert plan.identify.steps == (DeviceStep(category, 2 * 10**9),)


@pytest.mark.parametrize(
    ("identify", "path", "words"),
    [
        ({}, "identify", "reads nothing"),
        ({"device": {"model": 1}, "expect": {"serial": "x"}}, "identify.expect.serial", "no field 'serial'"),
        (
            {"device": {"serial": 128}, "read": {"serial": {"at": 1, "table": "input", "type": "uint16"}}},
            "identify.device.serial",
            "Take one away",
        ),
    ],
)
def test_identities_that_cannot_be(identify, path, words):
    driver = register_driver({"x": channel(9)}, identify=identify)
    ((file, where, message),) = problems(driver, {"p": "1 s"}, at=AT)
    assert (file, where) == ("driver", path)
    assert words in message


def test_registers_are_not_asked_over_text_nor_text_over_modbus():
    ((file, path, message),) = problems(METER, {"power": "1 s"})
    assert (file, path) == ("bench", "instruments.box.at.tcp")
    assert message.endswith("Use modbus_tcp, modbus_rtu_over_tcp, serial or wire, with unit.")
    assert [path for _, path, _ in problems(METER, {"power": "1 s"}, at={"serial": "/dev/x"})] == ["instruments.box.at"]
    assert [path for _, path, _ in problems(DMM, {"dcv": "1 s"}, at=AT)] == ["instruments.box.at.modbus_tcp"]

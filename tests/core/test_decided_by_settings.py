"""What settings decide beyond commands: braces, identities, and whole channels of drivers for whatever speaks alike."""

import pytest

from daq.core.examples import run_examples
from daq.core.settings import names_in, put_in, substitute
from tests.core.drivers import AT, channel, compiled, problems, readings, register_driver, text_driver, with_poll


def test_a_brace_of_its_own_is_written_twice():
    # Rotronic AirChip 3000 wants its questions between braces: {F00RDD}
    assert substitute("{{F{address}RDD}}", {"address": "00"}) == "{F00RDD}"
    assert names_in("{{F{address}RDD}}") == ["address"]
    assert names_in("{{F00RDD}}") == []
    assert put_in("{{F{address}rdd {v:nr}", {"address": "00", "v": "x"}) == "{{F00rdd {v:nr}"


def test_an_address_stands_in_the_question_that_identifies_and_in_its_answer():
    driver = text_driver(
        identify={"ask": "${address}M", "reply": "!{address}{model:word}"},
        settings={"address": {"default": "1A"}},
    )
    plan = compiled(driver, {"p": "1 s"})
    (step,) = plan.identify.steps
    assert step.ask == b"$1AM\n"
    assert step.reply.match(b"!1A4017\n").fields == {"model": "4017"}
    assert plan.barrier.ask == b"$1AM\n"
    other = compiled(driver, {"p": "1 s"}, settings={"address": "03"})
    assert other.identify.steps[0].ask == b"$03M\n"


UNIT_APART = {
    "steps": [{"ask": "A?", "reply": " {p:nr}"}, {"ask": "Units?", "reply": " {u:text}"}],
    "channels": {"p": {"quantity": "pressure.gauge", "unit": "kPa", "unit_in": "u", "units": {"mbar": "mbar"}}},
}


@pytest.mark.parametrize(("printed", "unit"), [(b" kPa\n", "kPa"), (b" mbar\n", "mbar")])
def test_the_unit_may_be_asked_for_apart(printed, unit):
    plan = compiled(with_poll(**UNIT_APART), {"p": "1 s"})
    assert readings(plan, b" 1.5\n", printed)["p"].unit == unit


def test_a_unit_that_two_answers_print_must_be_named_apart():
    steps = [*UNIT_APART["steps"], {"ask": "Units2?", "reply": " {u:text}"}]
    file, path, message = problems(with_poll(**UNIT_APART | {"steps": steps}), {"p": "1 s"})[0]
    assert (file, path) == ("driver", "polls.p.channels.p.unit_in")
    assert "no field 'u'" in message


ANY = {
    "quantity": "ratio",
    "unit": "1",
    "set_by": {"quantity": "quantity", "unit": "unit", "scale": "scale"},
}
SETTINGS = {"quantity": {"default": "ratio"}, "unit": {"default": "1"}, "scale": {"default": 1}}


def test_settings_say_what_a_number_is():
    driver = with_poll(ask="V?", reply="{v:nr}", channels={"v": ANY}).model_copy()
    driver = type(driver).model_validate(driver.model_dump(exclude_unset=True) | {"settings": SETTINGS} | TIMES)
    plan = compiled(driver, {"p": "1 s"}, settings={"quantity": "mass", "unit": "kg", "scale": "0.001"})
    reading = readings(plan, b"12.5\n")["v"]
    assert (reading.value, reading.unit, reading.quantity) == ("0.0125", "kg", "mass")
    (described,) = plan.polls[0].channels
    assert (described.unit, described.quantity) == ("kg", "mass")


TIMES = {
    "polls": {
        "p": {
            "ask": "V?",
            "reply": "{v:nr}",
            "channels": {"v": ANY},
            "time": {"model": "latest", "period": "1 s"},
        }
    }
}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"unit": "volt"}, "Nearest: 'V'"),
        ({"quantity": "masse"}, "no quantity 'masse'"),
        ({"unit": "V"}, "'V' is no unit of ratio"),
    ],
)
def test_what_a_setting_says_wrongly_is_told_of_the_bench_file(given, words):
    driver = text_driver(settings=SETTINGS, **TIMES)
    ((file, path, message),) = problems(driver, {"p": "1 s"}, settings=given)
    assert file == "bench"
    assert path.endswith(f"settings.{next(iter(given))}")
    assert words in message


def test_a_unit_that_is_set_and_none_of_the_quantity_that_is_set_is_told_of_the_bench_file():
    driver = text_driver(settings=SETTINGS, **TIMES)
    given = {"quantity": "temperature", "unit": "C"}
    ((file, path, message),) = problems(driver, {"p": "1 s"}, settings=given)
    assert (file, path) == ("bench", "instruments.box.settings.unit")
    assert "'C' (coulomb) is no unit of temperature. Units that fit: Cel, K, [degF]." in message


def test_a_key_that_no_channel_has_is_told_of_the_driver_file():
    wrong = ANY | {"set_by": {"unitt": "unit"}}
    polls = {"p": TIMES["polls"]["p"] | {"channels": {"v": wrong}}}
    ((file, path, message),) = problems(text_driver(settings=SETTINGS, polls=polls), {"p": "1 s"})
    assert (file, path) == ("driver", "polls.p.channels.v.set_by")
    assert "wants a key of channels" in message


REGISTER = channel(40001, kind="float32") | {"set_by": {"at": "address", "type": "type", "order": "order"}}
PLACED = {
    "address": {"default": 1, "min": 1, "max": 65536},
    "type": {"default": "float32", "one_of": ["int16", "float32"]},
    "order": {"default": "ABCD", "one_of": ["ABCD", "CDAB"]},
}


def test_settings_say_where_a_register_stands_and_how_it_is_written():
    driver = register_driver({"x": REGISTER}, settings=PLACED)
    plan = compiled(driver, {"p": "1 s"}, at=AT, settings={"address": 101, "order": "CDAB"})
    (step,) = plan.polls[0].steps
    assert (step.address, step.count) == (100, 2)
    assert plan.polls[0].readings([bytes.fromhex("E666 C2F6")])["x"].value == "-123.45"


def test_an_example_of_registers_may_have_settings():
    examples = [
        {
            "poll": "p",
            "registers": {"holding 40003": "FFFE"},
            "settings": {"address": 3, "type": "int16"},
            "gives": {"x": "-2"},
        }
    ]
    assert run_examples(register_driver({"x": REGISTER}, settings=PLACED, examples=examples)) == []


def test_how_many_decimals_there_are_may_stand_in_another_register():
    # Omron E5CC: a whole number, and its decimals in "Decimal Point Monitor"
    written = channel(40001, kind="int16") | {"decimals_from": {"at": 40005, "table": "holding", "type": "uint16"}}
    plan = compiled(register_driver({"x": written}, blocks={"max_gap": 3}), {"p": "1 s"}, at=AT)
    assert plan.polls[0].readings([bytes.fromhex("0419 0000 0000 0000 0001")])["x"].value == "104.9"


def test_a_number_is_scaled_by_one_register_alone():
    power = {"at": 40005, "table": "holding", "type": "uint16"}
    written = channel(40001, kind="int16") | {"decimals_from": power, "scale_from": power}
    found = problems(register_driver({"x": written}, blocks={"max_gap": 3}), {"p": "1 s"}, at=AT)
    assert ["not both" in message for _, _, message in found] == [True]


# What a word counts as in a time --------------------------------------------------------------------------------------


def timed(aperture="speed / line_frequency", **speed):
    poll = {
        "ask": "READ? {speed}",
        "reply": "{v:nr3}",
        "channels": {"v": {"quantity": "voltage.dc", "unit": "V"}},
        "time": {"model": "triggered", "aperture": aperture},
    }
    return text_driver(
        settings={"speed": {"default": "SLOW", "one_of": ["FAST", "SLOW", 7], **speed}}, polls={"p": poll}
    )


@pytest.mark.parametrize(("given", "aperture_ms"), [("FAST", 20), ("SLOW", 200), (7, 320)])
def test_a_word_or_a_number_of_digits_counts_as_cycles(given, aperture_ms):
    driver = timed(counts_as={"FAST": 1, "SLOW": 10, "7": 16})
    asked = {"p": {"ask": "p", "every": "1 s", "settings": {"speed": given}}}
    assert compiled(driver, asked).polls[0].time.aperture_ns == aperture_ms * 1_000_000


def test_a_word_counts_as_a_time():
    driver = timed("speed", counts_as={"SLOW": "1.5 s"})
    assert compiled(driver, {"p": "1 s"}).polls[0].time.aperture_ns == 1_500_000_000


def test_a_word_that_counts_as_nothing_is_named_with_its_remedy():
    ((_, path, message), *_) = problems(timed(), {"p": "1 s"})
    assert path == "polls.p.time.aperture"
    assert "speed: {counts_as: {SLOW: 200 ms}}" in message
    with pytest.raises(ValueError, match="neither a number nor a time"):
        timed(counts_as={"SLOW": "long"})


def test_an_aperture_may_be_unknown():
    assert compiled(timed("unknown"), {"p": "1 s"}).polls[0].time.aperture_ns is None

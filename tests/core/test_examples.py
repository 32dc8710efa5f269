import pytest
from ruamel.yaml import YAML

from daq.core.driver import TextDriver
from daq.core.examples import run_examples
from tests.core.drivers import DRIVERS, channel, register_driver


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (
            {"poll": "dcv", "got": ["+9.99998713E+00"], "gives": {"dcv": "9.9999871"}},
            "value is '9.99998713', not '9.9999871'",
        ),
        (
            {"poll": "dcv", "got": ["+9.90000000E+37"], "gives": {}, "status": {"dcv": "invalid"}},
            "status is 'overrange'",
        ),
        ({"poll": "dcv", "got": ["nonsense"]}, "its driver expects"),
        ({"poll": "dcv", "got": ["+9.99998713E+00"], "outcome": "busy"}, "should have been refused"),
        ({"poll": "dcv", "got": []}, "0 replies are given where 1 questions are asked"),
        ({"poll": "dcx", "got": []}, "no poll 'dcx'"),
        ({"poll": "dcv", "got": ["+9.99998713E+00"], "gives": {"acv": "1"}}, "no channel 'acv'"),
        ({"poll": "dcv", "got": ["+9.99998713E+00"], "unit": {"dcv": "A"}}, "unit is 'V', not 'A'"),
    ],
)
def test_an_example_that_does_not_come_true_fails(example, words):
    written = YAML(typ="safe").load((DRIVERS / "keysight/34465a.yaml").read_text())
    (failure,) = run_examples(TextDriver.model_validate({**written, "examples": [example]}))
    assert words in failure


def test_register_examples_that_do_not_come_true_fail():
    examples = [
        {"poll": "p", "registers": {"holding 40001": "04D2"}, "gives": {"x": "1233"}},
        {"poll": "p", "registers": {"holding 40001": "04D2"}, "gives": {"x": "1234"}},
        {"poll": "p", "registers": {"holdings 40001": "04D2"}},
    ]
    failures = run_examples(register_driver({"x": channel(40001)}, examples=examples))
    assert [failure.split(" ")[0] for failure in failures] == ["examples.0", "examples.2"]

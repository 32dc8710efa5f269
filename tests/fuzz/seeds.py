"""What each target begins with: whole and right inputs, so that what is made of them lies close to right ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from daq.core import modbus
from daq.core.examples import whole_plan
from tests.fuzz.targets import ROOT, _library, _templates


def template_sources() -> Iterator[bytes]:
    for template in _templates():
        yield template.source.encode("latin-1", "replace")


def templates() -> Iterator[bytes]:
    for number, template in enumerate(_templates()):
        size = (len(_templates()) - 1).bit_length() + 7 >> 3
        yield number.to_bytes(size, "big") + template.sample().encode("latin-1") + b"\r\n"


def replies() -> Iterator[bytes]:
    from daq.core.driver import TextDriver
    from daq.load import load_driver

    size = (len(_library()) - 1).bit_length() + 7 >> 3
    number = 0
    for file in sorted((ROOT / "drivers").rglob("*.yaml")):
        driver, _ = load_driver(file)
        if isinstance(driver, TextDriver):
            assert whole_plan(driver)
            for example in driver.examples:
                if number < len(_library()):
                    yield (
                        number.to_bytes(size, "big") + b"\0".join(got.encode("latin-1") for got in example.got) + b"\0"
                    )
                number += 1


def frames() -> Iterator[bytes]:
    for framing in (0, 1):
        for function, count in ((0, 17), (1, 24), (2, 1), (3, 125)):
            size = 2 if function <= 1 else 1
            head = bytes((framing, 1, 0, 7, function)) + (count - 1).to_bytes(size, "big") + b"\0\5\3"
            length = modbus.payload_length(function + 1, count)
            yield head + bytes((1, function + 1, length)) + bytes(range(length))
            yield head + bytes((1, function + 0x81, 2))


def contents() -> Iterator[bytes]:
    for kind in range(8):
        for order in range(4):
            yield bytes((kind, order)) + bytes.fromhex("3F9D70A43D70A3D7")


def pieces() -> Iterator[bytes]:
    for eol in range(4):
        yield bytes((eol, 4)) + b"+1.5" + b"\3\r\n>" + b"\2> " + b"\5\n\r\n1\n"


def benches() -> Iterator[bytes]:
    for path in [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "tests" / "cases" / "bad").glob("*/*.yaml")]:
        yield path.read_bytes()


def drivers() -> Iterator[bytes]:
    for path in (ROOT / "drivers").rglob("*.yaml"):
        yield path.read_bytes()


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "template-source": template_sources,
    "templates": templates,
    "replies": replies,
    "frames": frames,
    "identification": frames,
    "contents": contents,
    "pieces": pieces,
    "bench-file": benches,
    "driver-file": drivers,
}

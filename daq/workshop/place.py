"""Reads where an instrument is from the words of a command line: --at tcp=10.0.0.5:5025 --unit 1. Pure.

The same keys as `at:` in a bench file, checked by the same model.
"""

from __future__ import annotations

from pydantic import ValidationError

from daq.core import explain
from daq.core.bench import REACHED_BY, Address
from daq.core.errors import nearest

WAYS = tuple(way for way in REACHED_BY if way != "wire")


def address(text: str, *, line: str | None = None, unit: int | None = None, backend: str | None = None) -> Address:
    """Read an address.

    Args:
        text: key=value, such as tcp=10.0.0.5:5025 or serial=/dev/ttyUSB0.
        line: serial settings.
        unit: of Modbus.
        backend: VISA library.

    Raises:
        ValueError: it is none; the message says how to mend it.
    """
    way, equals, where = text.partition("=")
    if not equals or way not in WAYS:
        raise ValueError(
            f"{text!r} does not say how it is reached. {nearest(way, WAYS)} Write it like tcp=10.0.0.5:5025, "
            "serial=/dev/ttyUSB0, visa=TCPIP0::10.0.0.5::inst0::INSTR or modbus_tcp=10.0.0.9:502."
        )
    given = {way: where, "line": line, "unit": unit, "backend": backend}
    try:
        return Address.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        found = explain.problems(error, Address, "bench")
        said = [f"{'.'.join(map(str, problem.path))}: {problem.message}".removeprefix(": ") for problem in found]
        raise ValueError(" ".join(said)) from None


def settings(words: list[str]) -> dict[str, str]:
    """Read settings such as range=10 V. Raises ValueError."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise ValueError(f"{word!r} is no setting. Write it like 'range=10 V'.")
        found[name] = value
    return found

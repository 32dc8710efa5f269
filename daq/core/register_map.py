"""Where values stand in a Modbus device, and what the device says of itself: the parts of a register driver. Pure.

Described, not alive: nothing here is read. Channels, polls and examples stand in core.driver, beside those of text.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from daq.core.driver_parts import Model, Scalar

Table = Literal["holding", "input", "coil", "discrete"]
RegisterType = Literal[
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
    "bcd16",
    "bcd32",
    "bcd64",
    "string",
    "bits",
]
"""bcd16 to bcd64: a decimal digit in each four bits, 4, 8 or 16 of them."""
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA", "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"]


class Register(Model):
    """Where a value stands and how it is written."""

    at: int = Field(ge=0, le=65536, description="Address, as the driver's `addressing` counts.")
    table: Table = Field(description="Which of the four tables.")
    type: RegisterType = Field(
        description="How the registers are to be read; bcd16, bcd32, bcd64: a digit in each four bits."
    )
    order: WordOrder = Field(default="ABCD", description="Order of bytes; ABCD is big-endian, high word first.")
    length: int | None = Field(default=None, ge=1, le=125, description="Registers of a string.")


RawContents = Annotated[
    list[str | int], Field(description="Raw contents (hex or decimal) that mean not available.", default_factory=list)
]


class ScaleRegister(Register):
    """A register that says how a value is scaled; where it holds no number, or one of `invalid`, the value is none."""

    invalid: RawContents


def codes_of_ranges(value: dict[str, tuple[Scalar, Scalar]]) -> dict[str, tuple[Scalar, Scalar]]:
    """Check codes and ends of ranges."""
    for code, ends in value.items():
        _ends(code, ends)
    return value


def _ends(code: str, ends: tuple[Scalar, Scalar]) -> tuple[int, tuple[Decimal, Decimal]]:
    try:
        low, high = Decimal(str(ends[0])), Decimal(str(ends[1]))
        if low.is_finite() and high.is_finite() and low != high:
            return int(code, 0), (low, high)
    except (ValueError, InvalidOperation):
        pass
    raise ValueError(f"{code}: {[*ends]} is no range. Write a code and both ends, such as 0x0143: [-10, 10].")


class RangeRegister(ScaleRegister):
    """A register that holds a code for the range of a value; where the code is not listed, the value is none."""

    ranges: Annotated[dict[str, tuple[Scalar, Scalar]], AfterValidator(codes_of_ranges)] = Field(
        min_length=1,
        description="Code (hex or decimal) -> what no count and all counts mean, in the channel's unit: "
        "0x0143: [-10, 10]. Between them the value is proportional.",
    )
    stride: int = Field(
        default=0, ge=0, le=65535, description="Registers from one repetition of for_each to the next; 0: one for all."
    )

    @property
    def ends(self) -> dict[int, tuple[Decimal, Decimal]]:
        """Content -> what no count and all counts mean."""
        return dict(_ends(code, ends) for code, ends in self.ranges.items())


def one_or_several(value: object) -> object:
    """Take one mapping for a list of one."""
    return [value] if isinstance(value, dict) else value


Factors = Annotated[
    list[ScaleRegister], BeforeValidator(one_or_several, json_schema_input_type=ScaleRegister | list[ScaleRegister])
]


class Verify(Register):
    """A register of known content, read on every connect to prove word order and addressing."""

    content: str = Field(description="The decimal it must show, e.g. '-123.45'.")


class Blocks(Model):
    """What may be read in one request."""

    max_words: int = Field(default=125, ge=1, le=125, description="Registers in one request, at most.")
    max_gap: int = Field(default=0, ge=0, le=124, description="Unused registers that may be read along.")
    forbidden: list[tuple[int, int]] = Field(
        default_factory=list, description="Address ranges [first, last] never to be read, in the driver's addressing."
    )


DEVICE_OBJECTS = {
    "vendor": 0,
    "product_code": 1,
    "revision": 2,
    "vendor_url": 3,
    "product_name": 4,
    "model_name": 5,
    "application": 6,
}
"""Objects of Read Device Identification; from 128 on they are the maker's (MODBUS Application Protocol 1.1b3, 6.21)."""


def device_object(value: object) -> object:
    """Check the name or number of an object of the device identification."""
    if isinstance(value, int) and not isinstance(value, bool) and (value in range(7) or value in range(128, 256)):
        return value
    if value not in DEVICE_OBJECTS:
        raise ValueError(f"{value!r} is not one of {', '.join(DEVICE_OBJECTS)}, or a number from 128 to 255.")
    return DEVICE_OBJECTS[str(value)]


DeviceObject = Annotated[
    int,
    BeforeValidator(device_object, json_schema_input_type=Literal[tuple(DEVICE_OBJECTS)] | int),
]


class RegisterIdentify(Model):
    """Who answers, from registers, or from what the device says of itself."""

    read: dict[str, Register] = Field(
        default_factory=dict, description="Field (model, serial, firmware) -> where it stands."
    )
    device: dict[str, DeviceObject] = Field(
        default_factory=dict,
        description="Field (maker, model, serial, firmware) -> object of Read Device Identification (function 43/14): "
        "a name, or a number from 128 on, which are the maker's own.",
    )
    expect: dict[str, str] = Field(
        default_factory=dict, description="Field -> regular expression that must match it whole."
    )

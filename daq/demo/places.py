"""Where in an answer each channel of the demo's drivers stands, by the simulators' own names for it. Pure.

Written by hand from the instruments' manuals, a second time beside the drivers: a driver that reads the neighbouring
register, or takes one field of a line for another, agrees with itself and not with this table. A new instrument of the
demo bench gets its row here.

    driver -> channel -> Place -> audit
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """Where a channel's text comes from.

    Args:
        value: the name the simulators' log gives it; None for a constant of the instrument, which the log does not
            name: it must stand in the answer as a field.
        words: what the instrument's codes mean, where the channel publishes the word.
    """

    value: str | None
    words: Mapping[str, str] = field(default_factory=dict)


def _at(address: int) -> Place:
    return Place(f"0x{address:04X}")


# SDM630-Modbus MID V2 manual, "Input registers": address of the first of two registers.
_METER = {
    **{f"{name}{phase + 1}": _at(first + 2 * phase) for name, first in (
        ("u", 0x00), ("i", 0x06), ("p", 0x0C), ("s", 0x12), ("q", 0x18), ("pf", 0x1E),
    ) for phase in range(3)},
    "p": _at(0x34),
    "s": _at(0x38),
    "q": _at(0x3C),
    "pf": _at(0x3E),
    "f": _at(0x46),
}  # fmt: skip

PLACES: Mapping[str, Mapping[str, Place]] = {
    "keysight/34465a": {channel: Place("reading") for channel in ("dcv", "acv", "dci", "ohm2w", "ohm4w")},
    # OUT? gives amplitude, unit and frequency; the stand-in's is always direct voltage.
    "fluke/5730a": {"voltage": Place("output"), "frequency": Place(None), "state": Place("status")},
    "mettler-toledo/mt-sics": {"weight": Place("weight"), "stable": Place("weight")},
    "fluke/1502a": {"temperature": Place("temperature"), "newest": Place("temperature")},
    "vaisala/ptu300": {"pressure": Place("P"), "temperature": Place("T"), "humidity": Place("RH")},
    # PACE Series K0472, :SENSe:PRESsure:INLimits: 1 within the limits, 0 not.
    "druck/pace5000": {
        "absolute": Place("pressure"),
        "gauge": Place("pressure"),
        "in_limits": Place("in_limits", {"0": "outside", "1": "inside"}),
    },
    "eastron/sdm630": _METER,
}
"""By the name of the driver's file."""

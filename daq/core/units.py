"""Units as UCUM codes, how to print them, and the closed list of quantities.

UCUM (ucum.org, version 2.1) is large; here stands the part that a calibration laboratory uses, checked by its grammar:
atoms with metric prefixes, exponents, `.`, `/`, annotations in braces. Nothing is converted. Pure.

    driver (unit, quantity) -> [check_unit, symbol] -> plan -> info
"""

from __future__ import annotations

import re
from functools import lru_cache

from daq.core.errors import nearest

_PREFIXES = {p: p for p in ("Y", "Z", "E", "P", "T", "G", "M", "k", "h", "d", "c", "m", "n", "p", "f", "a")} | {
    "u": "µ",
    "da": "da",
}

_METRIC = {  # atoms that take prefixes -> printed
    **{u: u for u in ("m", "g", "s", "A", "K", "mol", "cd", "rad", "sr", "Hz", "N", "Pa", "J", "W", "C", "V", "F")},
    **{u: u for u in ("S", "Wb", "T", "H", "lm", "lx", "Bq", "Gy", "Sv", "L", "l", "bar", "eV", "u", "t", "B", "G")},
    "Ohm": "Ω",
    "Cel": "°C",
    "m[Hg]": "mHg",
    "m[H2O]": "mH₂O",
}
_PLAIN = {  # atoms that take none -> printed
    "%": "%",
    "deg": "°",
    "'": "′",
    "''": "″",
    "min": "min",
    "h": "h",
    "d": "d",
    "a": "a",
    "wk": "wk",
    "atm": "atm",
    "[ppth]": "‰",
    "[ppm]": "ppm",
    "[ppb]": "ppb",
    "[pH]": "pH",
    "[degF]": "°F",
    "[degR]": "°R",
    "[psi]": "psi",
    "[in_i]": "in",
    "[in_i'Hg]": "inHg",
    "[in_i'H2O]": "inH₂O",
    "[ft_i]": "ft",
    "[lb_av]": "lb",
    "[oz_av]": "oz",
    "[lbf_av]": "lbf",
    "[gr]": "gr",
    "[car_m]": "ct",
    "[g]": "g₀",
    "[pi]": "π",
    "10*": "10",
    "10^": "10",
}

_SYMBOLS = {  # whole codes that people write otherwise
    "1": "",
    "V.A": "VA",
    "kV.A": "kVA",
    "V.A{reactive}": "var",
    "kV.A{reactive}": "kvar",
    "V.A{reactive}.h": "varh",
    "kV.A{reactive}.h": "kvarh",
    "V.A.h": "VAh",
    "kV.A.h": "kVAh",
    "W.h": "Wh",
    "kW.h": "kWh",
    "MW.h": "MWh",
    "A.h": "Ah",
    "%{RH}": "%RH",
    "mm[Hg]": "mmHg",
    "dB{mW}": "dBm",
}

_SUPERSCRIPT = str.maketrans("+-0123456789", "⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COMPONENT = re.compile(
    r"(?P<atom>10[*^]|(?:[A-Za-z%']|\[[^\]\s]*\])+|[1-9][0-9]*)?(?P<power>[+-]?[0-9]+)?(?P<note>\{[^{}\s]+\})?"
)

QUANTITIES = frozenset(
    (
        "acceleration",
        "angle.phase",
        "angle.plane",
        "capacitance",
        "charge",
        "concentration",
        "conductance",
        "conductivity",
        "count",
        "current.ac",
        "current.dc",
        "current.demand",
        "current.setpoint",
        "current.thd",
        "density",
        "dewpoint",
        "dissipation_factor",
        "distortion",
        "energy",
        "energy.active",
        "energy.apparent",
        "energy.reactive",
        "flow.mass",
        "flow.volume",
        "force",
        "frequency",
        "frequency.setpoint",
        "gain",
        "humidity.absolute",
        "humidity.relative",
        "illuminance",
        "impedance",
        "inductance",
        "length",
        "level.power",
        "level.sound",
        "level.voltage",
        "magnetic_flux_density",
        "mass",
        "mass.net",
        "mass.tare",
        "period",
        "ph",
        "phase",
        "power.active",
        "power.apparent",
        "power.dc",
        "power.demand",
        "power.factor",
        "power.reactive",
        "power.rf",
        "power.thermal",
        "pressure.absolute",
        "pressure.barometric",
        "pressure.differential",
        "pressure.gauge",
        "pressure.setpoint",
        "rate.pressure",
        "rate.temperature",
        "ratio",
        "reactance",
        "resistance.2wire",
        "resistance.4wire",
        "resistance.setpoint",
        "rotation",
        "speed",
        "state",
        "status",
        "strain",
        "temperature",
        "temperature.air",
        "temperature.dewpoint",
        "temperature.setpoint",
        "temperature.surface",
        "time",
        "time.interval",
        "torque",
        "vacuum",
        "velocity",
        "voltage.ac",
        "voltage.dc",
        "voltage.line",
        "voltage.phase",
        "voltage.setpoint",
        "voltage.thd",
        "volume",
    )
)
"""What can be measured: general to special, so that a reader may ask for all voltages. New names are added here."""


class UnitError(ValueError):
    """Not a UCUM code that is known here; the message says what is."""


def check_unit(code: str) -> None:
    """Refuse what is no UCUM code.

    Raises:
        UnitError: it is none, or none that is known here.
    """
    for part in _components(code):
        _printed(part, code)


@lru_cache(maxsize=256)
def symbol(code: str) -> str:
    """Return the unit as people print it: `Ohm` is `Ω`, `m/s2` is `m/s²`; the code itself where it is not known."""
    if code in _SYMBOLS:
        return _SYMBOLS[code]
    try:
        pieces = re.split(r"([./])", _without_dots(code))
        return "".join({".": "·", "/": "/"}.get(piece) or _printed(_restored(piece), code) for piece in pieces if piece)
    except UnitError:
        return code


def _components(code: str) -> list[str]:
    """Split a code at . and /, outside of brackets and braces."""
    if not code or not code.isascii() or re.search(r"\s", code):
        raise UnitError(f"{code!r} is no UCUM code. Write Ohm for Ω, Cel for °C, um for µm, 1 where there is no unit.")
    pieces = re.split("[./]", _without_dots(code))
    if code.startswith("/"):
        pieces = pieces[1:]
    return [_restored(piece) for piece in pieces]


def _without_dots(code: str) -> str:
    """Hide . and / where they do not separate."""
    return re.sub(r"\{[^{}]*\}|\[[^\]]*\]", lambda found: found[0].replace(".", "\0").replace("/", "\1"), code)


def _restored(piece: str) -> str:
    return piece.replace("\0", ".").replace("\1", "/")


def _printed(part: str, code: str) -> str:
    """Print one component: atom with prefix, exponent, annotation."""
    found = _COMPONENT.fullmatch(part)
    if not part or found is None or not (found["atom"] or found["note"]):
        raise UnitError(f"{code!r}: {part!r} is no UCUM unit. {_advice(part)}")
    atom = found["atom"]
    printed = "" if atom is None else _printed_atom(atom, code)
    return printed + (found["power"] or "").translate(_SUPERSCRIPT)


def _printed_atom(atom: str, code: str) -> str:
    if atom.isdigit():
        return atom
    if atom in _PLAIN:
        return _PLAIN[atom]
    if atom in _METRIC:
        return _METRIC[atom]
    for length in (1, 2):
        if atom[:length] in _PREFIXES and atom[length:] in _METRIC:
            return _PREFIXES[atom[:length]] + _METRIC[atom[length:]]
    raise UnitError(f"{code!r}: {atom!r} is no UCUM unit known here. {_advice(atom)}")


_COMMON = {  # what people write -> UCUM
    "ohm": "Ohm",
    "Ω": "Ohm",
    "degC": "Cel",
    "°C": "Cel",
    "C°": "Cel",
    "celsius": "Cel",
    "kelvin": "K",
    "volt": "V",
    "var": "V.A{reactive}",
    "VAr": "V.A{reactive}",
    "VA": "V.A",
    "kVA": "kV.A",
    "Wh": "W.h",
    "kWh": "kW.h",
    "kvarh": "kV.A{reactive}.h",
    "psi": "[psi]",
    "ppm": "[ppm]",
    "mmHg": "mm[Hg]",
    "inHg": "[in_i'Hg]",
    "degF": "[degF]",
    "rpm": "/min",
    "sec": "s",
    "hr": "h",
    "RH": "%{RH}",
    "%RH": "%{RH}",
    "°": "deg",
    "dBm": "dB{mW}",
}


def _advice(text: str) -> str:
    if text in _COMMON:
        return f"Nearest: {_COMMON[text]!r}."
    by_lower = {key.lower(): value for key, value in _COMMON.items()}
    if text.lower() in by_lower:
        return f"Nearest: {by_lower[text.lower()]!r}."
    return nearest(text, [*_METRIC, *_PLAIN])

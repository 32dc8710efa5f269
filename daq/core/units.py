"""Units as UCUM codes, how to print them, and the closed list of quantities.

UCUM (ucum.org, version 2.1) is large; here stands the part that a calibration laboratory uses, checked by its grammar:
atoms with metric prefixes, exponents, `.`, `/`, annotations in braces. Nothing is converted. Pure.

    driver (unit, quantity) -> [check_unit, check_fits, symbol] -> plan -> info
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
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
    "[oz_tr]": "ozt",
    "[pwt_tr]": "dwt",
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

_MADE_OF = {  # atom -> what it is made of, factors left out; those not here are made of themselves
    **dict.fromkeys(("%", "[ppth]", "[ppm]", "[ppb]", "[pi]", "10*", "10^", "[pH]"), "1"),
    **dict.fromkeys(("deg", "'", "''"), "rad"),
    **dict.fromkeys(("min", "h", "d", "a", "wk"), "s"),
    **dict.fromkeys(("t", "u", "[lb_av]", "[oz_av]", "[oz_tr]", "[pwt_tr]", "[gr]", "[car_m]"), "g"),
    **dict.fromkeys(("[in_i]", "[ft_i]"), "m"),
    **dict.fromkeys(("Cel", "[degF]", "[degR]"), "K"),
    **dict.fromkeys(("bar", "atm", "[psi]", "m[Hg]", "m[H2O]", "[in_i'Hg]", "[in_i'H2O]"), "Pa"),
    **dict.fromkeys(("L", "l"), "m3"),
    "[g]": "m/s2",
    "N": "g.m/s2",
    "[lbf_av]": "N",
    "Pa": "N/m2",
    "J": "N.m",
    "eV": "J",
    "W": "J/s",
    "C": "A.s",
    "V": "W/A",
    "Ohm": "V/A",
    "S": "A/V",
    "F": "C/V",
    "Wb": "V.s",
    "H": "Wb/A",
    "T": "Wb/m2",
    "G": "T",
    "Hz": "/s",
    "Bq": "/s",
    "sr": "rad2",
    "lm": "cd.sr",
    "lx": "lm/m2",
    "Gy": "J/g",
    "Sv": "J/g",
}

_NAMES = {"C": "coulomb", "F": "farad", "G": "gauss", "H": "henry", "N": "newton", "S": "siemens", "T": "tesla"}
"""Letters that people take for degrees, seconds, grams and the like."""

_SUPERSCRIPT = str.maketrans("+-0123456789", "⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COMPONENT = re.compile(
    r"(?P<atom>10[*^]|(?:[A-Za-z%']|\[[^\]\s]*\])+|[1-9][0-9]*)?(?P<power>[+-]?[0-9]+)?(?P<note>\{[^{}\s]+\})?"
)

QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "acceleration": ("m/s2", "[g]"),
    "angle.phase": ("deg", "rad"),
    "angle.plane": ("deg", "rad"),
    "capacitance": ("F",),
    "charge": ("C", "A.h"),
    "concentration": ("[ppm]", "mol/L", "g/L", "/m3"),
    "conductance": ("S",),
    "conductivity": ("S/m",),
    "count": ("1",),
    "current.ac": ("A",),
    "current.dc": ("A",),
    "current.demand": ("A",),
    "current.setpoint": ("A",),
    "current.thd": ("%", "dB"),
    "density": ("kg/m3",),
    "dewpoint": ("Cel", "K", "[degF]"),
    "dissipation_factor": ("1", "%"),
    "distortion": ("%", "dB"),
    "energy": ("J", "W.h"),
    "energy.active": ("W.h", "J"),
    "energy.apparent": ("V.A.h",),
    "energy.reactive": ("V.A{reactive}.h",),
    "flow.mass": ("kg/h", "g/s"),
    "flow.volume": ("L/min", "m3/h"),
    "force": ("N", "[lbf_av]"),
    "frequency": ("Hz",),
    "frequency.setpoint": ("Hz",),
    "gain": ("dB", "1"),
    "humidity.absolute": ("g/m3", "g/kg"),
    "humidity.relative": ("%{RH}", "1"),
    "illuminance": ("lx",),
    "impedance": ("Ohm",),
    "inductance": ("H",),
    "length": ("m", "mm", "[in_i]"),
    "level.power": ("dB{mW}",),
    "level.sound": ("dB",),
    "level.voltage": ("dB{V}", "dB{uV}"),
    "magnetic_flux_density": ("T", "G"),
    "mass": ("g", "kg", "[lb_av]"),
    "mass.net": ("g", "kg", "[lb_av]"),
    "mass.tare": ("g", "kg", "[lb_av]"),
    "period": ("s",),
    "ph": ("[pH]",),
    "phase": ("deg", "rad"),
    "power.active": ("W",),
    "power.apparent": ("V.A",),
    "power.dc": ("W",),
    "power.demand": ("W", "V.A"),
    "power.factor": ("1", "%"),
    "power.reactive": ("V.A{reactive}",),
    "power.rf": ("W", "dB{mW}"),
    "power.thermal": ("W",),
    "pressure.absolute": ("Pa", "bar", "mm[Hg]", "[psi]"),
    "pressure.barometric": ("hPa", "mbar", "mm[Hg]", "[in_i'Hg]"),
    "pressure.differential": ("Pa", "bar", "mm[Hg]", "[psi]"),
    "pressure.gauge": ("Pa", "bar", "mm[Hg]", "[psi]"),
    "pressure.setpoint": ("Pa", "bar", "mm[Hg]", "[psi]"),
    "rate.pressure": ("Pa/s", "bar/min", "[psi]/s"),
    "rate.temperature": ("K/s", "Cel/min", "[degF]/min"),
    "ratio": ("1", "%", "[ppm]"),
    "reactance": ("Ohm",),
    "resistance.2wire": ("Ohm",),
    "resistance.4wire": ("Ohm",),
    "resistance.setpoint": ("Ohm",),
    "rotation": ("/min", "Hz", "deg/s"),
    "speed": ("m/s", "/min"),
    "state": ("1",),
    "status": ("1",),
    "strain": ("um/m", "1"),
    "temperature": ("Cel", "K", "[degF]"),
    "temperature.air": ("Cel", "K", "[degF]"),
    "temperature.dewpoint": ("Cel", "K", "[degF]"),
    "temperature.setpoint": ("Cel", "K", "[degF]"),
    "temperature.surface": ("Cel", "K", "[degF]"),
    "time": ("s", "h"),
    "time.interval": ("s",),
    "torque": ("N.m",),
    "vacuum": ("Pa", "mbar", "mm[Hg]"),
    "velocity": ("m/s",),
    "voltage.ac": ("V",),
    "voltage.dc": ("V",),
    "voltage.line": ("V",),
    "voltage.phase": ("V",),
    "voltage.setpoint": ("V",),
    "voltage.thd": ("%", "dB"),
    "volume": ("L", "m3"),
}
"""What can be measured: general to special, so that a reader may ask for all voltages. New names are added here.

Beside each, units that fit: another of the same dimension fits as well, with whatever prefix.
"""


class UnitError(ValueError):
    """Not a UCUM code that is known here; the message says what is."""


def check_unit(code: str) -> None:
    """Refuse what is no UCUM code.

    Raises:
        UnitError: it is none, or none that is known here.
    """
    for part in _components(code):
        _printed(part, code)


def quantity_advice(word: str) -> str:
    """Say which quantity was probably meant: those with most of its words, such as power.active, else the nearest."""
    words = set(word.lower().split())
    common = {each: len(words & set(each.split("."))) for each in sorted(QUANTITIES)}
    alike = [each for each, found in common.items() if 0 < found == max(common.values())]
    return f"There are: {', '.join(alike)}." if alike else nearest(word, QUANTITIES)


def check_fits(quantity: str, unit: str) -> None:
    """Refuse a unit that is none of this quantity, such as coulomb of temperature.

    Args:
        quantity: from the list.
        unit: a UCUM code.

    Raises:
        UnitError: it has another dimension; the message names some that fit. Or it is no UCUM code.
    """
    fitting = QUANTITIES[quantity]
    if dimension(unit) not in {dimension(each) for each in fitting}:
        name = f" ({_NAMES[unit]})" if unit in _NAMES else ""
        raise UnitError(f"{unit!r}{name} is no unit of {quantity}. Units that fit: {', '.join(fitting)}.")


@lru_cache(maxsize=1024)
def dimension(code: str) -> frozenset[tuple[str, int]]:
    """Return what a unit is made of: base units with their exponents, prefixes and factors aside.

    Raises:
        UnitError: it is no UCUM code that is known here.
    """
    check_unit(code)
    powers: Counter[str] = Counter()
    sign = 1
    for piece in re.split("([./])", _without_dots(code)):
        if piece in (".", "/"):
            sign = 1 if piece == "." else -1
        elif piece:
            for base, power in _dimension_of(_restored(piece)):
                powers[base] += sign * power
    return frozenset((base, power) for base, power in powers.items() if power)


def _dimension_of(part: str) -> list[tuple[str, int]]:
    """Return the dimension of one component: atom with prefix, exponent, annotation."""
    found = _COMPONENT.fullmatch(part)
    assert found is not None, "it was checked before"
    if found["atom"] is None or found["atom"].isdigit():
        return []
    _, atom = _split_atom(found["atom"], part)
    made_of = dimension(_MADE_OF[atom]) if atom in _MADE_OF else {(atom, 1)}
    return [(base, power * int(found["power"] or 1)) for base, power in made_of]


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
    prefix, bare = _split_atom(atom, code)
    return _PREFIXES.get(prefix, "") + (_PLAIN.get(bare) or _METRIC[bare])


def _split_atom(atom: str, code: str) -> tuple[str, str]:
    """Return the prefix ("" where there is none) and the atom without it."""
    if atom in _PLAIN or atom in _METRIC:
        return "", atom
    for length in (1, 2):
        if atom[:length] in _PREFIXES and atom[length:] in _METRIC:
            return atom[:length], atom[length:]
    whole = "" if atom == code else f"{code!r}: "
    raise UnitError(f"{whole}{atom!r} is no UCUM unit known here. {_otherwise_written(atom) or _advice(atom)}")


def _otherwise_written(atom: str) -> str:
    """Name the unit that has the same letters, large and small ones aside: mV of mv; "" where none has."""
    whole = [each for each in (*_PLAIN, *_METRIC) if each.lower() == atom.lower()]
    parted = [
        prefix + bare
        for prefix in _PREFIXES
        for bare in _METRIC
        if (prefix + bare).lower() == atom.lower() and prefix.islower() == atom[:1].islower()
    ]
    return f"Nearest: {(whole or parted)[0]!r}." if whole or parted else ""


_COMMON = {  # what people write -> UCUM
    "ohm": "Ohm",
    "Ω": "Ohm",
    "degC": "Cel",
    "°C": "Cel",
    "C°": "Cel",
    "celsius": "Cel",
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

_ATOMS_BY_NAME = (
    "pascal=Pa volt=V ampere=A amp=A watt=W hertz=Hz newton=N kelvin=K bar=bar ohm=Ohm gram=g meter=m metre=m second=s "
    "liter=L litre=L joule=J siemens=S farad=F henry=H tesla=T coulomb=C lux=lx"
)
_PREFIXES_BY_NAME = "kilo=k milli=m micro=u nano=n pico=p hecto=h centi=c mega=M giga=G ="  # the last one is none
_SPELLED_OUT = dict(pair.split("=") for pair in _ATOMS_BY_NAME.split())
_SPELLED_PREFIXES = dict(pair.split("=") for pair in _PREFIXES_BY_NAME.split())
_SPELLED_PLAIN = {"minute": "min", "hour": "h", "percent": "%", "degree": "deg", "fahrenheit": "[degF]", "one": "1"}


def _spelled(text: str) -> str | None:
    """Return the code of a unit whose name is written out, such as hectopascals."""
    for name in (text.lower(), text.lower().removesuffix("s")):
        if name in _SPELLED_PLAIN:
            return _SPELLED_PLAIN[name]
        for prefix, short in _SPELLED_PREFIXES.items():
            if name.startswith(prefix) and name.removeprefix(prefix) in _SPELLED_OUT:
                return short + _SPELLED_OUT[name.removeprefix(prefix)]
    return None


def _advice(text: str) -> str:
    if text in _COMMON:
        return f"Nearest: {_COMMON[text]!r}."
    by_lower = {key.lower(): value for key, value in _COMMON.items()}
    if text.lower() in by_lower:
        return f"Nearest: {by_lower[text.lower()]!r}."
    spelled = _spelled(text)
    if spelled is not None:
        return f"Nearest: {spelled!r}."
    return nearest(text, [*_METRIC, *_PLAIN])

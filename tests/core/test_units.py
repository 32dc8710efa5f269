from decimal import Decimal

import pytest

from daq.core.formula import span_ns
from daq.core.quantity import in_unit, short
from daq.core.units import QUANTITIES, UnitError, check_fits, check_unit, dimension, symbol


@pytest.mark.parametrize(
    ("formula", "ns"),
    [
        ("nplc / line_frequency", 200_000_000),
        ("2 * nplc / line_frequency", 400_000_000),
        ("500 ms", 500_000_000),
        ("1.5 s * 2", 3_000_000_000),
        ("aperture", 100_000_000),
        ("samples / rate", 2_000_000_000),
    ],
)
def test_formulas_are_reckoned_exactly(formula, ns):
    values = {"nplc": ("10", None), "aperture": ("100", "ms"), "samples": ("20", None), "rate": ("10", "Hz")}
    assert span_ns(formula, values, 50) == ns


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("nplc", "is not a time"),
        ("1 s * 1 s", "is not a time"),
        ("nplc / line_frequncy", "Nearest: 'line_frequency'"),
        ("__import__('os')", "neither a name"),
        ("(1 s)", "neither a name"),
        ("1 s +", "neither a name"),
        ("", "neither a name"),
        ("1 s / 0", "divides by zero"),
        ("word / line_frequency", "no time can be reckoned from a word"),
    ],
)
def test_formulas_that_are_no_times_are_refused(formula, words):
    with pytest.raises(ValueError) as caught:
        span_ns(formula, {"nplc": ("10", None), "word": ("auto", None)}, 50)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("V", "V"),
        ("kOhm", "kΩ"),
        ("Cel", "°C"),
        ("m/s2", "m/s²"),
        ("V.A{reactive}", "var"),
        ("kW.h", "kWh"),
        ("%{RH}", "%RH"),
        ("uV/V", "µV/V"),
        ("[in_i'H2O]", "inH₂O"),
        ("mm[Hg]", "mmHg"),
        ("1", ""),
        ("10*-6", "10⁻⁶"),
        ("hPa", "hPa"),
        ("dB{mW}", "dBm"),
        ("/min", "/min"),
    ],
)
def test_units_are_ucum_and_have_a_symbol(code, printed):
    check_unit(code)
    assert symbol(code) == printed


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ohm", "Nearest: 'Ohm'"),
        ("degC", "Nearest: 'Cel'"),
        ("kWh", "Nearest: 'kW.h'"),
        ("psi", "Nearest: '[psi]'"),
        ("°C", "Write Ohm for Ω, Cel for °C"),
        ("V/", "is no UCUM unit"),
        ("", "is no UCUM code"),
        ("m s", "is no UCUM code"),
        ("kk", "no UCUM unit known here"),
        ("pascal", "Nearest: 'Pa'"),
        ("hectopascals", "Nearest: 'hPa'"),
    ],
)
def test_what_is_no_unit_is_refused_with_the_nearest(code, words):
    with pytest.raises(UnitError) as caught:
        check_unit(code)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("quantity", "units"),
    [
        ("voltage.dc", ["V", "mV", "uV", "kV", "W/A"]),
        ("resistance.4wire", ["Ohm", "kOhm", "MOhm", "V/A"]),
        ("temperature", ["Cel", "K", "[degF]", "[degR]", "mK"]),
        ("pressure.gauge", ["Pa", "hPa", "mbar", "[psi]", "mm[Hg]", "[in_i'H2O]", "atm", "N/m2", "kg/m/s2"]),
        ("ratio", ["1", "%", "[ppm]", "uV/V", "10*-6", "V/V", "g/kg", "{events}"]),
        ("humidity.relative", ["%{RH}", "%"]),
        ("power.reactive", ["V.A{reactive}", "kV.A{reactive}"]),
        ("energy.active", ["kW.h", "W.h", "J", "MJ"]),
        ("charge", ["C", "A.h", "mA.h"]),
        ("flow.volume", ["L/min", "m3/h", "mL/min"]),
        ("rotation", ["/min", "Hz", "deg/s", "{turns}/min"]),
        ("acceleration", ["m/s2", "m.s-2", "[g]"]),
        ("conductivity", ["S/m", "uS/cm"]),
        ("illuminance", ["lx", "lm/m2"]),
        ("level.power", ["dB{mW}"]),
        ("torque", ["N.m", "[lbf_av].[ft_i]"]),
        ("angle.plane", ["deg", "'", "''", "mrad"]),
        ("time", ["s", "min", "h", "d", "ms"]),
    ],
)
def test_units_of_a_quantitys_dimension_fit_it(quantity, units):
    for unit in units:
        check_fits(quantity, unit)


@pytest.mark.parametrize(
    ("quantity", "unit", "words"),
    [
        ("temperature", "C", "'C' (coulomb) is no unit of temperature. Units that fit: Cel, K, [degF]."),
        ("voltage.dc", "A", "'A' is no unit of voltage.dc. Units that fit: V."),
        ("resistance.2wire", "V", "Units that fit: Ohm."),
        ("pressure.gauge", "N", "Units that fit: Pa, bar, mm[Hg], [psi]."),
        ("capacitance", "C", "Units that fit: F."),
        ("time", "S", "'S' (siemens) is no unit of time."),
        ("state", "V", "Units that fit: 1."),
        ("voltage.dc", "1", "Units that fit: V."),
        ("mass", "kN", "Units that fit: g, kg, [lb_av]."),
        ("level.power", "W", "Units that fit: dB{mW}."),
        ("angle.plane", "%", "Units that fit: deg, rad."),
        ("frequency", "s", "Units that fit: Hz."),
    ],
)
def test_a_unit_of_another_dimension_is_refused_with_those_that_fit(quantity, unit, words):
    with pytest.raises(UnitError) as caught:
        check_fits(quantity, unit)
    assert words in str(caught.value)


def test_every_quantity_has_units_and_no_two_notations_of_one_dimension_part():
    assert all(units for units in QUANTITIES.values())
    assert dimension("kg.m2.s-3.A-1") == dimension("mV")
    assert dimension("1") == frozenset()


@pytest.mark.parametrize(
    ("number", "unit", "written"),
    [
        ("1E-6", "A", "1 uA"),
        ("0.1", "V", "100 mV"),
        ("1000", "V", "1000 V"),
        ("1E4", "Ohm", "10 kOhm"),
        ("1E9", "Ohm", "1 GOhm"),
        ("1E-9", "F", "1 nF"),
        ("3", "A", "3 A"),
        ("0.05", "%", "0.05 %"),
        ("20000", "Cel", "20000 Cel"),
    ],
)
def test_numbers_with_units_are_written_as_people_do_and_read_back_the_same(number, unit, written):
    assert short(Decimal(number), unit) == written
    assert in_unit(written, unit) == Decimal(number)


def test_quantities_are_dotted_words():
    assert all(part.isidentifier() or part[0].isdigit() for name in QUANTITIES for part in name.split("."))

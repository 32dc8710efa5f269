"""Compiles one instrument of the bench: driver and entry in, a plan that can be asked out, or all that is wrong.

Driver, InstrumentFile -> [compile_instrument] -> InstrumentPlan | problems -> session | load
"""

from __future__ import annotations

from daq.core.assembly import Assembly
from daq.core.bench import InstrumentFile, StationName
from daq.core.compile_registers import compile_registers
from daq.core.compile_text import compile_text
from daq.core.driver import Driver, TextDriver
from daq.core.plan import InstrumentPlan, Problem
from daq.core.reached import as_reached


def compile_instrument(
    driver: Driver, name: str, entry: InstrumentFile, station: StationName, wire_gap_ns: int = 0
) -> InstrumentPlan | list[Problem]:
    """Compile an instrument.

    Args:
        driver: of its model.
        name: in the bench file.
        entry: what the bench file says of it.
        station: for the mains frequency.
        wire_gap_ns: shortest pause that its wire wants.

    Returns:
        The plan, or everything that is wrong in either file, each finding once.
    """
    driver = as_reached(driver, entry)
    work = Assembly(driver, name, entry, station)
    if isinstance(driver, TextDriver):
        plan = compile_text(work, driver, wire_gap_ns)
    else:
        plan = compile_registers(work, driver, wire_gap_ns)
    return list(dict.fromkeys(work.problems)) or plan

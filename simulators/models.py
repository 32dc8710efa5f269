"""The table of models: adding one is a file under instruments/ and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulators.dialogue import TextInstrument
from simulators.faults import Faults
from simulators.instruments import Habits, Spec
from simulators.instruments.druck_pace5000 import PressureController
from simulators.instruments.eastron_sdm630 import RESERVED_SERIALS, EnergyMeter
from simulators.instruments.fluke_1502a import Thermometer
from simulators.instruments.fluke_5730a import Calibrator
from simulators.instruments.keysight_34465a import Multimeter
from simulators.instruments.mt_sics import Balance
from simulators.instruments.vaisala_ptu300 import AmbientStation
from simulators.modbus import Device
from simulators.world import World

TEXT = ("tcp", "visa", "serial")
REGISTERS = ("modbus_tcp", "wire")


@dataclass(frozen=True, slots=True)
class Model:
    """One row: how to build the model, what it is like, and the serial number it has where the file gives none."""

    build: Callable[[Spec, World, Faults], TextInstrument] | Callable[[Spec, World, Faults], Device]
    habits: Habits
    serial_number: str


MODELS: dict[str, Model] = {
    "34465a": Model(Multimeter, Habits(2.0, 0.1, interfaces=TEXT), "SIM-34465A-0001"),
    "5730a": Model(Calibrator, Habits(0.5, 0.0, interfaces=TEXT), "SIM-5730A-0001"),
    "mt_sics": Model(Balance, Habits(1.0, 0.1, period_s=0.1, interfaces=TEXT), "SIM-XPR205-0001"),
    "1502a": Model(Thermometer, Habits(50.0, 10.0, lag_s=2.0, period_s=1.0, interfaces=TEXT), "SIM-1502A-0001"),
    "ptu300": Model(AmbientStation, Habits(300.0, 20.0, lag_s=5.0, period_s=1.0, interfaces=TEXT), "SIM-PTU300-0001"),
    "pace5000": Model(PressureController, Habits(10.0, 0.5, period_s=0.1, interfaces=TEXT), "SIM-PACE5000-0001"),
    "sdm630": Model(EnergyMeter, Habits(500.0, 50.0, period_s=0.5, interfaces=REGISTERS), str(RESERVED_SERIALS[1])),
}
"""By the name a world file uses."""

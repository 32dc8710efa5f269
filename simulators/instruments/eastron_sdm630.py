"""An Eastron SDM630-Modbus V2 three-phase energy meter.

Measures by itself every `period`; a read gives what was measured last, all of it at one instant.
Source: SDM630-Modbus MID V2 user manual, parts "Input registers" and "Holding registers"; nmakel/sdm_modbus for the
register names. Parameters the manual lists but this stand-in does not measure read 0, as those that do not apply to a
wiring do. The
manual asks for two registers a parameter: an odd start is refused with exception 2, an odd count of inputs with
exception 2.
"""

from __future__ import annotations

import math
import time

from simulators.faults import Faults
from simulators.instruments import Spec
from simulators.modbus import HOLDING, Register, Snapshot, Table, float32, unsigned
from simulators.world import SECOND_NS, Eye, World

LAST_INPUT = 0x017D  # second word of L3 total kvarh
SETTINGS_END = 0x0026
SERIAL_AT, CODE_AT = 0xFC00, 0xFC02
METER_CODE = 0x0070
RESERVED_SERIALS = range(4_290_000_000, 4_294_967_296)
"""Serial numbers of stand-ins. Real ones have eight digits, the first two being the year of manufacture."""
OTHER_SERIAL = 4_294_967_000


class EnergyMeter:
    """The instrument; it has no state but its settings."""

    max_words = 80  # 40 parameters a request

    def __init__(self, spec: Spec, world: World, faults: Faults) -> None:
        self._serial = spec.serial_number
        self._faults = faults
        self._period_ns = max(int(spec.period_s * SECOND_NS), 1)
        self._eyes = [Eye(world, f"{spec.name}/l{k}", spec.error_ppm, spec.noise_ppm, spec.lag_s) for k in (1, 2, 3)]

    def holds(self, table: Table, start: int, count: int) -> bool:
        """Tell whether these addresses may be read."""
        end = start + count
        if table == HOLDING:
            return end <= SETTINGS_END or SERIAL_AT <= start < end <= CODE_AT + 1
        return start % 2 == 0 and count % 2 == 0 and end <= LAST_INPUT + 1

    def read(self, table: Table) -> Snapshot:
        """Give the settings, or what was measured last."""
        if table == HOLDING:
            return Snapshot(self._settings())
        now_ns = time.monotonic_ns()
        sampled_ns = now_ns - now_ns % self._period_ns
        values = self._measured(sampled_ns, unstable=self._faults.strikes("unstable"))
        if self._faults.strikes("overload"):
            values = dict.fromkeys(values, math.nan)
        return Snapshot({address: float32(value) for address, value in values.items()}, sampled_ns)

    def who(self) -> dict[int, bytes]:
        """Say nothing: the manual knows no such function."""
        return {}

    def _settings(self) -> dict[int, Register]:
        given = self._faults.serial_number(self._serial, str(OTHER_SERIAL))
        serial = int(given) if given.isdecimal() and int(given) in RESERVED_SERIALS else OTHER_SERIAL
        floats = {
            0x0002: 60.0,
            0x0006: 230.0,
            0x0008: 100.0,
            0x000A: 3.0,
            0x000C: 100.0,
            0x0012: 0.0,
            0x0014: 1.0,
            0x001C: 2.0,
        }
        settings = {address: float32(value) for address, value in floats.items()}
        return settings | {SERIAL_AT: unsigned(serial, 2), CODE_AT: unsigned(METER_CODE, 1)}

    def _measured(self, at_ns: int, *, unstable: bool) -> dict[int, float]:
        def see(phase: int, quantity: str) -> float:
            return self._eyes[phase].see(quantity, at_ns, unstable=unstable)

        volts = [see(k, "mains_voltage") for k in range(3)]
        amps = [see(k, "mains_current") for k in range(3)]
        factors = [min(see(k, "mains_power_factor"), 1.0) for k in range(3)]
        kwh = [see(k, "mains_energy") for k in range(3)]
        apparent = [u * i for u, i in zip(volts, amps, strict=True)]
        active = [s * f for s, f in zip(apparent, factors, strict=True)]
        reactive = [math.sqrt(max(s * s - p * p, 0.0)) for s, p in zip(apparent, active, strict=True)]
        angles = [math.degrees(math.acos(f)) for f in factors]
        values: dict[int, float] = {}
        for start, triple in (
            (0x0000, volts),
            (0x0006, amps),
            (0x000C, active),
            (0x0012, apparent),
            (0x0018, reactive),
            (0x001E, factors),
            (0x0024, angles),
            (0x015A, kwh),  # L1 to L3 import kWh
        ):
            values |= {start + 2 * k: value for k, value in enumerate(triple)}
        total_factor = sum(active) / sum(apparent)
        values |= {
            0x002A: sum(volts) / 3,
            0x002E: sum(amps) / 3,
            0x0030: sum(amps),
            0x0034: sum(active),
            0x0038: sum(apparent),
            0x003C: sum(reactive),
            0x003E: total_factor,
            0x0042: math.degrees(math.acos(total_factor)),
            0x0046: see(0, "mains_frequency"),
            0x0048: sum(kwh),  # total import kWh
            0x004A: 0.0,  # total export kWh
            0x00C8: math.sqrt(3) * volts[0],
            0x00CA: math.sqrt(3) * volts[1],
            0x00CC: math.sqrt(3) * volts[2],
            0x00CE: math.sqrt(3) * sum(volts) / 3,
            0x0156: sum(kwh),  # total kWh
        }
        return values

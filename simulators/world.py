"""The one physical world that every stand-in measures.

Each quantity is a pure function of CLOCK_MONOTONIC and of the seed: whoever asks twice for the same instant gets the
same number, so a logged sampling instant can be checked afterwards. Only what a source is told to do (a calibrator's
output, a controller's set point) is state, and it is one step with a time constant. Never sleeps, never reads a
clock, knows no
instrument: time comes in as an argument.

instant -> World.value (the truth) -> Eye.see (what one instrument makes of it: its error, noise and lag) -> digits
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

SECOND_NS = 1_000_000_000
UNSTABLE_NOISE = 1000.0  # how much noisier an instrument is whose fault `unstable` is switched on


def uniform(*key: object) -> float:
    """Draw a number in [0, 1) that depends on the key alone."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def gauss(*key: object) -> float:
    """Draw a nearly normal number, mean 0, deviation 1, at most 3.5, that depends on the key alone."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    parts = (int.from_bytes(digest[i : i + 2], "big") / 2**16 for i in range(0, 8, 2))
    return (sum(parts) - 2.0) * math.sqrt(3.0)  # four uniforms have variance 4/12


@dataclass(frozen=True, slots=True)
class Drift:
    """A slow wander about a nominal value: three sines whose phases come from the seed."""

    seed: int
    name: str
    nominal: float
    amplitude: float  # in the quantity's own unit

    def value(self, at_ns: int) -> float:
        """Give the value at a monotonic instant."""
        wander = 0.0
        for period_s, share in ((47.0, 0.2), (311.0, 0.3), (1801.0, 0.5)):
            phase = uniform(self.seed, self.name, period_s)
            wander += share * math.sin(2 * math.pi * (at_ns / SECOND_NS / period_s + phase))
        return self.nominal + self.amplitude * wander


@dataclass(slots=True)
class Step:
    """What a source puts out: it goes to each new target exponentially, from where it was."""

    target: float
    tau_s: float
    start: float = 0.0
    since_ns: int = -(10**18)

    def change(self, target: float, now_ns: int) -> None:
        """Set a new target from now on."""
        self.start, self.target, self.since_ns = self.value(now_ns), target, now_ns

    def value(self, at_ns: int) -> float:
        """Give the output at an instant; before the last change, what it was then."""
        elapsed_s = (at_ns - self.since_ns) / SECOND_NS
        if elapsed_s <= 0:
            return self.start
        return self.target + (self.start - self.target) * math.exp(-min(elapsed_s / self.tau_s, 700.0))

    def settled(self, at_ns: int, within: float) -> bool:
        """Tell whether the output is within this much (its own unit) of the target."""
        return abs(self.value(at_ns) - self.target) <= within


@dataclass(frozen=True, slots=True)
class Pan:
    """The load on a balance: one weight after another, each ringing out for some seconds after it is put on."""

    loads_g: tuple[float, ...] = (100.0, 180.0, 50.0)
    every_s: float = 20.0
    rings_s: float = 2.0

    def _since_load(self, at_ns: int) -> tuple[int, float]:
        turn, rest_ns = divmod(at_ns, int(self.every_s * SECOND_NS))
        return turn, rest_ns / SECOND_NS

    def value(self, at_ns: int) -> float:
        """Give the indicated load in grams, ringing included."""
        turn, since_s = self._since_load(at_ns)
        load, before = self.loads_g[turn % len(self.loads_g)], self.loads_g[(turn - 1) % len(self.loads_g)]
        ringing = (before - load) * math.exp(-4 * since_s) * math.cos(2 * math.pi * 1.5 * since_s)
        return load + (ringing if since_s < self.rings_s else 0.0)

    def stable(self, at_ns: int) -> bool:
        """Tell whether the load has come to rest."""
        return self._since_load(at_ns)[1] >= self.rings_s


NOMINAL: dict[str, tuple[float, float, float]] = {  # quantity: nominal, drift amplitude, scale of errors and noise
    "resistance": (10_000.0, 0.02, 10_000.0),  # ohm
    "bath_temperature": (50.0, 0.03, 100.0),  # degree Celsius
    "ambient_temperature": (23.0, 0.6, 100.0),  # degree Celsius
    "ambient_humidity": (50.0, 4.0, 100.0),  # %RH
    "ambient_pressure": (1010.0, 2.0, 1000.0),  # hPa
    "mains_voltage": (230.0, 2.0, 230.0),  # V, line to neutral
    "mains_current": (5.0, 0.3, 5.0),  # A
    "mains_power_factor": (0.95, 0.01, 1.0),
    "mains_frequency": (50.0, 0.02, 50.0),  # Hz
    "dc_voltage": (10.0, 0.0, 10.0),  # V at the terminals: what the calibrator gives
    "pressure": (100_000.0, 0.0, 100_000.0),  # Pa absolute: what the controller holds
    "mass": (100.0, 0.0, 100.0),  # g on the pan; the nominal is the first load
}


class World:
    """The quantities by name, each a function of the instant.

    Args:
        seed: the same seed gives the same world.
        nominal: other nominal values than NOMINAL's, by quantity.
    """

    def __init__(self, seed: int, nominal: dict[str, float] | None = None) -> None:
        self.seed = seed
        given = nominal or {}
        self._drift = {
            name: Drift(seed, name, given.get(name, usual), amplitude)
            for name, (usual, amplitude, _) in NOMINAL.items()
        }
        volts = given.get("dc_voltage", NOMINAL["dc_voltage"][0])
        self.output = Step(target=volts, tau_s=0.05, start=volts)
        pascals = given.get("pressure", NOMINAL["pressure"][0])
        self.held = Step(target=pascals, tau_s=0.2, start=pascals)
        first = given.get("mass", NOMINAL["mass"][0])
        self.pan = Pan(
            loads_g=(first, 1.8 * first, first / 2)
        )  # ringing, 2.03 times: twice as much would go over 220 g
        self._wander = Drift(seed, "source", 1.0, 2e-7)  # what a source itself drifts by, relative
        self._special: dict[str, Callable[[int], float]] = {
            "dc_voltage": lambda at_ns: self.output.value(at_ns) * self._wander.value(at_ns),
            "pressure": lambda at_ns: self.held.value(at_ns) * (1 + 50 * (self._wander.value(at_ns) - 1)),
            "mass": self.pan.value,
            "mains_energy": self._energy,
        }

    def value(self, quantity: str, at_ns: int) -> float:
        """Give the true value at a monotonic instant, in the unit NOMINAL says; energies in kWh."""
        special = self._special.get(quantity)
        return special(at_ns) if special else self._drift[quantity].value(at_ns)

    def _energy(self, at_ns: int) -> float:
        """Give the active energy of one phase since the machine started, at nominal power."""
        watts = math.prod(self._drift[f"mains_{part}"].nominal for part in ("voltage", "current", "power_factor"))
        return watts * at_ns / SECOND_NS / 3.6e6


@dataclass(frozen=True, slots=True)
class Eye:
    """How one instrument sees the world.

    Error and noise are in parts per million of the quantity's scale; the lag is that of the sensor, an error of the
    instrument like any other: the instant of a reading stays the instant it was digitised.
    """

    world: World
    name: str
    error_ppm: float
    noise_ppm: float
    lag_s: float = 0.0

    def see(self, quantity: str, at_ns: int, *, unstable: bool = False) -> float:
        """Give what the instrument reads at a monotonic instant, unrounded."""
        scale = NOMINAL.get(quantity, (0.0, 0.0, 1.0))[2]
        ppm = self.error_ppm
        noise = self.noise_ppm * (UNSTABLE_NOISE if unstable else 1.0)
        if noise:
            ppm += noise * gauss(self.world.seed, self.name, quantity, at_ns)
        return self.world.value(quantity, at_ns - int(self.lag_s * SECOND_NS)) + scale * ppm * 1e-6

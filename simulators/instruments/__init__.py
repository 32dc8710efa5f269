"""The models: one file each, written from its manual. What they share is the Spec they are built from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Spec:
    """What a model is told when it is built.

    Attributes:
        name: the instrument's name in the world file.
        serial_number: what it answers when asked who it is; begins with SIM-, or is of the reserved range where a
            register holds an integer.
        line_frequency: of the mains, in Hz, for integration times.
        error_ppm, noise_ppm, lag_s: how it sees the world; see world.Eye.
        period_s: how often it measures, or speaks, by itself; models without such a thing ignore it.
    """

    name: str
    serial_number: str
    line_frequency: float = 50.0
    error_ppm: float = 0.0
    noise_ppm: float = 0.0
    lag_s: float = 0.0
    period_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Habits:
    """What a model is like where the world file says nothing; `other` values as in Spec."""

    spread_ppm: float  # an instrument's own error is drawn from the seed within this
    noise_ppm: float
    lag_s: float = 0.0
    period_s: float = 1.0
    interfaces: tuple[str, ...] = field(default=("tcp", "visa", "serial"))

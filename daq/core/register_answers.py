"""Answers of register reads -> readings, identity and proof: what the plans of register drivers call.

Nothing here asks; it is compiled once and called for every poll. Pure.

    answers, one a step -> [RegisterReadings, RegisterFields, Verification] -> Reading by channel, field, complaint
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from daq.core.blocks import Block, divided
from daq.core.observation import Reading
from daq.core.plan import Answer, RegisterStep
from daq.core.register_map import Verify
from daq.core.registers import Layout, NumberReader, RegisterReader, decoded
from daq.core.settings import as_number


@dataclass(frozen=True, slots=True)
class RegisterReadings:
    """Answers of a poll's blocks -> channel -> Reading."""

    readers: Mapping[str, RegisterReader | NumberReader]

    def __call__(self, answers: Sequence[Answer]) -> dict[str, Reading]:
        """Return the readings."""
        return {name: reader.read(answers) for name, reader in self.readers.items()}


@dataclass(frozen=True, slots=True)
class RegisterFields:
    """Answers of the identity's blocks, and behind them of what the device says of itself -> field -> text."""

    layouts: Mapping[str, Layout]
    objects: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, answers: Sequence[Answer]) -> dict[str, str]:
        """Return the fields; one that holds no number, or that the device does not tell, is empty."""
        fields = {name: decoded(layout.content(answers), layout.type) or "" for name, layout in self.layouts.items()}
        said = device_objects(answers[-1]) if self.objects else {}
        return fields | {name: said.get(number, "") for name, number in self.objects.items()}


def device_objects(answer: Answer) -> dict[int, str]:
    """Return the objects that a device tells of itself as text: number -> characters, without padding."""
    assert isinstance(answer, bytes), "a device step brings bytes"
    found, at = {}, 0
    while at < len(answer):
        end = at + 2 + answer[at + 1]
        found[answer[at]] = answer[at + 2 : end].decode("latin-1").strip(" \0")
        at = end
    return found


@dataclass(frozen=True, slots=True)
class Subdivision:
    """Block -> the requests to try instead when the device refuses it; () where it is one value."""

    blocks: Mapping[RegisterStep, Block]

    def __call__(self, step: RegisterStep) -> tuple[RegisterStep, ...]:
        """Return the parts; `core.blocks.joined` puts their answers together."""
        block = self.blocks.get(step)
        parts = () if block is None else divided(block)
        return tuple(RegisterStep(span.function, span.address, span.count, step.within_ns) for span in parts)


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a register of known content shows it."""

    layout: Layout
    register: Verify
    content: Decimal

    def __call__(self, answer: bytes) -> str | None:
        """Return None, or what is wrong."""
        found = decoded(self.layout.content([answer]), self.layout.type)
        if found is not None and as_number(found) == self.content:
            return None
        return (
            f"register {self.register.at} ({self.register.table}) holds {found or answer.hex()}, and must hold "
            f"{self.register.content}: word order or addressing is not what the driver says. No readings until it is."
        )

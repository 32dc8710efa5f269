"""Makes small classes that are built once, many times a second, and never changed.

To the type checker they are frozen dataclasses with slots. At run time they only have slots: a frozen one sets each
field through object.__setattr__, which made an observation's two dozen small objects cost more than reading its answer.

    observation, dialogue, timing, ... -> @unchanging
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def unchanging(cls: type[T]) -> type[T]:
    """Make a dataclass that nobody changes: mypy refuses who tries. Equal and hashed by its fields, as frozen ones."""
    return dataclass(slots=True, unsafe_hash=True)(cls)

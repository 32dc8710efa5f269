"""Writes the lines of a bench file for instruments that were found or are simulated, to be pasted. Pure.

driver, address, polls -> [bench_lines] -> entry; entries -> [pasted] -> YAML
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from daq.core.bench import Address


@dataclass(frozen=True, slots=True)
class Asked:
    """How a poll is asked: its interval, None where it comes unasked, and its settings."""

    every: str | None = "2 s"
    settings: Mapping[str, object] = field(default_factory=dict)


def instrument_name(driver: str) -> str:
    """Return a name for an instrument of a driver, fit for topics."""
    name = re.sub(r"[^a-z0-9_-]+", "-", driver.rsplit("/", 1)[-1].lower()).strip("-_")
    return name or "instrument1"


def bench_lines(
    name: str,
    driver: str,
    at: Address,
    polls: Mapping[str, Asked],
    *,
    serial_number: str | None = None,
    simulated: bool = False,
    configure: bool | None = None,
) -> str:
    """Write the entry.

    Args:
        name: of the instrument.
        driver: name or file of its driver.
        at: where it is.
        polls: by the driver's own names.
        serial_number: as it answered; None leaves the key out.
        simulated: write that it is.
        configure: True, False, or None to leave the key out.
    """
    lines = [f"  {name}:", f"    driver: {driver}", f"    at: {_flow(at.model_dump(exclude_none=True))}"]
    if serial_number is not None:
        lines.append(f"    serial_number: {_scalar(serial_number)}")
    if simulated:
        lines.append("    simulated: true")
    if configure is False:
        lines.append("    configure: never # only ask; on_connect also sets it up, modes included")
    lines.append("    poll:")
    lines += [f"      {_poll(poll, asked)}" for poll, asked in polls.items()]
    return "\n".join(lines) + "\n"


def pasted(entries: Sequence[str], wires: Mapping[str, Address] | None = None) -> str:
    """Return entries below their headings, with the wires that they share; "" where there are none."""
    if not entries:
        return ""
    lines = [f"  {name}: {_flow(at.model_dump(exclude_none=True))}\n" for name, at in (wires or {}).items()]
    return "".join([*(["wires:\n", *lines] if lines else []), "instruments:\n", *entries])


def _poll(poll: str, asked: Asked) -> str:
    if not asked.settings:
        return f"{poll}: {asked.every or 'unasked'}"
    every = {} if asked.every is None else {"every": asked.every}
    return f"{poll}: {_flow({'ask': poll, **every, 'settings': dict(asked.settings)})}"


def _flow(mapping: Mapping[str, Any]) -> str:
    inside = (f"{key}: {_flow(value) if isinstance(value, dict) else _scalar(value)}" for key, value in mapping.items())
    return "{" + ", ".join(inside) + "}"


def _scalar(value: object) -> str:
    """Write a scalar; in quotes wherever YAML might read anything else."""
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9 ._-]*[A-Za-z0-9]|[0-9]+|[0-9]+ [A-Za-z]+", text)
    words = text.lower() in {"true", "false", "null", "yes", "no", "on", "off"}
    digits = isinstance(value, str) and text.isdigit()
    return text if plain and not words and not digits else json.dumps(text, ensure_ascii=False)

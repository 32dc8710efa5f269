"""The demo bench with the addresses at which its simulated instruments really stand this time. Pure.

configs/demo.yaml (plain data), Stands, port of the broker -> bench file of this run
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def placed(
    bench: Mapping[str, Any], instruments: Mapping[str, Any], wires: Mapping[str, Any], broker_port: int
) -> dict[str, Any]:
    """Return the bench with its placeholders replaced, by name of instrument and wire.

    Args:
        bench: as the file holds it.
        instruments: name -> address keys, as the simulators say when they are ready.
        wires: name -> address keys.
        broker_port: on loopback.

    Raises:
        KeyError: an instrument of the bench is not simulated.
    """
    here = copy.deepcopy(dict(bench))
    for name, wire in here.get("wires", {}).items():
        wire.update(wires[name])
    for name, instrument in here["instruments"].items():
        if "wire" not in instrument["at"]:
            instrument["at"].update(instruments[name])
    here["mqtt"]["url"] = f"mqtt://127.0.0.1:{broker_port}"
    return here

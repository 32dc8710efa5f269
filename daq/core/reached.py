"""How an instrument is reached changes how it speaks: many end their lines otherwise on RS-232 than on GPIB or LAN.

Pure.

    driver, entry of the bench -> [as_reached] -> driver as it speaks there -> compile_text, wire
"""

from __future__ import annotations

from daq.core.bench import InstrumentFile
from daq.core.driver import Driver, RegisterDriver


def is_serial(entry: InstrumentFile) -> bool:
    """Whether its own port is a serial one: a line, a shared wire, a VISA serial resource, a serial-device server."""
    at = entry.at
    visa = (at.visa or "").upper().startswith("ASRL")
    return at.serial is not None or at.wire is not None or visa or entry.behind == "serial_server"


def as_reached(driver: Driver, entry: InstrumentFile) -> Driver:
    """Return the driver with the endings of lines that hold where the instrument is reached."""
    if isinstance(driver, RegisterDriver) or not is_serial(entry):
        return driver
    there = driver.over_serial
    endings = {"eol": there.eol, "ask_eol": there.ask_eol}
    update = {key: value for key, value in endings.items() if value is not None}
    return driver.model_copy(update={"link": driver.link.model_copy(update=update)})

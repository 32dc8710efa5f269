"""Runs the stand-in of one driver until it is told to stop.

name or file of a driver -> stand-in -> served; its ready line, and the bench lines to paste
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from pathlib import Path
from typing import Protocol

from daq.core.bench import Address
from daq.core.driver import Driver, RegisterDriver
from daq.core.errors import DaqError
from daq.core.reached import as_reached
from daq.load import Shelf, load_driver
from daq.workshop.bench_lines import Asked, bench_lines, instrument_name, pasted
from daq.workshop.entry import entry, streams_of
from daq.workshop.made_up import serial_number
from daq.workshop.serve import UNIT, on_pty, on_socket
from daq.workshop.stand_in import RegisterStandIn, StandIn, TextStandIn


class Say(Protocol):
    """Tells the user a line, or several."""

    def __call__(self, text: str, *, error: bool = False) -> None:
        """Tell it on standard output, or as an error."""
        ...


def found_driver(word: str) -> tuple[str, Driver]:
    """Return name and content of a driver given by its name or its file.

    Raises:
        DaqError: there is none of that name.
        ConfigError: it is wrong.
    """
    shelf = Shelf.beside()
    path = Path(word) if word.endswith((".yaml", ".yml")) else shelf.find(word)
    if path is None:
        raise DaqError(f"no driver {word!r}. {shelf.nearest(word)}")
    name = next((name for name, file in shelf.names().items() if file.resolve() == path.resolve()), path.stem)
    return name, load_driver(path)[0]


def stand_in_for(name: str, driver: Driver, *, serial: bool) -> StandIn:
    """Make the stand-in of a driver as it speaks on a serial line, or else on a socket."""
    if isinstance(driver, RegisterDriver):
        return RegisterStandIn(driver, name)
    reached = as_reached(driver, entry(driver, Address(serial="/dev/null") if serial else None))
    assert not isinstance(reached, RegisterDriver)
    return TextStandIn(reached, name)


def serve_driver(word: str, port: int | None, seconds: float | None, say: Say) -> None:
    """Serve a driver's examples.

    Args:
        word: name or file of the driver.
        port: of loopback, 0 for any; None for a pseudo-terminal.
        seconds: how long; None until SIGINT or SIGTERM.
        say: tells the ready line, the bench lines, and what is left out.
    """
    name, driver = found_driver(word)
    instrument = stand_in_for(name, driver, serial=port is None)
    try:
        asyncio.run(_served(instrument, word, name, port, seconds, say))
    except OSError as error:
        raise DaqError(f"port {port} cannot be served: {error.strerror}. Take another, or 0 for any.") from None


async def _served(instrument: StandIn, word: str, name: str, port: int | None, seconds: float | None, say: Say) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    place = on_pty(instrument) if port is None else on_socket(instrument, port)
    async with place as where:
        at = address(instrument, where, serial=port is None)
        say(json.dumps({"instruments": {instrument_name(name): at.model_dump(exclude_none=True)}}))
        say(lines_for(instrument, name, at).rstrip())
        say("\n".join(f"# {command}" for command in attempts(instrument, word, at)))
        for words in instrument.left_out:
            say(f"left out: {words}", error=True)
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass


def address(instrument: StandIn, where: str, *, serial: bool) -> Address:
    """Return the address at which a bench reaches the stand-in."""
    unit = UNIT if isinstance(instrument, RegisterStandIn) else None
    if serial:
        return Address(serial=where, unit=unit)
    return Address(tcp=where) if unit is None else Address(modbus_tcp=where, unit=unit)


def lines_for(instrument: StandIn, name: str, at: Address) -> str:
    """Return the bench lines for a stand-in: what it answers, and that it is simulated."""
    unasked = streams_of(instrument.driver)
    answered = instrument.polls()
    if unasked:  # a talker has the wire for itself
        polls = {poll: Asked(None, settings) for poll, settings in answered.items() if poll in unasked}
    else:
        polls = {poll: Asked(settings=settings) for poll, settings in answered.items()}
    told = instrument.says_who()
    serial = serial_number(name) if told else None
    return pasted([bench_lines(instrument_name(name), name, at, polls, serial_number=serial, simulated=not told)])


def attempts(instrument: StandIn, driver: str, at: Address) -> list[str]:
    """Return the commands that try the driver against the stand-in, one for each set of settings that it answers to."""
    where = f"daq driver try {shlex.quote(driver)} --at {at.way}={getattr(at, at.way)}"
    if at.unit is not None:
        where += f" --unit {at.unit}"
    if _is_told_something(instrument.driver):
        where += " --configure"
    groups: dict[tuple[tuple[str, object], ...], list[str]] = {}
    for poll, settings in instrument.polls().items():
        groups.setdefault(tuple(settings.items()), []).append(poll)
    return [
        where
        + "".join(f" --poll {poll}" for poll in (polls if len(groups) > 1 else ()))
        + "".join(f" --setting {shlex.quote(f'{name}={value}')}" for name, value in settings)
        for settings, polls in groups.items()
    ]


def _is_told_something(driver: Driver) -> bool:
    """Whether it answers as it should only when it was set up: its mode entered, its talking begun."""
    if isinstance(driver, RegisterDriver):
        return False
    begun = any(stream.start for stream in driver.streams.values())
    tells = any(step.tell is not None for poll in driver.polls.values() for step in poll.steps or [])
    return bool(driver.modes or driver.setup or driver.over_serial.setup or begun or tells)

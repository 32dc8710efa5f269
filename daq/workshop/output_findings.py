"""Looks for commands that change what an instrument puts out although no bench file asked for it.

A pressure, a voltage or a bath's set point that comes with every connection may hurt somebody, and spoils what hangs on
it. Commands that put something out are known by their words: those of SCPI for sources and outputs, and what
calibrators, baths and pressure controllers call a set point. Nothing of it knows the instrument.

    TextDriver -> [output_findings] -> (keys, what is to be said) -> findings, daq driver try --configure
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from daq.core.driver import TextDriver
from daq.core.driver_parts import Command, Setting
from daq.core.written import Keys
from daq.workshop.register_findings import Found

_SCPI = r"(?:[:*]?(?:SOUR|OUTP|APPL|SETP)[A-Z]*[0-9]*(?:[: ]|$))"
"""SCPI-99, volume 2, chapters 15 (OUTPut) and 19 (SOURce); APPLy of power supplies and generators."""

_SUPPLY = r"(?::?(?:VOLT|CURR|PRES)[A-Z]*(?::(?:LEV|IMM|AMPL)[A-Z]*)* +[-+.0-9{])"
"""A quantity itself with a value behind it: SOURce may be left out."""

_OWN = r"(?:OUT +|OPER$|OPERATE$|OUT_(?:SP|MODE)_|(?:SP|S|SETPT|SETPOINT|PS|TS)(?: *=| +[-+.0-9{]))"
"""OUT, OPER: Fluke calibrators; OUT_SP_00, OUT_MODE_05: Julabo, Lauda; s=: Hart baths; Setpt: Mensor; PS, TS: DHI."""

_PUTS_OUT = re.compile(f"{_SCPI}|{_SUPPLY}|{_OWN}", re.IGNORECASE)


def output_findings(driver: TextDriver) -> Iterator[Found]:
    """Give settings that are told by default, and commands that are told in any case."""
    for path, name, setting in _settings(driver):
        commands = [each for each in (setting.set, *setting.set_word.values()) if each is not None]
        telling = next((each for each in commands if _PUTS_OUT.match(each)), None)
        if telling is not None and not setting.puts_out:
            yield (
                path,
                (
                    f"{telling!r} looks like what decides what is put out, and {_when(setting)}. Write "
                    f"puts_out: true and no default: then it is told only where a bench file gives {name}, and once."
                ),
            )
    names = {name for _, name, _ in _settings(driver)}
    declared = {name for _, name, setting in _settings(driver) if setting.puts_out}
    for path, command in _commands(driver):
        if (
            command not in names
            and _PUTS_OUT.match(command)
            and not declared & set(re.findall(r"\{([\w-]+)\}", command))
        ):
            yield (
                path,
                (
                    f"{command!r} looks like what decides what is put out, and is told whatever a bench says, after "
                    "each lost connection again. Make it a setting with puts_out: true and no default, or take it out."
                ),
            )


def unasked_outputs(driver: TextDriver, given: Collection[str]) -> list[str]:
    """Return what setting an instrument up would put out that nobody named.

    Args:
        driver: of the instrument.
        given: names of the settings that somebody gave a value.
    """
    return [said for path, said in output_findings(driver) if path[0] != "settings" or path[1] not in given]


def _when(setting: Setting) -> str:
    if setting.default is not None:
        return f"its default {setting.default!r} is told to every bench that does not speak of it"
    return "it is told after each lost connection again"


def _settings(driver: TextDriver) -> Iterator[tuple[Keys, str, Setting]]:
    for name, its in driver.settings.items():
        yield ("settings", name), name, its
    for mode, each in driver.modes.items():
        for name, its in each.settings.items():
            yield ("modes", mode, "settings", name), name, its


def _commands(driver: TextDriver) -> Iterator[tuple[Keys, str]]:
    """Give all that is told without a question; the names of settings as well."""
    there = driver.over_serial
    lists: list[tuple[Keys, list[Command]]] = [
        (("setup",), driver.setup),
        (("teardown",), driver.teardown),
        (("over_serial", "wake"), there.wake),
        (("over_serial", "setup"), there.setup),
        (("over_serial", "teardown"), there.teardown),
        *((("modes", name, "enter"), mode.enter) for name, mode in driver.modes.items()),
        *((("streams", name, "start"), stream.start) for name, stream in driver.streams.items()),
        *((("streams", name, "stop"), stream.stop) for name, stream in driver.streams.items()),
    ]
    for path, commands in lists:
        for number, command in enumerate(commands):
            yield (*path, number), command.tell
    for name, poll in driver.polls.items():
        for number, step in enumerate(poll.steps or []):
            if step.tell is not None:
                yield ("polls", name, "steps", number, "tell"), step.tell

"""Compiles what is told and not asked: commands, what acknowledges them, modes, and settings read back behind them.

Where an instrument answers its commands (link.ack), each is an exchange like any other: what comes must be the
acknowledgement, so that it never lies in the way of the next answer. Pure.

    Command, Setting, Mode of a driver -> [Commands] -> TextStep (told), ReadBack, ModePlan -> compile_text
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from daq.core import driver as files
from daq.core.assembly import Assembly, Path
from daq.core.driver import Command, Setting, TextDriver
from daq.core.errors import nearest
from daq.core.plan import Match, ModePlan, ReadBack, TextStep
from daq.core.settings import agree, as_number, names_in, words_of
from daq.core.template import NUMBERS
from daq.core.text_exchanges import Exchanges

SETUPS = (("setup",), ("over_serial", "setup"))
"""Where a setting that decides what is put out may be told: what stands elsewhere is told again and again."""


@dataclass(slots=True)
class Commands:
    """All that one instrument can be told.

    Args:
        modes: (mode, its values) -> plan, so that the same state is the same plan.
    """

    work: Assembly
    driver: TextDriver
    exchanges: Exchanges
    modes: dict[tuple[str, tuple[tuple[str, str], ...]], ModePlan] = field(default_factory=dict)

    def mode(self, name: str, known: Mapping[str, Setting], values: Mapping[str, str]) -> ModePlan:
        """Compile a mode with the settings in force."""
        mode, path = self.driver.modes[name], ("modes", name)
        used = _settings_in(mode.enter, known)
        key = (name, tuple((each, values.get(each, "")) for each in used))
        if key not in self.modes:
            self.modes[key] = ModePlan(
                name=name,
                enter=self.written(mode.enter, known, values, (*path, "enter")),
                readbacks=self.readbacks(mode.enter, known, values, (*path, "settings")),
                settle_ns=mode.settle,
                discard=mode.discard,
            )
        return self.modes[key]

    def written(
        self, written: Sequence[Command], known: Mapping[str, Setting], values: Mapping[str, str], path: Path
    ) -> tuple[TextStep, ...]:
        """Compile commands, and settings by their name."""
        commands = []
        for number, one in enumerate(written):
            item, ack, where = one.tell, one.ack, (*path, number)
            if one.each is not None:
                self.work.wrong_driver((*where, "each"), "repeats what for_each of a stream lists: only in its start.")
            outputs = outputs_in(item, known)
            if outputs and path not in SETUPS:
                self.work.wrong_driver(where, f"{outputs[0]!r} decides what is put out: it belongs into setup alone.")
            if any(name not in values for name in outputs):
                continue  # nobody wants anything put out
            if item in known:
                command = known[item].set_word.get(values.get(item, ""), known[item].set)
                if command is None:
                    self.work.wrong_driver(where, f"setting {item!r} has no command to set it: give it set.")
                    continue
                ack = known[item].ack if ack is None else ack
                commands.append(self._told(command, ack, values, where, once=bool(outputs)))
                continue
            close = nearest(item, known)
            if re.fullmatch("[a-z0-9_-]+", item) and close.startswith("Nearest"):
                self.work.wrong_driver(where, f"{item!r} is neither a setting nor looks like a command. {close}")
            commands.append(self._told(item, ack, values, where, once=bool(outputs)))
        return tuple(commands)

    def _told(
        self, command: str, ack: str | Literal[False] | None, values: Mapping[str, str], where: Path, *, once: bool
    ) -> TextStep:
        """Compile a command; one that puts something out is told once, and whoever reads the plan is told of it."""
        step = self.exchanges.command(command, ack, values, where)
        if not once:
            return step
        said = step.ask.decode("latin-1").removesuffix(self.exchanges.ask_eol)
        if self.work.entry.configure == "on_connect":
            self.work.warnings.append(
                f"{said!r} is told when the station starts, and changes what the instrument puts out; it is not told "
                "again after a lost connection"
            )
        return replace(step, once=True)

    def readbacks(
        self, written: Sequence[Command], known: Mapping[str, Setting], values: Mapping[str, str], path: Path
    ) -> tuple[ReadBack, ...]:
        """Return the questions that read back what these commands set."""
        found = []
        for name in _settings_in(written, known):
            if known[name].get is not None and name in values:
                readback = self._readback(name, known[name], values, (*path, name))
                found += [readback] if readback is not None else []
        return tuple(found)

    def _readback(self, name: str, setting: Setting, values: Mapping[str, str], path: Path) -> ReadBack | None:
        template = setting.reply or f"{{value:{'nr' if _is_number(setting, values[name]) else 'text'}}}"
        whole = self.exchanges.whole(
            setting.get or "", files.TextStep(ask=setting.get, reply=template), path, values=values
        )
        if whole is None:
            return None
        kind = whole.shapes[0].template.types.get("value")
        if kind is None:
            self.work.wrong_driver((*path, "reply"), "the answer needs a field {value:...}.")
        self.exchanges.replies.append(whole)
        question = self.exchanges.question(setting.get, values, (*path, "get"))
        step = self.exchanges.step(question, whole, self.driver.link.max_latency, path)
        comma = self.driver.link.decimal == "," and kind in NUMBERS
        agrees = Agrees(values[name], tuple(words_of(setting)), comma=comma)
        return ReadBack(name, step, values[name], agrees, _value, once=setting.puts_out)


@dataclass(frozen=True, slots=True)
class Agrees:
    """Whether a setting read back is the one that was set."""

    wanted: str
    words: tuple[str, ...]
    comma: bool = False

    def __call__(self, answer: Match) -> bool:
        """Return whether it is; a number may have a decimal comma."""
        said = answer.fields["value"]
        return agree(self.wanted, said.replace(",", ".") if self.comma else said, self.words)


def _value(answer: Match) -> str:
    return answer.fields["value"]


def outputs_in(item: str, known: Mapping[str, Setting]) -> list[str]:
    """Return the settings in a command, or that it is the name of, which decide what is put out."""
    return [name for name in (item, *names_in(item)) if name in known and known[name].puts_out]


def _settings_in(written: Sequence[Command], known: Mapping[str, Setting]) -> list[str]:
    """Return the settings that these commands set, in order: by name, or put into a command."""
    names: list[str] = []
    for item in (one.tell for one in written):
        inside = [item] if item in known else names_in(item)
        names.extend(name for name in inside if name in known and name not in names)
    return names


def _is_number(setting: Setting, value: str) -> bool:
    return setting.unit is not None or as_number(value) is not None

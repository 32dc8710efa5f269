"""Compiles single exchanges in text: the question as bytes, the shapes its reply may have.

TextStep of a driver -> [Exchanges] -> Asked (TextStep of the plan, WholeReply) -> compile_text, text_channels
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal as Exactly

from daq.core import driver as files
from daq.core.assembly import Assembly, Path
from daq.core.checksum import with_checksums
from daq.core.driver import TextChannel, TextDriver
from daq.core.observation import Integrity
from daq.core.plan import TextStep
from daq.core.settings import is_word, put_in, substitute
from daq.core.template import Literal, TemplateError, parse
from daq.core.text_readings import Shape, WholeReply, reply_form


@dataclass(frozen=True, slots=True)
class Asked:
    """One exchange of a poll while it is compiled.

    Args:
        step: as the driver writes it, names of for_each put in.
        plan: what the session asks.
        whole: what matches its reply; None where none comes.
        path: its keys in the driver file.
    """

    step: files.TextStep
    plan: TextStep
    whole: WholeReply | None
    path: Path


@dataclass(slots=True)
class Exchanges:
    """All that one instrument can be asked.

    Args:
        replies: of every question, for telling foreign replies from unreadable ones.
        poll_replies: of the polls, streams and commands alone: what a barrier must not be taken for.
        told: (command, its acknowledgement) -> step, so that the same command is the same step.
    """

    work: Assembly
    driver: TextDriver
    replies: list[WholeReply] = field(default_factory=list)
    poll_replies: list[WholeReply] = field(default_factory=list)
    told: dict[tuple[bytes, str], TextStep] = field(default_factory=dict)

    def command(self, text: str, ack: str | Exactly[False] | None, values: Mapping[str, str], path: Path) -> TextStep:
        """Compile a command.

        Args:
            text: as the driver writes it.
            ack: what acknowledges it; False where nothing does, None where link.ack says.
            values: of the settings.
            path: its keys in the driver file.
        """
        request = self.question(text, values, path)
        expected = self.driver.link.ack if ack is None else ack
        if expected is None or expected is False:
            return TextStep(request, None, self.driver.link.max_latency, told=True)
        said = request.decode("latin-1").removesuffix(self.ask_eol)
        template = put_in(expected, {**values, "command": said.replace("{", "{{").replace("}", "}}")})
        key = request, template
        if key not in self.told:
            step = files.TextStep(ask=said, reply=template)
            whole = self.whole(said, step, path)
            if whole is not None:
                whole.acknowledges = True
                self.replies.append(whole)
                self.poll_replies.append(whole)
            self.told[key] = replace(self.step(request, whole, self.driver.link.max_latency, path), told=True)
        return self.told[key]

    def asked(
        self,
        step: files.TextStep,
        values: Mapping[str, str],
        channels: Mapping[str, tuple[str, TextChannel]],
        within_ns: int,
        path: Path,
        *,
        listen: bool = False,
    ) -> Asked:
        """Compile one exchange."""
        text = step.tell if step.ask is None else step.ask
        question = b"" if listen else self.question(text, values, path)
        if step.tell is not None:
            if step.ask is not None or step.reply is not None or step.replies is not None:
                self.work.wrong_driver(path, "tell has no reply: write tell, perhaps with ack, or ask and reply.")
            return Asked(step, self.command(step.tell, step.ack, values, path), None, path)
        if step.ack is not None:
            self.work.wrong_driver((*path, "ack"), "ack goes with tell. Write reply for the answer to ask.")
        codes = {channel.field or name: self._words(channel) for name, (_, channel) in channels.items()}
        codes = dict.fromkeys(_enums(step), _codes_of(step)) | codes
        sent = question.decode("latin-1").removesuffix(self.ask_eol) or text or ""
        whole = self.whole(sent, step, path, values=values, codes=codes)
        if whole is not None:
            self.replies.append(whole)
            self.poll_replies.append(whole)
        return Asked(step, self.step(question, whole, within_ns, path), whole, path)

    def _words(self, channel: TextChannel) -> list[str]:
        """Return the codes of an enum, or the words that may stand in place of a number."""
        if channel.kind != "number":
            return list(channel.enum or {})
        return [text for text in (*self.driver.special, *channel.special) if is_word(text)]

    def step(self, question: bytes, whole: WholeReply | None, within_ns: int, path: Path) -> TextStep:
        """Make the step of the plan; without a reply where it has none, or a wrong one, which is noted."""
        if whole is None:
            return TextStep(question, None, within_ns)
        try:
            return TextStep(question, reply_form(whole), within_ns)
        except TemplateError as error:
            self.work.wrong_driver(path, str(error))
            return TextStep(question, None, within_ns)

    @property
    def ask_eol(self) -> str:
        """The ending of every question and command."""
        link = self.driver.link
        return link.eol if link.ask_eol is None else link.ask_eol

    def question(self, text: str | None, values: Mapping[str, str], path: Path) -> bytes:
        """Write a question or command with settings put in and its ending behind it."""
        if text is None:
            self.work.wrong_driver(path, "a step asks or tells something: give ask and reply, or tell.")
            return b""
        try:
            asked = with_checksums(substitute(text, values))
            return to_bytes(asked + self.ask_eol)
        except ValueError as error:
            self.work.wrong_driver(path, str(error))
            return b""

    def whole(
        self,
        asked: str,
        step: files.TextStep,
        path: Path,
        *,
        values: Mapping[str, str] | None = None,
        codes: Mapping[str, Sequence[str]] | None = None,
    ) -> WholeReply | None:
        """Compile the shapes of a reply; None where there is none that is right."""
        if (step.reply is None) == (step.replies is None):
            self.work.wrong_driver(path, "a question has an answer: give reply, or replies for several shapes.")
            return None
        written = step.replies or [files.ReplyShape(match=step.reply or "")]
        shapes = []
        for number, shape in enumerate(written):
            where = (*path, "replies", number, "match") if step.replies else (*path, "reply")
            try:
                template = parse(
                    put_in(shape.match, values or {}), self.driver.link.eol, codes, self.driver.link.decimal
                )
            except TemplateError as error:
                self.work.wrong_driver(where, str(error))
                continue
            flags = tuple(dict.fromkeys(shape.flags))
            shapes.append(Shape(template, flags, shape.status, shape.outcome, shape.assume_unit))
        return WholeReply(asked, tuple(shapes), to_bytes(self.driver.link.eol)) if len(shapes) == len(written) else None


def _enums(step: files.TextStep) -> list[str]:
    """Return the fields of type enum."""
    return [name for text in _templates(step) for name in re.findall(r"\{([A-Za-z0-9_-]+):enum", text)]


def _codes_of(step: files.TextStep) -> list[str]:
    """Return the codes that status and flags speak of: those of an enum that is no channel."""
    tables: list[Mapping[str, object]] = [*step.status.values(), *step.flags.values()]
    return [*dict.fromkeys(code.removeprefix("!") for table in tables for code in table)]


def _templates(step: files.TextStep) -> list[str]:
    return [step.reply] if step.reply is not None else [shape.match for shape in step.replies or []]


def types_in(one: Asked) -> dict[str, set[str]]:
    """Return field -> its types in all shapes of a reply."""
    types: dict[str, set[str]] = {}
    for shape in one.whole.shapes if one.whole else ():
        for name, kind in shape.template.types.items():
            types.setdefault(name, set()).add(kind)
    return types


def names_its_question(whole: WholeReply) -> bool:
    """Whether a reply shows which question it answers: a bare number or word does not, for many print the same."""
    return not any(re.fullmatch(r"\{(?!quoted)[a-z0-9]+(:[0-9]+)?\}", shape.template.shape) for shape in whole.shapes)


def tells_something(whole: WholeReply) -> bool:
    """Whether a reply to it can be told from other replies: one that is nothing but text cannot."""
    return not any(re.fullmatch(r"\{(text|word)\}", shape.template.shape) for shape in whole.shapes)


def integrity(asked: Sequence[Asked], header: str | None = None) -> Integrity:
    """Checksum, where every reply has one; else tagged, where every reply names its question."""
    answered = [one for one in asked if one.whole is not None]
    shapes = [shape for one in answered for shape in (one.whole.shapes if one.whole else ())]
    if shapes and all(shape.template.proven for shape in shapes):
        return Integrity.CHECKSUM
    if header is not None:
        return Integrity.TAGGED
    tagged = answered and all(_echoes(one) for one in answered)
    return Integrity.TAGGED if tagged else Integrity.NONE


def _echoes(one: Asked) -> bool:
    """Whether every shape of the reply begins with two characters or more of the question."""
    whole = one.whole
    assert whole, "only answered steps are looked at"
    asked = one.plan.ask.decode("latin-1").casefold()
    for shape in whole.shapes:
        first = shape.template.parts[0] if shape.template.parts else None
        head = first.text.strip(" ,:=").casefold() if isinstance(first, Literal) else ""
        if len(head) < 2 or head not in asked:
            return False
    return True


def to_bytes(text: str) -> bytes:
    """Write text as Latin-1. Raises ValueError where a character has no byte."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} holds {error.object[error.start]!r}, which is not one byte (Latin-1)") from None

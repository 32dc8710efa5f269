"""Writes out what a text driver says in short: for_each repeats steps and channels, with each value put in.

Steps that stand together and name a value are repeated together, those that name none are asked once. Pure.

    TextPoll -> [expanded_steps, expanded_channels] -> compile_text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daq.core import driver as files
from daq.core.assembly import Path, expansions
from daq.core.driver import TextChannel
from daq.core.settings import names_in, put_in


def touches(step: files.TextStep) -> bool:
    """Whether a step changes what the front panel shows or how the instrument measures."""
    return step.touches if step.touches is not None else step.tell is not None


def expanded_channels(
    channels: Mapping[str, TextChannel], for_each: Mapping[str, list[files.Scalar]]
) -> dict[str, tuple[str, TextChannel]]:
    """Return channel -> (its key in the file, the channel), repeated for each value where it names one."""
    expanded: dict[str, tuple[str, TextChannel]] = {}
    for key, channel in channels.items():
        for values in expansions(for_each) if set(names_in(key)) & for_each.keys() else [{}]:
            texts = {name: getattr(channel, name) for name in ("field", "unit_in", "label")}
            put = {name: put_in(text, values) for name, text in texts.items() if text is not None}
            expanded[put_in(key, values)] = (key, channel.model_copy(update=put))
    return expanded


def expanded_steps(
    steps: list[tuple[files.TextStep, Path]], for_each: Mapping[str, list[files.Scalar]]
) -> list[tuple[files.TextStep, Path]]:
    """Repeat neighbouring steps that name a value, together; those that name none are asked once, where they stand."""
    expanded: list[tuple[files.TextStep, Path]] = []
    run: list[tuple[files.TextStep, Path]] = []

    def flush() -> None:
        expanded.extend((_filled(step, values), path) for values in expansions(for_each) for step, path in run)
        run.clear()

    for step, path in ((_with_each(step, for_each), path) for step, path in steps):
        if for_each and for_each.keys() & set(names_in(" ".join(_texts(step)))):
            run.append((step, path))
            continue
        if run:
            flush()
        expanded.append((step, path))
    if run:
        flush()
    return expanded


def _with_each(step: files.TextStep, for_each: Mapping[str, list[files.Scalar]]) -> files.TextStep:
    """Write out a reply that holds all repetitions: what `each` says, once for each value, in place of {each}.

    What is said of a channel by its name in `each` is said of all of them; the reply stays one.
    """
    if step.each is None:
        return step
    repetitions = list(expansions(for_each))
    each = {"each": step.join.join(put_in(step.each, values) for values in repetitions)}
    update: dict[str, object] = {"each": None, "reply": None if step.reply is None else put_in(step.reply, each)}
    if step.replies is not None:
        update["replies"] = [shape.model_copy(update={"match": put_in(shape.match, each)}) for shape in step.replies]
    for key in _OF_CHANNELS:
        update[key] = {
            name: what for values in repetitions for name, what in _named(getattr(step, key), values).items()
        }
    return step.model_copy(update=update)


def expanded_commands(
    commands: Sequence[files.Command], for_each: Mapping[str, list[files.Scalar]]
) -> list[files.Command]:
    """Write out the commands that list all repetitions, such as those a talker is to send of each channel."""
    return [one if one.each is None else _listing(one, one.each, for_each) for one in commands]


def _listing(command: files.Command, each: str, for_each: Mapping[str, list[files.Scalar]]) -> files.Command:
    listed = command.join.join(put_in(each, values) for values in expansions(for_each))
    return command.model_copy(update={"each": None, "tell": put_in(command.tell, {"each": listed})})


_OF_CHANNELS = ("status", "flags", "status_in", "flags_in")
"""Keys of a step that hold one entry a channel."""


def _named(said: Mapping[str, object], values: Mapping[str, str]) -> dict[str, object]:
    """Put the values of for_each into what is said of channels, and into the fields that it names."""
    return {
        put_in(name, values): put_in(what, values) if isinstance(what, str) else what for name, what in said.items()
    }


def _texts(step: files.TextStep) -> list[str]:
    shapes = [shape.match for shape in step.replies or []]
    return [
        text
        for text in (
            step.ask,
            step.tell,
            step.reply,
            *shapes,
            *step.status,
            *step.flags,
            *step.status_in.values(),
            *step.flags_in.values(),
        )
        if text
    ]


def _filled(step: files.TextStep, values: Mapping[str, str]) -> files.TextStep:
    """Put the values of for_each into a step."""
    texts = {key: getattr(step, key) for key in ("ask", "tell", "ack", "reply")}
    update: dict[str, object] = {key: put_in(text, values) for key, text in texts.items() if isinstance(text, str)}
    if step.replies is not None:
        update["replies"] = [shape.model_copy(update={"match": put_in(shape.match, values)}) for shape in step.replies]
    update |= {key: _named(getattr(step, key), values) for key in _OF_CHANNELS}
    return step.model_copy(update=update)

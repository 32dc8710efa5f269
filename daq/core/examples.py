"""Runs a driver's own examples through the very path that readings take.

A driver is proven by the dialogues of its manual: what the instrument answers there must come out as the manual says.
Nothing here decodes: it compiles the driver as a bench would and compares. Pure.

    Driver -> [run_examples] -> failures in words -> daq driver test, tests
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from daq.core.bench import Address, InstrumentFile, PollEntry, StationName
from daq.core.compile import compile_instrument
from daq.core.compile_registers import AddressError, pdu_address
from daq.core.driver import Driver, RegisterDriver, RegisterExample, Scalar, TextDriver, TextExample
from daq.core.errors import BusyReply, RefusedReply, ReplyError
from daq.core.modbus import COILS, payload_length
from daq.core.observation import Reading, ReadingStatus
from daq.core.plan import Answer, InstrumentPlan, PollPlan, Problem, RegisterStep, TextStep

_STATION = StationName(site="examples", name="examples")
_TABLES = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


def run_examples(driver: Driver) -> list[str]:
    """Run all examples.

    Returns:
        What did not come out as the example says, one line each; [] where all is well. Problems of the driver itself
        come first, and then nothing is run.
    """
    whole = whole_plan(driver)
    if isinstance(whole, list):
        return [f"{'.'.join(str(key) for key in problem.path)}: {problem.message}" for problem in whole]
    return failed_examples(driver, whole)


def failed_examples(driver: Driver, whole: InstrumentPlan) -> list[str]:
    """Run all examples of a driver that compiles; see run_examples."""
    failures: list[str] = []
    examples: list[TextExample | RegisterExample] = [*driver.examples]
    plans: dict[tuple[str, str], PollPlan | list[str]] = {(poll.source, "{}"): poll for poll in whole.polls}
    for number, example in enumerate(examples):
        key = example.poll, repr(example.settings)
        if key not in plans:
            plans[key] = _plan(driver, example.poll, example.settings)
        found = [*_run(driver, example, plans[key]), *_misidentified(driver, example, whole)]
        failures.extend(f"examples.{number} ({example.poll}): {failure}" for failure in found)
    return failures


def _run(driver: Driver, example: TextExample | RegisterExample, plan: PollPlan | list[str]) -> list[str]:
    if isinstance(plan, list):
        return plan
    if isinstance(example, TextExample):
        return _run_text(driver, example, plan)
    return _run_registers(driver, example, plan)


def whole_plan(driver: Driver) -> InstrumentPlan | list[Problem]:
    """Compile all that a bench might ask at once; what is wrong with it, poll by poll, where something is."""
    plan = compile_instrument(driver, "example", _entry(driver, _all_polls(driver), {}), _STATION)
    if isinstance(plan, InstrumentPlan):
        return plan
    problems: list[Problem] = []
    for poll in _all_polls(driver):
        alone = compile_instrument(driver, "example", _entry(driver, [poll], {}), _STATION)
        problems.extend(alone if isinstance(alone, list) else [])
    return list(dict.fromkeys(problems or plan))


# Compiling ------------------------------------------------------------------------------------------------------------


def _all_polls(driver: Driver) -> list[str]:
    return [*driver.polls, *(driver.streams if isinstance(driver, TextDriver) else ())]


_TEXT = InstrumentFile(driver="example", at=Address(tcp="localhost:1"), poll={"example": "1 s"})
_REGISTERS = InstrumentFile(driver="example", at=Address(modbus_tcp="localhost:502", unit=1), poll={"example": "1 s"})


def _entry(driver: Driver, polls: Iterable[str], settings: Mapping[str, Scalar]) -> InstrumentFile:
    """Write the entry of a bench file that asks for polls."""
    streams = driver.streams if isinstance(driver, TextDriver) else {}
    asked: dict[str, PollEntry | str] = {
        poll: PollEntry.model_construct(
            ask=poll, every=None if poll in streams else 10**9, phase=None, settings=dict(settings)
        )
        for poll in polls
    }
    return (_TEXT if isinstance(driver, TextDriver) else _REGISTERS).model_copy(update={"poll": asked})


def _plan(driver: Driver, poll: str, settings: Mapping[str, Scalar]) -> PollPlan | list[str]:
    """Compile one poll; what is wrong in words."""
    if poll not in _all_polls(driver):
        return [f"no poll {poll!r}. There are: {', '.join(_all_polls(driver))}"]
    plan: InstrumentPlan | list[Problem] = compile_instrument(
        driver, "example", _entry(driver, [poll], settings), _STATION
    )
    if isinstance(plan, list):
        return [problem.message for problem in plan]
    return plan.polls[0]


# Text -----------------------------------------------------------------------------------------------------------------


def _run_text(driver: Driver, example: TextExample, plan: PollPlan) -> list[str]:
    assert isinstance(driver, TextDriver)
    steps = [step for step in plan.steps if isinstance(step, TextStep) and step.reply is not None and not step.told]
    if len(steps) != len(example.got):
        return [f"{len(example.got)} replies are given where {len(steps)} questions are asked"]
    try:
        answers: list[Answer] = []
        for step, got in zip(steps, example.got, strict=True):
            assert step.reply is not None
            reply = got.encode("latin-1") + driver.link.eol.encode("latin-1")
            if step.reply.cut(reply) != len(reply):
                return [f"{got!r} holds the ending of a reply, or has none"]
            answers.append(step.reply.match(reply))
        readings = plan.readings(answers)
    except ReplyError as error:
        return [] if example.outcome == _outcome(error) else [str(error)]
    if example.outcome is not None:
        return [f"it was read, and should have been refused ({example.outcome})"]
    return [*_compare(readings, example), *_compare_units(readings, example.unit)]


def _outcome(error: ReplyError) -> str:
    if isinstance(error, BusyReply):
        return "busy"
    return "instrument_error" if isinstance(error, RefusedReply) else "protocol"


def _compare_units(readings: Mapping[str, Reading], units: Mapping[str, str]) -> list[str]:
    return [
        f"{name}: the unit is {readings[name].unit!r}, not {unit!r}"
        for name, unit in units.items()
        if name in readings and readings[name].unit != unit
    ]


# Registers ------------------------------------------------------------------------------------------------------------


def _run_registers(driver: Driver, example: RegisterExample, plan: PollPlan) -> list[str]:
    assert isinstance(driver, RegisterDriver)
    try:
        memory = register_memory(driver, example)
    except (ValueError, KeyError) as error:
        return [f"registers are written like 'input 0': '4366 3333' ({_plainly(error)})"]
    steps = [step for step in plan.steps if isinstance(step, RegisterStep)]
    if memory and not any((step.function, step.address + at) in memory for step in steps for at in range(step.count)):
        return [f"{', '.join(example.registers)}: none of these registers is read by the poll. Check table and address"]
    try:
        readings = plan.readings([_answer(step, memory) for step in steps])
    except ReplyError as error:
        return [str(error)]
    return _compare(readings, example)


def _plainly(error: Exception) -> str:
    """Say what is wrong with a register as written, without the words of Python."""
    if isinstance(error, KeyError):
        return f"there is no table {error}"
    found = re.search(r"invalid literal.*: ('.*')", str(error))
    return f"{found[1]} is no number" if found else str(error)


def _misidentified(driver: Driver, example: TextExample | RegisterExample, whole: InstrumentPlan) -> Iterable[str]:
    """Check what an example holds of the registers that say who answers, and of the one of known content."""
    if not isinstance(driver, RegisterDriver) or not isinstance(example, RegisterExample):
        return
    try:
        memory = register_memory(driver, example)
    except (ValueError, KeyError):
        return  # told already
    if whole.verify is not None and _holds(memory, whole.verify.step):
        wrong = whole.verify.check(_answer(whole.verify.step, memory))
        yield from [] if wrong is None else [f"verify: {wrong}"]
    identify = whole.identify
    steps = [step for step in identify.steps if isinstance(step, RegisterStep)] if identify is not None else []
    if identify is not None and len(steps) == len(identify.steps) and all(_holds(memory, step) for step in steps):
        wrong = identify.check(identify.fields([_answer(step, memory) for step in steps]))
        yield from [] if wrong is None else [f"identify: {wrong}"]


def _holds(memory: Mapping[tuple[int, int], int], step: RegisterStep) -> bool:
    return all((step.function, step.address + offset) in memory for offset in range(step.count))


def register_memory(driver: RegisterDriver, example: RegisterExample) -> dict[tuple[int, int], int]:
    """Return (function, address) -> word, or bit, of what the example gives."""
    memory: dict[tuple[int, int], int] = {}
    for place, words in example.registers.items():
        table, _, written = place.partition(" ")
        function = _TABLES[table]
        try:
            start = pdu_address(int(written, 0), table, driver.addressing)
        except AddressError as error:
            raise ValueError(str(error)) from None
        held = words.split()
        if len(held) > 3 and all(len(word) == 2 for word in held):
            raise ValueError("these are bytes; a register has two: write 4366 3333")
        for offset, word in enumerate(held):
            memory[function, start + offset] = _word(word)
    return memory


def _word(text: str) -> int:
    """Read a register in hexadecimal. Raises ValueError."""
    word = int(text, 16)
    if not 0 <= word <= 0xFFFF:
        raise ValueError(f"{text!r} is more than one register holds: write four hexadecimal digits for each, 4366 3333")
    return word


def _answer(step: RegisterStep, memory: Mapping[tuple[int, int], int]) -> bytes:
    """Answer one block; what the example leaves open is zero."""
    words = [memory.get((step.function, step.address + offset), 0) for offset in range(step.count)]
    if step.function not in COILS:
        return b"".join(word.to_bytes(2, "big") for word in words)
    packed = sum(1 << offset for offset, bit in enumerate(words) if bit)
    return packed.to_bytes(payload_length(step.function, step.count), "little")


# Both -----------------------------------------------------------------------------------------------------------------


def _compare(readings: Mapping[str, Reading], example: TextExample | RegisterExample) -> list[str]:
    """Compare what came out with what the example says: a status not named is ok, flags are just those named."""
    failures = []
    named = {*example.gives, *example.text, *example.status, *example.flags}
    for name in sorted(named):
        if name not in readings:
            failures.append(f"no channel {name!r}. There are: {', '.join(readings)}")
            continue
        reading = readings[name]
        for what, is_now, wanted in _differences(reading, name, example):
            if is_now != wanted:
                failures.append(f"{name}: {what} is {is_now!r}, not {wanted!r}")
    return failures


def _differences(
    reading: Reading, name: str, example: TextExample | RegisterExample
) -> Iterable[tuple[str, object, object]]:
    """Give (what, as it came out, as it should) for all that an example says of a channel."""
    if name in example.gives:
        yield "value", reading.value, example.gives[name]
    if name in example.text:
        yield "text", reading.text, example.text[name]
    yield "status", str(reading.status), str(example.status.get(name, ReadingStatus.OK))
    yield "flags", [str(flag) for flag in reading.flags], [str(flag) for flag in example.flags.get(name, [])]

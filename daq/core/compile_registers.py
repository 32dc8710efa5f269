"""Compiles register drivers: addresses as on the wire, the fewest block reads, readers of registers, the barrier.

Assembly (RegisterDriver) -> [compile_registers] -> InstrumentPlan -> session
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from daq.core.assembly import Assembly, IdentityCheck, Path, Wanted, expansions, identity_check
from daq.core.blocks import Block, Limits, Span, barrier, bracketed, divided, packed
from daq.core.driver import RegisterChannel, RegisterDriver
from daq.core.modbus import COILS
from daq.core.observation import Integrity, Kind, ReadingStatus
from daq.core.plan import DeviceStep, IdentifyPlan, InstrumentPlan, PollPlan, RegisterStep, VerifyPlan
from daq.core.register_answers import RegisterFields, RegisterReadings, Subdivision, Verification
from daq.core.register_map import RangeRegister, Register, ScaleRegister
from daq.core.registers import WORDS, Factor, Layout, RegisterReader, Scaling, quickest
from daq.core.settings import as_number, names_in, put_in
from daq.core.straight import straight_block

FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""Table -> function code that reads it (MODBUS Application Protocol V1.1b3, chapter 5)."""

NAMED = {"coil": 0, "discrete": 10000, "input": 30000, "holding": 40000}
"""Table -> what documents in the style of programmable controllers add to a 1-based number."""


class AddressError(ValueError):
    """A register whose address or layout cannot be; the message says why."""


def pdu_address(at: int, table: str, addressing: str) -> int:
    """Return an address as it goes over the wire, 0-based.

    Args:
        at: as the driver writes it. plc: 40001 and 1 are both the first holding register.
        table: holding, input, coil or discrete.
        addressing: pdu or plc.

    Raises:
        AddressError: not an address of this table.
    """
    if addressing == "pdu":
        if at > 65535:
            raise AddressError(f"{at} is beyond 65535, the last address there is")
        return at
    base = NAMED[table]
    if base and base < at < base + 10000:
        return at - base - 1
    foreign = next((name for name, start in NAMED.items() if start and start < at < start + 10000), None)
    if foreign is not None:
        raise AddressError(f"{at} names the table {foreign}, not {table}. For bare addresses write addressing: pdu.")
    if at < 1:
        raise AddressError("addressing: plc counts from 1. For addresses from 0 on write addressing: pdu.")
    return at - 1


def span_of(register: Register, addressing: str) -> Span:
    """Return where a register stands.

    Raises:
        AddressError: address, type, order or length do not go together.
    """
    function = FUNCTIONS[register.table]
    address = pdu_address(register.at, register.table, addressing)
    if function in COILS:
        if register.type != "bits":
            raise AddressError(f"a {register.table} holds bits, not {register.type}. Write type: bits.")
        return _checked(Span(function, address, register.length or 1))
    if register.type == "string":
        if register.length is None:
            raise AddressError("a string needs its length in registers.")
        if register.order not in {"ABCD", "BADC"}:
            raise AddressError("a string has order ABCD, or BADC where the two bytes of each register are exchanged.")
        return _checked(Span(function, address, register.length))
    if register.type == "bits":
        return _checked(Span(function, address, register.length or 1))
    words = WORDS[register.type]
    if register.length not in {None, words}:
        raise AddressError(f"{register.type} takes {words} registers; take length away.")
    if len(register.order) == 8 and words != 4:
        raise AddressError(
            f"{register.order} is for 64 bits, {register.type} has {16 * words}. Write the order of four."
        )
    return _checked(Span(function, address, words))


def _checked(span: Span) -> Span:
    if span.end > 65536:
        raise AddressError("it reaches beyond 65535, the last address there is.")
    return span


@dataclass(slots=True)
class RegisterCompiler:
    """Compiles one instrument.

    Args:
        blocks: of all polls so far.
        others: reads of identity and verification.
    """

    work: Assembly
    driver: RegisterDriver
    limits: Limits = field(default_factory=lambda: Limits(125, 0))
    blocks: list[Block] = field(default_factory=list)
    others: list[Span] = field(default_factory=list)

    def instrument(self, wire_gap_ns: int) -> InstrumentPlan:
        """Compile everything; what is wrong stands in work.problems afterwards."""
        driver, work = self.driver, self.work
        self._check_address()
        self.limits = Limits(driver.blocks.max_words, driver.blocks.max_gap, tuple(self._forbidden()))
        work.check_given(driver.settings)
        polls = tuple(self._poll(wanted) for wanted in work.wanted())
        identify, verify = self._identify(), self._verify()
        work.check_overrides(channel.name for poll in polls for channel in poll.channels)
        between = barrier(self.blocks, self.others)
        latency_ns = max([driver.link.max_latency, *(step.within_ns for poll in polls for step in poll.steps)])
        if between is None and work.entry.at.way != "modbus_tcp":
            work.warnings.append(
                "all its reads have answers of one length: after a fault its line is only kept quiet, and an answer "
                "later than max_latency could be mistaken. Read a value of another length too, or give verify"
            )
        return InstrumentPlan(
            name=work.name,
            driver=work.entry.driver,
            title=driver.title,
            speaks="registers",
            unit=work.entry.at.unit,
            configure=work.entry.configure == "on_connect",
            banner=False,
            latency_ns=latency_ns,
            gap_ns=max(driver.link.gap, wire_gap_ns),
            eol=b"",
            identify=identify,
            barrier=None if between is None else self._step(between, driver.link.max_latency),
            verify=verify,
            setup=(),
            readbacks=(),
            errors=None,
            polls=polls,
            teardown=(),
            simulated=work.entry.is_simulated,
            asset=work.entry.asset,
            warnings=tuple(work.warnings),
        )

    def _check_address(self) -> None:
        at = self.work.entry.at
        if at.way in {"tcp", "visa"}:
            message = (
                f"driver {self.work.entry.driver!r} speaks Modbus registers. "
                "Use modbus_tcp, modbus_rtu_over_tcp, serial or wire, with unit."
            )
            self.work.wrong_bench(("at", at.way), message)
        elif at.unit is None:
            self.work.wrong_bench(("at",), "the Modbus unit is missing. Write unit: 1.")

    def _forbidden(self) -> Iterable[tuple[int | None, int, int]]:
        """Return the forbidden ranges as on the wire; numbers in the style of 40001 forbid in their own table only."""
        for number, (first, last) in enumerate(self.driver.blocks.forbidden):
            named = next((t for t, base in NAMED.items() if base and base < first < base + 10000), None)
            table = named if self.driver.addressing == "plc" else None
            try:
                ends = [pdu_address(end, table or "coil", self.driver.addressing) for end in (first, last)]
            except AddressError as error:
                self.work.wrong_driver(("blocks", "forbidden", number), str(error))
                continue
            if ends[0] > ends[1]:
                self.work.wrong_driver(("blocks", "forbidden", number), "the lower address comes first: [first, last].")
            yield (FUNCTIONS[table] if table else None, ends[0], ends[1])

    # Polls ------------------------------------------------------------------------------------------------------------

    def _poll(self, wanted: Wanted) -> PollPlan:
        poll, path = self.driver.polls[wanted.source], ("polls", wanted.source)
        values = self.work.values(self.driver.settings, wanted, ("settings",))
        decided = {
            key: self.work.decided(channel, values, wanted, (*path, "channels", key))
            for key, channel in poll.channels.items()
        }
        channels = self._expanded(decided, poll.for_each, path)
        within_ns = poll.within or self.driver.link.max_latency
        registers: list[tuple[Register, Path]] = []
        for channel, where in channels.values():
            registers.append((channel, where))
            registers.extend((scaling, (*where, key)) for key, scaling in scalings(channel))
        blocks, twice = bracketed(self._blocks(registers), self._scaled_by(channels.values()))
        self.blocks.extend(blocks)
        readers = {
            name: reader
            for name, (channel, where) in channels.items()
            if (reader := self._reader(name, channel, (*blocks, *blocks[:twice]), where)) is not None
        }
        tcp = self.work.entry.at.way == "modbus_tcp"
        one_block = len(blocks) + twice == 1 and blocks[0].span.function not in COILS
        return PollPlan(
            name=wanted.name,
            source=wanted.source,
            every_ns=wanted.every_ns,
            phase_ns=wanted.phase_ns,
            mode=None,
            steps=tuple(self._step(block.span, within_ns) for block in (*blocks, *blocks[:twice])),
            readings=RegisterReadings({name: quickest(reader) for name, reader in readers.items()}),
            time=self.work.time_model(poll.time, values, self.driver.settings, wanted, path),
            integrity=Integrity.TRANSACTION if tcp else Integrity.CHECKSUM,
            channels=tuple(
                self.work.channel_plan(name, channel, wanted, where) for name, (channel, where) in channels.items()
            ),
            subdivide=Subdivision({self._step(block.span, within_ns): block for block in blocks}),
            straight=straight_block(blocks[0].span.count, readers) if one_block else None,
        )

    def _expanded(
        self,
        channels: Mapping[str, RegisterChannel],
        for_each: Mapping[str, list[str | int | float | bool]],
        path: Path,
    ) -> dict[str, tuple[RegisterChannel, Path]]:
        """Return channel -> (the channel, its keys), repeated for each value that its name names, `stride` apart."""
        expanded: dict[str, tuple[RegisterChannel, Path]] = {}
        for key, channel in channels.items():
            where = (*path, "channels", key)
            repeated = set(names_in(key)) & for_each.keys()
            if repeated and channel.stride == 0:
                self.work.wrong_driver(where, "for_each repeats it: give stride, the registers from one to the next.")
            for number, values in enumerate(expansions(for_each) if repeated else [{}]):
                put: dict[str, object] = {"at": channel.at + number * channel.stride}
                if channel.range_from is not None:
                    its = channel.range_from
                    put["range_from"] = its.model_copy(update={"at": its.at + number * its.stride})
                if channel.label is not None:
                    put["label"] = put_in(channel.label, values)
                expanded[put_in(key, values)] = (channel.model_copy(update=put), where)
        return expanded

    def _blocks(self, registers: Sequence[tuple[Register, Path]]) -> tuple[Block, ...]:
        spans = []
        for register, where in registers:
            span = self._span(register, where)
            if span is None:
                continue
            if self.limits.forbid(span):
                self.work.wrong_driver((*where, "at"), "it stands in a forbidden range (blocks.forbidden).")
            elif not self.limits.allow(span):
                self.work.wrong_driver(
                    where, f"it takes {span.count} registers; blocks.max_words is {self.limits.max_words}."
                )
            spans.append(span)
        return packed(spans, self.limits)

    def _scaled_by(self, channels: Iterable[tuple[RegisterChannel, Path]]) -> list[tuple[Span, Span]]:
        """Return (value, factor) of what is scaled by a register; what is wrong is noted elsewhere."""
        pairs = [(channel, factor) for channel, _ in channels for _, factor in scalings(channel)]
        with suppress(AddressError):
            return [(span_of(a, self.driver.addressing), span_of(b, self.driver.addressing)) for a, b in pairs]
        return []

    def _span(self, register: Register, where: Path) -> Span | None:
        try:
            return span_of(register, self.driver.addressing)
        except AddressError as error:
            self.work.wrong_driver(where, str(error))
            return None

    def _step(self, span: Span, within_ns: int) -> RegisterStep:
        return RegisterStep(span.function, span.address, span.count, within_ns)

    def _layout(self, register: Register, blocks: Sequence[Block]) -> Layout | None:
        """Find a register in the blocks; None where it is wrong, which is noted already."""
        return next(iter(self._layouts(register, blocks)), None)

    def _layouts(self, register: Register, blocks: Sequence[Block]) -> list[Layout]:
        """Find a register in each block that holds it, one of them twice where it is read again."""
        try:
            span = span_of(register, self.driver.addressing)
        except AddressError:
            return []
        coils = span.function in COILS
        scale = 1 if coils else 2
        return [
            Layout(
                step,
                scale * (span.address - block.span.address),
                scale * span.count,
                register.type,
                register.order,
                coils,
            )
            for step, block in enumerate(blocks)
            if span in block.values
        ]

    def _reader(
        self, name: str, channel: RegisterChannel, blocks: Sequence[Block], where: Path
    ) -> RegisterReader | None:
        places = self._layouts(channel, blocks)
        factors = self._factors(channel, blocks, where)
        if places and factors and any(factor.layout.step > places[0].step for factor in factors):
            places = places[-1:]  # what scales it was not read before it, but before it was read again
        layout = next(iter(places), None)
        if layout is None or factors is None:
            return None
        if channel.kind == "number" and channel.type in {"string", "bits"} and not layout.coils:
            self.work.wrong_driver(
                where, f"{channel.type} is no number. Write kind: {'word' if channel.type == 'string' else 'bits'}."
            )
        override = self.work.entry.channels.get(name)
        return RegisterReader(
            layout=layout,
            quantity=channel.quantity,
            unit=channel.unit,
            kind=Kind(channel.kind),
            role=(override.role if override else None) or self.work.entry.role,
            codes=self._codes(channel.invalid, channel.special, layout, where),
            scale=self.work.scale(channel, where),
            factors=factors,
            enum=channel.enum or {},
            plausible=self.work.plausible(channel, where),
        )

    def _factors(self, channel: RegisterChannel, blocks: Sequence[Block], where: Path) -> tuple[Factor, ...] | None:
        """Return what a channel is scaled by; None where one of the registers is wrong, which is noted already."""
        if channel.scale_from is not None and channel.decimals_from is not None:
            self.work.wrong_driver((*where, "decimals_from"), "write either scale_from or decimals_from, not both.")
        if channel.range_from is not None and not channel.type.startswith("uint"):
            self.work.wrong_driver((*where, "range_from"), f"counts are never negative, and {channel.type} may be.")
        factors: list[Factor] = []
        for key, register in scalings(channel):
            layout, again = ([*self._layouts(register, blocks), None, None])[:2]
            if layout is None:
                return None
            if register.type not in WORDS:
                self.work.wrong_driver((*where, key), "what a value is scaled by is a number, such as int16.")
                return None
            codes = frozenset(self._codes(register.invalid, {}, layout, (*where, key)))
            all_counts = Decimal((1 << 16 * WORDS.get(channel.type, 1)) - 1)
            ranges = register.ends if isinstance(register, RangeRegister) else {}
            factors.append(Factor(layout, key, codes, again, ranges, all_counts))
        return tuple(factors)

    def _codes(
        self, invalid: Sequence[str | int], special: Mapping[str, ReadingStatus], layout: Layout, where: Path
    ) -> dict[int, ReadingStatus]:
        """Return raw contents that are no values, as unsigned numbers of the value's width."""
        width = layout.length if layout.coils else 8 * layout.length
        codes: dict[int, ReadingStatus] = {}
        listed = [("invalid", str(text), ReadingStatus.INVALID) for text in invalid]
        for key, text, status in [*listed, *(("special", text, status) for text, status in special.items())]:
            try:
                number = int(text, 0)
            except ValueError:
                self.work.wrong_driver((*where, key), f"{text!r} is no raw content. Write it like 0x8000 or 32768.")
                continue
            if not -(1 << width - 1) <= number < 1 << width:
                self.work.wrong_driver((*where, key), f"{text!r} does not fit into {width} bits.")
            codes[number & (1 << width) - 1] = status
        return codes

    # Who answers ------------------------------------------------------------------------------------------------------

    def _identify(self) -> IdentifyPlan | None:
        identify = self.driver.identify
        if identify is None:
            self.work.check_serial_number(())
            return None
        path: Path = ("identify",)
        blocks = self._blocks([(register, (*path, "read", name)) for name, register in identify.read.items()])
        self.others.extend(block.span for block in blocks)
        for block in blocks:
            self.others.extend(divided(block))
        layouts = {
            name: layout
            for name, register in identify.read.items()
            if (layout := self._layout(register, blocks)) is not None
        }
        steps: list[RegisterStep | DeviceStep] = [
            self._step(block.span, self.driver.link.max_latency) for block in blocks
        ]
        if identify.device:
            steps.append(DeviceStep(_category(identify.device.values()), self.driver.link.max_latency))
        if not steps:
            self.work.wrong_driver(path, "reads nothing. Give read, registers by field, or device, objects by field.")
        for name in identify.read.keys() & identify.device.keys():
            self.work.wrong_driver((*path, "device", name), "stands in read as well. Take one away.")
        self.work.check_expectations(identify.expect, [*identify.read, *identify.device], path)
        self.work.check_serial_number([*identify.read, *identify.device])
        serial = identify.read.get("serial")
        return IdentifyPlan(
            steps=tuple(steps),
            fields=RegisterFields(layouts, identify.device),
            check=self._check(identify.expect, can_say_simulated=serial is None or serial.type == "string"),
        )

    def _check(self, expect: Mapping[str, str], *, can_say_simulated: bool) -> IdentityCheck:
        """Make the check; a serial number that is a number cannot say SIM-, and so cannot disagree."""
        entry = self.work.entry
        return identity_check(entry if can_say_simulated else entry.model_copy(update={"simulated": False}), expect)

    def _verify(self) -> VerifyPlan | None:
        verify = self.driver.verify
        if verify is None:
            return None
        blocks = self._blocks([(verify, ("verify",))])
        layout = self._layout(verify, blocks)
        content = as_number(verify.content)
        if content is None:
            self.work.wrong_driver(("verify", "content"), f"{verify.content!r} is no decimal such as '-123.45'.")
        if layout is None or content is None:
            return None
        self.others.append(blocks[0].span)
        return VerifyPlan(
            self._step(blocks[0].span, self.driver.link.max_latency), Verification(layout, verify, content)
        )


def compile_registers(work: Assembly, driver: RegisterDriver, wire_gap_ns: int) -> InstrumentPlan:
    """Compile one instrument that holds registers; findings stand in work.problems."""
    return RegisterCompiler(work, driver).instrument(wire_gap_ns)


def _category(objects: Iterable[int]) -> Literal[1, 2, 3]:
    """Return the category that holds all these objects."""
    highest = max(objects)
    return 1 if highest <= 2 else 2 if highest <= 127 else 3


def scalings(channel: RegisterChannel) -> list[tuple[Scaling, ScaleRegister]]:
    """Return (key, register) of what a channel is scaled by; what may round comes last."""
    powers: list[tuple[Scaling, ScaleRegister | None]] = [
        ("range_from", channel.range_from),
        ("scale_from", channel.scale_from),
        ("decimals_from", channel.decimals_from),
    ]
    return [
        *((key, register) for key, register in powers if register is not None),
        *(("times_from", register) for register in channel.times_from),
        *(("divisor_from", register) for register in channel.divisor_from),
    ]

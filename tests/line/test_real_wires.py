"""The same line on real sockets and pseudo-terminals, by the real clock: it waits for events, never for time."""

from __future__ import annotations

import asyncio
import os
import time
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from daq.clock import SystemClock
from daq.core.address import Wire
from daq.core.observation import ClockState, Observation
from daq.core.plan import RegisterStep
from daq.line import Line, Outlets
from daq.session import Session
from daq.transports import OPENERS
from tests.line.units import Units, meter, register_poll
from tests.line.wires import MS, CountingInstrument, instrument, poll

GENEROUS_S = 60
WITHIN_NS = 250 * MS
Far = Callable[[bytes, int], list[tuple[int, bytes]]]


@asynccontextmanager
async def on_tcp(far: Far, ends: bytes | int, *, behind: bool = False) -> AsyncIterator[Wire]:
    """Serve a far end on a socket; behind a serial-device server late answers go to whoever is connected then."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = await (reader.readexactly(ends) if isinstance(ends, int) else reader.readuntil(ends))
                for after_ns, piece in far(asked, time.monotonic_ns()):
                    asyncio.get_running_loop().call_later(after_ns / 1e9, say, writer, piece)
        writer.close()

    def say(writer: asyncio.StreamWriter, piece: bytes) -> None:
        to = writers[-1] if behind else writer
        if not to.is_closing():
            to.write(piece)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Wire("tcp", f"127.0.0.1:{server.sockets[0].getsockname()[1]}", behind_serial_server=behind)
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def on_pty(far: Far, ends: bytes | int) -> AsyncIterator[Wire]:
    """Serve a far end on a pseudo-terminal."""
    master, slave = os.openpty()
    tty.setraw(slave)
    loop = asyncio.get_running_loop()
    came = bytearray()

    def hear() -> None:
        came.extend(os.read(master, 4096))
        while True:
            end = (ends if len(came) >= ends else 0) if isinstance(ends, int) else came.find(ends) + len(ends)
            if end < 1 or (isinstance(ends, bytes) and ends not in came):
                return
            asked = bytes(came[:end])
            del came[:end]
            for after_ns, piece in far(asked, time.monotonic_ns()):
                loop.call_later(after_ns / 1e9, os.write, master, piece)

    loop.add_reader(master, hear)
    try:
        yield Wire("serial", os.ttyname(slave), line="9600/8n1")
    finally:
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


async def collect(
    wire: Wire, count: int, *sessions: Session, failed: asyncio.Event | None = None, **more: object
) -> list[Observation]:
    """Run a line until it has brought so many good observations; return all it brought. `failed`: set at a bad one."""
    observations: list[Observation] = []
    enough = asyncio.Event()

    def emit(observation: Observation) -> None:
        observations.append(observation)
        if failed is not None and observation.status != "ok":
            failed.set()
        if sum(seen.status == "ok" for seen in observations) >= count:
            enough.set()

    clock = SystemClock()
    outlets = Outlets(
        emit=emit,
        announce=lambda _event, _details: None,
        describe=lambda _name, _met: "info",
        verdict=lambda _name, _verdict: None,
        context=lambda: (),
        clock_state=lambda: ClockState("none", None),
    )
    line = Line("real", OPENERS[wire.kind](wire, clock), sessions, clock, outlets, **more)
    task = asyncio.create_task(line.run())
    async with asyncio.timeout(GENEROUS_S):
        await enough.wait()
        line.stop()
        await task
    return observations


def delays(*late_ms: int) -> Iterator[int]:
    """1 ms, but every sixth answer as late as these say, one after the other."""
    for late in late_ms:
        yield from (MS,) * 5
        yield late * MS
    while True:
        yield MS


def assert_asked_then(observations: list[Observation], answered: dict[int, str]) -> None:
    """The instrument gave the value within the very exchange that it is published with."""
    when = {value: asked_ns for asked_ns, value in answered.items()}
    for seen in observations:
        if seen.readings:
            assert abs(when[seen.readings["n"].value] - seen.timing.mono_ns) <= seen.timing.err_ns


@pytest.mark.parametrize("wire", ["tcp", "serial_server", "pty"])
async def test_late_answers_of_a_text_instrument_are_nobodys(wire):
    counter = CountingInstrument(None, delays(300, 400, 500))
    far = {"tcp": on_tcp, "serial_server": lambda *args: on_tcp(*args, behind=True), "pty": on_pty}[wire]
    plan = instrument(poll(every_ns=20 * MS, within_ns=WITHIN_NS), latency_ns=WITHIN_NS)
    async with far(counter, b"\n") as address:
        observations = await collect(address, 40, Session(plan))
    assert {"ok", "timeout"} <= {str(seen.status) for seen in observations}
    assert_asked_then(observations, counter.log)


@pytest.mark.parametrize("wire", ["modbus_tcp", "rtu_over_tcp", "pty"])
async def test_late_answers_of_a_modbus_unit_are_nobodys(wire):
    framing = "tcp" if wire == "modbus_tcp" else "rtu"
    units = Units(None, {1: delays(300, 400), 2: delays(500)}, mbap=framing == "tcp")
    polls = [register_poll(every_ns=50 * MS, phase_ns=unit * 17 * MS, within_ns=WITHIN_NS) for unit in (1, 2, 3)]
    sessions = [
        Session(meter(unit, each, latency_ns=WITHIN_NS, barrier=RegisterStep(4, 0, 1, WITHIN_NS)), framing)
        for unit, each in enumerate(polls, 1)
    ]
    far = {
        "modbus_tcp": lambda: on_tcp(units, 12),
        "rtu_over_tcp": lambda: on_tcp(units, 8, behind=True),
        "pty": lambda: on_pty(units, 8),
    }[wire]
    async with far() as address:
        observations = await collect(
            address,
            60,
            *sessions,
            numbered=framing == "tcp",
            byte_ns=100_000,
            silence_ns=1_750_000 * (framing == "rtu"),
        )
    assert {"ok", "timeout"} <= {str(seen.status) for seen in observations}
    for unit in (1, 2, 3):
        own = [seen for seen in observations if seen.instrument == f"meter{unit}"]
        assert_asked_then(own, {when: str(number) for (who, when), number in units.log.items() if who == unit})


async def test_an_instrument_that_is_switched_on_late_is_found():
    counter = CountingInstrument(None)
    async with on_tcp(counter, b"\n") as address:
        pass  # its port is free now, and known
    plan = instrument(poll(every_ns=20 * MS))
    absent = asyncio.Event()
    collecting = asyncio.create_task(collect(address, 5, Session(plan), failed=absent))
    host, port = address.address.split(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while asked := await reader.readuntil(b"\n"):
                for _, piece in counter(asked, time.monotonic_ns()):
                    writer.write(piece)
        writer.close()

    await asyncio.wait_for(absent.wait(), GENEROUS_S)
    async with await asyncio.start_server(serve, host, int(port)):
        observations = await collecting
    assert (observations[0].status, observations[-1].status) == ("disconnected", "ok")

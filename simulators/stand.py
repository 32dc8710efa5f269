"""All the stand-ins of one world file, brought up, served and taken down together.

Owns every server, pseudo-terminal and task; the models own nothing. Plan -> models and servers -> ready line -> the
end.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Protocol, cast

from simulators.control import Control
from simulators.dialogue import Dialogue, TextInstrument, loud
from simulators.faults import Faults
from simulators.hislip import HislipServer
from simulators.log import Log
from simulators.modbus import Device
from simulators.modbus_server import ModbusTcpServer, RtuBus, Unit
from simulators.models import MODELS
from simulators.pty_server import RtuPort, TextPort
from simulators.text_server import TextServer
from simulators.world import World
from simulators.worldfile import Plan, Post


class Server(Protocol):
    """What carries one instrument, or one wire."""

    async def open(self) -> None:
        """Begin to serve; after `close`, again in the same place."""

    async def close(self) -> None:
        """Cut every client and stop."""

    def where(self) -> dict[str, object]:
        """Say where it can be reached."""


class Plugged:
    """One instrument's faults, and the server that can be unplugged with it.

    Unplugging a meter of a shared wire pulls the whole wire's adapter, as pulling the USB plug does.
    """

    def __init__(self, faults: Faults, server: Server) -> None:
        self._faults = faults
        self._server = server
        self._plug = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulled = False
        self._clear = asyncio.Event()

    def switch_on(self, fault: str, *, times: int | None, seconds: float | None, text: str | None) -> None:
        """Switch a fault on."""
        if fault != "unplug":
            self._faults.switch_on(fault, times=times, seconds=seconds, text=text)
        elif not self._pulled:
            self._pulled = True
            self._clear.clear()
            task = asyncio.create_task(self._unplug(seconds), name="unplug")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(loud)

    def clear(self) -> None:
        """Switch all faults off and plug in again."""
        self._faults.clear()
        self._clear.set()

    async def _unplug(self, seconds: float | None) -> None:
        await self._server.close()
        try:
            async with asyncio.timeout(seconds):
                await self._clear.wait()
        except TimeoutError:
            pass
        await self._server.open()
        self._pulled = False

    async def close(self) -> None:
        """Stop waiting to be plugged in again."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Stand:
    """The stand-ins of a plan.

    Args:
        log: where their exchanges are written; the caller closes it.
    """

    def __init__(self, plan: Plan, log: Log) -> None:
        self._log = log
        self._world = World(plan.seed, plan.nominal)
        self._servers: dict[str, Server] = {}
        self._wires: dict[str, RtuPort] = {}
        self._units: dict[str, dict[str, object]] = {}
        self._plugs: dict[str, Plugged] = {}
        self._control = Control(self._plugs, self.where)
        self._build(plan)

    def _build(self, plan: Plan) -> None:
        on_wires: dict[str, dict[int, tuple[Post, Unit]]] = {name: {} for name in plan.wires}
        for post in plan.posts:
            faults = Faults()
            model = MODELS[post.model].build(post.spec, self._world, faults)
            name, place = post.spec.name, post.place
            if place.unit is not None:
                unit = Unit(name, place.unit, cast("Device", model), faults, self._log)
                if place.wire is not None:
                    on_wires[place.wire][place.unit] = (post, unit)
                    continue
                server: Server = ModbusTcpServer(unit, place.port)
            else:
                server = self._text_server(post, Dialogue(name, cast("TextInstrument", model), faults, self._log))
            self._servers[name] = server
            self._plugs[name] = Plugged(faults, server)
        for wire, link in plan.wires.items():
            units = on_wires[wire]
            self._wires[wire] = RtuPort(RtuBus({address: unit for address, (_, unit) in units.items()}), link)
            for address, (post, unit) in units.items():
                self._units[post.spec.name] = {"wire": wire, "unit": address}
                self._plugs[post.spec.name] = Plugged(unit.faults, self._wires[wire])

    @staticmethod
    def _text_server(post: Post, dialogue: Dialogue) -> Server:
        if post.place.interface == "tcp":
            return TextServer(dialogue, post.place.port)
        if post.place.interface == "visa":
            return HislipServer(dialogue, post.place.port)
        return TextPort(dialogue, post.place.link)

    async def open(self) -> dict[str, Any]:
        """Bring everything up and give the ready line."""
        for server in (*self._servers.values(), *self._wires.values()):
            await server.open()
        control = await self._control.open()
        return {"ready": True, "pid": os.getpid(), "control": str(control), **self.where()}

    def where(self) -> dict[str, Any]:
        """Say where each instrument and wire can be reached now."""
        return {
            "instruments": {name: server.where() for name, server in self._servers.items()} | self._units,
            "wires": {name: wire.where() for name, wire in self._wires.items()},
        }

    async def close(self) -> None:
        """Take everything down; leaves nothing behind."""
        await self._control.close()
        await asyncio.gather(*(plug.close() for plug in self._plugs.values()))
        await asyncio.gather(*(server.close() for server in (*self._servers.values(), *self._wires.values())))
